//! Sums over all orders, kept up to date with every row that changes, so that nothing has
//! to stay in memory to be summed up at the end.

use std::collections::BTreeMap;

use a4co_core::ids::ProductId;
use a4co_core::invariants::StockSum;
use a4co_core::inventory::{Reservation, ReservationStatus};
use a4co_core::money::Currency;
use a4co_core::order::{Order, OrderStatus, SagaState};
use a4co_core::payment::{Payment, PaymentStatus};

use super::contents::MoneySums;
use super::parts::{Parts, asked_back_minor};

/// Counts and sums.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) by_status: BTreeMap<OrderStatus, u64>,
    pub(super) by_saga: BTreeMap<SagaState, u64>,
    pub(super) parked: u64,
    pub(super) reservations: BTreeMap<ReservationStatus, u64>,
    pub(super) payments: BTreeMap<PaymentStatus, u64>,
    pub(super) money: BTreeMap<Currency, MoneySums>,
    stock: BTreeMap<ProductId, StockSum>,
}

/// In or out of a sum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Totals {
    /// Counts what was not there before.
    pub(super) fn add(&mut self, parts: &Parts) {
        self.count(parts, Way::In);
    }

    /// Takes out what was counted.
    pub(super) fn remove(&mut self, parts: &Parts) {
        self.count(parts, Way::Out);
    }

    /// Units of one product in reservations.
    pub(super) fn stock_of(&self, product_id: &ProductId) -> StockSum {
        self.stock.get(product_id).copied().unwrap_or_default()
    }

    fn count(&mut self, parts: &Parts, way: Way) {
        if let Some(order) = &parts.order {
            self.count_order(order, way);
        }
        if let Some(held) = &parts.reservation {
            self.count_reservation(held, way);
        }
        if let Some(payment) = &parts.payment {
            self.count_payment(payment, way);
        }
    }

    fn count_order(&mut self, order: &Order, way: Way) {
        step(self.by_status.entry(order.status).or_default(), way);
        step(self.by_saga.entry(order.saga).or_default(), way);
        if order.parked {
            step(&mut self.parked, way);
        }
        if order.status == OrderStatus::Confirmed {
            let sums = self.money.entry(order.order.currency).or_default();
            shift(
                &mut sums.confirmed_orders_minor,
                order.order.total.minor(),
                way,
            );
        }
    }

    fn count_reservation(&mut self, held: &Reservation, way: Way) {
        step(self.reservations.entry(held.status).or_default(), way);
        for line in held.lines.iter() {
            let units = u128::from(line.quantity);
            let sum = self.stock.entry(line.product_id.clone()).or_default();
            let sum = match held.status {
                ReservationStatus::Active => &mut sum.held,
                ReservationStatus::Confirmed => &mut sum.committed,
                ReservationStatus::Released
                | ReservationStatus::Expired
                | ReservationStatus::OutOfStock => continue,
            };
            *sum = match way {
                Way::In => sum.saturating_add(units),
                Way::Out => sum.saturating_sub(units),
            };
        }
    }

    fn count_payment(&mut self, payment: &Payment, way: Way) {
        step(self.payments.entry(payment.status()).or_default(), way);
        let refunded = payment.refunded().minor();
        let owed = asked_back_minor(payment).saturating_sub(refunded);
        let sums = self.money.entry(payment.currency).or_default();
        shift(&mut sums.captured_minor, payment.captured.minor(), way);
        shift(&mut sums.refunded_minor, refunded, way);
        shift(&mut sums.refunds_owed_minor, owed, way);
    }
}

fn step(count: &mut u64, way: Way) {
    *count = match way {
        Way::In => count.saturating_add(1),
        Way::Out => count.saturating_sub(1),
    };
}

fn shift(sum: &mut i128, minor: i64, way: Way) {
    let minor = i128::from(minor);
    *sum = match way {
        Way::In => sum.saturating_add(minor),
        Way::Out => sum.saturating_sub(minor),
    };
}
