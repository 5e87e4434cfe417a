//! Payments and their refunds.

use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::ids::{OrderId, PaymentId};
use a4co_core::money::Amount;
use a4co_core::order::OrderStatus;
use a4co_core::payment::{Payment, PaymentCommand, RefundStatus};
use a4co_core::rejection::Rejection;
use a4co_core::row::Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::Watch;
use super::fields::{Findings, Place};
use super::fingerprint::Canonical;
use super::headers::{Wait, idempotency};
use super::orders::{no_fields, object_or_empty};
use super::problem::{Code, Problem};
use super::request::{self, PathText};
use super::shapes::PaymentShape;
use super::{HttpState, answer};

/// `GET /payments/{paymentId}`
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let payment_id = path.parse(PaymentId::parse)?;
    let payment = state.ports()?.reads.payment(payment_id.order_id())?;
    let payment = payment.ok_or_else(|| not_found(payment_id))?;
    show_present(&state, &payment).await
}

/// Parked payments that are shown; the others are counted.
pub(super) const PARKED_SHOWN_MAX: usize = 100;

#[derive(Serialize)]
struct Parked<'p> {
    data: Vec<PaymentShape<'p>>,
    count: usize,
}

/// `GET /payments/parked`
///
/// A payment may be parked although its order's saga is not: a capture comes after the
/// confirmation, and so does a refund by hand.
pub(super) async fn parked(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let ports = state.ports()?;
    let (order_ids, count) = ports.parked_payments.first(PARKED_SHOWN_MAX);
    let mut payments = Vec::new();
    for order_id in order_ids {
        // What readers see may be a moment behind, or ahead.
        payments.extend(ports.reads.payment(order_id)?.filter(|it| it.parked));
    }
    let shape = |payment| PaymentShape {
        payment,
        gateway: state.settings.gateway,
        refund: None,
        client_secret: None,
    };
    let data = payments.iter().map(|it| shape(it.as_ref())).collect();
    answer::json(StatusCode::OK, &Parked { data, count })
}

/// `GET /payments/order/{orderId}`
pub(super) async fn get_of_order(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let order_id = path.parse(OrderId::parse)?;
    let payment = state.ports()?.reads.payment(order_id)?;
    let payment = payment.ok_or(Rejection::PaymentNotFound(order_id))?;
    show_present(&state, &payment).await
}

fn not_found(payment_id: PaymentId) -> Problem {
    let detail = format!("no payment has the id {payment_id}");
    Problem::new(Code::PaymentNotFound, detail)
}

/// The payment as it is, with what the customer has to do where something is.
async fn show_present(state: &HttpState, payment: &Payment) -> Result<Response, Problem> {
    let mut secret = None;
    if payment.awaits_customer()
        && let (Some(stripe), Some(reference)) = (state.stripe(), &payment.reference)
    {
        secret = stripe
            .client_secret(payment.order_id, reference.as_str())
            .await;
    }
    shown(state, payment, None, secret.as_ref())
}

fn show(state: &HttpState, payment: &Payment, refund: Option<u32>) -> Result<Response, Problem> {
    shown(state, payment, refund, None)
}

fn shown(
    state: &HttpState,
    payment: &Payment,
    refund: Option<u32>,
    client_secret: Option<&SecretString>,
) -> Result<Response, Problem> {
    let shape = PaymentShape {
        payment,
        gateway: state.settings.gateway,
        refund,
        client_secret: client_secret.map(ExposeSecret::expose_secret),
    };
    answer::json(StatusCode::OK, &shape)
}

/// `POST /payments/{paymentId}/refund`
pub(super) async fn refund(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let payment_id = path.parse(PaymentId::parse)?;
    let order_id = payment_id.order_id();
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let payment = state.ports()?.reads.payment(order_id)?;
    let payment = payment.ok_or_else(|| not_found(payment_id))?;
    let amount = parse_refund(&body, &payment)?;
    confirmed(&state, order_id)?;
    let fingerprint = || {
        let canonical = Canonical::new("payments.refund/1").text(&payment_id.to_string());
        let canonical = canonical.option(amount, |to, amount| to.number(amount.minor()));
        canonical.end()
    };
    let command = PaymentCommand::Refund {
        order_id,
        amount,
        idempotency: idempotency(&headers, fingerprint)?,
    };
    let span = tracing::info_span!("order", %order_id);
    let wait = Wait::of(&headers);
    give_back(&state, command, wait).instrument(span).await
}

