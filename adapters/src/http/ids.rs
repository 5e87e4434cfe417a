//! New order ids.

use a4co_core::ids::OrderId;
use uuid::Uuid;

/// A fresh order id: a UUID of version 7.
///
/// Ids of one process only ever increase: the generator counts on from its last value
/// where the clock stands still or jumps back. Across processes 74 random bits keep them
/// apart.
pub(super) fn fresh_order_id() -> OrderId {
    OrderId::from_uuid(Uuid::now_v7())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_only_ever_increase() {
        let mut last = fresh_order_id();
        for _ in 0..10_000 {
            let next = fresh_order_id();
            assert!(next > last);
            assert_eq!(next.uuid().get_version_num(), 7);
            last = next;
        }
    }
}
