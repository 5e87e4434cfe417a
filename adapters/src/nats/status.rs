//! How the cluster stands: who leads, how far the streams are, and what their servers say
//! of them. Nothing is changed, and nothing but what the servers say is looked at.

use std::fmt;
use std::time::Duration;

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::AnyEntry;
use a4co_core::shards::{JournalId, ShardCount};
use async_nats::jetstream::stream::{Info, Stream};
use serde::Serialize;
use serde_json::Value;

use super::connect::{Connected, NatsError};
use super::leases::{LeaseState, leases};
use super::migration::MigrationMark;
use super::streams::{LEASES, Wanted, is_missing, journal_stream, shards_or_found, wanted};

/// How long a monitoring port may take to answer.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(5);

/// How the cluster stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The server that answered.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// Whether each acknowledgement rests on the disk, by server; only those whose
    /// monitoring port was named.
    pub sync_always: Vec<SyncAlways>,
    /// Whether a data folder was moved here: `none`, `under_way` or `done`.
    pub migration: &'static str,
    /// How many shards each participant has.
    pub shards: u16,
    /// The participants; with several shards, each shard of theirs.
    pub participants: Vec<ParticipantStatus>,
    /// The streams, those that are missing left out.
    pub streams: Vec<StreamStatus>,
    /// What needs somebody.
    pub problems: Vec<String>,
}

/// Whether a server syncs each message before it acknowledges it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncAlways {
    /// The monitoring port that was asked.
    pub monitor: String,
    /// Its answer; none where it did not say.
    pub sync_always: Option<bool>,
}

/// Who leads a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantStatus {
    /// Whose journal; with several shards, which journal.
    pub participant: String,
    /// Who holds the lease and renews it.
    pub leader: Option<String>,
    /// The lease's age, in milliseconds, by the servers' clock.
    pub lease_age_ms: Option<u64>,
    /// The epoch of the journal's last entry.
    pub epoch: Option<u64>,
    /// Who appended that entry.
    pub last_appended_by: Option<String>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Its name.
    pub stream: String,
    /// What it is for.
    pub purpose: &'static str,
    /// Messages in it.
    pub messages: u64,
    /// The last sequence.
    pub last_sequence: u64,
    /// Bytes of its messages.
    pub bytes: u64,
    /// Consumers, those of followers included.
    pub consumers: usize,
    /// The server that leads it; none while there is no quorum. Of a server without a
    /// cluster: itself.
    pub leader: Option<String>,
    /// The other copies.
    pub replicas: Vec<ReplicaStatus>,
}

/// One copy of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The server.
    pub server: String,
    /// Whether it has what the leader has.
    pub current: bool,
    /// Whether it is gone.
    pub offline: bool,
    /// Operations that it is behind.
    pub lag: u64,
    /// When it was heard of last, in milliseconds ago.
    pub active_ms: u64,
}

impl ClusterStatus {
    /// Whether every participant is led.
    #[must_use]
    pub fn is_led(&self) -> bool {
        self.participants.iter().all(|it| it.leader.is_some())
    }
}

/// Asks the servers. A lease that was not written for `silent` is nobody's. `monitors` are addresses of their monitoring ports
/// (`http://host:8222`): only there a server says whether it syncs always.
///
/// What does not answer is a problem in what is returned, and no error.
pub async fn status(nats: &Connected, silent: Duration, monitors: &[String]) -> ClusterStatus {
    let info = nats.client.server_info();
    let mut problems = Vec::new();
    let mut streams = Vec::new();
    let mut journals = Vec::new();
    let mut migration = MigrationMark::None;
    let shards = shards_or_found(nats, None).await.unwrap_or_else(|error| {
        problems.push(error.to_string());
        ShardCount::ONE
    });
    for wanted in wanted(1, shards) {
        let name = &wanted.config.name;
        let stream = match nats.jetstream.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) if is_missing(&error.kind()) => {
                problems.push(format!(
                    "stream {name} is missing; `a4co nats setup` makes it"
                ));
                continue;
            }
            // Without a quorum a stream does not answer; the others may.
            Err(error) => {
                problems.push(format!("stream {name} does not answer: {error}"));
                continue;
            }
        };
        let found = stream.cached_info();
        if shards == ShardCount::ONE && *name == journal_stream(ParticipantId::Order) {
            migration = MigrationMark::of(&found.config);
        }
        let status = stream_status(&wanted, found, &info.server_name);
        status.problems(&mut problems);
        streams.push(status);
        journals.push((name.clone(), stream));
    }
    let has_leases = streams.iter().any(|it| it.stream == LEASES);
    let seen = async {
        let leases = leases(nats, shards).await?;
        Ok::<_, NatsError>((leases, servers_now_ms(nats).await?))
    };
    let seen = match has_leases {
        true => seen
            .await
            .inspect_err(|error| problems.push(error.to_string()))
            .ok(),
        false => None,
    };
    let mut participants = Vec::new();
    for journal in JournalId::all(shards) {
        let name = journal_stream(journal);
        let stream = journals.iter().find(|(it, _)| *it == name);
        let last = match stream {
            Some((_, stream)) => last_entry(stream, journal, &mut problems).await,
            None => None,
        };
        let lease = seen
            .as_ref()
            .map(|(leases, now_ms)| (leases[journal.index()], *now_ms));
        let status = participant_status(journal, lease, silent, last);
        if status.leader.is_none() {
            problems.push(format!("nobody leads the {journal} journal"));
        }
        participants.push(status);
    }
    if let MigrationMark::UnderWay(_) = migration {
        problems.push(
            "a move to these servers has not finished: run `a4co migrate to-nats` again".to_owned(),
        );
    }
    let sync_always = ask_monitors(monitors).await;
    for it in sync_always.iter().filter(|it| it.sync_always != Some(true)) {
        problems.push(match it.sync_always {
            Some(_) => format!(
                "the server at {} acknowledges before it syncs: set sync_interval: always",
                it.monitor
            ),
            None => format!(
                "the monitoring port {} did not say how it syncs",
                it.monitor
            ),
        });
    }
    ClusterStatus {
        server: info.server_name,
        server_version: info.version,
        sync_always,
        migration: match migration {
            MigrationMark::None => "none",
            MigrationMark::UnderWay(_) => "under_way",
            MigrationMark::Done(_) => "done",
        },
        shards: shards.get(),
        participants,
        streams,
        problems,
    }
}

