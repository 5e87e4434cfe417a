//! What inventory can be asked, and what it decides.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::state::{HeldLine, Price, Reservation};
use crate::decider::Idempotency;
use crate::ids::{OrderId, ProductId};
use crate::order::{CancelReason, Shortage};
use crate::row::AnswerRecord;
use crate::time::{Millis, Timestamp};

/// A command to the inventory participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryCommand {
    /// Create a product, or describe it anew. What is `None` stays as it is.
    Define {
        /// Which product.
        product_id: ProductId,
        /// For people.
        name: Option<Arc<str>>,
        /// What one unit costs.
        price: Option<Price>,
        /// Set the units on hand to this.
        on_hand: Option<u64>,
    },
    /// Receive stock (above zero) or write it off (below zero).
    Adjust {
        /// Which product.
        product_id: ProductId,
        /// Units.
        delta: i64,
        /// For people.
        reason: Arc<str>,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
}

/// An event of the inventory journal. The order of the variants is part of the format
/// at rest: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryEvent {
    /// A product was created or described.
    ProductDefined {
        /// Which product.
        product_id: ProductId,
        /// Its new name, if that was given.
        name: Option<Arc<str>>,
        /// Its new price, if that was given.
        price: Option<Price>,
    },
    /// Stock was received or written off.
    StockAdjusted {
        /// Which product.
        product_id: ProductId,
        /// Units; below zero for a write-off.
        delta: i64,
        /// For people.
        reason: Arc<str>,
    },
    /// Every line of the order is held.
    InventoryReserved {
        /// The order.
        order_id: OrderId,
        /// What is held, one line a product.
        lines: Arc<[HeldLine]>,
        /// For how long a hold of this order lasts when it is renewed, in milliseconds.
        hold_ms: Millis,
        /// When the hold ends.
        expires_at: Timestamp,
    },
    /// Some line was short: nothing is held.
    InventoryOutOfStock {
        /// The order.
        order_id: OrderId,
        /// Every product that was short.
        shortages: Vec<Shortage>,
    },
    /// The hold lasts longer, because payment has started.
    ReservationExtended {
        /// The order.
        order_id: OrderId,
        /// When the hold now ends.
        expires_at: Timestamp,
    },
    /// The held units are sold.
    InventoryCommitted {
        /// The order.
        order_id: OrderId,
        /// The hold had expired and was taken again from what was available.
        retaken: bool,
    },
    /// The hold had ended and the units are gone: nothing is sold.
    InventoryCommitRefused {
        /// The order.
        order_id: OrderId,
        /// Every product that was short; empty when the hold had been released.
        shortages: Vec<Shortage>,
    },
    /// Nothing is held for the order, and nothing will be.
    InventoryReleased {
        /// The order.
        order_id: OrderId,
        /// Why.
        reason: ReleaseReason,
    },
    /// The hold came to its end; its units are available again.
    InventoryExpired {
        /// The order.
        order_id: OrderId,
    },
    /// A command's answer, kept under its idempotency key.
    Answered(Box<AnswerRecord>),
    /// A reservation that had left memory is back in it, as it was.
    Recalled(Box<Reservation>),
    /// With several shards: units that were sold are on hand again, as another shard could
    /// not sell its part.
    Returned {
        /// The order.
        order_id: OrderId,
        /// Why.
        reason: ReleaseReason,
    },
}

/// Why a hold was released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseReason {
    /// The order was undone, for this reason.
    Compensation(CancelReason),
    /// The order had been undone before it asked for a hold.
    NeverHeld,
    /// A line of the order was short in another shard.
    ShortElsewhere,
}

impl core::fmt::Display for ReleaseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Compensation(reason) => reason.fmt(f),
            Self::NeverHeld => f.write_str("the order was undone before stock was held"),
            Self::ShortElsewhere => f.write_str("another line of the order was out of stock"),
        }
    }
}

impl InventoryEvent {
    /// The order that this event is about; none for products and kept answers.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::InventoryReserved { order_id, .. }
            | Self::InventoryOutOfStock { order_id, .. }
            | Self::ReservationExtended { order_id, .. }
            | Self::InventoryCommitted { order_id, .. }
            | Self::InventoryCommitRefused { order_id, .. }
            | Self::InventoryReleased { order_id, .. }
            | Self::InventoryExpired { order_id }
            | Self::Returned { order_id, .. } => Some(*order_id),
            Self::Recalled(reservation) => Some(reservation.order_id),
            Self::ProductDefined { .. } | Self::StockAdjusted { .. } | Self::Answered(_) => None,
        }
    }

    /// The event's name, as CONTRACT and logs have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProductDefined { .. } => "ProductDefined",
            Self::StockAdjusted { .. } => "StockAdjusted",
            Self::InventoryReserved { .. } => "InventoryReserved",
            Self::InventoryOutOfStock { .. } => "InventoryOutOfStock",
            Self::ReservationExtended { .. } => "ReservationExtended",
            Self::InventoryCommitted { .. } => "InventoryCommitted",
            Self::InventoryCommitRefused { .. } => "InventoryCommitRefused",
            Self::InventoryReleased { .. } => "InventoryReleased",
            Self::InventoryExpired { .. } => "InventoryExpired",
            Self::Answered(_) => "Answered",
            Self::Recalled(_) => "Recalled",
            Self::Returned { .. } => "Returned",
        }
    }
}
