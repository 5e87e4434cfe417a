//! The configuration, read once at start and parsed into types.
//!
//! A value comes from a flag, else from an environment variable, else from `a4co.toml`,
//! else it is the default. Every value is read as text from wherever it came, by one
//! parser per key, so that it means the same everywhere; where it came from is kept for
//! `a4co config` and for errors. All that is wrong is told at once.
//!
//! The file is flat: `key = value`, with the names of [`keys`], in snake case. An empty
//! environment variable counts as not set.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use a4co_core::settings::Settings;
use a4co_core::shards::ShardCount;
use a4co_core::time::Millis;
use secrecy::SecretString;

use crate::nats::NatsConfig;
use crate::trace::TraceConfig;

mod build;
mod collect;
pub mod keys;
mod problem;
mod show;
mod value;

pub use self::problem::{ConfigError, Origin, Problem};
pub use self::show::Row;
pub use self::value::{ListenAddr, LogFormat, MIB, Rate, Role};

/// What the process was given, unread.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Flags: key names with their values.
    pub flags: Vec<(&'static str, String)>,
    /// The environment, whole.
    pub env: BTreeMap<String, OsString>,
    /// The configuration file, where there is one: its name and what it says.
    pub file: Option<(String, String)>,
}

impl Given {
    /// Takes the environment of this process, and reads the configuration file: the one
    /// named by `path`, else by `A4CO_CONFIG`, else `a4co.toml` in the current folder where
    /// it exists.
    ///
    /// # Errors
    /// A file that was named, or is there, cannot be read.
    pub fn from_process(
        flags: Vec<(&'static str, String)>,
        path: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        // A name that is not Unicode cannot be one of ours.
        let env: BTreeMap<String, OsString> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        let named_by_env = env.get(keys::CONFIG_ENV).filter(|path| !path.is_empty());
        let (path, must_exist) = match (path, named_by_env) {
            (Some(path), _) => (path.to_owned(), true),
            (None, Some(path)) => (PathBuf::from(path), true),
            (None, None) => (PathBuf::from(keys::DEFAULT_FILE), false),
        };
        let file = read_file(&path, must_exist)?;
        Ok(Self { flags, env, file })
    }
}

fn read_file(path: &Path, must_exist: bool) -> Result<Option<(String, String)>, ConfigError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((name, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(ConfigError {
            problems: vec![Problem {
                key: "config".to_owned(),
                value: Some(name),
                source: Origin::Default,
                problem: format!("the file cannot be read: {error}"),
                fix: "name a file that exists and that this user may read, as UTF-8".to_owned(),
            }],
        }),
    }
}

/// The configuration as the process uses it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the HTTP API listens.
    pub listen: ListenAddr,
    /// Folder of the journal, the store and the sandbox's books.
    pub data_dir: PathBuf,
    /// Timers, retries and bounds of the core, checked as a whole.
    pub settings: Settings,
    /// Who takes the money.
    pub gateway: GatewayChoice,
    /// The sandbox gateway.
    pub sandbox: SandboxConfig,
    /// Stripe; its secrets where they were given.
    pub stripe: StripeConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
    /// Journal, store and disk.
    pub storage: StorageConfig,
    /// The HTTP API.
    pub http: HttpConfig,
    /// NATS.
    pub nats: NatsSettings,
}

/// The sandbox gateway's behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Share of charges that are accepted.
    pub success_rate: Rate,
    /// Time before an answer; zero answers at once.
    pub latency: Duration,
    /// Up to this is added to `latency`.
    pub jitter: Duration,
    /// Time that `pm_card_slow` takes.
    pub slow: Duration,
    /// Time after which `pm_card_timeout` has no known outcome.
    pub timeout: Duration,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            success_rate: Rate::ALL,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            slow: Duration::from_secs(3),
            timeout: Duration::from_secs(1),
        }
    }
}

/// Who takes the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayChoice {
    /// Nobody: the sandbox.
    Sandbox,
    /// Stripe.
    Stripe,
}

/// When Stripe takes the money of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureMode {
    /// At once.
    Automatic,
    /// It is set aside at once, and taken when the stock is committed.
    Manual,
}

