//! What the engine counts, as Prometheus shows it; `docs/METRICS.md` has the list.
//!
//! Everything is derived from the rows of each commit, on the engine's thread, and nothing
//! takes a lock there: every labelled counter is looked up once, at the start. Labels are
//! bounded: names of states and reasons, never an id. Counters begin at zero with the
//! process; gauges are right from the first moment, because they are set from what
//! recovery found ([`EngineMetrics::recovered`]).

mod calls;
mod parked;
mod replica;
mod scraped;
mod seen;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use a4co_core::ids::{OrderId, ProductId};
use a4co_core::invariants::leaked_units;
use a4co_core::inventory::{InventoryState, Product, Reservation, ReservationStatus};
use a4co_core::order::{CancelReason, Order, OrderState, OrderStatus, SagaState};
use a4co_core::payment::{Payment, PaymentState, PaymentStatus, RefundStatus};
use a4co_core::row::Row;
use a4co_core::shards::ShardId;
use a4co_core::time::Timestamp;
use a4co_driver::ports::{Gateway, Observer};
use a4co_store::View;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use self::calls::{Calls, Metered};
pub use self::parked::ParkedPayments;
pub use self::replica::AppendMetrics;
use self::scraped::{Live, Scraped};
use self::seen::{Newest, Seen, SeenOrder, SeenPayment, Stock};
use crate::embedded::MonotonicClock;
use crate::http::Readiness;

/// Seconds from an order's creation to its saga's end.
const SAGA_BUCKETS_S: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0,
];

/// Seconds of one append, with its sync.
const APPEND_BUCKETS_S: [f64; 12] = [
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.025, 0.05, 0.1, 1.0,
];

/// The stages at which a saga fails.
const STAGES: [&str; 4] = ["inventory", "payment", "timeout", "cancelled"];

/// Why a compensation begins, as [`CancelReason::name`] has it.
const REASONS: [&str; 6] = [
    "user_cancelled",
    "payment_failed",
    "payment_timeout",
    "saga_timeout",
    "reservation_expired",
    "commit_refused",
];

/// What goes wrong technically: neither a declined card nor a product that is sold out.
const ERRORS: [&str; 7] = [
    "payment_timeout",
    "saga_timeout",
    "reservation_expired",
    "commit_refused",
    "parked",
    "journal_full",
    "gateway_unknown",
];
const ERROR_PARKED: usize = 4;
const ERROR_JOURNAL_FULL: usize = 5;
const ERROR_GATEWAY_UNKNOWN: usize = 6;

const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];

/// The engine's metrics, and the observer that feeds them.
pub struct EngineMetrics {
    started: IntCounter,
    succeeded: IntCounter,
    failed: [IntCounter; STAGES.len()],
    compensations: [IntCounter; REASONS.len()],
    compensated: IntCounter,
    errors: [IntCounter; ERRORS.len()],
    durations_s: [Histogram; OrderStatus::ALL.len()],
    active: IntGauge,
    by_saga: [IntGauge; SagaState::ALL.len()],
    by_status: [IntGauge; OrderStatus::ALL.len()],
    parked_sagas: IntGauge,
    parked_payments: IntGauge,
    parked: ParkedPayments,
    holds: IntGauge,
    holds_expired: IntCounter,
    payments: [IntCounter; PaymentStatus::ALL.len()],
    leaked: IntGauge,
    unaccounted: IntGauge,
    replicas: replica::Replicas,
    commits: IntCounter,
    commit_bytes: IntCounter,
    append_s: Histogram,
    calls: Arc<Calls>,
    live: Arc<Live>,
    has_room: bool,
    seen: HashMap<OrderId, Seen>,
    touched: Vec<OrderId>,
    /// Active sagas by state and age.
    ages: [BTreeSet<(Timestamp, OrderId)>; SagaState::ALL.len()],
    products: HashMap<ProductId, Stock>,
    /// Over all products: units that [`leaked_units`] finds, without their sign.
    leaked_units: u128,
    reserved_units: i128,
    held_units: i128,
    newest: Newest,
    /// Of the present commit: sagas ended, of these confirmed; compensations ended, parked.
    ended: (u64, u64),
    undone: (u64, u64),
}

