//! The HTTP API of a process, from the first probe that it answers to its orderly end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::http::server::{self, BindError, Drained, ServerSettings};
use crate::http::{self, HttpState};

/// It is open before there is an engine behind it, so that probes see a process that recovers.
pub(super) struct Door {
    listen: SocketAddr,
    /// Nothing is ever sent: the server ends when this is dropped.
    close: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

impl Door {
    pub(super) async fn open(state: Arc<HttpState>, config: &Config) -> Result<Self, BindError> {
        let listener = server::bind(config.listen.socket_addr()).await?;
        // Port 0 has become a real one, which whoever started the process wants to know.
        let listen = listener.local_addr().unwrap_or(config.listen.socket_addr());
        tracing::info!(%listen, "listening");
        let settings = ServerSettings {
            header_timeout: config.http.header_timeout,
            drain_timeout: config.http.shutdown_timeout,
            ..ServerSettings::default()
        };
        let (close, closed) = oneshot::channel();
        let closed = async {
            let _ = closed.await;
        };
        let serving = server::serve(listener, http::router(state), settings, closed);
        Ok(Self {
            listen,
            close,
            serving: tokio::spawn(serving),
        })
    }

    /// Where it is.
    pub(super) const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Takes nothing new, and ends once what is under way has been answered or cut off.
    pub(super) async fn shut(self) {
        drop(self.close);
        match self.serving.await {
            Ok(Drained::Complete) => {}
            Ok(Drained::CutOff { connections }) => {
                tracing::warn!(connections, "requests were cut off at the end");
            }
            Err(error) => tracing::error!(%error, "the HTTP server panicked"),
        }
    }
}
