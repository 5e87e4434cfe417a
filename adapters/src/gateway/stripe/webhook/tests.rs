//! Signatures, good and bad, and what events say in whichever order they come.

use a4co_core::ids::GatewayReference;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "whsec_test";
const NOW_S: u64 = 1_800_000_000;
const ORDER: &str = "01890000-0000-7000-8000-000000000001";

fn webhooks() -> Webhooks {
    Webhooks::new(&StripeConfig {
        webhook_secret: Some(SecretString::from(SECRET)),
        ..StripeConfig::default()
    })
}

fn tag(secret: &str, time: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    let tag = hmac::sign(&key, &signed);
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn signed(time_s: u64, body: &[u8]) -> String {
    let time = time_s.to_string();
    format!("t={time},v1={}", tag(SECRET, &time, body))
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    let event = json!({"id": "evt_1", "type": kind, "livemode": false, "data": {"object": object}});
    event.to_string().into_bytes()
}

fn intent(status: &str) -> Value {
    json!({"id": "pi_1", "status": status, "metadata": {"order_id": ORDER}})
}

#[track_caller]
fn read(body: &[u8]) -> Result<Notice, WebhookError> {
    webhooks().read_at(Some(&signed(NOW_S, body)), body, NOW_S)
}

#[track_caller]
fn outcome(kind: &str, object: &Value) -> Option<GatewayOutcome> {
    let notice = read(&event(kind, object)).unwrap();
    let report = notice.report?;
    assert_eq!(report.order_id.to_string(), ORDER);
    Some(report.outcome)
}

/// Made with `openssl dgst -sha256 -hmac whsec_test` over `1800000000.{}`.
#[test]
fn the_signature_is_the_one_that_others_compute() {
    let header = format!("t=1800000000,v1={OPENSSL_TAG}");
    assert_eq!(
        webhooks().read_at(Some(&header), b"{}", NOW_S),
        Err(WebhookError::NotAnEvent)
    );
}

const OPENSSL_TAG: &str = "482e6337ac5272392d375c6fdc4d52a7e615dc2facedab0ffe155ddfd6a56e66";

#[test]
fn what_is_not_signed_well_is_refused() {
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    let time = NOW_S.to_string();
    let good = tag(SECRET, &time, &body);
    let refused = |header: &str, wanted: WebhookError| {
        let read = webhooks().read_at(Some(header), &body, NOW_S);
        assert_eq!(read, Err(wanted), "{header}");
    };
    refused("", WebhookError::NoSignature);
    refused(&format!("v1={good}"), WebhookError::NoSignature);
    refused(&format!("t={time}"), WebhookError::NoSignature);
    refused(&format!("t=x{time},v1={good}"), WebhookError::NoSignature);
    refused(&format!("t=-{time},v1={good}"), WebhookError::NoSignature);
    refused(&format!("t={time},v0={good}"), WebhookError::NoSignature);
    refused(
        &format!("t={time},v1={}", &good[2..]),
        WebhookError::NoSignature,
    );
    refused(
        &format!("t={time}0,v1={good}"),
        WebhookError::WrongSignature,
    );
    let other = tag("whsec_other", &time, &body);
    refused(
        &format!("t={time},v1={other}"),
        WebhookError::WrongSignature,
    );
    assert_eq!(
        webhooks().read_at(None, &body, NOW_S),
        Err(WebhookError::NoSignature)
    );
    let open = Webhooks::new(&StripeConfig::default());
    assert_eq!(
        open.read_at(Some(&signed(NOW_S, &body)), &body, NOW_S),
        Err(WebhookError::NoSecret)
    );
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    let time = NOW_S.to_string();
    let (other, good) = (tag("whsec_old", &time, &body), tag(SECRET, &time, &body));
    let header = format!("t={time}, v1={other},v1={good},v0=00");
    assert!(webhooks().read_at(Some(&header), &body, NOW_S).is_ok());
}

#[test]
fn a_signature_counts_only_near_its_time() {
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    for (age, fits) in [(0, true), (300, true), (301, false), (86_400, false)] {
        for time in [NOW_S - age, NOW_S + age] {
            let read = webhooks().read_at(Some(&signed(time, &body)), &body, NOW_S);
            assert_eq!(read.is_ok(), fits, "{time}");
            assert!(fits || read == Err(WebhookError::OutOfTolerance));
        }
    }
}

#[test]
fn an_event_is_known_once_what_it_led_to_is_durable() {
    let webhooks = webhooks();
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    let read = || {
        webhooks
            .read_at(Some(&signed(NOW_S, &body)), &body, NOW_S)
            .unwrap()
    };
    assert!(!read().is_repeated);
    assert!(!read().is_repeated);
    webhooks.remember("evt_1");
    assert!(read().is_repeated);
    for number in 0..SEEN_MAX {
        webhooks.remember(&format!("evt_x{number}"));
    }
    assert!(!read().is_repeated);
}

#[test]
fn what_events_say() {
    let reference = GatewayReference::parse("pi_1").unwrap();
    let succeeded = GatewayOutcome::Succeeded {
        reference: reference.clone(),
    };
    let declined = json!({
        "id": "pi_1", "status": "requires_payment_method", "metadata": {"order_id": ORDER},
        "last_payment_error": {"type": "card_error", "code": "card_declined", "decline_code": "lost_card"},
    });
    let mut authentication = declined.clone();
    authentication["last_payment_error"] = json!({"code": "authentication_required"});
    assert_eq!(
        outcome("payment_intent.succeeded", &intent("succeeded")),
        Some(succeeded)
    );
    assert_eq!(
        outcome("payment_intent.payment_failed", &declined),
        Some(rejected("lost_card"))
    );
    assert_eq!(
        outcome("payment_intent.payment_failed", &authentication),
        Some(GatewayOutcome::ActionRequired {
            reference: reference.clone()
        })
    );
    assert_eq!(
        outcome("payment_intent.canceled", &intent("canceled")),
        Some(GatewayOutcome::Cancelled)
    );
    assert_eq!(
        outcome(
            "payment_intent.amount_capturable_updated",
            &intent("requires_capture")
        ),
        Some(GatewayOutcome::Authorised { reference })
    );
    assert_eq!(
        outcome("payment_intent.processing", &intent("processing")),
        None
    );
    assert_eq!(
        outcome("payment_intent.created", &intent("succeeded")),
        None
    );
    assert_eq!(outcome("customer.created", &json!({})), None);
}

#[test]
fn what_events_say_of_refunds() {
    let refund = |status: &str| json!({"id": "re_1", "status": status, "metadata": {"order_id": ORDER, "refund": "2"}});
    let notice = read(&event("refund.updated", &refund("succeeded"))).unwrap();
    let report = notice.report.unwrap();
    assert_eq!(report.refund, Some(2));
    assert!(matches!(report.outcome, GatewayOutcome::Refunded { .. }));
    assert_eq!(
        outcome("refund.failed", &refund("failed")),
        Some(rejected("refund_failed"))
    );
    assert_eq!(outcome("refund.created", &refund("pending")), None);
    // Made by hand, in Stripe's dashboard.
    assert_eq!(
        outcome(
            "refund.updated",
            &json!({"id": "re_1", "status": "succeeded"})
        ),
        None
    );
}

#[test]
fn what_is_not_ours_is_of_no_matter() {
    let others = json!({"id": "pi_1", "status": "succeeded", "metadata": {"order_id": "4711"}});
    assert_eq!(outcome("payment_intent.succeeded", &others), None);
    assert_eq!(
        outcome("payment_intent.succeeded", &json!({"id": "pi_1"})),
        None
    );
    let live = json!({
        "id": "evt_1", "type": "payment_intent.succeeded", "livemode": true,
        "data": {"object": intent("succeeded")},
    });
    assert_eq!(read(live.to_string().as_bytes()).unwrap().report, None);
}

proptest! {
    #[test]
    fn one_changed_byte_is_noticed(at: prop::sample::Index, by in 1..=255_u8) {
        let body = event("payment_intent.succeeded", &intent("succeeded"));
        let header = signed(NOW_S, &body);
        let mut changed = body.clone();
        let index = at.index(changed.len());
        changed[index] = changed[index].wrapping_add(by);
        prop_assert_eq!(
            webhooks().read_at(Some(&header), &changed, NOW_S),
            Err(WebhookError::WrongSignature)
        );
    }

    #[test]
    fn any_header_and_any_body_are_refused_or_read(header in ".{0,200}", body: Vec<u8>) {
        let _ = webhooks().read_at(Some(&header), &body, NOW_S);
    }

    #[test]
    fn any_signed_body_is_refused_or_read(body: Vec<u8>) {
        let _ = webhooks().read_at(Some(&signed(NOW_S, &body)), &body, NOW_S);
    }
}
