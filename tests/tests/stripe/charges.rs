//! Charges, cancels and refunds on a good day.

use a4co_tests::Order;
use serde_json::json;

use super::{BAD, CHARGE, GOOD, Shop, expect};

#[test]
fn an_order_is_charged_once_under_its_key_and_completes() {
    // All that any library has to say, too: the key must not be among it.
    let shop = Shop::open_with(|options| options.flag("--log-level", "trace"));
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.client.expect_stock("cup", 9, 0, 1);

    let id = order["orderId"].as_str().expect("an id");
    let intent = shop.stripe.intent(id);
    assert_eq!(
        (&intent["amount"], &intent["currency"]),
        (&json!(1000), &json!("eur"))
    );
    assert_eq!(intent["status"], "succeeded");
    let payment = shop.payment(&order);
    assert_eq!(payment["gateway"], "stripe");
    assert_eq!(payment["gatewayReference"], intent["id"]);
    assert_eq!(payment["status"], "SUCCEEDED");

    let charges = shop.proxy.seen(CHARGE);
    assert_eq!(charges.len(), 1);
    let charge = &charges[0];
    assert_eq!(charge.key(), Some(format!("a4co:{id}:charge").as_str()));
    assert_eq!(charge.headers["stripe-version"], "2025-12-15.clover");
    assert_eq!(charge.headers["authorization"], "Bearer sk_test_a4co");
    for parameter in [
        "confirm=true",
        "off_session=true",
        "payment_method=pm_card_visa",
        "capture_method=automatic",
    ] {
        assert!(charge.body.contains(parameter), "{}", charge.body);
    }
    assert!(!shop.server.logged().contains("sk_test_a4co"));
}

#[test]
fn a_declined_card_cancels_the_order_and_frees_its_stock() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(BAD));
    expect(&order, "CANCELLED");
    assert_eq!(order["cancellationReason"], "payment failed: card_declined");
    let payment = shop.payment(&order);
    assert_eq!(payment["status"], "FAILED");
    assert_eq!(payment["failureReason"], "declined: card_declined");
    shop.client.expect_stock("cup", 10, 0, 0);
    shop.expect_money(&order, 0, 0);
}

#[test]
fn what_cannot_be_charged_is_an_answer() {
    let shop = Shop::open();
    for (method, reason) in [
        ("pm_of_nobody", "invalid_request_error"),
        ("cus_1/pm_card_visa", "invalid_request_error"),
    ] {
        let order = shop.client.order(&Shop::cup(method));
        expect(&order, "CANCELLED");
        assert_eq!(
            order["cancellationReason"],
            format!("payment failed: {reason}")
        );
    }
    let without = shop.client.order(&Order::of(&[("cup", 1)]));
    expect(&without, "CANCELLED");
    assert_eq!(
        without["cancellationReason"],
        "payment failed: payment_method_missing"
    );
    // Neither has a free order anything to do with Stripe.
    let before = shop.proxy.seen(CHARGE).len();
    let body = json!({ "name": "gift", "price": 0, "onHandQuantity": 1 });
    let _ = shop.client.put("/api/v1/inventory/products/gift", &body);
    expect(&shop.client.order(&Order::of(&[("gift", 1)])), "CONFIRMED");
    assert_eq!(shop.proxy.seen(CHARGE).len(), before);
}

#[test]
fn a_stored_card_goes_with_its_customer() {
    let shop = Shop::open();
    let customer = shop
        .stripe
        .post("/v1/customers", &json!({}))
        .expect(200)
        .json();
    let customer = customer["id"].as_str().expect("an id");
    let card = shop.stripe.card("4242424242424242");
    let order = shop.client.order(&Shop::cup(&format!("{customer}/{card}")));
    expect(&order, "CONFIRMED");
    let intent = shop
        .stripe
        .intent(order["orderId"].as_str().expect("an id"));
    assert_eq!(intent["customer"], customer);
    assert_eq!(intent["payment_method"], card.as_str());
}

#[test]
fn refunds_in_part_and_of_all_that_is_left() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let payment = shop.payment(&order);
    let path = format!(
        "/api/v1/payments/{}/refund",
        payment["paymentId"].as_str().expect("an id")
    );

    let part = shop
        .client
        .ask("POST", &path)
        .key("r1")
        .json(&json!({ "amount": 2.5 }))
        .send();
    let part = part.expect(200).json();
    assert_eq!(part["refunds"][0]["status"], "SUCCEEDED", "{part}");
    shop.expect_money(&order, 1000, 250);
    // The same request is the same refund.
    let again = shop
        .client
        .ask("POST", &path)
        .key("r1")
        .json(&json!({ "amount": 2.5 }))
        .send();
    let _ = again.expect(200);
    shop.expect_money(&order, 1000, 250);

    let rest = shop.client.post(&path, &json!({})).expect(200).json();
    assert_eq!(rest["status"], "REFUNDED", "{rest}");
    shop.expect_money(&order, 1000, 1000);
    let refunds = shop.proxy.seen("POST /v1/refunds");
    let id = order["orderId"].as_str().expect("an id");
    let keys: Vec<_> = refunds.iter().filter_map(|refund| refund.key()).collect();
    assert_eq!(
        keys,
        [format!("a4co:{id}:refund:1"), format!("a4co:{id}:refund:2")]
    );
    let _ = shop
        .client
        .post(&path, &json!({}))
        .expect_problem(409, "payment_not_refundable");
}

#[test]
fn what_the_sandbox_understands_has_no_effect_here() {
    let shop = Shop::open();
    // Hints of the metadata do not decline, and do not shorten the hold.
    let hinted = Shop::cup(GOOD)
        .noted("forcePaymentFailure", json!(true))
        .noted("reservationTtlMinutes", json!(0.0001));
    expect(&shop.client.order(&hinted), "CONFIRMED");
    let order = shop
        .client
        .order(&Shop::cup(GOOD).noted("reservationTtlMinutes", json!("soon")));
    expect(&order, "CONFIRMED");
    // The sandbox's methods are methods that Stripe does not know: no decline of ours, no
    // outcome that is unknown, no waiting.
    for method in [
        "pm_card_declined",
        "pm_card_timeout",
        "pm_card_timeout_fails",
        "pm_card_slow",
        "pm_card_undo_fails",
    ] {
        let order = shop.client.order(&Shop::cup(method));
        expect(&order, "CANCELLED");
        assert_eq!(
            order["cancellationReason"], "payment failed: invalid_request_error",
            "{method}"
        );
        assert_eq!(
            shop.stripe
                .intents(order["orderId"].as_str().expect("an id"))
                .len(),
            0
        );
    }
    assert!(
        !shop
            .server
            .options()
            .data_dir()
            .join("sandbox-gateway.log")
            .exists()
    );
}

#[test]
fn calls_to_stripe_are_counted() {
    let shop = Shop::open();
    expect(&shop.client.order(&Shop::cup(GOOD)), "CONFIRMED");
    expect(&shop.client.order(&Shop::cup(BAD)), "CANCELLED");
    let metrics = shop.client.get("/metrics").expect(200).text();
    for line in [
        "stripe_requests_total{answer=\"ok\",endpoint=\"create_intent\"} 1",
        "stripe_requests_total{answer=\"declined\",endpoint=\"create_intent\"} 1",
        "stripe_request_duration_seconds_count{endpoint=\"create_intent\"} 2",
        "stripe_circuit_state 0",
        "gateway_calls_total{operation=\"charge\",outcome=\"succeeded\"} 1",
        "gateway_calls_total{operation=\"charge\",outcome=\"rejected\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
