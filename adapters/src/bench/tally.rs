//! What the clients saw, counted.

use std::collections::BTreeMap;

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies above this are counted as this, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Counts of one client, or of all.
pub(super) struct Tally {
    /// Of the orders that count, in microseconds.
    latency_us: Histogram<u64>,
    /// Orders that ended within the measured time.
    pub(super) ended_in_time: u64,
    /// All orders that ended, warm-up included, by their last status.
    pub(super) by_status: BTreeMap<String, u64>,
    /// By the problem's code, or by what became of the connection.
    pub(super) errors: BTreeMap<String, u64>,
    /// The first error, in full.
    pub(super) first_error: Option<String>,
    /// Open loop: orders that were sent later than they were due, by more than a timer's
    /// grain.
    pub(super) sent_late: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
        let latency_us =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds of a histogram");
        Self {
            latency_us,
            ended_in_time: 0,
            by_status: BTreeMap::new(),
            errors: BTreeMap::new(),
            first_error: None,
            sent_late: 0,
        }
    }

    pub(super) fn latency(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.saturating_record(us);
    }

    pub(super) fn ended(&mut self, status: &str) {
        match self.by_status.get_mut(status) {
            Some(count) => *count += 1,
            None => {
                self.by_status.insert(status.to_owned(), 1);
            }
        }
    }

    pub(super) fn error(&mut self, name: String, detail: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(detail);
        *self.errors.entry(name).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        // Both have the same bounds, so this cannot fail.
        let _ = self.latency_us.add(&other.latency_us);
        self.ended_in_time += other.ended_in_time;
        self.sent_late += other.sent_late;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (name, count) in other.errors {
            *self.errors.entry(name).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Latencies that were recorded.
    pub(super) fn latencies(&self) -> u64 {
        self.latency_us.len()
    }

    /// A quantile, 0.0 to 1.0, in milliseconds.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        ms(self.latency_us.value_at_quantile(quantile))
    }

    /// The mean in milliseconds.
    pub(super) fn mean_ms(&self) -> f64 {
        self.latency_us.mean() / 1_000.0
    }

    /// The longest in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        ms(self.latency_us.max())
    }
}

#[expect(clippy::cast_precision_loss, reason = "ten minutes fit")]
fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
