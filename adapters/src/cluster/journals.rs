//! The journals' streams and leases on NATS, as the loop's port.
//!
//! Every request is a task of its own, whose answer goes back through the inlet. What the
//! servers do not answer in time is `Unknown`: the host settles it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use a4co_core::replicated::StreamSequence;
use a4co_core::replicated::{AppendAnswer, AppendId, LeaseAnswer, ReadAnswer, ReplicaInput};
use a4co_core::shards::{JournalId, ShardCount};
use a4co_driver::replicated::Standings;
use a4co_driver::replicated::ports::{Inlet, Journals};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::metrics::AppendMetrics;
use crate::nats::{
    Connected, LEASES, is_by_leader, is_missing, journal_stream, journal_subject, lease_subject,
    ordered,
};

/// Names the append in a header, for whoever looks at the stream with other tools.
const APPEND_ID: &str = "A4CO-Append-Id";

/// Wait before a tail that broke is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// How often the streams' bounds are looked at unasked: a stream that lost its end, or its
/// beginning, while nothing is appended to it would not be noticed otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Shared {
    nats: Connected,
    inlet: Inlet,
    /// By [`JournalId::index`].
    streams: Vec<Stream<()>>,
    count: ShardCount,
    leases: Stream<()>,
    metrics: AppendMetrics,
    /// Bytes of the journals that have come in.
    delivered: Arc<AtomicU64>,
}

/// The port. Dropping it ends its tails.
#[derive(Debug)]
pub(super) struct NatsJournals {
    shared: Arc<Shared>,
    runtime: Handle,
    /// By [`JournalId::index`].
    tails: Vec<Option<AbortHandle>>,
    leases: AbortHandle,
}

impl NatsJournals {
    /// A port over streams that were found as they must be.
    pub(super) async fn new(
        nats: Connected,
        count: ShardCount,
        inlet: Inlet,
        metrics: AppendMetrics,
        delivered: Arc<AtomicU64>,
    ) -> Result<Self, crate::nats::NatsError> {
        let stream = async |name: &str| {
            let stream = nats.jetstream.get_stream_no_info(name).await;
            stream.map_err(|error| crate::nats::NatsError::jetstream(name, error))
        };
        let mut streams = Vec::new();
        for journal in JournalId::all(count) {
            streams.push(stream(&journal_stream(journal)).await?);
        }
        let leases = stream(LEASES).await?;
        let shared = Arc::new(Shared {
            nats,
            inlet,
            streams,
            count,
            leases,
            metrics,
            delivered,
        });
        let runtime = Handle::current();
        let watching = runtime.spawn(watch_leases(shared.clone()));
        Ok(Self {
            shared,
            runtime,
            tails: JournalId::all(count).map(|_| None).collect(),
            leases: watching.abort_handle(),
        })
    }

    /// Looks at the streams' bounds now and then, and whenever the connection is new. For
    /// as long as the port lives. Says how many looks in a row had no answer.
    pub(super) fn look_out(&self, standings: Standings) -> Arc<AtomicU32> {
        let unanswered = Arc::new(AtomicU32::new(0));
        let counted = unanswered.clone();
        let shared = Arc::downgrade(&self.shared);
        let mut connects = self.shared.nats.connects.clone();
        self.runtime.spawn(async move {
            loop {
                let _ = tokio::time::timeout(LOOK_EVERY, connects.changed()).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let seen = standings.shown();
                let mut all_answer = true;
                for journal in JournalId::all(shared.count) {
                    all_answer &= shared.look(journal, seen[journal.index()]).await;
                }
                match all_answer {
                    true => counted.store(0, Ordering::Relaxed),
                    false => drop(counted.fetch_add(1, Ordering::Relaxed)),
                }
            }
        });
        unanswered
    }
}

impl Drop for NatsJournals {
    fn drop(&mut self) {
        self.leases.abort();
        for tail in self.tails.iter().flatten() {
            tail.abort();
        }
    }
}

impl Journals for NatsJournals {
    fn follow(&mut self, journal: JournalId, from: StreamSequence) {
        let tail = self.runtime.spawn(tail(self.shared.clone(), journal, from));
        let before = self.tails[journal.index()].replace(tail.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    fn append(
        &mut self,
        journal: JournalId,
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Vec<u8>,
    ) {
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            let answer = shared
                .append(journal, append_id, expected_last, payload)
                .await;
            shared.inlet.answer(ReplicaInput::Appended {
                journal,
                append_id,
                answer,
            });
        });
    }

    fn read_entry(&mut self, journal: JournalId, at: StreamSequence) {
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            // From the stream's leader, not from a replica that may be behind.
            let found = shared.streams[journal.index()].get_raw_message(at.get());
            let answer = match found.await {
                Ok(message) => ReadAnswer::Found(message.payload.to_vec()),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    ReadAnswer::Missing
                }
                Err(error) => {
                    tracing::warn!(%journal, %at, %error, "a message of the journal could not be read; trying again");
                    ReadAnswer::Unknown
                }
            };
            shared.inlet.answer(ReplicaInput::EntryAt {
                journal,
                stream_sequence: at,
                answer,
            });
        });
    }

    fn read_stream(&mut self, journal: JournalId, seen: StreamSequence) {
        let shared = self.shared.clone();
        self.runtime
            .spawn(async move { shared.look(journal, seen).await });
    }

    fn read_lease(&mut self, journal: JournalId) {
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            let subject = lease_subject(journal);
            match shared
                .leases
                .get_last_raw_message_by_subject(&subject)
                .await
            {
                Ok(message) => shared.saw_lease(
                    journal,
                    message.headers.get(KV_OPERATION).is_some(),
                    &message.payload,
                    message.sequence,
                ),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    shared.saw_lease(journal, true, &[], 0);
                }
                // Not answered: it is asked for again.
                Err(error) => {
                    tracing::warn!(%journal, %error, "a lease could not be read; trying again")
                }
            }
        });
    }

    fn write_lease(&mut self, journal: JournalId, expected_revision: u64, value: Vec<u8>) {
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            let message = PublishMessage::build()
                .payload(value.into())
                .expected_stream(LEASES)
                .expected_last_subject_sequence(expected_revision);
            let written = shared.publish(lease_subject(journal), message).await;
            let answer = match written {
                Ok(revision) => LeaseAnswer::Ok { revision },
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    LeaseAnswer::Conflict
                }
                Err(error) => {
                    tracing::warn!(%journal, %error, "a lease could not be written");
                    LeaseAnswer::Unknown
                }
            };
            shared
                .inlet
                .answer(ReplicaInput::LeaseWritten { journal, answer });
        });
    }
}

