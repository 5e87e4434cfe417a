//! The payment gateway, with its calls counted and timed on their way through.

use std::sync::Arc;
use std::time::Instant;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_driver::ports::{AnswerSink, Gateway, GatewayAnswer};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

const OPERATIONS: [&str; 5] = ["charge", "query", "cancel", "refund", "capture"];
const OUTCOMES: [&str; 9] = [
    "succeeded",
    "rejected",
    "pending",
    "not_found",
    "cancelled",
    "refunded",
    "unknown",
    "authorised",
    "action_required",
];

/// Seconds from a call to its answer.
const BUCKETS_S: [f64; 12] = [
    0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// Counters of a gateway's calls, each looked up once.
pub(super) struct Calls {
    answers: [[IntCounter; OUTCOMES.len()]; OPERATIONS.len()],
    durations_s: [Histogram; OPERATIONS.len()],
    reports: IntCounter,
    unknown: IntCounter,
}

impl Calls {
    pub(super) fn new(registry: &Registry, unknown: IntCounter) -> Result<Self, prometheus::Error> {
        let answers = IntCounterVec::new(
            Opts::new(
                "gateway_calls_total",
                "Calls to the payment gateway that were answered.",
            ),
            &["operation", "outcome"],
        )?;
        let durations_s = HistogramVec::new(
            HistogramOpts::new(
                "gateway_call_duration_seconds",
                "From a call to the payment gateway to its answer.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["operation"],
        )?;
        let reports = IntCounter::new(
            "gateway_reports_total",
            "What the gateway reported without being asked.",
        )?;
        registry.register(Box::new(answers.clone()))?;
        registry.register(Box::new(durations_s.clone()))?;
        registry.register(Box::new(reports.clone()))?;
        Ok(Self {
            answers: OPERATIONS.map(|operation| {
                OUTCOMES.map(|outcome| answers.with_label_values(&[operation, outcome]))
            }),
            durations_s: OPERATIONS.map(|operation| durations_s.with_label_values(&[operation])),
            reports,
            unknown,
        })
    }

    fn answered(&self, called: Instant, answer: &GatewayAnswer) {
        let Some(operation) = answer.operation else {
            self.reports.inc();
            return;
        };
        let operation = match operation {
            GatewayOperation::Charge => 0,
            GatewayOperation::Query => 1,
            GatewayOperation::Cancel => 2,
            GatewayOperation::Refund { .. } => 3,
            GatewayOperation::Capture => 4,
        };
        let outcome = match answer.outcome {
            GatewayOutcome::Succeeded { .. } => 0,
            GatewayOutcome::Rejected { .. } => 1,
            GatewayOutcome::Pending => 2,
            GatewayOutcome::NotFound => 3,
            GatewayOutcome::Cancelled => 4,
            GatewayOutcome::Refunded { .. } => 5,
            GatewayOutcome::Unknown { .. } => {
                self.unknown.inc();
                6
            }
            GatewayOutcome::Authorised { .. } => 7,
            GatewayOutcome::ActionRequired { .. } => 8,
        };
        self.answers[operation][outcome].inc();
        self.durations_s[operation].observe(called.elapsed().as_secs_f64());
    }
}

/// A gateway whose calls are counted.
pub(super) struct Metered {
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) calls: Arc<Calls>,
}

impl Gateway for Metered {
    fn name(&self) -> &'static str {
        self.gateway.name()
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        // One for all calls of a commit: they begin together.
        let timed: Arc<dyn AnswerSink> = Arc::new(Timed {
            called: Instant::now(),
            calls: self.calls.clone(),
            answers: answers.clone(),
        });
        self.gateway.submit(calls, &timed);
    }
}

struct Timed {
    called: Instant,
    calls: Arc<Calls>,
    answers: Arc<dyn AnswerSink>,
}

impl AnswerSink for Timed {
    fn deliver(&self, answer: GatewayAnswer) {
        self.calls.answered(self.called, &answer);
        self.answers.deliver(answer);
    }
}
