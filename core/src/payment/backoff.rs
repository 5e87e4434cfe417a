//! How long to wait before the next try of a gateway call.

use crate::ids::OrderId;
use crate::settings::Settings;
use crate::time::Millis;

/// The wait after `attempts` tries: doubling from the first wait up to the cap, of which
/// the upper half is spread by the order's id, so that payments that failed together do
/// not come back together. A function of its arguments: a replay waits equally long.
pub(super) fn wait_ms(settings: &Settings, order_id: OrderId, attempts: u32) -> Millis {
    let doublings = attempts.saturating_sub(1).min(32);
    let full = settings
        .retry_first_ms
        .get()
        .saturating_mul(1 << doublings)
        .min(settings.retry_cap_ms.get());
    let half = full / 2;
    Millis::new(half + spread(order_id, attempts) % (full - half + 1))
}

/// A well-mixed number of the id and the attempt (the finaliser of SplitMix64).
fn spread(order_id: OrderId, attempts: u32) -> u64 {
    let (high, low) = order_id.uuid().as_u64_pair();
    let mut mixed =
        high ^ low.rotate_left(32) ^ u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_wait_is_within_its_bounds(bytes: [u8; 16], attempts in 1u32..100) {
            let settings = Settings::default();
            let wait = wait_ms(&settings, OrderId::from_bytes(bytes), attempts).get();
            let full = (200u64 << (attempts - 1).min(20)).min(30_000);
            prop_assert!(wait >= full / 2, "{wait} is below half of {full}");
            prop_assert!(wait <= full, "{wait} is above {full}");
        }
    }
}
