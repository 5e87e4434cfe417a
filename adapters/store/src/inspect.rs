//! Looking at a store as it lies on the disk, for `a4co verify`.
//!
//! It is apart from the view because it deletes nothing: what a view would not trust, and
//! make anew, is reported and left as it is. sled itself may still tidy its own files when
//! it opens them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use a4co_core::row::Row;
use a4co_core::time::Timestamp;

use crate::apply::locate;
use crate::disk::Disk;
use crate::error::{Reason, StoreError};
use crate::keys::{self, Position};
use crate::options::{FaultPoint, Options};
use crate::record;

/// A store of a process that does not run.
#[derive(Debug)]
pub struct Inspection {
    disk: Disk,
    applied: u64,
}

impl Inspection {
    /// Opens what is there. `Err(reason)` inside: a view would make it anew, and all of the
    /// log would be published to it again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while a process has it, or [`StoreError::Folder`].
    pub fn open(folder: &Path, options: &Options) -> Result<Result<Self, Reason>, StoreError> {
        let disk = match Disk::inspect(folder, options)? {
            Ok(disk) => disk,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match disk.applied() {
            Ok(applied) => Ok(Self { disk, applied }),
            Err(error) => Err(Reason::Damaged(error.to_string())),
        })
    }

    /// The last sequence whose rows, and all earlier ones, are there. Rows of later ones
    /// may be there too.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Shows every row once: orders with their reservations and payments in order of
    /// creation, then products, then kept answers.
    ///
    /// # Errors
    /// [`StoreError::Degraded`] or [`StoreError::Undecodable`]; the rows shown until then
    /// are as they were written.
    pub fn rows(&self, show: impl FnMut(Row)) -> Result<(), StoreError> {
        rows(&self.disk, show)
    }
}

/// Shows every row on the disk once; see [`Inspection::rows`].
pub(crate) fn rows(disk: &Disk, mut show: impl FnMut(Row)) -> Result<(), StoreError> {
    let first = keys::at(&[], Position::first_at(Timestamp::UNIX_EPOCH));
    let mut end = keys::at(&[], Position::last_at(Timestamp::MAX));
    end.push(0);
    disk.with(FaultPoint::Read, |db| {
        keys::ORDERS.visit(db, &first, &end, |key, value| {
            let bundle = record::decode_bundle(key, value)?;
            if let Some(position) = Position::from_end(key)
                // Where it is not, it was before it moved.
                && locate(db, position.order_id)? == Some(position)
            {
                let boxed = |row| Row::Order(Box::new(Arc::unwrap_or_clone(row)));
                bundle.order.map(boxed).map(&mut show);
                let boxed = |row| Row::Reservation(Box::new(Arc::unwrap_or_clone(row)));
                bundle.reservation.map(boxed).map(&mut show);
                for (shard, part) in bundle.parts {
                    show(Row::InShard(shard, Box::new(boxed(part))));
                }
                let boxed = |row| Row::Payment(Box::new(Arc::unwrap_or_clone(row)));
                bundle.payment.map(boxed).map(&mut show);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for entry in db.scan_prefix([keys::PRODUCT]) {
            let (key, value) = entry?;
            show(Row::Product(Box::new(record::decode_product(
                &key, &value,
            )?)));
        }
        for entry in db.scan_prefix([keys::ANSWER]) {
            let (key, value) = entry?;
            let row = Row::Answer(Box::new(record::decode_answer(&key, &value)?));
            show(match keys::shard_of_answer(&key) {
                Some(shard) => Row::InShard(shard, Box::new(row)),
                None => row,
            });
        }
        Ok(())
    })
}
