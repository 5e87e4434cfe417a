//! The connection: who we are, how the line is secured, and whether the server is new enough.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, ConnectOptions, ServerAddr};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use super::streams::Difference;

/// How long an answer of JetStream may take before it counts as unknown.
const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long creating a stream may take: a cluster elects a leader for it first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The oldest server that knows every setting that our streams rely on; an older one would
/// ignore it in silence.
const MIN_SERVER: (i64, i64, i64) = (2, 12, 0);

/// How to reach the servers. Secrets print as `[REDACTED]`.
#[derive(Debug, Clone, Default)]
pub struct NatsConfig {
    /// The servers, separated by commas.
    pub urls: String,
    /// User name, with `password`.
    pub user: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// Token.
    pub token: Option<SecretString>,
    /// Seed of an `NKey`.
    pub nkey_seed: Option<SecretString>,
    /// Credentials file (JWT and seed).
    pub creds_file: Option<PathBuf>,
    /// Certificates of the authority that signed the servers' own.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, for servers that ask for one, with its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Copies of each message that the cluster keeps, 1, 3 or 5.
    pub replicas: usize,
}

/// Why the servers cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A URL that is none.
    #[error("nats: {url} is not the URL of a server: {error}")]
    Url {
        /// The URL, without secrets.
        url: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// The credentials file cannot be used.
    #[error("nats_creds: {path} cannot be used: {error}")]
    Creds {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// No connection.
    #[error("the NATS servers cannot be reached, or refuse us: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// Too old.
    #[error(
        "the NATS server is version {0}; version 2.12 or newer is needed, since older ones ignore settings that the journals rely on"
    )]
    TooOld(String),
    /// A request to JetStream failed.
    #[error("JetStream refused {what}: {error}")]
    JetStream {
        /// What was asked.
        what: String,
        /// The server's words.
        error: String,
    },
    /// The journals have several shards, and what was asked for reads one journal of each
    /// participant.
    #[error("the journals here have {0} shards: a move is built for journals without shards only")]
    Shards(u16),
    /// A stream is there and not as it must be.
    #[error("{}", differences(.0))]
    Different(Vec<Difference>),
}

fn differences(all: &[Difference]) -> String {
    let lines = all.iter().map(|it| format!("\n  {it}"));
    format!(
        "streams on the NATS servers are not as they must be:{}",
        lines.collect::<String>()
    )
}

impl NatsError {
    /// May the same request be answered later? A cluster that is just forming, or that has
    /// lost a leader, refuses for a while.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::JetStream { .. })
    }

    pub(crate) fn jetstream(what: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self::JetStream {
            what: what.into(),
            error: error.to_string(),
        }
    }
}

/// Wait before servers that refused are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Asks the servers until they answer, or refuse for good.
///
/// # Errors
/// Those of `ask` that do not pass by themselves.
pub async fn until_answered<T>(
    ask: impl AsyncFn() -> Result<T, NatsError>,
) -> Result<T, NatsError> {
    loop {
        match ask().await {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "the NATS servers are not ready; trying again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// A connection that has been checked.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The connection.
    pub client: Client,
    /// `JetStream` over it, for publishing: an answer that takes longer than a second is unknown.
    pub jetstream: Context,
    /// `JetStream` over it, for requests that may take their time.
    pub admin: Context,
    /// The server's version.
    pub version: String,
    /// How often the connection was made: it changes when it has been lost and is there again.
    pub connects: watch::Receiver<u64>,
}

/// Connects, and looks at the server's version.
///
/// # Errors
/// [`NatsError`].
pub async fn connect(config: &NatsConfig, name: &str) -> Result<Connected, NatsError> {
    let addrs = addresses(&config.urls)?;
    let (connected, connects) = watch::channel(0);
    let options = options(config, addrs.first(), connected).await?;
    let client = options.name(name).connect(addrs).await?;
    let version = client.server_info().version;
    let (major, minor, patch) = MIN_SERVER;
    if !client.is_server_compatible(major, minor, patch) {
        return Err(NatsError::TooOld(version));
    }
    let mut jetstream = async_nats::jetstream::new(client.clone());
    jetstream.set_timeout(ACK_TIMEOUT);
    let mut admin = async_nats::jetstream::new(client.clone());
    admin.set_timeout(REQUEST_TIMEOUT);
    Ok(Connected {
        client,
        jetstream,
        admin,
        version,
        connects,
    })
}

fn addresses(urls: &str) -> Result<Vec<ServerAddr>, NatsError> {
    let parse = |url: &str| {
        url.trim().parse().map_err(|error| NatsError::Url {
            url: masked(url),
            error,
        })
    };
    urls.split(',').map(parse).collect()
}

/// A URL without what stands before its `@`.
fn masked(url: &str) -> String {
    url.rsplit_once('@')
        .map_or_else(|| url.to_owned(), |(_, host)| format!("********@{host}"))
}

async fn options(
    config: &NatsConfig,
    first: Option<&ServerAddr>,
    connected: watch::Sender<u64>,
) -> Result<ConnectOptions, NatsError> {
    let connected = Arc::new(connected);
    let mut options = ConnectOptions::new().event_callback(move |event| {
        let connected = connected.clone();
        async move {
            match event {
                async_nats::Event::Connected => {
                    tracing::info!("connected to NATS");
                    connected.send_modify(|times| *times += 1);
                }
                async_nats::Event::Closed | async_nats::Event::Draining => {}
                event => tracing::warn!(%event, "NATS"),
            }
        }
    });
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
    } else if let Some(user) = first.and_then(ServerAddr::username) {
        // In the URL, as other clients take it: a name with a password, or a token alone.
        options = match first.and_then(ServerAddr::password) {
            Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
            None => options.token(user.to_owned()),
        };
    }
    if let Some(token) = &config.token {
        options = options.token(token.expose_secret().to_owned());
    }
    if let Some(seed) = &config.nkey_seed {
        options = options.nkey(seed.expose_secret().to_owned());
    }
    if let Some(path) = &config.creds_file {
        options = options
            .credentials_file(path)
            .await
            .map_err(|error| NatsError::Creds {
                path: path.clone(),
                error,
            })?;
    }
    if let Some(path) = &config.ca_file {
        options = options
            .add_root_certificates(path.clone())
            .require_tls(true);
    }
    if let Some((cert, key)) = &config.client_cert {
        options = options
            .add_client_certificate(cert.clone(), key.clone())
            .require_tls(true);
    }
    Ok(options)
}
