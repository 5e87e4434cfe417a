//! The one table: what each of Stripe's answers means to a payment.
//!
//! ```text
//! Three values, and no fourth
//!  - succeeded, rejected: Stripe has said so, in an answer of its own form;
//!  - unknown: everything else. No body of Stripe's, no matter which status, is no word of
//!    Stripe's: a proxy between us answers 400 and 404, too.
//! ```
//!
//! An error is judged by status, type and code together, by the first line that fits. What
//! an answer means does not depend on how often we have asked: under one idempotency key
//! Stripe gives one answer, so that "processing error, try again" is as final as "stolen card".

use std::sync::Arc;

use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::GatewayReference;

use super::shapes::{ErrorObject, Intent, Refund};

/// What an error of Stripe's means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The card's bank said no.
    Declined,
    /// The request was refused, and did nothing.
    Refused,
    /// The bank wants the customer to authenticate first.
    Authenticate,
    /// There is no such object.
    NotFound,
    /// The object is in another state than we thought: look at it.
    Moved,
    /// What was set aside is not held for us any more, whatever the object still shows.
    Expired,
    /// The idempotency key has been used for another request: look for what it made.
    KeyUsed,
    /// Nobody knows.
    Unknown,
}

struct Line {
    statuses: std::ops::RangeInclusive<u16>,
    kind: Option<&'static str>,
    code: Option<&'static str>,
    verdict: Verdict,
}

const fn line(
    statuses: std::ops::RangeInclusive<u16>,
    kind: Option<&'static str>,
    code: Option<&'static str>,
    verdict: Verdict,
) -> Line {
    Line {
        statuses,
        kind,
        code,
        verdict,
    }
}

const INVALID: Option<&str> = Some("invalid_request_error");

/// Status, type, code: verdict. `None` is any.
#[rustfmt::skip]
static TABLE: &[Line] = &[
    // Cards. Off the session, "authentication required" is how a bank asks for 3-D Secure.
    line(402..=402, None, Some("authentication_required"), Verdict::Authenticate),
    line(402..=402, None, None, Verdict::Declined),
    line(400..=499, Some("card_error"), Some("authentication_required"), Verdict::Authenticate),
    line(400..=499, Some("card_error"), None, Verdict::Declined),
    // The key was used with other parameters, so something may have been done under it.
    line(400..=409, Some("idempotency_error"), None, Verdict::KeyUsed),
    line(409..=409, None, Some("idempotency_key_in_use"), Verdict::Unknown),
    line(400..=400, None, Some("idempotency_key_in_use"), Verdict::Unknown),
    line(400..=429, None, Some("lock_timeout"), Verdict::Unknown),
    line(400..=429, None, Some("rate_limit"), Verdict::Unknown),
    // Requests that were understood and are not possible now, or never.
    line(400..=400, INVALID, Some("payment_intent_unexpected_state"), Verdict::Moved),
    line(400..=400, INVALID, Some("charge_already_captured"), Verdict::Moved),
    line(400..=400, INVALID, Some("charge_expired_for_capture"), Verdict::Expired),
    line(400..=400, INVALID, Some("resource_missing"), Verdict::NotFound),
    line(400..=400, INVALID, None, Verdict::Refused),
    line(404..=404, INVALID, None, Verdict::NotFound),
    // Our key is wrong or may not do this: an operator's matter, not the customer's. What
    // earlier attempts came to is as open as it was.
    line(401..=401, None, None, Verdict::Unknown),
    line(403..=403, None, None, Verdict::Unknown),
    line(409..=409, None, None, Verdict::Unknown),
    line(424..=424, None, None, Verdict::Unknown),
    line(429..=429, None, None, Verdict::Unknown),
    line(500..=599, None, None, Verdict::Unknown),
];

/// What an error means. `None` for a body that is not one of Stripe's.
pub(super) fn judge(status: u16, error: Option<&ErrorObject>) -> Verdict {
    let Some(error) = error.filter(|error| error.kind.is_some()) else {
        return Verdict::Unknown;
    };
    let fits = |wanted: Option<&str>, found: &Option<String>| {
        wanted.is_none_or(|wanted| found.as_deref() == Some(wanted))
    };
    let found = TABLE.iter().find(|line| {
        line.statuses.contains(&status)
            && fits(line.kind, &error.kind)
            && fits(line.code, &error.code)
    });
    found.map_or(Verdict::Unknown, |line| line.verdict)
}

