//! Which payments are parked: metrics bear no ids, and an operator has to find them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use a4co_core::ids::OrderId;

/// The payments that are parked, by their orders. Shared by whoever clones it.
///
/// The lock is taken when a payment is parked or is not any more, and when they are listed.
#[derive(Debug, Clone, Default)]
pub struct ParkedPayments(Arc<Mutex<BTreeSet<OrderId>>>);

impl ParkedPayments {
    pub(super) fn set(&self, order_id: OrderId, is_parked: bool) {
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_parked {
            parked.insert(order_id);
        } else {
            parked.remove(&order_id);
        }
    }

    /// The first of them in the order of ids, at most `limit`, and how many there are.
    #[must_use]
    pub fn first(&self, limit: usize) -> (Vec<OrderId>, usize) {
        let parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (parked.iter().take(limit).copied().collect(), parked.len())
    }
}
