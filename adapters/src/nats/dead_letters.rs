//! `dead_letters_total`: what consumers gave up on, whoever they are.
//!
//! Consumers are other processes, most of them not ours, so the stream itself is asked: its
//! last sequence is the number of messages that ever came in. Until it was asked there is
//! no value: one that began at 0 with each start would look like new dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Registry};

use super::connect::Connected;
use super::streams::DEAD_LETTERS;

/// How often the stream is asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The counter.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    counter: IntCounter,
    kept: Arc<AtomicU64>,
    is_known: Arc<AtomicBool>,
}

impl DeadLetters {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = IntCounter::new(
            "dead_letters_total",
            "Messages that consumers gave up on, as their stream on NATS counts them.",
        )?;
        let metric = Self {
            counter,
            kept: Arc::default(),
            is_known: Arc::default(),
        };
        registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// How many the stream still has; `None` until it was asked.
    #[must_use]
    pub fn kept(&self) -> Option<u64> {
        let is_known = self.is_known.load(Ordering::Acquire);
        is_known.then(|| self.kept.load(Ordering::Relaxed))
    }

    /// So many there ever were, and so many are still kept. Fewer than before: the stream
    /// was made anew.
    pub fn set(&self, total: u64, kept: u64) {
        self.kept.store(kept, Ordering::Relaxed);
        let before = self.counter.get();
        if total < before {
            self.counter.reset();
        }
        self.counter.inc_by(total - self.counter.get());
        self.is_known.store(true, Ordering::Release);
    }

    /// Asks the stream again and again.
    pub async fn watch(self, nats: Connected) {
        loop {
            // What cannot be asked now is asked later; until then the last answer stands.
            if let Ok(stream) = nats.admin.get_stream(DEAD_LETTERS).await {
                let state = &stream.cached_info().state;
                self.set(state.last_sequence, state.messages);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Collector for DeadLetters {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if self.is_known.load(Ordering::Acquire) {
            self.counter.collect()
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_before_it_is_known_and_then_what_the_stream_says() {
        let registry = Registry::new();
        let metric = DeadLetters::register(&registry).unwrap();
        assert!(registry.gather().is_empty());
        let shown = || {
            registry.gather()[0].get_metric()[0]
                .get_counter()
                .get_value()
        };
        assert_eq!(metric.kept(), None);
        metric.set(0, 0);
        assert_eq!(shown(), 0.0);
        metric.set(3, 3);
        metric.set(3, 2);
        assert_eq!((shown(), metric.kept()), (3.0, Some(2)));
        metric.set(1, 1);
        assert_eq!((shown(), metric.kept()), (1.0, Some(1)));
    }
}
