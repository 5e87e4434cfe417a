//! From the texts that count to the types, and the checks between several of them.
//!
//! Apart from the parsers because this is where the keys are named, each once.

use std::time::Duration;

use a4co_core::limits::FRAME_BYTES_SOFT_MAX;
use a4co_core::settings::{Settings, SettingsError};
use a4co_core::shards::Shard;
use a4co_core::time::Millis;

use super::collect::Values;
use super::keys::{self, Key};
use super::problem::{Fault, Origin, Problem};
use super::value::{self, ListenAddr, MIB};
use super::{
    Config, GatewayChoice, HttpConfig, LogConfig, NatsSettings, SandboxConfig, StorageConfig,
};
use crate::nats::NatsConfig;
use crate::trace::TraceConfig;

mod stripe;

/// Parses every key. Where one does not parse, its default stands in, so that the checks
/// find what else is wrong; the caller looks at `problems` first.
pub(super) fn build(values: &Values, problems: &mut Vec<Problem>) -> Config {
    let mut read = Reader { values, problems };
    let config = Config {
        listen: listen(&mut read),
        data_dir: read.value(&keys::DATA_DIR, value::folder),
        settings: settings(&mut read),
        sandbox: sandbox(&mut read),
        gateway: if read.value(&keys::USE_SIMULATED_PAYMENT, value::boolean) {
            GatewayChoice::Sandbox
        } else {
            GatewayChoice::Stripe
        },
        stripe: stripe::read(&mut read),
        log: LogConfig {
            directives: read.value(&keys::LOG_LEVEL, value::log_level),
            format: read.value(&keys::LOG_FORMAT, value::log_format),
        },
        trace: TraceConfig {
            endpoint: read.optional(&keys::OTLP_ENDPOINT, value::collector),
            headers: read
                .optional(&keys::OTLP_HEADERS, value::headers)
                .unwrap_or_default(),
            ratio: read.value(&keys::TRACE_RATIO, value::rate),
            service: read.value(&keys::SERVICE_NAME, value::service),
        },
        storage: storage(&mut read),
        http: HttpConfig {
            request_queue_len: read.size(&keys::REQUEST_QUEUE_LEN, 1, 1_000_000),
            header_timeout: read.duration(&keys::HTTP_HEADER_TIMEOUT, MS, HOUR),
            body_timeout: read.duration(&keys::HTTP_BODY_TIMEOUT, MS, HOUR),
            shutdown_timeout: read.duration(&keys::SHUTDOWN_TIMEOUT, Millis::ZERO, HOUR),
        },
        nats: nats(&mut read),
    };
    stripe::check(&mut read, &config);
    if config.settings.retry_cap_ms < config.settings.retry_first_ms {
        read.contradiction(
            &keys::RETRY_CAP,
            &keys::RETRY_FIRST,
            "is below",
            "raise retry_cap or lower retry_first",
        );
    }
    timers(&mut read, &config.settings);
    config
}

/// What is allowed and yet deserves a line in the log.
pub(super) fn notes(config: &Config, values: &Values) -> Vec<String> {
    let mut notes = Vec::new();
    if !config.listen.is_loopback() {
        notes.push(format!(
            "{} is reached from other machines, and the API has no authentication of its own: put a proxy that has it in front, or keep the network closed",
            config.listen.socket_addr()
        ));
    }
    notes.extend(stripe::notes(config, values));
    notes
}

const MS: Millis = Millis::new(1);
const HOUR: Millis = Millis::from_hours(1);
const DAY: Millis = Millis::from_hours(24);
const MONTH: Millis = Millis::from_hours(24 * 30);

fn settings(read: &mut Reader<'_>) -> Settings {
    Settings {
        saga_timeout_ms: read.millis(&keys::SAGA_TIMEOUT, MS, MONTH),
        hold_ms: read.millis(&keys::HOLD, MS, MONTH),
        payment_timeout_ms: read.millis(&keys::PAYMENT_TIMEOUT, MS, MONTH),
        retry_first_ms: read.millis(&keys::RETRY_FIRST, MS, HOUR),
        retry_cap_ms: read.millis(&keys::RETRY_CAP, MS, DAY),
        parked_retry_ms: read.millis(&keys::PARKED_RETRY, MS, MONTH),
        park_after_attempts: read.small(&keys::PARK_AFTER_ATTEMPTS, 1, 1000),
        charge_attempts: read.small(&keys::CHARGE_ATTEMPTS, 1, 1000),
        max_active_orders: read.size(&keys::MAX_ACTIVE_ORDERS, 1, 10_000_000),
        frame_bytes_soft_max: FRAME_BYTES_SOFT_MAX,
        // Whoever builds a host says it.
        shard: Shard::ALONE,
    }
}

