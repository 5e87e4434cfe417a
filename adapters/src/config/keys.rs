//! Every setting that exists: its names, its default and what it means.
//!
//! One table, apart from the parsers, because four things are made of it: the flags of
//! `a4co serve`, the environment variables, the keys of `a4co.toml`, and what
//! `a4co config` prints. `.env.example` is checked against it.

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// In `a4co.toml`, and what errors call it.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The flag, without its dashes. Secrets have none: whoever lists the processes of a
    /// machine reads their arguments.
    pub flag: Option<&'static str>,
    /// What the flag's value is called in the help.
    pub value_name: &'static str,
    /// The default, as it would be written in the file; `None` where there is none.
    pub default: Option<&'static str>,
    /// Whether the value is never shown.
    pub secret: bool,
    /// What it means, with its unit and bounds.
    pub help: &'static str,
}

/// Declares the keys, and the list of them all.
macro_rules! keys {
    ($($ident:ident: $name:literal, $env:literal, $flag:expr, $value_name:literal, $default:expr, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $ident: Key = Key {
                name: $name,
                env: $env,
                flag: $flag,
                value_name: $value_name,
                default: $default,
                secret: is_secret($flag, $default),
                help: $help,
            };
        )+

        /// All keys, in the order in which they are shown.
        pub static ALL: &[Key] = &[$($ident),+];
    };
}

/// A key without a flag is a secret; none of them has a default.
const fn is_secret(flag: Option<&str>, default: Option<&str>) -> bool {
    assert!(
        flag.is_some() || default.is_none(),
        "a secret has no default"
    );
    flag.is_none()
}

