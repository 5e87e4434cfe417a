//! Two shards of each participant: an order whose lines lie in both is all or nothing,
//! whichever process leads which shard.

use std::collections::BTreeMap;

use a4co_core::ids::ProductId;
use a4co_core::shards::ShardCount;
use a4co_tests::cluster::{expect_verified, stock};
use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Options, Order, Server, books, until};
use serde_json::Value;

use crate::cluster::options;

fn said(output: &std::process::Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).expect("text")
}

fn sharded(url: &str) -> Options {
    options(url).flag("--public-events", "false")
}

/// A product in the first shard of two, and one in the second.
fn apart() -> [&'static str; 2] {
    let count = ShardCount::new(2).expect("a count");
    [0, 1].map(|shard| {
        let mut names = ["cup", "plate", "spoon", "fork", "knife", "bowl"].into_iter();
        let lies_there = |name: &&str| {
            let id = ProductId::parse(name).expect("an id");
            count.of_product(&id).get() == shard
        };
        names.find(lies_there).expect("a product in each shard")
    })
}

/// The place of the process that leads a shard's journal.
fn leader(servers: &[Server], journal: &str) -> usize {
    until("a leader", || {
        let cluster = servers[0].client().get("/api/v1/cluster").json();
        let leads = |member: &&Value| {
            let mut journals = member["journals"].as_array().into_iter().flatten();
            journals.any(|it| it["participant"] == journal && it["leads"] == true)
        };
        let mut members = cluster["members"].as_array().into_iter().flatten();
        let listen = members.find(leads).map(|member| member["listen"].clone());
        let place = servers
            .iter()
            .position(|it| listen == Some(it.address().to_string().into()));
        place.ok_or_else(|| format!("nobody leads {journal}"))
    })
}

#[test]
fn the_count_of_shards_is_fixed_where_the_journals_are_made() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let setup = |more: &[&str]| {
        let arguments = [&["nats", "setup", "--nats", &url], more].concat();
        let output = run(&arguments);
        (output.status.code(), said(&output))
    };
    let (code, text) = setup(&["--shards", "2"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(" made ").count(), 13, "{text}");
    assert!(text.contains("A4CO_JOURNAL_INVENTORY_1"), "{text}");
    // Whoever does not say finds out, and whoever says something else is told.
    let (code, text) = setup(&["--check"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("as it must be").count(), 13, "{text}");
    let (code, text) = setup(&["--shards", "4"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("have 2 shards, and 4 are asked for"),
        "{text}"
    );
    let (_, text) = sharded(&url).flag("--shards", "1").start_and_fail();
    assert!(
        text.contains("have 2 shards, and 1 are asked for"),
        "{text}"
    );
    let (_, text) = options(&url).start_and_fail();
    assert!(text.contains("set public_events = false"), "{text}");
    let (code, text) = {
        let output = run(&[
            "migrate",
            "from-nats",
            "--nats",
            &url,
            "--data-dir",
            "/nowhere/x",
        ]);
        (output.status.code(), said(&output))
    };
    assert_ne!(code, Some(0), "{text}");
    // And journals without shards stay without.
    let plain = NatsServer::start(&[]);
    assert!(
        run(&["nats", "setup", "--nats", &plain.url()])
            .status
            .success()
    );
    let other = run(&["nats", "setup", "--nats", &plain.url(), "--shards", "2"]);
    assert!(said(&other).contains("have 1 shards, and 2 are asked for"));
}

#[test]
fn an_order_over_two_shards_is_all_or_nothing() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let made = run(&["nats", "setup", "--nats", &url, "--shards", "2"]);
    assert!(made.status.success(), "{}", said(&made));
    let mut servers: Vec<Server> = (0..2).map(|_| sharded(&url).start()).collect();
    let [here, there] = apart();
    for product in [here, there] {
        stock(&servers, product, 100);
    }
    let mut sold = 0;
    let mut expect_whole_orders = |servers: &[Server]| {
        for server in servers {
            let client = server.client();
            let both = Order::of(&[(here, 2), (there, 1)]);
            let confirmed = client.order(&both);
            expect_end(&confirmed, "CONFIRMED", "COMPLETED");
            sold += 1;
            let path = format!(
                "/api/v1/inventory/reservations/order/{}",
                shop::id(&confirmed)
            );
            let reservation = client.get(&path).expect(200).json();
            assert_eq!(reservation["status"], "CONFIRMED", "{reservation}");
            let lines = reservation["items"].as_array().map_or(0, Vec::len);
            assert_eq!(lines, 2, "{reservation}");
            let declined = client.order(&both.clone().paid_by("pm_card_declined"));
            expect_end(&declined, "CANCELLED", "COMPENSATED");
            let short = client.order(&Order::of(&[(here, 2), (there, 500)]));
            expect_end(&short, "FAILED", "FAILED");
            client.expect_stock(here, 100 - 2 * sold, 0, 2 * sold);
            client.expect_stock(there, 100 - sold, 0, sold);
        }
    };
    expect_whole_orders(&servers);
    // Each shard's journal can be handed over, and its leader killed.
    let step_down = ["step-down", "inventory-1", "--nats", &url];
    let handed_over = run(&step_down);
    assert!(handed_over.status.success(), "{}", said(&handed_over));
    expect_whole_orders(&servers);
    for journal in ["order-0", "inventory-1", "payment-1"] {
        let victim = servers.remove(leader(&servers, journal));
        let again = victim.options().clone();
        victim.kill();
        expect_whole_orders(&servers);
        servers.push(again.start());
        expect_whole_orders(&servers);
    }
    // One that starts with nothing shows the same.
    servers.push(sharded(&url).start());
    let received = BTreeMap::from([(here.to_owned(), 100), (there.to_owned(), 100)]);
    for server in &servers {
        books::expect_to_agree(&server.client(), &received);
    }
    let status = run(&["nats", "status", "--json", "--nats", &url]);
    assert!(status.status.success(), "{}", said(&status));
    assert!(said(&status).contains("\"participant\":\"payment-1\""));
    expect_verified(&url);
    let verify = || {
        let verified = run(&["verify", "--json", "--nats", &url]);
        let report: Value = serde_json::from_slice(&verified.stdout).expect("a report");
        (verified.status.code(), report)
    };
    let (_, report) = verify();
    assert_eq!(report["journals"].as_array().map(Vec::len), Some(6));
    assert_eq!(report["orders"]["CONFIRMED"], sold);
    // What is wrong in one shard's journal is seen.
    for server in servers {
        server.kill();
    }
    nats.publish("a4co.journal.inventory-1", b"nobody's");
    let (code, report) = verify();
    assert_eq!(code, Some(1), "{report}");
    assert!(
        report.to_string().contains("A4CO_JOURNAL_INVENTORY_1"),
        "{report}"
    );
}
