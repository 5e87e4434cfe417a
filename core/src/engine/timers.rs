//! One timer an order, in order of time: set anew, it forgets what it was set to.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::OrderId;
use crate::time::Timestamp;

/// Timers by order. An order has at most one.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Timestamp, OrderId)>,
    by_order: BTreeMap<OrderId, Timestamp>,
}

impl Timers {
    /// Sets the order's timer, or takes it away. A timer that was set before is gone,
    /// so none is ever stale.
    pub(super) fn set(&mut self, order_id: OrderId, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.by_order.insert(order_id, at),
            None => self.by_order.remove(&order_id),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, order_id));
        }
        if let Some(at) = at {
            self.by_time.insert((at, order_id));
        }
    }

    /// When the first timer is due.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<OrderId> {
        let (at, order_id) = *self.by_time.first()?;
        // `>` and not `>=`: a timer is due in the very millisecond that it names.
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_order.remove(&order_id);
        Some(order_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn a_timer_set_anew_rings_once_and_at_the_new_time() {
        let order_id = OrderId::from_bytes([1; 16]);
        let mut timers = Timers::default();
        timers.set(order_id, Some(at(10)));
        timers.set(order_id, Some(at(20)));
        assert_eq!(timers.pop_due(at(19)), None);
        assert_eq!(timers.pop_due(at(20)), Some(order_id));
        assert_eq!(timers.pop_due(at(1_000)), None);
        assert_eq!(timers.first(), None);
    }

    #[test]
    fn a_timer_that_was_taken_away_never_rings() {
        let order_id = OrderId::from_bytes([1; 16]);
        let mut timers = Timers::default();
        timers.set(order_id, Some(at(10)));
        timers.set(order_id, None);
        assert_eq!(timers.pop_due(at(1_000)), None);
    }
}