/// Stripe. Its secrets print as `[REDACTED]`.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// The API key.
    pub secret_key: Option<SecretString>,
    /// Signs webhooks.
    pub webhook_secret: Option<SecretString>,
    /// Whether the key moves real money.
    pub is_live: bool,
    /// Where the API is.
    pub api_url: String,
    /// When the money is taken.
    pub capture: CaptureMode,
    /// Time for one request with its answer.
    pub timeout: Duration,
    /// Time for a connection.
    pub connect_timeout: Duration,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Failures in a row after which nothing is asked for a while.
    pub circuit_failures: u32,
    /// How long nothing is asked then.
    pub circuit_pause: Duration,
    /// How old, or how far ahead, a webhook's signature may be.
    pub webhook_tolerance: Duration,
}

impl Default for StripeConfig {
    fn default() -> Self {
        Self {
            secret_key: None,
            webhook_secret: None,
            is_live: false,
            api_url: crate::gateway::stripe::STRIPE_URL.to_owned(),
            capture: CaptureMode::Automatic,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            concurrency: 64,
            circuit_failures: 10,
            circuit_pause: Duration::from_secs(10),
            webhook_tolerance: Duration::from_secs(300),
        }
    }
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter that parses.
    pub directives: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// Journal, store and disk. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageConfig {
    /// Size of one file of the journal.
    pub segment_bytes: u64,
    /// Journal written between two snapshots.
    pub snapshot_every_bytes: u64,
    /// How long journal files are kept once a snapshot covers them; `None`: for ever.
    pub history: Option<Duration>,
    /// Memory for the store's cache.
    pub store_cache_bytes: u64,
    /// Free space below which new orders are refused.
    pub min_free_disk_bytes: u64,
}

/// The HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpConfig {
    /// Commands that may wait for the engine.
    pub request_queue_len: usize,
    /// Time in which a request's head must have arrived.
    pub header_timeout: Duration,
    /// Time in which a request's body must have arrived.
    pub body_timeout: Duration,
    /// Time that open requests get to finish at a shutdown.
    pub shutdown_timeout: Duration,
}

/// NATS: who gets what, and how the servers are reached.
#[derive(Debug, Clone, Default)]
pub struct NatsSettings {
    /// Where the journals are; embedded ones where it says nothing.
    pub journals: Option<String>,
    /// Whether public events are published where the journals are.
    pub public_events: bool,
    /// What this process may lead; everything where it says nothing.
    pub role: Option<Role>,
    /// Shards of each participant; as many as the journals have where it says nothing.
    pub shards: Option<ShardCount>,
    /// Silence of a leader after which another process takes over.
    pub lease: Millis,
    /// Where the public events go.
    pub publish_to: Option<String>,
    /// How the servers are reached; its `urls` are those of whoever uses it.
    pub access: NatsConfig,
}

impl NatsSettings {
    /// How to reach the servers that keep the journals.
    #[must_use]
    pub fn journals(&self) -> Option<NatsConfig> {
        self.at(self.journals.as_ref())
    }

    /// How to reach the servers that get the public events.
    #[must_use]
    pub fn publish(&self) -> Option<NatsConfig> {
        self.at(self.publish_to.as_ref())
    }

    /// How to reach whichever servers are named: those of the journals first.
    #[must_use]
    pub fn any(&self) -> Option<NatsConfig> {
        self.at(self.journals.as_ref().or(self.publish_to.as_ref()))
    }

    fn at(&self, urls: Option<&String>) -> Option<NatsConfig> {
        Some(NatsConfig {
            urls: urls?.clone(),
            ..self.access.clone()
        })
    }
}

/// A configuration with where each of its values came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// One row for each key, secrets masked.
    pub rows: Vec<Row>,
    /// What is allowed and yet deserves a line in the log at start.
    pub notes: Vec<String>,
}

impl Effective {
    /// Reads, parses and checks what was given.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_given(given: &Given) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let values = collect::collect(given, &mut problems);
        let config = build::build(&values, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(Self {
            rows: show::rows(&values),
            notes: build::notes(&config, &values),
            config,
        })
    }
}

#[cfg(test)]
mod tests;