keys! {
    LISTEN: "listen", "A4CO_LISTEN", Some("listen"), "ADDRESS", Some("127.0.0.1:3004"),
        "Address and port of the HTTP API; port 0 takes a free one. The default is reached from this machine only: the API has no authentication of its own";
    DATA_DIR: "data_dir", "A4CO_DATA_DIR", Some("data-dir"), "DIR", Some("./data"),
        "Folder of the journal, the store and the sandbox's books; one process at a time";

    NATS_URL: "nats_url", "NATS_URL", Some("nats"), "URL", None,
        "NATS servers that keep the journals, such as nats://a:4222,nats://b:4222; several processes share them. Without it they are in data_dir";
    ROLE: "role", "A4CO_ROLE", Some("role"), "ROLE", None,
        "Participant that this process may lead: order, inventory, payment or all (the default). Only with nats_url. Listens on port 3004, 3006 (inventory) or 3005 (payment)";
    LEASE: "lease", "A4CO_LEASE", Some("lease"), "TIME", Some("10s"),
        "Silence of a participant's leader after which another process takes over, 1s to 10m; a NATS cluster that loses a server may need 9s for itself";
    SHARDS: "shards", "A4CO_SHARDS", Some("shards"), "COUNT", None,
        "Shards of each participant, 1 to 64, for the life of a cluster's journals: said where they are made. Without it, as many as they have, and 1 for new ones. Only with nats_url";
    PUBLISH_TO: "publish_to", "A4CO_PUBLISH_TO", Some("publish-to"), "URL", None,
        "NATS servers that get the public events, such as nats://a:4222,nats://b:4222. Orders never wait for them";
    PUBLIC_EVENTS: "public_events", "A4CO_PUBLIC_EVENTS", Some("public-events"), "BOOL", Some("true"),
        "Whether processes with their journals on NATS publish the public events there";
    NATS_REPLICAS: "nats_replicas", "A4CO_NATS_REPLICAS", Some("nats-replicas"), "COUNT", Some("1"),
        "Copies of each stream that a NATS cluster keeps, 1 to 5; 3 in production";
    NATS_USER: "nats_user", "A4CO_NATS_USER", Some("nats-user"), "NAME", None,
        "User at the NATS servers, with nats_password";
    NATS_PASSWORD: "nats_password", "A4CO_NATS_PASSWORD", None, "SECRET", None,
        "Password at the NATS servers";
    NATS_TOKEN: "nats_token", "A4CO_NATS_TOKEN", None, "SECRET", None,
        "Token for the NATS servers";
    NATS_NKEY_SEED: "nats_nkey_seed", "A4CO_NATS_NKEY_SEED", None, "SECRET", None,
        "Seed of an NKey for the NATS servers (SU...)";
    NATS_CREDS: "nats_creds", "A4CO_NATS_CREDS", Some("nats-creds"), "FILE", None,
        "Credentials file for the NATS servers";
    NATS_CA: "nats_ca", "A4CO_NATS_CA", Some("nats-ca"), "FILE", None,
        "PEM certificates of the authority that the NATS servers are trusted by; asks for TLS";
    NATS_CERT: "nats_cert", "A4CO_NATS_CERT", Some("nats-cert"), "FILE", None,
        "PEM certificate of this process for NATS servers that ask for one, with nats_key";
    NATS_KEY: "nats_key", "A4CO_NATS_KEY", Some("nats-key"), "FILE", None,
        "PEM key of nats_cert";

    USE_SIMULATED_PAYMENT: "use_simulated_payment", "USE_SIMULATED_PAYMENT", Some("use-simulated-payment"), "BOOL", Some("true"),
        "true: the sandbox gateway, which moves no money; false: Stripe, with stripe_secret_key";
    PAYMENT_SUCCESS_RATE: "payment_success_rate", "PAYMENT_SUCCESS_RATE", Some("payment-success-rate"), "RATE", Some("1.0"),
        "Share of charges that the sandbox accepts, 0.0 to 1.0 with at most six decimals";
    SANDBOX_LATENCY: "sandbox_latency", "A4CO_SANDBOX_LATENCY", Some("sandbox-latency"), "TIME", Some("0ms"),
        "Time that the sandbox takes for an answer, 0ms to 1h; 0ms answers at once";
    SANDBOX_JITTER: "sandbox_jitter", "A4CO_SANDBOX_JITTER", Some("sandbox-jitter"), "TIME", Some("0ms"),
        "Up to this is added to sandbox_latency, by the order's id, 0ms to 1h";
    SANDBOX_SLOW: "sandbox_slow", "A4CO_SANDBOX_SLOW", Some("sandbox-slow"), "TIME", Some("3s"),
        "Time that the sandbox takes to charge pm_card_slow, 0ms to 1h";
    SANDBOX_TIMEOUT: "sandbox_timeout", "A4CO_SANDBOX_TIMEOUT", Some("sandbox-timeout"), "TIME", Some("1s"),
        "Time after which a charge of pm_card_timeout or pm_card_timeout_fails has no known outcome, 0ms to 1h";
    STRIPE_SECRET_KEY: "stripe_secret_key", "STRIPE_SECRET_KEY", None, "SECRET", None,
        "Stripe's API key (sk_test_ or rk_test_; sk_live_ or rk_live_ with stripe_live). Needed when use_simulated_payment is false";
    STRIPE_WEBHOOK_SECRET: "stripe_webhook_secret", "STRIPE_WEBHOOK_SECRET", None, "SECRET", None,
        "Stripe's signing secret for webhooks (whsec_); without it every webhook is refused, and outcomes are asked for";
    STRIPE_LIVE: "stripe_live", "A4CO_STRIPE_LIVE", Some("stripe-live"), "BOOL", Some("false"),
        "true: the key is a live one and moves real money; a live key is refused without it, and a test key with it";
    STRIPE_API_URL: "stripe_api_url", "A4CO_STRIPE_API_URL", Some("stripe-api-url"), "URL", Some("https://api.stripe.com"),
        "Where Stripe's API is; another place than Stripe's own only with a test key";
    STRIPE_CAPTURE: "stripe_capture", "A4CO_STRIPE_CAPTURE", Some("stripe-capture"), "MODE", Some("automatic"),
        "automatic: the money is taken at once; manual: it is set aside, and taken once the stock is committed";
    STRIPE_TIMEOUT: "stripe_timeout", "A4CO_STRIPE_TIMEOUT", Some("stripe-timeout"), "TIME", Some("20s"),
        "Time for one request to Stripe with its answer, 10ms to 2m; what takes longer has an unknown outcome";
    STRIPE_CONNECT_TIMEOUT: "stripe_connect_timeout", "A4CO_STRIPE_CONNECT_TIMEOUT", Some("stripe-connect-timeout"), "TIME", Some("5s"),
        "Time for a connection to Stripe, 10ms to 2m";
    STRIPE_CONCURRENCY: "stripe_concurrency", "A4CO_STRIPE_CONCURRENCY", Some("stripe-concurrency"), "COUNT", Some("64"),
        "Requests to Stripe under way at once, 1 to 1000; further ones wait up to 5s";
    STRIPE_CIRCUIT_FAILURES: "stripe_circuit_failures", "A4CO_STRIPE_CIRCUIT_FAILURES", Some("stripe-circuit-failures"), "COUNT", Some("10"),
        "Requests to Stripe in a row without an answer, or with a 5xx, after which none is made for a while, 1 to 1000";
    STRIPE_CIRCUIT_PAUSE: "stripe_circuit_pause", "A4CO_STRIPE_CIRCUIT_PAUSE", Some("stripe-circuit-pause"), "TIME", Some("10s"),
        "How long no request to Stripe is made then, 1ms to 10m; after it one tries";
    STRIPE_WEBHOOK_TOLERANCE: "stripe_webhook_tolerance", "A4CO_STRIPE_WEBHOOK_TOLERANCE", Some("stripe-webhook-tolerance"), "TIME", Some("5m"),
        "Age up to which a webhook's signature counts, 1s to 1h";

    LOG_LEVEL: "log_level", "LOG_LEVEL", Some("log-level"), "LEVEL", Some("info"),
        "off, error, warn, info, debug or trace; or filter directives such as warn,a4co=debug";
    LOG_FORMAT: "log_format", "A4CO_LOG_FORMAT", Some("log-format"), "FORMAT", Some("auto"),
        "auto (pretty on a terminal, else json), pretty or json";

    OTLP_ENDPOINT: "otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", Some("otlp-endpoint"), "URL", None,
        "OpenTelemetry collector that gets traces, such as http://127.0.0.1:4318; OTLP over HTTP or HTTPS. Orders never wait for it. Without it there are no traces";
    OTLP_HEADERS: "otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS", None, "SECRET", None,
        "Headers for the collector, such as x-token=abc,x-team=shop";
    TRACE_RATIO: "trace_ratio", "OTEL_TRACES_SAMPLER_ARG", Some("trace-ratio"), "RATE", Some("1.0"),
        "Share of traces that are kept, 0.0 to 1.0 with at most six decimals. Where the caller sent a traceparent, its decision counts";
    SERVICE_NAME: "service_name", "OTEL_SERVICE_NAME", Some("service-name"), "NAME", Some("a4co"),
        "Name of this service in traces, 1 to 128 printable characters";

    SAGA_TIMEOUT: "saga_timeout", "A4CO_SAGA_TIMEOUT", Some("saga-timeout"), "TIME", Some("5m"),
        "From an order's creation until everything is undone, 1ms to 30d";
    HOLD: "hold", "A4CO_HOLD", Some("hold"), "TIME", Some("15m"),
        "From a reservation until its stock is free again, 1ms to 30d; longer than saga_timeout";
    PAYMENT_TIMEOUT: "payment_timeout", "A4CO_PAYMENT_TIMEOUT", Some("payment-timeout"), "TIME", Some("2m"),
        "From the request for payment until the charge is cancelled, 1ms to 30d; shorter than saga_timeout";
    RETRY_FIRST: "retry_first", "A4CO_RETRY_FIRST", Some("retry-first"), "TIME", Some("200ms"),
        "First wait after a gateway call with an unknown outcome, 1ms to 1h; doubles from there";
    RETRY_CAP: "retry_cap", "A4CO_RETRY_CAP", Some("retry-cap"), "TIME", Some("30s"),
        "Longest wait between two gateway calls, 1ms to 1d; not below retry_first";
    PARKED_RETRY: "parked_retry", "A4CO_PARKED_RETRY", Some("parked-retry"), "TIME", Some("5m"),
        "Wait between two tries of an undo that is parked, 1ms to 30d";
    PARK_AFTER_ATTEMPTS: "park_after_attempts", "A4CO_PARK_AFTER_ATTEMPTS", Some("park-after-attempts"), "COUNT", Some("8"),
        "Attempts of one undo after which it is parked and shown to the operator, 1 to 1000";
    CHARGE_ATTEMPTS: "charge_attempts", "A4CO_CHARGE_ATTEMPTS", Some("charge-attempts"), "COUNT", Some("3"),
        "Attempts of one charge, under one idempotency key, before its outcome is only asked for, 1 to 1000";
    MAX_ACTIVE_ORDERS: "max_active_orders", "A4CO_MAX_ACTIVE_ORDERS", Some("max-active-orders"), "COUNT", Some("1000000"),
        "Orders that may be active at once, 1 to 10000000; further ones get 503";

    JOURNAL_SEGMENT_MIB: "journal_segment_mib", "A4CO_JOURNAL_SEGMENT_MIB", Some("journal-segment-mib"), "MIB", Some("16"),
        "Size of one file of the journal, in MiB, 16 to 256";
    SNAPSHOT_EVERY_MIB: "snapshot_every_mib", "A4CO_SNAPSHOT_EVERY_MIB", Some("snapshot-every-mib"), "MIB", Some("64"),
        "Journal written between two snapshots, in MiB, 1 to 1048576; less restarts faster";
    HISTORY_DAYS: "history_days", "A4CO_HISTORY_DAYS", Some("history-days"), "DAYS", Some("0"),
        "Days that journal files are kept once a snapshot covers them, 0 to 36500; 0 keeps them for ever";
    STORE_CACHE_MIB: "store_cache_mib", "A4CO_STORE_CACHE_MIB", Some("store-cache-mib"), "MIB", Some("64"),
        "Memory for the store's cache, in MiB, 8 to 65536";
    MIN_FREE_DISK_MIB: "min_free_disk_mib", "A4CO_MIN_FREE_DISK_MIB", Some("min-free-disk-mib"), "MIB", Some("64"),
        "Free space below which new orders are refused, in MiB, 0 to 1048576";

    REQUEST_QUEUE_LEN: "request_queue_len", "A4CO_REQUEST_QUEUE_LEN", Some("request-queue-len"), "COUNT", Some("8192"),
        "Commands that may wait for the engine, 1 to 1000000; further ones get 503 with Retry-After";
    HTTP_HEADER_TIMEOUT: "http_header_timeout", "A4CO_HTTP_HEADER_TIMEOUT", Some("http-header-timeout"), "TIME", Some("10s"),
        "Time in which a request's head must have arrived, 1ms to 1h";
    HTTP_BODY_TIMEOUT: "http_body_timeout", "A4CO_HTTP_BODY_TIMEOUT", Some("http-body-timeout"), "TIME", Some("30s"),
        "Time in which a request's body must have arrived, 1ms to 1h";
    SHUTDOWN_TIMEOUT: "shutdown_timeout", "A4CO_SHUTDOWN_TIMEOUT", Some("shutdown-timeout"), "TIME", Some("30s"),
        "Time that open requests get to finish at a shutdown, 0ms to 1h";
}

