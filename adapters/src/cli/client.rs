//! A small HTTP client for the engine's API, and what its failures mean to a shell.
//!
//! Apart from the commands so that each of them is a request and a picture of the answer.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::table::plain;
use super::{Exit, complain, show};

/// Time in which a connection must come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a whole request: longer than the server may be asked to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read: many times a full page of orders.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The engine's API at one address.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    base: String,
}

/// Why there is no answer that says yes.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command cannot be carried out as it was typed.
    Usage(String),
    /// No answer came. Where a request with a key was sent, the key.
    NoAnswer { reason: String, key: Option<String> },
    /// The server said no.
    Refused { status: u16, body: String },
    /// The server said something that is not its API.
    Strange(String),
}

/// The answer's body.
#[derive(Debug)]
pub(super) struct Answer(pub(super) String);

/// What is asked of a `POST` besides its body.
#[derive(Debug)]
pub(super) struct Asked {
    /// The request's name.
    pub(super) key: String,
    /// Seconds that the answer may take.
    pub(super) wait_s: u32,
}

impl Asked {
    /// Under this key, or a random one.
    pub(super) fn under(key: Option<&str>) -> Self {
        let key = key.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        Self { key, wait_s: 0 }
    }
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            Failure::Usage(format!(
                "{url} is not the URL of a server: write http://HOST:PORT; for a server behind TLS, ask its proxy's inside"
            ))
        })?;
        if rest.is_empty() || rest.contains(['?', '#', ' ', '@']) {
            return Err(Failure::Usage(format!("{url} is not http://HOST:PORT")));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            // What is asked here is nearby; a proxy for the web does not lead to it.
            .proxy(None)
            .user_agent(concat!("a4co/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            base: format!("{}/api/v1", url.trim_end_matches('/')),
        })
    }

    pub(super) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let sent = self.agent.get(self.url(path, query)).call();
        answer(sent, None)
    }

    /// Asks whether the server is ready.
    pub(super) fn ready(&self) -> Result<Answer, Failure> {
        let base = self.base.trim_end_matches("/api/v1");
        answer(self.agent.get(format!("{base}/health/ready")).call(), None)
    }

    pub(super) fn put(&self, path: &[&str], body: &str) -> Result<Answer, Failure> {
        let request = self
            .agent
            .put(self.url(path, &[]))
            .content_type("application/json");
        answer(request.send(body), None)
    }

    pub(super) fn post(&self, path: &[&str], body: &str, asked: &Asked) -> Result<Answer, Failure> {
        let mut request = self
            .agent
            .post(self.url(path, &[]))
            .content_type("application/json")
            .header("Idempotency-Key", &asked.key);
        if asked.wait_s > 0 {
            request = request.header("Prefer", format!("wait={}", asked.wait_s));
        }
        answer(request.send(body), Some(&asked.key))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> String {
        let mut url = self.base.clone();
        for segment in path {
            url.push('/');
            percent_encode(&mut url, segment);
        }
        for (index, (name, value)) in query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            percent_encode(&mut url, value);
        }
        url
    }
}

impl Answer {
    /// The answer as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|error| Failure::Strange(error.to_string()))
    }

    /// Prints the body as it came, or what `picture` makes of it.
    pub(super) fn print<T: DeserializeOwned>(
        &self,
        as_json: bool,
        picture: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if as_json {
            show(&format!("{}\n", self.0.trim_end()));
        } else {
            show(&picture(&self.read()?));
        }
        Ok(())
    }
}

