//! Every way in which an order may end by itself.

use a4co_tests::shop::{self, expect_end, history};
use a4co_tests::{Client, Options, Order, Server};
use serde_json::{Value, json};

/// A sandbox whose times are short enough to wait for.
fn brisk() -> Server {
    Options::new()
        .flag("--sandbox-timeout", "200ms")
        .flag("--sandbox-slow", "4s")
        .start()
}

#[track_caller]
fn parts(client: &Client, order: &Value) -> (String, String) {
    let order_id = shop::id(order);
    let status = |part: Value| part["status"].as_str().expect("a status").to_owned();
    let reservation = client.reservation(order_id).expect(200).json();
    let payment = client.payment(order_id).expect(200).json();
    (status(reservation), status(payment))
}

/// The stock is free, and nothing is charged: the charge was stopped, or it was faster and
/// was given back.
#[track_caller]
fn expect_undone(client: &Client, order: &Value, reservation: &str) {
    let (held, paid) = parts(client, order);
    assert_eq!(held, reservation);
    assert!(matches!(paid.as_str(), "CANCELLED" | "REFUNDED"), "{paid}");
}

#[test]
fn an_order_is_confirmed_sold_and_paid() {
    let server = brisk();
    let client = server.client();
    client.stock("cup", 10);
    client.stock("pot", 5);
    let order = Order::of(&[("cup", 3), ("pot", 1)]).with("totalAmount", json!(40.00));
    let placed = client.post("/api/v1/orders", order.body()).expect(201);
    let created = placed.json();
    assert_eq!(created["status"], "PENDING");
    assert_eq!(created["sagaState"], "STARTED");
    let path = format!("/api/v1/orders/{}", shop::id(&created));
    assert_eq!(placed.header("location"), Some(path.as_str()));

    let order = client.ended(shop::id(&created));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    let states = [
        "STARTED",
        "INVENTORY_RESERVED",
        "PAYMENT_PROCESSING",
        "PAYMENT_SUCCEEDED",
        "COMPLETED",
    ];
    assert_eq!(history(&order), states);
    client.expect_stock("cup", 7, 0, 3);
    client.expect_stock("pot", 4, 0, 1);
    assert_eq!(
        parts(&client, &order),
        ("CONFIRMED".into(), "SUCCEEDED".into())
    );
    // The ids that the order names lead to the same things, and money has its digits.
    let reservation_id = order["reservationId"].as_str().expect("a reservation");
    let payment_id = order["paymentId"].as_str().expect("a payment");
    let _ = client
        .get(&format!("/api/v1/inventory/reservations/{reservation_id}"))
        .expect(200);
    let payment = client
        .get(&format!("/api/v1/payments/{payment_id}"))
        .expect(200);
    assert!(payment.text().contains(r#""amount":40.00"#), "{payment:?}");
    assert_eq!(payment.json()["gateway"], "sandbox");
}

#[test]
fn short_stock_fails_the_order_and_names_every_short_line() {
    let server = brisk();
    let client = server.client();
    client.stock("plenty", 100);
    client.stock("few", 2);
    client.stock("none", 0);
    // Two lines of one product are one claim.
    let order = client.order(&Order::of(&[
        ("few", 2),
        ("plenty", 1),
        ("none", 4),
        ("few", 1),
    ]));
    expect_end(&order, "FAILED", "FAILED");
    let reason = order["failureReason"].as_str().expect("a reason");
    for named in [
        "few: 3 requested, 2 available",
        "none: 4 requested, 0 available",
    ] {
        assert!(reason.contains(named), "{reason}");
    }
    assert!(!reason.contains("plenty"), "{reason}");
    let short: Vec<&str> = order["shortages"]
        .as_array()
        .expect("shortages")
        .iter()
        .filter_map(|short| short["productId"].as_str())
        .collect();
    assert_eq!(short, ["few", "none"]);
    // All or nothing.
    client.expect_stock("plenty", 100, 0, 0);
    client.expect_stock("few", 2, 0, 0);
    let order_id = shop::id(&order);
    client
        .payment(order_id)
        .expect_problem(404, "payment_not_found");
    client
        .reservation(order_id)
        .expect_problem(404, "reservation_not_found");
}

#[test]
fn a_declined_payment_gives_the_stock_back() {
    let server = brisk();
    let client = server.client();
    client.stock("cup", 10);
    let declined = [
        Order::of(&[("cup", 4)]).paid_by("pm_card_declined"),
        Order::of(&[("cup", 4)]).noted("forcePaymentFailure", json!(true)),
    ];
    for order in declined {
        let order = client.order(&order);
        expect_end(&order, "CANCELLED", "COMPENSATED");
        let reason = order["cancellationReason"].as_str().expect("a reason");
        assert!(reason.contains("payment"), "{reason}");
        assert_eq!(parts(&client, &order), ("RELEASED".into(), "FAILED".into()));
        client.expect_stock("cup", 10, 0, 0);
    }
}

#[test]
fn a_payment_that_times_out_and_was_made_completes_the_order() {
    let server = brisk();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_timeout"));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    assert_eq!(
        parts(&client, &order),
        ("CONFIRMED".into(), "SUCCEEDED".into())
    );
    client.expect_stock("cup", 9, 0, 1);
}

#[test]
fn a_payment_that_times_out_and_was_not_made_undoes_the_order() {
    let server = brisk();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_timeout_fails"));
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(parts(&client, &order), ("RELEASED".into(), "FAILED".into()));
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_hold_that_expires_during_a_slow_payment_undoes_the_order() {
    let server = brisk();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)])
        .paid_by("pm_card_slow")
        .noted("reservationTtlMinutes", json!(0.02));
    let placed = client.place(&order);
    let order_id = shop::id(&placed);
    let held = client.in_saga_state(order_id, &["PAYMENT_PROCESSING", "COMPENSATED"]);
    if held["sagaState"] == "PAYMENT_PROCESSING" {
        assert_eq!(held["status"], "INVENTORY_RESERVED");
    }
    let order = client.ended(order_id);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    let reason = order["cancellationReason"].as_str().expect("a reason");
    assert!(reason.contains("expired"), "{reason}");
    expect_undone(&client, &order, "EXPIRED");
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_hold_that_expires_on_a_charge_nobody_heard_of_gives_the_money_back() {
    // The charge is made at once, and its answer is lost for longer than the hold.
    let server = Options::new().flag("--sandbox-timeout", "4s").start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)])
        .paid_by("pm_card_timeout")
        .noted("reservationTtlMinutes", json!(0.02));
    let order = client.order(&order);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(
        parts(&client, &order),
        ("EXPIRED".into(), "REFUNDED".into())
    );
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_payment_that_is_at_work_beyond_its_time_is_cancelled() {
    let server = Options::new()
        .flag("--sandbox-slow", "1h")
        .flag("--payment-timeout", "300ms")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 2)]).paid_by("pm_card_slow"));
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(
        parts(&client, &order),
        ("RELEASED".into(), "CANCELLED".into())
    );
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_payment_without_an_outcome_in_its_time_undoes_the_order() {
    let server = Options::new()
        .flag("--sandbox-timeout", "600ms")
        .flag("--payment-timeout", "200ms")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)]).paid_by("pm_card_timeout_fails");
    let order = client.order(&order);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    let reason = order["cancellationReason"].as_str().expect("a reason");
    assert!(reason.contains("timeout"), "{reason}");
    assert_eq!(
        parts(&client, &order),
        ("RELEASED".into(), "CANCELLED".into())
    );
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_payment_that_succeeds_after_its_time_completes_the_order_or_is_given_back() {
    let server = Options::new()
        .flag("--sandbox-slow", "2s")
        .flag("--payment-timeout", "200ms")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 2)]).paid_by("pm_card_slow"));
    if order["status"] == "CONFIRMED" {
        assert_eq!(
            parts(&client, &order),
            ("CONFIRMED".into(), "SUCCEEDED".into())
        );
        client.expect_stock("cup", 8, 0, 2);
    } else {
        expect_end(&order, "CANCELLED", "COMPENSATED");
        expect_undone(&client, &order, "RELEASED");
        client.expect_stock("cup", 10, 0, 0);
    }
}

