//! Orders: create, look at, list, cancel, nudge.

mod create;
mod hints;
mod list;
mod price;

use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::ids::{IdempotencyKey, OrderId};
use a4co_core::limits::REASON_CHARS_MAX;
use a4co_core::order::{CreateOrder, Order, OrderCommand};
use a4co_core::payment::PaymentCommand;
use a4co_core::rejection::Rejection;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;

pub(super) use self::create::OrderRequest;
use super::answer::Watch;
use super::fields::{Findings, Object, Place};
use super::fingerprint::Canonical;
use super::headers::{Wait, idempotency, idempotency_key};
use super::ports::Ports;
use super::problem::{Code, Problem};
use super::request::{self, PathText};
use super::shapes::OrderShape;
use super::{API_PREFIX, HttpState, answer, ids};

use crate::trace::RequestTrace;

pub(super) use self::list::list;

/// `POST /orders`
pub(super) async fn create(
    State(state): State<Arc<HttpState>>,
    trace: Option<Extension<RequestTrace>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let key = idempotency_key(&headers)?;
    let wait = Wait::of(&headers);
    let mut request = OrderRequest::parse(&body, state.settings.sandbox)?;
    request.trace = trace.map(|Extension(RequestTrace(trace))| trace);
    let order_id = match &key {
        Some(key) => OrderId::from_idempotency_key(key),
        None => ids::fresh_order_id(),
    };
    let span = tracing::info_span!("order", %order_id);
    place(&state, order_id, request, key, wait)
        .instrument(span)
        .await
}

async fn place(
    state: &HttpState,
    order_id: OrderId,
    request: OrderRequest,
    key: Option<IdempotencyKey>,
    wait: Option<Wait>,
) -> Result<Response, Problem> {
    let ports = state.ports()?;
    // Before the command: an order may have ended before its reply is here.
    let watch = wait.map(|wait| (wait, Watch::of_order(&ports.watches, order_id)));
    let fingerprint = request.fingerprint();
    let may_exist = key.is_some();
    // A retry is answered as the first time, even if the catalogue has changed since.
    if may_exist && let Some(order) = ports.reads.order(order_id)? {
        if order.order.fingerprint != fingerprint {
            return Err(Rejection::IdempotencyKeyReused.into());
        }
        return created(state, ports, &order, watch, true).await;
    }
    let order = price::price(request, ports.reads.as_ref(), key, fingerprint)?;
    let command = Command::Order(OrderCommand::Create(CreateOrder {
        order_id,
        may_exist,
        order: Arc::new(order),
    }));
    let reply = state.submit(command).await?;
    let order = answer::order(reply.result?)?;
    created(state, ports, &order, watch, reply.replayed).await
}

