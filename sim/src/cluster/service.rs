//! The journal service: a stream for each journal and a bucket of leases, with the semantics that were
//! measured for NATS JetStream.
//!
//! An append names the stream's last sequence and is stored only where that is right. The
//! service does not know who asks: an append of a process that died long ago is stored if
//! its number fits. Nothing here fails; what fails is the way there and back.

use std::collections::VecDeque;
use std::rc::Rc;

use a4co_core::replicated::{AppendAnswer, LeaseAnswer, ReadAnswer, StreamSequence};
use a4co_core::shards::{JournalId, ShardCount};

/// One journal's stream.
#[derive(Debug)]
pub(crate) struct Messages {
    first: u64,
    kept: VecDeque<Rc<[u8]>>,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            first: 1,
            kept: VecDeque::new(),
        }
    }
}

impl Messages {
    /// The first message that is still there; one after the last where there is none.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The last message that there has been.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    /// The message at this place, if it is still there.
    pub(crate) fn get(&self, at: u64) -> Option<&Rc<[u8]>> {
        let index = usize::try_from(at.checked_sub(self.first)?).ok()?;
        self.kept.get(index)
    }

    /// Somebody publishes without any expectation.
    pub(crate) fn push(&mut self, payload: Rc<[u8]>) -> u64 {
        self.kept.push_back(payload);
        self.last()
    }

    /// History before `first` is let go.
    pub(crate) fn trim(&mut self, first: u64) {
        while self.first < first && self.kept.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// The last messages are lost, as if they had never been.
    pub(crate) fn lose(&mut self, messages: usize) {
        self.kept.truncate(self.kept.len().saturating_sub(messages));
    }
}

/// The service.
#[derive(Debug)]
pub(crate) struct Service {
    /// By [`JournalId::index`].
    pub(crate) streams: Vec<Messages>,
    /// Each lease's value and its key's revision.
    pub(crate) leases: Vec<(Option<Vec<u8>>, u64)>,
    /// The bucket counts the writes to all of its keys together.
    revisions: u64,
    /// Until when the streams, and the bucket behind them, have no leader.
    pub(crate) no_leader_until_us: Vec<u64>,
    /// Until when everything takes longer, and by how much.
    pub(crate) slow_until_us: u64,
    pub(crate) slow_by_us: u64,
}

impl Service {
    pub(crate) fn new(shards: ShardCount) -> Self {
        let journals = JournalId::all(shards).count();
        Self {
            streams: (0..journals).map(|_| Messages::default()).collect(),
            leases: vec![(None, 0); journals],
            revisions: 0,
            no_leader_until_us: vec![0; journals + 1],
            slow_until_us: 0,
            slow_by_us: 0,
        }
    }

    /// The number of the leases' bucket where streams go by number.
    pub(crate) const fn bucket(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn stream(&self, journal: JournalId) -> &Messages {
        &self.streams[journal.index()]
    }

    pub(crate) fn has_leader(&self, stream: usize, now_us: u64) -> bool {
        self.no_leader_until_us[stream] <= now_us
    }

    /// Stores a message, if the stream ends where its sender expects.
    pub(crate) fn append(
        &mut self,
        journal: JournalId,
        expected_last: StreamSequence,
        payload: Rc<[u8]>,
    ) -> AppendAnswer {
        let stream = &mut self.streams[journal.index()];
        if stream.last() != expected_last.get() {
            return AppendAnswer::WrongLast;
        }
        AppendAnswer::Stored {
            stream_sequence: StreamSequence::new(stream.push(payload)),
        }
    }

    pub(crate) fn read(&self, journal: JournalId, at: StreamSequence) -> ReadAnswer {
        self.stream(journal)
            .get(at.get())
            .map_or(ReadAnswer::Missing, |bytes| {
                ReadAnswer::Found(bytes.to_vec())
            })
    }

    /// Writes a lease, if its key has this revision.
    pub(crate) fn write_lease(
        &mut self,
        journal: JournalId,
        expected_revision: u64,
        value: Option<Vec<u8>>,
    ) -> LeaseAnswer {
        let lease = &mut self.leases[journal.index()];
        if lease.1 != expected_revision {
            return LeaseAnswer::Conflict;
        }
        self.revisions += 1;
        *lease = (value, self.revisions);
        LeaseAnswer::Ok {
            revision: self.revisions,
        }
    }
}
