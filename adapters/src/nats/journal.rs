//! Reads one journal out of its stream, and checks on the way that it is one.
//!
//! Apart from the replica that follows the same stream: an auditor that used the checks of
//! what it audits would be wrong where that is wrong. The rule is the same, in a few
//! lines: each entry names the one before it, frames are its epoch's leader's, and each
//! continues the events before it. What the rule refuses is never read past.

use std::time::Duration;

use a4co_core::ids::Sequence;
use a4co_core::record::{Cursors, Frame};
use a4co_core::replicated::{
    Alarm, AnyEntry, AppendId, Content, Entry, Epoch, HostId, StreamSequence,
};
use a4co_core::shards::JournalId;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Info, Stream};
use futures_util::StreamExt as _;

use super::connect::{Connected, NatsError};
use super::ordered;
use super::streams::{is_by_leader, journal_stream};

/// Messages that are asked for at once: with the largest there are, some 60 MiB.
const BATCH: i64 = 64;

/// How long no message may come where the stream has more: the consumer of a server that
/// was killed comes back within half of it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a journal is not read to its end. The stream was not changed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// What is there is not the journal that it should be.
    #[error("stream {stream}: {alarm}")]
    Broken {
        /// The stream.
        stream: String,
        /// What is wrong, as the participant itself would say it.
        alarm: Alarm,
    },
    /// Messages are not there any more.
    #[error("stream {stream}: messages {from} to {to} are missing: they were purged or deleted")]
    Missing {
        /// The stream.
        stream: String,
        /// The first one that is missing.
        from: StreamSequence,
        /// The last one that is missing.
        to: StreamSequence,
    },
    /// The stream has more, and nothing comes.
    #[error(
        "stream {stream}: message {next} did not come within {} s; is the cluster without a quorum?",
        SILENCE_MAX.as_secs()
    )]
    Silent {
        /// The stream.
        stream: String,
        /// What was waited for.
        next: StreamSequence,
    },
    /// The servers cannot be reached, or refuse.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

impl JournalError {
    /// Is it the stream's content that is wrong, and not the way to it?
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Missing { .. })
    }
}

/// Where a journal stands after some entry, and whether the next one continues it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The last message.
    pub at: StreamSequence,
    /// Its name.
    pub append_id: AppendId,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// Whose epoch that is.
    pub leader: Option<HostId>,
    /// The last event.
    pub last: Sequence,
    /// How far the others' journals had been read.
    pub cursors: Cursors,
    /// How often somebody began to lead.
    pub claims: u64,
}

impl Chain {
    /// Goes on to the next message of the stream.
    ///
    /// # Errors
    /// What is wrong with it; then the chain stands where it stood.
    pub fn admit(&mut self, entry: &AnyEntry) -> Result<(), Alarm> {
        match entry {
            AnyEntry::Order(entry) => self.admit_entry(entry),
            AnyEntry::Inventory(entry) => self.admit_entry(entry),
            AnyEntry::Payment(entry) => self.admit_entry(entry),
        }
    }

    fn admit_entry<E>(&mut self, entry: &Entry<E>) -> Result<(), Alarm> {
        let stream_sequence = self.at.next();
        if entry.previous != self.append_id {
            return Err(Alarm::Rewritten {
                stream_sequence,
                seen: self.append_id,
                claimed: entry.previous,
            });
        }
        let host = entry.append_id.host;
        let refused = Alarm::NotTheLeader {
            stream_sequence,
            host,
            epoch: entry.epoch,
            current: self.epoch,
        };
        match &entry.content {
            // `<=` and not `<`: one epoch is one leader's, so nobody claims it twice.
            Content::Claim if entry.epoch <= self.epoch => return Err(refused),
            Content::Claim => {
                self.epoch = entry.epoch;
                self.leader = Some(host);
                self.claims += 1;
            }
            Content::Frame(_) if (entry.epoch, Some(host)) != (self.epoch, self.leader) => {
                return Err(refused);
            }
            Content::Frame(frame) => self.admit_frame(stream_sequence, frame)?,
        }
        self.at = stream_sequence;
        self.append_id = entry.append_id;
        Ok(())
    }

