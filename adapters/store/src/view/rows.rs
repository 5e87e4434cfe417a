//! One row of a view, or what there is of one order: memory first, then sled.

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId};
use a4co_core::inventory::{Product, Reservation, ReservationStatus};
use a4co_core::order::Order;
use a4co_core::payment::Payment;
use a4co_core::row::{AnswerRecord, Row, RowKey};
use a4co_core::shards::ShardId;

use super::View;
use crate::apply::find_bundle;
use crate::error::StoreError;
use crate::keys;
use crate::overlay::AnswerKey;
use crate::record::{self, Bundle};

impl View {
    /// The row of this name.
    ///
    /// # Errors
    /// [`StoreError::Degraded`] or [`StoreError::Undecodable`].
    pub fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        fn boxed<T: Clone>(row: Arc<T>) -> Box<T> {
            Box::new(Arc::unwrap_or_clone(row))
        }
        let (shard, key) = match key {
            RowKey::InShard(shard, key) => (Some(*shard), key.as_ref()),
            key => (None, key),
        };
        Ok(match key {
            RowKey::Order(id) => self.order(*id)?.map(|row| Row::Order(boxed(row))),
            RowKey::Reservation(id) => {
                let found = match shard {
                    None => self.part(*id, |bundle| bundle.reservation)?,
                    Some(shard) => self.reservations(*id)?.remove(&shard),
                };
                let row = found.map(|row| Row::Reservation(boxed(row)));
                row.map(|row| in_shard(shard, row))
            }
            RowKey::Payment(id) => self.payment(*id)?.map(|row| Row::Payment(boxed(row))),
            RowKey::Product(id) => self.product(id).map(|row| Row::Product(boxed(row))),
            RowKey::Answer(participant, key) => {
                let found = self.answer_of(&(*participant, shard, key.clone()))?;
                let row = found.map(|row| Row::Answer(boxed(row)));
                row.map(|row| in_shard(shard, row))
            }
            // What is in a shard is in no other.
            RowKey::InShard(..) => None,
        })
    }

    /// An order.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn order(&self, order_id: OrderId) -> Result<Option<Arc<Order>>, StoreError> {
        self.part(order_id, |bundle| bundle.order)
    }

    /// An order's reservation; with several shards, what those in its shards amount to.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn reservation(&self, order_id: OrderId) -> Result<Option<Arc<Reservation>>, StoreError> {
        let alone = self.part(order_id, |bundle| bundle.reservation)?;
        if alone.is_some() {
            return Ok(alone);
        }
        Ok(together(self.reservations(order_id)?.values()).map(Arc::new))
    }

    /// With several shards: an order's reservations, by shard.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn reservations(
        &self,
        order_id: OrderId,
    ) -> Result<BTreeMap<ShardId, Arc<Reservation>>, StoreError> {
        // Memory last: what is there is newer.
        let newer = self.shared.overlay().bundle(order_id).parts;
        let found = find_bundle(&self.shared.disk, order_id)?;
        let mut parts = found.map_or_else(BTreeMap::new, |(_, bundle)| bundle.parts);
        parts.extend(newer);
        Ok(parts)
    }

    /// An order's payment.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn payment(&self, order_id: OrderId) -> Result<Option<Arc<Payment>>, StoreError> {
        self.part(order_id, |bundle| bundle.payment)
    }

    fn part<T>(
        &self,
        order_id: OrderId,
        part: impl Fn(Bundle) -> Option<Arc<T>>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        // Memory first: a row leaves it only after it is in sled.
        let in_memory = part(self.shared.overlay().bundle(order_id));
        if in_memory.is_some() {
            return Ok(in_memory);
        }
        let found = find_bundle(&self.shared.disk, order_id)?;
        Ok(found.and_then(|(_, bundle)| part(bundle)))
    }

    /// A product.
    #[must_use]
    pub fn product(&self, product_id: &ProductId) -> Option<Arc<Product>> {
        self.shared.products().get(product_id).cloned()
    }

    /// All products, by id.
    #[must_use]
    pub fn products(&self) -> Vec<Arc<Product>> {
        self.shared.products().values().cloned().collect()
    }

    /// The answer kept under an idempotency key.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn answer(
        &self,
        participant: ParticipantId,
        key: &IdempotencyKey,
    ) -> Result<Option<Arc<AnswerRecord>>, StoreError> {
        self.answer_of(&(participant, None, key.clone()))
    }

    fn answer_of(&self, key: &AnswerKey) -> Result<Option<Arc<AnswerRecord>>, StoreError> {
        let in_memory = self.shared.overlay().answer(key);
        if in_memory.is_some() {
            return Ok(in_memory);
        }
        let key = keys::answer(key);
        let Some(value) = self.shared.disk.get(&key)? else {
            return Ok(None);
        };
        record::decode_answer(&key, &value).map(|record| Some(Arc::new(record)))
    }
}

/// One reservation out of those in several shards. It stands where the part stands that is
/// furthest from being nothing: a hold while one is held, sold while something is.
fn together<'p>(parts: impl Iterator<Item = &'p Arc<Reservation>>) -> Option<Reservation> {
    let rank = |status| match status {
        ReservationStatus::Active => 0,
        ReservationStatus::Confirmed => 1,
        // Where a line was short there never was one of the whole order.
        ReservationStatus::OutOfStock => 2,
        ReservationStatus::Released => 3,
        ReservationStatus::Expired => 4,
    };
    let mut parts: Vec<&Reservation> = parts.map(Arc::as_ref).collect();
    parts.sort_by_key(|part| rank(part.status));
    let mut whole = Reservation::clone(parts.first()?);
    let lines = parts.iter().flat_map(|part| part.lines.iter());
    let mut lines: Vec<_> = lines.cloned().collect();
    lines.sort_by(|one, other| one.product_id.cmp(&other.product_id));
    whole.lines = lines.into();
    whole.shortages = parts
        .iter()
        .flat_map(|part| part.shortages.iter().cloned())
        .collect();
    for part in parts {
        whole.created_at = whole.created_at.min(part.created_at);
        if part.status == ReservationStatus::Active {
            whole.expires_at = whole.expires_at.min(part.expires_at);
        }
    }
    Some(whole)
}

/// The row as the outside of its shard knows it, where there are several.
fn in_shard(shard: Option<ShardId>, row: Row) -> Row {
    match shard {
        Some(shard) => Row::InShard(shard, Box::new(row)),
        None => row,
    }
}
