//! Durations of sagas, counted in buckets that the engine's thread adds to and the hub takes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of one power of two: each is at most a sixteenth wide.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.ilog2();

/// Up to three days, in milliseconds; what took longer counts as that.
const LONGEST_MS: u64 = 1 << 28;

const BUCKETS: usize = bucket_of(LONGEST_MS) + 1;

/// Counters, one a bucket. Additions of one thread and takings of another lose nothing.
pub(super) struct Latencies([AtomicU64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn record(&self, took_ms: u64) {
        self.0[bucket_of(took_ms.min(LONGEST_MS))].fetch_add(1, Ordering::Relaxed);
    }

    /// Those at 50, 95 and 99 % of what was counted since the last call; `None` where
    /// nothing was.
    pub(super) fn take(&self) -> Option<[u64; 3]> {
        let counts: Vec<u64> = (self.0.iter())
            .map(|bucket| bucket.swap(0, Ordering::Relaxed))
            .collect();
        let all: u64 = counts.iter().sum();
        (all > 0).then(|| [50, 95, 99].map(|percent| at(&counts, (all * percent).div_ceil(100))))
    }
}

/// The largest duration of the bucket in which this many are reached.
fn at(counts: &[u64], wanted: u64) -> u64 {
    let mut seen = 0;
    let reached = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    longest_of(reached.unwrap_or(BUCKETS - 1))
}

/// Below 16 each duration has its own bucket; above, each power of two has 16.
#[expect(clippy::cast_possible_truncation, reason = "at most 16 times 29")]
const fn bucket_of(ms: u64) -> usize {
    if ms < STEPS {
        return ms as usize;
    }
    let power = ms.ilog2() - STEP_BITS;
    ((power as u64 + 1) * STEPS + (ms >> power) - STEPS) as usize
}

const fn longest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_durations_and_is_narrow(ms in 0..=LONGEST_MS) {
            let longest = longest_of(bucket_of(ms));
            prop_assert!(longest >= ms && longest - ms <= ms / STEPS);
        }
    }

    #[test]
    fn percentiles_are_of_what_came_since_the_last_look() {
        let latencies = Latencies::default();
        assert_eq!(latencies.take(), None);
        (1..=100).for_each(|ms| latencies.record(ms));
        assert_eq!(latencies.take(), Some([51, 95, 99]));
        latencies.record(u64::MAX);
        assert!(latencies.take().is_some_and(|found| found[0] >= LONGEST_MS));
        assert_eq!(latencies.take(), None);
    }
}
