//! The answers' bodies, byte for byte: clients, dashboards and scripts rely on them.

use super::shop::{Answer, Shop};

/// Compares with a body that is laid out for reading: line breaks and what indents them
/// are not part of it.
#[track_caller]
fn golden(answer: &Answer, expected: &str) {
    let expected: String = expected.lines().map(str::trim).collect();
    assert_eq!(answer.text, expected);
}

const BODY: &str = r#"{"customerId":"cust-1","items":[{"productId":"sku-1","quantity":2}],"metadata":{"gift":true,"note":"für \"dich\"","rank":1.50}}"#;
/// The order that the key `golden` names, for ever.
const ID: &str = "162ae8ec-ba45-5c7a-9108-49ce6c9310d8";

#[tokio::test(start_paused = true)]
async fn an_order_from_creation_to_completion() {
    let shop = Shop::open().await;
    let created = shop.post_as("golden", "orders", BODY).await.is(201);
    golden(
        &created,
        r#"{"orderId":"162ae8ec-ba45-5c7a-9108-49ce6c9310d8","customerId":"cust-1",
        "status":"PENDING","sagaState":"STARTED",
        "items":[{"productId":"sku-1","quantity":2,"price":29.90,"lineTotal":59.80}],
        "totalAmount":59.80,"currency":"EUR",
        "metadata":{"gift":true,"note":"für \"dich\"","rank":1.50},
        "parked":false,
        "createdAt":"2026-01-02T03:04:05.000Z","updatedAt":"2026-01-02T03:04:05.000Z","deadlineAt":"2026-01-02T03:09:05.000Z",
        "history":[{"at":"2026-01-02T03:04:05.000Z","state":"STARTED","step":"CREATED","detail":"order accepted, stock asked for","sequence":1}]}"#,
    );
    let location = format!("/api/v1/orders/{ID}");
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(created.header("content-type"), Some("application/json"));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    assert_eq!(created.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(created.header("idempotency-replayed"), None);

    let headers = [("prefer", "wait=5"), ("idempotency-key", "golden")];
    let ended = shop.call("POST", "orders", &headers, BODY).await.is(201);
    assert_eq!(ended.header("preference-applied"), Some("wait=5"));
    assert_eq!(ended.field("status"), "CONFIRMED");
    let shown = shop.get(&format!("orders/{ID}")).await.is(200);
    assert_eq!(shown.text, ended.text);
    golden(
        &shown,
        r#"{"orderId":"162ae8ec-ba45-5c7a-9108-49ce6c9310d8","customerId":"cust-1",
        "status":"CONFIRMED","sagaState":"COMPLETED",
        "items":[{"productId":"sku-1","quantity":2,"price":29.90,"lineTotal":59.80}],
        "totalAmount":59.80,"currency":"EUR",
        "metadata":{"gift":true,"note":"für \"dich\"","rank":1.50},
        "reservationId":"res_162ae8ec-ba45-5c7a-9108-49ce6c9310d8",
        "paymentId":"pay_162ae8ec-ba45-5c7a-9108-49ce6c9310d8",
        "parked":false,
        "createdAt":"2026-01-02T03:04:05.000Z","updatedAt":"2026-01-02T03:04:05.000Z","deadlineAt":"2026-01-02T03:09:05.000Z",
        "history":[
        {"at":"2026-01-02T03:04:05.000Z","state":"STARTED","step":"CREATED","detail":"order accepted, stock asked for","sequence":1},
        {"at":"2026-01-02T03:04:05.000Z","state":"INVENTORY_RESERVED","step":"INVENTORY_RESERVED","detail":"all items are reserved","sequence":2},
        {"at":"2026-01-02T03:04:05.000Z","state":"PAYMENT_PROCESSING","step":"PAYMENT_REQUESTED","detail":"payment asked for","sequence":2},
        {"at":"2026-01-02T03:04:05.000Z","state":"PAYMENT_SUCCEEDED","step":"PAYMENT_SUCCEEDED","detail":"payment received, the sale of the stock asked for","sequence":3},
        {"at":"2026-01-02T03:04:05.000Z","state":"COMPLETED","step":"CONFIRMED","detail":"the stock is sold, the order is complete","sequence":4}],
        "version":4}"#,
    );

    golden(
        &shop.get("inventory/products/sku-1").await.is(200),
        r#"{"productId":"sku-1","name":"Mug","price":29.90,"currency":"EUR","onHandQuantity":8,
        "availableQuantity":8,"reservedQuantity":0,"soldQuantity":2}"#,
    );
    golden(
        &shop
            .get(&format!("inventory/reservations/order/{ID}"))
            .await
            .is(200),
        r#"{"reservationId":"res_162ae8ec-ba45-5c7a-9108-49ce6c9310d8",
        "orderId":"162ae8ec-ba45-5c7a-9108-49ce6c9310d8","status":"CONFIRMED",
        "items":[{"productId":"sku-1","quantity":2}],
        "createdAt":"2026-01-02T03:04:05.000Z","expiresAt":"2026-01-02T03:19:05.000Z",
        "version":8}"#,
    );
    golden(
        &shop.get(&format!("payments/order/{ID}")).await.is(200),
        r#"{"paymentId":"pay_162ae8ec-ba45-5c7a-9108-49ce6c9310d8",
        "orderId":"162ae8ec-ba45-5c7a-9108-49ce6c9310d8","status":"SUCCEEDED",
        "amount":59.80,"currency":"EUR","gateway":"sandbox","gatewayReference":"ch_1",
        "refundedAmount":0.00,"refunds":[],"parked":false,
        "deadlineAt":"2026-01-02T03:06:05.000Z",
        "createdAt":"2026-01-02T03:04:05.000Z","updatedAt":"2026-01-02T03:04:05.000Z",
        "version":2}"#,
    );
    golden(
        &shop
            .post(&format!("payments/pay_{ID}/refund"), r#"{"amount":10}"#)
            .await
            .is(200),
        r#"{"paymentId":"pay_162ae8ec-ba45-5c7a-9108-49ce6c9310d8",
        "orderId":"162ae8ec-ba45-5c7a-9108-49ce6c9310d8","status":"SUCCEEDED",
        "amount":59.80,"currency":"EUR","gateway":"sandbox","gatewayReference":"ch_1",
        "refundedAmount":10.00,
        "refundId":"re_162ae8ec-ba45-5c7a-9108-49ce6c9310d8_1",
        "refunds":[{"refundId":"re_162ae8ec-ba45-5c7a-9108-49ce6c9310d8_1",
        "status":"SUCCEEDED","amount":10.00,"origin":"REQUESTED","gatewayReference":"re_1",
        "requestedAt":"2026-01-02T03:04:05.000Z"}],"parked":false,
        "deadlineAt":"2026-01-02T03:06:05.000Z",
        "createdAt":"2026-01-02T03:04:05.000Z","updatedAt":"2026-01-02T03:04:05.000Z",
        "version":5}"#,
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_that_fails_names_what_is_short() {
    let shop = Shop::open().await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-2","quantity":3}]}"#;
    let order = shop.post_and_wait("orders", body).await.is(201).json();
    assert_eq!(order["status"], "FAILED");
    assert_eq!(order["sagaState"], "FAILED");
    let reason = "insufficient stock: sku-2: 3 requested, 1 available";
    assert_eq!(order["failureReason"], reason);
    assert_eq!(order["history"][1]["detail"], reason);
    let short = serde_json::json!([{"productId": "sku-2", "requested": 3, "available": 1}]);
    assert_eq!(order["shortages"], short);
    for absent in ["reservationId", "paymentId", "cancellationReason"] {
        assert_eq!(order.get(absent), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_undone_says_why() {
    let shop = Shop::open().await;
    let order = shop.order("pm_card_declined").await;
    assert_eq!(order["status"], "CANCELLED");
    assert_eq!(order["sagaState"], "COMPENSATED");
    assert_eq!(order["cancellationReason"], "payment failed: card_declined");
    let id = order["orderId"].as_str().expect("an id");
    let payment = shop.get(&format!("payments/pay_{id}")).await.is(200).json();
    assert_eq!(payment["status"], "FAILED");
    assert_eq!(payment["failureReason"], "declined: card_declined");
    let reservation = shop.get(&format!("inventory/reservations/res_{id}")).await;
    let reservation = reservation.is(200).json();
    assert_eq!(reservation["status"], "RELEASED");
    assert_eq!(
        reservation["releaseReason"],
        "payment failed: card_declined"
    );
    assert_eq!(reservation["releasedAt"], "2026-01-02T03:04:05.000Z");
}

/// A problem's body, byte for byte.
#[tokio::test(start_paused = true)]
async fn a_problem() {
    let shop = Shop::open().await;
    let answer = shop
        .post("orders", r#"{"items":[{"productId":"x","quantity":0}]}"#)
        .await;
    golden(
        &answer,
        r#"{"type":"urn:a4co:problem:validation_failed","title":"Some fields are wrong",
        "status":422,"code":"validation_failed",
        "detail":"2 fields are wrong; `errors` names each",
        "errors":[{"pointer":"/customerId","code":"required","detail":"is required"},
        {"pointer":"/items/0/quantity","code":"quantity_out_of_range","detail":"must be from 1 to 1000000"}]}"#,
    );
    let answer = shop.get("orders/x").await;
    golden(
        &answer,
        r#"{"type":"urn:a4co:problem:invalid_id","title":"An id is malformed","status":400,
        "code":"invalid_id",
        "detail":"order id is not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"}"#,
    );
}

/// Each currency with its own number of digits, in and out.
#[tokio::test(start_paused = true)]
async fn money_keeps_its_digits() {
    let shop = Shop::open().await;
    for (currency, given, price, total) in [
        ("EUR", "29.9", "29.90", "89.70"),
        ("EUR", "3e1", "30.00", "90.00"),
        ("EUR", "0", "0.00", "0.00"),
        ("JPY", "500", "500", "1500"),
        ("KWD", "1.25", "1.250", "3.750"),
        ("EUR", "0.1", "0.10", "0.30"),
        (
            "EUR",
            "30023997515803.3",
            "30023997515803.30",
            "90071992547409.90",
        ),
    ] {
        let body = format!(
            r#"{{"customerId":"c","currency":"{currency}","items":[{{"productId":"sku-free","quantity":3,"unitPrice":{given}}}],"totalAmount":{total}}}"#
        );
        let answer = shop.post("orders", &body).await.is(201);
        let item = format!(
            r#""price":{price},"lineTotal":{total}}}],"totalAmount":{total},"currency":"{currency}""#
        );
        assert!(answer.text.contains(&item), "{item} in {}", answer.text);
    }
}
