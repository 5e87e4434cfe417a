//! `a4co reconcile`: both books, for a period, and what it says when they differ.

use std::process::Output;

use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::{KEY, Localstripe};
use a4co_tests::{Order, Server};
use serde_json::{Value, json};

use super::{BAD, CHARGE, GOOD, Shop, expect};

/// Runs it against a shop, with these arguments beside.
#[track_caller]
fn reconcile(shop: &Shop, arguments: &[&str]) -> Output {
    let (server, stripe) = (
        format!("http://{}", shop.server.address()),
        shop.proxy.url(),
    );
    let mut all = vec!["reconcile", "--url", &server, "--stripe-api-url", &stripe];
    all.extend(["--use-simulated-payment", "false"]);
    all.extend(arguments);
    a4co_tests::server::run_with(&all, &[("STRIPE_SECRET_KEY", KEY)])
}

#[track_caller]
fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

#[track_caller]
fn kinds(output: &Output) -> Vec<String> {
    let report = report(output);
    let differences = report["differences"].as_array().expect("a list").iter();
    differences
        .map(|it| it["kind"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn books_that_are_the_same() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    expect(&shop.client.order(&Shop::cup(BAD)), "CANCELLED");
    let payment = shop.payment(&order);
    let path = format!(
        "/api/v1/payments/{}/refund",
        payment["paymentId"].as_str().expect("an id")
    );
    let _ = shop.client.post(&path, &json!({ "amount": 3 })).expect(200);
    // Somebody else's, in the same account.
    let others =
        json!({ "amount": 700, "currency": "eur", "payment_method": GOOD, "confirm": true });
    let _ = shop.stripe.post("/v1/payment_intents", &others).expect(200);

    let output = reconcile(&shop, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(
        [&report["payments"], &report["charges"], &report["foreign"]],
        [&json!(2), &json!(2), &json!(1)],
        "{report}"
    );
    let text = reconcile(&shop, &[]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("the books are the same"));
    assert!(!String::from_utf8_lossy(&text.stdout).contains(KEY));
    // Another period has none of it.
    let output = reconcile(
        &shop,
        &["--json", "--from", "2020-01-01", "--to", "2020-01-02"],
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(self::report(&output)["payments"], 0);
}

#[test]
fn every_difference_is_listed_and_the_exit_code_says_so() {
    let shop = Shop::open();
    let order = shop.client.order(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    let intent = shop.stripe.intent(id);
    // Given back in Stripe's dashboard.
    let back = json!({ "payment_intent": intent["id"], "amount": 100 });
    let _ = shop.stripe.post("/v1/refunds", &back).expect(200);
    // Charged for an order that was declined here, and for one that nobody knows.
    let declined = shop.client.order(&Shop::cup(BAD));
    for order_id in [
        declined["orderId"].as_str().expect("an id"),
        "01890000-0000-7000-8000-000000000001",
    ] {
        let charge = json!({
            "amount": 1000, "currency": "eur", "payment_method": GOOD, "confirm": true,
            "metadata": { "order_id": order_id },
        });
        let _ = shop.stripe.post("/v1/payment_intents", &charge).expect(200);
    }
    let output = reconcile(&shop, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut kinds = kinds(&output);
    kinds.sort();
    assert_eq!(
        kinds,
        ["refund_differs", "taken_and_not_booked", "unknown_here"]
    );
    let text = reconcile(&shop, &[]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("3 differences") && text.contains(id),
        "{text}"
    );
}

/// A Stripe that has lost everything: what we booked is not there.
#[test]
fn what_we_booked_and_stripe_does_not_have() {
    let shop = Shop::open();
    expect(&shop.client.order(&Shop::cup(GOOD)), "CONFIRMED");
    let other = Localstripe::start();
    let server = format!("http://{}", shop.server.address());
    let url = format!("http://127.0.0.1:{}", other.port());
    let arguments = [
        "reconcile",
        "--json",
        "--url",
        &server,
        "--stripe-api-url",
        &url,
        "--use-simulated-payment",
        "false",
    ];
    let output = a4co_tests::server::run_with(&arguments, &[("STRIPE_SECRET_KEY", KEY)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(kinds(&output), ["booked_and_not_taken"]);
}

#[test]
fn what_is_still_open_is_no_difference() {
    let shop = Shop::open_with(|options| options.flag("--stripe-timeout", "2m"));
    shop.proxy.fail(CHARGE, Fault::SilentAfter, 1);
    let order = shop.client.place(&Shop::cup(GOOD));
    let id = order["orderId"].as_str().expect("an id");
    a4co_tests::until("the charge", || {
        (!shop.stripe.intents(id).is_empty())
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    let output = reconcile(&shop, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(report(&output)["open"][0]["kind"], "taken_and_not_booked");
}

#[test]
fn without_an_answer_nothing_is_said_to_be_the_same() {
    let shop = Shop::open();
    shop.proxy
        .fail("GET /v1/payment_intents", Fault::CutBefore, 100);
    let output = reconcile(&shop, &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    // The settings are those of another gateway than the server's.
    let server = format!("http://{}", shop.server.address());
    let _ = shop.client.order(&Shop::cup(GOOD));
    let sandbox = Server::start();
    let _ = sandbox.client();
    let folder = sandbox.options().data_dir().to_string_lossy().into_owned();
    let output = a4co_tests::server::run(&["reconcile", "--url", &server, "--data-dir", &folder]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = a4co_tests::server::run(&["reconcile", "--from", "soon"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_sandboxs_books_are_compared_too() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    expect(&client.order(&Order::of(&[("cup", 1)])), "CONFIRMED");
    expect(
        &client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_declined")),
        "CANCELLED",
    );
    let url = format!("http://{}", server.address());
    let folder = server.options().data_dir().to_string_lossy().into_owned();
    let output =
        a4co_tests::server::run(&["reconcile", "--json", "--url", &url, "--data-dir", &folder]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let same = report(&output);
    assert_eq!(
        [&same["payments"], &same["charges"]],
        [&json!(2), &json!(2)],
        "{same}"
    );

    // A server whose journal has none of it, and these books.
    let empty = Server::start();
    let url = format!("http://{}", empty.address());
    let output =
        a4co_tests::server::run(&["reconcile", "--json", "--url", &url, "--data-dir", &folder]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(kinds(&output), ["unknown_here"]);
}
