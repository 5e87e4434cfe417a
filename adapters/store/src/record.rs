//! What lies under a key: a version byte, and postcard.
//!
//! An order's reservation and payment lie with it in one value. They are nearly always
//! written together, and each key costs more than the bytes under it.

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::inventory::{Product, Reservation, ReservationStatus};
use a4co_core::order::Order;
use a4co_core::payment::Payment;
use a4co_core::row::AnswerRecord;
use a4co_core::shards::ShardId;
use a4co_core::time::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::StoreError;
use crate::keys;

/// The version of all values. Another one makes the view be rebuilt.
pub(crate) const VALUE_VERSION: u8 = 2;

/// All there is of one order. The order itself may be missing: where only the inventory
/// or the payments live, or where an undo came first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bundle {
    pub(crate) order: Option<Arc<Order>>,
    pub(crate) reservation: Option<Arc<Reservation>>,
    pub(crate) payment: Option<Arc<Payment>>,
    /// With several shards: its reservations, by shard. They lie behind the others, and
    /// nothing does where there are none.
    #[serde(skip)]
    pub(crate) parts: BTreeMap<ShardId, Arc<Reservation>>,
}

impl Bundle {
    /// Whether nothing that was written earlier can show through.
    pub(crate) const fn is_complete(&self) -> bool {
        self.order.is_some() && self.reservation.is_some() && self.payment.is_some()
    }

    /// This, and `older` where this has nothing.
    pub(crate) fn over(self, older: Self) -> Self {
        let mut parts = older.parts;
        parts.extend(self.parts);
        Self {
            parts,
            order: self.order.or(older.order),
            reservation: self.reservation.or(older.reservation),
            payment: self.payment.or(older.payment),
        }
    }

    /// Whether nothing of it is under way: it may be forgotten.
    pub(crate) fn is_done(&self) -> bool {
        let order = self.order.as_ref();
        let mut held = self.reservation.iter().chain(self.parts.values());
        let payment = self.payment.as_ref();
        order.is_none_or(|order| order.saga.is_terminal())
            && held.all(|held| held.status != ReservationStatus::Active)
            && payment.is_none_or(|payment| payment.is_settled())
    }

    /// When its first part that says so came to be.
    pub(crate) fn created_at(&self) -> Option<Timestamp> {
        let order = self.order.as_ref().map(|order| order.created_at);
        let mut held = self.reservation.iter().chain(self.parts.values());
        let reservation = held.next().map(|held| held.created_at);
        let payment = self.payment.as_ref().map(|payment| payment.created_at);
        order.or(reservation).or(payment)
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VALUE_VERSION);
    postcard::to_extend(value, bytes)
}

pub(crate) fn encode_bundle(bundle: &Bundle) -> Result<Vec<u8>, postcard::Error> {
    let bytes = encode(bundle)?;
    if bundle.parts.is_empty() {
        return Ok(bytes);
    }
    postcard::to_extend(&bundle.parts, bytes)
}

pub(crate) fn decode_bundle(key: &[u8], bytes: &[u8]) -> Result<Bundle, StoreError> {
    let undecodable = || StoreError::Undecodable {
        what: "an order",
        key: keys::shown(key),
    };
    let Some((&VALUE_VERSION, encoded)) = bytes.split_first() else {
        return Err(undecodable());
    };
    let taken = postcard::take_from_bytes::<Bundle>(encoded);
    let (mut bundle, parts) = taken.map_err(|_| undecodable())?;
    if !parts.is_empty() {
        match postcard::take_from_bytes(parts) {
            Ok((parts, [])) => bundle.parts = parts,
            _ => return Err(undecodable()),
        }
    }
    Ok(bundle)
}

pub(crate) fn decode_product(key: &[u8], bytes: &[u8]) -> Result<Product, StoreError> {
    decode("a product", key, bytes)
}

pub(crate) fn decode_answer(key: &[u8], bytes: &[u8]) -> Result<AnswerRecord, StoreError> {
    decode("an answer", key, bytes)
}

/// Total: any bytes give a row or an error.
fn decode<T: DeserializeOwned>(
    what: &'static str,
    key: &[u8],
    bytes: &[u8],
) -> Result<T, StoreError> {
    let undecodable = || StoreError::Undecodable {
        what,
        key: keys::shown(key),
    };
    let Some((&VALUE_VERSION, encoded)) = bytes.split_first() else {
        return Err(undecodable());
    };
    match postcard::take_from_bytes(encoded) {
        Ok((value, [])) => Ok(value),
        _ => Err(undecodable()),
    }
}
