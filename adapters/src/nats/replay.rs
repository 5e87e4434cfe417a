//! Dead letters one by one: what they are, and back to the consumers with them.
//!
//! A message that is published again comes to every consumer of its stream, not only to the
//! one that gave up on it. It has its `ce-id` still, so whoever handled it before knows it.

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures_util::StreamExt as _;
use serde::Serialize;

use super::connect::{Connected, NatsError};
use super::consume::{
    DEAD_LETTER_CONSUMER, DEAD_LETTER_PREFIX, DEAD_LETTER_REASON, DEAD_LETTER_SEQUENCE,
    DEAD_LETTER_STREAM,
};
use super::ordered;
use super::streams::DEAD_LETTERS;

/// A message that a consumer gave up on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its number among the dead letters; what it is replayed by.
    pub sequence: u64,
    /// Who gave up, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Why, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The subject that it was published under.
    pub subject: String,
    /// The stream that it was read from, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Its number there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_sequence: Option<u64>,
    /// The event's `ce-id`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// Why a dead letter was not published again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is none of this number. Nothing was done.
    #[error("there is no dead letter {0}: see `a4co events dead-letters`")]
    NotFound(u64),
    /// The servers refuse, or do not answer. It may be there once more: `ce-id` tells.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

fn failed(error: impl std::fmt::Display) -> NatsError {
    NatsError::jetstream(DEAD_LETTERS, error)
}

impl DeadLetter {
    fn of(sequence: u64, subject: &str, headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        Self {
            sequence,
            consumer: header(DEAD_LETTER_CONSUMER),
            reason: header(DEAD_LETTER_REASON),
            subject: subject
                .strip_prefix(DEAD_LETTER_PREFIX)
                .unwrap_or(subject)
                .to_owned(),
            stream: header(DEAD_LETTER_STREAM),
            stream_sequence: header(DEAD_LETTER_SEQUENCE).and_then(|text| text.parse().ok()),
            event_id: header("ce-id"),
        }
    }
}

/// Shows every dead letter that is kept, oldest first.
///
/// # Errors
/// [`NatsError`] when the stream is not there or cannot be read.
pub async fn dead_letters(
    nats: &Connected,
    mut show: impl FnMut(DeadLetter),
) -> Result<(), NatsError> {
    let stream = nats.admin.get_stream(DEAD_LETTERS).await.map_err(failed)?;
    if stream.cached_info().state.messages == 0 {
        return Ok(());
    }
    let from_oldest = ordered::from(DeliverPolicy::All);
    let mut messages = ordered::read(&stream, DEAD_LETTERS, from_oldest).await?;
    let none = HeaderMap::new();
    while let Some(message) = messages.next().await {
        let message = message.map_err(failed)?;
        let info = message.info().map_err(failed)?;
        let headers = message.headers.as_ref().unwrap_or(&none);
        show(DeadLetter::of(
            info.stream_sequence,
            &message.subject,
            headers,
        ));
        if info.pending == 0 {
            break;
        }
    }
    Ok(())
}

/// Publishes a dead letter again under the subject that it had, and then removes it from
/// the dead letters.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay(nats: &Connected, sequence: u64) -> Result<DeadLetter, ReplayError> {
    use async_nats::jetstream::stream::RawMessageErrorKind as Kind;
    let stream = nats.admin.get_stream(DEAD_LETTERS).await.map_err(failed)?;
    let message = stream.get_raw_message(sequence).await;
    let message = message.map_err(|error| match error.kind() {
        Kind::NoMessageFound => ReplayError::NotFound(sequence),
        _ => failed(error).into(),
    })?;
    let letter = DeadLetter::of(sequence, &message.subject, &message.headers);
    let mut headers = HeaderMap::new();
    for (name, values) in message.headers.iter() {
        let name: &str = name.as_ref();
        if !name.starts_with("a4co-") && name != "Nats-Msg-Id" {
            values
                .iter()
                .for_each(|value| headers.append(name, value.as_str()));
        }
    }
    // Its own id again, or it would be dropped as one that is there already; the same for
    // each try, so that one that was cut off is repeated without harm.
    let id = format!("{DEAD_LETTERS}/{sequence}");
    headers.insert("Nats-Msg-Id", id.as_str());
    let sent = nats
        .admin
        .publish_with_headers(letter.subject.clone(), headers, message.payload)
        .await;
    sent.map_err(failed)?.await.map_err(failed)?;
    stream.delete_message(sequence).await.map_err(failed)?;
    Ok(letter)
}
