//! The messages of a stream in their order, with nothing kept on the servers for the reader.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;

use super::connect::NatsError;

/// A reader that begins with this message of the stream, the first of which is 1.
pub(crate) fn from_sequence(sequence: u64) -> pull::OrderedConfig {
    from(DeliverPolicy::ByStartSequence {
        start_sequence: sequence.max(1),
    })
}

/// A reader that begins where the policy says.
pub(crate) fn from(deliver_policy: DeliverPolicy) -> pull::OrderedConfig {
    pull::OrderedConfig {
        deliver_policy,
        ..pull::OrderedConfig::default()
    }
}

/// Begins to read the stream of this name.
///
/// # Errors
/// [`NatsError`] when the servers refuse.
pub(crate) async fn read<I: Sync>(
    stream: &Stream<I>,
    name: &str,
    config: pull::OrderedConfig,
) -> Result<pull::Ordered, NatsError> {
    let consumer = stream.create_consumer(config).await;
    let consumer = consumer.map_err(|error| NatsError::jetstream(name, error))?;
    let messages = consumer.messages().await;
    messages.map_err(|error| NatsError::jetstream(name, error))
}