/// Registers with one registry.
struct Register<'r>(&'r Registry);

impl Register<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::new(name, help)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters<const N: usize>(
        &self,
        (name, help): (&str, &str),
        label: &str,
        values: [&str; N],
    ) -> Result<[IntCounter; N], prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(values.map(|value| counters.with_label_values(&[value])))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn gauges<const N: usize>(
        &self,
        (name, help): (&str, &str),
        label: &str,
        values: [&str; N],
    ) -> Result<[IntGauge; N], prometheus::Error> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(values.map(|value| gauges.with_label_values(&[value])))
    }
}

impl EngineMetrics {
    /// Registers the engine's metrics.
    ///
    /// # Errors
    /// When the registry has one of them already.
    pub fn new(registry: &Registry, readiness: Arc<Readiness>) -> Result<Self, prometheus::Error> {
        let to = Register(registry);
        let durations_s = HistogramVec::new(
            HistogramOpts::new("saga_duration_seconds", "From creation to the saga's end.")
                .buckets(SAGA_BUCKETS_S.to_vec()),
            &["status"],
        )?;
        registry.register(Box::new(durations_s.clone()))?;
        let append_s = Histogram::with_opts(
            HistogramOpts::new(
                "journal_append_seconds",
                "One durable append, sync included.",
            )
            .buckets(APPEND_BUCKETS_S.to_vec()),
        )?;
        registry.register(Box::new(append_s.clone()))?;
        let errors = to.counters(
            (
                "saga_errors_total",
                "What went wrong technically, by kind; declined cards and sold-out products are none.",
            ),
            "error_type",
            ERRORS,
        )?;
        let live = Arc::new(Live::new(readiness));
        Scraped::register(registry, live.clone())?;
        Ok(Self {
            started: to.counter("saga_started_total", "Orders accepted.")?,
            succeeded: to.counter("saga_success_total", "Orders confirmed.")?,
            failed: to.counters(
                (
                    "saga_failure_total",
                    "Orders that were not fulfilled, by the stage that failed.",
                ),
                "failure_stage",
                STAGES,
            )?,
            compensations: to.counters(
                ("saga_compensation_total", "Compensations begun, by reason."),
                "reason",
                REASONS,
            )?,
            compensated: to.counter(
                "saga_compensation_success_total",
                "Compensations completed.",
            )?,
            durations_s: OrderStatus::ALL
                .map(|status| durations_s.with_label_values(&[status.name()])),
            active: to.gauge("saga_active_count", "Sagas under way.")?,
            by_saga: to.gauges(
                ("saga_status_count", "Sagas by state, ended ones included."),
                "status",
                SagaState::ALL.map(SagaState::name),
            )?,
            by_status: to.gauges(
                (
                    "order_status_count",
                    "Orders by status, ended ones included.",
                ),
                "status",
                OrderStatus::ALL.map(OrderStatus::name),
            )?,
            parked_sagas: to.gauge("saga_parked_count", "Sagas that wait for an operator.")?,
            parked_payments: to.gauge(
                "payment_parked_count",
                "Payments whose undoing keeps failing.",
            )?,
            holds: to.gauge("inventory_reservations_active", "Holds on stock.")?,
            holds_expired: to.counter(
                "inventory_reservations_expired_total",
                "Holds that expired.",
            )?,
            payments: to.counters(
                (
                    "payments_processed_total",
                    "Payments by the status that they reached.",
                ),
                "status",
                PaymentStatus::ALL.map(PaymentStatus::name),
            )?,
            leaked: to.gauge(
                "stock_leaked_units",
                "Units that nobody can account for. Anything but 0 is a bug.",
            )?,
            unaccounted: to.gauge(
                "order_money_unaccounted_minor",
                "Captured money, in minor units, that is neither earned nor on its way back. Anything but 0 is a bug.",
            )?,
            replicas: replica::Replicas::register(registry)?,
            commits: to.counter("journal_commits_total", "Records made durable.")?,
            commit_bytes: to.counter("journal_bytes_total", "Bytes of records made durable.")?,
            append_s,
            parked: ParkedPayments::default(),
            calls: Arc::new(Calls::new(
                registry,
                errors[ERROR_GATEWAY_UNKNOWN].clone(),
            )?),
            errors,
            live,
            has_room: true,
            seen: HashMap::new(),
            touched: Vec::new(),
            ages: std::array::from_fn(|_| BTreeSet::new()),
            products: HashMap::new(),
            leaked_units: 0,
            reserved_units: 0,
            held_units: 0,
            newest: Newest::default(),
            ended: (0, 0),
            undone: (0, 0),
        })
    }

