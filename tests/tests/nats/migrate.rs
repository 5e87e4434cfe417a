//! `a4co migrate`: from a data folder to the servers and back, with all that is under way.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use a4co_core::replicated::{HostId, Lease};
use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use a4co_tests::{Options, Order, Server, shop};
use serde_json::{Value, json};

#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).expect("text")
}

fn path(folder: &Path) -> String {
    folder.to_string_lossy().into_owned()
}

fn to_nats<'a>(folder: &'a str, url: &'a str) -> [&'a str; 7] {
    [
        "--json",
        "migrate",
        "to-nats",
        "--data-dir",
        folder,
        "--nats",
        url,
    ]
}

fn from_nats<'a>(folder: &'a str, url: &'a str) -> [&'a str; 7] {
    [
        "--json",
        "migrate",
        "from-nats",
        "--data-dir",
        folder,
        "--nats",
        url,
    ]
}

/// What a check says of the journals' contents, wherever they are.
fn contents(report: &Value) -> Value {
    let parts = [
        "events",
        "orders",
        "sagas",
        "parked",
        "reservations",
        "payments",
        "stock",
        "money",
        "lastEventAt",
    ];
    parts.iter().map(|part| report[part].clone()).collect()
}

/// An engine that has seen orders end in every way, and has some under way.
struct Shop {
    options: Options,
    server: Server,
    paying: Vec<String>,
    undoing: String,
}

impl Shop {
    fn open() -> Self {
        let options = Options::new();
        let server = options.start();
        let client = server.client();
        client.stock("cup", 1_000);
        for number in 0..30 {
            let order = client.order(&Order::of(&[("cup", 1 + number % 3)]));
            shop::expect_end(&order, "CONFIRMED", "COMPLETED");
        }
        let declined = Order::of(&[("cup", 1)]).paid_by("pm_card_declined");
        shop::expect_end(&client.order(&declined), "CANCELLED", "COMPENSATED");
        shop::expect_end(
            &client.order(&Order::of(&[("cup", 999_999)])),
            "FAILED",
            "FAILED",
        );
        let adjusted = client
            .ask("POST", "/api/v1/inventory/products/cup/adjustments")
            .key("delivery-1")
            .json(&json!({ "delta": 5, "reason": "delivery" }));
        adjusted.send().expect(200);
        assert!(server.stop().success());
        // From here on the gateway does not answer in time.
        let server = options.clone().flag("--sandbox-latency", "1h").start();
        let client = server.client();
        let paying = || {
            let order = client.place(&Order::of(&[("cup", 2)]));
            let order_id = shop::id(&order).to_owned();
            let _: Value = client.in_saga_state(&order_id, &["PAYMENT_PROCESSING"]);
            order_id
        };
        let undoing = paying();
        let _ = client.cancel(&undoing, "changed my mind").expect(200);
        let _: Value = client.in_saga_state(&undoing, &["COMPENSATING"]);
        let paying = vec![paying(), paying()];
        Self {
            options,
            server,
            paying,
            undoing,
        }
    }
}

