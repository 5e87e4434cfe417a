//! A share over the last five minutes, written by one thread and read by any, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far back the window reaches, in seconds.
pub(super) const WINDOW_S: u64 = 300;
const SLOT_S: u64 = 5;
const SLOTS: usize = (WINDOW_S / SLOT_S) as usize;

#[derive(Default)]
struct Slot {
    /// Which five seconds, counted from 1; 0 for none.
    epoch: AtomicU64,
    good: AtomicU64,
    all: AtomicU64,
}

/// What ended, and what of it ended well.
pub(super) struct Window([Slot; SLOTS]);

impl Default for Window {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Slot::default()))
    }
}

impl Window {
    /// Adds what ended at this second. One thread only; a reader at the same moment may see
    /// it in part, and sees all of it the next time.
    pub(super) fn add(&self, second: u64, good: u64, all: u64) {
        let epoch = second / SLOT_S + 1;
        let slot = &self.0[usize::try_from(epoch).unwrap_or(0) % SLOTS];
        if slot.epoch.load(Ordering::Relaxed) != epoch {
            slot.good.store(0, Ordering::Relaxed);
            slot.all.store(0, Ordering::Relaxed);
            slot.epoch.store(epoch, Ordering::Release);
        }
        slot.good.fetch_add(good, Ordering::Relaxed);
        slot.all.fetch_add(all, Ordering::Relaxed);
    }

    /// The share that ended well in the window before this second; 1 where nothing ended.
    pub(super) fn share(&self, second: u64) -> f64 {
        let now = second / SLOT_S + 1;
        let (mut good, mut all) = (0, 0);
        for slot in &self.0 {
            let epoch = slot.epoch.load(Ordering::Acquire);
            if epoch > 0 && now.saturating_sub(epoch) < WINDOW_S / SLOT_S {
                good += slot.good.load(Ordering::Relaxed);
                all += slot.all.load(Ordering::Relaxed);
            }
        }
        if all == 0 {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share for a gauge")]
        let share = good as f64 / all as f64;
        share.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_the_window_and_one_where_nothing_ended() {
        let window = Window::default();
        let near = |second, share: f64| (window.share(second) - share).abs() < 1e-9;
        assert!(near(0, 1.0) && near(10_000, 1.0));
        window.add(10, 3, 4);
        assert!(near(10, 0.75) && near(300, 0.75));
        window.add(200, 0, 4);
        assert!(near(200, 0.375));
        // The first has left the window, the second not yet.
        assert!(near(320, 0.0));
        assert!(near(1_000, 1.0));
        // A slot that is used again starts anew.
        window.add(10 + 2 * WINDOW_S, 1, 1);
        assert!(near(10 + 2 * WINDOW_S, 1.0));
    }
}
