//! sled, with everything around it that makes it fit to be used: a lock of ours, a note of
//! who wrote it and under which boot, and a wall against its panics.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::error::{Reason, StoreError};
use crate::keys;
use crate::options::{FaultPoint, Options};
use crate::record::VALUE_VERSION;
use crate::runs::{Edit, Family};

/// sled's own folder. The note stands beside it, so that neither can be there in part.
const SLED_FOLDER: &str = "sled";
/// In it, the file that it locks.
const SLED_FILE: &str = "db";
const NOTE_FILE: &str = "about";
const LOCK_FILE: &str = "lock";
/// The layout of folder and keys; another one makes the view be rebuilt.
const LAYOUT_VERSION: u32 = 1;
/// How long a sled that was closed may take to let go of its file.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Disk {
    folder: PathBuf,
    options: Options,
    /// sled, or why it is not open.
    db: RwLock<Result<sled::Db, String>>,
    /// A write came to nothing. sled takes no more, but what it had is still read from it.
    failed: AtomicBool,
    /// Held until the view is closed.
    lock: Mutex<Option<File>>,
}

/// What was found when a disk was opened.
pub(crate) struct Found {
    pub(crate) disk: Disk,
    pub(crate) applied: u64,
    pub(crate) why_rebuilt: Option<Reason>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Disk").field(&self.folder).finish()
    }
}

impl Disk {
    pub(crate) fn open(folder: &Path, options: &Options) -> Result<Found, StoreError> {
        fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let disk = Self::locked(folder, options)?;
        let why_rebuilt = match disk.distrust() {
            Some(reason) => Some(reason),
            None => match disk.start() {
                Ok(()) => None,
                // It would be as good as ever with some room.
                Err(Unopened::NoRoom) => {
                    return Err(StoreError::NoRoom {
                        path: folder.to_owned(),
                    });
                }
                Err(Unopened::Busy) => {
                    return Err(StoreError::Locked {
                        path: folder.to_owned(),
                    });
                }
                Err(Unopened::Damaged(why)) => Some(Reason::Damaged(why)),
            },
        };
        if why_rebuilt.is_some() {
            disk.start_empty()?;
        }
        let applied = match disk.applied() {
            Ok(applied) => applied,
            // Only a disk that is not open gives this; it is tried again later.
            Err(StoreError::Degraded { .. }) if why_rebuilt.is_some() => 0,
            Err(error) => return Err(error),
        };
        Ok(Found {
            disk,
            applied,
            why_rebuilt,
        })
    }

    /// Opens what is there and may be trusted, without making anything anew.
    pub(crate) fn inspect(
        folder: &Path,
        options: &Options,
    ) -> Result<Result<Self, Reason>, StoreError> {
        if !folder.join(SLED_FOLDER).exists() {
            return Ok(Err(Reason::New));
        }
        let disk = Self::locked(folder, options)?;
        if let Some(reason) = disk.distrust() {
            return Ok(Err(reason));
        }
        let started = disk.start();
        Ok(match started {
            Ok(()) => Ok(disk),
            Err(error) => Err(Reason::Damaged(error.to_string())),
        })
    }

