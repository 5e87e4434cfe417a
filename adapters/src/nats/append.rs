//! Writes a journal's stream from its first message: what [`super::journal`] reads.
//!
//! For moving a journal to the servers, not for leading it: nothing is decided here. The
//! same entries written again are recognised, so that a writer that was interrupted goes
//! on where it was.

use std::time::Duration;

use a4co_core::ids::ParticipantId;
use a4co_core::limits::MESSAGE_BYTES_MAX;
use a4co_core::record::{self, Frame};
use a4co_core::replicated::{AppendId, Content, Entry, Epoch, HostId};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use serde::Serialize;

use super::connect::{Connected, NatsError};
use super::streams::{journal_stream, journal_subject};

/// Bytes of an entry, at most: what surrounds it in a message has to fit as well.
const ENTRY_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 4 * 1024;

/// Tries of one append while there is no definite answer; a cluster that has lost the
/// stream's leader has another one within ten seconds.
const TRIES_MAX: u32 = 60;

/// Wait between two of them.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Why a journal could not be written on. What was written stays.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is something else in the stream.
    #[error("stream {stream} has another message {at} than the one to be written")]
    Other {
        /// The stream.
        stream: String,
        /// Where.
        at: u64,
    },
    /// One event alone is larger than a message may be.
    #[error("an event of {bytes} bytes does not fit into a message of stream {stream}")]
    TooLarge {
        /// The stream.
        stream: String,
        /// Of the entry that holds it.
        bytes: usize,
    },
    /// The servers cannot be reached, or refuse.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

/// One journal, written by one host under the first epoch.
pub struct JournalWriter<'n> {
    nats: &'n Connected,
    stream: Stream,
    name: String,
    journal: ParticipantId,
    host: HostId,
    previous: AppendId,
    written: u64,
    /// Messages that the stream had from the beginning.
    found: u64,
}

impl<'n> JournalWriter<'n> {
    /// A writer before the first message.
    ///
    /// # Errors
    /// [`NatsError`].
    pub async fn open(
        nats: &'n Connected,
        journal: ParticipantId,
        host: HostId,
    ) -> Result<Self, NatsError> {
        let name = journal_stream(journal);
        let stream = nats.admin.get_stream(&name).await;
        let stream = stream.map_err(|error| NatsError::jetstream(&name, error))?;
        let found = stream.cached_info().state.last_sequence;
        Ok(Self {
            nats,
            stream,
            name,
            journal,
            host,
            previous: AppendId::default(),
            written: 0,
            found,
        })
    }

    /// Messages that the stream had from the beginning, and those of them that were not
    /// recognised yet.
    #[must_use]
    pub fn found(&self) -> (u64, u64) {
        (self.found, self.found.saturating_sub(self.written))
    }

    /// Messages written, or recognised.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The first entry: this host leads.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn claim(&mut self) -> Result<(), WriteError> {
        self.entry::<()>(Content::Claim).await
    }

    /// Events, in as many messages as they need. All of them say that the others were read
    /// as far as the frame says: whoever reads the events one message at a time must not
    /// take them for earlier than what they rest on.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn frame<E: Clone + Serialize>(&mut self, frame: Frame<E>) -> Result<(), WriteError> {
        let mut parts = vec![frame];
        while let Some(part) = parts.pop() {
            let count = part.events.len();
            // The entry's own head is some 60 bytes.
            let bytes = record::encode(&part).len() + 128;
            if bytes <= ENTRY_BYTES_MAX {
                self.entry(Content::Frame(part.into())).await?;
            } else if count < 2 {
                let stream = self.name.clone();
                return Err(WriteError::TooLarge { stream, bytes });
            } else {
                let (first, second) = halves(part);
                parts.push(second);
                parts.push(first);
            }
        }
        Ok(())
    }

    async fn entry<E: Serialize>(&mut self, content: Content<E>) -> Result<(), WriteError> {
        let append_id = AppendId {
            host: self.host,
            number: self.written + 1,
        };
        let entry = Entry {
            journal: self.journal.into(),
            append_id,
            previous: self.previous,
            epoch: Epoch::new(1),
            content,
        };
        let payload = record::encode(&entry);
        if self.written < self.found {
            self.recognise(&payload).await?;
        } else {
            self.append(payload).await?;
        }
        self.written += 1;
        self.previous = append_id;
        Ok(())
    }

    async fn append(&self, payload: Vec<u8>) -> Result<(), WriteError> {
        let mut last_error = None;
        for _ in 0..TRIES_MAX {
            let message = PublishMessage::build()
                .payload(payload.clone().into())
                .expected_last_sequence(self.written);
            let subject = journal_subject(self.journal);
            let sent = self.nats.jetstream.send_publish(subject, message).await;
            let stored = match sent {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            match stored {
                Ok(ack) if ack.sequence == self.written + 1 => return Ok(()),
                Ok(ack) => return Err(self.other(ack.sequence)),
                // Perhaps because this very message was stored and its answer lost.
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    return self.recognise(&payload).await;
                }
                Err(error) if is_final(error.kind()) => {
                    return Err(NatsError::jetstream(&self.name, error).into());
                }
                Err(error) => last_error = Some(error),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
        let why = last_error.map_or_else(String::new, |error| error.to_string());
        Err(NatsError::jetstream(&self.name, why).into())
    }

    async fn recognise(&self, payload: &[u8]) -> Result<(), WriteError> {
        let at = self.written + 1;
        let there = self.stream.get_raw_message(at).await;
        let there = there.map_err(|error| NatsError::jetstream(&self.name, error))?;
        if there.payload == payload {
            Ok(())
        } else {
            Err(self.other(at))
        }
    }

    fn other(&self, at: u64) -> WriteError {
        WriteError::Other {
            stream: self.name.clone(),
            at,
        }
    }
}

const fn is_final(kind: PublishErrorKind) -> bool {
    matches!(
        kind,
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::StreamNotFound
    )
}

fn halves<E>(mut frame: Frame<E>) -> (Frame<E>, Frame<E>) {
    let second = frame.events.split_off(frame.events.len() / 2);
    let mut after = frame.after;
    for _ in &frame.events {
        after = after.next();
    }
    let second = Frame {
        after,
        cursors: frame.cursors.clone(),
        events: second,
    };
    (frame, second)
}
