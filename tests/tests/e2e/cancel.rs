//! The customer's cancel, in every state in which an order can be.

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Options, Order, Server};
use serde_json::json;

fn slow() -> Server {
    Options::new()
        .flag("--sandbox-slow", "3s")
        .flag("--sandbox-timeout", "1s")
        .start()
}

#[track_caller]
fn payment_status(client: &Client, order_id: &str) -> String {
    let payment = client.payment(order_id).expect(200).json();
    payment["status"].as_str().expect("a status").to_owned()
}

/// The charge never happened, or it did before the cancel got there and was given back.
#[track_caller]
fn expect_nothing_charged(client: &Client, order_id: &str) {
    let status = payment_status(client, order_id);
    assert!(
        matches!(status.as_str(), "CANCELLED" | "REFUNDED"),
        "{status}"
    );
}

#[test]
fn while_the_payment_is_under_way() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_slow"));
    let order_id = shop::id(&placed);
    let _ = client.in_saga_state(order_id, &["PAYMENT_PROCESSING"]);
    client.expect_stock("cup", 10, 3, 0);
    let answer = client
        .cancel(order_id, "changed my mind")
        .expect(200)
        .json();
    assert_eq!(answer["orderId"], order_id);
    let order = client.ended(order_id);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(order["cancellationReason"], "changed my mind");
    expect_nothing_charged(&client, order_id);
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn does_not_wait_for_a_gateway_that_is_at_work() {
    let server = Options::new().flag("--sandbox-slow", "1h").start();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_slow"));
    let order_id = shop::id(&placed);
    let _ = client.in_saga_state(order_id, &["PAYMENT_PROCESSING"]);
    let _ = client.cancel(order_id, "not in an hour").expect(200);
    let order = client.ended(order_id);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(payment_status(&client, order_id), "CANCELLED");
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn right_after_it_was_placed() {
    // Whatever state the cancel finds, the order is either undone or was complete before.
    let server = slow();
    let client = server.client();
    client.stock("cup", 1_000);
    let mut sold = 0;
    for _ in 0..20 {
        let placed = client.place(&Order::of(&[("cup", 1)]));
        let answer = client.cancel(shop::id(&placed), "too fast");
        let order = client.ended(shop::id(&placed));
        match answer.status {
            200 => expect_end(&order, "CANCELLED", "COMPENSATED"),
            409 => {
                answer.expect_problem(409, "order_not_cancellable");
                expect_end(&order, "CONFIRMED", "COMPLETED");
                sold += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    client.expect_stock("cup", 1_000 - sold, 0, sold);
}

#[test]
fn of_a_charge_whose_answer_was_lost_gives_the_money_back() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_timeout"));
    let order_id = shop::id(&placed);
    let _ = client.in_saga_state(order_id, &["PAYMENT_PROCESSING"]);
    let _ = client.cancel(order_id, "no patience").expect(200);
    let order = client.ended(order_id);
    expect_end(&order, "CANCELLED", "COMPENSATED");
    assert_eq!(payment_status(&client, order_id), "REFUNDED");
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn a_second_time_changes_nothing() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_slow"));
    let order_id = shop::id(&placed);
    let _ = client.cancel(order_id, "first").expect(200);
    // While it is being undone, and after that.
    let _ = client.cancel(order_id, "second").expect(200);
    let ended = client.ended(order_id);
    let again = client.cancel(order_id, "third").expect(200).json();
    assert_eq!(again, ended);
    assert_eq!(again["cancellationReason"], "first");
    expect_nothing_charged(&client, order_id);
    client.expect_stock("cup", 10, 0, 0);
}

#[test]
fn with_a_wait_answers_with_the_end() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let placed = client.place(&Order::of(&[("cup", 3)]).paid_by("pm_card_slow"));
    let path = format!("/api/v1/orders/{}/cancel", shop::id(&placed));
    let cancel = client.ask("POST", &path).wait(20);
    let answer = cancel
        .json(&json!({ "reason": "enough" }))
        .send()
        .expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    expect_end(&answer.json(), "CANCELLED", "COMPENSATED");
}

#[test]
fn of_what_has_ended_is_refused_unless_it_was_cancelled() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let confirmed = client.order(&Order::of(&[("cup", 1)]));
    expect_end(&confirmed, "CONFIRMED", "COMPLETED");
    let failed = client.order(&Order::of(&[("cup", 100)]));
    expect_end(&failed, "FAILED", "FAILED");
    for order in [&confirmed, &failed] {
        let answer = client.cancel(shop::id(order), "too late");
        answer.expect_problem(409, "order_not_cancellable");
        assert_eq!(&client.look(shop::id(order)), order);
    }
    let declined = client.order(&Order::of(&[("cup", 1)]).paid_by("pm_card_declined"));
    let _ = client.cancel(shop::id(&declined), "also").expect(200);
    assert_eq!(client.look(shop::id(&declined)), declined);
    client.expect_stock("cup", 9, 0, 1);
}

#[test]
fn of_nothing_is_not_found() {
    let server = slow();
    let client = server.client();
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    client
        .cancel(nobody, "x")
        .expect_problem(404, "order_not_found");
    client
        .cancel("never", "x")
        .expect_problem(400, "invalid_id");
}

#[test]
fn a_saga_that_is_not_parked_takes_no_retry() {
    let server = slow();
    let client = server.client();
    client.stock("cup", 10);
    let order = client.order(&Order::of(&[("cup", 1)]));
    let path = format!("/api/v1/orders/{}/retry", shop::id(&order));
    client
        .ask("POST", &path)
        .send()
        .expect_problem(409, "saga_not_parked");
}
