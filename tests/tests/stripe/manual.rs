//! Manual capture: the money is set aside, the stock is committed, and only then it is taken.

use a4co_tests::Options;
use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::shapes;
use a4co_tests::until;
use serde_json::json;

use super::{BAD, CHARGE, GOOD, Shop, expect};

const CAPTURE: &str = "POST /v1/payment_intents/pi_";

fn manual(options: Options) -> Options {
    options
        .flag("--stripe-capture", "manual")
        .flag("--stripe-timeout", "300ms")
}

#[test]
fn the_money_is_taken_once_the_stock_is_committed() {
    let shop = Shop::open_with(manual);
    shop.proxy.fail(CAPTURE, Fault::AtGate, 1);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    let id = order["orderId"].as_str().expect("an id");
    assert_eq!(shop.stripe.intent(id)["status"], "requires_capture");
    let payment = shop.payment(&order);
    assert_eq!(
        (&payment["status"], &payment["gatewayState"]),
        (&json!("PROCESSING"), &json!("capturing"))
    );
    shop.client.expect_stock("cup", 9, 0, 1);
    shop.proxy.heal();
    shop.payment_until(&order, "the capture", |payment| {
        payment["status"] == "SUCCEEDED"
    });
    shop.expect_money(&order, 1000, 0);
    assert!(
        shop.proxy.seen(CHARGE)[0]
            .body
            .contains("capture_method=manual")
    );

    // What is captured can be refunded.
    let path = format!(
        "/api/v1/payments/{}/refund",
        payment["paymentId"].as_str().expect("an id")
    );
    let refunded = shop.client.post(&path, &json!({})).expect(200).json();
    assert_eq!(refunded["status"], "REFUNDED", "{refunded}");
    shop.expect_money(&order, 1000, 1000);
}

#[test]
fn a_capture_that_fails_or_whose_answer_is_lost_is_tried_until_it_is_done() {
    let shop = Shop::open_with(manual);
    shop.proxy.fail(CAPTURE, Fault::CutBefore, 1);
    shop.proxy.fail(
        CAPTURE,
        Fault::Instead(500, vec![], shapes::error("api_error")),
        1,
    );
    shop.proxy.fail(CAPTURE, Fault::SilentAfter, 1);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.payment_until(&order, "the capture", |payment| {
        payment["status"] == "SUCCEEDED"
    });
    shop.expect_money(&order, 1000, 0);
}

#[test]
fn an_order_that_is_undone_lets_the_money_go_without_taking_it() {
    let shop = Shop::open_with(manual);
    shop.proxy.fail(CHARGE, Fault::AtGate, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    until("the charge", || {
        (!shop.proxy.seen(CHARGE).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let path = format!("/api/v1/orders/{id}/cancel");
    let _ = shop
        .client
        .post(&path, &json!({ "reason": "changed my mind" }))
        .expect(200);
    shop.proxy.heal();
    expect(&shop.client.ended(id), "CANCELLED");
    assert_eq!(shop.stripe.intent(id)["status"], "canceled");
    shop.expect_money(&order, 0, 0);
    expect(&shop.client.order(&Shop::cup(BAD)), "CANCELLED");
}

#[test]
fn a_parked_capture_is_tried_at_once_when_an_operator_says_so() {
    let shop = Shop::open_with(|options| {
        manual(options)
            .flag("--park-after-attempts", "2")
            .flag("--parked-retry", "1h")
    });
    let refused = || Fault::Instead(500, vec![], shapes::error("api_error"));
    shop.proxy.fail(CAPTURE, refused(), 1_000);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.payment_until(&order, "a capture that is parked", |payment| {
        payment["parked"] == true
    });
    shop.proxy.heal();
    let id = order["orderId"].as_str().expect("an id");
    let path = format!("/api/v1/orders/{id}/retry");
    let nudged = shop.client.post(&path, &json!({})).expect(200).json();
    assert_eq!(nudged["orderId"], id, "{nudged}");
    let payment = shop.payment_until(&order, "the capture", |payment| {
        payment["status"] == "SUCCEEDED"
    });
    assert_eq!(payment["parked"], false, "{payment}");
    shop.expect_money(&order, 1000, 0);
    shop.client
        .post(&path, &json!({}))
        .expect_problem(409, "saga_not_parked");
}

/// The authorisation is gone when it is to be taken: somebody is told, nothing is tried by
/// itself any more, and it waits until somebody says that it was seen to.
#[test]
fn an_authorisation_that_is_gone_waits_for_a_person() {
    let shop = Shop::open_with(manual);
    shop.proxy.fail(CAPTURE, Fault::AtGate, 1);
    let order = shop.client.order(&Shop::cup(GOOD));
    let intent = shop
        .stripe
        .intent(order["orderId"].as_str().expect("an id"));
    let path = format!(
        "/v1/payment_intents/{}/cancel",
        intent["id"].as_str().expect("an id")
    );
    let _ = shop.stripe.post(&path, &json!({})).expect(200);
    shop.proxy.heal();
    let payment = shop.payment_until(&order, "a payment that is parked", |payment| {
        payment["parked"] == true
    });
    assert_eq!(payment["status"], "FAILED", "{payment}");
    assert_eq!(payment["gatewayState"], "capture_failed", "{payment}");
    let why = "capture refused: authorisation_expired";
    assert_eq!(payment["failureReason"], why, "{payment}");
    assert_eq!(payment["nextRetryAt"], json!(null), "{payment}");
    let parked = || {
        let metrics = shop.client.get("/metrics").expect(200).text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("payment_parked_count "));
        line.map(str::to_owned)
    };
    assert_eq!(parked().as_deref(), Some("payment_parked_count 1"));
    let before = shop.proxy.seen(CAPTURE).len();

    // An operator has it tried once more, to no avail, and writes it off.
    let id = order["orderId"].as_str().expect("an id");
    let retry = format!("/api/v1/orders/{id}/retry");
    let _ = shop.client.post(&retry, &json!({})).expect(200);
    until("one more capture", || {
        let tries = shop.proxy.seen(CAPTURE).len();
        (tries == before + 1)
            .then_some(())
            .ok_or_else(|| tries.to_string())
    });
    let payment = shop.payment_until(&order, "refused again", |payment| {
        payment["status"] == "FAILED"
    });
    let payment_id = payment["paymentId"].as_str().expect("an id");
    let write_off = format!("/api/v1/payments/{payment_id}/write-off");
    let written = shop.client.post(&write_off, &json!({})).expect(200).json();
    assert_eq!(written["parked"], false, "{written}");
    assert_eq!(written["gatewayState"], "capture_failed", "{written}");
    let _ = shop.client.post(&write_off, &json!({})).expect(200);
    assert_eq!(parked().as_deref(), Some("payment_parked_count 0"));
    shop.client
        .post(&retry, &json!({}))
        .expect_problem(409, "saga_not_parked");
    expect(&shop.client.ended(id), "CONFIRMED");
    shop.expect_money(&order, 0, 0);

    // A payment that was taken has nothing to write off.
    let paid = shop.client.order(&Shop::cup(GOOD));
    let paid = shop.payment_until(&paid, "the capture", |payment| {
        payment["status"] == "SUCCEEDED"
    });
    let payment_id = paid["paymentId"].as_str().expect("an id");
    let write_off = format!("/api/v1/payments/{payment_id}/write-off");
    shop.client
        .post(&write_off, &json!({}))
        .expect_problem(409, "nothing_to_write_off");
}
