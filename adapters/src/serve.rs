//! `a4co serve`: the engine and its HTTP API in one process, from start to an orderly end.

use std::process::ExitCode;
use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::inventory::InventoryCommand;
use a4co_driver::ports::Gateway;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::cluster::JoinError;
use crate::config::{Config, GatewayChoice};
use crate::demo_catalogue;
use crate::embedded::{DiskState, Embedded, EmbeddedConfig, Recovered, ShutdownError, StartError};
use crate::events::Traces;
use crate::gateway::sandbox::{Sandbox, SandboxError};
use crate::gateway::stripe::{self, Stripe, StripeError};
use crate::http::server::BindError;
use crate::http::{Commands, HttpSettings, HttpState, LiveTap, Ports, Readiness};
use crate::metrics::EngineMetrics;
use crate::nats::{RecordTap, Relay, RelayMetrics};
use crate::trace::{TraceError, Tracer};

mod clustered;
mod door;

use door::Door;

/// Why the process does not serve, or no longer does. Its text is a sentence for whoever
/// started it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Recovery refused.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The cluster was not joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The engine of a cluster's process ended by itself.
    #[error(
        "the engine ended by itself, which is a bug: please report it with the lines before this one"
    )]
    Ended,
    /// The sandbox's books cannot be used.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// There is no way to Stripe.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// No threads for the HTTP server.
    #[error("the process could not start its threads: {0}")]
    Runtime(std::io::Error),
    /// Traces cannot be sent.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A metric was registered twice: a bug.
    #[error("the metrics could not be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The engine failed for good; a restart recovers.
    #[error("the engine failed, and the process ends so that a restart can recover: {0}")]
    Failed(a4co_driver::DriverError),
    /// The end was not clean.
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
    /// Recovery's thread panicked: a bug.
    #[error("recovery panicked; please report it with the lines before this one")]
    Panicked,
}

/// Serves until SIGTERM or SIGINT, or until the engine fails.
///
/// # Errors
/// [`ServeError`]; nothing acknowledged is lost by any of them.
pub fn serve(config: &Config, with_demo: bool) -> Result<ExitCode, ServeError> {
    let runtime = Runtime::new().map_err(ServeError::Runtime)?;
    let ended = match config.nats.journals() {
        Some(nats) => runtime.block_on(clustered::run(config, nats, with_demo)),
        None => runtime.block_on(run(config, with_demo)),
    };
    // A recovery that was told to end is still at it, and only reads.
    runtime.shutdown_background();
    ended
}

