//! Idempotency keys, and waiting for the end.

use std::time::{Duration, Instant};

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Answer, Client, Options, Order, Server};
use serde_json::{Value, json};

#[track_caller]
fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client.ask("POST", path).key(key).json(body).send()
}

#[track_caller]
fn expect_replay(first: &Answer, again: &Answer) {
    assert_eq!(again.status, first.status, "{again:?}");
    assert_eq!(again.text(), first.text());
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{again:?}"
    );
    assert_eq!(first.header("idempotency-replayed"), None, "{first:?}");
}

#[test]
fn an_order_is_placed_once_for_a_key_also_across_restarts() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)]);
    let orders = "/api/v1/orders";
    let first = keyed(&client, orders, "checkout-1", order.body()).expect(201);
    let order_id = shop::id(&first.json()).to_owned();
    expect_replay(&first, &keyed(&client, orders, "checkout-1", order.body()));
    expect_end(&client.ended(&order_id), "CONFIRMED", "COMPLETED");
    expect_replay(&first, &keyed(&client, orders, "checkout-1", order.body()));

    // The same meaning in another form is the same request; another meaning is not.
    let reordered = br#" {"items":[{"quantity":2,"productId":"cup"}] , "customerId":"customer-1"}"#;
    let same = client.ask("POST", orders).key("checkout-1");
    expect_replay(
        &first,
        &same.bytes("application/json", reordered.to_vec()).send(),
    );
    let other = Order::of(&[("cup", 3)]);
    keyed(&client, orders, "checkout-1", other.body())
        .expect_problem(422, "idempotency_key_reused");

    let server = server.restart();
    let client = server.client();
    expect_replay(&first, &keyed(&client, orders, "checkout-1", order.body()));
    keyed(&client, orders, "checkout-1", other.body())
        .expect_problem(422, "idempotency_key_reused");
    client.expect_stock("cup", 8, 0, 2);

    let options = server.options().clone();
    server.kill();
    let server = options.start();
    let client = server.client();
    expect_replay(&first, &keyed(&client, orders, "checkout-1", order.body()));
    client.expect_stock("cup", 8, 0, 2);
    assert_eq!(client.all_orders("").len(), 1);
}

#[test]
fn a_retry_is_answered_as_before_although_the_price_has_changed() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 2)]);
    let first = keyed(&client, "/api/v1/orders", "k", order.body()).expect(201);
    let _ = client.ended(shop::id(&first.json()));
    let dearer = json!({ "price": 99 });
    let _ = client
        .put("/api/v1/inventory/products/cup", &dearer)
        .expect(200);
    expect_replay(&first, &keyed(&client, "/api/v1/orders", "k", order.body()));
}

#[test]
fn stock_is_adjusted_once_for_a_key() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let path = "/api/v1/inventory/products/cup/adjustments";
    let received = json!({ "delta": 5, "reason": "delivery" });
    let first = keyed(&client, path, "delivery-7", &received).expect(200);
    expect_replay(&first, &keyed(&client, path, "delivery-7", &received));
    let other = json!({ "delta": 6, "reason": "delivery" });
    keyed(&client, path, "delivery-7", &other).expect_problem(422, "idempotency_key_reused");
    client.expect_stock("cup", 15, 0, 0);

    let server = server.restart();
    let client = server.client();
    // More stock since, and still the first answer.
    let _ = client
        .post(path, &json!({ "delta": 1, "reason": "found" }))
        .expect(200);
    expect_replay(&first, &keyed(&client, path, "delivery-7", &received));
    client.expect_stock("cup", 16, 0, 0);
}

#[test]
fn an_order_is_cancelled_once_for_a_key() {
    let server = Options::new().flag("--sandbox-slow", "3s").start();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 2)]).paid_by("pm_card_slow"));
    let order_id = shop::id(&placed).to_owned();
    let path = format!("/api/v1/orders/{order_id}/cancel");
    let reason = json!({ "reason": "mistake" });
    let first = keyed(&client, &path, "cancel-1", &reason).expect(200);
    let _ = client.ended(&order_id);
    expect_replay(&first, &keyed(&client, &path, "cancel-1", &reason));
    keyed(&client, &path, "cancel-1", &json!({ "reason": "another" }))
        .expect_problem(422, "idempotency_key_reused");
    let server = server.restart();
    expect_replay(&first, &keyed(&server.client(), &path, "cancel-1", &reason));
}

#[test]
fn money_is_given_back_once_for_a_key() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 2)]));
    let payment_id = order["paymentId"].as_str().expect("a payment").to_owned();
    let path = format!("/api/v1/payments/{payment_id}/refund");
    let some = json!({ "amount": 5 });
    let first = keyed(&client, &path, "refund-1", &some).expect(200);
    assert_eq!(first.json()["refundedAmount"], 5.0);
    let again = keyed(&client, &path, "refund-1", &some);
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{again:?}"
    );
    assert_eq!(
        again.expect(200).json()["refundId"],
        first.json()["refundId"]
    );
    keyed(&client, &path, "refund-1", &json!({ "amount": 6 }))
        .expect_problem(422, "idempotency_key_reused");
    let server = server.restart();
    let client = server.client();
    let again = keyed(&client, &path, "refund-1", &some).expect(200);
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{again:?}"
    );
    let payment = client.payment(shop::id(&order)).expect(200).json();
    assert_eq!(payment["refundedAmount"], 5.0);
}

#[test]
fn one_key_at_once_from_many_clients_is_one_order() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 100);
    let order = Order::of(&[("cup", 1)]);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..10)
            .map(|_| {
                let (client, body) = (server.client(), order.body());
                scope.spawn(move || keyed(&client, "/api/v1/orders", "double-click", body))
            })
            .collect();
        let tries = tries.into_iter();
        tries
            .map(|tried| tried.join().expect("an answer"))
            .collect()
    });
    let first = answers[0].json();
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["orderId"], first["orderId"]);
    }
    let replayed = answers
        .iter()
        .filter(|it| it.header("idempotency-replayed").is_some());
    assert_eq!(replayed.count(), 9);
    let _ = client.ended(shop::id(&first));
    client.expect_stock("cup", 99, 0, 1);
}

#[test]
fn a_key_that_is_none_is_refused() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = Order::of(&[("cup", 1)]);
    for key in ["", &"k".repeat(129)] {
        keyed(&client, "/api/v1/orders", key, order.body())
            .expect_problem(400, "invalid_idempotency_key");
    }
    assert!(client.all_orders("").is_empty());
}

#[test]
fn an_answer_waits_for_the_end_and_no_longer_than_it_was_asked() {
    let server = Options::new().flag("--sandbox-slow", "3s").start();
    let client = server.client();
    client.stock("cup", 10);
    let waited = |order: &Order, seconds: u32| {
        let ask = client.ask("POST", "/api/v1/orders").wait(seconds);
        let answer = ask.json(order.body()).send().expect(201);
        let applied = format!("wait={seconds}");
        assert_eq!(answer.header("preference-applied"), Some(applied.as_str()));
        answer.json()
    };
    expect_end(
        &waited(&Order::of(&[("cup", 1)]), 20),
        "CONFIRMED",
        "COMPLETED",
    );
    let began = Instant::now();
    let slow = waited(&Order::of(&[("cup", 1)]).paid_by("pm_card_slow"), 1);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(slow["sagaState"], "PAYMENT_PROCESSING");
    // Without a wait the answer is the order as it was taken.
    let plain = client.post("/api/v1/orders", Order::of(&[("cup", 1)]).body());
    assert_eq!(plain.header("preference-applied"), None);
    assert_eq!(plain.json()["sagaState"], "STARTED");
}
