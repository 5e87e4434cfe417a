//! A disk in memory that loses, tears and corrupts on demand, and always the same way.
//!
//! It keeps two copies of everything: the page cache, which the running process sees, and
//! the platter, which is what a power cut leaves. In between, every sector of 512 bytes
//! that was written and not synced, every length and every name may or may not have
//! reached the platter: [`SimDisk::crash`] chooses, from nothing but its seed. No clock,
//! no threads of its own, no order of hashing.

mod content;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::content::{Content, Sectors};
use self::state::{Inode, NameChange, State, Verdict, after, blocks, io_error, power_off};
use crate::disk::{Disk, DiskError, DiskFile};

/// What the simulated device writes all at once or not at all.
pub const SECTOR_BYTES: usize = 512;

/// How one chosen operation fails ([`SimDisk::fail_at`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimFault {
    /// No space: a write is done in part, all else not at all.
    Full,
    /// An input/output error: a write is done in part; a sync drops what it should have
    /// made durable, as Linux does, so that a second sync succeeds without having written.
    Io,
}

/// The simulated disk. A clone is another handle to the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// A file of a [`SimDisk`]. Every call fails once the process that opened it is gone.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
    name: String,
    epoch: u64,
    write: bool,
}

/// The lock of a [`SimDisk`].
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    token: u64,
}

impl SimDisk {
    /// An empty disk without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk with the same content, faults and counts; handles stay with this one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut state = self.state().clone();
        state.lock = None;
        state.epoch += 1;
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The power goes and comes back. Whatever was not synced survives or not, sector by
    /// sector and name by name, as the seed says. All handles and the lock are dead;
    /// scheduled faults that have not struck yet are forgotten.
    pub fn crash(&self, seed: &mut u64) {
        self.state().crash(seed);
    }

    /// The process dies (`kill -9`) and the system lives: handles and the lock are dead,
    /// the page cache stays. Also brings the power back when it was off, losing nothing.
    pub fn kill(&self) {
        self.state().new_epoch();
    }

    /// Changes one byte of a file on the platter and in the cache. False: no such byte.
    pub fn corrupt(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut state = self.state();
        let Some(inode) = state.inode_named(name) else {
            return false;
        };
        let Ok(at) = usize::try_from(offset) else {
            return false;
        };
        let mut changed = false;
        for content in [&mut inode.cached, &mut inode.durable] {
            if let Some(byte) = content.byte_mut(at) {
                *byte ^= mask;
                changed = true;
            }
        }
        changed
    }

    /// Cuts a file, on the platter and in the cache. False: no such file.
    pub fn truncate(&self, name: &str, length: usize) -> bool {
        let mut state = self.state();
        let Some(inode) = state.inode_named(name) else {
            return false;
        };
        for content in [&mut inode.cached, &mut inode.durable] {
            content.resize(length.min(content.len()));
        }
        true
    }

    /// A file's bytes as a process sees them.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.state()
            .inode_named(name)
            .map(|inode| inode.cached.to_vec())
    }

    /// Puts a durable file in place, without counting as an operation.
    pub fn plant(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        let number = state.next_number();
        state.inodes.insert(
            number,
            Inode {
                cached: Content::from_bytes(content),
                durable: Content::from_bytes(content),
                dirty_sectors: Sectors::default(),
            },
        );
        state.cached_names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// Takes a file away for good, without counting as an operation. False: no such file.
    pub fn vanish(&self, name: &str) -> bool {
        let mut state = self.state();
        state.durable_names.remove(name);
        state.cached_names.remove(name).is_some()
    }

    /// The size of the disk, in bytes; what is used beyond it stays.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// The bytes used, in whole blocks.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// The next sync of a file or of the folder fails, as [`SimFault::Io`] says.
    pub fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    /// The operation of this number (see [`SimDisk::operations`]) fails, once.
    pub fn fail_at(&self, operation: u64, fault: SimFault) {
        self.state().faults.insert(operation, fault);
    }

    /// The power goes during the operation of this number: its effect is unsynced, and
    /// every call fails from then on, until [`SimDisk::crash`] or [`SimDisk::kill`].
    pub fn cut_power_at(&self, operation: u64) {
        self.state().power_cut_at = Some(operation);
    }

    /// A scheduled power cut that has not happened does not happen.
    pub fn keep_power_on(&self) {
        self.state().power_cut_at = None;
    }

    /// Whether a scheduled power cut has happened and the power is not back yet.
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.state().power_is_off
    }

    /// How many operations that change something were begun: create, write, sync, resize,
    /// rename, remove, sync of the folder. The next one has this number.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many writes were begun.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// How many syncs, of files and of the folder, were begun.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn lock(&self) -> Result<SimLock, DiskError> {
        let mut state = self.state();
        state.check_power("the folder", "lock")?;
        if state.lock.is_some() {
            return Err(DiskError::Locked {
                folder: "(simulated)".to_owned(),
                pid: None,
            });
        }
        let token = state.next_number();
        state.lock = Some(token);
        Ok(SimLock {
            disk: self.clone(),
            token,
        })
    }

    fn create(&self, name: &str) -> Result<SimFile, DiskError> {
        let mut state = self.state();
        let cut = state.begin_whole(name, "create")?;
        let inode = if let Some(inode) = state.cached_names.get(name).copied() {
            if let Some(existing) = state.inodes.get_mut(&inode) {
                existing.resize(0);
            }
            inode
        } else {
            let inode = state.next_number();
            state.inodes.insert(inode, Inode::default());
            state.cached_names.insert(name.to_owned(), inode);
            state.unsynced_names.push(NameChange::Create {
                name: name.to_owned(),
                inode,
            });
            inode
        };
        after(cut, "create", name)?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
            name: name.to_owned(),
            epoch: state.epoch,
            write: true,
        })
    }

    fn open(&self, name: &str, write: bool) -> Result<SimFile, DiskError> {
        let state = self.state();
        state.check_power(name, "open")?;
        let inode = *state
            .cached_names
            .get(name)
            .ok_or_else(|| DiskError::NotFound {
                name: name.to_owned(),
            })?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
            name: name.to_owned(),
            epoch: state.epoch,
            write,
        })
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let state = self.state();
        state.check_power("the folder", "list")?;
        Ok(state.cached_names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.state();
        let cut = state.begin_whole(from, "rename")?;
        let inode = *state
            .cached_names
            .get(from)
            .ok_or_else(|| DiskError::NotFound {
                name: from.to_owned(),
            })?;
        let change = NameChange::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        };
        change.clone().apply(&mut state.cached_names);
        state.unsynced_names.push(change);
        after(cut, "rename", from)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let mut state = self.state();
        let cut = state.begin_whole(name, "remove")?;
        let inode = *state
            .cached_names
            .get(name)
            .ok_or_else(|| DiskError::NotFound {
                name: name.to_owned(),
            })?;
        let change = NameChange::Remove {
            name: name.to_owned(),
            inode,
        };
        change.clone().apply(&mut state.cached_names);
        state.unsynced_names.push(change);
        after(cut, "remove", name)
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        match state.begin_sync("the folder", "sync")? {
            Verdict::Go => {
                state.durable_names = state.cached_names.clone();
                state.unsynced_names.clear();
                Ok(())
            }
            Verdict::PowerCut => Err(power_off("sync", "the folder")),
            Verdict::Fail(fault) => Err(fault.error("sync", "the folder")),
        }
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let state = self.state();
        state.check_power("the folder", "measure")?;
        Ok(state.free_bytes())
    }
}

