//! The sandbox's books from their file to the stream of a cluster, and back: what
//! `a4co migrate` takes along, so that a charge made before a move is known after it.
//!
//! Both hold the same records. Moving to the stream may be begun again: what is there
//! already must be the beginning of what is moved.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;

use super::books::{BooksFile, SandboxBooks, SandboxError};
use super::record::{BookEntry, RECORD_BYTES};
use crate::nats::{Connected, NatsError, SANDBOX_BOOKS, SANDBOX_SUBJECT, ordered};

/// Records that one message takes.
const MESSAGE_RECORDS: usize = 4_096;

/// How long no message may come where the stream has more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why books were not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Books(#[from] SandboxError),
    /// The stream cannot be read or written.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The stream holds other books.
    #[error("stream {SANDBOX_BOOKS} holds other books than those to be moved")]
    Other,
    /// A message is no record of theirs.
    #[error("message {0} of stream {SANDBOX_BOOKS} is no record of the sandbox's books")]
    NoRecord(u64),
}

fn failed(error: impl std::fmt::Display) -> MoveError {
    NatsError::jetstream(SANDBOX_BOOKS, error).into()
}

impl SandboxBooks {
    /// Appends these books to the stream, which has to be there and hold nothing else.
    /// Returns how many entries they have.
    ///
    /// # Errors
    /// [`MoveError`]; what was written stays.
    pub async fn move_to(&self, nats: &Connected) -> Result<u64, MoveError> {
        let stream = nats.admin.get_stream(SANDBOX_BOOKS).await;
        let stream = stream.map_err(failed)?;
        let mut all = Vec::new();
        self.for_each_entry(|entry| all.extend_from_slice(&entry.encode()))?;
        let (there, mut last) = read_all(&stream).await?;
        let Some(rest) = all.strip_prefix(&there[..]) else {
            return Err(MoveError::Other);
        };
        for records in rest.chunks(RECORD_BYTES * MESSAGE_RECORDS) {
            let message = PublishMessage::build()
                .payload(records.to_vec().into())
                .expected_last_sequence(last);
            let sent = nats.admin.send_publish(SANDBOX_SUBJECT, message).await;
            last = sent.map_err(failed)?.await.map_err(failed)?.sequence;
        }
        Ok(self.len())
    }

    /// Writes the stream's books into a folder that has none, and makes them durable.
    /// Returns how many entries they have; `None` where the stream has none.
    ///
    /// # Errors
    /// [`MoveError`]; the folder's books are then of no use.
    pub async fn move_from(nats: &Connected, folder: &Path) -> Result<Option<u64>, MoveError> {
        let stream = match nats.admin.get_stream(SANDBOX_BOOKS).await {
            Ok(stream) => stream,
            Err(error) if crate::nats::is_missing(&error.kind()) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let (records, _) = read_all(&stream).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let fail = |source| SandboxError::Io {
            path: folder.to_owned(),
            source,
        };
        let (mut file, _) = BooksFile::open(folder, 0)?;
        file.append(&records).map_err(fail)?;
        file.handle().sync_all().map_err(fail)?;
        Ok(Some((records.len() / RECORD_BYTES) as u64))
    }
}

/// Every record of the stream, one after the other, and its last sequence.
async fn read_all(stream: &Stream) -> Result<(Vec<u8>, u64), MoveError> {
    let end = stream.cached_info().state.last_sequence;
    let mut records = Vec::new();
    if end == 0 {
        return Ok((records, end));
    }
    let config = ordered::from_sequence(1);
    let mut messages = ordered::read(stream, SANDBOX_BOOKS, config).await?;
    let mut at = 0;
    while at < end {
        let message = tokio::time::timeout(SILENCE_MAX, messages.next()).await;
        let Ok(Some(message)) = message else {
            return Err(failed("no message came"));
        };
        let message = message.map_err(failed)?;
        let found = message.info().map_err(failed)?.stream_sequence;
        if found <= at {
            continue; // a consumer that was made anew
        }
        at = found;
        let is_record = |record: &[u8]| BookEntry::decode(record).is_some();
        if !message.payload.chunks(RECORD_BYTES).all(is_record) {
            return Err(MoveError::NoRecord(at));
        }
        records.extend_from_slice(&message.payload);
    }
    Ok((records, end))
}
