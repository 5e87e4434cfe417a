//! What Stripe calls our charges, as far as it has told this process.
//!
//! Memory only, and bounded: what is forgotten, or was told to a process that has ended, is
//! learned again by asking Stripe under the same idempotency key. Client secrets are never
//! written anywhere: whoever has one can act for the customer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use a4co_core::ids::OrderId;
use secrecy::SecretString;

/// Charges that are remembered.
const KNOWN_MAX: usize = 100_000;

/// Refunds whose failing has been said, and is remembered.
const TOLD_MAX: usize = 10_000;

/// What is known of one charge.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    /// The payment intent's id.
    pub(super) reference: String,
    /// Lets the shop's page take the customer through 3-D Secure.
    pub(super) client_secret: Option<SecretString>,
}

/// Charges by order.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    charges: HashMap<OrderId, Charge>,
    /// In the order in which they became known.
    order: VecDeque<OrderId>,
    /// Refunds that have failed, and of which the core was told so.
    told: VecDeque<String>,
}

impl Known {
    /// Whether that this refund has failed is told for the first time; from then on it is not.
    /// A process that has forgotten tells it once more, which does no harm.
    pub(super) fn is_first_told(&self, refund: &str) -> bool {
        let mut state = self.state();
        let is_first = !state.told.iter().any(|told| told == refund);
        if is_first {
            state.told.push_back(refund.to_owned());
        }
        if state.told.len() > TOLD_MAX {
            state.told.pop_front();
        }
        is_first
    }

    pub(super) fn get(&self, order_id: OrderId) -> Option<Charge> {
        self.state().charges.get(&order_id).cloned()
    }

    pub(super) fn remember(&self, order_id: OrderId, charge: Charge) {
        let mut state = self.state();
        if state.charges.insert(order_id, charge).is_none() {
            state.order.push_back(order_id);
        }
        while state.order.len() > KNOWN_MAX {
            if let Some(oldest) = state.order.pop_front() {
                state.charges.remove(&oldest);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_failed_is_told_once() {
        let known = Known::default();
        assert!(known.is_first_told("re_1"));
        assert!(!known.is_first_told("re_1"));
        for number in 2..=TOLD_MAX + 1 {
            assert!(known.is_first_told(&format!("re_{number}")));
        }
        assert!(known.is_first_told("re_1"), "forgotten");
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let known = Known::default();
        for number in 0..=KNOWN_MAX as u128 {
            let charge = Charge {
                reference: format!("pi_{number}"),
                client_secret: None,
            };
            known.remember(OrderId::from_bytes(number.to_be_bytes()), charge);
        }
        assert!(known.get(OrderId::from_bytes([0; 16])).is_none());
        let last = OrderId::from_bytes((KNOWN_MAX as u128).to_be_bytes());
        assert_eq!(
            known.get(last).unwrap().reference,
            format!("pi_{KNOWN_MAX}")
        );
        assert!(!format!("{known:?}").contains("secret_x"));
    }
}
