//! One process of a cluster: the replicated host, its streams on NATS, and its own view.
//!
//! ```text
//!  HTTP ──► Router ──► this process's loop, where it leads ──► journals on NATS
//!              └─────► the leader's process, over NATS              │ tails
//!  HTTP ◄── View ◄── rows ◄── loop ◄───────────────────────────────┘
//! ```
//! Every process follows every journal, so any of them answers reads; which it may lead is
//! its role.

mod commands;
mod journals;
mod keeper;
mod members;
mod observe;
mod relay;
mod share;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use a4co_core::ids::ParticipantId;
use a4co_core::limits::MESSAGE_BYTES_MAX;
use a4co_core::replicated::{HostId, ReplicatedConfig, ReplicatedHost, StreamSequence};
use a4co_core::shards::{JournalId, ShardCount};
use a4co_core::time::Timestamp;
use a4co_driver::Watches;
use a4co_driver::ports::{AnswerSink, Gateway};
use a4co_driver::replicated::ports::{Snapshots as _, inlet};
use a4co_driver::replicated::{Leader, Positions, ReplicaDriver, ReplicaParts, Standings};
use a4co_store::{StoreError, View};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::commands::Router;
use self::journals::NatsJournals;
use self::keeper::{Keeper, Kept, SeenStreams, read_snapshot, replica_dir};
use self::observe::Observers;
use crate::config::{Config, Role};
use crate::embedded::{DiskState, MonotonicClock, ViewRows, journal_dir, store_dir};
use crate::events::Traces;
use crate::http::{Commands, LiveTap, Members, Positioned, Readiness};
use crate::metrics::EngineMetrics;
use crate::nats::{self, Connected, NatsConfig, NatsError, RelayMetrics, journal_stream};
use crate::trace::{SagaSpans, Traced, Tracer};

pub use self::members::{
    MEMBERS_SUBJECT, Member, MemberJournal, STEP_DOWN_SUBJECT, StepDownAnswer, members,
};

/// How often it is looked whether the journals can be appended to, and how far they were
/// seen is written down.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks at the journals' streams in a row that have no answer until nothing can be
/// appended: a stream that loses its leader has another one before.
const UNANSWERED_MAX: u32 = 3;

/// Why a process does not join the cluster. Nothing was changed on the servers but that
/// missing streams were made.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The servers cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The data folder is an embedded engine's.
    #[error(
        "the data folder {} holds an embedded journal: name another one with data_dir, or move its orders to the cluster with `a4co migrate`",
        .0.display()
    )]
    Embedded(PathBuf),
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used: {source}", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What was said.
        source: io::Error,
    },
    /// A stream was made anew since this folder has seen it.
    #[error(
        "the stream {stream} was made at {found}, but {} has seen the one made at {seen}: these are other journals, or lost ones; if the new ones are right, name an empty data_dir",
        folder.display()
    )]
    OtherStream {
        /// Which stream.
        stream: String,
        /// When it was made.
        found: String,
        /// When the one was made that the folder knows.
        seen: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The store's folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The servers take no message as large as an entry may be.
    #[error(
        "the NATS servers take messages of {max} bytes at most, and a journal needs {MESSAGE_BYTES_MAX}: raise max_payload"
    )]
    MaxPayload {
        /// What they take.
        max: usize,
    },
    /// Journals of several shards, and public events.
    #[error(
        "the journals here have {0} shards, and public events are published of journals without shards only: set public_events = false"
    )]
    PublicEvents(u16),
    /// No thread.
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
}

/// What a process joins with.
pub struct Joining {
    /// The data folder.
    pub data_dir: PathBuf,
    /// How the servers are reached.
    pub nats: NatsConfig,
    /// What it may lead.
    pub role: Role,
    /// Where its HTTP API listens.
    pub listen: SocketAddr,
    /// Everything else.
    pub config: Config,
}

/// Who is told of what the process does.
pub struct Told {
    /// Metrics.
    pub metrics: EngineMetrics,
    /// The live feed.
    pub live: LiveTap,
    /// Readiness; [`Readiness::set_ready`] is called when it has caught up.
    pub readiness: Arc<Readiness>,
    /// Whether the disk takes what the view writes.
    pub disk: Arc<DiskState>,
    /// What the relay of public events counts; `None`: they are not published.
    pub relay: Option<RelayMetrics>,
    /// Takes the spans of orders.
    pub tracer: Tracer,
}

