//! `a4co nats status`: who leads, how far the streams are, and what needs somebody.

use a4co_core::replicated::{HostId, Lease};
use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use serde_json::Value;

fn status(arguments: &[&str]) -> (Option<i32>, Value) {
    let shown = run(&[&["--json", "nats", "status"], arguments].concat());
    let status = serde_json::from_slice(&shown.stdout);
    let told = String::from_utf8_lossy(&shown.stderr);
    (
        shown.status.code(),
        status.unwrap_or_else(|_| panic!("{told}")),
    )
}

fn problems(status: &Value) -> Vec<&str> {
    let all = status["problems"].as_array().expect("a list");
    all.iter().filter_map(Value::as_str).collect()
}

#[test]
fn without_streams_or_leaders_it_says_so_and_ends_with_1() {
    let mut nats = NatsServer::start(&[]);
    let url = nats.url();
    let (code, empty) = status(&["--nats", &url]);
    assert_eq!(code, Some(1));
    let missing = "stream A4CO_JOURNAL_ORDER is missing; `a4co nats setup` makes it";
    assert!(problems(&empty).contains(&missing), "{empty}");

    let setup = run(&["nats", "setup", "--nats", &url]);
    assert!(setup.status.success());
    let (code, set_up) = status(&["--nats", &url]);
    assert_eq!(code, Some(1));
    let nobody =
        ["order", "inventory", "payment"].map(|it| format!("nobody leads the {it} journal"));
    assert_eq!(problems(&set_up), nobody);
    assert_eq!(set_up["streams"].as_array().map(Vec::len), Some(9));
    assert_eq!(set_up["migration"], "none");

    nats.kill();
    let gone = run(&["nats", "status", "--nats", &url]);
    assert_eq!(gone.status.code(), Some(3));
}

#[test]
fn leases_that_were_just_written_are_leaders() {
    let nats = NatsServer::start(&["-m", "-1"]);
    let url = nats.url();
    let setup = run(&["nats", "setup", "--nats", &url]);
    assert!(setup.status.success());
    for (number, journal) in (1..).zip(["order", "inventory", "payment"]) {
        let lease = Lease {
            holder: Some(HostId::from_bytes([number; 16])),
            beat: 1,
        };
        let subject = format!("$KV.a4co_leases.leader.{journal}");
        nats.publish(&subject, &lease.encode());
    }
    let (code, led) = status(&["--nats", &url]);
    assert_eq!((code, problems(&led).len()), (Some(0), 0), "{led}");
    let inventory = &led["participants"][1];
    assert_eq!(inventory["leader"], "02".repeat(16));
    assert!(inventory["leaseAgeMs"].as_u64() < Some(10_000), "{led}");
    assert_eq!(inventory["epoch"], Value::Null);

    // The server says by itself that it does not sync always.
    let monitor = nats.monitor();
    let (code, asked) = status(&["--nats", &url, "--monitor", &monitor]);
    assert_eq!(code, Some(0));
    assert_eq!(asked["syncAlways"][0]["syncAlways"], false, "{asked}");
    assert!(
        problems(&asked)[0].contains("acknowledges before it syncs"),
        "{asked}"
    );

    let shown = run(&["nats", "status", "--nats", &url]);
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("Nothing needs anybody."), "{shown}");
}
