//! The embedded engine: recovery from log and snapshot, and the thread that runs it.
//!
//! ```text
//! In the data folder
//!  journal/             segments, snapshots and the lock: the truth
//!  store/               sled: rebuilt from the journal whenever it is missing or doubtful
//!  sandbox-gateway.log  the sandbox gateway's own books
//! ```

mod clock;
mod log;
mod recover;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use a4co_core::ids::ParticipantId;
use a4co_core::row::Row;
use a4co_core::settings::Settings;
use a4co_driver::driver::Reach;
use a4co_driver::ports::{AnswerSink, Gateway, Observer};
use a4co_driver::{Driver, DriverError, EngineHandle, Watches};
use a4co_store::View;
use tokio::sync::oneshot;

use crate::config::StorageConfig;
use crate::http::LiveTap;
use crate::metrics::EngineMetrics;
use crate::nats::RecordTap;
use crate::trace::{SagaSpans, Traced, Tracer};

pub use self::clock::MonotonicClock;
pub use self::recover::{Recovered, StartError};

use self::log::JournalLog;
pub(crate) use self::rows::ViewRows;

/// The journal's folder within the data folder.
#[must_use]
pub fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// The store's folder within the data folder.
#[must_use]
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// What an embedded engine is started with.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Of the core.
    pub settings: Settings,
    /// Journal, store and disk.
    pub storage: StorageConfig,
    /// Commands that may wait for the engine.
    pub queue: usize,
    /// Takes each record once it is durable, where somebody wants to know.
    pub tap: Option<RecordTap>,
    /// Takes the spans of orders.
    pub tracer: Tracer,
}

/// Whether the disk takes what the engine writes: shared by the log, the store and those
/// who report on it.
#[derive(Debug, Default)]
pub struct DiskState {
    is_low: AtomicBool,
    store_is_behind: AtomicBool,
}

impl DiskState {
    /// Free space is below the configured minimum.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Acquire)
    }

    /// The store takes no more rows at the moment, and memory has its fill of them.
    #[must_use]
    pub fn store_is_behind(&self) -> bool {
        self.store_is_behind.load(Ordering::Acquire)
    }

    fn has_room(&self) -> bool {
        !self.is_low() && !self.store_is_behind()
    }
}

/// An engine that has recovered and runs on a thread of its own.
pub struct Embedded {
    /// Sends it commands.
    pub handle: EngineHandle,
    /// Waits for ends.
    pub watches: Watches,
    /// Takes what the gateway reports by itself.
    pub answers: Arc<dyn AnswerSink>,
    /// Answers reads.
    pub view: View,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    failed: oneshot::Receiver<DriverError>,
}

/// Why a shutdown was not clean. Nothing acknowledged is lost; the next start recovers.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// The store had not taken everything; the next start brings it up to date.
    #[error(
        "the store was not closed cleanly, and will be brought up to date at the next start: {0}"
    )]
    Store(#[from] a4co_store::StoreError),
    /// The engine did not end in order.
    #[error(transparent)]
    Engine(DriverError),
    /// The engine's thread panicked: a bug. Please report it with the log's last lines.
    #[error("the engine's thread panicked")]
    Panicked,
}

/// An engine that has recovered and does not run yet: the data folder is its own.
pub struct Prepared {
    config: EmbeddedConfig,
    engine: recover::Engine,
    recovered: Recovered,
}

impl Prepared {
    /// Starts the engine's thread.
    ///
    /// # Errors
    /// [`StartError::Thread`].
    pub fn start(
        self,
        gateway: Arc<dyn Gateway>,
        mut metrics: EngineMetrics,
        live: LiveTap,
        disk: Arc<DiskState>,
        runtime: tokio::runtime::Handle,
    ) -> Result<(Embedded, Recovered), StartError> {
        let Self {
            config,
            engine,
            recovered,
        } = self;
        let view = engine.view.clone();
        let clock = MonotonicClock::not_before(recovered.last_event_at);
        let states = (
            engine.host.order().state(),
            engine.host.inventory().state(),
            engine.host.payment().state(),
        );
        metrics.recovered(&[states], &view, clock, recovered.last_event_at);
        for participant in ParticipantId::ALL {
            metrics.leads(participant.into(), true);
        }
        let traces = view.clone();
        let trace_of = move |order_id| traces.order(order_id).ok()??.order.trace;
        let gateway = Traced::of(metrics.metered(gateway), config.tracer.clone(), trace_of);
        let spans = SagaSpans::after(
            config.tracer.clone(),
            engine.host.order().durable_sequence(),
        );
        let append_s = metrics.appends().append_s;
        let log = JournalLog::start(
            engine.journal,
            view.clone(),
            &config,
            disk.clone(),
            append_s,
        );
        let rows = ViewRows::new(view.clone(), disk, runtime);
        let (driver, reach) = Driver::new(
            engine.host,
            log,
            rows,
            clock,
            Observers {
                metrics,
                live,
                spans,
            },
            gateway,
            config.queue,
        );
        let Reach {
            handle,
            watches,
            answers,
            stop,
        } = reach;
        let (fail, failed) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || run(driver, fail))
            .map_err(StartError::Thread)?;
        Ok((
            Embedded {
                handle,
                watches,
                answers,
                view,
                stop,
                thread,
                failed,
            },
            recovered,
        ))
    }
}

impl Embedded {
    /// Takes the data folder and recovers. Blocks until that has finished.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed that a later start could not go on from.
    pub fn prepare(config: EmbeddedConfig) -> Result<Prepared, StartError> {
        let (engine, recovered) = recover::recover(&config)?;
        Ok(Prepared {
            config,
            engine,
            recovered,
        })
    }

    /// Resolves when the engine has failed for good; the process must then end.
    pub async fn failed(&mut self) -> Option<DriverError> {
        (&mut self.failed).await.ok()
    }

    /// Finishes what is under way, takes a last snapshot, and closes log and store.
    ///
    /// # Errors
    /// [`ShutdownError`]; nothing acknowledged is lost.
    pub fn shut_down(mut self) -> Result<(), ShutdownError> {
        // An engine that has failed has dropped its end, and the join says how.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| ShutdownError::Panicked)?;
        self.view.close()?;
        match self.failed.try_recv() {
            Ok(error) => Err(ShutdownError::Engine(error)),
            Err(_) => Ok(()),
        }
    }
}

/// Those who are told of every commit.
struct Observers {
    metrics: EngineMetrics,
    live: LiveTap,
    spans: SagaSpans,
}

impl Observer for Observers {
    fn committed(&mut self, sequence: u64, bytes: usize, rows: &[Row]) {
        self.metrics.committed(sequence, bytes, rows);
        self.live.committed(rows);
        self.spans.committed(rows);
    }

    fn room(&mut self, has_room: bool) {
        self.metrics.room(has_room);
    }
}

fn run(
    driver: Driver<JournalLog, ViewRows, MonotonicClock, Observers>,
    fail: oneshot::Sender<DriverError>,
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
    match stopped {
        Ok(stopped) => {
            stopped.log.finish(&stopped.host);
        }
        Err(error) => {
            // Whoever watches ends the process.
            let _ = fail.send(error);
        }
    }
}
