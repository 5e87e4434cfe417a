//! What the engine counts, as Prometheus shows it.
//!
//! Everything is derived from the rows of each commit, on the engine's thread: an order
//! counts as started when its first row is seen, and as ended when its saga is. Labels are
//! bounded: names of states and reasons, never an id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use a4co_core::embedded::EmbeddedHost;
use a4co_core::ids::OrderId;
use a4co_core::inventory::{Reservation, ReservationStatus};
use a4co_core::order::{CancelReason, Order, OrderStatus, SagaState};
use a4co_core::payment::{Payment, PaymentStatus};
use a4co_core::row::Row;
use a4co_driver::ports::Observer;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::http::Readiness;

/// Seconds from an order's creation to its saga's end.
const SAGA_BUCKETS_S: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0,
];

/// Seconds of one append, with its sync.
const APPEND_BUCKETS_S: [f64; 12] = [
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.025, 0.05, 0.1, 1.0,
];

/// The engine's metrics, and the observer that feeds them.
pub struct EngineMetrics {
    started: IntCounter,
    succeeded: IntCounter,
    failed: IntCounterVec,
    compensations: IntCounterVec,
    compensated: IntCounter,
    duration_s: HistogramVec,
    active: IntGauge,
    by_saga: IntGaugeVec,
    by_status: IntGaugeVec,
    parked: IntGauge,
    holds: IntGauge,
    holds_expired: IntCounter,
    payments: IntCounterVec,
    commits: IntCounter,
    commit_bytes: IntCounter,
    append_s: Histogram,
    readiness: Arc<Readiness>,
    orders: HashMap<OrderId, Seen>,
    reservations: HashSet<OrderId>,
    payment_statuses: HashMap<OrderId, PaymentStatus>,
}

/// What was last seen of an active order.
#[derive(Debug, Clone, Copy)]
struct Seen {
    saga: SagaState,
    status: OrderStatus,
    parked: bool,
}

