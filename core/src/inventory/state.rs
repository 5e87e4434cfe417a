//! Products and reservations, and how events change them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::event::{InventoryEvent, ReleaseReason};
use crate::decider::Recorded;
use crate::ids::{IdempotencyKey, OrderId, ProductId, Sequence};
use crate::money::{Amount, Currency};
use crate::order::Shortage;
use crate::planted::planted;
use crate::row::AnswerRecord;
use crate::time::{Millis, Timestamp};

/// What one unit of a product costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In minor units.
    pub amount: Amount,
    /// Of the amount.
    pub currency: Currency,
}

/// A product with its stock, in units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Which product.
    pub product_id: ProductId,
    /// For people.
    pub name: Option<Arc<str>>,
    /// What one unit costs; orders may name their own price where this is `None`.
    pub price: Option<Price>,
    /// Units in the house: available and reserved ones.
    pub on_hand: u64,
    /// Units promised to orders that are under way.
    pub reserved: u64,
    /// Units sold so far.
    pub sold: u64,
    /// Units received so far, less those written off.
    pub received: i64,
    /// The journal sequence of its last change.
    pub version: Sequence,
}

impl Product {
    /// Units that an order may still have.
    #[must_use]
    pub const fn available(&self) -> u64 {
        // `reserved <= on_hand` is the invariant `never_oversold`.
        self.on_hand.saturating_sub(self.reserved)
    }

    fn new(product_id: ProductId) -> Self {
        Self {
            product_id,
            name: None,
            price: None,
            on_hand: 0,
            reserved: 0,
            sold: 0,
            received: 0,
            version: Sequence::default(),
        }
    }
}

/// Units of one product that an order holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLine {
    /// Which product.
    pub product_id: ProductId,
    /// Units, over all lines of the order.
    pub quantity: u64,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReservationStatus {
    /// The units are held.
    Active,
    /// The units are sold.
    Confirmed,
    /// Undone: nothing is held, and nothing will be (a tombstone, too).
    Released,
    /// The hold came to its end.
    Expired,
    /// Stock was short; there never was a hold. Remembered, so that a repeated request
    /// gets the same answer.
    OutOfStock,
}

impl ReservationStatus {
    /// The name in the API; `None` for what was never a reservation.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Active => Some("ACTIVE"),
            Self::Confirmed => Some("CONFIRMED"),
            Self::Released => Some("RELEASED"),
            Self::Expired => Some("EXPIRED"),
            Self::OutOfStock => None,
        }
    }
}

/// What inventory knows of one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The order; the reservation's id derives from it.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: ReservationStatus,
    /// What is, or was, held: one line a product. Empty for a tombstone.
    pub lines: Arc<[HeldLine]>,
    /// The lines that were short, of a hold that there never was or of a commit that was
    /// refused after the hold had expired.
    pub shortages: Vec<Shortage>,
    /// For how long a renewed hold lasts, in milliseconds.
    pub hold_ms: Millis,
    /// When inventory first heard of the order.
    pub created_at: Timestamp,
    /// When the hold ends, or ended.
    pub expires_at: Timestamp,
    /// When it was released or expired.
    pub released_at: Option<Timestamp>,
    /// Why it was released.
    pub release_reason: Option<ReleaseReason>,
    /// The journal sequence of its last change.
    pub version: Sequence,
}

impl Reservation {
    fn new(order_id: OrderId, status: ReservationStatus, at: Timestamp) -> Self {
        Self {
            order_id,
            status,
            lines: Arc::from([]),
            shortages: Vec::new(),
            hold_ms: Millis::new(0),
            created_at: at,
            expires_at: at,
            released_at: None,
            release_reason: None,
            version: Sequence::default(),
        }
    }
}

/// The fold of the inventory journal, less the reservations that have ended and left
/// memory. Products stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryState {
    /// All products.
    pub products: BTreeMap<ProductId, Box<Product>>,
    /// Reservations in memory.
    pub reservations: BTreeMap<OrderId, Box<Reservation>>,
    /// Kept answers that have not left memory yet.
    pub answers: BTreeMap<IdempotencyKey, Box<AnswerRecord>>,
}

impl InventoryState {
    /// The product.
    #[must_use]
    pub fn product(&self, product_id: &ProductId) -> Option<&Product> {
        self.products.get(product_id).map(AsRef::as_ref)
    }

    /// The reservation, if it is in memory.
    #[must_use]
    pub fn reservation(&self, order_id: OrderId) -> Option<&Reservation> {
        self.reservations.get(&order_id).map(AsRef::as_ref)
    }