#[test]
fn a_data_folder_goes_to_the_servers_and_back_with_all_that_is_under_way() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let Shop {
        options,
        server,
        paying,
        undoing,
    } = Shop::open();
    // No orderly end: nothing but the journal counts.
    server.kill();
    let folder = path(options.data_dir());
    let before = report(&["--json", "verify", "--data-dir", &folder]);

    let moved = report(&to_nats(&folder, &url));
    assert_eq!(contents(&moved), contents(&before));
    assert_eq!(before["sagas"]["COMPENSATING"], 1);
    assert_eq!(before["sagas"]["PAYMENT_PROCESSING"], 2);
    assert_eq!(moved["migrationVersion"], 1);
    let there = report(&["--json", "verify", "--nats", &url]);
    assert_eq!(contents(&there), contents(&before), "{there}");
    assert_eq!(there["findings"]["total"], 0);
    let journals = there["journals"].as_array().expect("three journals");
    for journal in journals {
        assert!(journal["lastMessage"].as_u64() > Some(1), "{journal}");
        assert_eq!(
            (&journal["epoch"], &journal["claims"]),
            (&json!(1), &json!(1))
        );
    }

    // The same again finds it all there, and changes nothing.
    let again = report(&to_nats(&folder, &url));
    assert!(again["messagesFound"].as_u64() > Some(3), "{again}");
    assert_eq!(again["journals"], moved["journals"]);

    let back = options.scratch().join("back");
    let back_folder = path(&back);
    let returned = report(&from_nats(&back_folder, &url));
    assert_eq!(contents(&returned), contents(&before));
    let after = report(&["--json", "verify", "--data-dir", &back_folder]);
    assert_eq!(contents(&after), contents(&before));
    let full = run(&from_nats(&back_folder, &url));
    assert_eq!(full.status.code(), Some(1));
    assert!(
        said(&full).contains("is not empty (it has journal)"),
        "{}",
        said(&full)
    );

    // What was under way goes on, under a gateway that answers.
    assert!(moved["sandboxEntries"].as_u64() >= Some(31), "{moved}");
    assert_eq!(returned["sandboxEntries"], moved["sandboxEntries"]);
    let server = options.clone().data(&back).start();
    let client = server.client();
    for order_id in &paying {
        shop::expect_end(&client.ended(order_id), "CONFIRMED", "COMPLETED");
    }
    shop::expect_end(&client.ended(&undoing), "CANCELLED", "COMPENSATED");
    let replayed = client
        .ask("POST", "/api/v1/inventory/products/cup/adjustments")
        .key("delivery-1")
        .json(&json!({ "delta": 5, "reason": "delivery" }))
        .send()
        .expect(200);
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    assert!(server.stop().success());
    let last = report(&["--json", "verify", "--data-dir", &back_folder]);
    assert_eq!(last["findings"]["total"], 0, "{last}");
    assert_eq!(last["stock"]["reserved"], 0);
}

#[test]
fn an_order_that_was_under_way_goes_on_in_the_cluster_and_back_in_a_folder() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let Shop {
        options,
        server,
        paying,
        undoing,
    } = Shop::open();
    server.kill();
    let folder = path(options.data_dir());
    let _ = report(&to_nats(&folder, &url));

    let one = options.scratch().join("one");
    let process = options
        .clone()
        .data(&one)
        .flag("--nats", &url)
        .flag("--lease", "2s")
        .start();
    let client = process.client();
    for order_id in &paying {
        shop::expect_end(&client.ended(order_id), "CONFIRMED", "COMPLETED");
    }
    shop::expect_end(&client.ended(&undoing), "CANCELLED", "COMPENSATED");
    let more = client.order(&Order::of(&[("cup", 3)]));
    shop::expect_end(&more, "CONFIRMED", "COMPLETED");
    let metrics = client.get("/metrics").expect(200).text().to_owned();
    let consumed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("nats_messages_consumed_total "))
        .and_then(|count| count.parse::<u64>().ok());
    assert!(consumed > Some(10), "{consumed:?}");
    let running = report(&["--json", "verify", "--nats", &url]);
    assert_eq!(running["findings"]["total"], 0, "{running}");
    let led = report(&["--json", "nats", "status", "--nats", &url]);
    assert_eq!(led["migration"], "done");
    assert_eq!(led["participants"][0]["epoch"], 2);

    // A folder that has gone on elsewhere is not moved there again.
    let twice = run(&to_nats(&folder, &url));
    assert_eq!(twice.status.code(), Some(1));
    assert!(said(&twice).contains("is led by"), "{}", said(&twice));
    assert!(process.stop().success());
    let twice = run(&to_nats(&folder, &url));
    assert_eq!(twice.status.code(), Some(1));
    assert!(said(&twice).contains("is not empty"), "{}", said(&twice));

    let back = options.scratch().join("back");
    let returned = report(&from_nats(&path(&back), &url));
    assert_eq!(returned["sagas"]["COMPLETED"], 33);
    let server = options.clone().data(&back).start();
    let client = server.client();
    client.expect_stock("cup", 938, 0, 67);
    let last = client.order(&Order::of(&[("cup", 1)]));
    shop::expect_end(&last, "CONFIRMED", "COMPLETED");
    assert!(server.stop().success());
    let last = report(&["--json", "verify", "--data-dir", &path(&back)]);
    assert_eq!(last["findings"]["total"], 0, "{last}");
}

