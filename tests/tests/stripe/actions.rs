//! Customers who have to authenticate (3-D Secure) before their payment goes on.

use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::shapes;
use serde_json::{Value, json};

use super::{CHARGE, Shop, expect};

/// A card whose bank asks for authentication each time.
const ASKING: &str = "4000002760003184";

/// An order that waits for its customer, and its payment.
#[track_caller]
fn waiting(shop: &Shop) -> (Value, Value) {
    let card = shop.stripe.card(ASKING);
    let order = shop.client.place(&Shop::cup(&card));
    let payment = shop.payment_until(&order, "a payment that waits for its customer", |payment| {
        payment["nextAction"]["clientSecret"].is_string()
    });
    (order, payment)
}

#[track_caller]
fn authenticate(shop: &Shop, payment: &Value, success: bool) -> u16 {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let intent = text(&payment["gatewayReference"]);
    let secret = text(&payment["nextAction"]["clientSecret"]);
    shop.stripe.authenticate(&intent, &secret, success).status
}

#[test]
fn the_page_gets_what_it_needs_and_the_order_completes() {
    let shop = Shop::open();
    let (order, payment) = waiting(&shop);
    assert_eq!(payment["status"], "PROCESSING");
    assert_eq!(payment["gatewayState"], "requires_action");
    assert_eq!(payment["nextAction"]["type"], "authenticate");
    assert_eq!(payment["nextAction"]["expiresAt"], payment["deadlineAt"]);
    shop.client.expect_stock("cup", 10, 1, 0);
    let secret = payment["nextAction"]["clientSecret"]
        .as_str()
        .expect("a secret");
    assert!(!shop.server.logged().contains(secret));
    // Nothing of it is on the disk, where a backup would take it along.
    for file in walk(shop.server.options().data_dir()) {
        let bytes = std::fs::read(&file).expect("readable");
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{}", file.display());
    }

    assert_eq!(authenticate(&shop, &payment, true), 200);
    let order = shop.client.ended(order["orderId"].as_str().expect("an id"));
    expect(&order, "CONFIRMED");
    let payment = shop.payment(&order);
    assert!(
        payment["nextAction"].is_null() && payment["gatewayState"].is_null(),
        "{payment}"
    );
    shop.expect_money(&order, 1000, 0);
    assert_eq!(shop.proxy.seen(CHARGE).len(), 1);
}

#[test]
fn a_customer_who_fails_pays_nothing_and_cannot_go_on() {
    let shop = Shop::open();
    let (order, payment) = waiting(&shop);
    assert_eq!(authenticate(&shop, &payment, false), 200);
    let id = order["orderId"].as_str().expect("an id");
    let order = shop.client.ended(id);
    expect(&order, "CANCELLED");
    assert_eq!(
        order["cancellationReason"],
        "payment failed: payment_intent_authentication_failure"
    );
    assert_eq!(shop.stripe.intent(id)["status"], "canceled");
    assert_ne!(authenticate(&shop, &payment, true), 200);
    shop.expect_money(&order, 0, 0);
    shop.client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_customer_who_does_nothing_is_waited_for_until_the_payments_time_is_over() {
    let shop = Shop::open_with(|options| options.flag("--payment-timeout", "2s"));
    let (order, payment) = waiting(&shop);
    let order = shop.client.ended(order["orderId"].as_str().expect("an id"));
    expect(&order, "CANCELLED");
    assert!(
        order["cancellationReason"]
            .as_str()
            .expect("a reason")
            .contains("timeout"),
        "{order}"
    );
    assert_ne!(authenticate(&shop, &payment, true), 200);
    shop.expect_money(&order, 0, 0);
}

#[test]
fn a_restart_forgets_neither_the_wait_nor_the_secret() {
    let mut shop = Shop::open();
    let (order, payment) = waiting(&shop);
    shop.server = shop.server.restart();
    shop.client = shop.server.client();
    let again = shop.payment(&order);
    assert_eq!(again["nextAction"], payment["nextAction"]);
    assert_eq!(authenticate(&shop, &again, true), 200);
    expect(
        &shop.client.ended(order["orderId"].as_str().expect("an id")),
        "CONFIRMED",
    );
}

#[test]
fn an_order_that_is_cancelled_while_its_customer_authenticates() {
    let shop = Shop::open();
    let (order, payment) = waiting(&shop);
    let id = order["orderId"].as_str().expect("an id");
    let path = format!("/api/v1/orders/{id}/cancel");
    let cancelled = shop
        .client
        .ask("POST", &path)
        .wait(30)
        .json(&json!({ "reason": "no" }))
        .send();
    expect(&cancelled.expect(200).json(), "CANCELLED");
    assert_ne!(authenticate(&shop, &payment, true), 200);
    shop.expect_money(&order, 0, 0);
}

/// Stripe itself says "authentication required" as a decline when the customer is not there.
#[test]
fn a_decline_that_asks_for_authentication_waits_for_the_customer() {
    let shop = Shop::open_with(|options| options.flag("--payment-timeout", "3s"));
    let error = shapes::authentication_required("pi_real", "x").to_string();
    shop.proxy
        .fail(CHARGE, Fault::Instead(402, vec![], error), 1);
    let waits = shapes::requires_payment_method("pi_real", "x", "authentication_required");
    shop.proxy.fail(
        "GET /v1/payment_intents/pi_real",
        Fault::Instead(200, vec![], waits.to_string()),
        2,
    );
    let paid = shapes::intent("pi_real", "x", "succeeded").to_string();
    shop.proxy.fail(
        "GET /v1/payment_intents/pi_real",
        Fault::Instead(200, vec![], paid),
        1,
    );
    let order = shop.client.place(&Shop::cup(super::GOOD));
    let payment = shop.payment_until(&order, "a payment that waits", |payment| {
        payment["nextAction"]["clientSecret"] == "pi_real_secret_x"
    });
    assert_eq!(payment["gatewayReference"], "pi_real");
    expect(
        &shop.client.ended(order["orderId"].as_str().expect("an id")),
        "CONFIRMED",
    );
}

/// Stripe's own decline names its reason more closely than its code does.
#[test]
fn a_decline_says_why() {
    let shop = Shop::open();
    let error = shapes::declined("pi_real", "x", "insufficient_funds").to_string();
    shop.proxy
        .fail(CHARGE, Fault::Instead(402, vec![], error), 1);
    let order = shop.client.order(&Shop::cup(super::GOOD));
    expect(&order, "CANCELLED");
    assert_eq!(
        order["cancellationReason"],
        "payment failed: insufficient_funds"
    );
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