fn stream_status(wanted: &Wanted, info: &Info, server: &str) -> StreamStatus {
    let cluster = info.cluster.as_ref();
    let replica = |peer: &async_nats::jetstream::stream::PeerInfo| ReplicaStatus {
        server: peer.name.clone(),
        current: peer.current,
        offline: peer.offline,
        lag: peer.lag.unwrap_or_default(),
        active_ms: u64::try_from(peer.active.as_millis()).unwrap_or(u64::MAX),
    };
    StreamStatus {
        stream: info.config.name.clone(),
        purpose: wanted.purpose,
        messages: info.state.messages,
        last_sequence: info.state.last_sequence,
        bytes: info.state.bytes,
        consumers: info.state.consumer_count,
        leader: match cluster {
            Some(cluster) => cluster.leader.clone().filter(|it| !it.is_empty()),
            None => Some(server.to_owned()),
        },
        replicas: cluster.map_or_else(Vec::new, |it| it.replicas.iter().map(replica).collect()),
    }
}

impl StreamStatus {
    fn problems(&self, problems: &mut Vec<String>) {
        let name = &self.stream;
        if self.leader.is_none() {
            problems.push(format!("no server leads stream {name}: is there a quorum?"));
            return;
        }
        for it in &self.replicas {
            let server = &it.server;
            if it.offline {
                problems.push(format!("the copy of stream {name} on {server} is offline"));
            } else if !it.current {
                let lag = it.lag;
                problems.push(format!(
                    "the copy of stream {name} on {server} is {lag} operations behind"
                ));
            }
        }
    }
}

/// The epoch of the journal's last entry, and who appended it.
async fn last_entry(
    stream: &Stream,
    journal: JournalId,
    problems: &mut Vec<String>,
) -> Option<(u64, String)> {
    let last = stream.cached_info().state.last_sequence;
    if last == 0 {
        return None;
    }
    let name = &stream.cached_info().config.name;
    let message = match stream.get_raw_message(last).await {
        Ok(message) => message,
        Err(error) => {
            problems.push(format!(
                "message {last} of stream {name} cannot be read: {error}"
            ));
            return None;
        }
    };
    match AnyEntry::decode(journal, &message.payload) {
        Ok(AnyEntry::Order(it)) => Some((it.epoch.get(), it.host().to_string())),
        Ok(AnyEntry::Inventory(it)) => Some((it.epoch.get(), it.host().to_string())),
        Ok(AnyEntry::Payment(it)) => Some((it.epoch.get(), it.host().to_string())),
        Err(error) => {
            problems.push(format!(
                "message {last} of stream {name} is no entry of this journal: {error}"
            ));
            None
        }
    }
}

fn participant_status(
    journal: JournalId,
    lease: Option<(LeaseState, Option<i64>)>,
    silent: Duration,
    last: Option<(u64, String)>,
) -> ParticipantStatus {
    let age = lease.and_then(|(lease, now_ms)| {
        let age = now_ms?.saturating_sub(lease.written_ms);
        (lease.revision > 0).then(|| u64::try_from(age).unwrap_or_default())
    });
    let silent = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
    let is_renewed = age.is_none_or(|age| age <= silent);
    let holder = lease.and_then(|(lease, _)| lease.holder);
    let (epoch, by) = last.unzip();
    ParticipantStatus {
        participant: journal.to_string(),
        leader: holder.filter(|_| is_renewed).map(|host| host.to_string()),
        lease_age_ms: age,
        epoch,
        last_appended_by: by,
    }
}

