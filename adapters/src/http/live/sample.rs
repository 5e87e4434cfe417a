//! One second of the process, read from the same metrics that `/metrics` shows, so that the
//! console and a dashboard cannot disagree.

use std::collections::VecDeque;

use prometheus::Registry;
use prometheus::proto::MetricFamily;

/// Samples over which rates of success are said: one second alone says little.
const WINDOW: usize = 60;

/// What the metrics read at one moment; counters count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Reading {
    pub(in crate::http) started: u64,
    pub(in crate::http) confirmed: u64,
    pub(in crate::http) failed: u64,
    pub(in crate::http) compensations: u64,
    pub(in crate::http) active: u64,
    pub(in crate::http) parked: u64,
    pub(in crate::http) parked_payments: u64,
    pub(in crate::http) by_saga: Vec<(String, u64)>,
    pub(in crate::http) by_status: Vec<(String, u64)>,
}

/// One second.
#[derive(Debug, Clone)]
pub(in crate::http) struct Sample {
    /// Milliseconds since the feed began, at its end.
    pub(in crate::http) uptime_ms: u64,
    /// How long it was: about 1,000.
    pub(in crate::http) took_ms: u64,
    /// At its end.
    pub(in crate::http) reading: Reading,
    /// Orders accepted in it.
    pub(in crate::http) started: u64,
    /// Sagas that ended in it.
    pub(in crate::http) ended: u64,
    /// Of the sagas that ended within the last minute, those confirmed, in thousandths.
    pub(in crate::http) success_permille: Option<u64>,
    /// Compensations for each thousand orders of the last minute.
    pub(in crate::http) compensation_permille: Option<u64>,
    /// Durations at 50, 95 and 99 %, in milliseconds.
    pub(in crate::http) latency_ms: Option<[u64; 3]>,
}

impl Sample {
    /// The second that ends with this reading; `earlier` are those before it.
    pub(super) fn next(
        earlier: &VecDeque<Self>,
        first: &Reading,
        reading: Reading,
        uptime_ms: u64,
        latency_ms: Option<[u64; 3]>,
    ) -> Self {
        let last = earlier.back();
        let before = last.map_or(first, |sample| &sample.reading);
        let minute_ago = earlier.len().checked_sub(WINDOW);
        let minute_ago = minute_ago.and_then(|index| earlier.get(index));
        let minute_ago = minute_ago.map_or(first, |sample| &sample.reading);
        let started = reading.started.saturating_sub(minute_ago.started);
        let confirmed = reading.confirmed.saturating_sub(minute_ago.confirmed);
        let failed = reading.failed.saturating_sub(minute_ago.failed);
        let undone = reading
            .compensations
            .saturating_sub(minute_ago.compensations);
        let ended = |reading: &Reading| reading.confirmed + reading.failed;
        Self {
            uptime_ms,
            took_ms: uptime_ms - last.map_or(0, |sample| sample.uptime_ms),
            started: reading.started.saturating_sub(before.started),
            ended: ended(&reading).saturating_sub(ended(before)),
            success_permille: (confirmed * 1_000).checked_div(confirmed + failed),
            compensation_permille: (undone * 1_000).checked_div(started),
            latency_ms,
            reading,
        }
    }
}

impl Reading {
    /// What the registry says now. What is not registered reads zero.
    pub(super) fn of(registry: &Registry) -> Self {
        let mut reading = Self::default();
        for family in registry.gather() {
            match family.name() {
                "saga_started_total" => reading.started = counted(&family),
                "saga_success_total" => reading.confirmed = counted(&family),
                "saga_failure_total" => reading.failed = counted(&family),
                "saga_compensation_total" => reading.compensations = counted(&family),
                "saga_active_count" => reading.active = gauged(&family),
                "saga_parked_count" => reading.parked = gauged(&family),
                "payment_parked_count" => reading.parked_payments = gauged(&family),
                "saga_status_count" => reading.by_saga = by_label(&family),
                "order_status_count" => reading.by_status = by_label(&family),
                _ => {}
            }
        }
        reading
    }
}

fn counted(family: &MetricFamily) -> u64 {
    let metrics = family.get_metric().iter();
    metrics
        .map(|metric| whole(metric.get_counter().get_value()))
        .sum()
}

fn gauged(family: &MetricFamily) -> u64 {
    let metrics = family.get_metric().iter();
    metrics
        .map(|metric| whole(metric.get_gauge().get_value()))
        .sum()
}

fn by_label(family: &MetricFamily) -> Vec<(String, u64)> {
    let metrics = family.get_metric().iter();
    let label = |metric: &prometheus::proto::Metric| {
        let name = metric.get_label().first()?.value().to_owned();
        Some((name, whole(metric.get_gauge().get_value())))
    };
    metrics.filter_map(label).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of things, written as floating point by the format of Prometheus"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
