//! Traces: one for each order, sent to a collector, and what it may cost.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use a4co_tests::collector::{Collector, Span};
use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Options, Order};
use serde_json::Value;

const CALLERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced(collector: &Collector) -> Options {
    Options::new()
        .flag("--otlp-endpoint", &collector.endpoint())
        .flag("--sandbox-timeout", "50ms")
        .flag("--retry-first", "5ms")
        .flag("--retry-cap", "10ms")
}

fn placed(client: &Client, order: &Order, traceparent: Option<&str>) -> Value {
    let ask = client.ask("POST", "/api/v1/orders").json(order.body());
    let ask = match traceparent {
        Some(traceparent) => ask.header("traceparent", traceparent),
        None => ask,
    };
    let placed = ask.send().expect(201).json();
    client.ended(shop::id(&placed))
}

#[track_caller]
fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "`{name}` in {spans:#?}");
    found[0]
}

/// Fails unless all of it is one trace whose every span leads up to the request's.
#[track_caller]
fn expect_one_tree(spans: &[Span]) {
    let request = one(spans, "POST /api/v1/orders");
    assert_eq!(request.kind, 2);
    let saga = one(spans, "order saga");
    assert_eq!(saga.parent, request.id);
    for span in spans {
        assert_eq!(span.trace, request.trace, "{span:?}");
        assert_eq!(span.service, "a4co");
        assert!(span.time_ns.0 <= span.time_ns.1, "{span:?}");
        if ![&request.id, &saga.id].contains(&&span.id) {
            assert_eq!(span.parent, saga.id, "{span:?}");
        }
    }
    let mut ids: Vec<&str> = spans.iter().map(|span| &*span.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "two spans under one id");
}

#[test]
fn a_collector_is_reached_over_tls_where_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trusted, authority) = Collector::start_with_tls();
    let (stranger, _) = Collector::start_with_tls();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).expect("a file");
    let file = file.display().to_string();
    let server = |collector: &Collector| {
        let options = traced(collector).flag("--otlp-endpoint", &collector.tls_endpoint());
        options.env("SSL_CERT_FILE", &file).start()
    };
    let [refused, served] = [&stranger, &trusted].map(server);
    let [_, order] = [&refused, &served].map(|server| {
        let client = server.client();
        client.stock("cup", 10);
        let order = placed(&client, &Order::of(&[("cup", 2)]), None);
        expect_end(&order, "CONFIRMED", "COMPLETED");
        order
    });
    let _ = trusted.order(shop::id(&order), "POST /api/v1/orders");
    expect_one_tree(&trusted.order(shop::id(&order), "order saga"));
    // It had longer than the other one, and nothing of what it sends was let through.
    assert!(stranger.requests().is_empty());
}

#[test]
fn an_order_is_one_trace_with_its_payment_call() {
    let collector = Collector::start();
    let server = traced(&collector).start();
    let client = server.client();
    client.stock("cup", 10);
    let order = placed(&client, &Order::of(&[("cup", 2)]), None);
    expect_end(&order, "CONFIRMED", "COMPLETED");
    let _ = collector.order(shop::id(&order), "POST /api/v1/orders");
    let spans = collector.order(shop::id(&order), "order saga");
    expect_one_tree(&spans);
    for step in [
        "saga created",
        "saga inventory reserved",
        "saga payment requested",
        "saga payment succeeded",
        "saga confirmed",
    ] {
        assert_eq!(one(&spans, step).kind, 1);
    }
    let charge = one(&spans, "gateway charge");
    assert_eq!(charge.kind, 3);
    assert_eq!(charge.attributes["a4co.gateway.outcome"], "succeeded");
    let saga = one(&spans, "order saga");
    assert_eq!(saga.attributes["a4co.order.status"], "CONFIRMED");
    let request = one(&spans, "POST /api/v1/orders");
    assert_eq!(request.attributes["http.response.status_code"], "201");
    assert_eq!(request.parent, "");
}