/// The exit code of a command, with what went wrong told.
pub(super) fn end(result: Result<(), Failure>, as_json: bool) -> Exit {
    let Err(failure) = result else {
        return Exit::Done;
    };
    if let (true, Failure::Refused { body, .. }) = (as_json, &failure) {
        show(&format!("{}\n", body.trim_end()));
    }
    complain(&failure.told());
    failure.exit()
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NoAnswer { .. } => Exit::Unreachable,
            Self::Refused {
                status: 404 | 410, ..
            } => Exit::NotFound,
            Self::Refused {
                status: 429 | 502 | 503 | 504 | 507,
                ..
            } => Exit::TryLater,
            Self::Refused { .. } | Self::Strange(_) => Exit::Failed,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Usage(text) => format!("error: {text}"),
            Self::NoAnswer { reason, key: None } => format!("error: {reason}"),
            Self::NoAnswer {
                reason,
                key: Some(key),
            } => format!(
                "error: {reason}\nWhether it was done is not known. Repeat the command with --idempotency-key {key}: it is then done once."
            ),
            Self::Refused { status, body } => refusal(*status, body),
            Self::Strange(text) => {
                format!("error: the answer is not one of this API: {}", plain(text))
            }
        }
    }
}

/// The part of an `application/problem+json` that people read.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    pointer: Option<String>,
    parameter: Option<String>,
    detail: Option<String>,
}

fn refusal(status: u16, body: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Problem>(body) else {
        return format!("error: the server answered {status}");
    };
    let sentence = problem.detail.or(problem.title);
    let mut told = format!("error: {}", plain(sentence.as_deref().unwrap_or("refused")));
    // A text takes all that is written to it.
    let _ = match &problem.code {
        Some(code) => write!(told, " ({status} {})", plain(code)),
        None => write!(told, " ({status})"),
    };
    for error in problem.errors {
        let place = error.pointer.or(error.parameter).unwrap_or_default();
        let detail = error.detail.unwrap_or_default();
        let line = format!("{}: {}", plain(&place), plain(&detail));
        // A single one is in the sentence already.
        if !told.contains(&line) {
            let _ = write!(told, "\n  {line}");
        }
    }
    told
}

type Sent = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn answer(sent: Sent, key: Option<&str>) -> Result<Answer, Failure> {
    let key = key.map(str::to_owned);
    let mut response = match sent {
        Ok(response) => response,
        Err(ureq::Error::BadUri(text)) => {
            return Err(Failure::Usage(format!("{text} is not the URL of a server")));
        }
        Err(error) => {
            // What was never sent was not done.
            let is_sent = !is_unconnected(&error);
            let reason = match is_sent {
                true => format!("no answer came from the server: {error}"),
                false => format!(
                    "no server answers: {error}; is `a4co serve` running, and is --url right?"
                ),
            };
            return Err(Failure::NoAnswer {
                reason,
                key: key.filter(|_| is_sent),
            });
        }
    };
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string();
    let body = body.map_err(|error| Failure::NoAnswer {
        reason: format!("the server's answer broke off: {error}"),
        key,
    })?;
    if (200..300).contains(&status) {
        Ok(Answer(body))
    } else {
        Err(Failure::Refused { status, body })
    }
}

/// Whether the request cannot have reached anybody.
fn is_unconnected(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(timeout) => {
            matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn percent_encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_every_field_once() {
        let body = |detail: &str| {
            format!(
                r#"{{"status":422,"code":"validation_failed","detail":"{detail}","errors":[
                {{"pointer":"/price","detail":"has 3 digits"}},{{"parameter":"limit","detail":"is 0"}}]}}"#
            )
        };
        assert_eq!(
            refusal(422, &body("two fields are wrong")),
            "error: two fields are wrong (422 validation_failed)\n  /price: has 3 digits\n  limit: is 0"
        );
        assert_eq!(
            refusal(422, &body("/price: has 3 digits")),
            "error: /price: has 3 digits (422 validation_failed)\n  limit: is 0"
        );
        assert_eq!(refusal(502, "<html>"), "error: the server answered 502");
    }

    #[test]
    fn a_lost_answer_names_the_key_to_repeat_with() {
        let key = Some("k-1".to_owned());
        let lost = Failure::NoAnswer {
            reason: "gone".to_owned(),
            key,
        };
        assert!(lost.told().contains("--idempotency-key k-1"));
        assert_eq!(lost.exit(), Exit::Unreachable);
    }
}
