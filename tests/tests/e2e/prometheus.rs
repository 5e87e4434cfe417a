//! A real Prometheus that scrapes the real binary: rules are well-formed and fire in their
//! own tests, every panel's query is answered with data, and faults make alerts fire.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Options, Order, Server, until};
use serde_json::Value;

use crate::metrics::{panels, root, some_load, text};

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(root().join("infra/prometheus"))
        .output()
        .expect("promtool, of the Debian package prometheus: ./test installs it");
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_configuration_and_the_rules_are_well_formed_and_every_alert_fires_in_its_test() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["check", "rules", "rules.yml", "alerts.yml"]);
    promtool(&["test", "rules", "tests.yml"]);
}

/// A Prometheus that scrapes one server each 200 ms. It is killed when it is dropped.
pub(crate) struct Prometheus {
    child: Child,
    client: Client,
}

impl Prometheus {
    #[track_caller]
    pub(crate) fn of(server: &Server) -> Self {
        let folder = server.options().scratch().join("prometheus");
        fs::create_dir(&folder).expect("a folder");
        // The same rules, only sooner.
        let alerts = text("infra/prometheus/alerts.yml");
        let alerts: Vec<String> = alerts
            .lines()
            .map(|line| match line.split_once("for: ") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 0s"),
                _ => line.to_owned(),
            })
            .collect();
        let rules = text("infra/prometheus/rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}\n\
             rule_files: [rules.yml, alerts.yml]\n\
             scrape_configs: [{{ job_name: a4co, static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
            server.address()
        );
        for (name, content) in [
            ("prometheus.yml", config),
            ("rules.yml", rules),
            ("alerts.yml", alerts.join("\n")),
        ] {
            fs::write(folder.join(name), content).expect("a file");
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=tsdb")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus, of the Debian package of that name: ./test installs it");
        let prometheus = Self {
            child,
            client: Client::new(address),
        };
        until("Prometheus", || {
            let answer = prometheus.client.try_get("/-/ready")?;
            (answer.status == 200).then_some(()).ok_or(answer.text())
        });
        prometheus
    }

    /// The result of a query.
    fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self
            .client
            .try_get(&format!("/api/v1/query?query={encoded}"))?;
        let answer = answer.json();
        let result = answer["data"]["result"].as_array().cloned();
        result.ok_or_else(|| answer.to_string())
    }

    /// Waits until a query has a result.
    #[track_caller]
    pub(crate) fn expect(&self, query: &str) {
        until(query, || match self.ask(query)?.as_slice() {
            [] => Err("no data".to_owned()),
            _ => Ok(()),
        });
    }

    #[track_caller]
    pub(crate) fn expect_alert(&self, alert: &str) {
        self.expect_alert_while(alert, || {});
    }

    /// Waits until an alert fires, and does something all the while: a counter that was not
    /// there before has to be seen to rise.
    #[track_caller]
    pub(crate) fn expect_alert_while(&self, alert: &str, mut act: impl FnMut()) {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        until(&query, || {
            act();
            match self.ask(&query)?.as_slice() {
                [] => Err("it does not fire".to_owned()),
                _ => Ok(()),
            }
        });
    }

    /// Now, of the alerts, those that fire.
    fn firing(&self) -> Vec<Value> {
        self.ask("ALERTS{alertstate=\"firing\"}")
            .unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_panel_has_data_and_a_healthy_engine_raises_no_alarm_until_it_is_killed() {
    let server = Options::new().flag("--sandbox-timeout", "1s").start();
    let client = server.client();
    client.stock("cup", 1_000);
    let prometheus = Prometheus::of(&server);
    prometheus.expect("up == 1");
    for _ in 0..20 {
        let _ = client.order(&Order::of(&[("cup", 1)]));
    }
    prometheus.expect("saga_success_total == 20");
    let mut firing = prometheus.firing();
    // These judge the machine's speed, and without their `for` a single slow write is enough.
    let of_speed = ["JournalSlow", "SagaSlow", "GatewaySlow"];
    firing.retain(|it| {
        !of_speed
            .iter()
            .any(|name| it["metric"]["alertname"] == *name)
    });
    assert!(firing.is_empty(), "{firing:?}");
    some_load(&client);
    for (title, query) in panels() {
        let query = query.replace("$__rate_interval", "1m");
        until(&format!("{title}: {query}"), || {
            let _ = client.order(&Order::of(&[("cup", 1)]));
            match prometheus.ask(&query)?.as_slice() {
                [] => Err("no data".to_owned()),
                _ => Ok(()),
            }
        });
    }
    server.kill();
    prometheus.expect_alert("EngineDown");
}

#[test]
fn faults_of_the_gateway_make_their_alerts_fire() {
    let server = Options::new()
        .flag("--payment-success-rate", "0.0")
        .flag("--sandbox-timeout", "6s")
        .start();
    let client = server.client();
    client.stock("cup", 1_000);
    let prometheus = Prometheus::of(&server);
    prometheus.expect("up == 1");
    let _ = client.order(&Order::of(&[("cup", 1)]));
    prometheus.expect_alert("SagaSuccessLow");
    let _ = client.place(&Order::of(&[("cup", 1)]).paid_by("pm_card_timeout"));
    prometheus.expect_alert("GatewayUnanswered");
    prometheus.expect_alert("GatewaySlow");
    prometheus.expect_alert("SagaSlow");
}

#[test]
fn a_parked_saga_raises_its_alarms_until_an_operator_s_retry_succeeds() {
    let server = Options::new()
        .flag("--sandbox-slow", "1h")
        .flag("--retry-first", "1ms")
        .flag("--retry-cap", "2ms")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let prometheus = Prometheus::of(&server);
    prometheus.expect("up == 1");
    assert!(prometheus.firing().is_empty());
    let order = client.place(&Order::of(&[("cup", 1)]).paid_by("pm_card_undo_fails"));
    let order_id = shop::id(&order);
    let _ = client.cancel(order_id, "no patience").expect(200);
    prometheus.expect_alert("SagaParked");
    prometheus.expect_alert("CompensationFailing");
    prometheus.expect_alert("GatewayUnanswered");
    assert_eq!(client.look(order_id)["parked"], true);
    let retry = format!("/api/v1/orders/{order_id}/retry");
    let _ = client.ask("POST", &retry).send().expect(200);
    expect_end(&client.ended(order_id), "CANCELLED", "COMPENSATED");
    prometheus.expect("saga_parked_count == 0");
    until("the alarm's end", || {
        let firing = prometheus.firing();
        let parked = firing
            .iter()
            .any(|it| it["metric"]["alertname"] == "SagaParked");
        (!parked).then_some(()).ok_or(format!("{firing:?}"))
    });
}