    fn admit_frame<E>(&mut self, at: StreamSequence, frame: &Frame<E>) -> Result<(), Alarm> {
        if frame.after != self.last {
            return Err(Alarm::DoesNotFit {
                stream_sequence: at,
                have: self.last,
                after: frame.after,
            });
        }
        let count = u64::try_from(frame.events.len()).unwrap_or(u64::MAX);
        self.last = Sequence::new(self.last.get().saturating_add(count));
        self.cursors.clone_from(&frame.cursors);
        Ok(())
    }
}

/// One journal, read from its first message to the end that the stream had.
pub struct JournalReader {
    journal: JournalId,
    stream: Stream,
    name: String,
    messages: Option<pull::Ordered>,
    chain: Chain,
    /// The first message that the stream still has; one after its last where it has none.
    first: StreamSequence,
    end: StreamSequence,
    bytes: u64,
}

impl JournalReader {
    /// Notes where the stream ends.
    ///
    /// # Errors
    /// [`NatsError`].
    pub async fn open(nats: &Connected, journal: impl Into<JournalId>) -> Result<Self, NatsError> {
        let journal = journal.into();
        let name = journal_stream(journal);
        let stream = nats.admin.get_stream(&name).await;
        let stream = stream.map_err(|error| NatsError::jetstream(&name, error))?;
        demand_leader(&name, stream.cached_info())?;
        let state = &stream.cached_info().state;
        Ok(Self {
            journal,
            first: StreamSequence::new(state.first_sequence),
            end: StreamSequence::new(state.last_sequence),
            stream,
            name,
            messages: None,
            chain: Chain::default(),
            bytes: 0,
        })
    }

    /// Which journal it is.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// The stream's name.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.name
    }

    /// How far it has been read.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where the reading ends.
    #[must_use]
    pub const fn end(&self) -> StreamSequence {
        self.end
    }

    /// Bytes of the entries read.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`JournalError`]; after one, nothing of this journal is to be trusted.
    pub async fn next(&mut self) -> Result<Option<AnyEntry>, JournalError> {
        let wanted = self.chain.at.next();
        if wanted > self.end {
            return Ok(None);
        }
        if self.first > wanted {
            return Err(self.missing(self.first));
        }
        let payload = loop {
            let (at, payload) = self.message().await?;
            if at == wanted {
                break payload;
            }
            // A consumer that was made anew may begin with what was read before.
            if at > wanted {
                return Err(self.missing(at));
            }
        };
        self.bytes += payload.len() as u64;
        let entry = AnyEntry::decode(self.journal, &payload).map_err(|error| Alarm::NoEntry {
            stream_sequence: wanted,
            error,
        });
        match entry.and_then(|entry| self.chain.admit(&entry).map(|()| entry)) {
            Ok(entry) => Ok(Some(entry)),
            Err(alarm) => Err(JournalError::Broken {
                stream: self.name.clone(),
                alarm,
            }),
        }
    }

    /// Lets one message more be read, where the stream has grown since its end was noted.
    /// Says whether it has.
    ///
    /// # Errors
    /// [`JournalError::Nats`]; [`JournalError::Broken`] where the stream is now shorter.
    pub async fn extend(&mut self) -> Result<bool, JournalError> {
        let last = self.present_end().await?;
        if last < self.end {
            return Err(JournalError::Broken {
                stream: self.name.clone(),
                alarm: Alarm::Shorter {
                    seen: self.end,
                    last,
                },
            });
        }
        let has_more = last > self.end;
        if has_more {
            self.end = self.end.next();
        }
        Ok(has_more)
    }

    /// Where the stream ends now.
    ///
    /// # Errors
    /// [`JournalError::Nats`].
    pub async fn present_end(&self) -> Result<StreamSequence, JournalError> {
        let info = self.stream.get_info().await;
        let info = info.map_err(|error| NatsError::jetstream(&self.name, error))?;
        demand_leader(&self.name, &info)?;
        Ok(StreamSequence::new(info.state.last_sequence))
    }

    async fn message(&mut self) -> Result<(StreamSequence, Vec<u8>), JournalError> {
        if self.messages.is_none() {
            self.messages = Some(self.begin().await?);
        }
        let silent = JournalError::Silent {
            stream: self.name.clone(),
            next: self.chain.at.next(),
        };
        let Some(messages) = &mut self.messages else {
            return Err(silent);
        };
        let Ok(Some(message)) = tokio::time::timeout(SILENCE_MAX, messages.next()).await else {
            return Err(silent);
        };
        let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(&self.name, error);
        let message = message.map_err(|error| failed(&error))?;
        let at = message
            .info()
            .map_err(|error| failed(&error))?
            .stream_sequence;
        Ok((StreamSequence::new(at), message.payload.to_vec()))
    }

    async fn begin(&self) -> Result<pull::Ordered, NatsError> {
        let config = pull::OrderedConfig {
            max_batch: BATCH,
            ..ordered::from_sequence(self.chain.at.next().get())
        };
        ordered::read(&self.stream, &self.name, config).await
    }

    fn missing(&self, found: StreamSequence) -> JournalError {
        JournalError::Missing {
            stream: self.name.clone(),
            from: self.chain.at.next(),
            to: found.previous(),
        }
    }
}

