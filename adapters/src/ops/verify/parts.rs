//! What is kept of an order while it is under way, and what remains of it in memory once
//! it has ended: a few bytes, so that millions of ended orders can be told apart.

use std::collections::HashMap;

use a4co_core::embedded::EmbeddedHost;
use a4co_core::ids::OrderId;
use a4co_core::inventory::Reservation;
use a4co_core::order::{Order, SagaState};
use a4co_core::payment::{Payment, RefundStatus};
use a4co_core::record;
use a4co_core::row::Row;
use serde::Serialize;

/// An order with its reservation and its payment, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) order: Option<Box<Order>>,
    pub(super) reservation: Option<Box<Reservation>>,
    pub(super) payment: Option<Box<Payment>>,
}

impl Parts {
    /// What the host has in memory.
    pub(super) fn in_memory(host: &EmbeddedHost, order_id: OrderId) -> Self {
        Self {
            order: host.order().state().orders.get(&order_id).cloned(),
            reservation: host
                .inventory()
                .state()
                .reservations
                .get(&order_id)
                .cloned(),
            payment: host.payment().state().payments.get(&order_id).cloned(),
        }
    }

    /// This, and `other` where this has nothing.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            order: self.order.or_else(|| other.order.clone()),
            reservation: self.reservation.or_else(|| other.reservation.clone()),
            payment: self.payment.or_else(|| other.payment.clone()),
        }
    }

    /// Takes a row in, in the place of its kind.
    pub(super) fn put(&mut self, row: Row) {
        match row {
            Row::Order(order) => self.order = Some(order),
            Row::Reservation(held) => self.reservation = Some(held),
            Row::Payment(payment) => self.payment = Some(payment),
            Row::Product(_) | Row::Answer(_) | Row::InShard(..) => {}
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.order.is_none() && self.reservation.is_none() && self.payment.is_none()
    }
}

/// One of the three rows of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Order,
    Reservation,
    Payment,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Order, Self::Reservation, Self::Payment];

    const fn index(self) -> usize {
        match self {
            Self::Order => 0,
            Self::Reservation => 1,
            Self::Payment => 2,
        }
    }

    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Reservation => "reservation",
            Self::Payment => "payment",
        }
    }
}

/// Bits of [`Marks::flags`]: the part is there, and it was found in the store.
const KNOWN: u8 = 0b001;
const SEEN: u8 = 0b000_1000;
const IN_BOOKS: u8 = 0b100_0000;

/// What remains of an order: a check sum of each of its rows, and its money.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    sums: [u32; 3],
    flags: u8,
    saga: u8,
    /// Captured in all, in minor units.
    pub(super) captured_minor: i64,
    /// Given back in all, in minor units.
    pub(super) refunded_minor: i64,
}

impl Marks {
    pub(super) fn set(&mut self, parts: &Parts) {
        if let Some(order) = &parts.order {
            self.set_sum(Part::Order, sum_of(order));
            self.saga = saga_code(order.saga);
        }
        if let Some(held) = &parts.reservation {
            self.set_sum(Part::Reservation, sum_of(held));
        }
        if let Some(payment) = &parts.payment {
            self.set_sum(Part::Payment, sum_of(payment));
            self.captured_minor = payment.captured.minor();
            self.refunded_minor = payment.refunded().minor();
        }
    }

    fn set_sum(&mut self, part: Part, sum: u32) {
        self.sums[part.index()] = sum;
        self.flags |= KNOWN << part.index();
    }

    /// The check sum of a part, where there is one.
    pub(super) fn sum(&self, part: Part) -> Option<u32> {
        (self.flags & (KNOWN << part.index()) != 0).then(|| self.sums[part.index()])
    }

    /// The saga's state, where the order is known.
    pub(super) fn saga(&self) -> Option<SagaState> {
        self.sum(Part::Order)?;
        SagaState::ALL.get(usize::from(self.saga)).copied()
    }

    pub(super) const fn see(&mut self, part: Part) {
        self.flags |= SEEN << part.index();
    }

    pub(super) const fn is_seen(&self, part: Part) -> bool {
        self.flags & (SEEN << part.index()) != 0
    }

    pub(super) const fn see_in_books(&mut self) {
        self.flags |= IN_BOOKS;
    }

    pub(super) const fn is_in_books(&self) -> bool {
        self.flags & IN_BOOKS != 0
    }
}

/// The marks of all orders.
pub(super) type AllMarks = HashMap<OrderId, Marks>;

/// A check sum of a row as it is at rest.
pub(super) fn sum_of<T: Serialize>(row: &T) -> u32 {
    crc32c::crc32c(&record::encode(row))
}

/// Asked for as refunds and not refused, in minor units.
pub(super) fn asked_back_minor(payment: &Payment) -> i64 {
    let asked = payment
        .refunds
        .iter()
        .filter(|refund| !matches!(refund.status, RefundStatus::Failed(_)));
    asked.fold(0, |sum, refund| sum.saturating_add(refund.amount.minor()))
}

fn saga_code(saga: SagaState) -> u8 {
    let place = SagaState::ALL.iter().position(|one| *one == saga);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}
