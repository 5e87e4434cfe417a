//! Answers of Stripe's own that `localstripe` does not give, in the shape in which Stripe
//! documents them.

use serde_json::{Value, json};

/// Off the session, the bank asks for 3-D Secure: status 402.
#[must_use]
pub fn authentication_required(intent: &str, order_id: &str) -> Value {
    json!({ "error": {
        "charge": "ch_1",
        "code": "authentication_required",
        "decline_code": "authentication_required",
        "doc_url": "https://stripe.com/docs/error-codes/authentication-required",
        "message": "Your card was declined. This transaction requires authentication.",
        "payment_intent": requires_payment_method(intent, order_id, "authentication_required"),
        "type": "card_error",
    }})
}

/// A card that was declined, as Stripe itself says it: status 402.
#[must_use]
pub fn declined(intent: &str, order_id: &str, decline_code: &str) -> Value {
    json!({ "error": {
        "charge": "ch_1",
        "code": "card_declined",
        "decline_code": decline_code,
        "message": "Your card was declined.",
        "payment_intent": requires_payment_method(intent, order_id, "card_declined"),
        "type": "card_error",
    }})
}

/// An intent that waits for another card.
#[must_use]
pub fn requires_payment_method(intent: &str, order_id: &str, code: &str) -> Value {
    json!({
        "id": intent,
        "object": "payment_intent",
        "amount": 1000,
        "currency": "eur",
        "client_secret": format!("{intent}_secret_x"),
        "created": 1_800_000_000,
        "last_payment_error": { "code": code, "type": "card_error" },
        "livemode": false,
        "metadata": { "order_id": order_id },
        "status": "requires_payment_method",
    })
}

/// An intent in this state.
#[must_use]
pub fn intent(intent: &str, order_id: &str, status: &str) -> Value {
    let mut shape = requires_payment_method(intent, order_id, "");
    shape["status"] = json!(status);
    shape["last_payment_error"] = Value::Null;
    shape
}

/// A refund in this state.
#[must_use]
pub fn refund(refund: &str, order_id: &str, number: u32, status: &str) -> Value {
    json!({
        "id": refund,
        "object": "refund",
        "amount": 1000,
        "currency": "eur",
        "created": 1_800_000_000,
        "metadata": { "order_id": order_id, "refund": number.to_string() },
        "status": status,
    })
}

/// An event about an object.
#[must_use]
pub fn event(id: &str, kind: &str, object: &Value) -> Value {
    json!({
        "id": id,
        "object": "event",
        "api_version": "2025-12-15.clover",
        "created": 1_800_000_000,
        "data": { "object": object },
        "livemode": false,
        "type": kind,
    })
}

/// An error without a card in it.
#[must_use]
pub fn error(kind: &str) -> String {
    json!({ "error": { "type": kind, "message": "An error occurred." } }).to_string()
}