async fn run(config: &Config, with_demo: bool) -> Result<ExitCode, ServeError> {
    let registry = prometheus::Registry::new();
    let tracer = Tracer::start(&config.trace)?;
    let readiness = Arc::new(Readiness::default());
    let disk = Arc::new(DiskState::default());
    let metrics = EngineMetrics::new(&registry, readiness.clone())?;
    let parked_payments = metrics.parked_payments();
    let counted = RelayMetrics::new(&registry)?;
    let mut dead_letters = None;
    let (relay, tap) = match config.nats.publish() {
        Some(nats) => {
            dead_letters = Some(counted.dead_letters.clone());
            let (relay, tap) = Relay::new(&config.data_dir, nats, counted);
            (Some(relay), Some(tap))
        }
        None => {
            // Without NATS there is no stream to ask.
            counted.dead_letters.set(0, 0);
            (None, None)
        }
    };
    let stripe = stripe(config, &registry)?;
    let settings = http_settings(config, stripe.is_some(), &tracer);
    let state = Arc::new(HttpState::new(settings, readiness.clone(), registry)?);
    let door = Door::open(state.clone(), config).await?;
    let listen = door.listen();

    let mut end = std::pin::pin!(asked_to_end());
    let started = tokio::select! {
        started = start_engine(config, stripe.clone(), metrics, state.live_tap(), disk.clone(), tap, tracer.clone()) => started,
        // Recovery makes nothing durable that the next start would miss.
        () = &mut end => return Ok(ExitCode::SUCCESS),
    };
    let (mut engine, recovered) = match started {
        Ok(started) => started,
        Err(error) => {
            door.shut().await;
            return Err(error);
        }
    };
    if with_demo && recovered.is_new {
        load_catalogue(&engine.handle).await;
    }
    if let Some(stripe) = stripe {
        state.attach_stripe(stripe);
    }
    state.attach(Ports {
        engine: Arc::new(engine.handle.clone()),
        reads: Arc::new(engine.view.clone()),
        watches: engine.watches.clone(),
        positions: None,
        cluster: None,
        dead_letters,
        parked_payments,
    });
    // Only now: the journal is there, whole, and ours.
    let relaying = relay.map(|relay| {
        let (end, ended) = oneshot::channel();
        let view = engine.view.clone();
        let trace_of = move |order_id| Some(view.order(order_id).ok()??.order.trace);
        let traces = Traces::new(tracer.clone(), trace_of);
        (end, tokio::spawn(relay.run(traces, ended)))
    });
    readiness.set_ready();
    tokio::spawn(state.run_live_feed());
    tracing::info!(
        %listen,
        records = recovered.last_sequence,
        replayed = recovered.replayed,
        took_ms = recovered.took_ms,
        "ready"
    );
    if with_demo {
        greet(listen);
    }
    let failure = tokio::select! {
        () = &mut end => None,
        failure = engine.failed() => failure,
    };
    readiness.set_draining();
    door.shut().await;
    if let Some(failure) = failure {
        return Err(ServeError::Failed(failure));
    }
    tokio::task::spawn_blocking(move || engine.shut_down())
        .await
        .map_err(|_| ShutdownError::Panicked)??;
    if let Some((end, relaying)) = relaying {
        // The log is closed, and the tap with it: what is left is told of, then it ends.
        let _ = end.send(());
        let _ = relaying.await;
    }
    let _ = tokio::task::spawn_blocking(move || tracer.stop()).await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Stripe, where it is to take the money.
fn stripe(config: &Config, registry: &prometheus::Registry) -> Result<Option<Stripe>, StripeError> {
    match config.gateway {
        GatewayChoice::Sandbox => Ok(None),
        GatewayChoice::Stripe => Stripe::new(&config.stripe, registry, Handle::current()).map(Some),
    }
}

fn http_settings(config: &Config, has_stripe: bool, tracer: &Tracer) -> HttpSettings {
    let gateway = if has_stripe { stripe::NAME } else { "sandbox" };
    HttpSettings {
        gateway,
        // Wishes for the sandbox are for the sandbox alone.
        sandbox: !has_stripe,
        body_timeout: config.http.body_timeout,
        tracer: tracer.clone(),
        ..HttpSettings::default()
    }
}

async fn start_engine(
    config: &Config,
    stripe: Option<Stripe>,
    metrics: EngineMetrics,
    live: LiveTap,
    disk: Arc<DiskState>,
    tap: Option<RecordTap>,
    tracer: Tracer,
) -> Result<(Embedded, Recovered), ServeError> {
    let embedded = EmbeddedConfig {
        data_dir: config.data_dir.clone(),
        settings: config.settings.clone(),
        storage: config.storage,
        queue: config.http.request_queue_len,
        tap,
        tracer,
    };
    let sandbox = config.sandbox;
    let start = move || -> Result<_, ServeError> {
        let runtime = Handle::current();
        // The journal first: it holds the lock, and the books belong to its owner.
        let data_dir = embedded.data_dir.clone();
        let prepared = Embedded::prepare(embedded)?;
        let gateway: Arc<dyn Gateway> = match stripe {
            Some(stripe) => Arc::new(stripe),
            None => Arc::new(Sandbox::open(&data_dir, sandbox, runtime.clone())?),
        };
        Ok(prepared.start(gateway, metrics, live, disk, runtime)?)
    };
    tokio::task::spawn_blocking(start)
        .await
        .map_err(|_| ServeError::Panicked)?
}

/// Fills a new data folder with something to order.
async fn load_catalogue(engine: &dyn Commands) {
    for product in demo_catalogue::products() {
        let command = Command::Inventory(InventoryCommand::Define {
            product_id: product.product_id,
            name: Some(product.name),
            price: Some(product.price),
            on_hand: Some(product.on_hand),
        });
        match engine.submit(command).await {
            Ok(reply) if reply.result.is_ok() => {}
            outcome => tracing::warn!(?outcome, "a demo product could not be loaded"),
        }
    }
}

/// Says how to place a first order.
fn greet(listen: std::net::SocketAddr) {
    println!(
        "\nThe order engine is ready, and its console at http://{listen}. Place an order:\n\n  \
         curl -s http://{listen}/api/v1/orders \\\n    \
         -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\\n    \
         -d '{{\"customerId\": \"ada\", \"items\": [{{\"productId\": \"espresso-cup\", \"quantity\": 2}}]}}'\n"
    );
}

/// Resolves on SIGTERM or SIGINT.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received; end the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing what is under way"),
        _ = interrupt.recv() => tracing::info!("SIGINT: finishing what is under way"),
    }
}
