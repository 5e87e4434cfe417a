//! Successful answers: JSON with its headers, and waiting for an end.

use a4co_core::ids::OrderId;
use a4co_core::order::Order;
use a4co_core::payment::Payment;
use a4co_core::row::Answer;
use a4co_driver::Watches;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::headers::IDEMPOTENCY_REPLAYED;
use super::ports::Readiness;
use super::problem::{Code, Problem};

/// An answer in JSON.
///
/// # Errors
/// [`Code::Internal`] for a body that has no JSON form, which none of ours is.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, body).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::new(Code::Internal, "the answer could not be written")
    })?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Says in the answer that it was given before.
pub(super) fn replayed(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
}

/// Waiting for one end; gives the place in the queue back when it is dropped.
pub(super) struct Watch<T> {
    end: oneshot::Receiver<Box<T>>,
    order_id: OrderId,
    watches: Watches,
    ended: bool,
}

impl Watch<Order> {
    /// For the end of an order's saga. To be made before the order is looked at.
    pub(super) fn of_order(watches: &Watches, order_id: OrderId) -> Self {
        Self {
            end: watches.order_end(order_id),
            order_id,
            watches: watches.clone(),
            ended: false,
        }
    }
}

impl Watch<Payment> {
    /// For the end of a refund beyond those that have ended before. To be made before the
    /// payment is looked at.
    pub(super) fn of_refund(watches: &Watches, order_id: OrderId, ended: usize) -> Self {
        Self {
            end: watches.refund_end(order_id, ended),
            order_id,
            watches: watches.clone(),
            ended: false,
        }
    }
}

impl<T> Watch<T> {
    /// Waits until then at most; `None` when time is up or the process is about to stop,
    /// and the present state has to do.
    pub(super) async fn until(mut self, then: Instant, readiness: &Readiness) -> Option<Box<T>> {
        let ended = tokio::select! {
            biased;
            ended = &mut self.end => ended.ok(),
            () = tokio::time::sleep_until(then) => None,
            () = readiness.drained() => None,
        };
        self.ended = ended.is_some();
        ended
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        if !self.ended {
            self.end.close();
            self.watches.forget(self.order_id);
        }
    }
}

/// The order in a reply. Commands about orders are answered with one.
pub(super) fn order(answer: Answer) -> Result<Box<Order>, Problem> {
    match answer {
        Answer::Order(order) => Ok(order),
        Answer::Product(_) | Answer::Payment(_) => Err(wrong_answer()),
    }
}

/// The engine answered about something else than it was asked, which it never does.
pub(super) fn wrong_answer() -> Problem {
    tracing::error!("the engine's answer is about something else");
    Problem::new(Code::Internal, "the engine's answer was not understood")
}
