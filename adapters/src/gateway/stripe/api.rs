//! Requests to Stripe: one in, one answer out, nothing decided.
//!
//! Apart because here, and nowhere else, is the secret key, and because a request has to
//! pass the guard, be timed and be counted wherever it comes from. No request is repeated
//! here: repeating under the same key is the core's doing, in the core's own time.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::guard::{Bounds, Guard, Held};
use super::metrics::StripeMetrics;
use super::outcome::{self, Verdict};
use super::shapes::{ErrorBody, ErrorObject};
use crate::config::StripeConfig;

/// The version whose answers are read here. A newer one of the account changes nothing.
pub const API_VERSION: &str = "2025-12-15.clover";

/// Stripe's own address.
pub const STRIPE_URL: &str = "https://api.stripe.com";

/// Bytes of one answer that are read; a page of a hundred intents has some 300,000.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Parameters of a request, in order: the same request has the same bytes.
pub(super) type Form = Vec<(String, String)>;

/// The endpoints, as metrics name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Create,
    Retrieve,
    List,
    Cancel,
    Capture,
    Refund,
    Refunds,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create_intent",
            Self::Retrieve => "retrieve_intent",
            Self::List => "list_intents",
            Self::Cancel => "cancel_intent",
            Self::Capture => "capture_intent",
            Self::Refund => "create_refund",
            Self::Refunds => "list_refunds",
        }
    }
}

/// Why there is no object in an answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Stripe said no, or cannot; in its own words or in nobody's.
    Said(Box<Said>),
    /// No answer, or none that can be read.
    Silence(String),
    /// Not asked at all.
    Held(Held),
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) status: u16,
    pub(super) error: ErrorObject,
    /// What `Stripe-Should-Retry` says.
    pub(super) should_retry: Option<bool>,
    /// The answer is the one that its key had been given before.
    is_replayed: bool,
    /// Stripe's name for the request, for people who ask its support.
    request_id: Option<String>,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(said) => {
                write!(f, "Stripe answered {}", said.status)?;
                if said.error.kind.is_some() {
                    write!(f, " {}", said.error.reason())?;
                }
                said.request_id
                    .iter()
                    .try_for_each(|id| write!(f, " ({id})"))
            }
            Self::Silence(why) => write!(f, "no answer from Stripe: {why}"),
            Self::Held(held) => held.fmt(f),
        }
    }
}

impl Trouble {
    /// What it means to a payment.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Said(said) => said.verdict,
            Self::Silence(_) | Self::Held(_) => Verdict::Unknown,
        }
    }

    /// Stripe's error, where it sent one.
    pub(super) fn error(&self) -> Option<&ErrorObject> {
        match self {
            Self::Said(said) => Some(&said.error),
            Self::Silence(_) | Self::Held(_) => None,
        }
    }

    /// Stripe itself failed the first time that it got this request, and has kept that.
    pub(super) fn is_replayed_failure(&self) -> bool {
        matches!(self, Self::Said(said) if said.status >= 500 && said.is_replayed)
    }

    /// Stripe itself failed, and repeats that answer under the same key.
    pub(super) fn is_kept_failure(&self) -> bool {
        matches!(self, Self::Said(said) if said.status >= 500 || said.should_retry == Some(false))
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error("TLS to Stripe cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// No client.
    #[error("the client for Stripe cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// The way to Stripe.
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    key: SecretString,
    guard: Guard,
    metrics: StripeMetrics,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(
        config: &StripeConfig,
        key: SecretString,
        metrics: StripeMetrics,
    ) -> Result<Self, ClientError> {
        let base = config.api_url.trim_end_matches('/').to_owned();
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::tls::config()?)
            .user_agent(concat!("a4co/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the key to somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            // Whether a request is repeated is the core's to decide.
            .retry(reqwest::retry::never())
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout);
        if base != STRIPE_URL {
            // A fake on this machine or in this network: a proxy would not find it.
            http = http.no_proxy();
        }
        let bounds = Bounds {
            concurrency: config.concurrency,
            failures: config.circuit_failures,
            pause: config.circuit_pause,
        };
        Ok(Self {
            http: http.build()?,
            base,
            key,
            guard: Guard::new(bounds, metrics.clone()),
            metrics,
        })
    }

    pub(super) fn metrics(&self) -> &StripeMetrics {
        &self.metrics
    }

    /// `GET`, with these parameters.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        path: &str,
        query: &Form,
    ) -> Result<T, Trouble> {
        let mut url = format!("{}{path}", self.base);
        for (index, (name, value)) in query.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            url.push_str(&format!("{mark}{}={}", escaped(name), escaped(value)));
        }
        self.ask(endpoint, self.http.request(Method::GET, url))
            .await
    }

    /// `POST` of a form, under an idempotency key where repeating it would do it again.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        path: &str,
        form: &Form,
        key: Option<&str>,
    ) -> Result<T, Trouble> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(Method::POST, url).form(form);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.ask(endpoint, request).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<T, Trouble> {
        let pass = match self.guard.enter().await {
            Ok(pass) => pass,
            Err(held) => {
                let name = match held {
                    Held::CircuitOpen => "circuit_open",
                    Held::RetryAfter => "held",
                    Held::Full => "full",
                };
                self.metrics.asked(endpoint.name(), name, None);
                return Err(Trouble::Held(held));
            }
        };
        let started = Instant::now();
        let answered = self.exchange(request).await;
        let took = Some(started.elapsed());
        let (answer, result) = match answered {
            Ok((status, _, body)) if status.is_success() => match serde_json::from_slice(&body) {
                Ok(object) => ("ok", Ok(object)),
                Err(error) => {
                    // Line and column, and nothing of the text.
                    let why = format!("an answer that cannot be read ({error})");
                    ("broken", Err(Trouble::Silence(why)))
                }
            },
            Ok((status, headers, body)) => {
                let said = said(status, &headers, &body);
                if let Some(pause) = retry_after(&headers) {
                    self.guard.hold(pause);
                }
                (answer_name(&said), Err(Trouble::Said(Box::new(said))))
            }
            Err((answer, why)) => (answer, Err(Trouble::Silence(why))),
        };
        self.metrics.asked(endpoint.name(), answer, took);
        let is_answer = match &result {
            Ok(_) => true,
            Err(Trouble::Said(said)) => said.status < 500,
            Err(_) => false,
        };
        if is_answer {
            pass.answered();
        } else {
            pass.failed();
        }
        if let Err(trouble) = &result {
            tracing::debug!(endpoint = endpoint.name(), %trouble, "a request to Stripe");
        }
        result
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), (&'static str, String)> {
        let request = request
            .bearer_auth(self.key.expose_secret())
            .header("Stripe-Version", API_VERSION);
        let mut response = request.send().await.map_err(silence)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silence)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(("broken", "an answer that is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body))
    }
}