    pub(super) fn evolve(&mut self, recorded: &Recorded<InventoryEvent>, sequence: Sequence) {
        let at = recorded.at;
        match &recorded.event {
            InventoryEvent::ProductDefined {
                product_id,
                name,
                price,
            } => {
                let product = self.product_mut(product_id, sequence);
                if name.is_some() {
                    product.name.clone_from(name);
                }
                if price.is_some() {
                    product.price = *price;
                }
            }
            InventoryEvent::StockAdjusted {
                product_id, delta, ..
            } => {
                let product = self.product_mut(product_id, sequence);
                product.on_hand = product.on_hand.saturating_add_signed(*delta);
                product.received = product.received.saturating_add(*delta);
            }
            InventoryEvent::InventoryReserved {
                order_id,
                lines,
                hold_ms,
                expires_at,
            } => {
                if self.reservations.contains_key(order_id) {
                    return; // an answer repeated to one who asked again
                }
                for line in lines.iter() {
                    let product = self.product_mut(&line.product_id, sequence);
                    // Never saturates: `decide` reserves only what is available. But
                    // `evolve` takes any event without a panic.
                    product.reserved = product.reserved.saturating_add(line.quantity);
                }
                let mut held = Reservation::new(*order_id, ReservationStatus::Active, at);
                held.lines = lines.clone();
                held.hold_ms = *hold_ms;
                held.expires_at = *expires_at;
                held.version = sequence;
                self.reservations.insert(*order_id, Box::new(held));
            }
            InventoryEvent::InventoryOutOfStock {
                order_id,
                shortages,
            } => {
                self.reservations.entry(*order_id).or_insert_with(|| {
                    let mut refused =
                        Reservation::new(*order_id, ReservationStatus::OutOfStock, at);
                    refused.shortages.clone_from(shortages);
                    refused.version = sequence;
                    Box::new(refused)
                });
            }
            InventoryEvent::ReservationExtended {
                order_id,
                expires_at,
            } => {
                if let Some(held) = self.reservations.get_mut(order_id) {
                    held.expires_at = *expires_at;
                    held.version = sequence;
                }
            }
            InventoryEvent::InventoryCommitted { order_id, retaken } => {
                self.commit(*order_id, *retaken, sequence);
            }
            InventoryEvent::InventoryReleased { order_id, reason } => {
                if !self.reservations.contains_key(order_id) {
                    let tombstone = Reservation::new(*order_id, ReservationStatus::Released, at);
                    self.reservations.insert(*order_id, Box::new(tombstone));
                }
                self.let_go(*order_id, ReservationStatus::Released, at, sequence);
                if let Some(known) = self.reservations.get_mut(order_id)
                    && known.status == ReservationStatus::Released
                {
                    known.released_at.get_or_insert(at);
                    known.release_reason.get_or_insert_with(|| reason.clone());
                }
            }
            InventoryEvent::InventoryExpired { order_id } => {
                self.let_go(*order_id, ReservationStatus::Expired, at, sequence);
            }
            InventoryEvent::InventoryCommitRefused {
                order_id,
                shortages,
            } => {
                if let Some(known) = self.reservations.get_mut(order_id) {
                    if known.status == ReservationStatus::Expired {
                        known.shortages.clone_from(shortages);
                    }
                    known.version = sequence;
                }
            }
            InventoryEvent::Answered(record) => {
                self.answers.insert(record.key.clone(), record.clone());
            }
            InventoryEvent::Returned { order_id, reason } => {
                self.take_back(*order_id, reason, at, sequence);
            }
            InventoryEvent::Recalled(reservation) => {
                let mut reservation = reservation.clone();
                reservation.version = sequence;
                self.reservations.insert(reservation.order_id, reservation);
            }
        }
    }

    fn product_mut(&mut self, product_id: &ProductId, sequence: Sequence) -> &mut Product {
        // Looked up twice rather than through `entry`, which would clone the id each time.
        if !self.products.contains_key(product_id) {
            self.products.insert(
                product_id.clone(),
                Box::new(Product::new(product_id.clone())),
            );
        }
        #[expect(clippy::expect_used, reason = "inserted just above")]
        let product = self
            .products
            .get_mut(product_id)
            .expect("product was inserted");
        product.version = sequence;
        product
    }

    fn commit(&mut self, order_id: OrderId, retaken: bool, sequence: Sequence) {
        let Some(held) = self.reservations.get_mut(&order_id) else {
            return;
        };
        let takes = match held.status {
            ReservationStatus::Active => !retaken,
            ReservationStatus::Expired => retaken,
            _ => false,
        };
        held.version = sequence;
        if !takes {
            return;
        }
        held.status = ReservationStatus::Confirmed;
        held.released_at = None;
        let lines = held.lines.clone();
        for line in lines.iter() {
            let product = self.product_mut(&line.product_id, sequence);
            if !retaken {
                product.reserved = product.reserved.saturating_sub(line.quantity);
            }
            if !planted!("sold_units_stay_on_hand") {
                product.on_hand = product.on_hand.saturating_sub(line.quantity);
            }
            product.sold = product.sold.saturating_add(line.quantity);
        }
    }

    /// Puts sold units back on hand. Of what is not sold nothing changes.
    fn take_back(
        &mut self,
        order_id: OrderId,
        reason: &ReleaseReason,
        at: Timestamp,
        sequence: Sequence,
    ) {
        let sold = self
            .reservations
            .get_mut(&order_id)
            .filter(|known| known.status == ReservationStatus::Confirmed);
        let Some(known) = sold else {
            return;
        };
        known.status = ReservationStatus::Released;
        known.released_at = Some(at);
        known.release_reason = Some(reason.clone());
        known.version = sequence;
        let lines = known.lines.clone();
        for line in lines.iter() {
            let product = self.product_mut(&line.product_id, sequence);
            product.on_hand = product.on_hand.saturating_add(line.quantity);
            product.sold = product.sold.saturating_sub(line.quantity);
        }
    }

    /// Ends a hold and puts its units back. What had ended before stays as it ended.
    fn let_go(
        &mut self,
        order_id: OrderId,
        to: ReservationStatus,
        at: Timestamp,
        sequence: Sequence,
    ) {
        let Some(held) = self.reservations.get_mut(&order_id) else {
            return;
        };
        held.version = sequence;
        let is_again = planted!("released_twice") && held.status == ReservationStatus::Expired;
        if held.status != ReservationStatus::Active && !is_again {
            return;
        }
        held.status = to;
        held.released_at = Some(at);
        let lines = held.lines.clone();
        let skipped = usize::from(
            planted!("released_units_stay_reserved") && to == ReservationStatus::Released,
        );
        for line in lines.iter().skip(skipped) {
            let product = self.product_mut(&line.product_id, sequence);
            product.reserved = product.reserved.saturating_sub(line.quantity);
        }
    }
}
