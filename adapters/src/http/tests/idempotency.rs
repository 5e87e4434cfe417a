//! One key, one answer.

use super::shop::Shop;

const BODY: &str =
    r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}],"metadata":{"a":1,"b":"x"}}"#;

#[tokio::test(start_paused = true)]
async fn the_same_request_gets_the_same_bytes() {
    let shop = Shop::open().await;
    let first = shop.post_as("k", "orders", BODY).await.is(201);
    // Other white space, another order of the fields, an absent value that is the default.
    let same = r#" { "metadata" : {"b":"x","a":1}, "currency":"EUR", "items":
        [{"quantity":1,"productId":"sku-1","price":null}], "customerId":"\u0063" } "#;
    for body in [BODY, same] {
        let again = shop.post_as("k", "orders", body).await.is(201);
        assert_eq!(again.text, first.text);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(
        shop.get("inventory/products/sku-1")
            .await
            .field("soldQuantity"),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_key_is_refused() {
    let shop = Shop::open().await;
    shop.post_as("k", "orders", BODY).await.is(201);
    for (from, to) in [
        ("\"quantity\":1", "\"quantity\":2"),
        ("\"quantity\":1", "\"quantity\":1,\"price\":29.90"),
        ("\"customerId\":\"c\"", "\"customerId\":\"d\""),
        ("\"a\":1", "\"a\":\"1\""),
        ("\"a\":1", "\"a\":true"),
        (
            "{\"customerId\"",
            "{\"paymentMethodId\":\"pm\",\"customerId\"",
        ),
    ] {
        let body = BODY.replace(from, to);
        let answer = shop.post_as("k", "orders", &body).await;
        answer.problem(422, "idempotency_key_reused");
    }
    for key in ["", "ü", "a b\tc"] {
        let key = axum::http::HeaderValue::from_bytes(key.as_bytes()).expect("a value");
        let request = axum::http::Request::post("/api/v1/orders")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        let answer = shop
            .send(request.body(BODY.into()).expect("a request"))
            .await;
        answer.problem(400, "invalid_idempotency_key");
    }
}

/// A retry is answered like the first time, whatever became of the catalogue.
#[tokio::test(start_paused = true)]
async fn a_new_price_does_not_change_an_old_answer() {
    let shop = Shop::open().await;
    let first = shop.post_as("k", "orders", BODY).await.is(201);
    shop.put("products/sku-1", r#"{"price":31}"#).await.is(200);
    let again = shop.post_as("k", "orders", BODY).await.is(201);
    assert_eq!(again.text, first.text);
    let fresh = shop.post("orders", BODY).await.is(201);
    assert!(fresh.text.contains("\"totalAmount\":31.00"), "{fresh:?}");
}

/// Two at once: one order, and both get the same answer.
#[tokio::test(start_paused = true)]
async fn a_race_under_one_key_is_one_order() {
    let shop = Shop::open().await;
    let (a, b) = tokio::join!(
        shop.post_as("k", "orders", BODY),
        shop.post_as("k", "orders", BODY)
    );
    let (a, b) = (a.is(201), b.is(201));
    assert_eq!(a.text, b.text);
    let replayed = [&a, &b].map(|answer| answer.header("idempotency-replayed").is_some());
    assert_eq!(replayed.iter().filter(|replayed| **replayed).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_other_post_keeps_its_answer() {
    let shop = Shop::open().await;
    let order = shop.order("pm_silent").await;
    let id = order["orderId"].as_str().expect("an id");
    let paid = shop.order("pm_card").await;
    let paid = paid["paymentId"].as_str().expect("an id");
    let parked = format!("orders/{id}/retry");
    shop.post_as("r", &parked, "")
        .await
        .problem(409, "saga_not_parked");
    for (path, body, other) in [
        (
            format!("orders/{id}/cancel"),
            r#"{"reason":"a"}"#,
            r#"{"reason":"b"}"#,
        ),
        (
            "inventory/products/sku-1/adjustments".to_owned(),
            r#"{"delta":5,"reason":"a"}"#,
            r#"{"delta":6,"reason":"a"}"#,
        ),
        (format!("payments/{paid}/refund"), r#"{"amount":1}"#, "{}"),
    ] {
        let first = shop.post_as("k", &path, body).await.is(200);
        let again = shop.post_as("k", &path, body).await.is(200);
        assert_eq!(again.text, first.text, "{path}");
        assert_eq!(first.header("idempotency-replayed"), None);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let other = shop.post_as("k", &path, other).await;
        other.problem(422, "idempotency_key_reused");
    }
    assert_eq!(
        shop.get("inventory/products/sku-1")
            .await
            .field("onHandQuantity"),
        14
    );
    let payment = shop.get(&format!("payments/{paid}")).await;
    assert!(
        payment.text.contains("\"refundedAmount\":1.00"),
        "{payment:?}"
    );
}
