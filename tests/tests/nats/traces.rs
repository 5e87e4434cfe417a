//! One trace for an order whose request, saga and payment are in three processes.

use std::collections::BTreeSet;

use a4co_tests::cluster::{expect_to_lead, stock};
use a4co_tests::collector::{Collector, Span};
use a4co_tests::nats::NatsServer;
use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Order, Server};

use crate::cluster::options;

const CALLERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn an_order_is_one_trace_across_processes() {
    let (nats, collector) = (NatsServer::start(&[]), Collector::start());
    let roles = ["order", "inventory", "payment"];
    let servers: Vec<Server> = roles
        .iter()
        .map(|role| {
            options(&nats.url())
                .flag("--role", role)
                .flag("--service-name", role)
                .flag("--otlp-endpoint", &collector.endpoint())
                .start()
        })
        .collect();
    for (server, role) in servers.iter().zip(roles) {
        expect_to_lead(server, &[role]);
    }
    stock(&servers, "cup", 20);
    let client = servers[1].client();
    for (method, status, saga) in [
        ("pm_card_ok", "CONFIRMED", "COMPLETED"),
        ("pm_card_declined", "CANCELLED", "COMPENSATED"),
    ] {
        let order = Order::of(&[("cup", 2)]).paid_by(method);
        let ask = client.ask("POST", "/api/v1/orders").json(order.body());
        let placed = ask.header("traceparent", CALLERS).send().expect(201).json();
        let order_id = shop::id(&placed);
        expect_end(&client.ended(order_id), status, saga);
        let _ = collector.order(order_id, "POST /api/v1/orders");
        let _ = collector.order(order_id, "gateway charge");
        let spans = collector.order(order_id, "order saga");
        expect_told_by(&spans, "POST /api/v1/orders", "inventory");
        expect_told_by(&spans, "order saga", "order");
        expect_told_by(&spans, "saga payment requested", "order");
        expect_told_by(&spans, "gateway charge", "payment");
        let ids: BTreeSet<&str> = spans.iter().map(|span| &*span.id).collect();
        assert_eq!(ids.len(), spans.len(), "a span is told twice: {spans:#?}");
        for span in &spans {
            assert_eq!(span.trace, CALLERS[3..35], "{span:?}");
            let is_under_another = ids.contains(&*span.parent) || span.parent == CALLERS[36..52];
            assert!(is_under_another, "{span:?}");
        }
    }
}

#[track_caller]
fn expect_told_by(spans: &[Span], name: &str, service: &str) {
    let span = spans.iter().find(|span| span.name == name);
    assert_eq!(span.map(|span| &*span.service), Some(service), "{name}");
}
