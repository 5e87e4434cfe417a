//! Webhooks: signed, in any order, before and after the call's own answer, and once.

use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::{WEBHOOK_SECRET, now_s, shapes, signature, webhook};
use a4co_tests::{Answer, Client, until};
use serde_json::{Value, json};

use super::{CHARGE, GOOD, Shop, expect};

/// An order whose charge is carried out, and whose answer never comes.
#[track_caller]
fn unanswered(shop: &Shop) -> (Value, Value) {
    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id").to_owned();
    until("the charge", || {
        (!shop.stripe.intents(&id).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let intent = shop.stripe.intent(&id);
    (order, intent)
}

#[track_caller]
fn bring(client: &Client, path: &str, header: Option<&str>, body: &Value) -> Answer {
    let asked = client.ask("POST", path);
    let asked = header.into_iter().fold(asked, |asked, value| {
        asked.header("stripe-signature", value)
    });
    asked
        .bytes("application/json", body.to_string().into_bytes())
        .send()
}

#[test]
fn a_webhook_before_the_answer_completes_the_order() {
    let shop = Shop::open_with(|options| options.flag("--stripe-timeout", "2m"));
    let (order, intent) = unanswered(&shop);
    let event = shapes::event("evt_1", "payment_intent.succeeded", &intent);
    let answer = webhook(&shop.client, &event).expect(200).json();
    assert_eq!(answer, json!({ "received": true, "result": "applied" }));
    // Acknowledged only once it is durable, so it is here to be read.
    assert_eq!(shop.payment(&order)["status"], "SUCCEEDED");
    let order = shop.client.ended(order["orderId"].as_str().expect("an id"));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
}

#[test]
fn repeated_late_and_out_of_order_they_change_nothing() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&order, "CONFIRMED");
    let id = order["orderId"].as_str().expect("an id");
    let intent = shop.stripe.intent(id);
    let before = shop.payment(&order);
    let succeeded = shapes::event("evt_1", "payment_intent.succeeded", &intent);
    assert_eq!(
        webhook(&shop.client, &succeeded).expect(200).json()["result"],
        "applied"
    );
    assert_eq!(
        webhook(&shop.client, &succeeded).expect(200).json()["result"],
        "repeated"
    );
    let name = intent["id"].as_str().expect("an id");
    let stale = [
        (
            "payment_intent.payment_failed",
            shapes::requires_payment_method(name, id, "card_declined"),
        ),
        (
            "payment_intent.canceled",
            shapes::intent(name, id, "canceled"),
        ),
        (
            "payment_intent.requires_action",
            shapes::intent(name, id, "requires_action"),
        ),
        (
            "payment_intent.processing",
            shapes::intent(name, id, "processing"),
        ),
        (
            "payment_intent.created",
            shapes::intent(name, id, "requires_confirmation"),
        ),
        ("refund.updated", shapes::refund("re_x", id, 1, "succeeded")),
    ];
    for (kind, object) in stale {
        let event = shapes::event(&format!("evt_{kind}"), kind, &object);
        let _ = webhook(&shop.client, &event).expect(200);
    }
    assert_eq!(shop.payment(&order), before);
    assert_eq!(shop.client.look(id)["status"], "CONFIRMED");
}

/// Paid at Stripe after we had given up: it goes back, whichever way we hear of it.
#[test]
fn money_that_comes_after_all_is_over_goes_back() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(super::BAD));
    expect(&order, "CANCELLED");
    let id = order["orderId"].as_str().expect("an id");
    let late = json!({
        "amount": 1000, "currency": "eur", "payment_method": GOOD,
        "metadata": { "order_id": id }, "confirm": true,
    });
    let intent = shop
        .stripe
        .post("/v1/payment_intents", &late)
        .expect(200)
        .json();
    let event = shapes::event("evt_late", "payment_intent.succeeded", &intent);
    assert_eq!(
        webhook(&shop.client, &event).expect(200).json()["result"],
        "applied"
    );
    shop.payment_until(&order, "the refund", |payment| {
        payment["status"] == "REFUNDED"
    });
    shop.expect_money(&order, 1000, 1000);
    // Once, however often it is told.
    let again = shapes::event("evt_again", "payment_intent.succeeded", &intent);
    let _ = webhook(&shop.client, &again).expect(200);
    shop.expect_money(&order, 1000, 1000);
}

/// What has ended stays as it ended; somebody is told.
#[test]
fn a_refund_that_comes_back_from_the_bank_is_counted_and_changes_nothing() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    let refunded = shop.client.refund(id, &json!({})).expect(200).json();
    assert_eq!(refunded["status"], "REFUNDED", "{refunded}");
    let counted = |number| format!("stripe_webhooks_total{{result=\"refund_returned\"}} {number}");
    let metrics = shop.client.get("/metrics").expect(200).text();
    assert!(metrics.contains(&counted(0)), "{metrics}");
    let mut back = shapes::refund("re_1", id, 1, "failed");
    back["failure_reason"] = json!("expired_or_canceled_card");
    let event = shapes::event("evt_back", "refund.failed", &back);
    assert_eq!(
        webhook(&shop.client, &event).expect(200).json()["result"],
        "refund_returned"
    );
    let metrics = shop.client.get("/metrics").expect(200).text();
    assert!(metrics.contains(&counted(1)), "{metrics}");
    assert_eq!(shop.payment(&order)["status"], "REFUNDED");
}

