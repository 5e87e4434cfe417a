//! Several processes that share their journals: what a client sees of them, whatever
//! becomes of the process that leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use a4co_tests::cluster::{
    Buyers, Wire, expect_kept, expect_to_lead, expect_verified, leads, stock,
};
use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Options, Order, Server, books, until};
use serde_json::{Value, json};

const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];

/// Short, so that a test need not wait long for a take-over.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) fn options(url: &str) -> Options {
    Options::new()
        .flag("--nats", url)
        .flag("--lease", &format!("{}s", LEASE.as_secs()))
}

pub(crate) fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}

/// The place of the process that leads.
pub(crate) fn leader(servers: &[Server], participant: &str) -> usize {
    until("a leader", || {
        let place = servers
            .iter()
            .position(|server| leads(&server.client(), participant));
        place.ok_or_else(|| format!("nobody leads {participant}"))
    })
}

/// Every process shows the same, and no book contradicts another.
pub(crate) fn expect_all_to_agree(servers: &[Server], received: &BTreeMap<String, u64>) {
    let accounts: Vec<_> = servers
        .iter()
        .map(|server| books::expect_to_agree(&server.client(), received))
        .collect();
    for account in &accounts {
        assert_eq!(account.by_status, accounts[0].by_status);
        assert_eq!(account.sold, accounts[0].sold);
    }
}

/// After buyers of a million cups: none of their orders that was
/// acknowledged is lost, every process shows them, no book contradicts another, and the
/// journals bear it out.
pub(crate) fn expect_good_end(buyers: Buyers, servers: &[Server], url: &str) {
    let acknowledged = buyers.stop();
    for server in servers {
        expect_kept(&server.client(), &acknowledged, "cup");
    }
    let received = BTreeMap::from([("cup".to_owned(), 1_000_000)]);
    expect_all_to_agree(servers, &received);
    expect_verified(url);
}

