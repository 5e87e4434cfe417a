//! The load generator and the demo, against a server: they end well, and say what they saw.

use a4co_tests::Options;
use a4co_tests::server::run;
use serde_json::Value;

#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&said).expect("one JSON object")
}

#[test]
fn a_load_in_both_loops_leaves_books_that_agree() {
    let server = Options::new().flag("--payment-success-rate", "0.8").start();
    let url = format!("http://{}", server.address());
    let common = [
        "bench",
        "--json",
        "--url",
        &url,
        "--warmup",
        "0s",
        "--duration",
        "1s",
    ];
    let uniform = ["--clients", "4", "--products", "10"];
    let hot = [
        "--rate",
        "40",
        "--workload",
        "hot",
        "--products",
        "5",
        "--stock",
        "20",
    ];
    for own in [&uniform[..], &hot[..]] {
        let report = report(&[&common[..], own].concat());
        assert_eq!(report["books"]["agree"], true, "{report}");
        assert!(report["latencyMs"]["count"].as_u64() > Some(0), "{report}");
        let sold = report["books"]["soldByServer"].as_u64();
        assert!(sold > Some(0), "{report}");
        assert_eq!(report["books"]["soldByClients"].as_u64(), sold);
    }
}

#[test]
fn the_demo_plays_every_scene_as_it_should_end() {
    let server = Options::new()
        .flag("--sandbox-timeout", "100ms")
        .flag("--sandbox-slow", "300ms")
        .start();
    let url = format!("http://{}", server.address());
    let report = report(&[
        "demo", "--json", "--url", &url, "--orders", "16", "--rate", "20",
    ]);
    assert_eq!(report["unexpected"], Value::Array(Vec::new()), "{report}");
    assert_eq!(
        report["scenes"].as_object().map(serde_json::Map::len),
        Some(8)
    );
}
