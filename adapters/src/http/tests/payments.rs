//! Payments and refunds.

use std::time::Duration;

use super::shop::Shop;

async fn paid(shop: &Shop) -> String {
    let order = shop.order("pm_card").await;
    assert_eq!(order["status"], "CONFIRMED");
    let payment_id = order["paymentId"].as_str().expect("an id");
    format!("payments/{payment_id}/refund")
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_answered_when_it_has_ended() {
    let shop = Shop::open().await;
    shop.gateway.set_refund_delay(Duration::from_secs(3));
    let path = paid(&shop).await;
    let started = tokio::time::Instant::now();
    let part = shop.post(&path, r#"{"amount":9.90}"#).await.is(200);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(part.header("preference-applied"), None);
    assert_eq!(part.field("status"), "SUCCEEDED");
    assert_eq!(part.field("refunds")[0]["status"], "SUCCEEDED");
    let rest = shop.post(&path, "").await.is(200);
    assert_eq!(rest.field("status"), "REFUNDED");
    assert!(rest.text.contains(r#""refundedAmount":29.90"#), "{rest:?}");
    assert!(
        rest.field("refundId")
            .as_str()
            .is_some_and(|id| id.ends_with("_2"))
    );
    shop.post(&path, "")
        .await
        .problem(409, "payment_not_refundable");
}

#[tokio::test(start_paused = true)]
async fn a_refund_that_takes_long_is_shown_as_it_is() {
    let shop = Shop::open().await;
    shop.gateway.set_refund_delay(Duration::from_secs(60));
    let path = paid(&shop).await;
    let started = tokio::time::Instant::now();
    let slow = shop.post(&path, r#"{"amount":1}"#).await.is(200);
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert_eq!(slow.field("refunds")[0]["status"], "PENDING");
    let started = tokio::time::Instant::now();
    let headers = [("prefer", "wait=2")];
    let slow = shop
        .call("POST", &path, &headers, r#"{"amount":2}"#)
        .await
        .is(200);
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    assert_eq!(slow.header("preference-applied"), Some("wait=2"));
    // The second waits for the first, whose end is not its own.
    let headers = [("prefer", "wait=30")];
    tokio::time::sleep(Duration::from_secs(40)).await;
    let third = shop
        .call("POST", &path, &headers, r#"{"amount":3}"#)
        .await
        .is(200);
    assert_eq!(third.field("refunds")[2]["status"], "PENDING");
    assert_eq!(third.field("refunds")[0]["status"], "SUCCEEDED");
}

#[tokio::test(start_paused = true)]
async fn a_refused_refund_is_an_answer() {
    let shop = Shop::open().await;
    shop.gateway.refuse_refunds();
    let path = paid(&shop).await;
    let refused = shop.post(&path, "{}").await.is(200);
    assert_eq!(refused.field("status"), "SUCCEEDED");
    assert_eq!(refused.field("refunds")[0]["status"], "FAILED");
    assert_eq!(
        refused.field("refunds")[0]["failureReason"],
        "card_declined"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_checked() {
    let shop = Shop::open().await;
    let path = paid(&shop).await;
    for (body, finding) in [
        (r#"{"amount":"1"}"#, "/amount wrong_type"),
        (r#"{"amount":1.001}"#, "/amount too_many_digits"),
        (r#"{"amount":-1}"#, "/amount amount_negative"),
        (r#"{"amount":0}"#, "/amount amount_zero"),
        (r#"{"amout":1}"#, "/amout unknown_field"),
        (
            r#"{"amount":1,"currency":"USD"}"#,
            "/currency currency_mismatch",
        ),
    ] {
        let answer = shop
            .post(&path, body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(answer.findings(), [finding], "{body}");
    }
    let more = shop
        .post(&path, r#"{"amount":29.91,"currency":"EUR"}"#)
        .await;
    more.problem(422, "refund_exceeds_charge");
    let unknown = "payments/pay_0198c3a1-5b1e-7c3d-8f00-0123456789ab";
    shop.get(unknown).await.problem(404, "payment_not_found");
    shop.post(&format!("{unknown}/refund"), "")
        .await
        .problem(404, "payment_not_found");
    let order = "payments/order/0198c3a1-5b1e-7c3d-8f00-0123456789ab";
    shop.get(order).await.problem(404, "payment_not_found");
    let declined = shop.order("pm_card_declined").await;
    let id = declined["paymentId"].as_str().expect("an id");
    let answer = shop.post(&format!("payments/{id}/refund"), "").await;
    answer.problem(409, "payment_not_refundable");
}
