//! `a4co migrate`: journals from a data folder to the streams of a cluster, and back.
//!
//! ```text
//!  - nothing runs meanwhile, on either side, and neither side's history is changed;
//!  - the target is empty, or has the beginning of this very move (to the servers: there a
//!    move that was interrupted is begun again and goes on where it was);
//!  - afterwards both sides are replayed, and their states, counts and sums compared;
//!  - what is moved is events, with their sequences, times and cursors. So everything that
//!    follows from them is there: kept answers, timers, undos that are owed, what was not
//!    read yet.
//! ```
//! The sandbox gateway's books are taken along. Not moved, because they are no part of the
//! journals: stores and snapshots (each is built anew), and the place of the relay.

mod from_nats;
mod to_nats;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use a4co_core::record::{FORMAT_VERSION, Snapshot};
use a4co_core::replicated::HostId;
use a4co_journal::{AppendError, DiskError, OpenError};
use serde::Serialize;

use super::folder::FolderError;
use super::verify::{Contents, Findings, JournalCut, VerifyError};
use crate::gateway::sandbox::MoveError;
use crate::nats::{JournalError, LeaseState, NatsError, WriteError};

pub use self::from_nats::from_nats;
pub use self::to_nats::to_nats;

/// Version of how journals are laid out when they are moved. Another number is another
/// layout; the events have a version of their own.
pub const MIGRATION_VERSION: u32 = 1;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From a data folder to the servers.
    ToNats,
    /// From the servers into a data folder.
    FromNats,
}

/// What has to be known of the servers.
#[derive(Debug, Clone, Copy)]
pub struct Servers {
    /// Copies that they keep of each stream.
    pub replicas: usize,
    /// How long a lease may not be written until it is nobody's.
    pub silent: Duration,
}

/// What was moved. Both sides were replayed, and are the same.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// Which way.
    pub way: Way,
    /// Version of the layout.
    pub migration_version: u32,
    /// Version of the events' format.
    pub format_version: u8,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Records of the data folder's journal.
    pub records: u64,
    /// The streams.
    pub journals: Vec<JournalCut>,
    /// Messages that an earlier, interrupted move had written already.
    pub messages_found: u64,
    /// Entries of the sandbox gateway's books; none where there are no books.
    pub sandbox_entries: Option<u64>,
    /// What the journals replay to, on both sides.
    #[serde(flatten)]
    pub contents: Contents,
}

/// Why nothing was moved, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The data folder cannot be used. Nothing was changed.
    #[error(transparent)]
    Folder(#[from] VerifyError),
    /// A process runs on the data folder. Nothing was changed.
    #[error("{0}: stop it first")]
    Running(DiskError),
    /// The data folder's journal begins with a snapshot. Nothing was changed.
    #[error(
        "history before record {base} of the journal was let go (history_days), and a cluster's journals begin at the beginning: only a data folder with its whole history can be moved"
    )]
    HistoryGone {
        /// The record that history begins after.
        base: u64,
    },
    /// What is to be moved is not in order. Nothing was changed.
    #[error("{from} is not in order ({findings} found, such as: {first}); `a4co verify` shows all")]
    NotClean {
        /// What was checked.
        from: String,
        /// How much was found.
        findings: u64,
        /// The first of it.
        first: String,
    },
    /// There is something else at the target. Nothing was changed.
    #[error("{target} is not empty (it has {what}), and was not begun by this move: {advice}")]
    NotEmpty {
        /// The target.
        target: String,
        /// Something that is in it.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody leads a journal. Nothing was changed.
    #[error("the {} journal is led by {}: stop every process of the cluster first", .0.journal, .0.holder.unwrap_or_default())]
    Led(LeaseState),
    /// A move to these servers has not finished. Nothing was changed.
    #[error(
        "a move to these servers has not finished: run `a4co migrate to-nats` again on the same data folder"
    )]
    Unfinished,
    /// The journals grew meanwhile: somebody leads one.
    #[error(
        "stream {stream} grew while it was read: stop every process of the cluster, and try again"
    )]
    Moving {
        /// The stream.
        stream: String,
    },
    /// A stream could not be written. Begin the same move again.
    #[error("{0}; begin the same move again")]
    Write(#[from] WriteError),
    /// The streams cannot be read or set up.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox's books were not moved. Begin the same move again.
    #[error("the sandbox's books were not moved: {0}")]
    Books(#[from] MoveError),
    /// The data folder cannot be written. What is unfinished is in it under another name.
    #[error("the data folder could not be written: {0}; check its permissions and the disk's room")]
    WriteFolder(#[from] FolderError),
    /// The data folder cannot be written.
    #[error("the data folder could not be written: {0}; check its permissions and the disk's room")]
    Disk(#[from] DiskError),
    /// The new journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new journal cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Both sides were read, and differ. The source is as it was; do not use the target.
    #[error("the target is not what the source is ({0}): do not use it, and please report this")]
    Differs(String),
}

impl From<NatsError> for MigrateError {
    fn from(error: NatsError) -> Self {
        Self::Journal(error.into())
    }
}

/// One side, replayed.
struct Side {
    state: Option<Snapshot>,
    contents: Contents,
}

/// Both sides must have come to the same.
fn compare(source: &Side, target: &Side) -> Result<(), MigrateError> {
    let differs = |what: String| Err(MigrateError::Differs(what));
    if source.contents != target.contents {
        return differs(format!(
            "the source:\n{}\nthe target:\n{}",
            source.contents, target.contents
        ));
    }
    match (&source.state, &target.state) {
        (Some(source), Some(target)) => {
            let difference = super::verify::difference(source, target)
                .or_else(|| super::verify::difference(target, source));
            difference.map_or(Ok(()), differs)
        }
        _ => differs("one side has no state".to_owned()),
    }
}

/// What is moved has nothing wrong with it.
fn demand_clean(from: &str, findings: &Findings) -> Result<(), MigrateError> {
    let Some(first) = findings.listed.first() else {
        return Ok(());
    };
    Err(MigrateError::NotClean {
        from: from.to_owned(),
        findings: findings.total,
        first: first.to_string(),
    })
}

/// The host that appends what is moved: the same one for the same journal, so that the
/// beginning of a move is recognised when it is begun again.
fn mover(chain_hash: &str, last_sequence: u64) -> HostId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"a4co migrate");
    hasher.update(&MIGRATION_VERSION.to_le_bytes());
    hasher.update(&[FORMAT_VERSION]);
    hasher.update(&last_sequence.to_le_bytes());
    hasher.update(chain_hash.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    HostId::from_bytes(bytes)
}

/// A table for people.
impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.data_dir.display();
        match self.way {
            Way::ToNats => writeln!(f, "moved the journal in {folder} to the servers")?,
            Way::FromNats => writeln!(f, "moved the journals on the servers into {folder}")?,
        }
        if self.messages_found > 0 {
            let found = self.messages_found;
            writeln!(
                f,
                "  {found} messages were there from a move that was interrupted"
            )?;
        }
        writeln!(f, "\n{:<15} {} records", "data folder", self.records)?;
        for journal in &self.journals {
            write!(f, "{journal}")?;
        }
        write!(f, "{}", self.contents)?;
        match self.sandbox_entries {
            Some(entries) => writeln!(f, "{:<15} {entries} entries", "gateway books")?,
            None => writeln!(f, "{:<15} none", "gateway books")?,
        }
        write!(
            f,
            "\nBoth sides were replayed and are the same. What is there was not changed: keep it \
             until the other side has run."
        )
    }
}
