//! The journal service: three streams and a bucket of leases, with the semantics that were
//! measured for NATS JetStream.
//!
//! An append names the stream's last sequence and is stored only where that is right. The
//! service does not know who asks: an append of a process that died long ago is stored if
//! its number fits. Nothing here fails; what fails is the way there and back.

use std::collections::VecDeque;
use std::rc::Rc;

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::{AppendAnswer, LeaseAnswer, ReadAnswer, StreamSequence};

/// The number of the leases' bucket where streams go by number.
pub(crate) const BUCKET: usize = 3;

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
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) streams: [Messages; 3],
    /// Each lease's value and its key's revision.
    pub(crate) leases: [(Option<Vec<u8>>, u64); 3],
    /// The bucket counts the writes to all of its keys together.
    revisions: u64,
    /// Until when the three streams and the bucket have no leader.
    pub(crate) no_leader_until_us: [u64; 4],
    /// Until when everything takes longer, and by how much.
    pub(crate) slow_until_us: u64,
    pub(crate) slow_by_us: u64,
}

impl Service {
    pub(crate) const fn stream(&self, journal: ParticipantId) -> &Messages {
        &self.streams[journal.index()]
    }

    pub(crate) const fn has_leader(&self, stream: usize, now_us: u64) -> bool {
        self.no_leader_until_us[stream] <= now_us
    }

    /// Stores a message, if the stream ends where its sender expects.
    pub(crate) fn append(
        &mut self,
        journal: ParticipantId,
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

    pub(crate) fn read(&self, journal: ParticipantId, at: StreamSequence) -> ReadAnswer {
        self.stream(journal)
            .get(at.get())
            .map_or(ReadAnswer::Missing, |bytes| {
                ReadAnswer::Found(bytes.to_vec())
            })
    }

    /// Writes a lease, if its key has this revision.
    pub(crate) fn write_lease(
        &mut self,
        journal: ParticipantId,
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