impl SimFile {
    fn check(&self, state: &State, operation: &'static str) -> Result<(), DiskError> {
        state.check_power(&self.name, operation)?;
        if state.epoch != self.epoch {
            return Err(io_error(
                operation,
                &self.name,
                "the process that opened it is gone",
            ));
        }
        Ok(())
    }

    fn check_write(&self, state: &State, operation: &'static str) -> Result<(), DiskError> {
        self.check(state, operation)?;
        if !self.write {
            return Err(io_error(operation, &self.name, "opened for reading only"));
        }
        Ok(())
    }

    fn inode<'s>(&self, state: &'s mut State) -> Result<&'s mut Inode, DiskError> {
        state
            .inodes
            .get_mut(&self.inode)
            .ok_or_else(|| io_error("find", &self.name, "the file is gone"))
    }

    fn position(&self, value: u64) -> Result<usize, DiskError> {
        usize::try_from(value).map_err(|_| io_error("address", &self.name, "too far"))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> Result<u64, DiskError> {
        let mut state = self.disk.state();
        self.check(&state, "measure")?;
        Ok(self.inode(&mut state)?.cached.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut state = self.disk.state();
        self.check(&state, "read")?;
        let at = self.position(offset)?;
        Ok(self.inode(&mut state)?.cached.read(at, buffer))
    }

    fn is_zero(&self, from: u64, to: u64) -> Result<bool, DiskError> {
        let mut state = self.disk.state();
        self.check(&state, "read")?;
        let (from, to) = (self.position(from)?, self.position(to)?);
        Ok(self.inode(&mut state)?.cached.is_zero(from, to))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        self.check_write(&state, "write")?;
        let at = self.position(offset)?;
        state.writes += 1;
        let verdict = state.begin(&self.name, "write")?;
        let is_fault = matches!(verdict, Verdict::Fail(_));
        let (mut count, mut answer) = match verdict {
            Verdict::Go => (bytes.len(), Ok(())),
            Verdict::PowerCut => (bytes.len(), Err(power_off("write", &self.name))),
            Verdict::Fail(fault) => (bytes.len() / 2, Err(fault.error("write", &self.name))),
        };
        let free = state.free_bytes();
        let inode = self.inode(&mut state)?;
        let room = (blocks(inode.cached.len()) + free).saturating_sub(offset);
        if (count as u64) > room {
            count = usize::try_from(room).unwrap_or(count);
            answer = Err(SimFault::Full.error("write", &self.name));
        }
        inode.write(at, &bytes[..count]);
        if is_fault {
            // The cache may write back at any time; after a failure the worst is now.
            inode.write_back(at, count);
        }
        answer
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        self.check_write(&state, "sync")?;
        let verdict = state.begin_sync(&self.name, "sync")?;
        let inode = self.inode(&mut state)?;
        match verdict {
            Verdict::Go => {
                inode.sync();
                Ok(())
            }
            Verdict::PowerCut => Err(power_off("sync", &self.name)),
            Verdict::Fail(fault) => {
                inode.dirty_sectors.clear();
                Err(fault.error("sync", &self.name))
            }
        }
    }

    fn set_len(&self, length: u64) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        self.check_write(&state, "resize")?;
        let length_bytes = self.position(length)?;
        let cut = state.begin_whole(&self.name, "resize")?;
        let free = state.free_bytes();
        let inode = self.inode(&mut state)?;
        if blocks(length_bytes) > blocks(inode.cached.len()) + free {
            return Err(SimFault::Full.error("resize", &self.name));
        }
        inode.resize(length_bytes);
        after(cut, "resize", &self.name)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.lock == Some(self.token) {
            state.lock = None;
        }
    }
}
