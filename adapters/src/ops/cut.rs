//! The three journals on the servers as one sequence of records, each a consistent cut.
//!
//! ```text
//! Which cut, while a cluster runs
//!  1. the ends of the three streams are noted; everything up to them will be read;
//!  2. frames come in the order in which causes precede effects (nats/merge.rs);
//!  3. where an effect is within its stream's noted end and its cause beyond the cause's,
//!     that stream is read on, message by message, just to the cause. It must be there: a
//!     leader decides only on what a stream has stored. If it is not, it was lost.
//! ```
//! So nothing up to the noted ends is left unjudged, and nothing is judged without what it
//! rests on.

use a4co_core::ids::{ParticipantId, Sequence};
use a4co_core::record::Record;
use a4co_core::shards::ShardCount;

use crate::nats::{self, Connected, JournalError, JournalReader, Merge, NatsError, Step};

/// Three journals that are being read.
pub(super) struct Cut {
    readers: [JournalReader; 3],
    merge: Merge,
    broken: Vec<(ParticipantId, JournalError)>,
    lost: Option<Lost>,
}

/// An event that another journal has read, and that is not where it should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) of: ParticipantId,
    pub(super) event: Sequence,
    pub(super) wanted_by: ParticipantId,
}

impl Cut {
    /// Notes the three ends.
    pub(super) async fn open(nats: &Connected) -> Result<Self, NatsError> {
        demand_one_shard(nats).await?;
        let (order, inventory, payment) = tokio::try_join!(
            JournalReader::open(nats, ParticipantId::Order),
            JournalReader::open(nats, ParticipantId::Inventory),
            JournalReader::open(nats, ParticipantId::Payment),
        )?;
        Ok(Self {
            readers: [order, inventory, payment],
            merge: Merge::default(),
            broken: Vec::new(),
            lost: None,
        })
    }

    /// The next record; `None` at the end, or where a damaged journal lets nothing more
    /// be judged.
    pub(super) async fn next(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            match self.merge.step() {
                Step::Record(record) => return Ok(Some(*record)),
                Step::Done => return Ok(None),
                Step::Read(journal) => self.read(journal).await?,
                Step::Missing {
                    of,
                    event,
                    wanted_by,
                } => {
                    if self.is_broken(of) || !self.extend(of).await? {
                        if !self.is_broken(of) {
                            self.lost = Some(Lost {
                                of,
                                event,
                                wanted_by,
                            });
                        }
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The journals' readers, to look at.
    pub(super) const fn readers(&self) -> &[JournalReader; 3] {
        &self.readers
    }

    /// What is wrong with the journals themselves.
    pub(super) fn broken(&self) -> &[(ParticipantId, JournalError)] {
        &self.broken
    }

    /// The event that is lost, if one is.
    pub(super) const fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// The last event that has come of a journal.
    pub(super) fn taken(&self, journal: ParticipantId) -> Sequence {
        self.merge.taken(journal)
    }

    async fn read(&mut self, journal: ParticipantId) -> Result<(), JournalError> {
        match self.readers[journal.index()].next().await {
            Ok(Some(entry)) => self.merge.push(entry),
            Ok(None) => self.merge.ended(journal),
            Err(error) => self.note(journal, error)?,
        }
        Ok(())
    }

    async fn extend(&mut self, journal: ParticipantId) -> Result<bool, JournalError> {
        match self.readers[journal.index()].extend().await {
            Ok(has_more) => {
                if has_more {
                    self.merge.goes_on(journal);
                }
                Ok(has_more)
            }
            Err(error) => {
                self.note(journal, error)?;
                Ok(false)
            }
        }
    }

    /// What is wrong with one journal ends that one; what is wrong on the way ends all.
    fn note(&mut self, journal: ParticipantId, error: JournalError) -> Result<(), JournalError> {
        if !error.is_damage() {
            return Err(error);
        }
        self.merge.ended(journal);
        self.broken.push((journal, error));
        Ok(())
    }

    fn is_broken(&self, journal: ParticipantId) -> bool {
        self.broken.iter().any(|(broken, _)| *broken == journal)
    }
}

/// What reads one journal of each participant is no reader of several.
pub(super) async fn demand_one_shard(nats: &Connected) -> Result<(), NatsError> {
    match nats::shards_or_found(nats, None).await? {
        ShardCount::ONE => Ok(()),
        shards => Err(NatsError::Shards(shards.get())),
    }
}