/// What the lack of an answer is called, and why there is none. The address is left out:
/// it may carry what is asked.
fn silence(error: reqwest::Error) -> (&'static str, String) {
    let error = error.without_url();
    let (name, why) = if error.is_timeout() {
        ("timeout", "it took too long".to_owned())
    } else if error.is_connect() {
        ("no_connection", "no connection".to_owned())
    } else {
        ("cut", "the connection broke".to_owned())
    };
    tracing::debug!(?error, "no answer from Stripe");
    (name, why)
}

fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Said {
    let error = serde_json::from_slice::<ErrorBody>(body).ok();
    let error = error.map(|body| body.error);
    let should_retry = match text(headers, "stripe-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let verdict = match outcome::judge(status.as_u16(), error.as_ref()) {
        // It will not stay with this answer, so it is none. An answer of the card's bank is.
        Verdict::Refused | Verdict::NotFound | Verdict::Moved if should_retry == Some(true) => {
            Verdict::Unknown
        }
        verdict => verdict,
    };
    Said {
        verdict,
        status: status.as_u16(),
        error: error.unwrap_or_default(),
        should_retry,
        is_replayed: text(headers, "idempotent-replayed") == Some("true"),
        request_id: text(headers, "request-id").map(|id| id.chars().take(64).collect()),
    }
}

const fn answer_name(said: &Said) -> &'static str {
    match (said.status, said.verdict) {
        (_, Verdict::Declined) => "declined",
        (_, Verdict::Authenticate) => "authentication_required",
        (_, Verdict::KeyUsed) => "idempotency_error",
        (401 | 403, _) => "unauthorised",
        (409, _) => "conflict",
        (429, _) => "rate_limited",
        (500.., _) => "server_error",
        (_, Verdict::Unknown) => "not_stripes",
        _ => "refused",
    }
}

/// `Retry-After` in seconds; a date is not what Stripe sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// For a query: whatever is not plain is escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = reqwest::header::HeaderValue::from_static(value);
            (reqwest::header::HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn stripe_says_whether_to_try_again() {
        let body = br#"{"error": {"type": "invalid_request_error", "code": "x"}}"#;
        let told = |value| {
            said(
                StatusCode::BAD_REQUEST,
                &headers(&[("stripe-should-retry", value)]),
                body,
            )
        };
        assert_eq!(told("true").verdict, Verdict::Unknown);
        assert_eq!(told("false").verdict, Verdict::Refused);
        let busy = said(
            StatusCode::INTERNAL_SERVER_ERROR,
            &headers(&[("stripe-should-retry", "false")]),
            b"",
        );
        assert!(Trouble::Said(Box::new(busy)).is_kept_failure());
    }

    #[test]
    fn a_pause_is_in_seconds() {
        assert_eq!(
            retry_after(&headers(&[("retry-after", "7")])),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
        assert_eq!(retry_after(&headers(&[])), None);
    }

    #[test]
    fn a_body_of_somebody_else_is_no_word_of_stripe() {
        let said = said(
            StatusCode::NOT_FOUND,
            &headers(&[]),
            b"<html>not here</html>",
        );
        assert_eq!(said.verdict, Verdict::Unknown);
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("created[gte]"), "created%5Bgte%5D");
        assert_eq!(escaped("pi_1-a.b~c"), "pi_1-a.b~c");
    }

    #[test]
    fn the_key_is_never_shown() {
        let config = StripeConfig::default();
        let metrics = StripeMetrics::new(&prometheus::Registry::new()).unwrap();
        let api = Api::new(&config, SecretString::from("sk_test_hunter2"), metrics).unwrap();
        assert!(!format!("{api:?}").contains("hunter2"));
    }
}
