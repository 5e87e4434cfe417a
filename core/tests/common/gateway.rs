//! A gateway that is a model: what it does is planned by order, and it remembers what it
//! did under each idempotency key.

use std::collections::BTreeMap;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::invariants::{Books, GatewayAccount};

use super::{reference, text};

/// What the gateway makes of one order's charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Captures at once.
    Approve,
    /// Refuses at once.
    Decline,
    /// Is at it for a while; captures in the end, also when asked to cancel.
    SlowApprove,
    /// Is at it for a while; refuses in the end.
    SlowDecline,
    /// Breaks the contract: captures what it has cancelled, and reports it.
    Rogue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    Pending { looks: u8 },
    Captured,
    Declined,
    Cancelled,
}

/// The gateway. Two calls under one key (the charge, the refund of a number) are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelGateway {
    pub(crate) plans: BTreeMap<OrderId, Plan>,
    charges: BTreeMap<OrderId, Charge>,
    refunds: BTreeMap<(OrderId, u32), i64>,
    /// How often a refund is still refused.
    pub(crate) refusals: BTreeMap<(OrderId, u32), u32>,
    pub(crate) books: Books,
}

impl ModelGateway {
    /// Carries a call out and answers it.
    pub(crate) fn execute(&mut self, call: &GatewayCall) -> GatewayOutcome {
        let order_id = call.order_id;
        match call.operation {
            GatewayOperation::Charge => self.charge(call),
            // It captures what it charges, so nobody asks for a capture.
            GatewayOperation::Query | GatewayOperation::Capture => {
                self.look(call);
                self.report(order_id).unwrap_or(GatewayOutcome::NotFound)
            }
            GatewayOperation::Cancel => self.cancel(call),
            GatewayOperation::Refund { number } => self.refund(call, number),
        }
    }

    /// What the gateway would say of the charge unasked, if it knows of one.
    pub(crate) fn report(&self, order_id: OrderId) -> Option<GatewayOutcome> {
        Some(match self.charges.get(&order_id)? {
            Charge::Pending { .. } => GatewayOutcome::Pending,
            Charge::Captured => GatewayOutcome::Succeeded {
                reference: reference("charge"),
            },
            Charge::Declined => GatewayOutcome::Rejected {
                code: text("card_declined"),
            },
            Charge::Cancelled => GatewayOutcome::Cancelled,
        })
    }

    fn plan(&self, order_id: OrderId) -> Plan {
        self.plans.get(&order_id).copied().unwrap_or(Plan::Approve)
    }

    fn charge(&mut self, call: &GatewayCall) -> GatewayOutcome {
        let order_id = call.order_id;
        let plan = self.plan(order_id);
        match (self.charges.get(&order_id), plan) {
            (None, Plan::Approve | Plan::Rogue) | (Some(Charge::Cancelled), Plan::Rogue) => {
                self.capture(call);
            }
            (None, Plan::Decline) => {
                self.charges.insert(order_id, Charge::Declined);
            }
            (None, Plan::SlowApprove | Plan::SlowDecline) => {
                self.charges.insert(order_id, Charge::Pending { looks: 0 });
            }
            (Some(_), _) => {}
        }
        self.report(order_id).expect("charged just now or before")
    }

    fn look(&mut self, call: &GatewayCall) {
        let order_id = call.order_id;
        let plan = self.plan(order_id);
        match self.charges.get_mut(&order_id) {
            Some(Charge::Pending { looks }) if *looks < 2 => *looks += 1,
            Some(Charge::Pending { .. }) if plan == Plan::SlowDecline => {
                self.charges.insert(order_id, Charge::Declined);
            }
            Some(Charge::Pending { .. }) => self.capture(call),
            _ => {}
        }
    }

    fn cancel(&mut self, call: &GatewayCall) -> GatewayOutcome {
        let order_id = call.order_id;
        match self.charges.get(&order_id) {
            // Also what has never arrived: a late charge then finds its tombstone.
            None => {
                self.charges.insert(order_id, Charge::Cancelled);
            }
            Some(Charge::Pending { .. }) if self.plan(order_id) == Plan::SlowApprove => {
                self.capture(call);
            }
            Some(Charge::Pending { .. }) => {
                self.charges.insert(order_id, Charge::Cancelled);
            }
            Some(Charge::Captured | Charge::Declined | Charge::Cancelled) => {}
        }
        self.report(order_id).expect("there is a charge by now")
    }

    fn capture(&mut self, call: &GatewayCall) {
        self.charges.insert(call.order_id, Charge::Captured);
        let account = self.books.entry(call.order_id).or_default();
        account.captures += 1;
        account.captured = account
            .captured
            .checked_add(call.amount)
            .expect("amounts of a test are small");
    }

    fn refund(&mut self, call: &GatewayCall, number: u32) -> GatewayOutcome {
        let key = (call.order_id, number);
        assert_eq!(
            self.charges.get(&call.order_id),
            Some(&Charge::Captured),
            "a refund of what was never captured"
        );
        if let Some(before) = self.refunds.get(&key) {
            assert_eq!(*before, call.amount.minor(), "one key, two amounts");
        } else {
            if let Some(left) = self.refusals.get_mut(&key).filter(|left| **left > 0) {
                *left = left.saturating_sub(u32::from(*left != u32::MAX));
                return GatewayOutcome::Rejected {
                    code: text("refund_refused"),
                };
            }
            self.refunds.insert(key, call.amount.minor());
            let account: &mut GatewayAccount = self.books.entry(call.order_id).or_default();
            account.refunded = account
                .refunded
                .checked_add(call.amount)
                .expect("amounts of a test are small");
        }
        GatewayOutcome::Refunded {
            reference: reference(&format!("refund-{number}")),
        }
    }
}
