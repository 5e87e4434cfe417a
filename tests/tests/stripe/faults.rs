//! A bad day: time-outs before and after the charge, 500, 429, cut connections, keys in use.
//! Whatever happens, a customer pays once for what is sold, and nothing for what is not.

use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::shapes;
use a4co_tests::until;
use serde_json::json;

use super::{CHARGE, GOOD, Shop, expect};

fn slow_day() -> Shop {
    Shop::open_with(|options| {
        options
            .flag("--stripe-timeout", "300ms")
            .flag("--stripe-circuit-failures", "1000")
    })
}

/// Charges through these faults, each in its turn, complete with one charge.
#[track_caller]
fn completes_through(faults: &[Fault]) {
    let shop = slow_day();
    for fault in faults {
        shop.proxy.fail(CHARGE, fault.clone(), 1);
    }
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
    shop.client.expect_stock("cup", 9, 0, 1);
    let charges = shop.proxy.seen(CHARGE);
    let first = &charges[0];
    for again in charges.iter().filter(|seen| seen.what == CHARGE) {
        assert_eq!((again.key(), &again.body), (first.key(), &first.body));
    }
}

#[test]
fn a_time_out_before_the_charge() {
    completes_through(&[Fault::SilentBefore]);
}

#[test]
fn a_time_out_after_the_charge() {
    completes_through(&[Fault::SilentAfter]);
}

#[test]
fn connections_that_break_before_within_and_after() {
    completes_through(&[Fault::CutBefore, Fault::CutAfter]);
    completes_through(&[Fault::CutBefore, Fault::CutWithin]);
}

#[test]
fn errors_of_the_server_and_of_whatever_stands_in_between() {
    let page = || "<html>Bad gateway</html>".to_owned();
    completes_through(&[
        Fault::Instead(500, vec![], shapes::error("api_error")),
        Fault::Instead(502, vec![("Content-Type", "text/html")], page()),
        Fault::Instead(404, vec![("Content-Type", "text/html")], page()),
        Fault::Instead(409, vec![], shapes::error("invalid_request_error")),
        Fault::Instead(401, vec![], shapes::error("invalid_request_error")),
        Fault::Instead(200, vec![], "{".to_owned()),
        Fault::Instead(
            302,
            vec![("Location", "http://127.0.0.1:1/")],
            String::new(),
        ),
    ]);
}

#[test]
fn stripe_says_whether_a_refusal_is_for_good() {
    completes_through(&[Fault::Instead(
        400,
        vec![("Stripe-Should-Retry", "true")],
        shapes::error("invalid_request_error"),
    )]);
}

/// Stripe keeps a 500 under its key: the charge is looked for, and found.
#[test]
fn a_failure_that_is_kept_under_the_key_is_not_the_end() {
    let shop = slow_day();
    let order = shop
        .client
        .place(&Shop::cup(GOOD).with("totalAmount", json!(10)));
    expect(
        &shop.client.ended(order["orderId"].as_str().expect("an id")),
        "CONFIRMED",
    );

    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    shop.proxy
        .fail(CHARGE, Fault::Kept(500, shapes::error("api_error")), 1);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
}

#[test]
fn a_pause_that_stripe_asks_for_is_kept() {
    let shop = Shop::open();
    let pause = vec![("Retry-After", "2"), ("Stripe-Should-Retry", "true")];
    shop.proxy.fail(
        CHARGE,
        Fault::Instead(429, pause, shapes::error("rate_limit_error")),
        1,
    );
    let started = std::time::Instant::now();
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    assert!(started.elapsed().as_millis() >= 2000);
    assert_eq!(
        shop.proxy.seen(CHARGE).len(),
        2,
        "nothing is asked during the pause"
    );
    let metrics = shop.client.get("/metrics").expect(200).text();
    assert!(
        metrics.contains("answer=\"held\",endpoint=\"create_intent\""),
        "{metrics}"
    );
}

