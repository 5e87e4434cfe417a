//! What the adapter counts, beyond what is counted of every gateway.
//!
//! Labels are closed: an endpoint and an answer of a few names each.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Seconds of one request.
const BUCKETS_S: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0];

/// Where the circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Circuit {
    /// Requests pass.
    Closed = 0,
    /// One passes.
    HalfOpen = 1,
    /// None passes.
    Open = 2,
}

/// The adapter's metrics. Cheap to clone; clones are the same metrics.
#[derive(Debug, Clone)]
pub(super) struct StripeMetrics {
    requests: IntCounterVec,
    durations_s: HistogramVec,
    circuit: IntGauge,
    opened: IntCounter,
    pub(super) in_flight: IntGauge,
    webhooks: IntCounterVec,
}

/// What became of a webhook that says that a refund which was done has come back.
pub(super) const REFUND_RETURNED: &str = "refund_returned";

impl StripeMetrics {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new(
                "stripe_requests_total",
                "Requests to Stripe by what came of them; held, full and circuit_open were not made.",
            ),
            &["endpoint", "answer"],
        )?;
        let durations_s = HistogramVec::new(
            HistogramOpts::new(
                "stripe_request_duration_seconds",
                "From a request to Stripe to its answer, or to giving it up.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["endpoint"],
        )?;
        let circuit = IntGauge::new(
            "stripe_circuit_state",
            "0 while requests to Stripe pass, 1 while one tries, 2 while none passes.",
        )?;
        let opened = IntCounter::new(
            "stripe_circuit_opened_total",
            "Times that the circuit to Stripe opened.",
        )?;
        let in_flight = IntGauge::new(
            "stripe_requests_in_flight",
            "Requests to Stripe that are under way.",
        )?;
        let webhooks = IntCounterVec::new(
            Opts::new("stripe_webhooks_total", "Webhooks by what came of them."),
            &["result"],
        )?;
        // There from the start, so that the first one is seen as an increase.
        webhooks.with_label_values(&[REFUND_RETURNED]);
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations_s.clone()))?;
        registry.register(Box::new(circuit.clone()))?;
        registry.register(Box::new(opened.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(webhooks.clone()))?;
        Ok(Self {
            requests,
            durations_s,
            circuit,
            opened,
            in_flight,
            webhooks,
        })
    }

    pub(super) fn asked(&self, endpoint: &str, answer: &str, took: Option<Duration>) {
        self.requests.with_label_values(&[endpoint, answer]).inc();
        if let Some(took) = took {
            let durations = self.durations_s.with_label_values(&[endpoint]);
            durations.observe(took.as_secs_f64());
        }
    }

    pub(super) fn set_circuit(&self, circuit: Circuit) {
        self.circuit.set(circuit as i64);
        if circuit == Circuit::Open {
            self.opened.inc();
        }
    }

    pub(super) fn webhook(&self, result: &str) {
        self.webhooks.with_label_values(&[result]).inc();
    }
}
