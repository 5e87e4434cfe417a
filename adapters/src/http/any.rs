//! Every parser of what a client sends, on the same bytes: for the fuzz target, which
//! reaches only what is public.

use a4co_core::decider::{Participant, Recorded};
use a4co_core::ids::{OrderId, ProductId, Sequence};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::SandboxHints;
use a4co_core::payment::{PaymentEvent, PaymentParticipant, PaymentState};
use a4co_core::time::Timestamp;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;

use super::headers::{Wait, idempotency_key};
use super::orders::OrderRequest;
use super::{Problem, inventory, payments};

/// Reads the bytes as the body of each route that has one, and as the header values
/// `Idempotency-Key` and `Prefer`. An order that is read twice means the same.
///
/// # Panics
/// When a parser panics, or blames us for what a client sent.
pub fn parse_any(bytes: &[u8]) {
    for sandbox in [false, true] {
        let order = fault_of_client(OrderRequest::parse(bytes, sandbox));
        let again = OrderRequest::parse(bytes, sandbox).ok();
        let same = order.map(|it| it.fingerprint()) == again.map(|it| it.fingerprint());
        assert!(same, "one body, two orders");
    }
    if let Ok(product_id) = ProductId::parse("sku-1") {
        fault_of_client(inventory::parse_define(bytes, product_id, None));
    }
    fault_of_client(inventory::parse_adjust(bytes));

    let order_id = OrderId::from_bytes([1; 16]);
    let mut state = PaymentState::default();
    let recorded = Recorded {
        at: Timestamp::UNIX_EPOCH,
        event: PaymentEvent::PaymentProcessing {
            order_id,
            amount: Amount::MAX,
            currency: Currency::EUR,
            payment_method: None,
            hints: SandboxHints::default(),
            deadline_at: Timestamp::UNIX_EPOCH,
        },
    };
    PaymentParticipant::evolve(&mut state, &recorded, Sequence::FIRST);
    if let Some(payment) = state.payment(order_id) {
        fault_of_client(payments::parse_refund(bytes, payment));
    }

    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("idempotency-key"), value.clone());
        headers.insert(HeaderName::from_static("prefer"), value);
        fault_of_client(idempotency_key(&headers));
        let _wait = Wait::of(&headers);
    }
}

fn fault_of_client<T>(read: Result<T, Problem>) -> Option<T> {
    read.map_err(|problem| {
        let said = format!("{problem:?}");
        let status = problem.into_response().status();
        assert!(status.is_client_error(), "{status}: {said}");
    })
    .ok()
}