#[test]
fn a_clusters_sandbox_books_are_reconciled_with_its_payments() {
    let nats = NatsServer::start(&[]);
    let servers = [options(&nats.url()).start(), options(&nats.url()).start()];
    stock(&servers, "cup", 20);
    let client = servers[0].client();
    let paid = client.order(&Order::of(&[("cup", 2)]));
    expect_end(&paid, "CONFIRMED", "COMPLETED");
    let declined = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_declined"));
    expect_end(&declined, "CANCELLED", "COMPENSATED");
    let _ = client
        .refund(shop::id(&paid), &json!({ "amount": 5 }))
        .expect(200);
    let nats_url = nats.url();
    for server in &servers {
        let url = format!("http://{}", server.address());
        let output = run(&["reconcile", "--json", "--url", &url, "--nats", &nats_url]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(report["gateway"], "sandbox", "{report}");
        assert_eq!(report["payments"], 2, "{report}");
        assert_eq!(report["charges"], 2, "{report}");
    }
    // A charge that no order here has is a difference: another journal, the same books.
    let other = NatsServer::start(&[]);
    let stranger = options(&other.url()).start();
    let url = format!("http://{}", stranger.address());
    let output = run(&["reconcile", "--json", "--url", &url, "--nats", &nats_url]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = run(&["reconcile", "--url", &url, "--nats", &other.url()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn one_process_for_each_role_and_any_of_them_answers() {
    let nats = NatsServer::start(&[]);
    let servers: Vec<Server> = PARTICIPANTS
        .iter()
        .map(|role| options(&nats.url()).flag("--role", role).start())
        .collect();
    for (server, role) in servers.iter().zip(PARTICIPANTS) {
        expect_to_lead(server, &[role]);
    }
    stock(&servers, "cup", 20);
    let mut sold = 0;
    for server in &servers {
        let client = server.client();
        let confirmed = client.order(&Order::of(&[("cup", 2)]));
        expect_end(&confirmed, "CONFIRMED", "COMPLETED");
        sold += 2;
        let declined = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_declined"));
        expect_end(&declined, "CANCELLED", "COMPENSATED");
        let late = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_timeout"));
        expect_end(&late, "CONFIRMED", "COMPLETED");
        sold += 1;
        let short = client.order(&Order::of(&[("cup", 500)]));
        expect_end(&short, "FAILED", "FAILED");
        // What was answered is seen at once, here and, by its position, elsewhere.
        client.expect_stock("cup", 20 - sold, 0, sold);
    }
    // One key is one order, wherever it arrives.
    let body = Order::of(&[("cup", 1)]);
    let place = |server: &Server| {
        let client = server.client();
        let ask = client.ask("POST", "/api/v1/orders").key("once").wait(10);
        ask.json(body.body()).send().expect(201)
    };
    let first = place(&servers[0]);
    for server in &servers[1..] {
        let again = place(server);
        assert_eq!(shop::id(&again.json()), shop::id(&first.json()));
        assert!(again.headers.contains_key("idempotency-replayed"));
    }
    // Any of them knows who does what.
    let cluster = servers[2].client().get("/api/v1/cluster").expect(200);
    let cluster = cluster.json();
    assert_eq!(cluster["mode"], "nats");
    let members = cluster["members"].as_array().expect("members");
    assert_eq!(members.len(), 3, "{cluster}");
    for member in members {
        let at = servers
            .iter()
            .position(|it| member["listen"] == it.address().to_string().as_str());
        for journal in member["journals"].as_array().expect("journals") {
            let is_its_own = journal["participant"] == PARTICIPANTS[at.expect("one of ours")];
            assert_eq!(journal["leads"], is_its_own, "{cluster}");
            assert_eq!(journal["mayLead"], is_its_own, "{cluster}");
        }
    }
    // A refund goes to the payment's leader.
    let refunded = servers[0]
        .client()
        .refund(shop::id(&first.json()), &json!({}));
    assert_eq!(refunded.status, 200, "{refunded:?}");
    let received = BTreeMap::from([("cup".to_owned(), 20)]);
    expect_all_to_agree(&servers, &received);
    expect_verified(&nats.url());
}

#[test]
fn a_read_that_names_a_position_sees_what_was_written_elsewhere() {
    let nats = NatsServer::start(&[]);
    let servers = [options(&nats.url()).start(), options(&nats.url()).start()];
    stock(&servers, "cup", 1_000);
    for turn in 0..50 {
        let (writer, reader) = (servers[turn % 2].client(), servers[(turn + 1) % 2].client());
        let placed = writer.post("/api/v1/orders", Order::of(&[("cup", 1)]).body());
        let placed = placed.expect(201);
        let position = placed.headers["a4co-position"].to_str().expect("text");
        let path = format!("/api/v1/orders/{}", shop::id(&placed.json()));
        let read = reader.ask("GET", &path).header("a4co-position", position);
        let answer = read.send();
        assert_eq!(answer.status, 200, "{position}: {answer:?}");
    }
    let client = servers[0].client();
    let ask = |position: &str| {
        let ask = client.ask("GET", "/api/v1/inventory/products/cup");
        ask.header("a4co-position", position).send()
    };
    assert_eq!(ask("one.two").status, 400);
    let ahead = ask("999999.0.0");
    assert_eq!(ahead.status, 503);
    assert_eq!(ahead.json()["code"], "position_not_reached");
    assert!(ahead.headers.contains_key("retry-after"));
}

#[test]
fn the_leader_is_killed_again_and_again_and_nothing_is_lost() {
    let nats = NatsServer::start(&[]);
    let mut servers: Vec<Server> = (0..3).map(|_| options(&nats.url()).start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    for participant in PARTICIPANTS {
        let victim = servers.remove(leader(&servers, participant));
        let options = victim.options().clone();
        let _ = buyers.slowest();
        victim.kill();
        buyers.find(&addresses(&servers));
        let killed = Instant::now();
        buyers.expect_more(20);
        println!(
            "{participant}: twenty orders after {:?}, the slowest took {:?}",
            killed.elapsed(),
            buyers.slowest()
        );
        servers.push(options.start());
        buyers.find(&addresses(&servers));
        buyers.expect_more(20);
    }
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn processes_are_replaced_one_after_the_other_and_no_order_waits_for_a_lease() {
    let nats = NatsServer::start(&[]);
    // So long that a take-over by silence would be seen.
    let options = || options(&nats.url()).flag("--lease", "60s");
    let mut servers: Vec<Server> = (0..2).map(|_| options().start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    for _ in 0..2 {
        let first = servers.remove(0);
        // New work goes elsewhere first, as a load balancer would have it.
        buyers.find(&addresses(&servers));
        let status = first.stop();
        assert!(status.success());
        buyers.expect_more(20);
        servers.push(options().start());
        buyers.find(&addresses(&servers));
        buyers.expect_more(20);
    }
    let slowest = buyers.slowest();
    assert!(
        slowest < Duration::from_secs(30),
        "an order waited for a lease: {slowest:?}"
    );
    println!("the slowest order took {slowest:?}");
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_leader_that_sleeps_beyond_its_lease_commits_nothing_when_it_wakes() {
    let nats = NatsServer::start(&[]);
    let servers: Vec<Server> = (0..2).map(|_| options(&nats.url()).start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    for _ in 0..2 {
        let sleeper = leader(&servers, "order");
        let other = 1 - sleeper;
        servers[sleeper].pause();
        buyers.find(&[servers[other].address()]);
        expect_to_lead(&servers[other], &PARTICIPANTS);
        buyers.expect_more(20);
        servers[sleeper].go_on();
        buyers.find(&addresses(&servers));
        buyers.expect_more(40);
    }
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_process_that_is_cut_off_takes_nothing_and_catches_up() {
    let nats = NatsServer::start(&[]);
    let wire = Wire::to(nats.port());
    let cut_off = options(&wire.nats_url()).start();
    expect_to_lead(&cut_off, &["order"]);
    let servers = [cut_off, options(&nats.url()).start()];
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    wire.cut();
    until("a process that says that it takes no orders", || {
        let ready = servers[0].client().get("/health/ready").status;
        (ready == 503)
            .then_some(())
            .ok_or_else(|| format!("it answers {ready}"))
    });
    buyers.find(&[servers[1].address()]);
    buyers.expect_more(40);
    assert!(leads(&servers[1].client(), "order"));
    wire.mend();
    buyers.find(&addresses(&servers));
    buyers.expect_more(40);
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_leader_whose_network_goes_silent_is_replaced_and_catches_up() {
    let nats = NatsServer::start(&[]);
    let wire = Wire::to(nats.port());
    let alone = options(&wire.nats_url()).start();
    expect_to_lead(&alone, &PARTICIPANTS);
    let servers = [alone, options(&nats.url()).start()];
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    // Its appends and the writes of its leases are on the way, and arrive when another has
    // long led: each expects a sequence that has gone by.
    wire.fall_silent();
    buyers.find(&[servers[1].address()]);
    expect_to_lead(&servers[1], &PARTICIPANTS);
    buyers.expect_more(40);
    wire.mend();
    buyers.find(&addresses(&servers));
    buyers.expect_more(40);
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_slow_server_makes_orders_slow_and_nothing_worse() {
    let nats = NatsServer::start(&[]);
    let wire = Wire::to(nats.port());
    let servers: Vec<Server> = (0..2).map(|_| options(&wire.nats_url()).start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    for delay in [20, 200] {
        wire.slow_down(Duration::from_millis(delay));
        buyers.expect_more(20);
    }
    // Slower than a lease lives: whoever leads may change, and nothing is decided twice.
    wire.slow_down(LEASE + LEASE / 2);
    std::thread::sleep(2 * LEASE);
    wire.mend();
    buyers.expect_more(40);
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_planned_hand_over_takes_no_lease_and_is_told() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let nobody = run(&["step-down", "order", "--nats", &url]);
    assert_eq!(nobody.status.code(), Some(1));
    let options = || options(&url).flag("--lease", "60s");
    let servers: Vec<Server> = (0..2).map(|_| options().start()).collect();
    stock(&servers, "cup", 1_000);
    for participant in PARTICIPANTS {
        let from = leader(&servers, participant);
        let handed = run(&["--json", "step-down", participant, "--nats", &url]);
        assert_eq!(handed.status.code(), Some(0), "{handed:?}");
        let said: Value = serde_json::from_slice(&handed.stdout).expect("JSON");
        assert_eq!(said["participant"], participant);
        assert_eq!(
            said["listen"],
            servers[1 - from].address().to_string().as_str()
        );
        println!("{participant}: {} ms", said["tookMs"]);
        let order = servers[from].client().order(&Order::of(&[("cup", 1)]));
        expect_end(&order, "CONFIRMED", "COMPLETED");
    }
}

#[test]
fn public_events_are_published_once_and_in_order_whoever_leads() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let mut servers: Vec<Server> = (0..2).map(|_| options(&url).start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(2, "cup", &addresses(&servers));
    buyers.expect_more(20);
    let victim = servers.remove(leader(&servers, "order"));
    victim.kill();
    buyers.find(&addresses(&servers));
    buyers.expect_more(20);
    let acknowledged = buyers.stop();
    expect_kept(&servers[0].client(), &acknowledged, "cup");
    // Eight public events of each order that completes.
    let count = (acknowledged.len() * 8).to_string();
    let tail = run(&["events", "tail", "--all", "--count", &count, "--nats", &url]);
    assert_eq!(tail.status.code(), Some(0), "{tail:?}");
    let mut by_order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for line in String::from_utf8_lossy(&tail.stdout).lines() {
        let event: Value = serde_json::from_str(line).expect("an event");
        let text = |field: &str| event[field].as_str().expect("text").to_owned();
        assert!(ids.insert(text("id")), "{line} came twice");
        by_order
            .entry(text("orderId"))
            .or_default()
            .push(text("subject"));
    }
    assert_eq!(by_order.len(), acknowledged.len());
    for (order, subjects) in by_order {
        let of = |stream: &str| {
            let prefix = format!("{stream}.");
            let of = subjects.iter().filter(|it| it.starts_with(&prefix));
            of.cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            of("orders"),
            [
                "orders.created",
                "orders.payment_requested",
                "orders.commit_requested",
                "orders.confirmed"
            ],
            "{order}"
        );
        assert_eq!(
            of("inventory"),
            ["inventory.reserved", "inventory.committed"]
        );
        assert_eq!(
            of("payments"),
            ["payments.processing", "payments.succeeded"]
        );
    }
}

#[test]
fn a_new_machine_starts_from_the_snapshot_on_the_servers() {
    let nats = NatsServer::start(&[]);
    let first = options(&nats.url())
        .flag("--snapshot-every-mib", "1")
        .start();
    first.client().stock("cup", 1_000_000);
    let early = first.client().order(&Order::of(&[("cup", 1)]));
    let url = format!("http://{}", first.address());
    until("a snapshot on the servers", || {
        let load = [
            "bench",
            "--clients",
            "16",
            "--duration",
            "1s",
            "--url",
            &url,
        ];
        let loaded = run(&load);
        assert_eq!(loaded.status.code(), Some(0), "{loaded:?}");
        let left = "left a snapshot for new machines on the servers";
        first
            .logged()
            .contains(left)
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    });
    let late = first.client().order(&Order::of(&[("cup", 1)]));
    let second = options(&nats.url()).start();
    assert!(
        second
            .logged()
            .contains("started from the snapshot on the servers"),
        "{}",
        second.logged()
    );
    for order in [&early, &late] {
        let shown = second.client().look(shop::id(order));
        assert_eq!(&shown, order);
    }
    // It leads as well as the other did.
    assert!(first.stop().success());
    let order = second.client().order(&Order::of(&[("cup", 1)]));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    second.client().expect_stock("cup", 999_997, 0, 3);
    expect_verified(&nats.url());
}