impl EngineMetrics {
    /// Registers the engine's metrics.
    ///
    /// # Errors
    /// When the registry has one of them already.
    pub fn new(registry: &Registry, readiness: Arc<Readiness>) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let duration_s = HistogramVec::new(
            HistogramOpts::new("saga_duration_seconds", "From creation to the saga's end.")
                .buckets(SAGA_BUCKETS_S.to_vec()),
            &["status"],
        )?;
        registry.register(Box::new(duration_s.clone()))?;
        let append_s = Histogram::with_opts(
            HistogramOpts::new(
                "journal_append_seconds",
                "One durable append, sync included.",
            )
            .buckets(APPEND_BUCKETS_S.to_vec()),
        )?;
        registry.register(Box::new(append_s.clone()))?;
        Ok(Self {
            started: counter("saga_started_total", "Orders accepted.")?,
            succeeded: counter("saga_success_total", "Orders confirmed.")?,
            failed: counters(
                "saga_failure_total",
                "Orders that were not fulfilled, by the stage that failed.",
                "failure_stage",
            )?,
            compensations: counters(
                "saga_compensation_total",
                "Compensations begun, by reason.",
                "reason",
            )?,
            compensated: counter(
                "saga_compensation_success_total",
                "Compensations completed.",
            )?,
            duration_s,
            active: gauge("saga_active_count", "Sagas under way.")?,
            by_saga: gauges("saga_status_count", "Sagas under way, by state.", "status")?,
            by_status: gauges(
                "order_status_count",
                "Orders under way by status, and orders ended since this process started.",
                "status",
            )?,
            parked: gauge("saga_parked_count", "Sagas that wait for an operator.")?,
            holds: gauge("inventory_reservations_active", "Holds on stock.")?,
            holds_expired: counter(
                "inventory_reservations_expired_total",
                "Holds that expired.",
            )?,
            payments: counters(
                "payments_processed_total",
                "Payments by the status that they reached.",
                "status",
            )?,
            commits: counter("journal_commits_total", "Records made durable.")?,
            commit_bytes: counter("journal_bytes_total", "Bytes of records made durable.")?,
            append_s,
            readiness,
            orders: HashMap::new(),
            reservations: HashSet::new(),
            payment_statuses: HashMap::new(),
        })
    }

    /// Where the journal reports how long its appends take, in seconds.
    #[must_use]
    pub fn append_seconds(&self) -> Histogram {
        self.append_s.clone()
    }

    /// Takes in what is under way after recovery, so that gauges are right from the start
    /// and nothing is counted twice.
    pub fn recovered(&mut self, host: &EmbeddedHost) {
        for order in host.order().state().orders.values() {
            self.see(order);
        }
        for held in host.inventory().state().reservations.values() {
            self.on_reservation(held);
        }
        for payment in host.payment().state().payments.values() {
            self.payment_statuses
                .insert(payment.order_id, payment.status());
        }
    }

    /// Moves the gauges from what was last seen of the order to what is; returns the former.
    fn see(&mut self, order: &Order) -> Option<Seen> {
        let now = Seen {
            saga: order.saga,
            status: order.status,
            parked: order.parked,
        };
        let before = if order.saga.is_terminal() {
            self.orders.remove(&order.order_id)
        } else {
            self.orders.insert(order.order_id, now)
        };
        if let Some(before) = before {
            self.by_saga.with_label_values(&[before.saga.name()]).dec();
            self.by_status
                .with_label_values(&[before.status.name()])
                .dec();
            self.active.dec();
            self.parked.sub(i64::from(before.parked));
        }
        self.by_status.with_label_values(&[now.status.name()]).inc();
        if !order.saga.is_terminal() {
            self.by_saga.with_label_values(&[now.saga.name()]).inc();
            self.active.inc();
            self.parked.add(i64::from(now.parked));
        }
        before
    }

    fn on_order(&mut self, order: &Order) {
        let before = self.see(order);
        if before.is_none() {
            self.started.inc();
        }
        let began_undo = order.undo.is_some()
            && before.is_none_or(|before| before.saga != SagaState::Compensating);
        if began_undo {
            let reason = order
                .cancel_reason
                .as_ref()
                .map_or("unknown", CancelReason::name);
            self.compensations.with_label_values(&[reason]).inc();
        }
        let stage = match order.saga {
            SagaState::Completed => {
                self.succeeded.inc();
                None
            }
            SagaState::Failed => Some("inventory"),
            SagaState::Compensated => {
                self.compensated.inc();
                Some(order.cancel_reason.as_ref().map_or("unknown", stage_of))
            }
            _ => return,
        };
        if let Some(stage) = stage {
            self.failed.with_label_values(&[stage]).inc();
        }
        let took_ms = order.updated_at.saturating_since(order.created_at).get();
        #[expect(clippy::cast_precision_loss, reason = "a duration for a histogram")]
        let took_s = took_ms as f64 / 1_000.0;
        self.duration_s
            .with_label_values(&[order.status.name()])
            .observe(took_s);
    }

    fn on_reservation(&mut self, held: &Reservation) {
        let is_active = held.status == ReservationStatus::Active;
        let was_active = if is_active {
            !self.reservations.insert(held.order_id)
        } else {
            self.reservations.remove(&held.order_id)
        };
        match (was_active, is_active) {
            (false, true) => self.holds.inc(),
            (true, false) => self.holds.dec(),
            _ => {}
        }
        if was_active && held.status == ReservationStatus::Expired {
            self.holds_expired.inc();
        }
    }

    fn on_payment(&mut self, payment: &Payment) {
        let status = payment.status();
        let before = if payment.is_settled() {
            self.payment_statuses.remove(&payment.order_id)
        } else {
            self.payment_statuses.insert(payment.order_id, status)
        };
        if before != Some(status) && status != PaymentStatus::Processing {
            self.payments.with_label_values(&[status.name()]).inc();
        }
    }
}

impl Observer for EngineMetrics {
    fn committed(&mut self, _: u64, bytes: usize, rows: &[Row]) {
        self.commits.inc();
        self.commit_bytes
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        for row in rows {
            match row {
                Row::Order(order) => self.on_order(order),
                Row::Reservation(held) => self.on_reservation(held),
                Row::Payment(payment) => self.on_payment(payment),
                Row::Product(_) | Row::Answer(_) => {}
            }
        }
    }

    fn room(&mut self, has_room: bool) {
        self.readiness.set_journal_writable(has_room);
    }
}

/// The stage of the saga that a reason is about.
const fn stage_of(reason: &CancelReason) -> &'static str {
    match reason {
        CancelReason::Requested(_) => "cancelled",
        CancelReason::PaymentFailed(_) | CancelReason::PaymentTimedOut => "payment",
        CancelReason::SagaTimedOut => "timeout",
        CancelReason::HoldExpired | CancelReason::CommitRefused => "inventory",
    }
}
