//! The payment gateway, with its calls told in the traces of their orders.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::trace::TraceContext;
use a4co_driver::ports::{AnswerSink, Gateway, GatewayAnswer};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::{Told, Tracer, order_attribute, saga_of};

/// Which trace an order belongs to.
type TraceOf = dyn Fn(OrderId) -> Option<TraceContext> + Send + Sync;

/// A gateway whose calls are told.
pub struct Traced {
    gateway: Arc<dyn Gateway>,
    tracer: Tracer,
    trace_of: Arc<TraceOf>,
}

impl Traced {
    /// This gateway, its calls in the traces that `trace_of` names. Without a collector it is
    /// the gateway itself.
    pub fn of(
        gateway: Arc<dyn Gateway>,
        tracer: Tracer,
        trace_of: impl Fn(OrderId) -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Arc<dyn Gateway> {
        if tracer.0.is_none() {
            return gateway;
        }
        let trace_of = Arc::new(trace_of);
        Arc::new(Self {
            gateway,
            tracer,
            trace_of,
        })
    }
}

impl Gateway for Traced {
    fn name(&self) -> &'static str {
        self.gateway.name()
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        let open: Vec<Open> = (calls.iter())
            .filter_map(|call| {
                let trace = (self.trace_of)(call.order_id).filter(TraceContext::is_sampled)?;
                Some(Open {
                    order_id: call.order_id,
                    operation: call.operation,
                    attempt: call.attempt,
                    trace,
                })
            })
            .collect();
        if open.is_empty() {
            return self.gateway.submit(calls, answers);
        }
        let watched: Arc<dyn AnswerSink> = Arc::new(Watched {
            called: Instant::now(),
            gateway: self.gateway.name(),
            tracer: self.tracer.clone(),
            open: Mutex::new(open),
            answers: answers.clone(),
        });
        self.gateway.submit(calls, &watched);
    }
}

/// A call that is not answered yet.
struct Open {
    order_id: OrderId,
    operation: GatewayOperation,
    attempt: u32,
    trace: TraceContext,
}

/// Passes the answers of one commit's calls on.
struct Watched {
    called: Instant,
    gateway: &'static str,
    tracer: Tracer,
    open: Mutex<Vec<Open>>,
    answers: Arc<dyn AnswerSink>,
}

impl AnswerSink for Watched {
    fn deliver(&self, answer: GatewayAnswer) {
        let open = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let at = open.iter().position(|call| {
                call.order_id == answer.order_id && Some(call.operation) == answer.operation
            });
            at.map(|at| open.swap_remove(at))
        };
        if let Some(open) = open {
            self.tell(&open, &answer.outcome);
        }
        self.answers.deliver(answer);
    }
}

impl Watched {
    fn tell(&self, open: &Open, outcome: &GatewayOutcome) {
        let Some((inner, trace)) = self.tracer.told(Some(open.trace)) else {
            return;
        };
        let saga = saga_of(open.order_id, trace);
        // Each try is a call of its own, so its id is new.
        let span_id = fastrand::u64(1..).to_be_bytes();
        let name = match open.operation {
            GatewayOperation::Charge => "gateway charge",
            GatewayOperation::Query => "gateway query",
            GatewayOperation::Capture => "gateway capture",
            GatewayOperation::Cancel => "gateway cancel",
            GatewayOperation::Refund { .. } => "gateway refund",
        };
        let (said, error) = match outcome {
            GatewayOutcome::Succeeded { .. } => ("succeeded", None),
            GatewayOutcome::Authorised { .. } => ("authorised", None),
            GatewayOutcome::ActionRequired { .. } => ("action_required", None),
            GatewayOutcome::Rejected { .. } => ("rejected", None),
            GatewayOutcome::Pending => ("pending", None),
            GatewayOutcome::NotFound => ("not_found", None),
            GatewayOutcome::Cancelled => ("cancelled", None),
            GatewayOutcome::Refunded { .. } => ("refunded", None),
            GatewayOutcome::Unknown { detail } => ("unknown", Some(detail.to_string())),
        };
        inner.tell(Told {
            context: TraceContext::new(trace.trace_id(), span_id, true).unwrap_or(saga),
            parent: Some(saga.span_id()),
            parent_is_remote: false,
            kind: SpanKind::Client,
            name: Cow::Borrowed(name),
            begin: inner.time(self.called),
            end: inner.time(Instant::now()),
            attributes: vec![
                order_attribute(open.order_id),
                KeyValue::new("a4co.gateway", self.gateway),
                KeyValue::new("a4co.gateway.attempt", i64::from(open.attempt)),
                KeyValue::new("a4co.gateway.outcome", said),
            ],
            error: error.map(Cow::Owned),
        });
    }
}
