//! What the simulated disk holds, and what a crash makes of it: apart from the calls of
//! the port, so that each can be read on one page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::content::{Content, Sectors};
use super::{SECTOR_BYTES, SimFault};
use crate::disk::DiskError;

/// What a file occupies is counted in these.
const BLOCK_BYTES: u64 = 4096;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) next_number: u64,
    pub(super) cached_names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) unsynced_names: Vec<NameChange>,
    /// Counts processes: a file handle of an earlier one is dead.
    pub(super) epoch: u64,
    pub(super) lock: Option<u64>,
    pub(super) capacity_bytes: u64,
    pub(super) operations: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) fail_next_sync: bool,
    pub(super) faults: BTreeMap<u64, SimFault>,
    pub(super) power_cut_at: Option<u64>,
    pub(super) power_is_off: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) cached: Content,
    pub(super) durable: Content,
    pub(super) dirty_sectors: Sectors,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create {
        name: String,
        inode: u64,
    },
    Rename {
        from: String,
        to: String,
        inode: u64,
    },
    Remove {
        name: String,
        inode: u64,
    },
}

/// What is to become of the operation that is about to run.
pub(super) enum Verdict {
    Go,
    Fail(SimFault),
    /// The power goes while it runs: its effect stays unsynced.
    PowerCut,
}

impl Default for State {
    fn default() -> Self {
        Self {
            inodes: BTreeMap::new(),
            next_number: 1,
            cached_names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            epoch: 0,
            lock: None,
            capacity_bytes: u64::MAX,
            operations: 0,
            writes: 0,
            syncs: 0,
            fail_next_sync: false,
            faults: BTreeMap::new(),
            power_cut_at: None,
            power_is_off: false,
        }
    }
}

/// One step of a splitmix64 generator: the only source of a crash's choices.
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(super) fn blocks(length: usize) -> u64 {
    (length as u64).div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

pub(super) fn io_error(operation: &'static str, name: &str, why: &str) -> DiskError {
    DiskError::Io {
        operation,
        name: name.to_owned(),
        source: io::Error::other(why.to_owned()),
    }
}

impl State {
    pub(super) fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
        self.lock = None;
        self.power_is_off = false;
        self.power_cut_at = None;
        self.fail_next_sync = false;
        self.faults.clear();
    }

    pub(super) fn inode_named(&mut self, name: &str) -> Option<&mut Inode> {
        let number = self.cached_names.get(name)?;
        self.inodes.get_mut(number)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.cached_names
            .values()
            .filter_map(|number| self.inodes.get(number))
            .map(|inode| blocks(inode.cached.len()))
            .sum()
    }

    /// What may still be written to new blocks. A disk without a limit is not measured at
    /// every write, and half of the number is more than any run writes.
    pub(super) fn free_bytes(&self) -> u64 {
        match self.capacity_bytes {
            u64::MAX => u64::MAX / 2,
            capacity => capacity.saturating_sub(self.used_bytes()),
        }
    }

    pub(super) fn crash(&mut self, seed: &mut u64) {
        self.new_epoch();
        // The kind of crash comes first, so that "nothing arrived" and "everything
        // arrived" are as frequent as the mixtures.
        let kind = next_random(seed) % 4;
        let changes = std::mem::take(&mut self.unsynced_names);
        let prefix = next_random(seed) % (changes.len() as u64 + 1);
        for (index, change) in changes.into_iter().enumerate() {
            let arrives = match kind {
                0 => false,
                1 => true,
                2 => (index as u64) < prefix,
                _ => next_random(seed).is_multiple_of(2),
            };
            if arrives {
                change.apply(&mut self.durable_names);
            }
        }
        self.cached_names = self.durable_names.clone();
        let linked: BTreeSet<u64> = self.durable_names.values().copied().collect();
        self.inodes.retain(|number, _| linked.contains(number));
        for inode in self.inodes.values_mut() {
            inode.crash(kind, seed);
        }
    }

    pub(super) fn begin(
        &mut self,
        name: &str,
        operation: &'static str,
    ) -> Result<Verdict, DiskError> {
        self.check_power(name, operation)?;
        let number = self.operations;
        self.operations += 1;
        if self.power_cut_at == Some(number) {
            self.power_is_off = true;
            return Ok(Verdict::PowerCut);
        }
        Ok(self
            .faults
            .remove(&number)
            .map_or(Verdict::Go, Verdict::Fail))
    }

    /// For operations on names, which happen whole or not at all.
    pub(super) fn begin_whole(
        &mut self,
        name: &str,
        operation: &'static str,
    ) -> Result<bool, DiskError> {
        match self.begin(name, operation)? {
            Verdict::Go => Ok(false),
            Verdict::PowerCut => Ok(true),
            Verdict::Fail(fault) => Err(fault.error(operation, name)),
        }
    }

    pub(super) fn check_power(&self, name: &str, operation: &'static str) -> Result<(), DiskError> {
        if self.power_is_off {
            return Err(power_off(operation, name));
        }
        Ok(())
    }

    pub(super) fn begin_sync(
        &mut self,
        name: &str,
        operation: &'static str,
    ) -> Result<Verdict, DiskError> {
        self.syncs += 1;
        match self.begin(name, operation)? {
            Verdict::Go if std::mem::take(&mut self.fail_next_sync) => {
                Ok(Verdict::Fail(SimFault::Io))
            }
            other => Ok(other),
        }
    }
}

