//! `a4co serve --nats`: one process of a cluster, from start to an orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use a4co_driver::ports::Gateway;

use super::door::Door;
use super::{ServeError, asked_to_end, greet, http_settings, load_catalogue, stripe};
use crate::cluster::{Cluster, JoinError, Joining, Told};
use crate::config::{Config, Role};
use crate::embedded::{DiskState, ShutdownError};
use crate::gateway::sandbox::SharedSandbox;
use crate::http::{HttpSettings, HttpState, Ports, Readiness};
use crate::metrics::EngineMetrics;
use crate::nats::{self, Connected, NatsConfig, NatsError, RelayMetrics};
use crate::trace::Tracer;

/// Wait before servers that could not be reached are tried again.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(
    config: &Config,
    access: NatsConfig,
    with_demo: bool,
) -> Result<ExitCode, ServeError> {
    let registry = prometheus::Registry::new();
    let tracer = Tracer::start(&config.trace)?;
    let readiness = Arc::new(Readiness::default());
    let metrics = EngineMetrics::new(&registry, readiness.clone())?;
    let parked_payments = metrics.parked_payments();
    let counted = RelayMetrics::new(&registry)?;
    let dead_letters = counted.dead_letters.clone();
    let stripe = stripe(config, &registry)?;
    let settings = HttpSettings {
        clustered: true,
        ..http_settings(config, stripe.is_some(), &tracer)
    };
    let state = Arc::new(HttpState::new(settings, readiness.clone(), registry)?);
    let door = Door::open(state.clone(), config).await?;
    let listen = door.listen();

    let mut end = std::pin::pin!(asked_to_end());
    let joining = async {
        let nats = connected(&access).await?;
        tokio::spawn(dead_letters.clone().watch(nats.clone()));
        let gateway: Arc<dyn Gateway> = match stripe.clone() {
            Some(stripe) => Arc::new(stripe),
            None => sandbox(&nats, &access, config).await?,
        };
        let joining = Joining {
            data_dir: config.data_dir.clone(),
            nats: access.clone(),
            role: config.nats.role.unwrap_or(Role::All),
            listen,
            config: config.clone(),
        };
        let told = Told {
            metrics,
            live: state.live_tap(),
            tracer: tracer.clone(),
            readiness: readiness.clone(),
            disk: Arc::new(DiskState::default()),
            relay: config.nats.public_events.then_some(counted),
        };
        Cluster::join(joining, nats, gateway, told).await
    };
    let joined = tokio::select! {
        joined = joining => joined,
        () = &mut end => return Ok(ExitCode::SUCCESS),
    };
    let mut cluster = match joined {
        Ok(cluster) => cluster,
        Err(error) => {
            door.shut().await;
            return Err(error.into());
        }
    };
    if let Some(stripe) = stripe {
        state.attach_stripe(stripe);
    }
    state.attach(Ports {
        engine: cluster.commands.clone(),
        reads: Arc::new(cluster.view.clone()),
        watches: cluster.watches.clone(),
        positions: Some(cluster.positions.clone()),
        cluster: Some(cluster.members.clone()),
        dead_letters: Some(dead_letters),
        parked_payments,
    });
    tokio::spawn(state.run_live_feed());
    let (commands, view) = (cluster.commands.clone(), cluster.view.clone());
    let greeting = async {
        readiness.recovered().await;
        if with_demo && view.products().is_empty() {
            load_catalogue(&*commands).await;
        }
        tracing::info!(%listen, "ready");
        if with_demo {
            greet(listen);
        }
        std::future::pending::<()>().await;
    };
    let has_failed = tokio::select! {
        () = &mut end => false,
        () = cluster.failed() => true,
        () = greeting => false,
    };
    readiness.set_draining();
    door.shut().await;
    if has_failed {
        return Err(ServeError::Ended);
    }
    tokio::task::spawn_blocking(move || {
        let ended = cluster.shut_down();
        tracer.stop();
        ended
    })
    .await
    .map_err(|_| ShutdownError::Panicked)?
    .map_err(ShutdownError::Store)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Connects, and tries again for as long as the servers cannot be reached.
async fn connected(access: &NatsConfig) -> Result<Connected, NatsError> {
    loop {
        match nats::connect(access, "a4co").await {
            Err(NatsError::Connect(error)) if may_come(&error) => {
                tracing::warn!(%error, "the NATS servers cannot be reached; trying again");
                tokio::time::sleep(CONNECT_AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// Is it worth trying again?
fn may_come(error: &async_nats::ConnectError) -> bool {
    use async_nats::ConnectErrorKind as Kind;
    matches!(error.kind(), Kind::Io | Kind::Dns | Kind::TimedOut)
}

async fn sandbox(
    nats: &Connected,
    access: &NatsConfig,
    config: &Config,
) -> Result<Arc<dyn Gateway>, JoinError> {
    let books = nats::sandbox_books(access.replicas);
    nats::until_answered(async || nats::set_up(nats, std::slice::from_ref(&books), true).await)
        .await?;
    let sandbox = SharedSandbox::open(nats.clone(), config.sandbox).await?;
    Ok(Arc::new(sandbox))
}
