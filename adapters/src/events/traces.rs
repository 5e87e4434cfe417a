//! Which trace the events of an order belong to.
//!
//! Apart from the projection, which keeps nothing: of the journals only `OrderCreated` says
//! it, and whoever reads a later event may have begun after that.

use std::collections::HashMap;
use std::fmt;

use a4co_core::ids::OrderId;
use a4co_core::order::OrderEvent;
use a4co_core::record::Frame;
use a4co_core::trace::TraceContext;

use crate::trace::Tracer;

/// Orders that are remembered at once; more are looked up again.
const KNOWN_MAX: usize = 100_000;

/// What is known of an order's trace; `None` where the order itself is not known.
type LookUp = dyn Fn(OrderId) -> Option<Option<TraceContext>> + Send;

/// Traces of the orders that events are about.
pub struct Traces {
    tracer: Tracer,
    look_up: Box<LookUp>,
    /// Of orders under way, those without a trace too.
    known: HashMap<OrderId, Option<TraceContext>>,
}

impl Traces {
    /// `look_up`: the trace that an order came with, where `OrderCreated` was read long before.
    pub fn new(
        tracer: Tracer,
        look_up: impl Fn(OrderId) -> Option<Option<TraceContext>> + Send + 'static,
    ) -> Self {
        Self {
            tracer,
            look_up: Box::new(look_up),
            known: HashMap::new(),
        }
    }

    /// These events are told next.
    pub(super) fn begin(&mut self, frame: &Frame<OrderEvent>) {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        for recorded in &frame.events {
            let (order_id, trace) = match &recorded.event {
                OrderEvent::OrderCreated {
                    order_id, order, ..
                } => (*order_id, order.trace),
                OrderEvent::Recalled(order) => (order.order_id, order.order.trace),
                _ => continue,
            };
            let trace = trace.map(|trace| self.tracer.of_events(order_id, trace));
            self.known.insert(order_id, trace);
        }
    }

    /// Whose trace an order's events are part of.
    pub(super) fn of(&mut self, order_id: OrderId) -> Option<TraceContext> {
        if let Some(known) = self.known.get(&order_id) {
            return *known;
        }
        let trace = (self.look_up)(order_id)?;
        let trace = trace.map(|trace| self.tracer.of_events(order_id, trace));
        self.known.insert(order_id, trace);
        trace
    }

    /// They are told; orders that ended in them are seldom heard of again.
    pub(super) fn end(&mut self, frame: &Frame<OrderEvent>) {
        for recorded in &frame.events {
            if let OrderEvent::OrderConfirmed { order_id }
            | OrderEvent::OrderFailed { order_id, .. }
            | OrderEvent::OrderCancelled { order_id } = &recorded.event
            {
                self.known.remove(order_id);
            }
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}
