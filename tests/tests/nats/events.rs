//! The public events of an embedded engine on NATS: all of them, in order, through
//! crashes of either side; and what consumers do with what they cannot read.

use std::collections::{BTreeMap, BTreeSet};

use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use a4co_tests::{Options, Order, Server, shop, until};
use serde_json::Value;

fn options(nats: &NatsServer) -> Options {
    Options::new().flag("--publish-to", &nats.url())
}

fn serve(nats: &NatsServer) -> Server {
    options(nats).start()
}

/// The first so many events, oldest first in each stream.
fn events(nats: &NatsServer, count: usize) -> Vec<Value> {
    let count = count.to_string();
    let tail = run(&[
        "events",
        "tail",
        "--all",
        "--count",
        &count,
        "--nats",
        &nats.url(),
    ]);
    assert!(tail.status.success(), "{tail:?}");
    let text = String::from_utf8(tail.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Messages in a stream.
fn messages(nats: &NatsServer, stream: &str) -> u64 {
    let shown = run(&["--json", "nats", "setup", "--nats", &nats.url()]);
    let all: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let all = all.as_array().expect("a list");
    let one = all.iter().find(|it| it["stream"] == stream);
    one.and_then(|it| it["messages"].as_u64())
        .expect("a stream")
}

fn wait_for(nats: &NatsServer, wanted: u64) {
    until("the public events", || {
        let streams = ["ORDERS", "INVENTORY", "PAYMENTS"];
        let have: u64 = streams.iter().map(|it| messages(nats, it)).sum();
        if have >= wanted {
            Ok(())
        } else {
            Err(format!("{have} of {wanted}"))
        }
    });
}

/// Each of these orders has its eight events, each once, in the order of its stream.
fn expect_whole(nats: &NatsServer, orders: &[String]) {
    let wanted = orders.len() * 8;
    wait_for(nats, wanted as u64);
    let mut by_order: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in events(nats, wanted) {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        assert!(ids.insert(text("id")), "twice: {event}");
        let of_order = by_order.entry(text("orderId")).or_default();
        of_order
            .entry(text("source"))
            .or_default()
            .push(text("type"));
    }
    assert_eq!(
        by_order.keys().collect::<BTreeSet<_>>(),
        orders.iter().collect()
    );
    for (order, found) in by_order {
        let wanted = [
            (
                "/a4co/order",
                vec![
                    "OrderCreated",
                    "PaymentRequested",
                    "CommitRequested",
                    "OrderConfirmed",
                ],
            ),
            (
                "/a4co/inventory",
                vec!["InventoryReserved", "InventoryCommitted"],
            ),
            (
                "/a4co/payment",
                vec!["PaymentProcessing", "PaymentSucceeded"],
            ),
        ];
        for (source, types) in wanted {
            assert_eq!(found[source], types, "{order} {source}");
        }
    }
}

fn place(server: &Server, count: usize) -> Vec<String> {
    let client = server.client();
    let place = |_| {
        let order = client.place(&Order::of(&[("cup", 1)]));
        shop::id(&order).to_owned()
    };
    let orders: Vec<String> = (0..count).map(place).collect();
    for order_id in &orders {
        let ended = client.ended(order_id);
        shop::expect_end(&ended, "CONFIRMED", "COMPLETED");
    }
    orders
}

#[test]
fn every_event_is_there_once_and_in_order_through_a_kill_and_an_orderly_restart() {
    let nats = NatsServer::start(&[]);
    let options = options(&nats);
    let server = options.start();
    server.client().stock("cup", 1_000);
    let mut orders = place(&server, 20);
    server.kill();
    let server = options.start();
    orders.extend(place(&server, 20));
    let server = server.restart();
    orders.extend(place(&server, 5));
    let metrics = server
        .client()
        .get("/metrics")
        .expect(200)
        .text()
        .to_owned();
    assert!(metrics.contains("nats_messages_published_total"));
    assert!(server.stop().success());
    expect_whole(&nats, &orders);
}

#[test]
fn the_events_of_an_order_carry_the_trace_that_it_came_with() {
    let nats = NatsServer::start(&[]);
    let server = serve(&nats);
    let client = server.client();
    client.stock("cup", 10);
    let callers = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let order = Order::of(&[("cup", 1)]);
    let ask = client.ask("POST", "/api/v1/orders").json(order.body());
    let placed = ask.header("traceparent", callers).send().expect(201).json();
    let _ = client.ended(shop::id(&placed));
    wait_for(&nats, 8);
    for event in events(&nats, 8) {
        assert_eq!(event["traceparent"], callers, "{event}");
    }
    // One that came without is told without.
    let _ = client.order(&order);
    wait_for(&nats, 16);
    let untold = events(&nats, 16);
    let untold = untold.iter().filter(|event| event["traceparent"].is_null());
    assert_eq!(untold.count(), 8);
}

#[test]
fn orders_do_not_wait_for_nats_and_their_events_come_when_it_is_back() {
    let mut nats = NatsServer::start(&[]);
    let server = serve(&nats);
    server.client().stock("cup", 1_000);
    let mut orders = place(&server, 5);
    wait_for(&nats, 40);
    nats.kill();
    orders.extend(place(&server, 5));
    nats.launch();
    orders.extend(place(&server, 5));
    expect_whole(&nats, &orders);
}

#[test]
fn an_engine_starts_and_ends_without_nats_and_publishes_later() {
    let mut nats = NatsServer::start(&[]);
    nats.kill();
    let server = serve(&nats);
    server.client().stock("cup", 1_000);
    let orders = place(&server, 3);
    let server = server.restart();
    nats.launch();
    expect_whole(&nats, &orders);
    assert!(server.stop().success());
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_after_three_deliveries() {
    let nats = NatsServer::start(&[]);
    let server = serve(&nats);
    server.client().stock("cup", 1_000);
    place(&server, 1);
    wait_for(&nats, 8);
    nats.publish("orders.created", b"\xff not an event");
    let url = nats.url();
    let consumed = run(&[
        "events",
        "tail",
        "--durable",
        "audit",
        "--stream",
        "ORDERS",
        "--count",
        "5",
        "--nats",
        &url,
    ]);
    let told = String::from_utf8_lossy(&consumed.stderr);
    assert!(consumed.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&consumed.stdout).lines().count(), 4);
    assert_eq!(told.matches("to be delivered again").count(), 2, "{told}");
    assert_eq!(
        told.matches("dead letter: the header ce-specversion is missing")
            .count(),
        1
    );
    assert_eq!(messages(&nats, "A4CO_DEAD_LETTERS"), 1);
    let client = server.client();
    until("the dead letter in the metrics", || {
        let shown = client.get("/metrics").expect(200).text().to_owned();
        let line = shown
            .lines()
            .find(|it| it.starts_with("dead_letters_total"));
        if line == Some("dead_letters_total 1") {
            Ok(())
        } else {
            Err(format!("{line:?}"))
        }
    });
    let cluster = client.get("/api/v1/cluster").expect(200).json();
    assert_eq!(cluster["deadLetters"], 1, "{cluster}");
}

#[test]
fn a_dead_letter_is_listed_and_goes_back_to_its_consumers_once() {
    let nats = NatsServer::start(&[]);
    let server = serve(&nats);
    server.client().stock("cup", 1_000);
    place(&server, 1);
    wait_for(&nats, 8);
    let url = nats.url();
    nats.publish("orders.created", b"\xff not an event");
    for durable in ["audit", "billing"] {
        let tail = ["events", "tail", "--durable", durable, "--stream", "ORDERS"];
        let consumed = run(&[&tail[..], &["--count", "5", "--nats", &url]].concat());
        assert!(consumed.status.success(), "{consumed:?}");
    }
    let letters = || {
        let listed = run(&["events", "dead-letters", "--nats", &url]);
        assert!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("a dead letter");
        text.lines().map(parse).collect::<Vec<_>>()
    };
    let both = letters();
    assert_eq!(both.len(), 2, "each consumer's own: {both:?}");
    for (letter, consumer) in both.iter().zip(["audit", "billing"]) {
        assert_eq!(letter["consumer"], consumer, "{letter}");
        assert_eq!(letter["subject"], "orders.created", "{letter}");
        assert_eq!(letter["stream"], "ORDERS", "{letter}");
        assert_eq!(letter["reason"], "the header ce-specversion is missing");
    }
    let before = messages(&nats, "ORDERS");
    let replayed = run(&["events", "replay", "1", "--nats", &url]);
    assert!(replayed.status.success(), "{replayed:?}");
    assert_eq!(messages(&nats, "ORDERS"), before + 1);
    assert_eq!(letters(), both[1..]);
    let again = run(&["events", "replay", "1", "--nats", &url]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("there is no dead letter 1"), "{said}");
}