/// What time it is there, in milliseconds since 1970: with their own clock alone the age
/// of a lease is not a matter of two clocks.
async fn servers_now_ms(nats: &Connected) -> Result<Option<i64>, NatsError> {
    let subject = format!("STREAM.INFO.{LEASES}");
    let answer: Result<Value, _> = nats.admin.request(subject, &()).await;
    let answer = answer.map_err(|error| NatsError::jetstream(LEASES, error))?;
    let now = answer["ts"]
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(now.map(jiff::Timestamp::as_millisecond))
}

async fn ask_monitors(monitors: &[String]) -> Vec<SyncAlways> {
    let mut all = Vec::new();
    for monitor in monitors {
        let url = format!("{}/varz", monitor.trim_end_matches('/'));
        let asked = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::config_builder()
                .tls_config(crate::tls::of_ureq())
                .timeout_global(Some(MONITOR_TIMEOUT))
                .build()
                .new_agent();
            let text = agent.get(&url).call().ok()?.body_mut().read_to_string();
            let varz: Value = serde_json::from_str(&text.ok()?).ok()?;
            // A server that does not sync always leaves the setting out.
            let jetstream = varz.get("jetstream")?.get("config")?;
            Some(jetstream["sync_always"].as_bool().unwrap_or(false))
        });
        all.push(SyncAlways {
            monitor: monitor.clone(),
            sync_always: asked.await.ok().flatten(),
        });
    }
    all
}

/// For people.
impl fmt::Display for ClusterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (nats-server {})", self.server, self.server_version)?;
        for it in &self.sync_always {
            let how = match it.sync_always {
                Some(true) => "syncs before it acknowledges",
                Some(false) => "acknowledges before it syncs",
                None => "did not say how it syncs",
            };
            writeln!(f, "{} {how}", it.monitor)?;
        }
        writeln!(f)?;
        for it in &self.participants {
            let leader = it.leader.as_deref().unwrap_or("nobody");
            write!(f, "{:<10} led by {leader}", it.participant)?;
            if let Some(epoch) = it.epoch {
                write!(f, ", epoch {epoch}")?;
            }
            if let Some(age) = it.lease_age_ms {
                write!(f, ", lease {}.{} s old", age / 1000, age % 1000 / 100)?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for it in &self.streams {
            let leader = it.leader.as_deref().unwrap_or("no server");
            writeln!(
                f,
                "{:<24} last {:>10}  {:>10} messages  {:>12} bytes  {:>3} consumers  on {leader}",
                it.stream, it.last_sequence, it.messages, it.bytes, it.consumers
            )?;
            for replica in &it.replicas {
                let how = match (replica.offline, replica.current) {
                    (true, _) => "offline".to_owned(),
                    (false, true) => "current".to_owned(),
                    (false, false) => format!("{} operations behind", replica.lag),
                };
                writeln!(f, "{:<24} copy on {}: {how}", "", replica.server)?;
            }
        }
        if self.problems.is_empty() {
            return write!(f, "\nNothing needs anybody.");
        }
        write!(f, "\nSomebody has to look at this:")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use a4co_core::replicated::HostId;

    use super::*;

    fn lease(holder: Option<u8>, revision: u64, written_ms: i64) -> LeaseState {
        LeaseState {
            journal: ParticipantId::Order.into(),
            holder: holder.map(|it| HostId::from_bytes([it; 16])),
            revision,
            written_ms,
        }
    }

    #[test]
    fn a_lease_that_nobody_renews_is_nobodys() {
        let silent = 15_000;
        let status = |lease| {
            let silent = Duration::from_secs(15);
            participant_status(ParticipantId::Order.into(), lease, silent, None)
        };
        let of = |lease, now| status(Some((lease, now)));
        let fresh = of(lease(Some(1), 4, 1_000), Some(1_000 + silent));
        assert_eq!(fresh.leader, Some("01".repeat(16)));
        let stale = of(lease(Some(1), 4, 1_000), Some(1_001 + silent));
        assert_eq!(stale.leader, None);
        assert_eq!(of(lease(None, 5, 1_000), Some(1_200)).leader, None);
        // Two clocks, a little apart; and a key that was never written.
        assert_eq!(
            of(lease(Some(1), 4, 1_000), Some(900)).lease_age_ms,
            Some(0)
        );
        assert_eq!(of(lease(None, 0, 0), Some(900)).lease_age_ms, None);
        assert_eq!(status(None).leader, None);
    }
}
