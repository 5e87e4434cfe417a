//! HTTP as a client speaks it, blocking.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Request};

/// Longer than the longest wait that a client may ask for.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A client of one server. Its connections are its own.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// What was answered.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Ask<'c> {
    client: &'c Client,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Client {
    /// A client of the server at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            // The server closes idle connections after a while; ours are let go before.
            .max_idle_age(Duration::from_secs(3))
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{address}"),
        }
    }

    /// `GET`.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send()
    }

    /// `GET`, where there may be no answer.
    ///
    /// # Errors
    /// What went wrong.
    pub fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path).try_send()
    }

    /// `POST` with a JSON body.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path).json(body).send()
    }

    /// `PUT` with a JSON body.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path).json(body).send()
    }

    /// Any request.
    #[must_use]
    pub fn ask(&self, method: &'static str, path: &str) -> Ask<'_> {
        Ask {
            client: self,
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }
}

impl Ask<'_> {
    /// A header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `Idempotency-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// `Prefer: wait`.
    #[must_use]
    pub fn wait(self, seconds: u32) -> Self {
        self.header("prefer", &format!("wait={seconds}"))
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string().into_bytes())
    }

    /// Any body.
    #[must_use]
    pub fn bytes(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.header("content-type", content_type)
    }

    /// Sends it.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        match self.try_send() {
            Ok(answer) => answer,
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// Sends it, where there may be no answer.
    ///
    /// # Errors
    /// What went wrong.
    pub fn try_send(self) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{}{}", self.client.base, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = &self.client.agent;
        let asked = match self.body {
            Some(body) => agent.run(request.body(body).map_err(|error| error.to_string())?),
            None if self.method == "GET" => {
                agent.run(request.body(()).map_err(|error| error.to_string())?)
            }
            // With its length, as a client that has nothing to send says it.
            None => agent.run(
                request
                    .body(Vec::new())
                    .map_err(|error| error.to_string())?,
            ),
        };
        let mut response = asked.map_err(|error| error.to_string())?;
        let body = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.map_err(|error| error.to_string())?,
        })
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text, where it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Fails unless the answer has this status.
    ///
    /// # Panics
    /// When it has another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Fails unless the answer is this problem, as every error of the API must be.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!(
            (self.status, problem["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(problem["status"], status, "{self:?}");
        let says = |field: &str| problem[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(says("title") && says("detail") && says("type"), "{self:?}");
        problem
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}
