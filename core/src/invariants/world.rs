//! The views that the invariants are asked of: borrowed, and put together by the caller.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId};
use crate::inventory::{InventoryState, Product, Reservation};
use crate::money::Amount;
use crate::order::{Order, OrderState};
use crate::payment::{Payment, PaymentState};
use crate::row::{AnswerRecord, Row};
use crate::shards::ShardId;

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
#[derive(Debug, Clone)]
pub struct OrderView<'a> {
    /// The order.
    pub order_id: OrderId,
    /// The order with its saga.
    pub order: Option<&'a Order>,
    /// Its reservation; with several shards, the one in the first of its shards.
    pub reservation: Option<&'a Reservation>,
    /// Those in its other shards.
    pub others: Vec<&'a Reservation>,
    /// Its payment.
    pub payment: Option<&'a Payment>,
    /// What the gateway says, if it was asked.
    pub gateway: Option<GatewayAccount>,
    /// What is `None` above does not exist; else it may have left memory.
    pub is_complete: bool,
}

impl<'a> OrderView<'a> {
    /// Its reservations, one for each shard that it lies in.
    pub fn reservations(&self) -> impl Iterator<Item = &'a Reservation> + '_ {
        self.reservation
            .into_iter()
            .chain(self.others.iter().copied())
    }
}

/// The three states, the rows that have left them, and the gateway's books.
#[derive(Debug, Clone, Default)]
pub struct World<'a> {
    orders: BTreeMap<OrderId, &'a Order>,
    reservations: BTreeMap<(OrderId, ShardId), &'a Reservation>,
    payments: BTreeMap<OrderId, &'a Payment>,
    products: BTreeMap<&'a ProductId, &'a Product>,
    answers: BTreeMap<(ParticipantId, ShardId, &'a IdempotencyKey), &'a AnswerRecord>,
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
        world.add_states(ShardId::FIRST, order, inventory, payment);
        world
    }

    /// Adds what the three states of a shard hold in memory.
    pub fn add_states(
        &mut self,
        shard: ShardId,
        order: &'a OrderState,
        inventory: &'a InventoryState,
        payment: &'a PaymentState,
    ) {
        let answers = order.answers.values();
        for record in answers
            .chain(inventory.answers.values())
            .chain(payment.answers.values())
        {
            self.add_answer(shard, record);
        }
        self.orders
            .extend(order.orders.iter().map(|(id, it)| (*id, it.as_ref())));
        let reservations = inventory.reservations.iter();
        self.reservations
            .extend(reservations.map(|(id, it)| ((*id, shard), it.as_ref())));
        let payments = payment.payments.iter();
        self.payments
            .extend(payments.map(|(id, it)| (*id, it.as_ref())));
        let products = inventory.products.iter();
        self.products
            .extend(products.map(|(id, it)| (id, it.as_ref())));
    }

    /// Adds a row from outside memory. What is in the view already is newer, and stays.
    pub fn add_row(&mut self, row: &'a Row) {
        self.add_row_of(ShardId::FIRST, row);
    }

    fn add_row_of(&mut self, shard: ShardId, row: &'a Row) {
        match row {
            Row::Order(order) => {
                self.orders.entry(order.order_id).or_insert(order);
            }
            Row::Reservation(held) => {
                let key = (held.order_id, shard);
                self.reservations.entry(key).or_insert(held);
            }
            Row::Payment(payment) => {
                self.payments.entry(payment.order_id).or_insert(payment);
            }
            Row::Product(product) => {
                self.products.entry(&product.product_id).or_insert(product);
            }
            Row::Answer(record) => self.add_answer(shard, record),
            Row::InShard(shard, row) => self.add_row_of(*shard, row),
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
        ids.extend(self.reservations.keys().map(|(order_id, _)| *order_id));
        ids.extend(self.payments.keys());
        ids.extend(self.books.into_iter().flat_map(BTreeMap::keys));
        ids.into_iter().map(|order_id| self.order(order_id))
    }

    /// All that is known of one order.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> OrderView<'a> {
        let mut reservations = self.reservations_of(order_id).map(|(_, it)| it);
        OrderView {
            order_id,
            order: self.orders.get(&order_id).copied(),
            reservation: reservations.next(),
            others: reservations.collect(),
            payment: self.payments.get(&order_id).copied(),
            gateway: self
                .books
                .map(|books| books.get(&order_id).copied().unwrap_or_default()),
            is_complete: self.is_complete,
        }
    }

    /// An order's reservations, each with its shard.
    pub fn reservations_of(
        &self,
        order_id: OrderId,
    ) -> impl Iterator<Item = (ShardId, &'a Reservation)> + '_ {
        let of_order = (order_id, ShardId::FIRST)..=(order_id, ShardId::LAST);
        let found = self.reservations.range(of_order);
        found.map(|((_, shard), reservation)| (*shard, *reservation))
    }

    /// All products, in order of id.
    pub fn products(&self) -> impl Iterator<Item = &'a Product> + '_ {
        self.products.values().copied()
    }

    /// All kept answers, each with its shard, by participant, shard and key.
    pub fn answers(&self) -> impl Iterator<Item = (ShardId, &'a AnswerRecord)> + '_ {
        let answers = self.answers.iter();
        answers.map(|((_, shard, _), record)| (*shard, *record))
    }

    /// The answer that a participant's shard keeps under a key.
    #[must_use]
    pub fn answer(
        &self,
        participant: ParticipantId,
        shard: ShardId,
        key: &IdempotencyKey,
    ) -> Option<&'a AnswerRecord> {
        self.answers.get(&(participant, shard, key)).copied()
    }

    fn add_answer(&mut self, shard: ShardId, record: &'a AnswerRecord) {
        self.answers
            .entry((record.participant, shard, &record.key))
            .or_insert(record);
    }
}
