//! What stops a participant for an operator to look at: a journal that is not what it was.
//!
//! None of these is ever skipped: whatever comes behind rests on what is wrong.

use super::entry::{AppendId, EntryError, Epoch, HostId, StreamSequence};
use crate::ids::Sequence;
use crate::shards::JournalId;

/// Why a participant stopped. Nothing was appended on top of what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// A message is not an entry of this journal.
    #[error("message {stream_sequence} of the stream is no entry of this journal: {error}")]
    NoEntry {
        /// Where.
        stream_sequence: StreamSequence,
        /// What is wrong with it.
        error: EntryError,
    },
    /// The stream ends before what was seen in it: acknowledged messages are lost.
    #[error("the stream ends at {last}, but {seen} was seen in it")]
    Shorter {
        /// The last message seen.
        seen: StreamSequence,
        /// The last message that the stream has.
        last: StreamSequence,
    },
    /// The stream was seen with other messages at this place: acknowledged ones are lost,
    /// and others were appended since.
    #[error("message {stream_sequence} follows {claimed}, but {seen} was seen before it")]
    Rewritten {
        /// Where.
        stream_sequence: StreamSequence,
        /// What was seen before it.
        seen: AppendId,
        /// What it was appended after.
        claimed: AppendId,
    },
    /// The stream no longer has what this participant has to read. A newer snapshot is
    /// needed.
    #[error("the stream begins at {first}, but {needed} is still to be read")]
    HistoryGone {
        /// The first message that the stream still has.
        first: StreamSequence,
        /// The message that is needed.
        needed: StreamSequence,
    },
    /// An entry was appended by a host that did not lead at that point.
    #[error(
        "message {stream_sequence} is by {host} under epoch {epoch}, but the epoch is {current}"
    )]
    NotTheLeader {
        /// Where.
        stream_sequence: StreamSequence,
        /// Who appended it.
        host: HostId,
        /// Under which epoch.
        epoch: Epoch,
        /// Which epoch it was.
        current: Epoch,
    },
    /// A frame does not continue the events before it.
    #[error("the frame of message {stream_sequence} continues after {after}, not after {have}")]
    DoesNotFit {
        /// Where.
        stream_sequence: StreamSequence,
        /// The last event before it.
        have: Sequence,
        /// The event that it expects before it.
        after: Sequence,
    },
    /// An append was stored, but not behind the message that it was to follow: the server
    /// does not keep the expected sequence.
    #[error("an append after {expected_last} was stored at {stored}")]
    StoredElsewhere {
        /// What it was to follow.
        expected_last: StreamSequence,
        /// Where it is.
        stored: StreamSequence,
    },
    /// Events of another journal that have to be read are not there.
    #[error("the {from} journal's events after {have} are missing")]
    FactsMissing {
        /// Whose events.
        from: JournalId,
        /// The last one that was read.
        have: Sequence,
    },
}
