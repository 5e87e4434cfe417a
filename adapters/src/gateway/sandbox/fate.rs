//! What an order's id alone decides: whether its charge succeeds, and how long its answers
//! take.
//!
//! Apart so that it can be recomputed by whoever reads the books or writes a test: both
//! numbers are the first eight bytes, big-endian, of the BLAKE3 hash of a label followed
//! by the 16 bytes of the order's id. A charge succeeds where its number modulo 1,000,000
//! is below the success rate in parts per million.

use std::time::Duration;

use a4co_core::gateway::{GatewayCall, GatewayOperation};
use a4co_core::ids::OrderId;

use crate::config::{Rate, SandboxConfig};

/// Hashed before the order's id for the outcome.
const OUTCOME_LABEL: &[u8] = b"a4co sandbox outcome";

/// Hashed before the order's id for the latency.
const LATENCY_LABEL: &[u8] = b"a4co sandbox latency";

/// A slow card whose cancel and refund fail at first.
const UNDO_FAILS: &str = "pm_card_undo_fails";

/// How many tries of its undos fail: as many as are parked by default.
pub(super) const UNDO_FAILURES: u32 = 8;

/// What becomes of a charge that was never heard of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Charged.
    Succeeds,
    /// Declined.
    Declined,
    /// Decided, and the answer is lost.
    TimesOut {
        /// Whether it was charged.
        charged: bool,
    },
    /// Charged after a while.
    Slow,
}

pub(super) fn of_charge(call: &GatewayCall, success_rate: Rate) -> Fate {
    if call.hints.decline {
        return Fate::Declined;
    }
    match call.payment_method.as_ref().map(|method| method.as_str()) {
        Some("pm_card_declined") => Fate::Declined,
        Some("pm_card_timeout") => Fate::TimesOut { charged: true },
        Some("pm_card_timeout_fails") => Fate::TimesOut { charged: false },
        Some("pm_card_slow" | UNDO_FAILS) => Fate::Slow,
        _ if success_rate == Rate::ALL => Fate::Succeeds,
        _ if success_rate.takes(place(OUTCOME_LABEL, call.order_id)) => Fate::Succeeds,
        _ => Fate::Declined,
    }
}

/// Whether this is an undo of an order that was paid with the means whose undos fail.
pub(super) fn may_fail_undo(call: &GatewayCall) -> bool {
    let is_undo = matches!(
        call.operation,
        GatewayOperation::Cancel | GatewayOperation::Refund { .. }
    );
    let method = call.payment_method.as_ref().map(|method| method.as_str());
    is_undo && method == Some(UNDO_FAILS)
}

/// How long every answer about this order takes: the latency, and up to the jitter more,
/// spread evenly in whole milliseconds.
pub(super) fn latency(config: &SandboxConfig, order_id: OrderId) -> Duration {
    if config.jitter.is_zero() {
        return config.latency;
    }
    let jitter_ms = u64::try_from(config.jitter.as_millis()).unwrap_or(u64::MAX - 1);
    let share = place(LATENCY_LABEL, order_id) % jitter_ms.saturating_add(1);
    config.latency + Duration::from_millis(share)
}

fn place(label: &[u8], order_id: OrderId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label).update(order_id.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u128) -> OrderId {
        OrderId::from_bytes(number.to_be_bytes())
    }

    /// Tests and demos elsewhere rest on these: a change here changes what orders come to.
    #[test]
    fn places_never_change() {
        let places = [0, 1].map(|number| place(OUTCOME_LABEL, order(number)));
        assert_eq!(places, [962_760_288_232_450_352, 316_144_097_758_869_187]);
    }

    #[test]
    fn the_share_of_successes_is_the_rate() {
        let rate = Rate::from_parts_per_million(900_000);
        let taken = (0..100_000).filter(|number| rate.takes(place(OUTCOME_LABEL, order(*number))));
        let taken = taken.count();
        assert!((89_500..90_500).contains(&taken), "{taken} of 100,000");
    }

    #[test]
    fn jitter_is_spread_over_its_whole_range() {
        let config = SandboxConfig {
            latency: Duration::from_millis(10),
            jitter: Duration::from_millis(3),
            ..SandboxConfig::default()
        };
        let seen: std::collections::BTreeSet<u128> = (0..100)
            .map(|number| latency(&config, order(number)).as_millis())
            .collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [10, 11, 12, 13]);
    }
}
