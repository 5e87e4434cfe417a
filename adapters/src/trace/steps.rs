//! The saga's spans: told of every commit, on the engine's thread.

use std::borrow::Cow;

use a4co_core::ids::Sequence;
use a4co_core::order::{HistoryEntry, Order, Step};
use a4co_core::row::Row;
use a4co_core::trace::TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::{Inner, Told, Tracer, order_attribute, saga_of, span_id_of, time_of};

/// Writes the steps of each order's saga into its trace. Belongs on the engine's thread.
#[derive(Debug)]
pub struct SagaSpans {
    tracer: Tracer,
    /// Of the order journal: what is up to here has been told.
    last: Sequence,
}

impl SagaSpans {
    /// Tells what comes after this sequence of the order journal.
    #[must_use]
    pub const fn after(tracer: Tracer, last: Sequence) -> Self {
        Self { tracer, last }
    }

    /// Somebody else tells of these rows.
    pub fn passed_over(&mut self, rows: &[Row]) {
        let versions = rows.iter().filter_map(|row| match row {
            Row::Order(order) => Some(order.version),
            _ => None,
        });
        self.last = versions.fold(self.last, Sequence::max);
    }

    /// These rows have changed, durably.
    pub fn committed(&mut self, rows: &[Row]) {
        for row in rows {
            let Row::Order(order) = row else { continue };
            if let Some((inner, trace)) = self.tracer.told(order.order.trace) {
                tell_steps(inner, trace, order, self.last);
            }
        }
        self.passed_over(rows);
    }
}

fn tell_steps(inner: &Inner, trace: TraceContext, order: &Order, last: Sequence) {
    let saga = saga_of(order.order_id, trace);
    let is_new = |entry: &HistoryEntry| entry.sequence > last;
    let first = order.history.iter().rposition(|entry| !is_new(entry));
    let first = first.map_or(0, |at| at + 1);
    for (at, entry) in order.history.iter().enumerate().skip(first) {
        // From the step before it: that is what this one took.
        let began = order.history[at.saturating_sub(1)].at;
        let what = entry.sequence.get() << 8 | entry.step as u64;
        let span_id = span_id_of(order.order_id, what);
        let context = TraceContext::new(trace.trace_id(), span_id, true);
        inner.tell(Told {
            context: context.unwrap_or(saga),
            parent: Some(saga.span_id()),
            parent_is_remote: false,
            kind: SpanKind::Internal,
            name: Cow::Borrowed(name(entry.step)),
            begin: time_of(began),
            end: time_of(entry.at),
            attributes: vec![
                order_attribute(order.order_id),
                KeyValue::new("a4co.saga.state", entry.saga.name()),
                KeyValue::new(
                    "a4co.order.sequence",
                    i64::try_from(entry.sequence.get()).unwrap_or(i64::MAX),
                ),
            ],
            error: (entry.step == Step::Parked).then_some(Cow::Borrowed(
                "an undo keeps failing, and waits for an operator",
            )),
        });
    }
    let has_just_ended = order.saga.is_terminal() && first < order.history.len();
    if has_just_ended {
        let mut attributes = vec![
            order_attribute(order.order_id),
            KeyValue::new("a4co.saga.state", order.saga.name()),
            KeyValue::new("a4co.order.status", order.status.name()),
        ];
        attributes.extend(
            (order.cancel_reason.as_ref()).map(|it| KeyValue::new("a4co.cancel.reason", it.name())),
        );
        let end = order
            .history
            .last()
            .map_or(order.updated_at, |last| last.at);
        inner.tell(Told {
            context: saga,
            parent: Some(trace.span_id()),
            parent_is_remote: true,
            kind: SpanKind::Internal,
            name: Cow::Borrowed("order saga"),
            begin: time_of(order.created_at),
            end: time_of(end),
            attributes,
            error: None,
        });
    }
}

/// As people read it in a trace.
const fn name(step: Step) -> &'static str {
    match step {
        Step::Created => "saga created",
        Step::InventoryReserved => "saga inventory reserved",
        Step::PaymentRequested => "saga payment requested",
        Step::PaymentSucceeded => "saga payment succeeded",
        Step::Confirmed => "saga confirmed",
        Step::OutOfStock => "saga out of stock",
        Step::CompensationRequested => "saga compensation requested",
        Step::StockUndone => "saga stock undone",
        Step::PaymentUndone => "saga payment undone",
        Step::Parked => "saga parked",
        Step::RetryRequested => "saga retry requested",
        Step::Cancelled => "saga cancelled",
    }
}
