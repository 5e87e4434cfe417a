//! Taking a request's parts: its body within limits, its path, its query.

use std::time::Duration;

use a4co_core::ids::IdError;
use a4co_core::limits::BODY_BYTES_MAX;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;

use super::problem::{Code, FieldError, Problem};

/// How much of a body that is too large is read and thrown away, so that the client gets to
/// read the answer before the connection closes.
const DRAINED_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;

/// The body, which must be JSON by its content type and within the limit. An empty body
/// needs no content type.
///
/// # Errors
/// [`Code::UnsupportedMediaType`], [`Code::BodyTooLarge`], [`Code::RequestTimeout`] or
/// [`Code::BadRequest`].
pub(super) async fn body(
    headers: &HeaderMap,
    body: Body,
    within: Duration,
) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let refused = refusal(headers, &body);
    let read = async {
        if let Some(refused) = refused {
            // A client that asked first sends nothing once it is told. Any other one gets to
            // read why only if it is let finish.
            if !headers.contains_key(header::EXPECT) {
                let drained = Limited::new(body, DRAINED_BYTES_MAX).collect().await;
                // A chunked body tells only at its end that there is none.
                if drained.is_ok_and(|drained| drained.to_bytes().is_empty()) {
                    return Ok(Bytes::new());
                }
            }
            return Err(refused);
        }
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(Problem::new(
                Code::BadRequest,
                "the body ended before it was complete",
            )),
        }
    };
    let timed = tokio::time::timeout(within, read).await;
    timed.unwrap_or_else(|_| {
        let seconds = within.as_secs();
        let detail = format!("the body did not arrive within {seconds} seconds");
        Err(Problem::new(Code::RequestTimeout, detail))
    })
}

/// Why a body is not even read.
fn refusal(headers: &HeaderMap, body: &Body) -> Option<Problem> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Some(too_large());
    }
    // A form of another site may post only what is not JSON, so this is no formality.
    check_content_type(headers).err()
}

fn too_large() -> Problem {
    let detail = format!("the body has more than {BODY_BYTES_MAX} bytes");
    Problem::new(Code::BodyTooLarge, detail)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let wrong = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return wrong("send the header Content-Type: application/json".to_owned());
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5
            && essence.as_bytes()[essence.len() - 5..].eq_ignore_ascii_case(b"+json"));
    if json {
        return Ok(());
    }
    let shown: String = essence.chars().take(80).collect();
    wrong(format!("the body must be application/json, not {shown}"))
}

/// The one parameter of the path.
pub(super) struct PathText(String);

impl PathText {
    /// As an id.
    ///
    /// # Errors
    /// [`Code::InvalidId`].
    pub(super) fn parse<T>(&self, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Problem> {
        Ok(parse(&self.0)?)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(text)| Self(text))
            .map_err(|_| Problem::new(Code::InvalidId, "the id in the path is not valid UTF-8"))
    }
}

/// The query, parameter by parameter, so that every wrong one is found at once.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// Takes the query apart.
    ///
    /// # Errors
    /// [`Code::InvalidQuery`] for one that cannot be taken apart.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|_| {
            Problem::new(
                Code::InvalidQuery,
                "the query is not valid: name=value&name=value",
            )
        })?;
        Ok(Self {
            pairs,
            errors: Vec::new(),
        })
    }

    /// Notes what is wrong with a parameter.
    fn wrong(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(FieldError {
            pointer: None,
            parameter: Some(name.to_owned()),
            code,
            detail,
        });
    }

    /// Takes a parameter; an empty one counts as absent.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let position = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, text) = self.pairs.remove(position);
        if self.pairs.iter().any(|(key, _)| key == name) {
            self.pairs.retain(|(key, _)| key != name);
            self.wrong(
                name,
                "duplicate_parameter",
                "is there more than once".to_owned(),
            );
            return None;
        }
        if text.is_empty() {
            return None;
        }
        match parse(&text) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.wrong(name, "invalid_parameter", detail);
                None
            }
        }
    }

    /// Takes a whole number within a range.
    pub(super) fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        self.take(name, |text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| plain);
            number
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
        })
    }

    /// Ends the query: what is left is unknown.
    ///
    /// # Errors
    /// [`Code::InvalidQuery`] with every parameter that is wrong.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            let shown: String = name.chars().take(80).collect();
            self.wrong(&shown, "unknown_parameter", "is not known here".to_owned());
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        let omitted = self.errors.len().saturating_sub(super::problem::ERRORS_MAX);
        self.errors.truncate(super::problem::ERRORS_MAX);
        Err(Problem::of_fields(Code::InvalidQuery, self.errors, omitted))
    }
}
