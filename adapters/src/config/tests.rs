//! Precedence, problems and what is shown, from whole configurations.

use std::collections::{BTreeMap, BTreeSet};

use a4co_core::time::Millis;
use secrecy::ExposeSecret;

use super::*;

/// What was given, without touching this process's environment.
fn given(flags: &[(&'static str, &str)], env: &[(&str, &str)], file: &str) -> Given {
    Given {
        flags: flags
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect(),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect(),
        file: (!file.is_empty()).then(|| ("a4co.toml".to_owned(), file.to_owned())),
    }
}

#[track_caller]
fn effective(given: &Given) -> Effective {
    Effective::from_given(given).expect("a good configuration")
}

/// The one problem that there is.
#[track_caller]
fn problem(given: &Given) -> Problem {
    let error = Effective::from_given(given).expect_err("a bad configuration");
    assert_eq!(error.problems.len(), 1, "{error}");
    error.problems.into_iter().next().expect("one")
}

#[track_caller]
fn row(effective: &Effective, key: &str) -> (Option<String>, String) {
    let row = effective
        .rows
        .iter()
        .find(|row| row.key == key)
        .expect("a known key");
    (row.value.clone(), row.source.to_string())
}

#[test]
fn nothing_given_gives_the_defaults() {
    let effective = effective(&Given::default());
    let config = &effective.config;
    assert_eq!(config.listen.socket_addr().to_string(), "127.0.0.1:3004");
    assert!(config.listen.is_loopback());
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.settings, Settings::default());
    assert_eq!(config.sandbox, SandboxConfig::default());
    assert_eq!(config.log.directives, "info");
    assert_eq!(config.storage.history, None);
    assert_eq!(config.storage.store_cache_bytes, 64 * MIB);
    assert!(config.stripe.secret_key.is_none());
    assert!(effective.notes.is_empty());
    assert_eq!(effective.rows.len(), keys::ALL.len());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let steps: [(&[_], &[_], &str, &str, &str); 4] = [
        (&[], &[], "", "./data", "default"),
        (
            &[],
            &[],
            "# one\n\ndata_dir = \"f\"\n",
            "f",
            "a4co.toml line 3",
        ),
        (
            &[],
            &[("A4CO_DATA_DIR", "e")],
            "data_dir = \"f\"",
            "e",
            "environment variable A4CO_DATA_DIR",
        ),
        (
            &[("data_dir", "g")],
            &[("A4CO_DATA_DIR", "e")],
            "data_dir = \"f\"",
            "g",
            "flag --data-dir",
        ),
    ];
    for (flags, env, file, value, source) in steps {
        let effective = effective(&given(flags, env, file));
        assert_eq!(effective.config.data_dir, Path::new(value));
        assert_eq!(
            row(&effective, "data_dir"),
            (Some(value.to_owned()), source.to_owned())
        );
    }
}

#[test]
fn the_carried_over_names_work() {
    let env = [
        ("USE_SIMULATED_PAYMENT", "true"),
        ("PAYMENT_SUCCESS_RATE", "0.95"),
        ("LOG_LEVEL", "debug"),
        ("NATS_URL", ""),
        ("PATH", "/bin"),
    ];
    let config = effective(&given(&[], &env, "")).config;
    assert_eq!(
        config.sandbox.success_rate,
        Rate::from_parts_per_million(950_000)
    );
    assert_eq!(config.log.directives, "info,a4co=debug,sled=warn");
}

#[test]
fn numbers_of_the_file_are_read_as_they_stand() {
    let file = "payment_success_rate = 0.1\nmax_active_orders = 1_000\nuse_simulated_payment = true\nsaga_timeout = \"90s\"\npayment_timeout = '45s'";
    let error = problem(&given(&[], &[], &file.replace("1_000", "1_0.5")));
    assert!(error.problem.contains("whole number"), "{error}");
    let config = effective(&given(&[], &[], &file.replace("1_000", "1000"))).config;
    assert_eq!(config.sandbox.success_rate.parts_per_million(), 100_000);
    assert_eq!(config.settings.max_active_orders, 1000);
    assert_eq!(config.settings.saga_timeout_ms, Millis::from_secs(90));
    let config = effective(&given(&[], &[], file)).config;
    assert_eq!(config.settings.max_active_orders, 1000);
}

#[test]
fn all_problems_are_told_at_once() {
    let flags = [("listen", "nowhere")];
    let env = [
        ("PAYMENT_SUCCESS_RATE", "1.5"),
        ("A4CO_DATADIR", "x"),
        ("A4CO_HOLD", "15"),
    ];
    let file = "store_cache_mib = 1\nhistory-days = 3\nretry_first = [1]\nlog_format = \"xml\"\n";
    let error = Effective::from_given(&given(&flags, &env, file)).expect_err("bad");
    let found: BTreeSet<(&str, String)> = error
        .problems
        .iter()
        .map(|it| (it.key.as_str(), it.source.to_string()))
        .collect();
    let wanted = BTreeSet::from([
        ("listen", "flag --listen".to_owned()),
        (
            "payment_success_rate",
            "environment variable PAYMENT_SUCCESS_RATE".to_owned(),
        ),
        (
            "A4CO_DATADIR",
            "environment variable A4CO_DATADIR".to_owned(),
        ),
        ("hold", "environment variable A4CO_HOLD".to_owned()),
        ("store_cache_mib", "a4co.toml line 1".to_owned()),
        ("history-days", "a4co.toml line 2".to_owned()),
        ("retry_first", "a4co.toml line 3".to_owned()),
        ("log_format", "a4co.toml line 4".to_owned()),
    ]);
    assert_eq!(found, wanted, "{error}");
    let told = error.to_string();
    for part in [
        "8 problems",
        "payment_success_rate = 1.5 (environment variable PAYMENT_SUCCESS_RATE): is above 1",
        "rename it to A4CO_DATA_DIR",
        "rename it to history_days",
        "has no unit",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_line() {
    let problem = problem(&given(&[], &[], "listen = \"127.0.0.1:1\"\ndata_dir =\n"));
    assert!(problem.problem.starts_with("is not TOML"), "{problem}");
    assert_eq!(problem.source.to_string(), "a4co.toml line 2");
    let twice = Effective::from_given(&given(&[], &[], "hold = \"1h\"\nhold = \"2h\"\n"));
    assert!(twice.is_err(), "the same key twice");
}

#[test]
fn timers_that_contradict_each_other_are_named_with_both_values() {
    let problem = problem(&given(
        &[("hold", "5m")],
        &[("A4CO_SAGA_TIMEOUT", "10m")],
        "",
    ));
    assert_eq!(problem.key, "hold");
    assert_eq!(
        problem.to_string(),
        "hold = 5m (flag --hold): does not outlast saga_timeout = 10m (environment variable A4CO_SAGA_TIMEOUT). To fix it, raise hold or lower saga_timeout."
    );

    let both = given(
        &[
            ("hold", "1m"),
            ("saga_timeout", "2m"),
            ("payment_timeout", "3m"),
        ],
        &[],
        "",
    );
    let error = Effective::from_given(&both).expect_err("two contradictions");
    let found: Vec<&str> = error.problems.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(found, ["hold", "saga_timeout"]);

    let error = Effective::from_given(&given(&[("retry_cap", "100ms")], &[], ""));
    assert!(error.is_err_and(|error| error.problems[0].key == "retry_cap"));
}

#[test]
fn a_value_that_does_not_parse_is_not_also_a_contradiction() {
    let problem = problem(&given(&[("saga_timeout", "soon"), ("hold", "1m")], &[], ""));
    assert_eq!(problem.key, "saga_timeout");
}

#[test]
fn what_this_build_does_not_have_is_refused_and_not_ignored() {
    let alone = problem(&given(&[("nats_user", "ada")], &[], ""));
    assert!(alone.problem.contains("nats_password"), "{alone}");
    let cert = problem(&given(&[("nats_cert", "c.pem")], &[], ""));
    assert!(cert.problem.contains("nats_key"), "{cert}");
    let role = problem(&given(&[("role", "payment")], &[], ""));
    assert!(role.problem.contains("without nats_url"), "{role}");

    let stripe = problem(&given(&[], &[("USE_SIMULATED_PAYMENT", "false")], ""));
    assert!(stripe.problem.contains("stripe_secret_key"), "{stripe}");
}

/// A configuration with Stripe and these settings beside.
fn with_stripe<'t>(key: &'t str, more: &[(&'t str, &'t str)]) -> Given {
    let mut env = vec![
        ("USE_SIMULATED_PAYMENT", "false"),
        ("STRIPE_SECRET_KEY", key),
    ];
    env.extend(more);
    given(&[], &env, "")
}

#[test]
fn a_live_key_is_taken_only_where_it_was_asked_for_by_name() {
    for key in ["sk_test_hunter2", "rk_test_hunter2"] {
        let config = effective(&with_stripe(key, &[])).config;
        assert_eq!(config.gateway, GatewayChoice::Stripe);
        assert!(!config.stripe.is_live);
    }
    for key in ["sk_live_hunter2", "rk_live_hunter2"] {
        let refused = problem(&with_stripe(key, &[]));
        assert!(refused.problem.contains("live key"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        let asked = effective(&with_stripe(key, &[("A4CO_STRIPE_LIVE", "true")]));
        assert!(asked.config.stripe.is_live);
        assert!(asked.notes.iter().any(|note| note.contains("LIVE")));
    }
    let mixed = problem(&with_stripe("sk_test_a", &[("A4CO_STRIPE_LIVE", "true")]));
    assert!(mixed.problem.contains("test key"), "{mixed}");
    // Neither one nor the other, or a publishable one.
    for key in ["sk_hunter2", "pk_test_hunter2", "hunter2"] {
        let unclear = problem(&with_stripe(key, &[]));
        assert!(
            !format!("{unclear} {unclear:?}").contains("hunter2"),
            "{unclear}"
        );
    }
}

#[test]
fn a_live_key_goes_to_nobody_but_stripe() {
    let elsewhere = ("A4CO_STRIPE_API_URL", "http://127.0.0.1:8420");
    let live = ("A4CO_STRIPE_LIVE", "true");
    let refused = problem(&with_stripe("sk_live_hunter2", &[elsewhere, live]));
    assert!(refused.problem.contains("not Stripe's own"), "{refused}");
    let test = effective(&with_stripe("sk_test_a", &[elsewhere]));
    assert!(
        test.notes
            .iter()
            .any(|note| note.contains("127.0.0.1:8420"))
    );
    for url in [
        "127.0.0.1:8420",
        "ftp://a",
        "http://",
        "https://user@host",
        "http://a?b=c",
    ] {
        let bad = problem(&with_stripe("sk_test_a", &[("A4CO_STRIPE_API_URL", url)]));
        assert!(bad.problem.contains("address"), "{bad}");
    }
}

#[test]
fn secrets_are_kept_and_never_shown() {
    let env = [
        ("STRIPE_SECRET_KEY", "sk_test_hunter2"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_hunter2"),
    ];
    let effective = effective(&given(&[], &env, ""));
    let secret = effective.config.stripe.secret_key.as_ref().expect("given");
    assert_eq!(secret.expose_secret(), "sk_test_hunter2");
    let rows = serde_json::to_string(&effective.rows).expect("rows are JSON");
    let notes = effective.notes.join(" ");
    for told in [format!("{:?}", effective.config), rows, notes.clone()] {
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(notes.contains("stripe_secret_key"), "{notes}");

    let bad = problem(&given(&[], &[], "stripe_secret_key = \"hunter2\""));
    assert!(!format!("{bad} {bad:?}").contains("hunter2"), "{bad}");
}

#[test]
fn an_open_door_is_allowed_and_noted() {
    let effective = effective(&given(&[("listen", "0.0.0.0:3004")], &[], ""));
    assert!(effective.notes[0].contains("0.0.0.0:3004"));
}

#[test]
fn variables_that_kubernetes_makes_are_none_of_ours() {
    let env = [
        ("A4CO_SERVICE_HOST", "10.0.0.1"),
        ("A4CO_SERVICE_PORT_HTTP", "3004"),
        ("A4CO_PORT", "tcp://10.0.0.1:3004"),
        ("A4CO_PORT_3004_TCP_ADDR", "10.0.0.1"),
        ("A4CO_URL", "http://127.0.0.1:3004"),
        ("A4CO_CONFIG", "x.toml"),
    ];
    effective(&given(&[], &env, ""));
    let port = problem(&given(&[], &[("A4CO_PORT", "3004")], ""));
    assert_eq!(port.key, "A4CO_PORT");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut given = Given::default();
    given
        .env
        .insert("A4CO_DATA_DIR".to_owned(), OsString::from_vec(vec![0xff]));
    assert_eq!(problem(&given).problem, "is not UTF-8");
}

#[test]
fn a_named_file_must_exist() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a4co.toml");
    let error = read_file(&path, true).expect_err("no such file");
    assert!(error.to_string().contains("cannot be read"), "{error}");
    assert_eq!(read_file(&path, false), Ok(None));
    std::fs::write(&path, "hold = \"1h\"").expect("written");
    let read = read_file(&path, true).expect("readable").expect("there");
    assert_eq!(read.1, "hold = \"1h\"");
}

/// The lines `NAME=value` of `.env.example`, commented out or not.
fn example() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in include_str!("../../../.env.example").lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if name.is_empty()
            || !name
                .bytes()
                .all(|c| c.is_ascii_uppercase() || c == b'_' || c.is_ascii_digit())
        {
            continue;
        }
        assert!(
            found.insert(name.to_owned(), value.to_owned()).is_none(),
            "{name} twice"
        );
    }
    found
}

#[test]
fn the_example_names_every_variable_with_its_default() {
    let example = example();
    let known = keys::ALL.iter().map(|key| key.env);
    let known: BTreeSet<&str> = known.chain(keys::OTHER_ENV.map(|(name, _)| name)).collect();
    assert_eq!(
        example.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known
    );
    for key in keys::ALL {
        assert_eq!(
            example[key.env],
            key.default.unwrap_or_default(),
            "{}",
            key.env
        );
    }
    let env: Vec<(&str, &str)> = example
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let effective = effective(&given(&[], &env, ""));
    assert_eq!(effective.config.settings, Settings::default());
    assert!(effective.notes.is_empty());
}
