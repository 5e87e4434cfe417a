//! Webhooks: whether one is Stripe's, and what it says.
//!
//! ```text
//! Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]
//!  - each v1 is HMAC-SHA256 of "SECONDS.BODY" under the endpoint's secret; one that fits
//!    is enough, since there are two while a secret is being replaced; other schemes (v0)
//!    count for nothing;
//!  - SECONDS lies within the tolerance of now, both ways: what is older may be a replay.
//! ```
//! Within the tolerance a replay changes nothing either: an event's meaning is taken by the
//! core, which takes each end of a payment once. The ids of the latest events are kept all
//! the same, so that a repeated one does not even get there.
//!
//! Events come in any order. Each speaks of the object as it was then, so only what can not
//! be taken back is acted on: money taken, a charge ended, a refund done.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::OrderId;
use a4co_core::time::Timestamp;
use a4co_driver::ports::Clock as _;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::outcome::{of_intent, of_refund, rejected, wants_authentication};
use super::shapes::{Event, Intent, Refund};
use crate::config::StripeConfig;
use crate::embedded::MonotonicClock;

/// Events whose ids are kept.
const SEEN_MAX: usize = 10_000;

/// Signatures of one header that are looked at.
const SIGNATURES_MAX: usize = 8;

/// Bytes of HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// Why a webhook is refused. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There is no secret to check it with.
    #[error(
        "no signing secret is configured (stripe_webhook_secret), so no webhook can be trusted"
    )]
    NoSecret,
    /// The header is missing or malformed.
    #[error("the header Stripe-Signature is missing or malformed")]
    NoSignature,
    /// The signature does not fit the body.
    #[error("the signature does not fit the body")]
    WrongSignature,
    /// It was signed too long ago, or by a clock that is ahead.
    #[error("the signature's time is too far from now: it may be a replay")]
    OutOfTolerance,
    /// Signed, and yet no event.
    #[error("the body is no event")]
    NotAnEvent,
}

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stripe's name for the event.
    pub event_id: String,
    /// What is to be told to the core; `None` for what is of no matter here.
    pub report: Option<Report>,
    /// It was brought before, and what it led to is durable.
    pub is_repeated: bool,
}

/// What the gateway reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose payment.
    pub order_id: OrderId,
    /// The charge, by Stripe's name, where it is about the charge.
    pub intent: Option<String>,
    /// The refund that it is about.
    pub refund: Option<u32>,
    /// What it says.
    pub outcome: GatewayOutcome,
}

#[derive(Debug)]
pub(super) struct Webhooks {
    secret: Option<SecretString>,
    is_live: bool,
    tolerance: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Webhooks {
    pub(super) fn new(config: &StripeConfig) -> Self {
        Self {
            secret: config.webhook_secret.clone(),
            is_live: config.is_live,
            tolerance: config.webhook_tolerance,
            seen: Mutex::default(),
        }
    }

    pub(super) fn read(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Notice, WebhookError> {
        // Read anew each time: the machine's clock may have been put right since the start.
        let now = MonotonicClock::not_before(Timestamp::UNIX_EPOCH).now();
        self.read_at(signature, body, now.unix_ms() / 1000)
    }

    fn read_at(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now_s: u64,
    ) -> Result<Notice, WebhookError> {
        let secret = self.secret.as_ref().ok_or(WebhookError::NoSecret)?;
        let signature = signature.ok_or(WebhookError::NoSignature)?;
        verify(secret, signature, body, now_s, self.tolerance)?;
        let event: Event = serde_json::from_slice(body).map_err(|_| WebhookError::NotAnEvent)?;
        let is_repeated = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.ids.contains(&event.id)
        };
        let report = if event.livemode == self.is_live {
            report(&event)?
        } else {
            tracing::warn!(
                livemode = event.livemode,
                "a webhook of the other mode is ignored"
            );
            None
        };
        Ok(Notice {
            event_id: event.id,
            report,
            is_repeated,
        })
    }

    pub(super) fn remember(&self, event_id: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.ids.insert(event_id.to_owned()) {
            seen.order.push_back(event_id.to_owned());
        }
        while seen.order.len() > SEEN_MAX {
            if let Some(oldest) = seen.order.pop_front() {
                seen.ids.remove(&oldest);
            }
        }
    }
}

/// Reads the bytes as a webhook: the signature header, an empty line, and the body as it
/// came. First as they are, at the time that the fuzz target's corpus is signed for; then
/// the body under a signature that is right, and under ones that are not. For the fuzz
/// target, which reaches only what is public.
///
/// # Panics
/// When a reader panics, when a wrong signature is taken, or a right one refused.
pub fn parse_any(bytes: &[u8]) {
    const SECRET: &str = "whsec_fuzz";
    const NOW_S: u64 = 1_800_000_000;
    let webhooks = Webhooks::new(&StripeConfig {
        webhook_secret: Some(SecretString::from(SECRET)),
        ..StripeConfig::default()
    });
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let as_it_came = webhooks.read_at(Some(&head), body, NOW_S);

    let time = NOW_S.to_string();
    let tag_of = |secret: &str, time: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, &[time.as_bytes(), b".", body].concat());
        let hex = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<String>()
    };
    let right = tag_of(SECRET, &time);
    let is_refused = |read: &Result<Notice, WebhookError>| {
        let refused = [
            WebhookError::NoSignature,
            WebhookError::WrongSignature,
            WebhookError::OutOfTolerance,
        ];
        read.as_ref().err().is_some_and(|why| refused.contains(why))
    };
    // Whoever cannot compute one of these has not signed it, however the header is made.
    let lower = head.to_ascii_lowercase();
    let signed = (head
        .split(',')
        .filter_map(|part| part.trim().strip_prefix("t=")))
    .any(|time| lower.contains(&tag_of(SECRET, time)));
    assert!(
        signed || is_refused(&as_it_came),
        "a signature that nobody made is taken"
    );

    let read = webhooks.read_at(Some(&format!("t={time},v1={right}")), body, NOW_S);
    assert!(!is_refused(&read), "a right signature is refused");
    if let Ok(notice) = &read {
        webhooks.remember(&notice.event_id);
        let again = webhooks.read_at(Some(&format!("v1={right},t={time}")), body, NOW_S);
        assert!(again.is_ok_and(|it| it.is_repeated && it.report == notice.report));
    }
    let other = tag_of("whsec_other", &time);
    let late = NOW_S - webhooks.tolerance.as_secs() - 1;
    let late = format!("t={late},v1={}", tag_of(SECRET, &late.to_string()));
    for header in [
        format!("t={time},v1={other}"),
        format!("t={time},v0={right}"),
        format!("t={},v1={right}", NOW_S - 1),
        format!("t={time}"),
        late,
    ] {
        let read = webhooks.read_at(Some(&header), body, NOW_S);
        assert!(is_refused(&read), "{header} is taken");
    }
    if let Some((last, rest)) = body.split_last() {
        let changed = [rest, &[last ^ 1]].concat();
        let read = webhooks.read_at(Some(&format!("t={time},v1={right}")), &changed, NOW_S);
        assert_eq!(read, Err(WebhookError::WrongSignature));
    }
}

