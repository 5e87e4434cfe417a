//! Every way in which the journal says no, with what it means for the caller.

use core::fmt;

use thiserror::Error;

use crate::disk::DiskError;
use crate::format::{BadHeader, ChainHash};

/// A place in the files that is not what was written there, and that no crash explains.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{file}, byte {offset}, record {sequence}: {kind}. Nothing was changed. `a4co verify` \
     shows what can still be read; `a4co restore` puts a backup in its place"
)]
pub struct Damage {
    /// The file's name in the data folder.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The record that should be there; for a snapshot, its sequence.
    pub sequence: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong at a [`Damage`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The header is not one of ours, or its checksum does not fit.
    Header,
    /// The header is intact and of a version that this program does not know.
    Version(u32),
    /// The header names another first sequence than the file's name.
    Name {
        /// The sequence in the header.
        found: u64,
    },
    /// The file has another length than it was made with.
    Length {
        /// The length now.
        found: u64,
        /// The length it was made with.
        expected: u64,
    },
    /// A record does not fit its checksum (or its length is impossible), and an intact
    /// record comes after it: this was not a write that a crash interrupted.
    Record {
        /// The place of the intact record that follows, in the same file.
        intact_offset: u64,
        /// Its sequence.
        intact_sequence: u64,
    },
    /// Records are missing here: the next segment starts later.
    Missing {
        /// The first record that is there again.
        next: u64,
    },
    /// An intact record has another sequence than the place calls for.
    Sequence {
        /// Its sequence.
        found: u64,
    },
    /// The chain hash does not follow from what comes before: the file is of another log,
    /// or history was changed.
    Chain {
        /// The chain hash that is there.
        found: ChainHash,
        /// The one that follows from what comes before.
        expected: ChainHash,
    },
    /// A whole segment is missing before this one.
    MissingSegment {
        /// Its first sequence.
        missing_first: u64,
    },
    /// The snapshot was taken at a record that the log no longer has.
    LogTooShort {
        /// The last record in the log.
        last: u64,
    },
    /// The payload does not fit the hash in the snapshot's header.
    Payload,
    /// There are snapshots or later segments, and no segment with this record.
    NoSegment,
    /// History before the first segment is gone, and no intact snapshot stands for it.
    NoSnapshot,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "the header is damaged"),
            Self::Version(version) => write!(
                f,
                "the file is of format version {version}, which this program does not know"
            ),
            Self::Name { found } => write!(
                f,
                "the header says {found}, which is not what the file's name says"
            ),
            Self::Length { found, expected } => {
                write!(
                    f,
                    "the file has {found} bytes where it was made with {expected}"
                )
            }
            Self::Record {
                intact_offset,
                intact_sequence,
            } => write!(
                f,
                "the record is damaged, and the intact record {intact_sequence} follows at \
                 byte {intact_offset}"
            ),
            Self::Missing { next } => write!(
                f,
                "the record is not there, and the log goes on with record {next}"
            ),
            Self::Sequence { found } => {
                write!(f, "an intact record has the sequence {found} here")
            }
            Self::Chain { found, expected } => write!(
                f,
                "the chain hash is {found} where {expected} follows from what comes before"
            ),
            Self::MissingSegment { missing_first } => write!(
                f,
                "the segment that starts with record {missing_first} is missing"
            ),
            Self::LogTooShort { last } => write!(
                f,
                "the snapshot stands for more than the log, whose last record is {last}"
            ),
            Self::Payload => write!(f, "the payload is damaged"),
            Self::NoSegment => write!(f, "no segment has this record"),
            Self::NoSnapshot => write!(
                f,
                "earlier history is gone, and no intact snapshot stands for it"
            ),
        }
    }
}

impl From<BadHeader> for DamageKind {
    fn from(bad: BadHeader) -> Self {
        match bad {
            BadHeader::Damaged => Self::Header,
            BadHeader::Version(version) => Self::Version(version),
        }
    }
}

/// Why a journal was not opened. Damage was not touched; leftovers of a crash may have
/// been cleared away.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the folder. Nothing changed; try again when it has ended.
    #[error(transparent)]
    Locked(DiskError),
    /// An option is out of its range. Nothing changed; do not try again with it.
    #[error("{0}")]
    Options(String),
    /// The log or its snapshots are damaged. Nothing changed; do not try again before a
    /// person has looked.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// The folder holds a copy (a restore or a backup) that did not finish. Nothing
    /// changed; remove its files and copy again.
    #[error(
        "this folder holds a copy that was interrupted: empty it and run `a4co restore` (or \
         `a4co backup`) again"
    )]
    UnfinishedCopy,
    /// There is no room for the first segment, or to clear a torn record away. What is in
    /// the log stays as it was; try again when there is room.
    #[error("the journal cannot be opened: {0}")]
    Full(DiskError),
    /// The disk failed. What is in the log stays as it was; trying again is safe, since
    /// opening writes anew whatever it relies on.
    #[error("the journal cannot be opened: {0}")]
    Disk(DiskError),
}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Locked { .. } => Self::Locked(error),
            DiskError::Full { .. } => Self::Full(error),
            other => Self::Disk(other),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::Disk(error) => error.into(),
            ReadError::UnfinishedCopy => Self::UnfinishedCopy,
            // With the lock held nobody removes anything: a missing file is damage.
            ReadError::Removed { wanted, .. } => Self::Damaged(Box::new(Damage {
                file: crate::layout::segment_name(wanted),
                offset: 0,
                sequence: wanted,
                kind: DamageKind::NoSegment,
            })),
        }
    }
}

