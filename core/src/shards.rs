//! Shards: one participant as several deciders, each with a journal of its own.
//!
//! ```text
//! order shard k      orders with hash(order id) mod S = k, and payment shard k their payments
//! inventory shard k  products with hash(product id) mod S = k
//! ```
//! An order whose lines lie in several inventory shards asks each for its lines. The saga
//! itself is the one of [`crate::order`]: what its shards answer is gathered here until it
//! amounts to the one answer that the saga waits for. With one shard none of this is used,
//! and journals are as they are without it.
//!
//! An engine is told by its settings which shard it is ([`crate::settings::Settings::shard`]).

mod inventory;
mod journal;
mod order;
mod positions;

use alloc::collections::BTreeSet;
use core::fmt;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use inventory::InventoryShard;
pub(crate) use inventory::asks_of_what_is_known;
pub use journal::JournalId;
pub(crate) use order::evolve_stock;
pub use order::{OrderShard, StockAnswer, StockPart, StockProgress};
pub use positions::PerJournal;

use crate::ids::{Fingerprint, OrderId, ProductId};
use crate::order::NewOrder;

/// Shards of one participant at most. Readers of an order journal are as many as there are
/// inventory shards, so a larger number would be a slower one.
pub const SHARDS_MAX: u16 = 64;

/// One shard of a participant: 0 to one below the count.
///
/// At rest a `u16` (a varint in postcard).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(u16);

impl ShardId {
    /// The first one.
    pub const FIRST: Self = Self(0);

    /// The last one that there can be.
    pub const LAST: Self = Self(SHARDS_MAX - 1);

    /// The shard of a number; `None` where there is never one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SHARDS_MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many shards each participant has: fixed for the life of the journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardCount(NonZeroU16);

/// One shard, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// Which one.
    pub id: ShardId,
    /// Of how many.
    pub count: ShardCount,
}

impl Shard {
    /// The one shard of a participant that is not sharded.
    pub const ALONE: Self = Self {
        id: ShardId::FIRST,
        count: ShardCount::ONE,
    };

    /// Is it the only one?
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.count.get() == 1
    }
}

impl ShardCount {
    /// Not sharded.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// That many shards; `None` for 0 and above [`SHARDS_MAX`].
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        match NonZeroU16::new(count) {
            Some(count) if count.get() <= SHARDS_MAX => Some(Self(count)),
            _ => None,
        }
    }

    /// The count as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Every shard, in order of number.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.get()).map(ShardId)
    }

    /// Every shard, with the count.
    pub fn each(self) -> impl Iterator<Item = Shard> {
        self.shards().map(move |id| Shard { id, count: self })
    }

    /// The order shard, and the payment shard, of an order.
    #[must_use]
    pub fn of_order(self, order_id: OrderId) -> ShardId {
        self.of(order_id.as_bytes())
    }

    /// The inventory shard of a product.
    #[must_use]
    pub fn of_product(self, product_id: &ProductId) -> ShardId {
        self.of(product_id.as_str().as_bytes())
    }

    /// The inventory shards that an order's lines lie in.
    #[must_use]
    pub fn of_lines(self, order: &NewOrder) -> BTreeSet<ShardId> {
        let lines = order.lines.iter();
        lines
            .map(|line| self.of_product(&line.product_id))
            .collect()
    }

    /// The first eight bytes of the BLAKE3 hash of the id, as a number in big-endian, modulo
    /// the count. Part of the format at rest: with another hash, journals would not be found.
    fn of(self, id: &[u8]) -> ShardId {
        let fingerprint = u128::from_be_bytes(*Fingerprint::of(id).as_bytes());
        let rest = (fingerprint >> 64) % u128::from(self.get());
        // Below the count, so that it fits.
        ShardId(u16::try_from(rest).unwrap_or(0))
    }
}
