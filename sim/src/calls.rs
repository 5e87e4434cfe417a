//! What lies between the engine and the gateway: calls that are lost, late or answered
//! into the void. What the gateway reports by itself is in [`crate::reports`].

use std::sync::Arc;

use a4co_core::embedded::HostInput;
use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;

use crate::coverage::Strike;
use crate::detail;
use crate::gateway::{Later, operation_number, order_number, outcome_number, unknown};
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::{Checked, safety};
use crate::world::{Event, OpenCall, World};

impl World<'_> {
    /// The engine calls the gateway.
    pub(crate) fn make_call(&mut self, call: GatewayCall) -> Checked {
        self.audit.on_call(&call)?;
        if !self.calling.insert(call.order_id) {
            let why = format!("order {} has a call under way", call.order_id);
            return Err(safety("one_call_at_a_time", why));
        }
        self.send_call(call, self.processes);
        Ok(())
    }

    /// A call of this process leaves for the gateway.
    pub(crate) fn send_call(&mut self, call: GatewayCall, process: u32) {
        self.calls_made += 1;
        let id = self.calls_made;
        let operation = operation_number(call.operation);
        let order = order_number(call.order_id);
        self.note(Node::Engine, "calls", [order, operation], || {
            format!(
                "call {id}: {:?} of order {}, {} minor, try {}",
                call.operation,
                call.order_id,
                call.amount.minor(),
                call.attempt
            )
        });
        self.about(call.order_id);
        let knobs = &self.plan.knobs;
        let mut rng = self.call_chance(&call, 0);
        let arrives_us = if self.is_healed {
            Some(1_000)
        } else if rng.chance(knobs.call_lost) {
            None
        } else if rng.chance(knobs.call_late) {
            let late = rng.between(1, 4) * knobs.call_timeout_ms * 1000;
            Some(late + rng.below(10_000))
        } else {
            Some(rng.below(knobs.gateway_us + 1))
        };
        let timeout_us = if self.is_healed {
            10_000
        } else {
            knobs.call_timeout_ms * 1000
        };
        match arrives_us {
            Some(delay_us) => self.schedule(delay_us, Event::CallArrives { call: id }),
            None => {
                self.audit.ledger.strike(Strike::CallLost);
                self.aside(Node::Net, "loses", Some(call.order_id), || {
                    format!("call {id} never arrives at the gateway")
                });
            }
        }
        if arrives_us.is_some_and(|arrives_us| arrives_us > timeout_us) {
            self.audit.ledger.strike(Strike::CallLate);
            self.aside(Node::Net, "delays", Some(call.order_id), || {
                format!("call {id} will arrive after its caller has given up")
            });
        }
        self.schedule(timeout_us, Event::CallGivenUp { call: id });
        let open = OpenCall {
            call,
            process,
            is_open: true,
        };
        self.calls.insert(id, open);
    }

    /// The chance of one call: of the order, the operation, and how often it was made.
    fn call_chance(&self, call: &GatewayCall, part: u64) -> Rng {
        let names = [
            order_number(call.order_id),
            operation_number(call.operation),
            u64::from(call.attempt),
            u64::from(self.processes),
            part,
        ];
        Rng::fork(self.plan.knobs.seed, Stream::Call, &names)
    }

    pub(crate) fn on_call_arrives(&mut self, id: u64) {
        let Some(open) = self.calls.get(&id) else {
            return;
        };
        let call = open.call.clone();
        let mut rng = self.call_chance(&call, 1);
        let knobs = &self.plan.knobs;
        let is_out = self.now_us < self.outage_until_us;
        if !self.is_healed && (is_out || rng.chance(knobs.call_fails)) {
            let outcome = Box::new(unknown("503"));
            self.audit.ledger.strike(if is_out {
                Strike::Outage
            } else {
                Strike::CallFails
            });
            self.note(Node::Gateway, "fails", [id, 0], || {
                format!("call {id}: 503")
            });
            self.about(call.order_id);
            self.schedule(100, Event::CallAnswered { call: id, outcome });
            return;
        }
        let mut lasts = Vec::new();
        let mut outcome = self.gateway.carry_out(knobs, (id, &call), &mut lasts);
        self.note(
            Node::Gateway,
            "does",
            [id, outcome_number(&outcome)],
            || {
                format!(
                    "call {id}: {:?} of order {}: {outcome:?}",
                    call.operation, call.order_id
                )
            },
        );
        self.about_gateway(call.order_id);
        self.later(call.order_id, lasts);
        let is_lost = !self.is_healed && rng.chance(knobs.answer_lost);
        if is_lost {
            self.audit.ledger.strike(Strike::AnswerLost);
            self.aside(Node::Net, "loses", Some(call.order_id), || {
                format!("the gateway's answer to call {id}")
            });
            if rng.chance(500) {
                return; // the caller's time-out tells
            }
            outcome = GatewayOutcome::Unknown {
                detail: Arc::from("502"),
            };
        }
        let delay_us = if self.is_healed {
            1_000
        } else {
            rng.below(knobs.gateway_us / 4 + 1)
        };
        let outcome = Box::new(outcome);
        self.schedule(delay_us, Event::CallAnswered { call: id, outcome });
    }

    /// The last line is about this order, and the gateway's books may have changed.
    fn about_gateway(&mut self, order_id: OrderId) {
        let gateway = &self.gateway;
        self.trace.add(|line| {
            line.about.push(order_id);
            line.changes.push(detail::books(gateway, order_id));
        });
    }

    fn later(&mut self, order_id: OrderId, lasts: Vec<(u64, Later)>) {
        for (delay_us, later) in lasts {
            self.schedule(delay_us, Event::AtGateway { order_id, later });
        }
    }

    pub(crate) fn on_call_answered(&mut self, id: u64, outcome: GatewayOutcome) {
        let Some(open) = self.calls.get_mut(&id) else {
            return;
        };
        let process = open.process;
        if !open.is_open || (self.cluster.is_none() && process != self.processes) {
            return;
        }
        open.is_open = false;
        let (order_id, operation) = (open.call.order_id, open.call.operation);
        self.calling.remove(&order_id);
        self.is_at(process);
        self.note(Node::Net, "answers", [id, outcome_number(&outcome)], || {
            format!("call {id}, {operation:?} of order {order_id}: {outcome:?}")
        });
        self.about(order_id);
        if self.cluster.is_some() {
            return self.answer_call_of(process, order_id, operation, outcome);
        }
        self.hand_in(HostInput::Gateway {
            order_id,
            operation: Some(operation),
            outcome,
        });
    }

    pub(crate) fn at_gateway(&mut self, order_id: OrderId, later: Later) {
        let knobs = &self.plan.knobs;
        let mut lasts = Vec::new();
        match later {
            Later::Settle => self.gateway.settle(knobs, order_id, &mut lasts),
            Later::CaptureAfterAll => {
                if self.is_healed {
                    return;
                }
                self.gateway.capture_after_all(knobs, order_id, &mut lasts);
            }
            Later::Lapse => self.gateway.lapse(knobs, order_id, &mut lasts),
            Later::SettleRefund { number } => {
                self.gateway
                    .settle_refund(knobs, order_id, number, &mut lasts);
            }
            Later::Report {
                refund,
                outcome,
                must,
            } => return self.begin_report(order_id, refund, outcome, must),
        }
        let charge = self.gateway.charge(order_id);
        self.note(
            Node::Gateway,
            "settles",
            [order_number(order_id), 0],
            || format!("order {order_id}: {charge:?}"),
        );
        self.about_gateway(order_id);
        self.later(order_id, lasts);
    }
}