/// Why a record was not appended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The payload is longer than a record may be. Nothing changed; do not try again.
    #[error("a record of {bytes} bytes is longer than the {limit} that a record may have")]
    TooLarge {
        /// The payload's length.
        bytes: usize,
        /// The most that it may have with this journal's segments.
        limit: usize,
    },
    /// There is no room. Nothing changed, and nothing of the record will ever be read;
    /// try again when there is room.
    #[error("the journal is full: {0}")]
    Full(DiskError),
    /// The disk failed while writing. Whether the record is there is unknown. Fatal: the
    /// journal refuses everything from now on, and the process must end.
    #[error("the journal could not be written, and this process must end: {0}")]
    WriteFailed(DiskError),
    /// The record was written and could not be made durable. Whether it is there is
    /// unknown. Fatal: the journal refuses everything from now on, and the process must
    /// end, because a second sync may succeed without having written anything.
    #[error("the journal could not be synced, and this process must end: {0}")]
    SyncFailed(DiskError),
    /// An earlier append failed fatally. Nothing changed; do not try again.
    #[error("the journal refuses all work since a write or a sync of it failed")]
    Stopped,
}

impl AppendError {
    /// Whether the process must end.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::Full(_))
    }
}

/// Why something was not read. Reading changes nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The files are damaged; do not try again before a person has looked.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// Retention has removed this record, maybe just now. Start again from what is kept.
    #[error("record {wanted} has been removed by retention; the oldest kept one is {oldest}")]
    Removed {
        /// The record asked for.
        wanted: u64,
        /// The oldest record that can be read.
        oldest: u64,
    },
    /// The folder holds a copy that did not finish.
    #[error("this folder holds a copy that was interrupted")]
    UnfinishedCopy,
    /// The disk failed; trying again is safe.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ReadError {
    pub(crate) fn damaged(file: String, offset: u64, sequence: u64, kind: DamageKind) -> Self {
        Self::Damaged(Box::new(Damage {
            file,
            offset,
            sequence,
            kind,
        }))
    }
}

/// Why a spare segment was not prepared. The log is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// There is no room; try again when there is.
    #[error("no room for a spare segment: {0}")]
    Full(DiskError),
    /// The disk failed; what was made was removed. Trying again is safe: it makes a new
    /// file.
    #[error("a spare segment could not be prepared: {0}")]
    Disk(DiskError),
}

impl From<DiskError> for PrepareError {
    fn from(error: DiskError) -> Self {
        if error.is_full() {
            Self::Full(error)
        } else {
            Self::Disk(error)
        }
    }
}

/// Why a snapshot was not written, or older ones not removed. The log is as it was, and
/// the earlier snapshots that are needed still stand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is no room; try again when there is.
    #[error("no room for a snapshot: {0}")]
    Full(DiskError),
    /// It would stand for less than the newest one. Nothing changed; do not try again.
    #[error("a snapshot at {sequence} is older than the newest, at {newest}")]
    Older {
        /// The sequence asked for.
        sequence: u64,
        /// The newest snapshot's.
        newest: u64,
    },
    /// It would stand for records that are not durable, and a log shorter than its newest
    /// snapshot is refused. Nothing changed; do not try again.
    #[error("a snapshot at {sequence} is ahead of the log, whose last record is {last}")]
    Ahead {
        /// The sequence asked for.
        sequence: u64,
        /// The last durable record.
        last: u64,
    },
    /// The disk failed. Trying again is safe: it makes a new file.
    #[error("a snapshot could not be written: {0}")]
    Disk(DiskError),
}

impl From<DiskError> for SnapshotError {
    fn from(error: DiskError) -> Self {
        if error.is_full() {
            Self::Full(error)
        } else {
            Self::Disk(error)
        }
    }
}

/// Why history was not let go, or not all of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RetainError {
    /// The disk failed. Whatever was removed was no longer needed; trying again is safe.
    #[error("old segments could not be removed: {0}")]
    Disk(#[from] DiskError),
}

/// Why a copy was not made. The source is as it was; what is in the destination is marked
/// as unfinished and refused by every command.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The destination already holds a journal. Nothing changed; choose another.
    #[error("the destination already holds a journal")]
    NotEmpty,
    /// The source could not be read.
    #[error("the source could not be read: {0}")]
    Source(ReadError),
    /// Retention removed files faster than they could be copied; try again.
    #[error("the source was cut by retention {attempts} times while it was being copied")]
    Moving {
        /// How often the copy was begun.
        attempts: u32,
    },
    /// The destination is full, or failed; empty it and try again.
    #[error("the destination could not be written: {0}")]
    Destination(DiskError),
    /// What was written does not read back as what was copied; do not trust this disk.
    #[error("the copy does not verify: {0}")]
    Verify(String),
}
