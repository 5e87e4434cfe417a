//! Orders: prices, waiting, lists, cancelling.

use std::time::Duration;

use super::shop::Shop;

#[tokio::test(start_paused = true)]
async fn the_catalogue_sets_prices() {
    let shop = Shop::open().await;
    shop.put("products/sku-yen", r#"{"price":500,"currency":"JPY"}"#)
        .await
        .is(201);
    let check = async |body: &str, code: &str, findings: &[&str]| {
        let answer = shop.post("orders", body).await.problem(422, code);
        assert_eq!(answer.findings(), findings, "{body}");
    };
    let order =
        |items: &str, rest: &str| format!(r#"{{"customerId":"c","items":[{items}]{rest}}}"#);
    let sku_1 = r#"{"productId":"sku-1","quantity":2}"#;
    check(
        &order(r#"{"productId":"sku-1","quantity":1,"price":29.91}"#, ""),
        "price_mismatch",
        &["/items/0/price price_mismatch"],
    )
    .await;
    check(
        &order(r#"{"productId":"sku-1","quantity":1,"unitPrice":29}"#, ""),
        "price_mismatch",
        &["/items/0/unitPrice price_mismatch"],
    )
    .await;
    check(
        &order(sku_1, r#","totalAmount":59.81"#),
        "price_mismatch",
        &["/totalAmount price_mismatch"],
    )
    .await;
    check(
        &order(r#"{"productId":"sku-free","quantity":1}"#, ""),
        "price_required",
        &["/items/0/price price_required"],
    )
    .await;
    check(
        &order(r#"{"productId":"sku-yen","quantity":1}"#, ""),
        "currency_mismatch",
        &["/currency currency_mismatch"],
    )
    .await;
    check(
        &order(
            r#"{"productId":"sku-1","quantity":1,"price":1},{"productId":"nothing","quantity":1}"#,
            r#","totalAmount":1"#,
        ),
        "product_not_found",
        &[
            "/items/0/price price_mismatch",
            "/items/1/productId product_not_found",
        ],
    )
    .await;
    let rich = r#"{"productId":"sku-free","quantity":1000000,"price":90071992547409.92}"#;
    check(
        &order(rich, ""),
        "validation_failed",
        &["/items amount_out_of_range"],
    )
    .await;
    let matching = order(
        r#"{"productId":"sku-1","quantity":2,"price":29.9,"unitPrice":2990e-2}"#,
        r#","totalAmount":59.80,"currency":"eur""#,
    );
    shop.post("orders", &matching).await.is(201);
    assert_eq!(
        shop.get("inventory/products/sku-yen").await.field("price"),
        500
    );
}

#[tokio::test(start_paused = true)]
async fn ids_are_new_without_a_key() {
    let shop = Shop::open().await;
    let first = shop.order("pm_card").await;
    let second = shop.order("pm_card").await;
    assert!(first["orderId"].as_str() < second["orderId"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_saga_or_in_time() {
    let shop = Shop::open().await;
    let body = |method: &str| {
        format!(
            r#"{{"customerId":"c","items":[{{"productId":"sku-1","quantity":1}}],"paymentMethodId":"{method}"}}"#
        )
    };
    let wait = async |prefer: &str, method: &str| {
        let started = tokio::time::Instant::now();
        let headers = [("prefer", prefer)];
        let answer = shop
            .call("POST", "orders", &headers, &body(method))
            .await
            .is(201);
        (answer, started.elapsed())
    };
    let (answer, took) = wait("wait=10", "pm_slow").await;
    assert_eq!(answer.field("status"), "CONFIRMED");
    assert_eq!(answer.header("preference-applied"), Some("wait=10"));
    assert_eq!(took, Duration::from_secs(2));

    let (answer, took) = wait("respond-async, wait=3", "pm_silent").await;
    assert_eq!(answer.field("status"), "INVENTORY_RESERVED");
    assert_eq!(answer.field("sagaState"), "PAYMENT_PROCESSING");
    assert_eq!(answer.header("preference-applied"), Some("wait=3"));
    assert_eq!(took, Duration::from_secs(3));

    let (answer, took) = wait("wait=1000", "pm_silent").await;
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(took, Duration::from_secs(30));

    let (answer, took) = wait("wait=0", "pm_silent").await;
    assert_eq!(answer.header("preference-applied"), Some("wait=0"));
    assert!(took < Duration::from_millis(100));

    let (answer, took) = wait("wait=soon", "pm_slow").await;
    assert_eq!(answer.field("status"), "PENDING");
    assert_eq!(answer.header("preference-applied"), None);
    assert!(took < Duration::from_millis(100));
}

/// Those who wait are answered when the process is about to stop.
#[tokio::test(start_paused = true)]
async fn draining_ends_a_wait() {
    let shop = Shop::open().await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}],"paymentMethodId":"pm_silent"}"#;
    let started = tokio::time::Instant::now();
    let drain = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.readiness.set_draining();
    };
    let (answer, ()) = tokio::join!(shop.post_and_wait("orders", body), drain);
    assert_eq!(answer.is(201).field("sagaState"), "PAYMENT_PROCESSING");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn orders_are_cancelled_while_they_can_be() {
    let shop = Shop::open().await;
    let order = shop.order("pm_silent").await;
    let id = order["orderId"].as_str().expect("an id");
    let path = format!("orders/{id}/cancel");
    let cancelled = shop
        .post_and_wait(&path, r#"{"reason":"changed my mind"}"#)
        .await
        .is(200);
    assert_eq!(cancelled.field("status"), "CANCELLED");
    assert_eq!(cancelled.field("cancellationReason"), "changed my mind");
    assert_eq!(cancelled.header("preference-applied"), Some("wait=10"));
    let again = shop.post(&path, "").await.is(200);
    assert_eq!(again.field("cancellationReason"), "changed my mind");

    let confirmed = shop.order("pm_card").await;
    let id = confirmed["orderId"].as_str().expect("an id");
    let path = format!("orders/{id}/cancel");
    shop.post(&path, r#"{"reason":"late"}"#)
        .await
        .problem(409, "order_not_cancellable");
    let retry = format!("orders/{id}/retry");
    shop.post(&retry, "").await.problem(409, "saga_not_parked");
    shop.post(&retry, "{}")
        .await
        .problem(409, "saga_not_parked");
    let unknown = "orders/0198c3a1-5b1e-7c3d-8f00-0123456789ab";
    shop.get(unknown).await.problem(404, "order_not_found");
    shop.post(&format!("{unknown}/cancel"), "{}")
        .await
        .problem(404, "order_not_found");
    shop.post(&format!("{unknown}/retry"), "")
        .await
        .problem(404, "order_not_found");
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_paged() {
    let shop = Shop::open().await;
    let mut ids = Vec::new();
    for method in ["pm_card", "pm_card_declined", "pm_card"] {
        ids.insert(0, shop.order(method).await["orderId"].clone());
    }
    let list = async |query: &str| {
        let answer = shop.get(&format!("orders{query}")).await.is(200).json();
        let rows = answer["data"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = rows.iter().map(|row| row["orderId"].clone()).collect();
        (found, answer["nextCursor"].clone())
    };
    assert_eq!(list("").await, (ids.clone(), serde_json::Value::Null));
    assert_eq!(list("?status=CANCELLED").await.0, ids[1..2]);
    assert_eq!(list("?status=&customerId=&cursor=").await.0, ids);
    assert_eq!(
        list("?customerId=nobody").await.0,
        [serde_json::Value::Null; 0]
    );
    assert_eq!(
        list("?createdFrom=2026-01-02&createdTo=2026-01-03").await.0,
        ids
    );
    assert!(list("?createdFrom=2026-01-03T00:00:00Z").await.0.is_empty());
    let (first, next) = list("?limit=2").await;
    assert_eq!(first, ids[..2]);
    let cursor = next.as_str().expect("a cursor");
    let (second, next) = list(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(second, ids[2..]);
    assert_eq!(next, serde_json::Value::Null);
}

#[tokio::test(start_paused = true)]
async fn hints_work_in_the_sandbox_alone() {
    use crate::http::HttpSettings;
    let body = |hints: &str| {
        format!(
            r#"{{"customerId":"c","items":[{{"productId":"sku-1","quantity":1}}],"metadata":{{{hints}}}}}"#
        )
    };
    let shop = Shop::open().await;
    let decline = body(r#""forcePaymentFailure":true"#);
    let order = shop.post_and_wait("orders", &decline).await.is(201);
    assert_eq!(order.field("status"), "CANCELLED");
    let short = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}],"paymentMethodId":"pm_silent","metadata":{"reservationTtlMinutes":0.05}}"#;
    let order = shop.post("orders", short).await.is(201).json();
    let id = order["orderId"].as_str().expect("an id");
    let held = shop
        .get(&format!("inventory/reservations/order/{id}"))
        .await
        .is(200);
    assert_eq!(held.field("expiresAt"), "2026-01-02T03:04:08.000Z");
    for (hints, code) in [
        (r#""forcePaymentFailure":"yes""#, "wrong_type"),
        (
            r#""reservationTtlMinutes":0"#,
            "reservation_ttl_out_of_range",
        ),
        (
            r#""reservationTtlMinutes":-1"#,
            "reservation_ttl_out_of_range",
        ),
        (r#""reservationTtlMinutes":"5""#, "wrong_type"),
    ] {
        let answer = shop
            .post("orders", &body(hints))
            .await
            .problem(422, "validation_failed");
        assert!(answer.findings()[0].ends_with(code), "{answer:?}");
    }

    let settings = HttpSettings {
        sandbox: false,
        ..HttpSettings::default()
    };
    let shop = Shop::open_with(settings).await;
    let order = shop.post_and_wait("orders", &decline).await.is(201);
    assert_eq!(order.field("status"), "CONFIRMED");
    let notes = body(r#""reservationTtlMinutes":"never","forcePaymentFailure":1"#);
    let order = shop.post_and_wait("orders", &notes).await.is(201);
    assert_eq!(order.field("metadata")["reservationTtlMinutes"], "never");
}