fn sandbox(read: &mut Reader<'_>) -> SandboxConfig {
    SandboxConfig {
        success_rate: read.value(&keys::PAYMENT_SUCCESS_RATE, value::rate),
        latency: read.duration(&keys::SANDBOX_LATENCY, Millis::ZERO, HOUR),
        jitter: read.duration(&keys::SANDBOX_JITTER, Millis::ZERO, HOUR),
        slow: read.duration(&keys::SANDBOX_SLOW, Millis::ZERO, HOUR),
        timeout: read.duration(&keys::SANDBOX_TIMEOUT, Millis::ZERO, HOUR),
    }
}

fn storage(read: &mut Reader<'_>) -> StorageConfig {
    let days = read.count(&keys::HISTORY_DAYS, 0, 36_500);
    StorageConfig {
        segment_bytes: read.count(&keys::JOURNAL_SEGMENT_MIB, 16, 256) * MIB,
        snapshot_every_bytes: read.count(&keys::SNAPSHOT_EVERY_MIB, 1, MIB) * MIB,
        history: (days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)),
        store_cache_bytes: read.count(&keys::STORE_CACHE_MIB, 8, 65_536) * MIB,
        min_free_disk_bytes: read.count(&keys::MIN_FREE_DISK_MIB, 0, MIB) * MIB,
    }
}

/// The address that was given, else the default one with the port of the role.
fn listen(read: &mut Reader<'_>) -> ListenAddr {
    let given = read.value(&keys::LISTEN, value::listen_addr);
    let is_default = read
        .values
        .get(&keys::LISTEN)
        .is_some_and(|it| it.origin == Origin::Default);
    let role = read.values.get(&keys::ROLE);
    match role.and_then(|it| value::role(&it.text).ok()) {
        Some(role) if is_default => given.with_port(role.port()),
        _ => given,
    }
}

fn nats(read: &mut Reader<'_>) -> NatsSettings {
    let settings = NatsSettings {
        public_events: read.value(&keys::PUBLIC_EVENTS, value::boolean),
        role: read.optional(&keys::ROLE, value::role),
        shards: read.optional(&keys::SHARDS, value::shards),
        lease: read.millis(&keys::LEASE, Millis::from_secs(1), Millis::from_minutes(10)),
        journals: read.optional(&keys::NATS_URL, value::nats_url),
        publish_to: read.optional(&keys::PUBLISH_TO, value::nats_url),
        access: NatsConfig {
            urls: String::new(),
            user: read.optional(&keys::NATS_USER, value::name),
            password: read.optional(&keys::NATS_PASSWORD, value::opaque),
            token: read.optional(&keys::NATS_TOKEN, value::opaque),
            nkey_seed: read.optional(&keys::NATS_NKEY_SEED, value::opaque),
            creds_file: read.optional(&keys::NATS_CREDS, value::folder),
            ca_file: read.optional(&keys::NATS_CA, value::folder),
            client_cert: read
                .optional(&keys::NATS_CERT, value::folder)
                .zip(read.optional(&keys::NATS_KEY, value::folder)),
            replicas: read.size(&keys::NATS_REPLICAS, 1, 5),
        },
    };
    if settings.role.is_some() && read.values.get(&keys::NATS_URL).is_none() {
        read.refuse(
            &keys::ROLE,
            "without nats_url one process has every role",
            "remove it",
        );
    }
    if settings.shards.is_some() && read.values.get(&keys::NATS_URL).is_none() {
        read.refuse(
            &keys::SHARDS,
            "without nats_url there is one journal, and no shards",
            "remove it",
        );
    }
    for (key, other) in [
        (&keys::NATS_USER, &keys::NATS_PASSWORD),
        (&keys::NATS_PASSWORD, &keys::NATS_USER),
        (&keys::NATS_CERT, &keys::NATS_KEY),
        (&keys::NATS_KEY, &keys::NATS_CERT),
    ] {
        if read.values.get(key).is_some() && read.values.get(other).is_none() {
            read.refuse(
                key,
                &format!("needs {}, which is not set", other.name),
                &format!("set {} too, or remove it", other.name),
            );
        }
    }
    settings
}

