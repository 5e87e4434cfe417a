//! One keep-alive connection to the server, and no more of HTTP than the load needs.
//!
//! Apart from the client of the command line, which may take its time: here a request costs
//! the server's machine as little as it can.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// The longest wait that the server grants, with room for its answer to arrive.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// Asks the server to hold its answer back until the order has ended.
pub(crate) const PREFER_WAIT: &str = "wait=10";

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    authority: String,
    host: HeaderValue,
}

/// The URL is not one that can be loaded.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a URL of a server: write http://HOST:PORT, without a path")]
pub struct BadUrl(String);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The request did not leave.
    #[error("{address} cannot be reached ({source}): is the server running, and is it this --url?")]
    NotSent {
        /// The server.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The request left, and whether it took effect is not known.
    #[error("no answer: {0}")]
    Lost(String),
    /// The answer is none of ours.
    #[error("the answer is not understood: {0}")]
    NotUnderstood(String),
}

impl AskError {
    /// A short name by which errors of a kind are counted.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "not_connected",
            Self::Lost(_) => "no_answer",
            Self::NotUnderstood(_) => "not_understood",
        }
    }
}

impl Server {
    /// Reads `http://HOST:PORT`.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub(crate) fn parse(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let is_authority = authority.parse::<hyper::http::uri::Authority>().is_ok();
        if !is_authority || authority.contains('@') {
            return Err(bad());
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let host = HeaderValue::from_str(&authority).map_err(|_| bad())?;
        Ok(Self { authority, host })
    }

    /// A connection that is made when it is first needed, and anew when it broke.
    pub(crate) fn connection(&self) -> Connection {
        Connection {
            server: self.clone(),
            sender: None,
        }
    }
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// What a load generator wants to know of an order.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderSeen<'a> {
    pub(crate) order_id: &'a str,
    pub(crate) status: &'a str,
    saga_state: &'a str,
}

impl OrderSeen<'_> {
    /// The saga has ended.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.saga_state, "COMPLETED" | "FAILED" | "COMPENSATED")
    }
}

impl Answered {
    /// The order in it.
    ///
    /// # Errors
    /// [`AskError::NotUnderstood`].
    pub(crate) fn order(&self) -> Result<OrderSeen<'_>, AskError> {
        self.json()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`AskError::NotUnderstood`].
    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, AskError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| AskError::NotUnderstood(format!("{error} in {}", self.text())))
    }

    /// The body as text, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's stable code, for counting.
    pub(crate) fn problem_code(&self) -> String {
        #[derive(Deserialize)]
        struct Problem<'a> {
            code: &'a str,
        }
        let code = serde_json::from_slice::<Problem<'_>>(&self.body).map(|problem| problem.code);
        format!(
            "{} {}",
            self.status.as_u16(),
            code.unwrap_or("without a code")
        )
    }
}

/// A connection. One request at a time.
pub(crate) struct Connection {
    server: Server,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// `GET path`.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answered, AskError> {
        self.ask(Method::GET, path, None, false).await
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn put(&mut self, path: &str, body: String) -> Result<Answered, AskError> {
        self.ask(Method::PUT, path, Some(body), false).await
    }

    /// `POST path` with a JSON body. `wait`: the answer is to come when the saga has ended.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn post(
        &mut self,
        path: &str,
        body: String,
        wait: bool,
    ) -> Result<Answered, AskError> {
        self.ask(Method::POST, path, Some(body), wait).await
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        wait: bool,
    ) -> Result<Answered, AskError> {
        let request = self.request(method, path, body, wait)?;
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.send(request)).await;
        let asked = asked.unwrap_or_else(|_| {
            let seconds = ANSWER_WITHIN.as_secs();
            Err(AskError::Lost(format!("none within {seconds} seconds")))
        });
        if asked.is_err() {
            self.sender = None;
        }
        asked
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        wait: bool,
    ) -> Result<Request<Full<Bytes>>, AskError> {
        const PREFER: HeaderName = HeaderName::from_static("prefer");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.server.host.clone());
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request = request.header(CONTENT_TYPE, json);
        }
        if wait {
            request = request.header(PREFER, HeaderValue::from_static(PREFER_WAIT));
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        request
            .body(body)
            .map_err(|error| AskError::NotUnderstood(format!("{path}: {error}")))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answered, AskError> {
        let lost = |error: hyper::Error| AskError::Lost(error.to_string());
        let mut request = request;
        // An idle connection may have been closed by the server just now. Then the request
        // comes back unsent, and a new connection takes it.
        let response = loop {
            let is_new = self.sender.is_none();
            let sender = self.connected().await?;
            if sender.ready().await.is_err() && !is_new {
                self.sender = None;
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => break response,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !is_new => {
                        request = unsent;
                        self.sender = None;
                    }
                    _ => return Err(lost(failed.into_error())),
                },
            }
        };
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(lost)?
            .to_bytes();
        Ok(Answered { status, body })
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, AskError> {
        let sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        Ok(self.sender.insert(sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, AskError> {
        let address = &self.server.authority;
        let not_sent = |source| AskError::NotSent {
            address: address.clone(),
            source,
        };
        let stream = TcpStream::connect(address).await.map_err(not_sent)?;
        stream.set_nodelay(true).map_err(not_sent)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| not_sent(std::io::Error::other(error)))?;
        tokio::spawn(async move {
            // Whoever sends on it sees that it broke.
            let _ = driver.await;
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_server() {
        let authority = |url| Server::parse(url).map(|server| server.authority).ok();
        assert_eq!(
            authority("http://127.0.0.1:3004").as_deref(),
            Some("127.0.0.1:3004")
        );
        assert_eq!(
            authority("http://shop.test/").as_deref(),
            Some("shop.test:80")
        );
        assert_eq!(authority("http://[::1]:80").as_deref(), Some("[::1]:80"));
        for bad in [
            "",
            "127.0.0.1:3004",
            "https://a:1",
            "http://",
            "http://a:1/api",
            "http://a b",
        ] {
            assert!(authority(bad).is_none(), "{bad}");
        }
    }
}
