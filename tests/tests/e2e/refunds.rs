//! Refunds of confirmed orders.

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Order, Server};
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