    /// The folder, held by this process, with sled not open yet.
    fn locked(folder: &Path, options: &Options) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        };
        let lock = File::create(folder.join(LOCK_FILE)).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked {
                    path: folder.to_owned(),
                });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        Ok(Self {
            folder: folder.to_owned(),
            options: options.clone(),
            db: RwLock::new(Err("it is not open yet".to_owned())),
            failed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Deletes what there is and begins again. When that cannot be opened (there may be no
    /// room), the disk stays down, to be tried again.
    pub(crate) fn start_empty(&self) -> Result<(), StoreError> {
        self.put_down("it is being rebuilt");
        let failed = |source| StoreError::Folder {
            path: self.folder.clone(),
            source,
        };
        self.forget().map_err(failed)?;
        remove_folder(&self.folder.join(SLED_FOLDER)).map_err(failed)?;
        let started = self.start().and_then(|()| {
            let written = fs::write(self.folder.join(NOTE_FILE), self.note());
            written.map_err(|error| Unopened::Damaged(error.to_string()))
        });
        if let Err(error) = started {
            self.put_down(&error.to_string());
        }
        Ok(())
    }

    /// Removes the note: the next start deletes the view and rebuilds it.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(NOTE_FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Closes sled and opens it once more.
    pub(crate) fn reopen(&self) -> Result<(), String> {
        let checked = self.options.check(FaultPoint::Reopen);
        checked.map_err(|error| error.to_string())?;
        self.put_down("it is being opened again");
        if !self.folder.join(NOTE_FILE).exists() {
            return self.start_empty().map_err(|error| error.to_string());
        }
        self.start().map_err(|error| error.to_string())
    }

    /// Closes sled. Waits for reads that are under way.
    pub(crate) fn put_down(&self, why: &str) {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *db, Err(why.to_owned()));
        drop(db);
        // Its destructor flushes, which can panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(before)));
    }

    /// Closes sled for good, and lets another have the folder.
    pub(crate) fn close(&self) {
        self.put_down("it is closed");
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether sled is open and takes writes.
    pub(crate) fn is_up(&self) -> bool {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.is_ok() && !self.failed.load(Ordering::Acquire)
    }

    /// Notes that a write came to nothing: nothing is written until sled is opened again.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Does something with sled. Its errors and panics come back as
    /// [`StoreError::Degraded`].
    pub(crate) fn with<T>(
        &self,
        point: FaultPoint,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().map_err(degraded)?;
        self.options
            .check(point)
            .map_err(|error| degraded(&error))?;
        catch_unwind(AssertUnwindSafe(|| work(db)))
            .unwrap_or_else(|panic| Err(degraded(panic_text(panic.as_ref()))))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.with(FaultPoint::Read, |db| Ok(db.get(key)?))
    }

    /// Changes entries of a family; see [`Family::edit`].
    pub(crate) fn edit(&self, family: Family, mut edits: Vec<Edit>) -> Result<(), StoreError> {
        edits.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        self.with(FaultPoint::Read, |db| {
            family.edit(db, &edits, |db, operation| self.write_one(db, operation))
        })
    }

    /// Writes rows that each have a key of their own.
    pub(crate) fn write(&self, rows: Vec<Edit>) -> Result<(), StoreError> {
        self.with(FaultPoint::Read, |db| {
            rows.into_iter().try_for_each(|row| self.write_one(db, row))
        })
    }

    fn write_one(&self, db: &sled::Db, (key, value): Edit) -> Result<(), StoreError> {
        self.options.check(FaultPoint::Write).map_err(degraded)?;
        match value {
            Some(value) => db.insert(key, value)?,
            None => db.remove(key)?,
        };
        Ok(())
    }

    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.with(FaultPoint::Flush, |db| {
            db.flush()?;
            Ok(())
        })
    }

    pub(crate) fn applied(&self) -> Result<u64, StoreError> {
        let Some(value) = self.get(keys::APPLIED)? else {
            return Ok(0);
        };
        let value = <[u8; 8]>::try_from(&*value).map_err(|_| StoreError::Undecodable {
            what: "the applied sequence",
            key: keys::shown(keys::APPLIED),
        })?;
        Ok(u64::from_be_bytes(value))
    }

    /// Bytes of all files.
    pub(crate) fn size_bytes(&self) -> u64 {
        folder_bytes(&self.folder)
    }

    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        (self.options.free_space)(&self.folder)
    }

    /// Why what lies there must not even be opened.
    fn distrust(&self) -> Option<Reason> {
        let there = self.folder.join(SLED_FOLDER).exists();
        let Ok(note) = fs::read_to_string(self.folder.join(NOTE_FILE)) else {
            return Some(if there { Reason::Format } else { Reason::New });
        };
        let mut lines = note
            .lines()
            .zip(self.note().lines().map(str::to_owned).collect::<Vec<_>>());
        let (Some((format, format_now)), Some((boot, boot_now))) = (lines.next(), lines.next())
        else {
            return Some(Reason::Format);
        };
        if !there || format != format_now {
            return Some(Reason::Format);
        }
        (boot != boot_now).then_some(Reason::OtherBoot)
    }

    /// The layout, and the boot under which sled's files are what was written to them.
    fn note(&self) -> String {
        let boot = fs::read_to_string(&self.options.boot_id_path).unwrap_or_default();
        let boot = boot.trim();
        format!("layout {LAYOUT_VERSION}, values {VALUE_VERSION}, sled 0.34\nboot {boot}\n")
    }

    fn start(&self) -> Result<(), Unopened> {
        let folder = self.folder.join(SLED_FOLDER);
        // What a crash left of a snapshot would be read, and fail for ever.
        remove_unfinished(&folder)?;
        wait_for_release(&folder.join(SLED_FILE))?;
        let config = sled::Config::new()
            .path(&folder)
            .cache_capacity(self.options.cache_bytes)
            .flush_every_ms(Some(1000));
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = config.open()?;
            // A damaged tree often shows only when it is read.
            db.get(keys::APPLIED)?;
            Ok(db)
        }));
        match opened {
            Ok(Ok(db)) => {
                *self.db.write().unwrap_or_else(PoisonError::into_inner) = Ok(db);
                self.failed.store(false, Ordering::Release);
                Ok(())
            }
            Ok(Err(sled::Error::Io(error))) => Err(error.into()),
            Ok(Err(error)) => Err(Unopened::Damaged(error.to_string())),
            Err(panic) => Err(Unopened::Damaged(panic_text(panic.as_ref()))),
        }
    }
}

/// Why sled could not be opened.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error("there is no room to open sled")]
    NoRoom,
    #[error("sled's file is still in use")]
    Busy,
    #[error("{0}")]
    Damaged(String),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        degraded(error)
    }
}

pub(crate) fn degraded(why: impl ToString) -> StoreError {
    StoreError::Degraded {
        why: why.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("sled panicked: {}", text.unwrap_or_default())
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_unfinished(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A sled that was closed in this process lets go of its file when the last of its writes
/// has ended, somewhat later. It would take that for another process.
fn wait_for_release(file: &Path) -> Result<(), Unopened> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // The lock goes with the file at the end of this function.
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < RELEASE_WAIT => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Unopened::Busy),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
