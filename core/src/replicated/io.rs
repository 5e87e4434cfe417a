//! What goes into the replicated host and what comes out of it.
//!
//! Apart from the host because the adapter is written against this page alone.

use alloc::vec::Vec;

use super::alarm::Alarm;
use super::entry::{AppendId, Epoch, HostId, StreamSequence};
use crate::command::{Command, Reply, RequestId};
use crate::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use crate::ids::{OrderId, Sequence};
use crate::row::{Row, RowKey};
use crate::shards::JournalId;

/// What the adapter hands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaInput {
    /// A command; a [`ReplicaOutput::Reply`] or [`ReplicaOutput::Refused`] names the same
    /// request.
    Command {
        /// Chosen by the adapter, unique among those under way.
        request: RequestId,
        /// What is asked.
        command: Command,
    },
    /// A message of a journal's tail. In order; repeated ones are dropped, and after a
    /// gap the host asks with [`ReplicaOutput::Follow`].
    Entry {
        /// Whose journal.
        journal: JournalId,
        /// Where in the stream.
        stream_sequence: StreamSequence,
        /// The message's payload.
        bytes: Vec<u8>,
    },
    /// What an [`ReplicaOutput::Append`] came to.
    Appended {
        /// Whose journal.
        journal: JournalId,
        /// Which append.
        append_id: AppendId,
        /// What it came to.
        answer: AppendAnswer,
    },
    /// The answer to [`ReplicaOutput::ReadEntry`].
    EntryAt {
        /// Whose journal.
        journal: JournalId,
        /// Where in the stream.
        stream_sequence: StreamSequence,
        /// What is there.
        answer: ReadAnswer,
    },
    /// The answer to [`ReplicaOutput::ReadStream`]; also welcome unasked, now and then and
    /// whenever the adapter has connected anew.
    StreamState {
        /// Whose journal.
        journal: JournalId,
        /// What had been seen of the stream before it was asked: as the question has it, or
        /// [`super::ReplicatedHost::seen`]. An answer is older than what was seen since.
        seen: StreamSequence,
        /// The first message that the stream still has; one after the last where it has
        /// none.
        first: StreamSequence,
        /// The last message that the stream has had.
        last: StreamSequence,
    },
    /// The lease as it is in the key-value bucket: the answer to
    /// [`ReplicaOutput::ReadLease`], and what a watch shows.
    LeaseSeen {
        /// Of whose journal.
        journal: JournalId,
        /// The value; `None` where the key was never written, or deleted.
        value: Option<Vec<u8>>,
        /// The key's revision, that of a delete marker included; 0 where it was never
        /// written.
        revision: u64,
    },
    /// What a [`ReplicaOutput::WriteLease`] came to.
    LeaseWritten {
        /// Of whose journal.
        journal: JournalId,
        /// What it came to.
        answer: LeaseAnswer,
    },
    /// What a gateway call came to, or (`operation` is `None`) what the gateway reported
    /// unasked. Dropped by a host that does not lead the payment journal (its leader makes
    /// the call again): hand a report to the process that does. The answer to a call from
    /// before this host lost and won that lead is as good as any; an order may then have two
    /// calls under way, which the gateway knows for the same one.
    Gateway {
        /// Whose payment.
        order_id: OrderId,
        /// What had been called; `None` for a report.
        operation: Option<GatewayOperation>,
        /// What it came to.
        outcome: GatewayOutcome,
    },
    /// The row that was asked for, or that there is none.
    Fetched {
        /// Which row.
        key: RowKey,
        /// The row.
        row: Option<Row>,
    },
    /// Time has passed.
    Time,
    /// Hand this journal over: finish what is under way, then let another lead.
    StepDown {
        /// Whose journal.
        journal: JournalId,
    },
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAnswer {
    /// It is in the stream.
    Stored {
        /// Where.
        stream_sequence: StreamSequence,
    },
    /// The stream's last sequence was not the expected one. Perhaps because this very
    /// append had been stored before.
    WrongLast,
    /// Time-out, broken connection, an error that says nothing about storing.
    Unknown,
}

