//! From a generation of rows to operations on sled.
//!
//! Nothing is read first where nothing earlier can show through: an order that comes with
//! its reservation and its payment is written as it is. Which index entries an order has
//! is known without looking, because only active orders change their status, and those
//! that are in sled are remembered here.

use std::collections::HashMap;
use std::ops::ControlFlow;

use a4co_core::ids::OrderId;
use a4co_core::order::OrderStatus;
use a4co_core::time::Timestamp;

use crate::disk::{Disk, degraded};
use crate::error::StoreError;
use crate::keys::{self, Position};
use crate::options::FaultPoint;
use crate::overlay::Generation;
use crate::record::{self, Bundle};
use crate::runs::Edit;

/// Orders that are encoded before they are written: enough to write neighbours together.
const CHUNK_ORDERS: usize = 4096;

/// Who writes to sled: one at a time.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The active orders in sled, with the status that they are indexed under.
    active: HashMap<OrderId, OrderStatus>,
    /// Where the present pass of pruning has come to.
    pub(crate) pruned_to: Option<Position>,
}

impl Writer {
    /// Learns which active orders are in sled.
    pub(crate) fn load(disk: &Disk) -> Result<Self, StoreError> {
        let mut active = HashMap::new();
        let first = keys::at(&[0], Position::first_at(Timestamp::UNIX_EPOCH));
        let end = [keys::ACTIVE_CODE_MAX + 1];
        disk.with(FaultPoint::Read, |db| {
            keys::BY_STATUS.visit(db, &first, &end, |key, _| {
                let status = key.first().copied().and_then(keys::status_from_code);
                if let (Some(status), Some(position)) = (status, Position::from_end(key)) {
                    active.insert(position.order_id, status);
                }
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(Self {
            active,
            pruned_to: None,
        })
    }

    /// Writes a generation, and flushes it, and only then that it is written.
    pub(crate) fn apply(&mut self, disk: &Disk, generation: &Generation) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for product in generation.products.values() {
            let value = encode(&**product)?;
            rows.push((keys::product(&product.product_id), Some(value)));
        }
        for (key, record) in &generation.answers {
            let value = encode(&**record)?;
            rows.push((keys::answer(key), Some(value)));
            let by_age = keys::answer_by_age(record.at, key);
            rows.push((by_age, Some(Vec::new())));
        }
        disk.write(rows)?;
        let mut orders: Vec<(OrderId, &Bundle)> = Vec::new();
        orders.extend(generation.orders.iter().map(|(id, bundle)| (*id, bundle)));
        orders.sort_unstable_by_key(|(order_id, bundle)| (bundle.created_at(), *order_id));
        for chunk in orders.chunks(CHUNK_ORDERS) {
            let mut edits = Edits::default();
            for (order_id, bundle) in chunk {
                self.add(disk, *order_id, (*bundle).clone(), &mut edits)?;
            }
            edits.write(disk)?;
        }
        disk.flush()?;
        let applied = generation.sequence.to_be_bytes().to_vec();
        disk.write(vec![(keys::APPLIED.to_vec(), Some(applied))])?;
        disk.flush()
    }

    fn add(
        &mut self,
        disk: &Disk,
        order_id: OrderId,
        bundle: Bundle,
        edits: &mut Edits,
    ) -> Result<(), StoreError> {
        let changed_order = bundle.order.clone();
        let known = self.active.get(&order_id).copied();
        let (earlier_at, bundle) = if bundle.is_complete() {
            (None, bundle)
        } else {
            match find_bundle(disk, order_id)? {
                Some((position, earlier)) => (Some(position), bundle.over(earlier)),
                None => (None, bundle),
            }
        };
        // A bundle of parts without their order stays where it was first put.
        let created_at = match (&bundle.order, earlier_at) {
            (Some(order), _) => order.created_at,
            (None, Some(position)) => position.created_at,
            (None, None) => bundle.created_at().unwrap_or_default(),
        };
        let position = Position {
            created_at,
            order_id,
        };
        if let Some(earlier_at) = earlier_at.filter(|earlier| *earlier != position) {
            edits.moved.push((keys::at(&[], earlier_at), None));
        }
        let value = record::encode_bundle(&bundle).map_err(degraded)?;
        edits.orders.push((keys::at(&[], position), Some(value)));
        if known.is_none() && earlier_at != Some(position) {
            edits.locate(position);
        }
        let Some(order) = changed_order else {
            return Ok(());
        };
        if known == Some(order.status) {
            return Ok(());
        }
        let by_status = |status| keys::at(&[keys::status_code(status)], position);
        if let Some(earlier) = known {
            edits.by_status.push((by_status(earlier), None));
        }
        edits
            .by_status
            .push((by_status(order.status), Some(Vec::new())));
        let customer = keys::customer_prefix(&order.order.customer_id);
        let code = vec![keys::status_code(order.status)];
        let by_customer = keys::at(&customer, position);
        edits.by_customer.push((by_customer, Some(code)));
        if keys::is_active(order.status) {
            self.active.insert(order_id, order.status);
        } else {
            self.active.remove(&order_id);
        }
        Ok(())
    }
}

/// Changes to the families of orders, that are made together.
#[derive(Default)]
pub(crate) struct Edits {
    orders: Vec<Edit>,
    locators: Vec<Edit>,
    by_status: Vec<Edit>,
    by_customer: Vec<Edit>,
    /// Locators that are to go.
    unlocated: Vec<Edit>,
    /// Places that bundles have left.
    moved: Vec<Edit>,
}

impl Edits {
    fn locate(&mut self, position: Position) {
        let time = keys::time_bytes(position.created_at).to_vec();
        let key = position.order_id.as_bytes().to_vec();
        self.locators.push((key, Some(time)));
    }

    /// Removes a bundle from its place, and, if that is where it is looked for, from
    /// everywhere.
    pub(crate) fn forget(&mut self, position: Position, bundle: &Bundle, is_here: bool) {
        self.moved.push((keys::at(&[], position), None));
        if !is_here {
            return;
        }
        let key = position.order_id.as_bytes().to_vec();
        self.unlocated.push((key, None));
        if let Some(order) = &bundle.order {
            let code = [keys::status_code(order.status)];
            self.by_status.push((keys::at(&code, position), None));
            let customer = keys::customer_prefix(&order.order.customer_id);
            self.by_customer.push((keys::at(&customer, position), None));
        }
    }

    /// In this order, since a crash may come in between. An active order that has its status
    /// has everything else. A bundle is where it was until it is found at its new place. What
    /// is forgotten is still found by the next pruning until nothing points to it.
    pub(crate) fn write(self, disk: &Disk) -> Result<(), StoreError> {
        disk.edit(keys::ORDERS, self.orders)?;
        disk.edit(keys::LOCATORS, self.locators)?;
        disk.edit(keys::BY_CUSTOMER, self.by_customer)?;
        disk.edit(keys::BY_STATUS, self.by_status)?;
        disk.edit(keys::LOCATORS, self.unlocated)?;
        disk.edit(keys::ORDERS, self.moved)
    }
}

/// What sled has of an order, and where.
pub(crate) fn find_bundle(
    disk: &Disk,
    order_id: OrderId,
) -> Result<Option<(Position, Bundle)>, StoreError> {
    disk.with(FaultPoint::Read, |db| {
        // Between the two reads the writer may move the bundle, which it does at most once.
        for _ in 0..2 {
            let Some(position) = locate(db, order_id)? else {
                return Ok(None);
            };
            if let Some(bundle) = bundle_at(db, position)? {
                return Ok(Some((position, bundle)));
            }
        }
        Ok(None)
    })
}

/// Where the bundle of an order is.
pub(crate) fn locate(db: &sled::Db, order_id: OrderId) -> Result<Option<Position>, StoreError> {
    keys::LOCATORS.get(db, order_id.as_bytes(), |time| {
        let time = <[u8; keys::TIME_BYTES]>::try_from(time).ok();
        let created_at = time.and_then(keys::time_from_bytes);
        let created_at = created_at.ok_or_else(|| StoreError::Undecodable {
            what: "an order's place",
            key: keys::shown(order_id.as_bytes()),
        })?;
        Ok(Position {
            created_at,
            order_id,
        })
    })
}

pub(crate) fn bundle_at(db: &sled::Db, at: Position) -> Result<Option<Bundle>, StoreError> {
    let key = keys::at(&[], at);
    keys::ORDERS.get(db, &key, |value| record::decode_bundle(&key, value))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    record::encode(value).map_err(degraded)
}
