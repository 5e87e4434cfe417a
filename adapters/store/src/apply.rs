//! From a generation of rows to operations on sled.
//!
//! Nothing is read first where nothing earlier can show through: an order that comes with
//! its reservation and its payment is written as it is. Which index entries an order has
//! is known without looking, because only active orders change their status, and those
//! that are in sled are remembered here.

use std::collections::HashMap;

use a4co_core::ids::OrderId;
use a4co_core::order::OrderStatus;

use crate::disk::{Disk, Operation, degraded};
use crate::error::StoreError;
use crate::keys::{self, Position};
use crate::options::FaultPoint;
use crate::overlay::Generation;
use crate::record::{self, Bundle};

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
        for status in OrderStatus::ALL
            .into_iter()
            .filter(|it| keys::is_active(*it))
        {
            disk.with(FaultPoint::Read, |db| {
                for key in db.scan_prefix(keys::by_status_prefix(status)).keys() {
                    if let Some(position) = Position::from_end(&key?) {
                        active.insert(position.order_id, status);
                    }
                }
                Ok(())
            })?;
        }
        Ok(Self {
            active,
            pruned_to: None,
        })
    }

    /// Writes a generation, and only then that it is written. Nothing is flushed.
    pub(crate) fn apply(&mut self, disk: &Disk, generation: &Generation) -> Result<(), StoreError> {
        let mut operations = Vec::new();
        for product in generation.products.values() {
            let value = encode(&**product)?;
            operations.push((keys::product(&product.product_id), Some(value)));
        }
        for record in generation.answers.values() {
            let (participant, key) = (record.participant, &record.key);
            let value = encode(&**record)?;
            operations.push((keys::answer(participant, key), Some(value)));
            let by_age = keys::answer_by_age(record.at, participant, key);
            operations.push((by_age, Some(Vec::new())));
        }
        let mut orders: Vec<(Position, OrderId, &Bundle)> = Vec::new();
        for (order_id, bundle) in &generation.orders {
            let created_at = bundle.created_at().unwrap_or_default();
            let position = Position {
                created_at,
                order_id: *order_id,
            };
            orders.push((position, *order_id, bundle));
        }
        orders.sort_unstable_by_key(|(position, _, _)| *position);
        for chunk in orders.chunks(CHUNK_ORDERS) {
            for (_, order_id, bundle) in chunk {
                self.write_bundle(disk, *order_id, (*bundle).clone(), &mut operations)?;
            }
            operations.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
            disk.write(std::mem::take(&mut operations))?;
        }
        let applied = generation.sequence.to_be_bytes().to_vec();
        operations.push((keys::APPLIED.to_vec(), Some(applied)));
        // Where there are too many for one batch, the last one has it.
        disk.write(operations)
    }

    fn write_bundle(
        &mut self,
        disk: &Disk,
        order_id: OrderId,
        bundle: Bundle,
        operations: &mut Vec<Operation>,
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
            operations.push((keys::order(earlier_at), None));
        }
        operations.push((keys::order(position), Some(encode(&bundle)?)));
        if known.is_none() && earlier_at != Some(position) {
            let time = keys::time_bytes(created_at).to_vec();
            operations.push((keys::locator(order_id), Some(time)));
        }
        let Some(order) = changed_order else {
            return Ok(());
        };
        if known == Some(order.status) {
            return Ok(());
        }
        if let Some(earlier) = known {
            operations.push((keys::by_status(earlier, position), None));
        }
        operations.push((keys::by_status(order.status, position), Some(Vec::new())));
        let by_customer = keys::by_customer(&order.order.customer_id, position);
        let code = vec![keys::status_code(order.status)];
        operations.push((by_customer, Some(code)));
        if keys::is_active(order.status) {
            self.active.insert(order_id, order.status);
        } else {
            self.active.remove(&order_id);
        }
        Ok(())
    }
}

/// What sled has of an order, and where.
pub(crate) fn find_bundle(
    disk: &Disk,
    order_id: OrderId,
) -> Result<Option<(Position, Bundle)>, StoreError> {
    // Between the two reads the writer may move the bundle, which it does at most once.
    for _ in 0..2 {
        let Some(time) = disk.get(&keys::locator(order_id))? else {
            return Ok(None);
        };
        let time = <[u8; keys::TIME_BYTES]>::try_from(&*time).ok();
        let Some(created_at) = time.and_then(keys::time_from_bytes) else {
            return Err(StoreError::Undecodable {
                what: "an order's place",
                key: keys::shown(&keys::locator(order_id)),
            });
        };
        let position = Position {
            created_at,
            order_id,
        };
        let key = keys::order(position);
        if let Some(value) = disk.get(&key)? {
            return Ok(Some((position, record::decode_bundle(&key, &value)?)));
        }
    }
    Ok(None)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    record::encode(value).map_err(|error| degraded(&error))
}
