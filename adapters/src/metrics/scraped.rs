//! What is looked at only when somebody asks for `/metrics`: ages, shares, the store's lag
//! and the process itself.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use a4co_core::order::SagaState;
use a4co_driver::ports::Clock as _;
use a4co_store::{Health, View};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntGauge, Opts, Registry};

use super::window::Window;
use crate::embedded::MonotonicClock;
use crate::http::Readiness;

/// What the engine's thread leaves for whoever asks.
pub(super) struct Live {
    pub(super) started: Instant,
    /// When the oldest saga of each state was created, in milliseconds; 0 where there is none.
    pub(super) oldest_ms: [AtomicU64; SagaState::ALL.len()],
    pub(super) sagas: Window,
    pub(super) compensations: Window,
    pub(super) engine: OnceLock<(MonotonicClock, View)>,
    pub(super) readiness: Arc<Readiness>,
}

impl Live {
    pub(super) fn new(readiness: Arc<Readiness>) -> Self {
        Self {
            started: Instant::now(),
            oldest_ms: std::array::from_fn(|_| AtomicU64::new(0)),
            sagas: Window::default(),
            compensations: Window::default(),
            engine: OnceLock::new(),
            readiness,
        }
    }

    pub(super) fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// The gauges that are set when they are asked for.
pub(super) struct Scraped {
    live: Arc<Live>,
    oldest_s: Vec<Gauge>,
    saga_share: Gauge,
    compensation_share: Gauge,
    lag: IntGauge,
    pending_rows: IntGauge,
    store_up: IntGauge,
    ready: IntGauge,
    writable: IntGauge,
    uptime_s: Gauge,
    memory_bytes: IntGauge,
    open_fds: IntGauge,
    all: Vec<Box<dyn Collector>>,
}

impl Scraped {
    pub(super) fn register(registry: &Registry, live: Arc<Live>) -> Result<(), prometheus::Error> {
        let oldest_s = GaugeVec::new(
            Opts::new(
                "saga_oldest_active_age_seconds",
                "Age of the oldest saga under way, by its state; 0 where there is none.",
            ),
            &["status"],
        )?;
        let build = GaugeVec::new(
            Opts::new("a4co_build_info", "Always 1; the version is in the label."),
            &["version"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let mut all: Vec<Box<dyn Collector>> = vec![Box::new(oldest_s.clone()), Box::new(build)];
        let mut whole = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            all.push(Box::new(gauge.clone()));
            Ok(gauge)
        };
        let lag = whole(
            "store_lag_records",
            "Records that are durable and not yet in the store on disk.",
        )?;
        let pending_rows = whole(
            "store_pending_rows",
            "Rows in memory on their way to the store on disk.",
        )?;
        let store_up = whole("store_up", "1 while the store on disk takes rows.")?;
        let ready = whole("engine_ready", "1 while new orders are taken.")?;
        let writable = whole("journal_writable", "1 while the journal has room.")?;
        let memory_bytes = whole(
            "process_resident_memory_bytes",
            "Memory of this process, in bytes.",
        )?;
        let open_fds = whole("process_open_fds", "Open files of this process.")?;
        let mut share = |name: &str, help: &str| -> Result<Gauge, prometheus::Error> {
            let gauge = Gauge::new(name, help)?;
            all.push(Box::new(gauge.clone()));
            Ok(gauge)
        };
        let saga_share = share(
            "saga_success_rate",
            "Share of the sagas ended in the last 5 minutes that are confirmed; 1 where none ended.",
        )?;
        let compensation_share = share(
            "saga_compensation_success_rate",
            "Of the compensations that ended or were parked in the last 5 minutes, the share that ended; 1 where there was none.",
        )?;
        let uptime_s = share("process_uptime_seconds", "Since this process started.")?;
        registry.register(Box::new(Self {
            live,
            oldest_s: SagaState::ALL
                .into_iter()
                .filter(|state| !state.is_terminal())
                .map(|state| oldest_s.with_label_values(&[state.name()]))
                .collect(),
            saga_share,
            compensation_share,
            lag,
            pending_rows,
            store_up,
            ready,
            writable,
            uptime_s,
            memory_bytes,
            open_fds,
            all,
        }))
    }

    fn look(&self) {
        let live = &self.live;
        let second = live.second();
        self.saga_share.set(live.sagas.share(second));
        self.compensation_share
            .set(live.compensations.share(second));
        self.uptime_s.set(live.started.elapsed().as_secs_f64());
        self.ready.set(i64::from(live.readiness.is_ready()));
        self.writable
            .set(i64::from(live.readiness.journal_writable()));
        if let Some((clock, view)) = live.engine.get() {
            let now_ms = clock.now().unix_ms();
            let states = SagaState::ALL.into_iter().filter(|it| !it.is_terminal());
            for (state, gauge) in states.zip(&self.oldest_s) {
                let created_ms = live.oldest_ms[state as usize].load(Ordering::Relaxed);
                let age_ms = match created_ms {
                    0 => 0,
                    created_ms => now_ms.saturating_sub(created_ms),
                };
                #[expect(clippy::cast_precision_loss, reason = "an age for a gauge")]
                gauge.set(age_ms as f64 / 1_000.0);
            }
            let store = view.metrics();
            self.lag
                .set(signed(store.published.saturating_sub(store.applied)));
            self.pending_rows
                .set(i64::try_from(store.overlay_rows).unwrap_or(i64::MAX));
            self.store_up
                .set(i64::from(store.health == Health::Serving));
        }
        if let Some(bytes) = resident_bytes() {
            self.memory_bytes.set(bytes);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_fds
                .set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        self.all.iter().flat_map(|gauge| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.look();
        self.all.iter().flat_map(|gauge| gauge.collect()).collect()
    }
}

/// From the kernel's own account, in kilobytes there; `None` where it has none.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
