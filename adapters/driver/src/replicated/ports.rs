//! What the loop around the replicated host needs from the outside.
//!
//! Nothing here blocks: each request is answered later, through the [`Inlet`], by the
//! [`ReplicaInput`] that [`ReplicaOutput`](a4co_core::replicated::ReplicaOutput) names.

use a4co_core::replicated::{
    Alarm, AppendId, HostSnapshot, ReplicaInput, ReplicatedHost, Role, StreamSequence,
};
use a4co_core::row::Row;
use a4co_core::shards::JournalId;
use tokio::sync::mpsc;

/// Messages of the journals' tails that wait for the loop, at most. Whoever delivers waits
/// while there is no room.
const TAIL_MAX: usize = 512;

/// The journals' streams and their leases.
pub trait Journals {
    /// Delivers the journal's messages from here on, in order, and ends what is under way.
    fn follow(&mut self, journal: JournalId, from: StreamSequence);

    /// Appends, if the stream's last sequence is this.
    fn append(
        &mut self,
        journal: JournalId,
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Vec<u8>,
    );

    /// Reads one message.
    fn read_entry(&mut self, journal: JournalId, at: StreamSequence);

    /// Asks for the stream's bounds; `seen` goes into the answer.
    fn read_stream(&mut self, journal: JournalId, seen: StreamSequence);

    /// Reads the lease.
    fn read_lease(&mut self, journal: JournalId);

    /// Writes the lease, if its key has this revision.
    fn write_lease(&mut self, journal: JournalId, expected_revision: u64, value: Vec<u8>);
}

/// Where snapshots are kept.
pub trait Snapshots {
    /// Has enough been published since the last snapshot that another is due?
    fn is_due(&self) -> bool;

    /// Takes a snapshot, to be kept once rows up to `published` are safe. What fails there
    /// is reported there.
    fn keep(&mut self, published: u64, snapshot: &HostSnapshot);

    /// The newest one that is kept; the beginning where there is none. Blocks: it is needed
    /// when another host has taken a journal over, and then there is nothing else to do.
    fn newest(&self) -> HostSnapshot;
}

/// What wants to know: metrics, logs, feeds, and whatever tells that the process is ready.
pub trait ReplicaObserver {
    /// Rows are shown that were not shown before, as message `at` of a journal has them.
    /// `published` counts such messages, over all journals, without a gap.
    fn published(&mut self, published: u64, journal: JournalId, at: StreamSequence, rows: &[Row]);

    /// Every journal has been replayed to where it ended when it was first looked at.
    fn caught_up(&mut self, host: &ReplicatedHost);

    /// This process leads the journal, or does not any more.
    fn role(&mut self, journal: JournalId, role: Role);

    /// Another host appended where this one meant to; it follows again.
    fn fenced(&mut self, journal: JournalId, by: AppendId);

    /// The participant stopped, for an operator to look at.
    fn halted(&mut self, journal: JournalId, alarm: &Alarm);
}

/// The way into the loop, for whoever carries [`Journals`] out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inlet {
    answers: mpsc::UnboundedSender<ReplicaInput>,
    tail: mpsc::Sender<ReplicaInput>,
}

impl Inlet {
    /// Hands in an answer. One for a loop that has ended is of no use to anybody.
    pub fn answer(&self, input: ReplicaInput) {
        let _ = self.answers.send(input);
    }

    /// Hands in a message of a tail, and waits for room. False: the loop has ended.
    pub async fn deliver(
        &self,
        journal: JournalId,
        stream_sequence: StreamSequence,
        bytes: Vec<u8>,
    ) -> bool {
        let entry = ReplicaInput::Entry {
            journal,
            stream_sequence,
            bytes,
        };
        self.tail.send(entry).await.is_ok()
    }
}

/// The loop's end of an [`Inlet`].
#[derive(Debug)]
pub struct Outlet {
    pub(super) answers: mpsc::UnboundedReceiver<ReplicaInput>,
    pub(super) tail: mpsc::Receiver<ReplicaInput>,
}

/// A way into a loop that is made later.
#[must_use]
pub fn inlet() -> (Inlet, Outlet) {
    let (answers, answered) = mpsc::unbounded_channel();
    let (tail, delivered) = mpsc::channel(TAIL_MAX);
    let outlet = Outlet {
        answers: answered,
        tail: delivered,
    };
    (Inlet { answers, tail }, outlet)
}