/// Puts the core's own checks to the settings, again and again with what it found put
/// right, until it finds nothing more.
fn timers(read: &mut Reader<'_>, settings: &Settings) {
    let mut settings = settings.clone();
    // One round for each relation that there is, and one that finds nothing.
    for _ in 0..3 {
        match settings.validate() {
            Ok(()) => return,
            Err(SettingsError::HoldShorterThanSaga { .. }) => {
                settings.hold_ms = Millis::MAX;
                read.contradiction(
                    &keys::HOLD,
                    &keys::SAGA_TIMEOUT,
                    "does not outlast",
                    "raise hold or lower saga_timeout",
                );
            }
            Err(SettingsError::SagaShorterThanPayment { .. }) => {
                settings.saga_timeout_ms = MONTH;
                settings.payment_timeout_ms = MS;
                read.contradiction(
                    &keys::SAGA_TIMEOUT,
                    &keys::PAYMENT_TIMEOUT,
                    "does not outlast",
                    "raise saga_timeout or lower payment_timeout",
                );
            }
            Err(error @ SettingsError::Zero { .. }) => {
                // The bounds of the keys rule this out; said all the same, should they change.
                read.problems.push(Problem {
                    key: "settings".to_owned(),
                    value: None,
                    source: Origin::Default,
                    problem: error.to_string(),
                    fix: "give it a value above zero".to_owned(),
                });
                return;
            }
        }
    }
}

/// Reads keys one by one, and notes what is wrong.
struct Reader<'v> {
    values: &'v Values,
    problems: &'v mut Vec<Problem>,
}

impl Reader<'_> {
    /// The value of a key that has a default, which stands in for one that does not parse.
    fn value<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, Fault>) -> T {
        self.optional(key, &parse).unwrap_or_else(|| {
            let default = key
                .default
                .expect("the caller reads a key that has a default");
            parse(default).unwrap_or_else(|fault| {
                unreachable!(
                    "the default of {} {}: a test reads them all",
                    key.name, fault.problem
                )
            })
        })
    }

    fn optional<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let setting = self.values.get(key)?;
        match parse(&setting.text) {
            Ok(value) => Some(value),
            Err(Fault { problem, fix }) => {
                self.problems.push(self.values.problem(key, problem, fix));
                None
            }
        }
    }

    fn count(&mut self, key: &Key, min: u64, max: u64) -> u64 {
        self.value(key, |text| value::count(text, min, max))
    }

    fn size(&mut self, key: &Key, min: u64, max: u64) -> usize {
        usize::try_from(self.count(key, min, max)).unwrap_or(usize::MAX)
    }

    fn small(&mut self, key: &Key, min: u32, max: u32) -> u32 {
        let number = self.count(key, u64::from(min), u64::from(max));
        u32::try_from(number).unwrap_or(max)
    }

    fn millis(&mut self, key: &Key, min: Millis, max: Millis) -> Millis {
        self.value(key, |text| value::millis(text, min, max))
    }

    fn duration(&mut self, key: &Key, min: Millis, max: Millis) -> Duration {
        Duration::from_millis(self.millis(key, min, max).get())
    }

    fn refuse(&mut self, key: &Key, problem: &str, fix: &str) {
        let problem = self.values.problem(key, problem.to_owned(), fix.to_owned());
        self.problems.push(problem);
    }

    /// Two values that do not agree; unless one of them did not parse, so that its default
    /// stood in for it.
    fn contradiction(&mut self, key: &Key, other: &Key, relation: &str, fix: &str) {
        if self
            .problems
            .iter()
            .any(|it| it.key == key.name || it.key == other.name)
        {
            return;
        }
        let than = self.values.get(other);
        let than = than.map_or_else(String::new, |it| format!(" = {} ({})", it.text, it.origin));
        self.refuse(key, &format!("{relation} {}{than}", other.name), fix);
    }
}