/// Where it ends is known to its leader alone.
fn demand_leader(name: &str, info: &Info) -> Result<(), NatsError> {
    if is_by_leader(info) {
        return Ok(());
    }
    let why = "no server leads the stream; is there a quorum?";
    Err(NatsError::jetstream(name, why))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use a4co_core::ids::ParticipantId;
    use a4co_core::order::OrderEvent;

    use super::*;

    fn host(number: u8) -> HostId {
        HostId::from_bytes([number; 16])
    }

    fn name(by: u8, number: u64) -> AppendId {
        AppendId {
            host: host(by),
            number,
        }
    }

    fn entry(id: AppendId, previous: AppendId, epoch: u64, after: Option<u64>) -> AnyEntry {
        let frame = |after| {
            Content::Frame(Arc::new(Frame::<OrderEvent> {
                after: Sequence::new(after),
                cursors: Cursors::default(),
                events: Vec::new(),
            }))
        };
        AnyEntry::Order(Entry {
            journal: ParticipantId::Order.into(),
            append_id: id,
            previous,
            epoch: Epoch::new(epoch),
            content: after.map_or(Content::Claim, frame),
        })
    }

    #[test]
    fn a_chain_goes_on_from_claim_to_frame_to_the_next_claim() {
        let mut chain = Chain::default();
        let none = AppendId::default();
        for it in [
            entry(name(1, 1), none, 1, None),
            entry(name(1, 2), name(1, 1), 1, Some(0)),
            entry(name(2, 1), name(1, 2), 2, None),
            entry(name(2, 2), name(2, 1), 2, Some(0)),
        ] {
            chain.admit(&it).unwrap();
        }
        assert_eq!((chain.at.get(), chain.claims), (4, 2));
        assert_eq!(chain.leader, Some(host(2)));
    }

    #[test]
    fn what_does_not_continue_the_chain_is_named_and_changes_nothing() {
        let mut chain = Chain::default();
        chain
            .admit(&entry(name(1, 1), AppendId::default(), 1, None))
            .unwrap();
        let before = chain;
        let refused = |it: AnyEntry| {
            let mut chain = before.clone();
            let alarm = chain.admit(&it).unwrap_err();
            assert_eq!(chain, before);
            alarm
        };
        let after = name(1, 1);
        assert!(matches!(
            refused(entry(name(1, 3), name(1, 2), 1, Some(0))),
            Alarm::Rewritten { .. }
        ));
        for it in [
            // A frame of a host that did not claim, of another epoch, and an epoch claimed twice.
            entry(name(2, 1), after, 1, Some(0)),
            entry(name(1, 2), after, 2, Some(0)),
            entry(name(2, 1), after, 1, None),
        ] {
            assert!(matches!(refused(it), Alarm::NotTheLeader { .. }));
        }
        assert!(matches!(
            refused(entry(name(1, 2), after, 1, Some(7))),
            Alarm::DoesNotFit { .. }
        ));
    }
}
