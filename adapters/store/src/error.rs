//! Every way in which the store says no, with what it means for the caller.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a read or a write came to nothing. Nothing of the engine's state is ever lost with
/// it: the log has it all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has this store open. Nothing changed; stop that process.
    #[error("the store {} is in use by another process", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder cannot be used at all. Nothing changed; the error says what to do.
    #[error("the store {} cannot be used: {source}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is so little room that sled cannot even be opened. Nothing changed; make room
    /// (64 MiB or more), or delete the folder to have the store rebuilt, and start again.
    #[error("there is no room to open the store {}; make room and start again", path.display())]
    NoRoom {
        /// The store's folder.
        path: PathBuf,
    },
    /// The disk part of the view is out of order, and the row is not among those in memory.
    /// It recovers by itself where it can; try again later.
    #[error("the store cannot be read at the moment: {why}")]
    Degraded {
        /// What is wrong.
        why: String,
    },
    /// A row on disk is not what was written there; the view has to be rebuilt. The same
    /// read fails again.
    #[error(
        "a row of the store cannot be decoded ({what}, key {key}); delete the store's folder and start again to rebuild it"
    )]
    Undecodable {
        /// What kind of row.
        what: &'static str,
        /// Its key, in hexadecimal digits.
        key: String,
    },
    /// The view was closed before everything published was applied. Nothing is lost: the
    /// next start publishes the rest from the log.
    #[error("the store was closed at {applied}, before it had applied {published}")]
    ClosedBehind {
        /// The last sequence that is in sled.
        applied: u64,
        /// The last sequence that was published.
        published: u64,
    },
}

/// Why a view was deleted and has to be filled again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// There was none.
    #[error("there was no store yet")]
    New,
    /// The machine was restarted since: sled does not survive that.
    #[error("the machine was restarted since the store was written")]
    OtherBoot,
    /// It was written in another format, or never finished being made.
    #[error("the store is of another format, or was never finished")]
    Format,
    /// sled could not open it, or panicked while it tried.
    #[error("the store could not be opened: {0}")]
    Damaged(String),
    /// It is ahead of the log, which has lost its end or was replaced.
    #[error("the store is at {applied}, past the log's end at {log_end}")]
    BeyondLog {
        /// The sequence that the view had applied.
        applied: u64,
        /// The last sequence of the log.
        log_end: u64,
    },
}
