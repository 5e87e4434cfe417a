//! The write-ahead log of the embedded host: one record a group commit, and the promise
//! that an acknowledged record is there after any crash.
//!
//! It knows nothing of what it stores: payloads are bytes. It reads no clock, uses no
//! randomness and starts no thread; work off the hot path ([`SparePreparer`],
//! [`SnapshotWriter`], [`Retainer`]) runs on whatever thread calls it.
//!
//! ```text
//! What the journal promises
//! 1. append() returned Ok: the record survives any crash and any power cut.
//! 2. append() returned Full: the record will never be read.
//! 3. append() failed fatally: nothing more is accepted; the process must end.
//! 4. What is read is what was appended: sequences from 1 without a gap, each record
//!    checked by checksum and by the chain of all before it. Anything else is an error
//!    that names the place.
//! 5. Nothing is cut but one record that does not fit its checksum, at the log's very end,
//!    where an interrupted write leaves it; and that is reported.
//! 6. Every record after the base is there, and the base is an intact snapshot.
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod copy;
mod disk;
mod error;
mod format;
mod journal;
mod layout;
mod open;
mod os_disk;
#[cfg(not(feature = "planted"))]
mod planted;
#[cfg(feature = "planted")]
pub mod planted;
mod reader;
mod retain;
mod scan;
mod shared;
pub mod sim_disk;
mod snapshot;
mod spare;
mod verify;

pub use copy::Copied;
pub use disk::{Disk, DiskError, DiskFile};
pub use error::{
    AppendError, CopyError, Damage, DamageKind, OpenError, PrepareError, ReadError, RetainError,
    SnapshotError,
};
pub use format::{
    ChainHash, DEFAULT_SEGMENT_BYTES, FORMAT_VERSION, MAX_RECORD_BYTES, MAX_SEGMENT_BYTES,
    MIN_SEGMENT_BYTES, Position,
};
pub use journal::Journal;
pub use open::{Options, Recovered, TornTail};
pub use os_disk::{LOCK_FILE, OsDisk, OsFile, OsLock};
pub use reader::{Reader, Record, Records, Recovery};
pub use retain::{Keep, Retained, Retainer};
pub use snapshot::{KEPT_SNAPSHOTS, Snapshot, SnapshotWriter};
pub use spare::SparePreparer;
pub use verify::{Report, SnapshotReport, verify};
