//! The keys of the one tree: a byte that says what kind, then what it sorts by.
//!
//! ```text
//! mapplied                          → the applied sequence
//! t created_at order_id             → an order with its reservation and payment, in runs
//! i order_id                        → created_at, where its `t` is, in runs
//! s status created_at order_id      → nothing: orders by status, in runs
//! c customer 0 created_at order_id  → status: orders by customer, in runs
//! p product_id                      → a product
//! k participant key                 → a kept answer
//! w at participant key              → nothing: kept answers by age
//!
//! with several shards, `participant` is its code and three, and the shard's number
//! ```
//!
//! Orders lie in the order of time, so that new ones are written side by side whatever
//! their ids look like: those derived from idempotency keys are random.

use a4co_core::ids::{CustomerId, OrderId, ParticipantId, ProductId};
use a4co_core::order::OrderStatus;
use a4co_core::shards::ShardId;
use a4co_core::time::Timestamp;

use crate::overlay::AnswerKey;
use crate::runs::Family;

pub(crate) const ORDERS: Family = Family {
    prefix: b't',
    entries_max: 16,
    bytes_max: 4096,
};
pub(crate) const LOCATORS: Family = Family {
    prefix: b'i',
    entries_max: 32,
    bytes_max: 4096,
};
pub(crate) const BY_STATUS: Family = Family {
    prefix: b's',
    entries_max: 64,
    bytes_max: 4096,
};
pub(crate) const BY_CUSTOMER: Family = Family {
    prefix: b'c',
    entries_max: 16,
    bytes_max: 4096,
};
pub(crate) const PRODUCT: u8 = b'p';
pub(crate) const ANSWER: u8 = b'k';
pub(crate) const ANSWER_BY_AGE: u8 = b'w';

/// Where the applied sequence is kept.
pub(crate) const APPLIED: &[u8] = b"mapplied";

/// Bytes of a point in time in a key: milliseconds to the year 9999 fit.
pub(crate) const TIME_BYTES: usize = 6;
const ID_BYTES: usize = 16;
/// Bytes of a [`Position`] in a key.
pub(crate) const POSITION_BYTES: usize = TIME_BYTES + ID_BYTES;

const _: () = assert!(Timestamp::MAX.unix_ms() < 1 << (8 * TIME_BYTES));

/// A place in the list of orders, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) created_at: Timestamp,
    pub(crate) order_id: OrderId,
}

impl Position {
    /// Before every order of this point in time.
    pub(crate) const fn first_at(created_at: Timestamp) -> Self {
        Self {
            created_at,
            order_id: OrderId::from_bytes([0; ID_BYTES]),
        }
    }

    /// Not before any order of this point in time.
    pub(crate) const fn last_at(created_at: Timestamp) -> Self {
        Self {
            created_at,
            order_id: OrderId::from_bytes([0xff; ID_BYTES]),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        bytes[..TIME_BYTES].copy_from_slice(&time_bytes(self.created_at));
        bytes[TIME_BYTES..].copy_from_slice(self.order_id.as_bytes());
        bytes
    }

    /// The position in the last bytes of a key.
    pub(crate) fn from_end(key: &[u8]) -> Option<Self> {
        let (rest, id) = key.split_last_chunk::<ID_BYTES>()?;
        let (_, time) = rest.split_last_chunk::<TIME_BYTES>()?;
        Some(Self {
            created_at: time_from_bytes(*time)?,
            order_id: OrderId::from_bytes(*id),
        })
    }
}

pub(crate) fn time_bytes(at: Timestamp) -> [u8; TIME_BYTES] {
    let [_, _, bytes @ ..] = at.unix_ms().to_be_bytes();
    bytes
}

pub(crate) fn time_from_bytes(bytes: [u8; TIME_BYTES]) -> Option<Timestamp> {
    let mut wide = [0; 8];
    wide[2..].copy_from_slice(&bytes);
    let ms = u64::from_be_bytes(wide);
    (ms <= Timestamp::MAX.unix_ms()).then(|| Timestamp::from_unix_ms(ms))
}

/// One byte for a status; part of the format.
pub(crate) const fn status_code(status: OrderStatus) -> u8 {
    match status {
        OrderStatus::Pending => 1,
        OrderStatus::InventoryReserved => 2,
        OrderStatus::Confirmed => 3,
        OrderStatus::Failed => 4,
        OrderStatus::Cancelled => 5,
    }
}

/// The code of the last status that is not final.
pub(crate) const ACTIVE_CODE_MAX: u8 = status_code(OrderStatus::InventoryReserved);

pub(crate) fn status_from_code(code: u8) -> Option<OrderStatus> {
    let mut all = OrderStatus::ALL.into_iter();
    all.find(|status| status_code(*status) == code)
}

/// May an order of this status still get another one?
pub(crate) const fn is_active(status: OrderStatus) -> bool {
    matches!(
        status,
        OrderStatus::Pending | OrderStatus::InventoryReserved
    )
}

/// Customer ids are printable, so that a zero byte ends them.
pub(crate) fn customer_prefix(customer: &CustomerId) -> Vec<u8> {
    joined(&[customer.as_str().as_bytes(), &[0]])
}

/// A position in an index of orders; the prefix says of which status or customer.
pub(crate) fn at(prefix: &[u8], position: Position) -> Vec<u8> {
    joined(&[prefix, &position.to_bytes()])
}

pub(crate) fn product(product_id: &ProductId) -> Vec<u8> {
    joined(&[&[PRODUCT], product_id.as_str().as_bytes()])
}

pub(crate) fn answer((participant, shard, key): &AnswerKey) -> Vec<u8> {
    let whose = whose(*participant, *shard);
    joined(&[&[ANSWER], &whose, key.as_str().as_bytes()])
}

pub(crate) fn answer_by_age(at: Timestamp, (participant, shard, key): &AnswerKey) -> Vec<u8> {
    let whose = whose(*participant, *shard);
    let key = key.as_str().as_bytes();
    joined(&[&[ANSWER_BY_AGE], &time_bytes(at), &whose, key])
}

/// Added to the code of a participant that has several shards.
const SHARDED: u8 = 3;

fn whose(participant: ParticipantId, shard: Option<ShardId>) -> Vec<u8> {
    let code = participant.code();
    match shard {
        None => vec![code],
        Some(shard) => joined(&[&[code + SHARDED], &shard.get().to_be_bytes()]),
    }
}

/// The shard that an answer's key names.
pub(crate) fn shard_of_answer(key: &[u8]) -> Option<ShardId> {
    let (code, rest) = key.get(1..)?.split_first()?;
    let number = rest.first_chunk().filter(|_| *code > SHARDED)?;
    ShardId::new(u16::from_be_bytes(*number))
}

/// The time of an entry of the answers by age, and the key of the answer it stands for.
pub(crate) fn split_answer_by_age(key: &[u8]) -> Option<(Timestamp, Vec<u8>)> {
    let (time, answer) = key.get(1..)?.split_first_chunk::<TIME_BYTES>()?;
    Some((time_from_bytes(*time)?, joined(&[&[ANSWER], answer])))
}

/// A key as errors show it.
pub(crate) fn shown(key: &[u8]) -> String {
    use std::fmt::Write as _;
    key.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
