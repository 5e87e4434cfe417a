//! The leases as they are, for whoever wants to know who leads and takes no part in it.

use std::time::Duration;

use a4co_core::replicated::{HostId, Lease};
use a4co_core::shards::{JournalId, ShardCount};
use a4co_core::time::Millis;
use async_nats::jetstream::stream::LastRawMessageErrorKind;

use super::connect::{Connected, NatsError};
use super::streams::{LEASES, lease_subject, shards_or_found};

/// The code of JetStream for a message that is not there.
const NO_MESSAGE: u64 = 10_037;

/// How long a lease may not be written until it is nobody's, for one who takes no part:
/// its holder writes it three times in its time to live, and a cluster that loses a server
/// needs up to nine seconds for itself.
#[must_use]
pub fn silent_after(lease_ttl: Millis) -> Duration {
    Duration::from_millis(lease_ttl.get().saturating_add(5_000))
}

/// Time between two looks at a lease.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One lease, as its key has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseState {
    /// Of which journal.
    pub journal: JournalId,
    /// Who holds it; nobody where it was released, never written, or cannot be read.
    pub holder: Option<HostId>,
    /// The key's revision; 0 where it was never written.
    pub revision: u64,
    /// When it was written, by the servers' clock, in milliseconds since 1970.
    pub written_ms: i64,
}

/// The leases, by [`JournalId::index`].
///
/// # Errors
/// [`NatsError`], also where the bucket is not there.
pub async fn leases(nats: &Connected, shards: ShardCount) -> Result<Vec<LeaseState>, NatsError> {
    let bucket = nats.admin.get_stream_no_info(LEASES).await;
    let bucket = bucket.map_err(|error| NatsError::jetstream(LEASES, error))?;
    let nobodys = |journal| LeaseState {
        journal,
        holder: None,
        revision: 0,
        written_ms: 0,
    };
    let mut all: Vec<LeaseState> = JournalId::all(shards).map(nobodys).collect();
    for lease in &mut all {
        let subject = lease_subject(lease.journal);
        let message = match bucket.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message,
            Err(error)
                if matches!(error.kind(), LastRawMessageErrorKind::JetStream(it) if it.error_code().0 == NO_MESSAGE)
                    || matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) =>
            {
                continue;
            }
            Err(error) => return Err(NatsError::jetstream(LEASES, error)),
        };
        lease.revision = message.sequence;
        lease.written_ms =
            i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        lease.holder = Lease::decode(&message.payload)
            .ok()
            .and_then(|lease| lease.holder);
    }
    Ok(all)
}

/// The first journal that somebody leads: whose lease has a holder, and is written anew
/// while we look, for as long as `silent`. Returns at once where no lease has one.
///
/// # Errors
/// [`NatsError`].
pub async fn somebody_leads(
    nats: &Connected,
    silent: Duration,
) -> Result<Option<LeaseState>, NatsError> {
    let shards = shards_or_found(nats, None).await?;
    let before = leases(nats, shards).await?;
    if before.iter().all(|lease| lease.holder.is_none()) {
        return Ok(None);
    }
    for _ in 0..silent.as_secs() / LOOK_EVERY.as_secs() {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = leases(nats, shards).await?;
        let both = before.iter().zip(now);
        for (before, now) in both {
            if now.holder.is_some() && now.revision != before.revision {
                return Ok(Some(now));
            }
        }
    }
    Ok(None)
}
