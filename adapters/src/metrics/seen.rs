//! What the metrics remember of orders and products: gauges move by what changes.

use std::collections::HashSet;

use a4co_core::ids::OrderId;
use a4co_core::order::{OrderStatus, SagaState};
use a4co_core::payment::PaymentStatus;
use a4co_core::time::Timestamp;

/// What was last seen of an order with anything under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) order: Option<SeenOrder>,
    pub(super) payment: Option<SeenPayment>,
    /// Units that it holds, over all products; `None` without an active hold.
    pub(super) held: Option<u64>,
    pub(super) unaccounted_minor: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SeenOrder {
    pub(super) saga: SagaState,
    pub(super) status: OrderStatus,
    pub(super) parked: bool,
    pub(super) created_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SeenPayment {
    pub(super) status: PaymentStatus,
    pub(super) is_settled: bool,
    pub(super) parked: bool,
    pub(super) undo_requested: bool,
    pub(super) captured_minor: i64,
    /// Given back, or owed as a refund.
    pub(super) taken_minor: i64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stock {
    pub(super) leaked: u128,
    pub(super) reserved: u64,
}

/// The newest orders that were seen: what is not newer and not under way has been counted
/// before, and is only back in memory for a late word about it.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pub(super) at: Timestamp,
    pub(super) orders: HashSet<OrderId>,
    /// Of the present commit.
    pub(super) fresh: Vec<(Timestamp, OrderId)>,
}

impl Newest {
    pub(super) fn is_new(&self, created_at: Timestamp, order_id: OrderId) -> bool {
        created_at > self.at || (created_at == self.at && !self.orders.contains(&order_id))
    }

    pub(super) fn turn(&mut self) {
        let Some(at) = self.fresh.iter().map(|(at, _)| *at).max() else {
            return;
        };
        if at > self.at {
            self.at = at;
            self.orders.clear();
        }
        let newest = self.fresh.drain(..).filter(|(of, _)| *of == at);
        self.orders.extend(newest.map(|(_, order_id)| order_id));
    }
}

impl Seen {
    /// As [`a4co_core::invariants::unaccounted_minor`], and what is given back beyond what
    /// was captured. A payment without its order is one that came back for a late word: an
    /// order that may not keep its money has asked for its undoing.
    pub(super) fn unaccounted_minor(&self) -> i64 {
        let Some(payment) = self.payment else {
            return 0;
        };
        let left = payment.captured_minor.saturating_sub(payment.taken_minor);
        let may_keep = match self.order.map(|order| order.saga) {
            Some(SagaState::Failed | SagaState::Compensated) => false,
            _ => !payment.undo_requested,
        };
        if may_keep { left.min(0) } else { left }
    }

    pub(super) fn is_done(&self) -> bool {
        self.order.is_none_or(|order| order.saga.is_terminal())
            && self.payment.is_none_or(|payment| payment.is_settled)
            && self.held.is_none()
            && self.unaccounted_minor == 0
    }
}
