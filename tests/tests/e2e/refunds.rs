//! Refunds of confirmed orders.

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Options, Order, Server, until};
use serde_json::json;

#[test]
fn all_of_it() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 3)]));
    let order_id = shop::id(&order);
    let refunded = client.refund(order_id, &json!({})).expect(200);
    assert!(
        refunded.text().contains(r#""refundedAmount":30.00"#),
        "{refunded:?}"
    );
    assert_eq!(refunded.json()["status"], "REFUNDED");
    // The sale stands: goods that come back are received as stock.
    expect_end(&client.look(order_id), "CONFIRMED", "COMPLETED");
    client.expect_stock("cup", 7, 0, 3);
    client
        .refund(order_id, &json!({}))
        .expect_problem(409, "payment_not_refundable");
}

#[test]
fn in_parts_and_never_more_than_was_paid() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 3)]));
    let order_id = shop::id(&order);
    let first = client
        .refund(order_id, &json!({ "amount": 12.5 }))
        .expect(200)
        .json();
    assert_eq!(first["status"], "SUCCEEDED");
    assert_eq!(first["refundedAmount"], 12.5);
    assert_eq!(first["refunds"][0]["status"], "SUCCEEDED");
    client
        .refund(order_id, &json!({ "amount": 17.51 }))
        .expect_problem(422, "refund_exceeds_charge");
    let rest = client
        .refund(order_id, &json!({ "amount": 17.5 }))
        .expect(200)
        .json();
    assert_eq!(rest["status"], "REFUNDED");
    assert_eq!(rest["refunds"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        client.payment(order_id).expect(200).json()["refundedAmount"],
        30.0
    );
}

#[test]
fn only_what_is_an_amount() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 3)]));
    for amount in [json!(0), json!(-1), json!(0.001), json!("5"), json!(1e300)] {
        let answer = client.refund(shop::id(&order), &json!({ "amount": amount }));
        let problem = answer.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/amount", "{problem}");
    }
    let payment = client.payment(shop::id(&order)).expect(200).json();
    assert_eq!(payment["refunds"], json!([]));
}

#[test]
fn only_of_what_was_paid() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let declined = client.order(&Order::of(&[("cup", 3)]).paid_by("pm_card_declined"));
    client
        .refund(shop::id(&declined), &json!({}))
        .expect_problem(409, "payment_not_refundable");
    let failed = client.order(&Order::of(&[("cup", 300)]));
    let payment_id = format!("pay_{}", shop::id(&failed));
    let path = format!("/api/v1/payments/{payment_id}/refund");
    let answer = client.post(&path, &json!({}));
    assert!(matches!(answer.status, 400 | 404), "{answer:?}");
}

#[test]
fn many_at_once_give_back_no_more_than_was_paid() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 3)]));
    let order_id = shop::id(&order);
    let given = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let client = server.client();
                scope.spawn(move || client.refund(order_id, &json!({ "amount": 10 })).status)
            })
            .collect();
        tries
            .into_iter()
            .map(|tried| tried.join().expect("an answer"))
            .filter(|status| *status == 200)
            .count()
    });
    assert_eq!(given, 3);
    let payment = client.payment(order_id).expect(200).json();
    assert_eq!(payment["status"], "REFUNDED");
    assert_eq!(payment["refundedAmount"], 30.0);
}

#[test]
fn one_that_keeps_failing_is_parked_where_an_operator_finds_it_and_is_tried_again() {
    let server = Options::new()
        .flag("--sandbox-slow", "10ms")
        .flag("--retry-first", "1ms")
        .flag("--retry-cap", "2ms")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let waiting = |client: &Client| client.get("/api/v1/payments/parked").expect(200).json();
    assert_eq!(waiting(&client), json!({ "data": [], "count": 0 }));
    // A card whose first eight undos fail. The order itself goes well.
    let order = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_undo_fails"));
    let order_id = shop::id(&order);
    let asked = client.ask("POST", &format!("/api/v1/payments/pay_{order_id}/refund"));
    let asked = asked.header("prefer", "wait=0").send().expect(200).json();
    assert_eq!(asked["refunds"][0]["status"], "PENDING", "{asked}");
    let parked = |client: &Client| {
        until("a parked payment", || {
            let waiting = waiting(client);
            (waiting["count"] == 1)
                .then(|| waiting["data"][0].clone())
                .ok_or(waiting.to_string())
        })
    };
    let payment = parked(&client);
    assert_eq!(payment["orderId"], order["orderId"]);
    assert_eq!(payment["parked"], true);
    // Its order is not: that has ended.
    assert_eq!(client.look(order_id)["parked"], false);
    // A restart finds it again.
    let server = server.restart();
    let client = server.client();
    let _ = parked(&client);
    // The sandbox counts its eight afresh in each process, so once may not be enough.
    let retry = format!("/api/v1/orders/{order_id}/retry");
    until("the refund", || {
        let payment = client.payment(order_id).expect(200).json();
        if payment["parked"] == true {
            let _ = client.ask("POST", &retry).send().expect(200);
        }
        (payment["status"] == "REFUNDED")
            .then_some(())
            .ok_or(payment.to_string())
    });
    assert_eq!(waiting(&client)["count"], 0);
}
