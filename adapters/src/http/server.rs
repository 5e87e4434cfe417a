//! The router over TCP: binding, limits of connections, and an orderly end.
//!
//! Apart from the router because none of this is about what is asked: slow, silent,
//! oversized and too many clients are turned away before anybody looks at their request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Header fields of one request.
const HEADERS_MAX: usize = 100;

/// Bounds of connections.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Connections at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Time for a request's head to arrive, and for which an idle connection is kept.
    pub header_timeout: Duration,
    /// Bytes that are buffered of a connection, and so the most that a head may have.
    pub head_bytes_max: usize,
    /// Time that requests under way have once the end has begun.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            header_timeout: Duration::from_secs(30),
            head_bytes_max: 64 * 1024,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The address could not be had. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "{0} is already in use: stop the other process (perhaps another a4co), or choose another address with --listen"
    )]
    InUse(SocketAddr),
    /// The system does not allow it.
    #[error(
        "{0} may not be used by this user: ports below 1024 need privileges; choose another with --listen"
    )]
    NotAllowed(SocketAddr),
    /// This machine has no such address.
    #[error("{0} is not an address of this machine: choose another with --listen")]
    NotHere(SocketAddr),
    /// Anything else.
    #[error("{address} cannot be listened on: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens on an address.
///
/// # Errors
/// [`BindError`], whose text is a sentence for whoever started the process.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
            io::ErrorKind::AddrNotAvailable => BindError::NotHere(address),
            _ => BindError::Other { address, source },
        })
}

/// How serving came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was answered.
    Complete,
    /// Some were cut off after the drain timeout.
    CutOff {
        /// Connections that were still open.
        connections: usize,
    },
}

/// Serves until `shutdown` resolves, then takes no further connection, lets the requests
/// under way finish, and returns.
///
/// Whoever ends the process first calls [`super::Readiness::set_draining`], so that answers
/// which wait for a saga leave at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(settings.connections_max));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(HEADERS_MAX)
        // hyper refuses less than 8 KiB with a panic.
        .max_buf_size(settings.head_bytes_max.max(8 * 1024))
        .pipeline_flush(true);
    let mut tasks = tokio::task::JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let Some((stream, slot)) = accepted else {
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(settings.drain_timeout, graceful.shutdown()).await;
    while tasks.try_join_next().is_some() {}
    match drained {
        Ok(()) => Drained::Complete,
        // Dropping the set ends what is left.
        Err(_) => Drained::CutOff {
            connections: tasks.len(),
        },
    }
}

/// The next connection, once there is room for it; `None` where it failed.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Only speed is lost without it.
            let _ = stream.set_nodelay(true);
            Some((stream, slot))
        }
        Err(error) => {
            let gone = matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused
            );
            if !gone {
                // Most likely no file descriptors are left: others have to end first.
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None
        }
    }
}