/// The header of a key's delete marker.
const KV_OPERATION: &str = "KV-Operation";

impl Shared {
    async fn append(
        &self,
        journal: JournalId,
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Vec<u8>,
    ) -> AppendAnswer {
        let bytes = payload.len() as u64;
        let stream = journal_stream(journal);
        let message = PublishMessage::build()
            .payload(payload.into())
            .header(APPEND_ID, append_id.to_string())
            .expected_stream(&stream)
            .expected_last_sequence(expected_last.get());
        let began = Instant::now();
        match self.publish(journal_subject(journal), message).await {
            Ok(sequence) => {
                self.metrics.append_s.observe(began.elapsed().as_secs_f64());
                self.metrics.appends.inc();
                self.metrics.bytes.inc_by(bytes);
                let stream_sequence = StreamSequence::new(sequence);
                AppendAnswer::Stored { stream_sequence }
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                AppendAnswer::WrongLast
            }
            Err(error) => {
                tracing::warn!(%journal, %append_id, %error, "an append has no definite answer; it is sent again");
                AppendAnswer::Unknown
            }
        }
    }

    /// Publishes, and waits for the sequence.
    async fn publish(&self, subject: String, message: PublishMessage) -> Result<u64, PublishError> {
        let ack = self.nats.jetstream.send_publish(subject, message).await?;
        Ok(ack.await?.sequence)
    }

    /// Says whether there was an answer.
    async fn look(&self, journal: JournalId, seen: StreamSequence) -> bool {
        let name = journal_stream(journal);
        let (first, last) = match self.nats.jetstream.get_stream(&name).await {
            Ok(stream) if !is_by_leader(stream.cached_info()) => {
                tracing::warn!(%journal, "no server leads the journal's stream; looking again");
                return false;
            }
            Ok(stream) => {
                let state = &stream.cached_info().state;
                let first = if state.messages == 0 {
                    state.last_sequence + 1
                } else {
                    state.first_sequence
                };
                (first, state.last_sequence)
            }
            // Gone is as short as it gets.
            Err(error) if is_missing(&error.kind()) => (1, 0),
            // Not answered: it is asked for again.
            Err(error) => {
                tracing::warn!(%journal, %error, "a journal's stream could not be looked at; trying again");
                return false;
            }
        };
        self.inlet.answer(ReplicaInput::StreamState {
            journal,
            seen,
            first: StreamSequence::new(first),
            last: StreamSequence::new(last),
        });
        true
    }

    fn saw_lease(&self, journal: JournalId, is_gone: bool, value: &[u8], revision: u64) {
        self.inlet.answer(ReplicaInput::LeaseSeen {
            journal,
            value: (!is_gone).then(|| value.to_vec()),
            revision,
        });
    }
}

/// Delivers a journal's messages from one on, for as long as somebody takes them.
async fn tail(shared: Arc<Shared>, journal: JournalId, from: StreamSequence) {
    let (stream, name) = (&shared.streams[journal.index()], journal_stream(journal));
    let mut connects = shared.nats.connects.clone();
    let mut next = from;
    loop {
        // A consumer from before a server was lost takes 15 s to notice; a new one is there
        // at once.
        connects.mark_unchanged();
        let config = ordered::from_sequence(next.get());
        let Ok(mut messages) = ordered::read(stream, &name, config).await else {
            tokio::time::sleep(REOPEN_AFTER).await;
            continue;
        };
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = connects.changed() => break,
            };
            let Some(Ok(message)) = message else {
                break;
            };
            let Ok(info) = message.info() else { break };
            let at = StreamSequence::new(info.stream_sequence);
            let bytes = message.payload.to_vec();
            shared
                .delivered
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            shared.metrics.consumed.inc();
            if !shared.inlet.deliver(journal, at, bytes).await {
                return;
            }
            next = at.next();
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

/// Shows the leases as they change.
async fn watch_leases(shared: Arc<Shared>) {
    let mut connects = shared.nats.connects.clone();
    loop {
        connects.mark_unchanged();
        let config = pull::OrderedConfig {
            filter_subject: "$KV.a4co_leases.leader.*".to_owned(),
            ..ordered::from(DeliverPolicy::LastPerSubject)
        };
        if let Ok(mut messages) = ordered::read(&shared.leases, LEASES, config).await {
            loop {
                let message = tokio::select! {
                    message = messages.next() => message,
                    _ = connects.changed() => break,
                };
                let Some(Ok(message)) = message else { break };
                let Ok(info) = message.info() else { break };
                let of = |it: &JournalId| lease_subject(*it) == message.subject.as_str();
                let Some(journal) = JournalId::all(shared.count).find(of) else {
                    continue;
                };
                let is_gone = message
                    .headers
                    .as_ref()
                    .is_some_and(|headers| headers.get(KV_OPERATION).is_some());
                shared.saw_lease(journal, is_gone, &message.payload, info.stream_sequence);
            }
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}