#[test]
fn an_order_that_is_undone_is_one_trace_too_and_goes_on_with_its_callers() {
    let collector = Collector::start();
    let server = traced(&collector).start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)]).paid_by("pm_card_timeout_fails");
    let order = placed(&client, &order, Some(CALLERS));
    expect_end(&order, "CANCELLED", "COMPENSATED");
    let spans = collector.order(shop::id(&order), "order saga");
    expect_one_tree(&spans);
    let request = one(&spans, "POST /api/v1/orders");
    assert_eq!(request.trace, CALLERS[3..35]);
    assert_eq!(request.parent, CALLERS[36..52]);
    for step in [
        "saga compensation requested",
        "saga stock undone",
        "saga cancelled",
    ] {
        let _ = one(&spans, step);
    }
    let charges = spans.iter().filter(|span| span.name == "gateway charge");
    let outcomes: Vec<&str> = charges
        .map(|span| &*span.attributes["a4co.gateway.outcome"])
        .collect();
    assert_eq!(outcomes, ["unknown", "rejected"]);
    let reason = &one(&spans, "order saga").attributes["a4co.cancel.reason"];
    assert_eq!(reason, "payment_failed");
}

#[test]
fn a_trace_goes_on_after_a_restart() {
    let collector = Collector::start();
    let options = traced(&collector).flag("--sandbox-slow", "1h");
    let server = options.start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)]).paid_by("pm_card_slow");
    let ask = client.ask("POST", "/api/v1/orders").json(order.body());
    let order = ask.header("traceparent", CALLERS).send().expect(201).json();
    let order_id = shop::id(&order);
    let _ = collector.order(order_id, "saga payment requested");
    server.kill();
    let server = options.start();
    let client = server.client();
    let _ = client.cancel(order_id, "after the restart").expect(200);
    let _ = client.ended(order_id);
    let mut spans = collector.order(order_id, "order saga");
    // Asked as often as it was pending.
    spans.retain(|span| span.name != "gateway query");
    for span in &spans {
        assert_eq!(span.trace, CALLERS[3..35], "{span:?}");
    }
    for step in ["saga created", "saga payment requested", "saga cancelled"] {
        let _ = one(&spans, step);
    }
    let cancel = one(&spans, "gateway cancel");
    assert_eq!(cancel.attributes["a4co.gateway.outcome"], "cancelled");
}

#[test]
fn whoever_began_a_trace_decides_whether_it_is_kept() {
    let collector = Collector::start();
    let server = traced(&collector)
        .flag("--trace-ratio", "0.0")
        .flag("--service-name", "a4co")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let unsampled = CALLERS.replace("-01", "-00");
    for traceparent in [None, Some(&*unsampled), Some("nonsense")] {
        let _ = placed(&client, &Order::of(&[("cup", 1)]), traceparent);
    }
    let kept = placed(&client, &Order::of(&[("cup", 1)]), Some(CALLERS));
    let spans = collector.order(shop::id(&kept), "order saga");
    expect_one_tree(&spans);
    assert!(server.stop().success());
    // The end sends what is left: it was all of this one order.
    for span in collector.spans() {
        assert_eq!(span.trace, CALLERS[3..35], "{span:?}");
    }
}

#[test]
fn without_an_endpoint_nothing_is_sent_and_the_caller_s_trace_is_kept() {
    let collector = Collector::start();
    let server = Options::new().start();
    let client = server.client();
    client.stock("cup", 10);
    let _ = placed(&client, &Order::of(&[("cup", 1)]), Some(CALLERS));
    assert!(server.stop().success());
    assert_eq!(collector.requests(), Vec::<String>::new());
}

#[test]
fn a_collector_that_is_dead_or_silent_slows_nothing() {
    // Nobody listens there; and here, nobody answers.
    let dead = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead_address = dead.local_addr().expect("its address");
    drop(dead);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_address = silent.local_addr().expect("its address");
    for address in [dead_address, silent_address] {
        let server = Options::new()
            .flag("--otlp-endpoint", &format!("http://{address}"))
            .start();
        let client = server.client();
        client.stock("cup", 100_000);
        // More spans than the queue holds.
        for _ in 0..1_500 {
            let _ = client.place(&Order::of(&[("cup", 1)]));
        }
        let order = placed(&client, &Order::of(&[("cup", 1)]), None);
        expect_end(&order, "CONFIRMED", "COMPLETED");
        let asked_to_end = Instant::now();
        assert!(server.stop().success());
        assert!(asked_to_end.elapsed() < Duration::from_secs(30));
    }
}