    /// Which payments are parked, from the end of recovery on.
    #[must_use]
    pub fn parked_payments(&self) -> ParkedPayments {
        self.parked.clone()
    }

    /// The same gateway, with its calls counted.
    #[must_use]
    pub fn metered(&self, gateway: Arc<dyn Gateway>) -> Arc<dyn Gateway> {
        Arc::new(Metered {
            gateway,
            calls: self.calls.clone(),
        })
    }

    /// Takes in what is there after recovery, so that gauges are right from the start and
    /// nothing is counted twice. Every row must have been published to the view.
    pub fn recovered(
        &mut self,
        states: &[(&OrderState, &InventoryState, &PaymentState)],
        view: &View,
        clock: MonotonicClock,
        last_event_at: Timestamp,
    ) {
        match view.count_ended() {
            Ok(ended) => self.set_ended(ended),
            Err(error) => tracing::warn!(
                %error,
                "ended orders could not be counted; order_status_count lacks them until a restart"
            ),
        }
        self.newest.at = last_event_at;
        let shards = (0..).filter_map(ShardId::new);
        for ((orders, inventory, payments), shard) in states.iter().zip(shards) {
            for order in orders.orders.values() {
                if !order.saga.is_terminal() {
                    let _ = self.see_order(order);
                }
            }
            for product in inventory.products.values() {
                self.see_product(product);
            }
            for held in inventory.reservations.values() {
                if states.len() == 1 {
                    let _ = self.see_hold(held);
                } else {
                    self.see_in_shard(shard, &Row::Reservation(held.clone()));
                }
            }
            for payment in payments.payments.values() {
                let _ = self.see_payment(payment);
            }
        }
        self.newest.fresh.clear();
        // A second engine of one process would be a bug, and keeps the first one's view.
        let _ = self.live.engine.set((clock, view.clone()));
        self.settle();
    }

    fn set_ended(&self, ended: [u64; OrderStatus::ALL.len()]) {
        let finals = [
            (OrderStatus::Confirmed, SagaState::Completed),
            (OrderStatus::Failed, SagaState::Failed),
            (OrderStatus::Cancelled, SagaState::Compensated),
        ];
        for (status, saga) in finals {
            let count = i64::try_from(ended[status as usize]).unwrap_or(i64::MAX);
            self.by_status[status as usize].set(count);
            self.by_saga[saga as usize].set(count);
        }
    }

    /// Moves the gauges from what was last seen of the order to what is. Returns the
    /// former, or `None` for one that is new; `Err` for one that had ended before.
    fn see_order(&mut self, order: &Order) -> Result<Option<SeenOrder>, ()> {
        let now = SeenOrder {
            saga: order.saga,
            status: order.status,
            parked: order.parked,
            created_at: order.created_at,
        };
        self.touched.push(order.order_id);
        let seen = self.seen.entry(order.order_id).or_default();
        let before = seen.order.replace(now);
        match before {
            Some(before) => self.count(order.order_id, before, -1),
            None if !order.saga.is_terminal()
                || self.newest.is_new(order.created_at, order.order_id) =>
            {
                self.newest.fresh.push((order.created_at, order.order_id));
            }
            // Ended, and back for a late word about it: the gauges have it.
            None => return Err(()),
        }
        self.count(order.order_id, now, 1);
        match before {
            Some(before) if before.saga.is_terminal() => Err(()),
            before => Ok(before),
        }
    }

