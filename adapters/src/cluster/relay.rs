//! Public events out of a journal on NATS, by whoever leads it.
//!
//! How far it has come is written under a key beside the leases, after the acknowledgements:
//! the next leader repeats at most what a second brings, under the same ids. Two that
//! overlap publish the same events, which the streams know by their ids.

use std::time::{Duration, Instant};

use a4co_core::replicated::AnyEntry;
use a4co_core::shards::JournalId;
use a4co_driver::replicated::{Leader, Standings};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::events::{Traces, project_entry};
use crate::nats::{
    Connected, LEASES, NatsError, RelayMetrics, journal_stream, ordered, pause, publish_all,
    relay_subject,
};

/// Entries whose events go out together, at most.
const BATCH_MAX: usize = 64;

/// How often it is written down how far it has come.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Wait before a relay that broke begins again; doubles.
const AGAIN: Duration = Duration::from_millis(200);

/// Relays a journal's events whenever this process leads it.
pub(super) async fn run(
    nats: Connected,
    journal: JournalId,
    standings: Standings,
    metrics: RelayMetrics,
    mut traces: Traces,
) {
    let mut wait = AGAIN;
    loop {
        let leader = standings.leader(journal);
        if !matches!(leader, Leader::Here(_)) {
            standings.wait_leader(journal, leader).await;
            wait = AGAIN;
            continue;
        }
        let broken = tokio::select! {
            relayed = relay(&nats, journal, &metrics, &mut traces) => relayed,
            () = standings.wait_leader(journal, leader) => continue,
        };
        if let Err(error) = broken {
            tracing::warn!(%journal, %error, "public events cannot be published; trying again");
        }
        wait = pause(wait).await;
    }
}

async fn relay(
    nats: &Connected,
    journal: JournalId,
    metrics: &RelayMetrics,
    traces: &mut Traces,
) -> Result<(), NatsError> {
    let name = journal_stream(journal);
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(&name, error);
    let mut connects = nats.connects.clone();
    connects.mark_unchanged();
    let mut after = position(nats, journal).await?;
    let mut saved = (after, Instant::now());
    let stream = nats.jetstream.get_stream_no_info(&name).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let config = ordered::from_sequence(after + 1);
    let mut messages = ordered::read(&stream, &name, config).await?;
    loop {
        let save_in = SAVE_EVERY.saturating_sub(saved.1.elapsed());
        let first = tokio::select! {
            message = messages.next() => message,
            _ = connects.changed() => return Ok(()),
            () = tokio::time::sleep(save_in), if after != saved.0 => {
                save(nats, journal, after).await?;
                saved = (after, Instant::now());
                continue;
            }
        };
        let mut next = first;
        let mut events = Vec::new();
        let mut entries = 0;
        while let Some(message) = next.take() {
            let message = message.map_err(|error| failed(&error))?;
            let info = message.info().map_err(|error| failed(&error))?;
            let entry = AnyEntry::decode(journal, &message.payload);
            // The participant has stopped there as well, and has said why.
            let entry = entry.map_err(|error| failed(&error))?;
            events.append(&mut project_entry(&entry, traces));
            after = info.stream_sequence;
            entries += 1;
            if entries < BATCH_MAX {
                next = messages.next().now_or_never().flatten();
            }
        }
        if entries == 0 {
            return Ok(());
        }
        publish_all(&nats.jetstream, events.into_iter(), metrics).await;
        if saved.1.elapsed() >= SAVE_EVERY {
            save(nats, journal, after).await?;
            saved = (after, Instant::now());
        }
    }
}

/// Up to where a journal's events are known to be published.
async fn position(nats: &Connected, journal: JournalId) -> Result<u64, NatsError> {
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(LEASES, error);
    let stream = nats.jetstream.get_stream_no_info(LEASES).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let subject = relay_subject(journal);
    match stream.get_last_raw_message_by_subject(&subject).await {
        // One that cannot be read is none: events are repeated, never skipped.
        Ok(message) => Ok(std::str::from_utf8(&message.payload)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
        Err(error) => Err(failed(&error)),
    }
}

async fn save(nats: &Connected, journal: JournalId, after: u64) -> Result<(), NatsError> {
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(LEASES, error);
    let payload = after.to_string().into();
    let sent = nats.jetstream.publish(relay_subject(journal), payload);
    let sent = sent.await.map_err(|error| failed(&error))?;
    sent.await.map_err(|error| failed(&error))?;
    Ok(())
}
