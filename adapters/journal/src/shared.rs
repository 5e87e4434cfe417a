//! What a journal shares with the handles that work beside it on other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskError, DiskFile};

/// Zeros are written in pieces of this size.
const ZERO_BYTES: usize = 64 * 1024;
static ZEROS: [u8; ZERO_BYTES] = [0; ZERO_BYTES];

pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) segment_bytes: u64,
    pub(crate) milestones: usize,
    /// Whether the spare has its name for good and nobody has taken it.
    pub(crate) spare_is_ready: AtomicBool,
    /// The last record that is durable: no snapshot may stand for more.
    pub(crate) durable_sequence: AtomicU64,
    spare_work: Mutex<()>,
    snapshot_work: Mutex<()>,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(disk: D, segment_bytes: u64, milestones: usize) -> Self {
        Self {
            disk,
            segment_bytes,
            milestones,
            spare_is_ready: AtomicBool::new(false),
            durable_sequence: AtomicU64::new(0),
            spare_work: Mutex::new(()),
            snapshot_work: Mutex::new(()),
        }
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.spare_is_ready.load(Ordering::Acquire)
    }

    /// One spare is made at a time.
    pub(crate) fn spare_work(&self) -> MutexGuard<'_, ()> {
        self.spare_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is making a spare now.
    pub(crate) fn is_making_spare(&self) -> bool {
        self.spare_work.try_lock().is_err()
    }

    /// Snapshots are written, pruned and made the base by one thread at a time.
    pub(crate) fn snapshot_work(&self) -> MutexGuard<'_, ()> {
        self.snapshot_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills a part of a file with real zeros: blocks that are only reserved (`fallocate`)
/// make every first sync of them write metadata too, which halves the commits a second.
pub(crate) fn write_zeros<F: DiskFile>(file: &F, from: u64, to: u64) -> Result<(), DiskError> {
    let mut offset = from;
    while offset < to {
        let count = usize::try_from(to - offset)
            .unwrap_or(ZERO_BYTES)
            .min(ZERO_BYTES);
        file.write_at(offset, &ZEROS[..count])?;
        offset += count as u64;
    }
    Ok(())
}

/// Removes a half-made file after a failure. That it may be left is no harm: the next
/// start removes it; but on a full disk its room is wanted now.
pub(crate) fn remove_unfinished<D: Disk>(disk: &D, name: &str) {
    let _ = disk.remove(name);
}