/// Variables with the prefix that are not settings of the engine but of the command line.
pub const OTHER_ENV: [(&str, &str); 2] = [
    (CONFIG_ENV, "the configuration file, as --config"),
    (URL_ENV, "the server that client commands talk to, as --url"),
];

/// Names the configuration file.
pub const CONFIG_ENV: &str = "A4CO_CONFIG";

/// Names the server that client commands talk to.
pub const URL_ENV: &str = "A4CO_URL";

/// What every variable of this program begins with, but for those carried over.
pub const ENV_PREFIX: &str = "A4CO_";

/// The file that is read without being asked for, where it exists.
pub const DEFAULT_FILE: &str = "a4co.toml";

/// The key of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.name == name)
}

/// The name most like `wanted` among `names`, if one is much like it.
pub(super) fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = fold(wanted);
    let rated = names.map(|name| (distance(&wanted, &fold(name)), name));
    let (distance, name) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2.max(wanted.len() / 4)).then_some(name)
}

/// Characters to insert, remove or replace to turn `from` into `to` (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_follow_one_pattern() {
        let mut seen = BTreeSet::new();
        for key in ALL {
            assert!(seen.insert(key.name), "{} twice", key.name);
            assert!(seen.insert(key.env), "{} twice", key.env);
            if let Some(flag) = key.flag.filter(|flag| *flag != "nats") {
                assert_eq!(flag.replace('-', "_"), key.name);
            }
            let plain = key.name.to_ascii_uppercase();
            // Those of OpenTelemetry are everybody's.
            let is_shared = key.env.starts_with("OTEL_");
            assert!(is_shared || key.env == plain || key.env == format!("{ENV_PREFIX}{plain}"));
            assert!(!key.help.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let nearest = |wanted| nearest(wanted, ALL.iter().map(|key| key.name));
        assert_eq!(nearest("data-dir"), Some("data_dir"));
        assert_eq!(nearest("sagatimeout"), Some("saga_timeout"));
        assert_eq!(nearest("listn"), Some("listen"));
        assert_eq!(nearest("colour"), None);
    }
}