#[test]
fn a_slow_payment_completes_the_order() {
    let server = Options::new().flag("--sandbox-slow", "500ms").start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 2)]).paid_by("pm_card_slow"));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    client.expect_stock("cup", 8, 0, 2);
}

#[test]
fn an_order_that_costs_nothing_is_paid_at_once() {
    let server = brisk();
    let client = server.client();
    let gift = json!({ "price": 0, "currency": "EUR", "onHandQuantity": 3 });
    let _ = client
        .put("/api/v1/inventory/products/gift", &gift)
        .expect(201);
    let order = client.order(&Order::of(&[("gift", 1)]));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    client.expect_stock("gift", 2, 0, 1);
}

#[test]
fn currencies_have_their_own_digits() {
    let server = brisk();
    let client = server.client();
    for (product, currency, price, total) in [
        ("yen", "JPY", "500", "1000"),
        ("dinar", "KWD", "1.005", "2.010"),
        ("euro", "EUR", "29.9", "59.80"),
    ] {
        let body = format!(r#"{{"price":{price},"currency":"{currency}","onHandQuantity":9}}"#);
        let path = format!("/api/v1/inventory/products/{product}");
        let put = client
            .ask("PUT", &path)
            .bytes("application/json", body.into_bytes());
        let _ = put.send().expect(201);
        let order = Order::of(&[(product, 2)]).with("currency", json!(currency));
        let order = client.order(&order);
        expect_end(&order, "CONFIRMED", "COMPLETED");
        let shown = client.get(&format!("/api/v1/orders/{}", shop::id(&order)));
        let amount = format!(r#""totalAmount":{total},"#);
        assert!(shown.text().contains(&amount), "{shown:?}");
    }
}