/// `POST /payments/{paymentId}/write-off`
pub(super) async fn write_off(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let payment_id = path.parse(PaymentId::parse)?;
    let order_id = payment_id.order_id();
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    no_fields(&body)?;
    let fingerprint = || {
        let canonical = Canonical::new("payments.write-off/1");
        canonical.text(&payment_id.to_string()).end()
    };
    let command = PaymentCommand::WriteOff {
        order_id,
        idempotency: idempotency(&headers, fingerprint)?,
    };
    let span = tracing::info_span!("order", %order_id);
    let reply = state
        .submit(Command::Payment(command))
        .instrument(span)
        .await?;
    let payment = match reply.result {
        Ok(Answer::Payment(payment)) => payment,
        Ok(_) => return Err(answer::wrong_answer()),
        Err(Rejection::PaymentNotFound(_)) => return Err(not_found(payment_id)),
        Err(rejection) => return Err(rejection.into()),
    };
    let mut response = show(&state, &payment, None)?;
    if reply.replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

/// Only a confirmed order is refunded by hand: before that, the saga itself gives back what
/// has to be given back.
fn confirmed(state: &HttpState, order_id: OrderId) -> Result<(), Problem> {
    let order = state.ports()?.reads.order(order_id)?;
    match order.map(|order| order.status) {
        Some(OrderStatus::Confirmed) | None => Ok(()),
        Some(status) => Err(Problem::new(
            Code::PaymentNotRefundable,
            format!("the order is {status}; only a confirmed order's payment can be refunded"),
        )),
    }
}

pub(super) fn parse_refund(body: &[u8], payment: &Payment) -> Result<Option<Amount>, Problem> {
    let root = Place::ROOT;
    let mut findings = Findings::default();
    let f = &mut findings;
    let mut object = object_or_empty(body)?;
    if let Some(value) = object.take(&root, "currency")
        && let Some(currency) = value.currency(f)
        && currency != payment.currency
    {
        let detail = format!("the payment is in {}", payment.currency);
        f.add(value.at(), Code::CurrencyMismatch.name(), detail);
    }
    let amount = object.take(&root, "amount");
    let amount = amount.and_then(|value| {
        let amount = value.amount(Some(payment.currency), f)?;
        if amount.is_zero() {
            f.add(value.at(), "amount_zero", "must be above zero");
        }
        Some(amount)
    });
    object.end(root, "", f);
    findings.done(Some(amount))
}

async fn give_back(
    state: &HttpState,
    command: PaymentCommand,
    wait: Option<Wait>,
) -> Result<Response, Problem> {
    let reply = state.submit(Command::Payment(command)).await?;
    let Answer::Payment(payment) = reply.result? else {
        return Err(answer::wrong_answer());
    };
    // The answer is the payment right after the command, so its refund is the last.
    let number = payment.refunds.len();
    let at_most = wait.map_or(state.settings.refund_wait, Wait::duration);
    let then = Instant::now() + at_most;
    let payment = refunded(state, *payment, number, then).await?;
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let mut response = show(state, &payment, Some(number))?;
    if let Some(wait) = wait {
        wait.applied(response.headers_mut());
    }
    if reply.replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

/// The payment once this refund has ended, or as it is when time is up.
async fn refunded(
    state: &HttpState,
    mut payment: Payment,
    number: usize,
    then: Instant,
) -> Result<Payment, Problem> {
    let ports = state.ports()?;
    loop {
        // Refunds end one by one, and another one may be the next.
        let watch = Watch::of_refund(&ports.watches, payment.order_id, ended(&payment));
        if let Some(present) = ports.reads.payment(payment.order_id)? {
            payment = Payment::clone(&present);
        }
        if !is_pending(&payment, number) {
            return Ok(payment);
        }
        match watch.until(then, &state.readiness).await {
            Some(told) => payment = *told,
            None => {
                let present = ports.reads.payment(payment.order_id)?;
                return Ok(present.map_or(payment, |present| Payment::clone(&present)));
            }
        }
    }
}

fn ended(payment: &Payment) -> usize {
    let refunds = payment.refunds.iter();
    refunds
        .filter(|refund| refund.status != RefundStatus::Pending)
        .count()
}

/// Has the refund not come to an end? One that is not there yet has not.
fn is_pending(payment: &Payment, number: usize) -> bool {
    let refund = number
        .checked_sub(1)
        .and_then(|index| payment.refunds.get(index));
    refund.is_none_or(|refund| refund.status == RefundStatus::Pending)
}
