//! `a4co nats setup`: what it makes, what it refuses, and that no secret is shown.

use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;

fn said(output: &std::process::Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).expect("text")
}

#[test]
fn streams_are_made_once_and_then_checked() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let check = ["nats", "setup", "--check", "--nats", &url];
    let missing = run(&check);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("stream A4CO_JOURNAL_ORDER is missing"));

    let made = run(&["nats", "setup", "--nats", &url]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    assert_eq!(said(&made).matches(" made ").count(), 10);
    let checked = run(&check);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert_eq!(said(&checked).matches("as it must be").count(), 10);

    let other = run(&["nats", "setup", "--nats", &url, "--nats-replicas", "3"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("num_replicas is 1 and must be 3"));
}

#[test]
fn a_server_that_is_gone_or_refuses_us_is_named_without_secrets() {
    let mut nats = NatsServer::start(&["--user", "ada", "--pass", "hunter2"]);
    let port = nats.url().rsplit(':').next().expect("a port").to_owned();
    let setup = |url: &str| run(&["nats", "setup", "--nats", url]);

    let right = setup(&format!("nats://ada:hunter2@127.0.0.1:{port}"));
    assert_eq!(right.status.code(), Some(0), "{}", said(&right));
    assert!(!said(&right).contains("hunter2"));
    let wrong = setup(&format!("nats://ada:hunter3@127.0.0.1:{port}"));
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
    assert!(!said(&wrong).contains("hunter3"));
    nats.kill();
    let gone = setup(&format!("nats://ada:hunter2@127.0.0.1:{port}"));
    assert_eq!(gone.status.code(), Some(3), "{}", said(&gone));
    assert!(!said(&gone).contains("hunter2"));
}
