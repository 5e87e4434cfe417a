//! The rows that the state is made of, as the store keeps them and the outside reads them.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::ids::{Fingerprint, IdempotencyKey, OrderId, ParticipantId, ProductId};
use crate::inventory::{Product, Reservation};
use crate::order::Order;
use crate::payment::Payment;
use crate::shards::{JournalId, Shard, ShardCount, ShardId};
use crate::time::Timestamp;

/// Names a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKey {
    /// An order with its saga.
    Order(OrderId),
    /// The reservation of an order.
    Reservation(OrderId),
    /// The payment of an order.
    Payment(OrderId),
    /// A product.
    Product(ProductId),
    /// The answer kept under an idempotency key.
    Answer(ParticipantId, IdempotencyKey),
    /// With several shards: one of those above that several of them may have, and whose it
    /// is: a reservation or an answer.
    InShard(ShardId, Box<RowKey>),
}

impl RowKey {
    /// Whose row it is.
    #[must_use]
    pub const fn participant(&self) -> ParticipantId {
        match self {
            Self::Order(_) => ParticipantId::Order,
            Self::Reservation(_) | Self::Product(_) => ParticipantId::Inventory,
            Self::Payment(_) => ParticipantId::Payment,
            Self::Answer(participant, _) => *participant,
            Self::InShard(_, key) => key.participant(),
        }
    }

    /// The journal of the row's participant that says what it is.
    #[must_use]
    pub fn journal(&self, count: ShardCount) -> JournalId {
        let id = match self {
            Self::InShard(shard, _) => *shard,
            Self::Order(id) | Self::Payment(id) => count.of_order(*id),
            Self::Product(id) => count.of_product(id),
            // Without a shard where there is one.
            Self::Reservation(_) | Self::Answer(..) => ShardId::FIRST,
        };
        JournalId::new(self.participant(), Shard { id, count })
    }

    /// The name outside of the shard that knows it by this one.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        match self {
            Self::Reservation(_) | Self::Answer(..) if !shard.is_alone() => {
                Self::InShard(shard.id, Box::new(self))
            }
            key => key,
        }
    }

    /// The name inside of its shard.
    #[must_use]
    pub fn in_its_shard(&self) -> &Self {
        match self {
            Self::InShard(_, key) => key,
            key => key,
        }
    }
}

/// A row: the whole state of one thing, as of its last committed event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// An order with its saga.
    Order(Box<Order>),
    /// A reservation.
    Reservation(Box<Reservation>),
    /// A payment.
    Payment(Box<Payment>),
    /// A product.
    Product(Box<Product>),
    /// A kept answer.
    Answer(Box<AnswerRecord>),
    /// With several shards: a reservation or an answer, and whose it is.
    InShard(ShardId, Box<Row>),
}

impl Row {
    /// The name of this row.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Order(order) => RowKey::Order(order.order_id),
            Self::Reservation(reservation) => RowKey::Reservation(reservation.order_id),
            Self::Payment(payment) => RowKey::Payment(payment.order_id),
            Self::Product(product) => RowKey::Product(product.product_id.clone()),
            Self::Answer(record) => RowKey::Answer(record.participant, record.key.clone()),
            Self::InShard(shard, row) => RowKey::InShard(*shard, Box::new(row.key())),
        }
    }

    /// The row as it is known outside of the shard that has it.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        match self {
            Self::Reservation(_) | Self::Answer(_) if !shard.is_alone() => {
                Self::InShard(shard.id, Box::new(self))
            }
            row => row,
        }
    }

    /// The row as its shard has it.
    #[must_use]
    pub fn into_its_shard(self) -> Self {
        match self {
            Self::InShard(_, row) => *row,
            row => row,
        }
    }

    /// The row as its shard has it.
    #[must_use]
    pub fn in_its_shard(&self) -> &Self {
        match self {
            Self::InShard(_, row) => row,
            row => row,
        }
    }
}

/// What a command that was accepted answers: the thing it changed, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// An order with its saga.
    Order(Box<Order>),
    /// A product with its stock.
    Product(Box<Product>),
    /// A payment.
    Payment(Box<Payment>),
}

/// The answer to a command, kept under the client's idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// Whose command it was.
    pub participant: ParticipantId,
    /// The client's key.
    pub key: IdempotencyKey,
    /// Of the request that first used the key.
    pub fingerprint: Fingerprint,
    /// When it was answered.
    pub at: Timestamp,
    /// The first answer.
    pub answer: Answer,
}