/// A process that has joined.
pub struct Cluster {
    /// Takes commands.
    pub commands: Arc<dyn Commands>,
    /// Says how far reads are.
    pub positions: Arc<dyn Positioned>,
    /// Knows the other processes.
    pub members: Arc<dyn Members>,
    /// Waits for ends.
    pub watches: Watches,
    /// Takes what the gateway reports by itself.
    pub answers: Arc<dyn AnswerSink>,
    /// Answers reads.
    pub view: View,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    tasks: Vec<AbortHandle>,
    folder: PathBuf,
    made: Vec<String>,
    standings: Standings,
}

impl Cluster {
    /// Joins: looks at the streams, and begins to follow them.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(
        joining: Joining,
        nats: Connected,
        gateway: Arc<dyn Gateway>,
        told: Told,
    ) -> Result<Self, JoinError> {
        let Joining {
            data_dir,
            nats: access,
            role,
            listen,
            config,
        } = joining;
        if journal_dir(&data_dir).exists() {
            return Err(JoinError::Embedded(data_dir));
        }
        let folder = replica_dir(&data_dir);
        let unusable = |source| JoinError::Folder {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(unusable)?;
        let known = SeenStreams::read(&folder).map_err(unusable)?;
        let shards = async || nats::shards_or_found(&nats, config.nats.shards).await;
        let shards = nats::until_answered(shards).await?;
        if shards != ShardCount::ONE && told.relay.is_some() {
            return Err(JoinError::PublicEvents(shards.get()));
        }
        let (made, seen) = look_at_streams(&nats, &access, shards, &folder, known).await?;
        let (view, kept) = open_view(&data_dir, &folder, &config)?;
        let kept = match kept {
            Some(kept) => kept,
            None => start_from_the_servers(&nats, &folder, &made, &view).await,
        };
        let clock = MonotonicClock::not_before(Timestamp::UNIX_EPOCH);
        let host_id = HostId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let host = ReplicatedHost::new(
            &ReplicatedConfig {
                host: host_id,
                candidate_for: ParticipantId::ALL.map(|it| role.may_lead(it)),
                lease_ttl_ms: config.nats.lease,
                shards,
            },
            &config.settings,
            kept.snapshot,
            &seen,
        );
        let delivered = Arc::new(AtomicU64::new(0));
        let (inlet, outlet) = inlet();
        let appends = told.metrics.appends();
        let journals =
            NatsJournals::new(nats.clone(), shards, inlet, appends, delivered.clone()).await?;
        let every = config.storage.snapshot_every_bytes;
        let told_standings = Arc::new(OnceLock::new());
        let share = sharing(
            nats.clone(),
            folder.join("shared.new"),
            made.clone(),
            view.clone(),
            delivered.clone(),
            told_standings.clone(),
        );
        let snapshots = Keeper::start(folder.clone(), view.clone(), every, delivered, share)
            .map_err(JoinError::Thread)?;
        let traces = view.clone();
        let trace_of = move |order_id| traces.order(order_id).ok()??.order.trace;
        let gateway = Traced::of(told.metrics.metered(gateway), told.tracer.clone(), trace_of);
        let observers = Observers {
            metrics: told.metrics,
            live: told.live,
            spans: SagaSpans::after(
                told.tracer.clone(),
                host.order().engine().durable_sequence(),
            ),
            leads_order: BTreeSet::new(),
            readiness: told.readiness.clone(),
            view: view.clone(),
            clock,
            newest: Timestamp::UNIX_EPOCH,
            is_caught_up: false,
        };
        let rows = ViewRows::new(view.clone(), told.disk, Handle::current());
        let (driver, reach) = ReplicaDriver::new(ReplicaParts {
            host,
            journals,
            outlet,
            snapshots,
            rows,
            published: kept.published.max(view.published()),
            clock,
            observer: observers,
            gateway,
            queue: config.http.request_queue_len,
        });
        // Only this once.
        let _ = told_standings.set(reach.standings.clone());
        let unanswered = driver.journals().look_out(reach.standings.clone());
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || run(driver, end))
            .map_err(JoinError::Thread)?;
        let router = Arc::new(Router {
            local: reach.handle.clone(),
            standings: reach.standings.clone(),
            client: nats.client.clone(),
            known: Arc::default(),
        });
        let serving = commands::serve(nats.client.clone(), host_id, reach.handle, shards);
        let member = members::Serving {
            host: host_id,
            role,
            standings: reach.standings.clone(),
            step_down: reach.step_down,
            listen,
        };
        let watching = watch(
            folder.clone(),
            made.clone(),
            reach.standings.clone(),
            nats.clone(),
            role,
            told.readiness,
            unanswered,
        );
        let mut tasks = vec![
            tokio::spawn(serving).abort_handle(),
            tokio::spawn(member.run(nats.client.clone())).abort_handle(),
            tokio::spawn(watching).abort_handle(),
        ];
        if let Some(metrics) = told.relay {
            // A line of its own: a server takes what comes over one line in turn, and an
            // append would wait behind the events of a relay that has much to catch up.
            let line = nats::connect(&access, "a4co events").await?;
            for journal in JournalId::all(shards) {
                let (standings, metrics) = (reach.standings.clone(), metrics.clone());
                let known = view.clone();
                let trace_of = move |order_id| Some(known.order(order_id).ok()??.order.trace);
                let traces = Traces::new(told.tracer.clone(), trace_of);
                let relaying = relay::run(line.clone(), journal, standings, metrics, traces);
                tasks.push(tokio::spawn(relaying).abort_handle());
            }
        }
        tracing::info!(host = %host_id, server = nats.version, "joined the cluster");
        Ok(Self {
            commands: router.clone(),
            positions: router,
            members: Arc::new(members::Asking {
                host: host_id,
                client: nats.client.clone(),
            }),
            watches: reach.watches,
            answers: reach.answers,
            view,
            stop: reach.stop,
            thread,
            ended,
            tasks,
            folder,
            made,
            standings: reach.standings,
        })
    }

    /// Resolves when the loop has ended without being asked to: a bug.
    pub async fn failed(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Hands over what is led here, keeps a snapshot, and closes the view. Blocks.
    ///
    /// # Errors
    /// The view's; nothing acknowledged is lost.
    pub fn shut_down(self) -> Result<(), StoreError> {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the engine's thread panicked; please report it");
        }
        for task in &self.tasks {
            task.abort();
        }
        save_seen(&self.folder, &self.made, self.standings.shown());
        self.view.close()
    }
}