async fn created(
    state: &HttpState,
    ports: &Ports,
    order: &Order,
    watch: Option<(Wait, Watch<Order>)>,
    replayed: bool,
) -> Result<Response, Problem> {
    let status = StatusCode::CREATED;
    let mut response = match watch {
        None => answer::json(status, &OrderShape::created(&order.as_created()))?,
        Some((wait, watch)) => waited(state, ports, order, wait, watch, status).await?,
    };
    let headers = response.headers_mut();
    let location = format!("{API_PREFIX}/orders/{}", order.order_id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

/// The order once its saga has ended, or as it is when the wait is over.
async fn waited(
    state: &HttpState,
    ports: &Ports,
    order: &Order,
    wait: Wait,
    watch: Watch<Order>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let mut response = if order.saga.is_terminal() {
        answer::json(status, &OrderShape::present(order))?
    } else {
        let then = Instant::now() + wait.duration();
        match watch.until(then, &state.readiness).await {
            Some(ended) => answer::json(status, &OrderShape::present(&ended))?,
            None => match ports.reads.order(order.order_id)? {
                Some(present) => answer::json(status, &OrderShape::present(&present))?,
                None => answer::json(status, &OrderShape::present(order))?,
            },
        }
    };
    wait.applied(response.headers_mut());
    Ok(response)
}

/// `GET /orders/{orderId}`
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let order_id = path.parse(OrderId::parse)?;
    let order = state.ports()?.reads.order(order_id)?;
    let order = order.ok_or(Rejection::OrderNotFound(order_id))?;
    answer::json(StatusCode::OK, &OrderShape::present(&order))
}

/// `POST /orders/{orderId}/cancel`
pub(super) async fn cancel(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let order_id = path.parse(OrderId::parse)?;
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let reason = cancel_reason(&body)?;
    let fingerprint = || {
        let canonical = Canonical::new("orders.cancel/1").text(&order_id.to_string());
        canonical.text(&reason).end()
    };
    let command = OrderCommand::Cancel {
        order_id,
        idempotency: idempotency(&headers, fingerprint)?,
        reason,
    };
    let wait = Wait::of(&headers);
    let span = tracing::info_span!("order", %order_id);
    change(&state, order_id, command, wait)
        .instrument(span)
        .await
}

/// `POST /orders/{orderId}/retry`
pub(super) async fn retry(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let order_id = path.parse(OrderId::parse)?;
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    no_fields(&body)?;
    let fingerprint = || {
        Canonical::new("orders.retry/1")
            .text(&order_id.to_string())
            .end()
    };
    let idempotency = idempotency(&headers, fingerprint)?;
    let command = OrderCommand::Retry {
        order_id,
        idempotency: idempotency.clone(),
    };
    let wait = Wait::of(&headers);
    let span = tracing::info_span!("order", %order_id);
    async {
        match change(&state, order_id, command, wait).await {
            Err(refused) if refused.code() == Code::SagaNotParked => {
                let command = PaymentCommand::Retry {
                    order_id,
                    idempotency,
                };
                retry_payment(&state, command, refused).await
            }
            answered => answered,
        }
    }
    .instrument(span)
    .await
}

/// A payment may be parked although its order's saga is not: a capture comes after the
/// confirmation, and so does a refund by hand. Where nothing is parked either, the saga's
/// refusal stands.
async fn retry_payment(
    state: &HttpState,
    command: PaymentCommand,
    refused: Problem,
) -> Result<Response, Problem> {
    let order_id = command.order_id();
    let reply = state.submit(Command::Payment(command)).await?;
    match reply.result {
        Ok(_) => {}
        Err(Rejection::PaymentNotParked(_) | Rejection::PaymentNotFound(_)) => return Err(refused),
        Err(rejection) => return Err(rejection.into()),
    }
    let order = state.ports()?.reads.order(order_id)?;
    let order = order.ok_or(Rejection::OrderNotFound(order_id))?;
    let mut response = answer::json(StatusCode::OK, &OrderShape::present(&order))?;
    if reply.replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

async fn change(
    state: &HttpState,
    order_id: OrderId,
    command: OrderCommand,
    wait: Option<Wait>,
) -> Result<Response, Problem> {
    let ports = state.ports()?;
    let watch = wait.map(|wait| (wait, Watch::of_order(&ports.watches, order_id)));
    let reply = state.submit(Command::Order(command)).await?;
    let order = answer::order(reply.result?)?;
    let mut response = match watch {
        None => answer::json(StatusCode::OK, &OrderShape::present(&order))?,
        Some((wait, watch)) => waited(state, ports, &order, wait, watch, StatusCode::OK).await?,
    };
    if reply.replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

fn cancel_reason(body: &[u8]) -> Result<Arc<str>, Problem> {
    let root = Place::ROOT;
    let mut findings = Findings::default();
    let mut object = object_or_empty(body)?;
    let reason = match object.take(&root, "reason") {
        Some(value) => value
            .words(REASON_CHARS_MAX, "reason_too_long", &mut findings)
            .map(|words| Arc::from(words.as_ref())),
        None => Some(Arc::from("cancelled on request")),
    };
    object.end(root, "", &mut findings);
    findings.done(reason)
}

/// A body in which nothing is needed.
///
/// # Errors
/// [`super::Code::MalformedJson`] or [`super::Code::ValidationFailed`].
pub(super) fn no_fields(body: &[u8]) -> Result<(), Problem> {
    let mut findings = Findings::default();
    object_or_empty(body)?.end(Place::ROOT, ": nothing is needed here", &mut findings);
    findings.done(Some(()))
}

/// A body that may be left out.
///
/// # Errors
/// [`super::Code::MalformedJson`] or [`super::Code::ValidationFailed`].
pub(super) fn object_or_empty(body: &[u8]) -> Result<Object<'_>, Problem> {
    if body.is_empty() {
        return Ok(Object::empty());
    }
    Object::of_body(body)
}
