//! `/metrics` of the real binary: every name that documents, rules and panels use is there,
//! gauges survive a restart, and the two that must be zero are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use a4co_tests::{Client, Options, Order, until};
use serde_json::Value;

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the repository").to_owned()
}

/// A file of the repository.
#[track_caller]
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// Some of everything: confirmed, declined, sold out, cancelled late, an unknown outcome.
pub(crate) fn some_load(client: &Client) {
    client.stock("cup", 1_000);
    client.stock("rare", 1);
    for _ in 0..5 {
        let _ = client.order(&Order::of(&[("cup", 2)]));
    }
    let _ = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_declined"));
    let _ = client.order(&Order::of(&[("rare", 2)]));
    let _ = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_timeout"));
}

/// A sample's value, by its name with its labels.
pub(crate) fn value(client: &Client, sample: &str) -> f64 {
    let shown = client.get("/metrics").expect(200).text();
    let found = shown.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == sample).then(|| value.parse().expect("a number"))
    });
    found.unwrap_or_else(|| panic!("{sample} is not shown:\n{shown}"))
}

/// Each metric's type, and the names of its labels.
fn emitted(client: &Client) -> (BTreeMap<String, String>, BTreeMap<String, BTreeSet<String>>) {
    let shown = client.get("/metrics").expect(200).text();
    let (mut types, mut labels) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for line in shown.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a type");
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once(['{', ' ']).expect("a sample");
            let known = labels.entry(name.to_owned()).or_default();
            if let Some((inside, _)) = rest.rsplit_once('}') {
                // Values hold no comma and no quote: they are names of states and routes.
                let pairs = inside.split(',').filter_map(|pair| pair.split_once("=\""));
                known.extend(pairs.map(|(label, _)| label.to_owned()));
            }
        }
    }
    (types, labels)
}

/// The same of a process that takes its money through Stripe, which is not there.
fn with_stripe() -> (BTreeMap<String, String>, BTreeMap<String, BTreeSet<String>>) {
    let server = Options::new().with_stripe("http://127.0.0.1:9").start();
    let client = server.client();
    client.stock("cup", 1);
    let _ = client.place(&Order::of(&[("cup", 1)]).paid_by("pm_card_visa"));
    let unsigned = client.post("/webhooks/stripe", &serde_json::json!({}));
    assert_eq!(unsigned.status, 400, "{unsigned:?}");
    until("a request to Stripe", || {
        let (types, labels) = emitted(&client);
        if labels.contains_key("stripe_requests_total") {
            Ok((types, labels))
        } else {
            Err("none was made".to_owned())
        }
    })
}

/// The words of a text that may be names: letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// The queries of the dashboard's panels, by title.
pub(crate) fn panels() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&text("infra/grafana/dashboards/a4co-saga.json")).expect("JSON");
    assert_eq!(dashboard["title"], "A4CO - Order Saga Monitoring");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let queries = panels.flat_map(|panel| {
        let title = panel["title"].as_str().expect("a title");
        let targets = panel["targets"].as_array().expect("targets").iter();
        targets.map(move |target| {
            let query = target["expr"].as_str().expect("a query");
            (title.to_owned(), query.to_owned())
        })
    });
    queries.collect()
}