/// What a payment intent says about its payment.
pub(super) fn of_intent(intent: &Intent) -> GatewayOutcome {
    let Ok(reference) = GatewayReference::parse(&intent.id) else {
        return unknown("Stripe's answer names the charge by no name");
    };
    match intent.status.as_str() {
        "succeeded" => GatewayOutcome::Succeeded { reference },
        "requires_capture" => GatewayOutcome::Authorised { reference },
        "requires_action" => GatewayOutcome::ActionRequired { reference },
        "canceled" => GatewayOutcome::Cancelled,
        "processing" | "requires_confirmation" => GatewayOutcome::Pending,
        "requires_payment_method" => match &intent.last_payment_error {
            Some(error) if wants_authentication(error) => {
                GatewayOutcome::ActionRequired { reference }
            }
            Some(error) => rejected(error.reason()),
            None => GatewayOutcome::Pending,
        },
        other => unknown(&format!("Stripe says {other}, which is not known here")),
    }
}

/// What an intent says whose amount was not to be taken. `verdict` is what the refusal said.
pub(super) fn of_capture_refused(intent: &Intent, verdict: Verdict) -> Option<GatewayOutcome> {
    match of_intent(intent) {
        GatewayOutcome::Cancelled => Some(rejected(match intent.cancellation_reason.as_deref() {
            // By itself, when its time was up.
            None | Some("automatic" | "expired") => "authorisation_expired",
            Some(_) => "authorisation_cancelled",
        })),
        GatewayOutcome::Authorised { .. } if verdict == Verdict::Expired => {
            Some(rejected("authorisation_expired"))
        }
        // It is as it was, so what stands in the way is what was said.
        GatewayOutcome::Authorised { .. } => None,
        outcome => Some(outcome),
    }
}

/// What a refund says about itself.
pub(super) fn of_refund(refund: &Refund) -> GatewayOutcome {
    let Ok(reference) = GatewayReference::parse(&refund.id) else {
        return unknown("Stripe's answer names the refund by no name");
    };
    match refund.status.as_deref() {
        Some("succeeded") => GatewayOutcome::Refunded { reference },
        Some("pending" | "requires_action") => GatewayOutcome::Pending,
        Some("failed") => rejected(refund.failure_reason.as_deref().unwrap_or("refund_failed")),
        Some("canceled") => rejected("refund_canceled"),
        other => unknown(&format!("Stripe says {other:?} of the refund")),
    }
}

/// A bank's request for 3-D Secure, and not the customer's failing it.
pub(super) fn wants_authentication(error: &ErrorObject) -> bool {
    error.code.as_deref() == Some("authentication_required")
        || error.decline_code.as_deref() == Some("authentication_required")
}

pub(super) fn rejected(code: &str) -> GatewayOutcome {
    GatewayOutcome::Rejected {
        code: Arc::from(plain(code)),
    }
}

pub(super) fn unknown(detail: &str) -> GatewayOutcome {
    GatewayOutcome::Unknown {
        detail: Arc::from(detail),
    }
}