/// What a read of one message came to. Read from the stream's leader, not from a mirror
/// or a replica that may be behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadAnswer {
    /// The message's payload.
    Found(Vec<u8>),
    /// There is no such message (yet).
    Missing,
    /// Nobody knows; the host asks again.
    Unknown,
}

/// What writing the lease came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Written.
    Ok {
        /// The key's revision now.
        revision: u64,
    },
    /// The key had another revision.
    Conflict,
    /// Nobody knows.
    Unknown,
}

/// What the adapter carries out, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaOutput {
    /// Deliver the journal's messages from here on, in order; a delivery that is under
    /// way for this journal ends. From before what was delivered: deliver again.
    Follow {
        /// Whose journal.
        journal: JournalId,
        /// The first message wanted.
        from: StreamSequence,
    },
    /// Append to the stream, if its last sequence is the expected one. One at a time for
    /// each journal; the same one again after an answer that was none.
    Append {
        /// Whose journal.
        journal: JournalId,
        /// Its name, which is in the payload too.
        append_id: AppendId,
        /// The stream's last sequence.
        expected_last: StreamSequence,
        /// The message's payload.
        payload: Vec<u8>,
    },
    /// Read one message of the stream; answer with [`ReplicaInput::EntryAt`].
    ReadEntry {
        /// Whose journal.
        journal: JournalId,
        /// Which message.
        stream_sequence: StreamSequence,
    },
    /// Ask for the stream's bounds; answer with [`ReplicaInput::StreamState`].
    ReadStream {
        /// Whose journal.
        journal: JournalId,
        /// The last message of it that was ever seen, for the answer.
        seen: StreamSequence,
    },
    /// Read the lease; answer with [`ReplicaInput::LeaseSeen`].
    ReadLease {
        /// Of whose journal.
        journal: JournalId,
    },
    /// Write the lease, if its key has this revision (0: never written); answer with
    /// [`ReplicaInput::LeaseWritten`].
    WriteLease {
        /// Of whose journal.
        journal: JournalId,
        /// The revision that the key must have.
        expected_revision: u64,
        /// The value: a [`super::Lease`], encoded.
        value: Vec<u8>,
    },
    /// Show these rows to readers: the journal holds what they rest on.
    Publish {
        /// Whose journal.
        journal: JournalId,
        /// The last event that they show.
        sequence: Sequence,
        /// The message that holds it.
        stream_sequence: StreamSequence,
        /// The rows, as they are now.
        rows: Vec<Row>,
    },
    /// Answer a command.
    Reply {
        /// Which command.
        request: RequestId,
        /// What it came to.
        reply: Reply,
    },
    /// A command was not decided here, or nobody knows.
    Refused {
        /// Which command.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// Call the gateway.
    CallGateway(GatewayCall),
    /// Look a row up among those that have been published here.
    Fetch(RowKey),
    /// This process leads the journal, or does not any more.
    RoleChanged {
        /// Whose journal.
        journal: JournalId,
        /// What it is now.
        role: Role,
    },
    /// The participant had run ahead of its journal and is dropped: build it again with
    /// [`super::ReplicatedHost::rebuild`], from the newest snapshot.
    Rebuild {
        /// Whose journal.
        journal: JournalId,
        /// Who appended instead.
        fenced_by: AppendId,
    },
    /// The participant has stopped, for an operator to look at. It stays so until the
    /// process starts again.
    Halted {
        /// Whose journal.
        journal: JournalId,
        /// What was found.
        alarm: Alarm,
    },
}

/// Whether a process leads a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decides and appends.
    Leader {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// It follows.
    Follower,
}

/// Why a command has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another process leads, or none yet. The command changed nothing, and never will:
    /// send it to the leader.
    #[error("this process does not lead the journal")]
    NotLeader {
        /// Who leads, as far as it is known here.
        leader: Option<HostId>,
    },
    /// The participant stopped while the command was being appended. It may have been
    /// done: ask again under the same key.
    #[error("the outcome is unknown: ask again under the same key")]
    OutcomeUnknown,
}
