//! The engine's clock: the wall clock once, at start, and the monotonic clock from there.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use a4co_core::time::{Millis, Timestamp};
use a4co_driver::ports::Clock;

/// A clock that never jumps. The wall clock is read once: one that is set back, or forward,
/// while the process runs makes nothing expire early.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    started_at: Timestamp,
    started: Instant,
}

impl MonotonicClock {
    /// Starts at the wall clock's time, or at `earliest` where that is later: the journal's
    /// last event, so that a clock set back between two runs does not repeat time.
    #[must_use]
    pub fn not_before(earliest: Timestamp) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the wall clock"
        )]
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall = Timestamp::from_unix_ms(whole_ms(wall));
        Self {
            started_at: wall.max(earliest),
            started: Instant::now(),
        }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        self.started_at
            .saturating_add(Millis::new(whole_ms(self.started.elapsed())))
    }

    fn sleep(&self, length: Millis) -> impl Future<Output = ()> {
        tokio::time::sleep(Duration::from_millis(length.get()))
    }
}

fn whole_ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_goes_on_from_the_last_event() {
        let future = Timestamp::from_unix_ms(4_000_000_000_000);
        let clock = MonotonicClock::not_before(future);
        assert!(clock.now() >= future);
        assert!(clock.now() < future.saturating_add(Millis::from_minutes(1)));
    }
}
