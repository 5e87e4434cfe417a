//! What stands before every request: the circuit breaker, the bulkhead, and the wait that
//! Stripe asked for.
//!
//! ```text
//! closed    requests pass; `failures` in a row open it
//! open      nothing passes until `pause` is over
//! half open one request passes: its end closes the circuit, or opens it again
//! ```
//! A request that does not pass is answered "unknown" at once, and the core tries again in
//! its own time: an answer that is held back here would keep a cancel waiting behind it.
//! Only what says nothing about the payment counts as a failure (no answer, 5xx); a decline
//! is an answer, and so is "too many requests", which has a wait of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::{Circuit, StripeMetrics};

/// Longest wait that Stripe may ask for: what is longer is asked again after that.
const HOLD_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a request waits for others to end before it is given up.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// Bounds of the guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Requests under way at once.
    pub(super) concurrency: usize,
    /// Failures in a row that open the circuit.
    pub(super) failures: u32,
    /// How long it stays open.
    pub(super) pause: Duration,
}

/// Why a request was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Held {
    /// Stripe did not answer lately.
    #[error("not asked: Stripe has not answered lately (the circuit is open)")]
    CircuitOpen,
    /// Stripe asked for a pause.
    #[error("not asked: Stripe asked for a pause (Retry-After)")]
    RetryAfter,
    /// Too many are under way.
    #[error("not asked: too many requests to Stripe are under way")]
    Full,
}

#[derive(Debug)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    /// Somebody is trying whether Stripe answers again.
    probing: bool,
    hold_until: Option<Instant>,
}

/// The guard; see the module's page.
#[derive(Debug)]
pub(super) struct Guard {
    bounds: Bounds,
    places: Arc<Semaphore>,
    state: Mutex<State>,
    metrics: StripeMetrics,
}

/// A request that may be made. Dropped without a word, it counts as a failure: its task
/// came to an end before it did.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    guard: &'g Guard,
    _place: OwnedSemaphorePermit,
    is_told: bool,
}

impl Guard {
    pub(super) fn new(bounds: Bounds, metrics: StripeMetrics) -> Self {
        Self {
            bounds,
            places: Arc::new(Semaphore::new(bounds.concurrency)),
            state: Mutex::new(State {
                failures: 0,
                open_until: None,
                probing: false,
                hold_until: None,
            }),
            metrics,
        }
    }

    /// Lets a request pass, or says why it may not.
    pub(super) async fn enter(&self) -> Result<Pass<'_>, Held> {
        // Looked at before and after the wait for a place: much may happen meanwhile.
        self.look(Instant::now(), false)?;
        let place = tokio::time::timeout(PLACE_WAIT, self.places.clone().acquire_owned());
        let Ok(Ok(place)) = place.await else {
            return Err(Held::Full);
        };
        self.look(Instant::now(), true)?;
        self.metrics.in_flight.inc();
        Ok(Pass {
            guard: self,
            _place: place,
            is_told: false,
        })
    }

    /// Stripe asked for a pause of this length.
    pub(super) fn hold(&self, length: Duration) {
        let until = Instant::now() + length.min(HOLD_MAX);
        let mut state = self.state();
        state.hold_until = state.hold_until.max(Some(until));
    }

    fn look(&self, now: Instant, takes_probe: bool) -> Result<(), Held> {
        let mut state = self.state();
        if state.hold_until.is_some_and(|until| now < until) {
            return Err(Held::RetryAfter);
        }
        match state.open_until {
            Some(until) if now < until || state.probing => Err(Held::CircuitOpen),
            Some(_) if takes_probe => {
                state.probing = true;
                self.metrics.set_circuit(Circuit::HalfOpen);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn answered(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.probing = false;
        if state.open_until.take().is_some() {
            self.metrics.set_circuit(Circuit::Closed);
            tracing::info!("Stripe answers again: the circuit is closed");
        }
    }

    fn failed(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let was_probe = std::mem::take(&mut state.probing);
        if was_probe || (state.open_until.is_none() && state.failures >= self.bounds.failures) {
            state.open_until = Some(Instant::now() + self.bounds.pause);
            self.metrics.set_circuit(Circuit::Open);
            tracing::warn!(
                failures = state.failures,
                pause_ms = self.bounds.pause.as_millis(),
                "Stripe does not answer: the circuit is open"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in between leaves counts that the next answer puts right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Stripe answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.is_told = true;
        self.guard.answered();
    }

    /// It did not, or only that it cannot.
    pub(super) fn failed(mut self) {
        self.is_told = true;
        self.guard.failed();
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.guard.metrics.in_flight.dec();
        if !self.is_told {
            self.guard.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(concurrency: usize, pause: Duration) -> Guard {
        let bounds = Bounds {
            concurrency,
            failures: 3,
            pause,
        };
        let registry = prometheus::Registry::new();
        Guard::new(bounds, StripeMetrics::new(&registry).unwrap())
    }

    async fn fail(guard: &Guard) {
        guard.enter().await.unwrap().failed();
    }

    #[tokio::test]
    async fn failures_in_a_row_open_the_circuit_and_one_answer_closes_it() {
        let guard = guard(4, Duration::ZERO);
        fail(&guard).await;
        fail(&guard).await;
        guard.enter().await.unwrap().answered();
        fail(&guard).await;
        fail(&guard).await;
        fail(&guard).await;
        // The pause of zero is over: one may try, and while it does no other may.
        let probe = guard.enter().await.unwrap();
        assert_eq!(guard.enter().await.unwrap_err(), Held::CircuitOpen);
        probe.answered();
        guard.enter().await.unwrap().answered();
    }

    #[tokio::test]
    async fn an_open_circuit_lets_nothing_pass() {
        let guard = guard(4, Duration::from_secs(60));
        for _ in 0..3 {
            fail(&guard).await;
        }
        assert_eq!(guard.enter().await.unwrap_err(), Held::CircuitOpen);
    }

    #[tokio::test]
    async fn a_probe_that_ends_without_a_word_opens_the_circuit_again() {
        let guard = guard(4, Duration::ZERO);
        for _ in 0..3 {
            fail(&guard).await;
        }
        drop(guard.enter().await.unwrap());
        // And the next one may try again: nobody is locked out for good.
        guard.enter().await.unwrap().answered();
    }

    #[tokio::test]
    async fn a_pause_that_was_asked_for_is_kept() {
        let guard = guard(4, Duration::ZERO);
        guard.hold(Duration::from_secs(60));
        guard.hold(Duration::from_secs(1));
        assert_eq!(guard.enter().await.unwrap_err(), Held::RetryAfter);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_are_places_for_wait_and_then_give_up() {
        let guard = guard(1, Duration::ZERO);
        let first = guard.enter().await.unwrap();
        assert_eq!(guard.enter().await.unwrap_err(), Held::Full);
        first.answered();
        guard.enter().await.unwrap().answered();
    }
}