    fn count(&mut self, order_id: OrderId, order: SeenOrder, by: i64) {
        let saga = order.saga as usize;
        self.by_saga[saga].add(by);
        self.by_status[order.status as usize].add(by);
        if order.saga.is_terminal() {
            return;
        }
        self.active.add(by);
        self.parked_sagas.add(by * i64::from(order.parked));
        let age = (order.created_at, order_id);
        if by > 0 {
            self.ages[saga].insert(age);
        } else {
            self.ages[saga].remove(&age);
        }
    }

    fn on_order(&mut self, order: &Order) {
        let Ok(before) = self.see_order(order) else {
            return;
        };
        if before.is_none() {
            self.started.inc();
        }
        if order.parked && before.is_none_or(|before| !before.parked) {
            self.errors[ERROR_PARKED].inc();
            self.undone.1 += u64::from(order.undo.is_some());
        }
        let began_undo = order.undo.is_some()
            && before.is_none_or(|before| before.saga != SagaState::Compensating);
        let reason = order.cancel_reason.as_ref().map(CancelReason::name);
        if began_undo && let Some(reason) = reason {
            if let Some(index) = REASONS.iter().position(|name| *name == reason) {
                self.compensations[index].inc();
            }
            if let Some(index) = ERRORS.iter().position(|name| *name == reason) {
                self.errors[index].inc();
            }
        }
        self.on_end(order);
    }

    fn on_end(&mut self, order: &Order) {
        let stage = match order.saga {
            SagaState::Completed => {
                self.succeeded.inc();
                self.ended.1 += 1;
                None
            }
            SagaState::Failed => Some(0),
            SagaState::Compensated => {
                self.compensated.inc();
                self.undone.0 += 1;
                Some(order.cancel_reason.as_ref().map_or(0, stage_of))
            }
            _ => return,
        };
        self.ended.0 += 1;
        if let Some(stage) = stage {
            self.failed[stage].inc();
        }
        let took_ms = order.updated_at.saturating_since(order.created_at).get();
        #[expect(clippy::cast_precision_loss, reason = "a duration for a histogram")]
        let took_s = took_ms as f64 / 1_000.0;
        self.durations_s[order.status as usize].observe(took_s);
    }

    fn see_product(&mut self, product: &Product) {
        let now = Stock {
            leaked: leaked_units(product).unsigned_abs(),
            reserved: product.reserved,
        };
        let before = match self.products.get_mut(&product.product_id) {
            Some(known) => std::mem::replace(known, now),
            None => {
                self.products.insert(product.product_id.clone(), now);
                Stock::default()
            }
        };
        self.leaked_units = (self.leaked_units + now.leaked).saturating_sub(before.leaked);
        self.reserved_units += i128::from(now.reserved) - i128::from(before.reserved);
    }

    /// Returns the units that were held before, where something was.
    fn see_hold(&mut self, held: &Reservation) -> Option<u64> {
        let units = || {
            let lines = held.lines.iter();
            lines.fold(0, |sum: u64, line| sum.saturating_add(line.quantity))
        };
        let now = (held.status == ReservationStatus::Active).then(units);
        self.touched.push(held.order_id);
        let seen = self.seen.entry(held.order_id).or_default();
        let before = std::mem::replace(&mut seen.held, now);
        self.held_units += i128::from(now.unwrap_or(0)) - i128::from(before.unwrap_or(0));
        self.holds
            .add(i64::from(now.is_some()) - i64::from(before.is_some()));
        before
    }

