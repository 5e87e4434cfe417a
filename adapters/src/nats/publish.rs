//! Public events on their way to their streams: in order, each acknowledged, until it is.

use std::collections::HashMap;
use std::time::Duration;

use a4co_core::ids::OrderId;
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use prometheus::{IntCounter, IntGauge, Registry};

use super::dead_letters::DeadLetters;
use crate::events::{PublicEvent, PublicStream};

/// Events that are on their way at once, at most.
const IN_FLIGHT_MAX: usize = 256;

/// Wait before the next try after the servers refused or did not answer; doubles up to the
/// longest.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(200);
pub(crate) const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What the relay counts.
#[derive(Debug, Clone)]
pub struct RelayMetrics {
    pub(super) published: IntCounter,
    pub(super) position: IntGauge,
    pub(super) failures: IntCounter,
    /// What those who consume the events gave up on.
    pub dead_letters: DeadLetters,
}

impl RelayMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let published = IntCounter::new(
            "nats_messages_published_total",
            "Public events that a stream on NATS has acknowledged.",
        )?;
        let position = IntGauge::new(
            "events_relay_position",
            "The journal's record up to which public events are acknowledged.",
        )?;
        let failures = IntCounter::new(
            "events_relay_failures_total",
            "Tries to publish that were refused or not answered; each is repeated.",
        )?;
        registry.register(Box::new(published.clone()))?;
        registry.register(Box::new(position.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self {
            published,
            position,
            failures,
            dead_letters: DeadLetters::register(registry)?,
        })
    }
}

/// Publishes events and waits until every one is acknowledged; of one order and one stream,
/// in their order.
pub(crate) async fn publish_all(
    jetstream: &Context,
    events: impl Iterator<Item = PublicEvent>,
    metrics: &RelayMetrics,
) {
    for wave in waves(events) {
        let mut left = wave;
        let mut wait = RETRY_FIRST;
        while !left.is_empty() {
            left = send(jetstream, &left, metrics).await;
            if !left.is_empty() {
                metrics.failures.inc();
                wait = pause(wait).await;
            }
        }
    }
}

/// Cuts events into groups in which no order has two events of one stream: those of a
/// group may overtake each other.
fn waves(events: impl Iterator<Item = PublicEvent>) -> Vec<Vec<PublicEvent>> {
    let mut next: HashMap<(OrderId, PublicStream), usize> = HashMap::new();
    let mut waves: Vec<Vec<PublicEvent>> = Vec::new();
    for event in events {
        let place = next
            .entry((event.order_id, event.kind.stream()))
            .or_default();
        if waves.len() == *place {
            waves.push(Vec::new());
        }
        waves[*place].push(event);
        *place += 1;
    }
    waves
}

/// Sends events and waits for their acknowledgements. Returns those that have none.
async fn send(
    jetstream: &Context,
    events: &[PublicEvent],
    metrics: &RelayMetrics,
) -> Vec<PublicEvent> {
    let mut failed = Vec::new();
    for some in events.chunks(IN_FLIGHT_MAX) {
        let mut acks = Vec::with_capacity(some.len());
        for event in some {
            let sent = jetstream
                .publish_with_headers(event.kind.subject(), headers(event), event.body().into())
                .await;
            acks.push((event, sent));
        }
        for (event, sent) in acks {
            let acked = match sent {
                Ok(ack) => ack.await.map(drop),
                Err(error) => Err(error),
            };
            match acked {
                Ok(()) => metrics.published.inc(),
                Err(error) => {
                    if failed.is_empty() {
                        tracing::warn!(%error, "public events were not acknowledged; trying again");
                    }
                    failed.push(event.clone());
                }
            }
        }
    }
    failed
}

fn headers(event: &PublicEvent) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in event.headers() {
        headers.insert(name, value.as_str());
    }
    headers.insert("Nats-Msg-Id", event.id.as_str());
    headers
}

pub(crate) async fn pause(wait: Duration) -> Duration {
    tokio::time::sleep(wait).await;
    (wait * 2).min(RETRY_LONGEST)
}

#[cfg(test)]
mod tests {
    use a4co_core::time::Timestamp;

    use super::*;
    use crate::events::{Body, Kind};

    fn event(order: u8, kind: Kind) -> PublicEvent {
        PublicEvent {
            id: format!("{order}-{}", kind.name()),
            kind,
            at: Timestamp::UNIX_EPOCH,
            order_id: OrderId::from_bytes([order; 16]),
            traceparent: None,
            data: Body::default(),
        }
    }

    #[test]
    fn two_events_of_an_order_never_travel_together_in_one_stream() {
        let events = [
            event(1, Kind::OrderCreated),
            event(2, Kind::OrderCreated),
            event(1, Kind::InventoryReserved),
            event(1, Kind::PaymentRequested),
        ];
        let waves = waves(events.into_iter());
        let ids: Vec<Vec<&str>> = waves
            .iter()
            .map(|wave| wave.iter().map(|event| event.id.as_str()).collect())
            .collect();
        assert_eq!(
            ids,
            [
                vec!["1-OrderCreated", "2-OrderCreated", "1-InventoryReserved"],
                vec!["1-PaymentRequested"]
            ]
        );
    }
}