/// A code that is fit to be shown: from outside, so within bounds.
fn plain(code: &str) -> &str {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_plain = code.len() <= 80 && !code.is_empty() && code.bytes().all(fits);
    if is_plain { code } else { "declined" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, kind: &str, code: &str, wanted: Verdict) {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let error = ErrorObject {
            kind: text(kind),
            code: text(code),
            ..ErrorObject::default()
        };
        assert_eq!(
            judge(status, Some(&error)),
            wanted,
            "{status} {kind} {code}"
        );
    }

    #[test]
    fn every_class_of_error_has_its_meaning() {
        use Verdict::*;
        for (status, kind, code, wanted) in [
            (402, "card_error", "card_declined", Declined),
            (402, "card_error", "expired_card", Declined),
            (402, "card_error", "incorrect_cvc", Declined),
            (402, "card_error", "processing_error", Declined),
            (402, "card_error", "authentication_required", Authenticate),
            // The type that a fake of Stripe gives a decline.
            (402, "invalid_request_error", "card_declined", Declined),
            (400, "card_error", "card_declined", Declined),
            (400, "invalid_request_error", "", Refused),
            (400, "invalid_request_error", "parameter_missing", Refused),
            (400, "invalid_request_error", "amount_too_small", Refused),
            (
                400,
                "invalid_request_error",
                "charge_already_refunded",
                Refused,
            ),
            (400, "invalid_request_error", "resource_missing", NotFound),
            (404, "invalid_request_error", "resource_missing", NotFound),
            (
                400,
                "invalid_request_error",
                "payment_intent_unexpected_state",
                Moved,
            ),
            (
                400,
                "invalid_request_error",
                "charge_already_captured",
                Moved,
            ),
            (
                400,
                "invalid_request_error",
                "charge_expired_for_capture",
                Expired,
            ),
            (400, "idempotency_error", "", KeyUsed),
            (409, "idempotency_error", "", KeyUsed),
            (
                409,
                "invalid_request_error",
                "idempotency_key_in_use",
                Unknown,
            ),
            (409, "invalid_request_error", "", Unknown),
            (429, "invalid_request_error", "lock_timeout", Unknown),
            (429, "invalid_request_error", "rate_limit", Unknown),
            (429, "api_error", "", Unknown),
            (401, "invalid_request_error", "", Unknown),
            (403, "invalid_request_error", "", Unknown),
            (424, "api_error", "", Unknown),
            (500, "api_error", "", Unknown),
            (502, "api_error", "", Unknown),
            (503, "api_error", "", Unknown),
            (504, "api_error", "", Unknown),
            // A decline that a broken gateway calls its own failure is no decline.
            (500, "card_error", "card_declined", Unknown),
            (300, "invalid_request_error", "", Unknown),
            (418, "invalid_request_error", "", Unknown),
            (400, "something_new", "", Unknown),
            // No body of Stripe's.
            (400, "", "", Unknown),
            (402, "", "card_declined", Unknown),
            (404, "", "", Unknown),
        ] {
            check(status, kind, code, wanted);
        }
        assert_eq!(judge(402, None), Unknown);
    }

    fn intent(status: &str, error: Option<&str>) -> Intent {
        let error = error.map(|code| serde_json::json!({"type": "card_error", "code": code}));
        let intent = serde_json::json!({
            "id": "pi_1", "status": status, "last_payment_error": error,
        });
        serde_json::from_value(intent).unwrap()
    }

    #[test]
    fn every_state_of_an_intent_has_its_meaning() {
        let reference = GatewayReference::parse("pi_1").unwrap();
        let all = [
            (
                "succeeded",
                None,
                GatewayOutcome::Succeeded {
                    reference: reference.clone(),
                },
            ),
            (
                "requires_capture",
                None,
                GatewayOutcome::Authorised {
                    reference: reference.clone(),
                },
            ),
            (
                "requires_action",
                None,
                GatewayOutcome::ActionRequired {
                    reference: reference.clone(),
                },
            ),
            ("processing", None, GatewayOutcome::Pending),
            ("requires_confirmation", None, GatewayOutcome::Pending),
            ("canceled", None, GatewayOutcome::Cancelled),
            ("requires_payment_method", None, GatewayOutcome::Pending),
            (
                "requires_payment_method",
                Some("card_declined"),
                rejected("card_declined"),
            ),
            (
                "requires_payment_method",
                Some("authentication_required"),
                GatewayOutcome::ActionRequired { reference },
            ),
        ];
        for (status, error, wanted) in all {
            assert_eq!(
                of_intent(&intent(status, error)),
                wanted,
                "{status} {error:?}"
            );
        }
        assert!(matches!(
            of_intent(&intent("new_state", None)),
            GatewayOutcome::Unknown { .. }
        ));
    }

    #[test]
    fn a_capture_that_is_refused_is_judged_by_what_it_left() {
        let refused = |status: &str, reason: Option<&str>, verdict| {
            let mut intent = intent(status, None);
            intent.cancellation_reason = reason.map(str::to_owned);
            of_capture_refused(&intent, verdict)
        };
        let expired = Some(rejected("authorisation_expired"));
        for reason in [None, Some("automatic"), Some("expired")] {
            assert_eq!(refused("canceled", reason, Verdict::Moved), expired);
        }
        assert_eq!(
            refused("canceled", Some("requested_by_customer"), Verdict::Moved),
            Some(rejected("authorisation_cancelled"))
        );
        assert_eq!(refused("requires_capture", None, Verdict::Expired), expired);
        // Anything may stand in the way while it is still held for us.
        for verdict in [Verdict::Refused, Verdict::Moved, Verdict::NotFound] {
            assert_eq!(refused("requires_capture", None, verdict), None);
        }
        // Somebody was quicker.
        let reference = GatewayReference::parse("pi_1").unwrap();
        assert_eq!(
            refused("succeeded", None, Verdict::Expired),
            Some(GatewayOutcome::Succeeded { reference })
        );
    }

    #[test]
    fn every_state_of_a_refund_has_its_meaning() {
        let refund = |status: Option<&str>| {
            let refund = serde_json::json!({"id": "re_1", "status": status});
            of_refund(&serde_json::from_value(refund).unwrap())
        };
        let reference = GatewayReference::parse("re_1").unwrap();
        assert_eq!(
            refund(Some("succeeded")),
            GatewayOutcome::Refunded { reference }
        );
        assert_eq!(refund(Some("pending")), GatewayOutcome::Pending);
        assert_eq!(refund(Some("requires_action")), GatewayOutcome::Pending);
        assert_eq!(refund(Some("failed")), rejected("refund_failed"));
        assert_eq!(refund(Some("canceled")), rejected("refund_canceled"));
        assert!(matches!(refund(None), GatewayOutcome::Unknown { .. }));
        assert!(matches!(
            refund(Some("new")),
            GatewayOutcome::Unknown { .. }
        ));
    }

    #[test]
    fn a_code_from_outside_is_shown_only_within_bounds() {
        assert_eq!(rejected("<script>"), rejected("declined"));
        assert_eq!(rejected(&"x".repeat(200)), rejected("declined"));
        assert_eq!(rejected("fraudulent"), rejected("fraudulent"));
    }
}