    /// Returns the status that was seen before; the present one where it had been counted.
    fn see_payment(&mut self, payment: &Payment) -> Option<PaymentStatus> {
        let taken = payment.refunds.iter();
        let taken = taken.filter(|refund| !matches!(refund.status, RefundStatus::Failed(_)));
        let now = SeenPayment {
            status: payment.status(),
            is_settled: payment.is_settled(),
            parked: payment.parked,
            undo_requested: payment.undo_requested,
            captured_minor: payment.captured.minor(),
            taken_minor: taken.fold(0, |sum: i64, refund| {
                sum.saturating_add(refund.amount.minor())
            }),
        };
        self.touched.push(payment.order_id);
        let seen = self.seen.entry(payment.order_id).or_default();
        let before = seen.payment.replace(now);
        // Settled, and back for a refund: what it was has been counted. What was captured
        // after we had given up has not.
        let is_back = before.is_none()
            && seen.order.is_none_or(|order| order.saga.is_terminal())
            && !self.newest.is_new(payment.created_at, payment.order_id)
            && !payment.undo_requested;
        let was_parked = before.is_some_and(|before| before.parked);
        if payment.parked && !was_parked {
            // No metric names an order, and somebody has to find it.
            let (order_id, why) = (payment.order_id, payment.last_detail.as_deref());
            let why = why.unwrap_or_default();
            if payment.waits_for_a_person() {
                tracing::warn!(%order_id, why, "confirmed and not paid: the capture was refused");
            } else {
                tracing::warn!(%order_id, why, "the payment is parked: its call keeps failing");
            }
        }
        if now.parked != was_parked {
            self.parked.set(payment.order_id, now.parked);
        }
        self.parked_payments
            .add(i64::from(now.parked) - i64::from(was_parked));
        before
            .map(|before| before.status)
            .or(is_back.then_some(now.status))
    }

    fn on_payment(&mut self, payment: &Payment) {
        let before = self.see_payment(payment);
        let status = payment.status();
        if before != Some(status) && status != PaymentStatus::Processing {
            self.payments[status as usize].inc();
        }
    }

    /// What can only be judged when all rows of a commit are known.
    fn settle(&mut self) {
        self.newest.turn();
        for order_id in self.touched.drain(..) {
            let Some(seen) = self.seen.get_mut(&order_id) else {
                continue;
            };
            let now = seen.unaccounted_minor();
            let before = std::mem::replace(&mut seen.unaccounted_minor, now);
            if now != before {
                self.unaccounted
                    .add(now.saturating_abs().saturating_sub(before.saturating_abs()));
            }
            if seen.is_done() {
                self.seen.remove(&order_id);
            }
        }
        let unheld = (self.reserved_units - self.held_units).unsigned_abs();
        let leaked = i64::try_from(self.leaked_units + unheld).unwrap_or(i64::MAX);
        self.leaked.set(leaked);
        for (oldest_ms, ages) in self.live.oldest_ms.iter().zip(&self.ages) {
            let oldest = ages.first().map_or(0, |(at, _)| at.unix_ms());
            oldest_ms.store(oldest, Ordering::Relaxed);
        }
        let (ended, confirmed) = std::mem::take(&mut self.ended);
        let (undone, parked) = std::mem::take(&mut self.undone);
        if ended + undone + parked > 0 {
            let second = self.live.second();
            self.live.sagas.add(second, confirmed, ended);
            self.live.compensations.add(second, undone, undone + parked);
        }
    }
}

impl Observer for EngineMetrics {
    fn committed(&mut self, _: u64, bytes: usize, rows: &[Row]) {
        self.commits.inc();
        self.commit_bytes
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.shown(rows);
    }

    fn room(&mut self, has_room: bool) {
        if self.has_room && !has_room {
            self.errors[ERROR_JOURNAL_FULL].inc();
        }
        self.has_room = has_room;
        self.live.readiness.set_journal_writable(has_room);
    }
}

impl EngineMetrics {
    /// Counts what these rows, which are durable, show.
    pub fn shown(&mut self, rows: &[Row]) {
        for row in rows {
            match row {
                Row::Order(order) => self.on_order(order),
                Row::Reservation(held) => {
                    let before = self.see_hold(held);
                    if before.is_some() && held.status == ReservationStatus::Expired {
                        self.holds_expired.inc();
                    }
                }
                Row::Payment(payment) => self.on_payment(payment),
                Row::Product(product) => self.see_product(product),
                Row::InShard(shard, row) => self.see_in_shard(*shard, row),
                Row::Answer(_) => {}
            }
        }
        self.settle();
    }
}

/// The stage of the saga that a reason is about, as a place in [`STAGES`].
const fn stage_of(reason: &CancelReason) -> usize {
    match reason {
        CancelReason::HoldExpired | CancelReason::CommitRefused => 0,
        CancelReason::PaymentFailed(_) | CancelReason::PaymentTimedOut => 1,
        CancelReason::SagaTimedOut => 2,
        CancelReason::Requested(_) => 3,
    }
}