/// Checks a signature. The comparison takes the same time wherever two tags first differ.
fn verify(
    secret: &SecretString,
    header: &str,
    body: &[u8],
    now_s: u64,
    tolerance: Duration,
) -> Result<(), WebhookError> {
    let mut signed_at: Option<&str> = None;
    let mut tags = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) if signed_at.is_none() => signed_at = Some(time),
            Some(("v1", tag)) if tags.len() < SIGNATURES_MAX => tags.extend(from_hex(tag)),
            // Another time, or another scheme.
            _ => {}
        }
    }
    let signed_at = signed_at.ok_or(WebhookError::NoSignature)?;
    let digits = !signed_at.is_empty() && signed_at.bytes().all(|byte| byte.is_ascii_digit());
    let signed_at_s: u64 = Some(signed_at)
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(WebhookError::NoSignature)?;
    if tags.is_empty() {
        return Err(WebhookError::NoSignature);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut signed = Vec::with_capacity(signed_at.len() + 1 + body.len());
    signed.extend_from_slice(signed_at.as_bytes());
    signed.push(b'.');
    signed.extend_from_slice(body);
    // Each is looked at, so that the time tells nothing of which one it was.
    let fits = tags.iter().fold(false, |fits, tag| {
        hmac::verify(&key, &signed, tag).is_ok() | fits
    });
    if !fits {
        return Err(WebhookError::WrongSignature);
    }
    // Only now: to somebody who cannot sign, the clock is told nothing of.
    if now_s.abs_diff(signed_at_s) > tolerance.as_secs() {
        return Err(WebhookError::OutOfTolerance);
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<[u8; TAG_BYTES]> {
    if text.len() != 2 * TAG_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    for (index, byte) in tag.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(tag)
}

fn report(event: &Event) -> Result<Option<Report>, WebhookError> {
    match event.kind.as_str() {
        "payment_intent.succeeded"
        | "payment_intent.canceled"
        | "payment_intent.requires_action"
        | "payment_intent.amount_capturable_updated"
        | "payment_intent.payment_failed" => Ok(of_charge(&read_object(event)?, &event.kind)),
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            Ok(of_refund_event(&read_object(event)?))
        }
        _ => Ok(None),
    }
}

fn read_object<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T, WebhookError> {
    serde_json::from_value(event.data.object.clone()).map_err(|_| WebhookError::NotAnEvent)
}

fn of_charge(intent: &Intent, kind: &str) -> Option<Report> {
    // What is not ours is of no matter: an account may have other users.
    let order_id = intent.order()?;
    let outcome = match (kind, &intent.last_payment_error) {
        // Whatever the object says: its type is what happened.
        ("payment_intent.payment_failed", Some(error)) if !wants_authentication(error) => {
            rejected(error.reason())
        }
        _ => of_intent(intent),
    };
    Some(Report {
        order_id,
        intent: Some(intent.id.clone()),
        refund: None,
        outcome,
    })
    .filter(|report| is_word(&report.outcome))
}

fn of_refund_event(refund: &Refund) -> Option<Report> {
    let ours = refund.metadata.as_ref()?;
    Some(Report {
        order_id: ours.order()?,
        intent: None,
        refund: Some(ours.refund_number()?),
        outcome: of_refund(refund),
    })
    .filter(|report| is_word(&report.outcome))
}

/// Whether it is more than "not yet".
const fn is_word(outcome: &GatewayOutcome) -> bool {
    !matches!(
        outcome,
        GatewayOutcome::Pending | GatewayOutcome::Unknown { .. } | GatewayOutcome::NotFound
    )
}

#[cfg(test)]
mod tests;
