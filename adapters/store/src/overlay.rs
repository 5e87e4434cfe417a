//! The rows that were published and are not yet safely in sled.
//!
//! Two generations: rows go into the current one; the writer freezes it, writes it, and
//! lets it go. What is published meanwhile is in the new current one and shadows the
//! frozen one, so that nothing has to be compared when the frozen one goes.

use std::collections::HashMap;
use std::sync::Arc;

use a4co_core::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId};
use a4co_core::inventory::Product;
use a4co_core::order::Order;
use a4co_core::row::{AnswerRecord, Row};
use a4co_core::shards::ShardId;

use crate::record::Bundle;

/// Under what an answer is kept: whose, which shard's where there are several, and the key.
pub(crate) type AnswerKey = (ParticipantId, Option<ShardId>, IdempotencyKey);

/// Rows that are written together, and the sequence they bring sled to.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    pub(crate) sequence: u64,
    pub(crate) orders: HashMap<OrderId, Bundle>,
    pub(crate) products: HashMap<ProductId, Arc<Product>>,
    pub(crate) answers: HashMap<AnswerKey, Arc<AnswerRecord>>,
    /// Rows taken in, those that replaced an earlier one not counted.
    pub(crate) rows: usize,
    /// Bytes taken in, estimated.
    pub(crate) bytes: usize,
}

impl Generation {
    pub(crate) const fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    fn insert(&mut self, row: Row) {
        let bytes = estimated_bytes(&row);
        let (shard, row) = match row {
            Row::InShard(shard, row) => (Some(shard), *row),
            row => (None, row),
        };
        let replaced = match row {
            Row::Order(order) => {
                let bundle = self.orders.entry(order.order_id).or_default();
                bundle.order.replace(Arc::from(order)).is_some()
            }
            Row::Reservation(reservation) => {
                let bundle = self.orders.entry(reservation.order_id).or_default();
                let reservation = Arc::from(reservation);
                match shard {
                    None => bundle.reservation.replace(reservation).is_some(),
                    Some(shard) => bundle.parts.insert(shard, reservation).is_some(),
                }
            }
            Row::Payment(payment) => {
                let bundle = self.orders.entry(payment.order_id).or_default();
                bundle.payment.replace(Arc::from(payment)).is_some()
            }
            Row::Product(product) => {
                let key = product.product_id.clone();
                self.products.insert(key, Arc::from(product)).is_some()
            }
            Row::Answer(record) => {
                let key = (record.participant, shard, record.key.clone());
                self.answers.insert(key, Arc::from(record)).is_some()
            }
            // What is in a shard is in no other.
            Row::InShard(..) => false,
        };
        // Replaced rows are about as large as what replaces them.
        if !replaced {
            self.rows += 1;
            self.bytes += bytes;
        }
    }
}

/// Both generations.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) current: Generation,
    pub(crate) frozen: Option<Arc<Generation>>,
}

impl Overlay {
    pub(crate) fn publish(&mut self, sequence: u64, rows: Vec<Row>) {
        for row in rows {
            self.current.insert(row);
        }
        self.current.sequence = sequence;
    }

    /// The generation to write: the one frozen before, or the current one.
    pub(crate) fn freeze(&mut self) -> Option<Arc<Generation>> {
        if self.frozen.is_none() && !self.current.is_empty() {
            self.frozen = Some(Arc::new(std::mem::take(&mut self.current)));
        }
        self.frozen.clone()
    }

    /// Newest first.
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.current).chain(self.frozen.as_deref())
    }

    /// What there is of an order, put together from both generations.
    pub(crate) fn bundle(&self, order_id: OrderId) -> Bundle {
        self.generations()
            .filter_map(|generation| generation.orders.get(&order_id))
            .fold(Bundle::default(), |newer, older| newer.over(older.clone()))
    }

    pub(crate) fn has_order(&self, order_id: OrderId) -> bool {
        self.generations()
            .any(|generation| generation.orders.contains_key(&order_id))
    }

    pub(crate) fn order(&self, order_id: OrderId) -> Option<Arc<Order>> {
        self.generations()
            .filter_map(|generation| generation.orders.get(&order_id))
            .find_map(|bundle| bundle.order.clone())
    }

    pub(crate) fn answer(&self, key: &AnswerKey) -> Option<Arc<AnswerRecord>> {
        self.generations()
            .find_map(|generation| generation.answers.get(key).cloned())
    }

    /// All orders here, each in its newest version.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Arc<Order>> {
        let shadowed = |order_id: &OrderId| {
            let newer = self.current.orders.get(order_id);
            newer.is_some_and(|bundle| bundle.order.is_some())
        };
        let current = self.current.orders.values();
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.orders.iter());
        let frozen = frozen.filter(move |(order_id, _)| !shadowed(order_id));
        current
            .chain(frozen.map(|(_, bundle)| bundle))
            .filter_map(|bundle| bundle.order.as_ref())
    }

    pub(crate) fn rows(&self) -> usize {
        self.generations().map(|generation| generation.rows).sum()
    }
}

/// Roughly what a row takes in memory, its allocations included.
fn estimated_bytes(row: &Row) -> usize {
    const ROW_BYTES: usize = 600;
    const LINE_BYTES: usize = 96;
    const ENTRY_BYTES: usize = 96;
    match row {
        Row::Order(order) => {
            let new = &order.order;
            let metadata: usize = new
                .metadata
                .iter()
                .map(|(key, value)| {
                    let text = match value {
                        a4co_core::order::MetadataValue::Text(text)
                        | a4co_core::order::MetadataValue::Number(text) => text.len(),
                        a4co_core::order::MetadataValue::Bool(_) => 0,
                    };
                    ENTRY_BYTES + key.len() + text
                })
                .sum();
            let shortages = order.shortages.len() * LINE_BYTES;
            ROW_BYTES + new.lines.len() * LINE_BYTES + shortages + metadata
        }
        Row::Reservation(reservation) => {
            let lines = reservation.lines.len() + reservation.shortages.len();
            ROW_BYTES + lines * LINE_BYTES
        }
        Row::Payment(payment) => ROW_BYTES + payment.refunds.len() * LINE_BYTES,
        Row::Product(_) => ROW_BYTES,
        Row::Answer(_) => 2 * ROW_BYTES,
        Row::InShard(_, row) => estimated_bytes(row),
    }
}
