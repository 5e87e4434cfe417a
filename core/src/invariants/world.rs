//! The views that the invariants are asked of: borrowed, and put together by the caller.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId};
use crate::inventory::{InventoryState, Product, Reservation};
use crate::money::Amount;
use crate::order::{Order, OrderState};
use crate::payment::{Payment, PaymentState};
use crate::row::{AnswerRecord, Row};

/// What the gateway's own books say of one order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewayAccount {
    /// Captured in all, in minor units; refunds not subtracted.
    pub captured: Amount,
    /// Given back in all, in minor units.
    pub refunded: Amount,
    /// How often it captured.
    pub captures: u32,
}

/// The gateway's own books, by order. An order without an account was never charged.
pub type Books = BTreeMap<OrderId, GatewayAccount>;

/// One order with all that belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct OrderView<'a> {
    /// The order.
    pub order_id: OrderId,
    /// The order with its saga.
    pub order: Option<&'a Order>,
    /// Its reservation.
    pub reservation: Option<&'a Reservation>,
    /// Its payment.
    pub payment: Option<&'a Payment>,
    /// What the gateway says, if it was asked.
    pub gateway: Option<GatewayAccount>,
    /// What is `None` above does not exist; else it may have left memory.
    pub is_complete: bool,
}

/// The three states, the rows that have left them, and the gateway's books.
#[derive(Debug, Clone, Default)]
pub struct World<'a> {
    orders: BTreeMap<OrderId, &'a Order>,
    reservations: BTreeMap<OrderId, &'a Reservation>,
    payments: BTreeMap<OrderId, &'a Payment>,
    products: BTreeMap<&'a ProductId, &'a Product>,
    answers: BTreeMap<(ParticipantId, &'a IdempotencyKey), &'a AnswerRecord>,
    books: Option<&'a Books>,
    is_complete: bool,
}

impl<'a> World<'a> {
    /// What the three states hold in memory. Not complete: see [`World::complete`].
    #[must_use]
    pub fn of_states(
        order: &'a OrderState,
        inventory: &'a InventoryState,
        payment: &'a PaymentState,
    ) -> Self {
        let mut world = Self::default();
        let answers = order.answers.values();
        for record in answers
            .chain(inventory.answers.values())
            .chain(payment.answers.values())
        {
            world.add_answer(record);
        }
        world
            .orders
            .extend(order.orders.iter().map(|(id, it)| (*id, it.as_ref())));
        let reservations = inventory.reservations.iter();
        world
            .reservations
            .extend(reservations.map(|(id, it)| (*id, it.as_ref())));
        let payments = payment.payments.iter();
        world
            .payments
            .extend(payments.map(|(id, it)| (*id, it.as_ref())));
        let products = inventory.products.iter();
        world
            .products
            .extend(products.map(|(id, it)| (id, it.as_ref())));
        world
    }

    /// Adds a row from outside memory. What is in the view already is newer, and stays.
    pub fn add_row(&mut self, row: &'a Row) {
        match row {
            Row::Order(order) => {
                self.orders.entry(order.order_id).or_insert(order);
            }
            Row::Reservation(held) => {
                self.reservations.entry(held.order_id).or_insert(held);
            }
            Row::Payment(payment) => {
                self.payments.entry(payment.order_id).or_insert(payment);
            }
            Row::Product(product) => {
                self.products.entry(&product.product_id).or_insert(product);
            }
            Row::Answer(record) => self.add_answer(record),
        }
    }

    /// Every row that has left memory has been added, or none ever left: what is not
    /// here does not exist.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.is_complete = true;
        self
    }

    /// Compares with the gateway's own books.
    #[must_use]
    pub fn with_books(mut self, books: &'a Books) -> Self {
        self.books = Some(books);
        self
    }

    /// Whether what is not here does not exist.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Every order that anybody here has heard of, in order of id.
    pub fn orders(&self) -> impl Iterator<Item = OrderView<'a>> + '_ {
        let mut ids: BTreeSet<OrderId> = self.orders.keys().copied().collect();
        ids.extend(self.reservations.keys());
        ids.extend(self.payments.keys());
        ids.extend(self.books.into_iter().flat_map(BTreeMap::keys));
        ids.into_iter().map(|order_id| self.order(order_id))
    }

    /// All that is known of one order.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> OrderView<'a> {
        OrderView {
            order_id,
            order: self.orders.get(&order_id).copied(),
            reservation: self.reservations.get(&order_id).copied(),
            payment: self.payments.get(&order_id).copied(),
            gateway: self
                .books
                .map(|books| books.get(&order_id).copied().unwrap_or_default()),
            is_complete: self.is_complete,
        }
    }

    /// All products, in order of id.
    pub fn products(&self) -> impl Iterator<Item = &'a Product> + '_ {
        self.products.values().copied()
    }

    /// All kept answers, by participant and key.
    pub fn answers(&self) -> impl Iterator<Item = &'a AnswerRecord> + '_ {
        self.answers.values().copied()
    }

    /// The answer that a participant keeps under a key.
    #[must_use]
    pub fn answer(
        &self,
        participant: ParticipantId,
        key: &IdempotencyKey,
    ) -> Option<&'a AnswerRecord> {
        self.answers.get(&(participant, key)).copied()
    }

    fn add_answer(&mut self, record: &'a AnswerRecord) {
        self.answers
            .entry((record.participant, &record.key))
            .or_insert(record);
    }
}