#[test]
fn a_circuit_that_is_open_asks_nothing_and_closes_by_itself() {
    let shop = Shop::open_with(|options| {
        options
            .flag("--stripe-circuit-failures", "2")
            .flag("--stripe-circuit-pause", "1s")
    });
    // The charge, and the look before it is repeated.
    shop.proxy.fail("", Fault::CutBefore, 2);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    assert_eq!(shop.proxy.seen(CHARGE).len(), 2);
    let metrics = shop.client.get("/metrics").expect(200).text();
    for line in [
        "stripe_circuit_opened_total 1",
        "stripe_circuit_state 0",
        "answer=\"circuit_open\"",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// The charge is under way when its order is cancelled: it is cancelled, or given back.
#[test]
fn an_order_cancelled_while_its_charge_is_under_way_keeps_no_money() {
    let shop = Shop::open();
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
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    shop.expect_money(&order, 1000, 1000);
    shop.client.expect_stock("cup", 10, 0, 0);
}

/// Nothing is known of the charge when the payment's time is over. It was made: given back.
#[test]
fn a_charge_found_at_the_end_of_its_time_is_given_back_or_kept() {
    let shop = Shop::open_with(|options| {
        options
            .flag("--stripe-timeout", "200ms")
            .flag("--payment-timeout", "1s")
            .flag("--stripe-circuit-failures", "1000")
    });
    // Carried out, and never answered: neither the charge nor a question about it.
    shop.proxy
        .fail("POST /v1/payment_intents", Fault::SilentAfter, 4);
    let order = shop.client.order(&Shop::cup(GOOD));
    // A cancel that finds success completes an order that still waits for it.
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
}

/// Nothing was charged when the payment's time is over, and nothing is after that: the
/// charge's key is used up, so that one which arrives late does nothing.
#[test]
fn a_charge_that_never_arrived_cannot_happen_later() {
    let shop = Shop::open_with(|options| {
        options
            .flag("--stripe-timeout", "200ms")
            .flag("--payment-timeout", "1s")
            .flag("--stripe-circuit-failures", "1000")
    });
    shop.proxy.fail(CHARGE, Fault::SilentBefore, 1000);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    shop.payment_until(&order, "the end of the payment's time", |payment| {
        payment["gatewayState"] == "cancelling"
    });
    shop.proxy.heal();
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    shop.expect_money(&order, 0, 0);
    let intent = shop.stripe.intent(id);
    assert_eq!(intent["status"], "canceled");

    // The charge itself, late.
    let late = &shop.proxy.seen(CHARGE)[0];
    let agent = a4co_tests::Client::new(
        shop.proxy.url()["http://".len()..]
            .parse()
            .expect("an address"),
    );
    let mut asked = agent.ask("POST", "/v1/payment_intents");
    for (name, value) in &late.headers {
        if ["idempotency-key", "authorization"].contains(&name.as_str()) {
            asked = asked.header(name, value);
        }
    }
    let body = late.body.clone().into_bytes();
    let refused = asked
        .bytes("application/x-www-form-urlencoded", body)
        .send();
    assert_eq!(
        refused.expect(400).json()["error"]["type"],
        "idempotency_error"
    );
    shop.expect_money(&order, 0, 0);
}

#[test]
fn a_refund_whose_answer_is_lost_is_not_made_twice() {
    let shop = slow_day();
    let order = shop.client.order(&Shop::cup(GOOD));
    let payment = shop.payment(&order);
    let path = format!(
        "/api/v1/payments/{}/refund",
        payment["paymentId"].as_str().expect("an id")
    );
    shop.proxy.fail("POST /v1/refunds", Fault::SilentAfter, 1);
    let refunded = shop
        .client
        .post(&path, &json!({ "amount": 4 }))
        .expect(200)
        .json();
    assert_eq!(refunded["refunds"][0]["status"], "SUCCEEDED", "{refunded}");
    shop.expect_money(&order, 1000, 400);
    // Also when Stripe has forgotten the key meanwhile.
    shop.proxy.fail("POST /v1/refunds", Fault::CutAfter, 1);
    shop.proxy.forget_keys();
    let refunded = shop
        .client
        .post(&path, &json!({ "amount": 1 }))
        .expect(200)
        .json();
    assert_eq!(refunded["refunds"][1]["status"], "SUCCEEDED", "{refunded}");
    shop.expect_money(&order, 1000, 500);
}

/// The bank sends back what an undone order owes: it is said, shown, and made anew.
#[test]
fn a_refund_that_fails_after_it_was_pending_is_made_anew_for_an_undone_order() {
    let shop = Shop::open();
    let pending = shapes::refund("re_back", "", 1, "pending");
    shop.proxy.fail(CHARGE, Fault::AtGate, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    until("the charge", || {
        (!shop.proxy.seen(CHARGE).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let mut failed = shapes::refund("re_back", id, 1, "failed");
    failed["failure_reason"] = json!("lost_or_stolen_card");
    let list = json!({ "object": "list", "data": [failed], "has_more": false }).to_string();
    let cancel = format!("/api/v1/orders/{id}/cancel");
    let _ = shop.client.post(&cancel, &json!({})).expect(200);
    let instead = |body: String| Fault::Instead(200, vec![], body);
    shop.proxy
        .fail("POST /v1/refunds", instead(pending.to_string()), 1);
    shop.proxy.fail("GET /v1/refunds", instead(list), 2);
    shop.proxy.open_gate();
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    shop.expect_money(&order, 1000, 1000);
    let payment = shop.payment(&order);
    assert_eq!(payment["refunds"][0]["status"], "SUCCEEDED", "{payment}");
    let refunds = shop.proxy.seen("POST /v1/refunds");
    let keys: Vec<_> = refunds.iter().filter_map(|refund| refund.key()).collect();
    let key = format!("a4co:{id}:refund:1");
    assert_eq!(keys, [key.clone(), format!("{key}:2")]);
}

/// To an operator a refusal is an answer, at once or later.
#[test]
fn a_refund_by_hand_that_fails_after_it_was_pending_has_failed() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    let instead = |body: String| Fault::Instead(200, vec![], body);
    let pending = shapes::refund("re_back", id, 1, "pending").to_string();
    let failed = shapes::refund("re_back", id, 1, "failed");
    let list = json!({ "object": "list", "data": [failed], "has_more": false }).to_string();
    shop.proxy.fail("POST /v1/refunds", instead(pending), 1);
    shop.proxy.fail("GET /v1/refunds", instead(list), 1);
    let refunded = shop.client.refund(id, &json!({})).expect(200).json();
    assert_eq!(refunded["refunds"][0]["status"], "FAILED", "{refunded}");
    assert_eq!(refunded["status"], "SUCCEEDED", "{refunded}");
    shop.expect_money(&order, 1000, 0);
}

#[test]
fn a_refund_that_takes_its_time_is_asked_for_until_it_is_done() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    let pending = shapes::refund("re_slow", id, 1, "pending");
    let done = shapes::refund("re_slow", id, 1, "succeeded");
    let list =
        |refund| json!({ "object": "list", "data": [refund], "has_more": false }).to_string();
    shop.proxy.fail(
        "POST /v1/refunds",
        Fault::Instead(200, vec![], pending.to_string()),
        1,
    );
    shop.proxy.fail(
        "GET /v1/refunds",
        Fault::Instead(200, vec![], list(pending)),
        2,
    );
    shop.proxy.fail(
        "GET /v1/refunds",
        Fault::Instead(200, vec![], list(done)),
        1,
    );
    let refunded = shop.client.refund(id, &json!({})).expect(200).json();
    assert_eq!(refunded["refunds"][0]["status"], "SUCCEEDED", "{refunded}");
    assert_eq!(refunded["refunds"][0]["gatewayReference"], "re_slow");
    assert_eq!(shop.proxy.seen("POST /v1/refunds").len(), 1);
}

#[test]
fn a_killed_engine_learns_what_became_of_its_charge() {
    let shop = slow_day();
    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id").to_owned();
    until("the charge", || {
        (!shop.stripe.intents(&id).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let options = shop.server.options().clone();
    shop.server.kill();
    let server = options.start();
    let order = server.client().ended(&id);
    expect(&order, "CONFIRMED");
    assert_eq!(shop.stripe.intents(&id).len(), 1);
}

/// The charge is under way for longer than we wait: its key is in use meanwhile.
#[test]
fn a_key_that_is_in_use_is_waited_for() {
    let shop = slow_day();
    shop.proxy.fail(CHARGE, Fault::UnderWay, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    until("a second try", || {
        let tries = shop.proxy.seen(CHARGE).len();
        (tries >= 3).then_some(()).ok_or_else(|| format!("{tries}"))
    });
    shop.proxy.heal();
    let order = shop.client.ended(order["orderId"].as_str().expect("an id"));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
    let metrics = shop.client.get("/metrics").expect(200).text();
    let counted = "answer=\"idempotency_error\"";
    assert!(
        metrics.contains("answer=\"conflict\"") || metrics.contains(counted),
        "{metrics}"
    );
}

/// It is still under way when the payment's time is over: nobody knows whether it will
/// charge, so the order is undone only once that is known, and the money goes back.
#[test]
fn a_charge_that_outlasts_its_payment_is_undone_in_the_end() {
    let shop = Shop::open_with(|options| {
        options
            .flag("--stripe-timeout", "200ms")
            .flag("--payment-timeout", "1s")
            .flag("--saga-timeout", "3s")
            .flag("--parked-retry", "500ms")
            .flag("--stripe-circuit-failures", "1000")
    });
    shop.proxy.fail(CHARGE, Fault::UnderWay, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    let undoing = shop.client.in_saga_state(id, &["COMPENSATING"]);
    expect(&undoing, "INVENTORY_RESERVED");
    shop.proxy.heal();
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    shop.expect_money(&order, 1000, 1000);
    shop.client.expect_stock("cup", 10, 0, 0);
}

/// Stripe keeps a 500 under the refund's key, for a day. The refund is made all the same, once.
#[test]
fn a_refund_whose_key_keeps_a_failure_is_made_under_another() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let payment = shop.payment(&order);
    let path = format!(
        "/api/v1/payments/{}/refund",
        payment["paymentId"].as_str().expect("an id")
    );
    let failure = Fault::Kept(500, shapes::error("api_error"));
    shop.proxy.fail("POST /v1/refunds", failure, 1);
    let refunded = shop
        .client
        .post(&path, &json!({ "amount": 4 }))
        .expect(200)
        .json();
    assert_eq!(refunded["refunds"][0]["status"], "SUCCEEDED", "{refunded}");
    shop.expect_money(&order, 1000, 400);
    let refunds = shop.proxy.seen("POST /v1/refunds");
    let keys: Vec<_> = refunds.iter().filter_map(|refund| refund.key()).collect();
    assert!(
        keys[0].ends_with(":refund:1") && keys[2].ends_with(":refund:1:2"),
        "{keys:?}"
    );
    assert_eq!((keys.len(), keys[0]), (3, keys[1]));
}

/// Where keys are of no use (one that was pruned, a stand-in that knows none), a charge that
/// was made is seen before it is made again.
#[test]
fn a_charge_that_can_be_seen_is_not_made_again() {
    let shop = slow_day();
    shop.proxy.ignore_keys();
    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);

    // Also by a process that knows nothing of it.
    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id").to_owned();
    until("the charge", || {
        (!shop.stripe.intents(&id).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let options = shop.server.options().clone();
    shop.server.kill();
    // Back sooner than any process is, it would be taken for the first try.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let server = options.start();
    expect(&server.client().ended(&id), "CONFIRMED");
    assert_eq!(shop.stripe.intents(&id).len(), 1);
}