#[test]
fn a_folder_in_use_a_foreign_journal_and_a_cluster_that_is_led_are_refused() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let options = Options::new();
    let server = options.start();
    server.client().stock("cup", 10);
    let folder = path(options.data_dir());
    let running = run(&to_nats(&folder, &url));
    assert_eq!(running.status.code(), Some(1));
    assert!(
        said(&running).contains("stop it first"),
        "{}",
        said(&running)
    );
    assert!(server.stop().success());

    // Somebody renews a lease.
    let setup = run(&["nats", "setup", "--nats", &url]);
    assert!(setup.status.success(), "{}", said(&setup));
    let leader = |beat| Lease {
        holder: Some(HostId::from_bytes([7; 16])),
        beat,
    };
    let lease = "$KV.a4co_leases.leader.payment";
    nats.publish(lease, &leader(0).encode());
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let nats = &nats;
        scope.spawn(move || {
            for beat in 1.. {
                if stopped.recv_timeout(Duration::from_millis(700)).is_ok() {
                    break;
                }
                nats.publish(lease, &leader(beat).encode());
            }
        });
        let led = run(&to_nats(&folder, &url));
        stop.send(()).expect("the leader goes on");
        assert_eq!(led.status.code(), Some(1));
        let who = format!("the payment journal is led by {}", "07".repeat(16));
        assert!(said(&led).contains(&who), "{}", said(&led));
    });

    // Nobody renews it any more, and then there is somebody else's message.
    nats.publish("a4co.journal.order", b"somebody else's");
    let foreign = run(&to_nats(&folder, &url));
    assert_eq!(foreign.status.code(), Some(1));
    assert!(
        said(&foreign).contains("was not begun by this move"),
        "{}",
        said(&foreign)
    );
    let back = path(&options.scratch().join("back"));
    let broken = run(&from_nats(&back, &url));
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        said(&broken).contains("is not in order"),
        "{}",
        said(&broken)
    );
    assert!(!Path::new(&back).join("journal").exists());
}

#[test]
fn a_move_that_is_interrupted_is_marked_and_goes_on_where_it_was() {
    let mut nats = NatsServer::start(&[]);
    let url = nats.url();
    let Shop {
        options, server, ..
    } = Shop::open();
    assert!(server.stop().success());
    let folder = path(options.data_dir());
    let setup = run(&["nats", "setup", "--nats", &url]);
    assert!(setup.status.success(), "{}", said(&setup));

    // The claims fit into a message, and the first events do not.
    nats.kill();
    nats.configure("max_payload: 4096");
    nats.launch();
    let stuck = run(&to_nats(&folder, &url));
    assert_eq!(stuck.status.code(), Some(1));
    assert!(
        said(&stuck).contains("begin the same move again"),
        "{}",
        said(&stuck)
    );
    nats.kill();
    nats.configure("");
    nats.launch();
    let half = run(&["nats", "setup", "--check", "--nats", &url]);
    assert_eq!(half.status.code(), Some(1));
    assert!(said(&half).contains("has not finished"), "{}", said(&half));
    let back = path(&options.scratch().join("back"));
    let refused = run(&from_nats(&back, &url));
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("has not finished"),
        "{}",
        said(&refused)
    );

    let moved = report(&to_nats(&folder, &url));
    assert!(moved["messagesFound"].as_u64() >= Some(1), "{moved}");
    let there = report(&["--json", "verify", "--nats", &url]);
    assert_eq!(there["findings"]["total"], 0, "{there}");
    let whole = run(&["nats", "setup", "--check", "--nats", &url]);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
}
