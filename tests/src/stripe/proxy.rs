//! A proxy between the engine and its payment gateway: it keeps idempotency keys as Stripe
//! does, and has a bad day when it is told to.
//!
//! ```text
//! a key, first time         the request goes through; its answer is kept, a 500 as well
//! the same key, same body   the kept answer, with Idempotent-Replayed
//! the same key, other body  400 idempotency_error
//! the same key, under way   409 idempotency_key_in_use
//! ```
//! Each connection carries one request, in a thread of its own.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives, and nobody says so.
    SilentBefore,
    /// It is carried out, and nobody says so.
    SilentAfter,
    /// The connection breaks before it arrives.
    CutBefore,
    /// It is carried out, and the connection breaks.
    CutAfter,
    /// It is carried out, and half of the answer comes.
    CutWithin,
    /// It is not carried out, and this is answered: status, headers, body. Not kept.
    Instead(u16, Vec<(&'static str, &'static str)>, String),
    /// It is not carried out, and this is answered and kept under its key.
    Kept(u16, String),
    /// It is carried out once the gate is opened.
    AtGate,
    /// The same, and its key is in use from now on.
    UnderWay,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `POST /v1/refunds`.
    pub what: String,
    /// Header names, in lower case, with their values.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl Seen {
    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.headers.get("idempotency-key").map(String::as_str)
    }
}

#[derive(Debug)]
struct Rule {
    prefix: String,
    fault: Fault,
    times: usize,
}

#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    request: String,
    /// `None` while it is under way.
    reply: Option<Reply>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    kept: HashMap<String, Kept>,
    gate_is_open: bool,
    is_over: bool,
    ignores_keys: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    upstream: SocketAddr,
}