fn run(
    driver: ReplicaDriver<NatsJournals, Keeper, ViewRows, MonotonicClock, Observers>,
    ended: oneshot::Sender<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    #[expect(
        clippy::expect_used,
        reason = "a current-thread runtime with timers needs nothing"
    )]
    let stopped = runtime
        .expect("a runtime for the engine")
        .block_on(driver.run());
    let mut snapshots = stopped.snapshots;
    if let Some(snapshot) = stopped.host.snapshot() {
        snapshots.keep(stopped.published, &snapshot);
    }
    // Waits for the snapshot.
    drop(snapshots);
    let _ = ended.send(());
}

/// Makes what is missing where this folder has seen nothing yet, and compares all that is
/// there with what it must be and with what was seen.
async fn look_at_streams(
    nats: &Connected,
    access: &NatsConfig,
    shards: ShardCount,
    folder: &Path,
    known: Option<SeenStreams>,
) -> Result<(Vec<String>, Positions), JoinError> {
    let max = nats.client.server_info().max_payload;
    if max < MESSAGE_BYTES_MAX {
        return Err(JoinError::MaxPayload { max });
    }
    let wanted = nats::wanted(access.replicas, shards);
    let set_up = async || nats::set_up(nats, &wanted, known.is_none()).await;
    for it in nats::until_answered(set_up).await? {
        if it.created {
            tracing::info!(stream = it.stream, purpose = it.purpose, "made a stream");
        }
    }
    let mut made = Vec::new();
    for journal in JournalId::all(shards) {
        let stream = journal_stream(journal);
        let look = async || {
            let found = nats.admin.get_stream(&stream).await;
            found.map_err(|error| NatsError::jetstream(&stream, error))
        };
        let found = nats::until_answered(look).await?;
        let found = found.cached_info().created.to_string();
        if let Some(known) = &known
            && known.made.get(journal.index()) != Some(&found)
        {
            return Err(JoinError::OtherStream {
                stream,
                found,
                seen: known.made.get(journal.index()).cloned().unwrap_or_default(),
                folder: folder.to_owned(),
            });
        }
        made.push(found);
    }
    let seen = known.map_or_else(
        || vec![StreamSequence::NONE; made.len()],
        |known| known.seen,
    );
    save_seen(folder, &made, seen.clone());
    Ok((made, seen))
}

/// The view, and a snapshot that fits it: none where the view lacks what it rests on.
fn open_view(
    data_dir: &Path,
    folder: &Path,
    config: &Config,
) -> Result<(View, Option<Kept>), JoinError> {
    let options = a4co_store::Options {
        cache_bytes: config.storage.store_cache_bytes,
        free_floor_bytes: config.storage.min_free_disk_bytes / 2,
        ..a4co_store::Options::default()
    };
    let opened = View::open(&store_dir(data_dir), options)?;
    let kept = read_snapshot(folder).filter(|kept| kept.published <= opened.view.applied());
    if let (None, Some(reason)) = (&kept, &opened.why_rebuilt) {
        tracing::info!(%reason, "the store is filled anew");
    }
    Ok((opened.view, kept))
}