/// The names of the alerts, with their lines.
pub(crate) fn alerts() -> Vec<String> {
    let rules = text("infra/prometheus/alerts.yml");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn documents_rules_and_panels_name_only_what_the_binary_emits_and_all_of_it() {
    let server = Options::new().flag("--sandbox-timeout", "10ms").start();
    let client = server.client();
    some_load(&client);
    let (mut types, mut labels) = emitted(&client);
    let (of_stripe, labels_of_stripe) = with_stripe();
    types.extend(of_stripe);
    for (name, known) in labels_of_stripe {
        labels.entry(name).or_default().extend(known);
    }

    // The table of docs/METRICS.md: every metric, with its type and its labels.
    let mut documented = BTreeSet::new();
    for row in text("docs/METRICS.md").lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some(name) = cells.get(1).and_then(|cell| cell.strip_prefix('`')) else {
            continue;
        };
        let name = name.trim_end_matches('`');
        assert_eq!(
            types.get(name).map(String::as_str),
            Some(cells[2]),
            "{name}"
        );
        let said: BTreeSet<String> = cells[3]
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let sample = labels
            .get(name)
            .or_else(|| labels.get(&format!("{name}_count")));
        assert_eq!(sample, Some(&said), "the labels of {name}");
        documented.insert(name.to_owned());
    }
    let shown: BTreeSet<String> = types.keys().cloned().collect();
    assert_eq!(documented, shown);

    // Whatever looks like a metric in rules, panels and runbooks is one.
    let families: BTreeSet<&str> = shown
        .iter()
        .filter_map(|name| name.split('_').next())
        .collect();
    let rules = text("infra/prometheus/rules.yml");
    let recorded: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .collect();
    let alerts_text = text("infra/prometheus/alerts.yml");
    let mut queries: Vec<String> = panels().into_iter().map(|(_, query)| query).collect();
    for line in rules.lines().chain(alerts_text.lines()) {
        if let Some(query) = line.trim().strip_prefix("expr: ") {
            let query = recorded
                .iter()
                .fold(query.to_owned(), |query, name| query.replace(name, ""));
            queries.push(query);
        }
    }
    let known_labels: BTreeSet<&str> = labels.values().flatten().map(String::as_str).collect();
    for query in &queries {
        // What stands in quotes is a label's value.
        let bare: Vec<&str> = query.split('"').step_by(2).collect();
        for word in words(&bare.join("\"\"")).filter(|word| word.contains('_')) {
            let is_known = labels.contains_key(word)
                || known_labels.contains(word)
                || matches!(word, "histogram_quantile" | "__rate_interval");
            assert!(is_known, "no metric or label {word}: {query}");
        }
        for matcher in query.split('{').skip(1) {
            let (inside, _) = matcher.split_once('}').expect("a closing brace");
            for pair in inside.split(',') {
                let label = pair.split(['=', '~', '!']).next().unwrap_or_default();
                let is_known = known_labels.contains(label) || label == "job";
                assert!(is_known, "no label {label}: {query}");
            }
        }
    }
    let operations = text("docs/OPERATIONS.md");
    let runbooks = operations.split("## Alerts").nth(1).expect("runbooks");
    let runbooks = runbooks.split("\n## ").next().unwrap_or_default();
    let settings = text(".env.example");
    for quoted in runbooks.split('`').skip(1).step_by(2) {
        let name = quoted.split('{').next().unwrap_or_default();
        let looks_like_one = name.contains('_')
            && words(name).count() == 1
            && families.contains(name.split('_').next().unwrap_or_default());
        let is_setting = settings.contains(&format!("{}=", name.to_ascii_uppercase()));
        let is_label = known_labels.contains(name);
        assert!(
            !looks_like_one || is_setting || is_label || types.contains_key(name),
            "no metric {name}"
        );
    }

    // Every alert has its runbook and its unit test, and every runbook its alert.
    let tests = text("infra/prometheus/tests.yml");
    let alerts = alerts();
    for alert in &alerts {
        let link = format!("runbook: docs/OPERATIONS.md#{}", alert.to_ascii_lowercase());
        assert!(alerts_text.contains(&link), "{link}");
        assert!(tests.contains(&format!("- name: {alert}\n")), "{alert}");
        let section = runbooks.split(&format!("### {alert}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{alert} has no runbook"));
        let section = section.split("### ").next().unwrap_or_default();
        for part in ["- Symptom:", "- Meaning:", "- Look at:", "- Do:"] {
            assert!(section.contains(part), "{alert} lacks {part}");
        }
    }
    assert_eq!(runbooks.matches("\n### ").count(), alerts.len());
}

#[test]
fn gauges_are_right_after_a_restart_and_a_crash() {
    let server = Options::new()
        .flag("--sandbox-timeout", "10ms")
        .flag("--sandbox-slow", "1h")
        .start();
    let client = server.client();
    some_load(&client);
    let slow = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_slow"));
    let _ = client.in_saga_state(a4co_tests::shop::id(&slow), &["PAYMENT_PROCESSING"]);
    let gauges = [
        ("saga_active_count", 1.0),
        ("inventory_reservations_active", 1.0),
        ("order_status_count{status=\"CONFIRMED\"}", 6.0),
        ("order_status_count{status=\"CANCELLED\"}", 1.0),
        ("order_status_count{status=\"FAILED\"}", 1.0),
        ("order_status_count{status=\"INVENTORY_RESERVED\"}", 1.0),
        ("saga_status_count{status=\"COMPLETED\"}", 6.0),
        ("saga_status_count{status=\"PAYMENT_PROCESSING\"}", 1.0),
        ("stock_leaked_units", 0.0),
        ("order_money_unaccounted_minor", 0.0),
    ];
    let expect = |client: &Client| {
        for (sample, expected) in gauges {
            until(sample, || {
                let found = value(client, sample);
                let is_right = (found - expected).abs() < 0.5;
                is_right
                    .then_some(())
                    .ok_or_else(|| format!("{found}, not {expected}"))
            });
        }
    };
    expect(&client);
    assert!(value(&client, "saga_success_rate") < 1.0);
    let options = server.options().clone();
    server.kill();
    let server = options.start();
    expect(&server.client());
    let age = "saga_oldest_active_age_seconds{status=\"PAYMENT_PROCESSING\"}";
    assert!(value(&server.client(), age) > 0.0);
    assert!(server.stop().success());
    let server = options.start();
    expect(&server.client());
    // A late word about an order that has ended counts it no second time.
    let client = server.client();
    let confirmed = client.all_orders("status=CONFIRMED");
    let order_id = a4co_tests::shop::id(&confirmed[0]);
    let refused = client.post(
        &format!("/api/v1/orders/{order_id}/cancel"),
        &serde_json::json!({ "reason": "too late" }),
    );
    assert_eq!(refused.status, 409, "{refused:?}");
    expect(&client);
}