#[test]
fn what_is_not_signed_is_400_and_nothing_happens() {
    let shop = Shop::open_with(|options| options.flag("--stripe-timeout", "2m"));
    let (order, intent) = unanswered(&shop);
    let event = shapes::event("evt_1", "payment_intent.succeeded", &intent);
    let body = event.to_string().into_bytes();
    let good = signature(WEBHOOK_SECRET, now_s(), &body);
    let mut other_body = event.clone();
    other_body["data"]["object"]["metadata"]["order_id"] =
        json!("01890000-0000-7000-8000-000000000001");
    let refused = |header: Option<&str>, body: &Value| {
        for path in ["/api/v1/payments/webhook", "/webhooks/stripe"] {
            bring(&shop.client, path, header, body)
                .expect_problem(400, "webhook_signature_invalid");
        }
    };
    refused(None, &event);
    refused(Some("t=1,v1=00"), &event);
    refused(Some(&good), &other_body);
    refused(Some(&signature("whsec_other", now_s(), &body)), &event);
    refused(
        Some(&signature(WEBHOOK_SECRET, now_s() - 301, &body)),
        &event,
    );
    refused(
        Some(&signature(WEBHOOK_SECRET, now_s() + 400, &body)),
        &event,
    );
    assert_eq!(shop.payment(&order)["status"], "PROCESSING");

    // Signed, and no event of ours.
    let nonsense = json!({ "hello": "world" });
    let header = signature(WEBHOOK_SECRET, now_s(), nonsense.to_string().as_bytes());
    bring(&shop.client, "/webhooks/stripe", Some(&header), &nonsense)
        .expect_problem(400, "bad_request");
    assert_eq!(
        bring(&shop.client, "/webhooks/stripe", Some(&good), &event)
            .expect(200)
            .json()["result"],
        "applied"
    );
    assert_eq!(shop.payment(&order)["status"], "SUCCEEDED");
}

#[test]
fn what_is_not_ours_is_taken_and_ignored() {
    let shop = Shop::open();
    let nobodys = shapes::intent("pi_1", "01890000-0000-7000-8000-000000000001", "succeeded");
    let answers = [
        (
            shapes::event("evt_1", "payment_intent.succeeded", &nobodys),
            "unknown_payment",
        ),
        (
            shapes::event(
                "evt_2",
                "payment_intent.succeeded",
                &shapes::intent("pi_2", "4711", "succeeded"),
            ),
            "ignored",
        ),
        (
            shapes::event("evt_3", "customer.created", &json!({})),
            "ignored",
        ),
    ];
    for (event, result) in answers {
        assert_eq!(
            webhook(&shop.client, &event).expect(200).json()["result"],
            result
        );
    }
    let mut live = shapes::event("evt_4", "payment_intent.succeeded", &nobodys);
    live["livemode"] = json!(true);
    assert_eq!(
        webhook(&shop.client, &live).expect(200).json()["result"],
        "ignored"
    );
    let metrics = shop.client.get("/metrics").expect(200).text();
    assert!(
        metrics.contains("stripe_webhooks_total{result=\"ignored\"} 3"),
        "{metrics}"
    );
}

/// As the stand-in sends and signs them itself.
#[test]
fn the_stand_ins_own_webhooks_are_understood() {
    let shop = Shop::open_with(|options| options.flag("--stripe-timeout", "2m"));
    shop.stripe
        .send_webhooks_to(&format!("http://{}/webhooks/stripe", shop.server.address()));
    let (order, _) = unanswered(&shop);
    let order = shop.client.ended(order["orderId"].as_str().expect("an id"));
    expect(&order, "CONFIRMED");
    shop.expect_money(&order, 1000, 0);
}

/// A decline at the shop's page ends the charge before it ends the order.
#[test]
fn a_decline_at_the_page_is_told_by_webhook() {
    // The questions about the charge find it as it was.
    let shop = Shop::open_with(|options| {
        options
            .flag("--retry-first", "1h")
            .flag("--retry-cap", "1h")
    });
    let card = shop.stripe.card("4000002760003184");
    let order = shop.client.place(&Shop::cup(&card));
    let payment = shop.payment_until(&order, "a payment that waits", |payment| {
        payment["gatewayState"] == "requires_action"
    });
    let id = order["orderId"].as_str().expect("an id");
    let name = payment["gatewayReference"].as_str().expect("an id");
    let failed = shapes::requires_payment_method(name, id, "card_declined");
    let event = shapes::event("evt_1", "payment_intent.payment_failed", &failed);
    assert_eq!(
        webhook(&shop.client, &event).expect(200).json()["result"],
        "applied"
    );
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    assert_eq!(shop.stripe.intent(id)["status"], "canceled");
}

#[test]
fn without_a_secret_or_without_stripe_every_webhook_is_refused() {
    let event = shapes::event("evt_1", "payment_intent.succeeded", &json!({}));
    let header = signature(WEBHOOK_SECRET, now_s(), event.to_string().as_bytes());
    let sandbox = a4co_tests::Server::start();
    bring(&sandbox.client(), "/webhooks/stripe", Some(&header), &event)
        .expect_problem(400, "webhook_signature_invalid");
    let open = Shop::open_with(|options| options.env("STRIPE_WEBHOOK_SECRET", ""));
    bring(&open.client, "/webhooks/stripe", Some(&header), &event)
        .expect_problem(400, "webhook_signature_invalid");
}
