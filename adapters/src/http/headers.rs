//! The request headers with a meaning of their own: `Idempotency-Key`, `Prefer` and
//! `traceparent`.

use std::time::Duration;

use a4co_core::decider::Idempotency;
use a4co_core::ids::{Fingerprint, IdempotencyKey};
use a4co_core::limits::PREFER_WAIT_MS_MAX;
use a4co_core::trace::TraceContext;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Code, Problem};

/// Request: names this request, so that its retry is known as such.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Answer: the request had been answered before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Longest wait that is granted, in seconds.
const WAIT_S_MAX: u64 = PREFER_WAIT_MS_MAX / 1000;

/// The client's key, if it sent one.
///
/// # Errors
/// [`Code::InvalidIdempotencyKey`] for one that is malformed, or for two.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidIdempotencyKey, detail);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(
            "the header Idempotency-Key is there more than once".to_owned(),
        ));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("the header Idempotency-Key must be printable ASCII".to_owned()))?;
    let key = IdempotencyKey::parse(text).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(key))
}

/// The trace that the client's request belongs to. As W3C Trace Context has it, one that
/// cannot be read, or a second one, is as none.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    let is_only = values.next().is_none();
    is_only.then(|| TraceContext::parse(value).ok()).flatten()
}

/// The client's key with what its request meant.
pub(super) fn idempotency(
    headers: &HeaderMap,
    fingerprint: impl FnOnce() -> Fingerprint,
) -> Result<Option<Idempotency>, Problem> {
    let key = idempotency_key(headers)?;
    Ok(key.map(|key| Idempotency {
        key,
        fingerprint: fingerprint(),
    }))
}

/// A wait that the client asked for and is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    seconds: u64,
}

impl Wait {
    /// Reads `Prefer: wait=N` (RFC 7240). As that RFC has it, the first `wait` counts, other
    /// preferences and malformed ones are passed over, and none is an error.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(PREFER).iter();
        let mut preferences = lines
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(','));
        let wait = preferences.find_map(|preference| {
            // Parameters follow a semicolon; `wait` has none.
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait.then(|| value.trim().trim_matches('"'))
        })?;
        let plain = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| Self {
            // Only what is far above the most that is granted does not fit.
            seconds: wait.parse().unwrap_or(u64::MAX).min(WAIT_S_MAX),
        })
    }

    /// For how long.
    pub(super) const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Says in the answer that the wish was granted, and how far.
    pub(super) fn applied(self, headers: &mut HeaderMap) {
        let value = HeaderValue::from_str(&format!("wait={}", self.seconds));
        if let Ok(value) = value {
            headers.insert(PREFERENCE_APPLIED, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        let wait = Wait::of(&headers).map(|wait| wait.seconds);
        assert_eq!(wait, seconds, "{lines:?}");
    }

    #[test]
    fn a_wait_is_read_as_rfc_7240_has_it() {
        check(&["wait=10"], Some(10));
        check(&["WAIT = 10"], Some(10));
        check(&["wait=\"10\""], Some(10));
        check(&["respond-async, wait=5; foo=bar"], Some(5));
        check(&["return=minimal", "wait=7"], Some(7));
        check(&["wait=0"], Some(0));
        check(&["wait=31"], Some(30));
        check(&["wait=99999999999999999999999"], Some(30));
        check(&["wait=3, wait=4"], Some(3));
        check(&["wait=x, wait=4"], None);
        for ignored in [
            "", "wait", "wait=", "wait=-1", "wait=1.5", "waits=3", "x;wait=3",
        ] {
            check(&[ignored], None);
        }
        check(&[], None);
    }

    #[test]
    fn a_key_is_one_printable_text() {
        let read = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).expect("a header's value");
                headers.append(IDEMPOTENCY_KEY, value);
            }
            idempotency_key(&headers).map_err(|problem| problem.code())
        };
        assert_eq!(read(&[]), Ok(None));
        assert!(matches!(read(&[b"checkout-1"]), Ok(Some(_))));
        let bad: [&[&[u8]]; 4] = [&[b""], &[b"a", b"a"], &[b"\xc3\xa9"], &[b"a\tb"]];
        for bad in bad {
            assert_eq!(read(bad), Err(Code::InvalidIdempotencyKey), "{bad:?}");
        }
    }
}
