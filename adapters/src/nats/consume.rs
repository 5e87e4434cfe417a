//! Reading public events: to watch them, or as a consumer that must not lose one.
//!
//! The rule for the latter: a durable consumer with explicit acknowledgement, and at most
//! three deliveries; then the message goes to the dead-letter stream with the reason, is
//! counted, and only then acknowledged. The server is not told to stop delivering: it
//! would skip what it gave up on without a word.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::stream::{BoxStream, select_all};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::connect::{Connected, NatsError};
use super::ordered;
use super::streams::DEAD_LETTERS;
use crate::events::{EventError, PublicEvent, PublicStream};

/// Deliveries of one message before it is given up on.
pub const DELIVERIES_MAX: i64 = 3;

/// The header that says why a message was given up on.
pub const DEAD_LETTER_REASON: &str = "a4co-reason";

/// Before the subject that a dead letter had.
pub(super) const DEAD_LETTER_PREFIX: &str = "a4co.dead.";

/// The stream that a dead letter was read from.
pub(super) const DEAD_LETTER_STREAM: &str = "a4co-stream";

/// Its number there.
pub(super) const DEAD_LETTER_SEQUENCE: &str = "a4co-sequence";

/// Who gave up on it.
pub(super) const DEAD_LETTER_CONSUMER: &str = "a4co-consumer";

/// Wait before a message that failed is delivered again.
const REDELIVER_AFTER: Duration = Duration::from_millis(500);

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumed {
    /// Handled, and acknowledged.
    Handled,
    /// It will be delivered again, for this reason.
    Again(String),
    /// Given up on: it is in the dead-letter stream, with this reason.
    DeadLetter(String),
}

/// Events of all three streams as they come, from now on or from the oldest that is kept.
///
/// # Errors
/// [`NatsError`] when the streams are not there.
pub async fn follow(
    nats: &Connected,
    from_oldest: bool,
) -> Result<BoxStream<'static, Result<Result<PublicEvent, EventError>, NatsError>>, NatsError> {
    let mut all = Vec::new();
    for public in PublicStream::ALL {
        let stream = nats.admin.get_stream(public.name()).await;
        let stream = stream.map_err(|error| NatsError::jetstream(public.name(), error))?;
        let config = ordered::from(if from_oldest {
            DeliverPolicy::All
        } else {
            DeliverPolicy::New
        });
        let messages = ordered::read(&stream, public.name(), config).await?;
        let events = messages
            .map_ok(|message| decode(&message))
            .map_err(move |error| NatsError::jetstream(public.name(), error));
        all.push(events.boxed());
    }
    Ok(select_all(all).boxed())
}

/// Hands every event of a stream to `handle`, which says whether it is done or why not.
/// Each outcome goes to `told`, to be counted; it ends when that says `false`.
///
/// # Errors
/// [`NatsError`] when the stream is not there or the connection is gone for good.
pub async fn consume(
    nats: &Connected,
    public: PublicStream,
    durable: &str,
    mut handle: impl FnMut(PublicEvent) -> Result<(), String>,
    mut told: impl FnMut(&Consumed) -> bool,
) -> Result<(), NatsError> {
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(public.name(), error);
    let stream = nats.admin.get_stream(public.name()).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let config = pull::Config {
        durable_name: Some(durable.to_owned()),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer(durable, config).await;
    let consumer = consumer.map_err(|error| failed(&error))?;
    let mut messages = consumer.messages().await.map_err(|error| failed(&error))?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| failed(&error))?;
        let delivered = message.info().map_err(|error| failed(&error))?.delivered;
        let outcome = match decode(&message) {
            // Its handler has ended the process before, or never came to an end.
            Ok(_) if delivered > DELIVERIES_MAX => Err(format!(
                "delivered {DELIVERIES_MAX} times without an outcome"
            )),
            Ok(event) => handle(event),
            Err(error) => Err(error.to_string()),
        };
        let consumed = match outcome {
            Ok(()) => {
                let acked = message.double_ack().await;
                acked.map_err(|error| failed(&error))?;
                Consumed::Handled
            }
            Err(reason) => give_up_or_retry(nats, public, durable, &message, reason).await?,
        };
        if !told(&consumed) {
            break;
        }
    }
    Ok(())
}

async fn give_up_or_retry(
    nats: &Connected,
    public: PublicStream,
    durable: &str,
    message: &Message,
    reason: String,
) -> Result<Consumed, NatsError> {
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(DEAD_LETTERS, error);
    let info = message.info().map_err(|error| failed(&error))?;
    if info.delivered < DELIVERIES_MAX {
        let again = message.ack_with(AckKind::Nak(Some(REDELIVER_AFTER))).await;
        again.map_err(|error| failed(&error))?;
        return Ok(Consumed::Again(reason));
    }
    let mut headers = message.headers.clone().unwrap_or_default();
    // A header's value is one line.
    let line: String = reason.chars().filter(|c| !c.is_control()).collect();
    headers.insert(DEAD_LETTER_REASON, line.as_str());
    headers.insert(DEAD_LETTER_STREAM, public.name());
    headers.insert(
        DEAD_LETTER_SEQUENCE,
        info.stream_sequence.to_string().as_str(),
    );
    headers.insert(DEAD_LETTER_CONSUMER, durable);
    // The event's own would have the stream drop it where another consumer gave up on it too.
    let id = format!("{}/{}/{durable}", public.name(), info.stream_sequence);
    headers.insert("Nats-Msg-Id", id.as_str());
    let subject = format!("{DEAD_LETTER_PREFIX}{}", message.subject);
    // Kept first, acknowledged second: a crash in between keeps it twice, never not at all.
    let kept = nats
        .jetstream
        .publish_with_headers(subject, headers, message.payload.clone())
        .await;
    let kept = kept.map_err(|error| failed(&error))?;
    kept.await.map_err(|error| failed(&error))?;
    let ended = message.ack_with(AckKind::Term).await;
    ended.map_err(|error| failed(&error))?;
    Ok(Consumed::DeadLetter(reason))
}

fn decode(message: &Message) -> Result<PublicEvent, EventError> {
    let none = HeaderMap::new();
    let headers = message.headers.as_ref().unwrap_or(&none);
    let header = |name: &'static str| headers.get(name).map(|value| value.as_str());
    PublicEvent::decode(header, &message.payload)
}