pub(super) fn power_off(operation: &'static str, name: &str) -> DiskError {
    io_error(operation, name, "the power is off")
}

pub(super) fn after(cut: bool, operation: &'static str, name: &str) -> Result<(), DiskError> {
    if cut {
        Err(power_off(operation, name))
    } else {
        Ok(())
    }
}

impl SimFault {
    pub(super) fn error(self, operation: &'static str, name: &str) -> DiskError {
        match self {
            Self::Full => DiskError::Full {
                operation,
                name: name.to_owned(),
            },
            Self::Io => io_error(operation, name, "simulated input/output error"),
        }
    }
}

impl NameChange {
    pub(super) fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name, inode);
            }
            Self::Rename { from, to, inode } => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Self::Remove { name, inode } => {
                if names.get(&name) == Some(&inode) {
                    names.remove(&name);
                }
            }
        }
    }
}

impl Inode {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.cached.len() {
            self.resize(end);
        }
        self.cached.write(at, bytes);
        if !bytes.is_empty() {
            self.dirty_sectors
                .add(at / SECTOR_BYTES, (end - 1) / SECTOR_BYTES);
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        let shorter = length.min(self.cached.len());
        self.cached.resize(length);
        if shorter < length.max(self.durable.len()) {
            // What was cut off must come back as zeros, not as what it was.
            let end = length.max(self.durable.len());
            self.dirty_sectors
                .add(shorter / SECTOR_BYTES, end.saturating_sub(1) / SECTOR_BYTES);
        }
    }

    pub(super) fn sync(&mut self) {
        self.write_back(0, self.cached.len());
    }

    /// Brings the dirty sectors of this range, and the length, to the platter.
    pub(super) fn write_back(&mut self, at: usize, count: usize) {
        let length = self.cached.len();
        self.durable.resize(length);
        let end = (at + count).div_ceil(SECTOR_BYTES);
        for sector in self.dirty_sectors.take(at / SECTOR_BYTES, end) {
            let from = (sector * SECTOR_BYTES).min(length);
            let to = ((sector + 1) * SECTOR_BYTES).min(length);
            self.durable.copy(&self.cached, from, to);
        }
    }

    pub(super) fn crash(&mut self, kind: u64, seed: &mut u64) {
        let shorter = self.durable.len().min(self.cached.len());
        let longer = self.durable.len().max(self.cached.len());
        let length = match kind {
            0 => self.durable.len(),
            1 => self.cached.len(),
            _ if shorter == longer => longer,
            _ => {
                let between = (longer - shorter) as u64 + 1;
                shorter + usize::try_from(next_random(seed) % between).unwrap_or(0)
            }
        };
        self.durable.resize(length);
        for sector in self.dirty_sectors.take_all() {
            let arrives = match kind {
                0 => false,
                1 => true,
                _ => next_random(seed).is_multiple_of(2),
            };
            let from = sector * SECTOR_BYTES;
            let to = ((sector + 1) * SECTOR_BYTES)
                .min(length)
                .min(self.cached.len());
            if arrives && from < to {
                self.durable.copy(&self.cached, from, to);
            }
        }
        self.cached = self.durable.clone();
    }
}
