//! What the auditor knows of the three streams: who may append, and which rows each entry
//! changes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use a4co_core::record::{Frame, Record};
use a4co_core::replicated::{AnyEntry, AppendId, Content, Entry, Epoch, HostId, StreamSequence};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::{JournalId, ShardCount};

use crate::audit::{Audit, Changed};
use crate::gateway::Gateway;
use crate::verdict::{Failure, safety};

#[derive(Debug, Default)]
struct Journal {
    epoch: Epoch,
    leader: HostId,
    last: AppendId,
    /// By message: the rows that it changed, and the auditor's records up to it.
    known: BTreeMap<u64, (Changed, usize)>,
}

/// The journals, entry by entry.
#[derive(Debug)]
pub(crate) struct Entries {
    /// By [`JournalId::index`].
    journals: Vec<Journal>,
}

/// What was stored, for those who tell of it.
#[derive(Debug)]
pub(crate) enum Stored {
    Claim(Epoch),
    Record(Rc<Record>),
}

impl Entries {
    pub(crate) fn new(shards: ShardCount) -> Self {
        let journals = JournalId::all(shards);
        Self {
            journals: journals.map(|_| Journal::default()).collect(),
        }
    }

    /// A message has become durable: may it be there, and is what it says true?
    ///
    /// # Errors
    /// The first check that fails.
    pub(crate) fn on_stored(
        &mut self,
        journal: JournalId,
        at: u64,
        bytes: &[u8],
        audit: &mut Audit,
        gateway: &Gateway,
    ) -> Result<Stored, Failure> {
        let entry = AnyEntry::decode(journal, bytes)
            .map_err(|error| safety("record_decodes", format!("a host wrote: {error}")))?;
        let mut record = audit.empty_record(journal.shard.id);
        let frame = match entry {
            AnyEntry::Order(entry) => self
                .may_be_there(journal, at, &entry)?
                .map(|frame| record.order = Arc::unwrap_or_clone(frame)),
            AnyEntry::Inventory(entry) => self
                .may_be_there(journal, at, &entry)?
                .map(|frame| record.inventory = Arc::unwrap_or_clone(frame)),
            AnyEntry::Payment(entry) => self
                .may_be_there(journal, at, &entry)?
                .map(|frame| record.payment = Arc::unwrap_or_clone(frame)),
        };
        let mut rows = Changed::new();
        let is_frame = frame.is_some();
        if is_frame {
            audit.take_in_of(journal.shard.id, record, bytes, gateway)?;
            rows = audit.unpublished.take().unwrap_or_default();
        }
        let known = &mut self.journals[journal.index()];
        known.known.insert(at, (rows, audit.records.len()));
        Ok(if is_frame {
            audit
                .decoded
                .last()
                .map_or(Stored::Claim(known.epoch), |it| {
                    Stored::Record(Rc::clone(it))
                })
        } else {
            Stored::Claim(known.epoch)
        })
    }

    /// What a message says, for those who are shown that it failed.
    pub(crate) fn read(journal: JournalId, bytes: &[u8], audit: &Audit) -> Option<Record> {
        let mut record = audit.empty_record(journal.shard.id);
        match AnyEntry::decode(journal, bytes).ok()? {
            AnyEntry::Order(entry) => record.order = Arc::unwrap_or_clone(framed(entry)?),
            AnyEntry::Inventory(entry) => record.inventory = Arc::unwrap_or_clone(framed(entry)?),
            AnyEntry::Payment(entry) => record.payment = Arc::unwrap_or_clone(framed(entry)?),
        }
        Some(record)
    }

    /// The rows that a message changed.
    pub(crate) fn rows_of(
        &self,
        journal: JournalId,
        at: u64,
    ) -> impl Iterator<Item = &(RowKey, Rc<Row>)> {
        let known = self.journals[journal.index()].known.get(&at);
        known.into_iter().flat_map(|(rows, _)| rows.iter())
    }

    /// Nobody but the leader of the present epoch appends, and nobody begins an epoch that
    /// is over: no two leaders' entries interleave.
    fn may_be_there<E>(
        &mut self,
        journal: JournalId,
        at: u64,
        entry: &Entry<E>,
    ) -> Result<Option<Arc<Frame<E>>>, Failure> {
        let known = &mut self.journals[journal.index()];
        let host = entry.host();
        let wrong = |why: String| {
            let why = format!("message {at} of the {journal} journal, by {host}: {why}");
            Err(safety("one_committer", why))
        };
        if entry.previous != known.last {
            return wrong(format!(
                "follows {}, the last is {}",
                entry.previous, known.last
            ));
        }
        known.last = entry.append_id;
        match &entry.content {
            Content::Claim if entry.epoch > known.epoch => {
                known.epoch = entry.epoch;
                known.leader = host;
                Ok(None)
            }
            Content::Frame(frame) if (entry.epoch, host) == (known.epoch, known.leader) => {
                Ok(Some(Arc::clone(frame)))
            }
            _ => wrong(format!(
                "under epoch {}, the epoch is {} and its leader {}",
                entry.epoch, known.epoch, known.leader
            )),
        }
    }

    /// What a process shows of an entry must be what the entry changed.
    ///
    /// # Errors
    /// The first row that differs, or that no durable entry holds.
    pub(crate) fn on_publish(
        &self,
        journal: JournalId,
        at: StreamSequence,
        rows: Vec<Row>,
        audit: &mut Audit,
    ) -> Result<Changed, Failure> {
        let known = &self.journals[journal.index()].known;
        audit.unpublished = known.get(&at.get()).map(|(rows, _)| rows.clone());
        audit.on_publish(rows)
    }

    /// How many of the auditor's records a process knows that has applied the journal up to
    /// here.
    pub(crate) fn records_at(&self, journal: JournalId, at: StreamSequence) -> usize {
        let known = &self.journals[journal.index()].known;
        known.get(&at.get()).map_or(0, |(_, records)| *records)
    }
}

fn framed<E>(entry: Entry<E>) -> Option<Arc<Frame<E>>> {
    match entry.content {
        Content::Frame(frame) => Some(frame),
        Content::Claim => None,
    }
}