/// Fills an empty view from what another process has left on the servers; where that cannot
/// be had, the journals are read from their beginning.
async fn start_from_the_servers(
    nats: &Connected,
    folder: &Path,
    made: &[String],
    view: &View,
) -> Kept {
    let path = folder.join("shared");
    match share::download(nats, &path).await {
        Ok(true) => {}
        Ok(false) => return Kept::default(),
        Err(error) => {
            tracing::warn!(%error, "the snapshot on the servers cannot be had; the journals are read from their beginning");
            return Kept::default();
        }
    }
    let (from, made, into) = (path.clone(), made.to_vec(), view.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut published = into.published();
        let snapshot = share::read(&from, &made, |rows| {
            published += 1;
            let _pressure = into.publish(published, rows);
        });
        (published, snapshot)
    });
    let read = reading.await;
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, "the snapshot that was fetched could not be removed");
    }
    match read {
        Ok((published, Ok(snapshot))) => {
            tracing::info!("started from the snapshot on the servers");
            Kept {
                published,
                snapshot,
            }
        }
        Ok((published, Err(error))) => {
            tracing::warn!(%error, "the snapshot on the servers is of no use; the journals are read from their beginning");
            Kept {
                published,
                ..Kept::default()
            }
        }
        Err(error) => {
            tracing::error!(%error, "reading the snapshot from the servers panicked; please report it");
            Kept::default()
        }
    }
}

/// Leaves the view and a snapshot on the servers: whoever leads the order journal does, and
/// again once the journals have grown by as much as it was large.
fn sharing(
    nats: Connected,
    path: PathBuf,
    made: Vec<String>,
    view: View,
    delivered: Arc<AtomicU64>,
    standings: Arc<OnceLock<Standings>>,
) -> impl FnMut(&[u8]) + Send + 'static {
    let runtime = Handle::current();
    let mut due_at = 0;
    move |state| {
        let leads = standings
            .get()
            .and_then(|it| Some((it, it.journals().next()?)))
            .is_some_and(|(it, order)| matches!(it.leader(order), Leader::Here(_)));
        let now = delivered.load(Ordering::Relaxed);
        if !leads || now < due_at {
            return;
        }
        let bytes = match share::write(&path, &made, state, &view) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "the snapshot for new machines could not be written");
                return;
            }
        };
        due_at = now + bytes;
        match runtime.block_on(share::upload(&nats, &path)) {
            Ok(()) => tracing::info!(bytes, "left a snapshot for new machines on the servers"),
            Err(error) => {
                tracing::warn!(%error, "the snapshot for new machines could not be left on the servers");
            }
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, "the snapshot that was left on the servers could not be removed here");
        }
    }
}

fn save_seen(folder: &Path, made: &[String], seen: Positions) {
    let streams = SeenStreams {
        made: made.to_vec(),
        seen,
    };
    if let Err(error) = streams.write(folder) {
        tracing::warn!(%error, "how far the journals were seen could not be written down");
    }
}

/// Tells whether what this process is for can be done, and writes down how far the journals were seen.
async fn watch(
    folder: PathBuf,
    made: Vec<String>,
    standings: Standings,
    nats: Connected,
    role: Role,
    readiness: Arc<Readiness>,
    unanswered: Arc<AtomicU32>,
) {
    let mut saved = Positions::new();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    for turn in 0_u64.. {
        tick.tick().await;
        let is_connected =
            nats.client.connection_state() == async_nats::connection::State::Connected;
        let is_led = standings.journals().all(|journal| {
            let standing = standings.of(journal);
            let needs_no_leader = !role.may_lead(journal.participant);
            standing.halted.is_none() && (needs_no_leader || standing.leader != Leader::Nobody)
        });
        // A stream without a quorum keeps its connections, and who led it leads on.
        let is_answering = unanswered.load(Ordering::Relaxed) < UNANSWERED_MAX;
        readiness.set_journal_writable(is_connected && is_led && is_answering);
        let shown = standings.shown();
        if turn % 4 == 0 && shown != saved {
            saved.clone_from(&shown);
            let (folder, made) = (folder.clone(), made.clone());
            let saving = tokio::task::spawn_blocking(move || save_seen(&folder, &made, shown));
            let _ = saving.await;
        }
    }
}