/// The proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one in front of a server on this machine.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn start(upstream_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            upstream: ([127, 0, 0, 1], upstream_port).into(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.state().is_over {
                    return;
                }
                let shared = serving.clone();
                thread::spawn(move || stream.map(|stream| shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next so many requests that begin like this (`POST /v1/refunds`) fail this way.
    pub fn fail(&self, prefix: &str, fault: Fault, times: usize) {
        let prefix = prefix.to_owned();
        self.shared.state().rules.push(Rule {
            prefix,
            fault,
            times,
        });
    }

    /// No more faults, and what waits at the gate goes on.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
        self.open_gate();
    }

    /// What waits at the gate goes on.
    pub fn open_gate(&self) {
        self.shared.state().gate_is_open = true;
        self.shared.changed.notify_all();
    }

    /// Lets every request through from now on, whatever its key: as a server that knows none.
    pub fn ignore_keys(&self) {
        self.shared.state().ignores_keys = true;
    }

    /// Forgets every key, as Stripe does after a day.
    pub fn forget_keys(&self) {
        self.shared.state().kept.clear();
    }

    /// The requests so far that begin like this.
    #[must_use]
    pub fn seen(&self, prefix: &str) -> Vec<Seen> {
        let state = self.shared.state();
        let seen = state.seen.iter();
        seen.filter(|seen| seen.what.starts_with(prefix))
            .cloned()
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
        // Wakes the listener, so that it sees that all is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics within")
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some(seen) = read_request(&stream) else {
            return;
        };
        let fault = {
            let mut state = self.state();
            state.seen.push(seen.clone());
            let rule = state
                .rules
                .iter_mut()
                .find(|rule| rule.times > 0 && seen.what.starts_with(&rule.prefix));
            rule.map(|rule| {
                rule.times -= 1;
                rule.fault.clone()
            })
        };
        let reply = match fault {
            None => self.through(&seen),
            Some(Fault::SilentBefore) => return self.be_silent(&stream),
            Some(Fault::SilentAfter) => {
                self.through(&seen);
                return self.be_silent(&stream);
            }
            Some(Fault::CutBefore) => return,
            Some(Fault::CutAfter) => {
                self.through(&seen);
                return;
            }
            Some(Fault::CutWithin) => {
                let bytes = self.through(&seen).bytes();
                let _ = stream.write_all(&bytes[..bytes.len() / 2]);
                return;
            }
            Some(Fault::Instead(status, headers, body)) => Reply {
                status,
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                body: body.into_bytes(),
            },
            Some(Fault::Kept(status, body)) => {
                let reply = Reply::json(status, body);
                self.keep(&seen, &reply);
                reply
            }
            Some(Fault::AtGate) => {
                self.wait_at_gate();
                self.through(&seen)
            }
            Some(Fault::UnderWay) => {
                let kept = Kept {
                    request: request_of(&seen),
                    reply: None,
                };
                let key = seen.key().expect("a request with a key").to_owned();
                self.state().kept.insert(key, kept);
                self.wait_at_gate();
                let reply = self.forward(&seen);
                self.keep(&seen, &reply);
                reply
            }
        };
        let _ = stream.write_all(&reply.bytes());
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn wait_at_gate(&self) {
        let mut state = self.state();
        while !state.gate_is_open && !state.is_over {
            state = self.changed.wait(state).expect("no test panics within");
        }
    }

    /// Holds the connection until the other side gives it up.
    fn be_silent(&self, mut stream: &TcpStream) {
        let mut byte = [0; 1];
        let _ = stream.read(&mut byte);
    }

    fn keep(&self, seen: &Seen, reply: &Reply) {
        let Some(key) = seen.key() else { return };
        let kept = Kept {
            request: request_of(seen),
            reply: Some(reply.clone()),
        };
        self.state().kept.insert(key.to_owned(), kept);
    }

    /// Carries a request out, once for each key.
    fn through(&self, seen: &Seen) -> Reply {
        let Some(key) = seen.key().filter(|_| !self.state().ignores_keys) else {
            return self.forward(seen);
        };
        {
            let mut state = self.state();
            match state.kept.get(key) {
                Some(kept) if kept.request != request_of(seen) => {
                    return Reply::error(400, "idempotency_error", None);
                }
                Some(Kept { reply: None, .. }) => {
                    return Reply::error(409, "idempotency_error", Some("idempotency_key_in_use"));
                }
                Some(Kept {
                    reply: Some(reply), ..
                }) => {
                    let mut reply = reply.clone();
                    reply
                        .headers
                        .push(("Idempotent-Replayed".to_owned(), "true".to_owned()));
                    return reply;
                }
                None => {}
            }
            let kept = Kept {
                request: request_of(seen),
                reply: None,
            };
            state.kept.insert(key.to_owned(), kept);
        }
        let reply = self.forward(seen);
        self.keep(seen, &reply);
        reply
    }

    fn forward(&self, seen: &Seen) -> Reply {
        let (method, path) = seen.what.split_once(' ').expect("a method and a path");
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: localstripe\r\nconnection: close\r\n");
        for (name, value) in &seen.headers {
            if !["host", "connection", "content-length"].contains(&name.as_str()) {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        request.push_str(&format!(
            "content-length: {}\r\n\r\n{}",
            seen.body.len(),
            seen.body
        ));
        let answered = TcpStream::connect(self.upstream).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        });
        match answered {
            Ok(answer) => Reply::of(&answer),
            Err(error) => Reply::json(502, error.to_string()),
        }
    }
}

impl Reply {
    fn json(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.into_bytes(),
        }
    }

    fn error(status: u16, kind: &str, code: Option<&str>) -> Self {
        let error: Value =
            json!({ "error": { "type": kind, "code": code, "message": "by the proxy" } });
        Self::json(status, error.to_string())
    }

    /// Takes the answer of the server apart; it ends its connection after it.
    fn of(answer: &[u8]) -> Self {
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]);
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = answer.get(end + 4..).unwrap_or_default().to_vec();
        Self {
            body,
            ..Self::json(status.unwrap_or(502), String::new())
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Answer\r\n", self.status);
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.body.len()
        ));
        [bytes.as_bytes(), &self.body].concat()
    }
}

/// What makes two requests under one key the same.
fn request_of(seen: &Seen) -> String {
    format!("{} {}", seen.what, seen.body)
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split(' ');
    let what = format!("{} {}", parts.next()?, parts.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        what,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
