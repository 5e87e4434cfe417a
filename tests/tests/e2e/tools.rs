//! The tools around a server (load generator, demo, probe, completions, manual): they end
//! well, and say what they saw.

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

#[test]
fn a_probe_needs_no_curl() {
    let server = Options::new().start();
    let url = format!("http://{}", server.address());
    let ready = run(&["health", "--url", &url]);
    assert_eq!(
        (ready.status.code(), &*ready.stdout),
        (Some(0), &b"ok\n"[..])
    );
    assert!(server.stop().success());
    let gone = run(&["health", "--url", &url]);
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let shells = ["bash", "zsh", "fish", "elvish", "powershell"];
    for shell in shells {
        let completions = run(&["completions", shell]);
        let script = String::from_utf8_lossy(&completions.stdout);
        assert!(
            script.contains("restore") && script.contains("data-dir"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let written = run(&["man", &folder.to_string_lossy()]);
    assert!(written.status.success(), "{written:?}");
    let page = std::fs::read_to_string(folder.join("a4co-serve.1")).expect("a page for serve");
    assert!(page.contains("saga\\-timeout"), "{page}");
    let nowhere = run(&["man", &folder.join("nowhere").to_string_lossy()]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
}
