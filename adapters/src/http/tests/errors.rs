//! Every error: its status, its code, and where it points to.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;

use super::shop::Shop;
use crate::http::problem::Code;

/// The table as clients know it. A code that is not here, or here with another status, has
/// changed for them.
const TABLE: &[(u16, &str)] = &[
    (400, "bad_request"),
    (400, "invalid_cursor"),
    (400, "invalid_id"),
    (400, "invalid_idempotency_key"),
    (400, "invalid_position"),
    (400, "invalid_query"),
    (400, "malformed_json"),
    (400, "webhook_signature_invalid"),
    (403, "cross_site_request"),
    (404, "order_not_found"),
    (404, "payment_not_found"),
    (404, "product_not_found"),
    (404, "reservation_not_found"),
    (404, "route_not_found"),
    (405, "method_not_allowed"),
    (408, "request_timeout"),
    (409, "nothing_to_write_off"),
    (409, "order_not_cancellable"),
    (409, "payment_not_refundable"),
    (409, "saga_not_parked"),
    (409, "stock_below_reserved"),
    (409, "too_many_refunds"),
    (413, "body_too_large"),
    (415, "unsupported_media_type"),
    (422, "currency_mismatch"),
    (422, "idempotency_key_reused"),
    (422, "price_mismatch"),
    (422, "price_required"),
    (422, "product_not_found"),
    (422, "refund_exceeds_charge"),
    (422, "stock_too_large"),
    (422, "validation_failed"),
    (500, "internal_error"),
    (503, "no_leader"),
    (503, "outcome_unknown"),
    (503, "overloaded"),
    (503, "position_not_reached"),
    (503, "recovering"),
    (503, "shutting_down"),
    (503, "store_unavailable"),
    (507, "journal_full"),
];

#[test]
fn the_codes_are_these() {
    let codes = Code::ALL.iter().map(|code| (code.status(), code.name()));
    let codes: BTreeSet<_> = codes.collect();
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), TABLE);
    assert_eq!(Code::ALL.len(), TABLE.len());
}

#[test]
fn a_bare_status_has_a_code_of_its_own_kind() {
    for status in 400..600_u16 {
        let code = Code::of_status(status);
        assert_eq!(code.status() / 100, status / 100, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_offending_field_is_named_at_once() {
    let shop = Shop::open().await;
    let check = async |body: &str, findings: &[&str]| {
        let answer = shop
            .post("orders", body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(answer.findings(), findings, "{body}");
    };
    check("{}", &["/customerId required", "/items required"]).await;
    check("[]", &[" wrong_type"]).await;
    check("null", &[" wrong_type"]).await;
    check("12", &[" wrong_type"]).await;
    check(
        r#"{"customerId":1,"items":{},"totalAmount":"29.90","currency":"XYZ","paymentMethodId":true,"metadata":[],"deliveryAddress":{}}"#,
        &[
            "/customerId wrong_type",
            "/currency unknown_currency",
            "/items wrong_type",
            "/totalAmount wrong_type",
            "/paymentMethodId wrong_type",
            "/metadata wrong_type",
            "/deliveryAddress unknown_field",
        ],
    )
    .await;
    check(
        r#"{"customerId":"c","items":[{"productId":"","quantity":1.0,"price":1.001},{"productId":"é","quantitiy":1,"price":-1},7,{"productId":" x","quantity":1000001,"price":1,"unitPrice":2},{"productId":"x","quantity":99999999999999999999,"price":90071992547409.93}]}"#,
        &[
            "/items/0/productId id_empty",
            "/items/0/quantity not_a_whole_number",
            "/items/0/price too_many_digits",
            "/items/1/productId id_bad_character",
            "/items/1/quantity required",
            "/items/1/price amount_negative",
            "/items/1/quantitiy unknown_field",
            "/items/2 wrong_type",
            "/items/3/productId id_outer_space",
            "/items/3/quantity quantity_out_of_range",
            "/items/3/unitPrice conflicting_price",
            "/items/4/quantity quantity_out_of_range",
            "/items/4/price amount_out_of_range",
        ],
    )
    .await;
    check(
        r#"{"customerId":"a","customerId":"b","items":[{"productId":"x","quantity":1,"quantity":2}],"a/b":1}"#,
        &[
            "/items/0/quantity duplicate_field",
            "/customerId duplicate_field",
            "/a~1b unknown_field",
        ],
    )
    .await;
    check(
        r#"{"customerId":"\ud800","items":[]}"#,
        &["/customerId invalid_text", "/items no_items"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_typo_is_told_what_was_meant() {
    let shop = Shop::open().await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1,"quantitiy":1}]}"#;
    let answer = shop
        .post("orders", body)
        .await
        .problem(422, "validation_failed");
    let detail = "/items/0/quantitiy: is not known; did you mean `quantity`?";
    assert_eq!(answer.field("detail"), detail);
}

#[tokio::test(start_paused = true)]
async fn each_limit_has_its_own_error() {
    let shop = Shop::open().await;
    let check = async |body: String, finding: &str| {
        let answer = shop
            .post("orders", &body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(answer.findings(), [finding]);
    };
    let item = r#"{"productId":"sku-1","quantity":1}"#;
    let order =
        |items: &str, rest: &str| format!(r#"{{"customerId":"c","items":[{items}]{rest}}}"#);
    check(
        order(&vec![item; 101].join(","), ""),
        "/items too_many_items",
    )
    .await;
    let long = "x".repeat(129);
    let product = format!(r#"{{"productId":"{long}","quantity":1}}"#);
    check(order(&product, ""), "/items/0/productId id_too_long").await;
    let metadata = |entries: String| order(item, &format!(r#","metadata":{{{entries}}}"#));
    let keys: Vec<_> = (0..51).map(|key| format!(r#""k{key}":1"#)).collect();
    check(metadata(keys.join(",")), "/metadata too_many_metadata_keys").await;
    let key = "k".repeat(41);
    check(
        metadata(format!(r#""{key}":1"#)),
        &format!("/metadata/{key} metadata_key_length"),
    )
    .await;
    let value = "ü".repeat(501);
    check(
        metadata(format!(r#""k":"{value}""#)),
        "/metadata/k metadata_value_too_long",
    )
    .await;
    check(
        metadata(r#""k":{"a":1}"#.to_owned()),
        "/metadata/k wrong_type",
    )
    .await;
    check(
        metadata(r#""k":1,"k":2"#.to_owned()),
        "/metadata/k duplicate_field",
    )
    .await;

    let at_the_limit = vec![item; 100].join(",").replace("sku-1", "sku-free");
    let at_the_limit = at_the_limit.replace(r#""quantity":1"#, r#""quantity":1,"price":1"#);
    let keys: Vec<_> = (0..50)
        .map(|key| format!(r#""{key:040}":"{}""#, "ü".repeat(500)))
        .collect();
    let rest = format!(r#","metadata":{{{}}}"#, keys.join(","));
    shop.post("orders", &order(&at_the_limit, &rest))
        .await
        .is(201);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_to_be_json_of_some_size() {
    let shop = Shop::open().await;
    let send = async |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = Request::post("/api/v1/orders");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        shop.send(request.body(Body::from(body)).expect("a request"))
            .await
    };
    let json = Some("application/json");
    for malformed in [
        "",
        "{",
        "{]",
        r#"{"a":}"#,
        "{} x",
        "nul",
        "\"",
        "{\"a\":01}",
        "[1,]",
    ] {
        send(json, malformed.into())
            .await
            .problem(400, "malformed_json");
    }
    send(json, b"{\"a\":\"\xff\"}".to_vec())
        .await
        .problem(400, "malformed_json");
    send(json, "[".repeat(1 << 20).into())
        .await
        .problem(400, "malformed_json");
    for other in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "json",
    ] {
        send(Some(other), b"{}".to_vec())
            .await
            .problem(415, "unsupported_media_type");
    }
    send(None, b"{}".to_vec())
        .await
        .problem(415, "unsupported_media_type");
    for fine in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/a+json",
    ] {
        send(Some(fine), b"{}".to_vec())
            .await
            .problem(422, "validation_failed");
    }
    let limit = 1 << 20;
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2)).into_bytes();
    send(json, padded(limit))
        .await
        .problem(422, "validation_failed");
    send(json, padded(limit + 1))
        .await
        .problem(413, "body_too_large");
    let unannounced = futures_of_chunks(limit + 1);
    let request = Request::post("/api/v1/orders").header("content-type", "application/json");
    let answer = shop
        .send(request.body(unannounced).expect("a request"))
        .await;
    answer.problem(413, "body_too_large");
}

/// A body whose length is not known before it has come.
fn futures_of_chunks(length: usize) -> Body {
    struct Chunks(usize);
    impl hyper::body::Body for Chunks {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            let take = self.0.min(1_000);
            self.0 -= take;
            let frame = hyper::body::Frame::data(vec![b' '; take].into());
            std::task::Poll::Ready((take > 0).then_some(Ok(frame)))
        }
    }
    Body::new(Chunks(length))
}

#[tokio::test(start_paused = true)]
async fn a_body_has_to_arrive_in_time() {
    struct Never;
    impl hyper::body::Body for Never {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
    let shop = Shop::open().await;
    let request = Request::post("/api/v1/orders").header("content-type", "application/json");
    let answer = shop
        .send(request.body(Body::new(Never)).expect("a request"))
        .await;
    answer.problem(408, "request_timeout");
}

#[tokio::test(start_paused = true)]
async fn many_mistakes_are_counted_and_not_all_listed() {
    let shop = Shop::open().await;
    let fields: Vec<_> = (0..5_000).map(|field| format!(r#""f{field}":1"#)).collect();
    let answer = shop
        .post("orders", &format!("{{{}}}", fields.join(",")))
        .await;
    let answer = answer.problem(422, "validation_failed");
    assert_eq!(answer.findings().len(), 1_000);
    assert_eq!(answer.field("errorsOmitted"), 4_002);
}

#[tokio::test(start_paused = true)]
async fn queries_are_checked_whole() {
    let shop = Shop::open().await;
    let check = async |path: &str, findings: &[&str]| {
        let answer = shop.get(path).await.problem(400, "invalid_query");
        assert_eq!(answer.findings(), findings, "{path}");
    };
    check(
        "orders?limit=0&status=DONE&customerId=%20&createdFrom=x&createdTo=y&page=2",
        &[
            "limit invalid_parameter",
            "status invalid_parameter",
            "customerId invalid_parameter",
            "createdFrom invalid_parameter",
            "createdTo invalid_parameter",
            "page unknown_parameter",
        ],
    )
    .await;
    check("orders?limit=101", &["limit invalid_parameter"]).await;
    check("orders?limit=1&limit=2", &["limit duplicate_parameter"]).await;
    check(
        "inventory/products/low-stock?threshold=-1",
        &["threshold invalid_parameter"],
    )
    .await;
    check(
        "inventory/products/out-of-stock?a=1",
        &["a unknown_parameter"],
    )
    .await;
    shop.get("orders?cursor=x")
        .await
        .problem(400, "invalid_cursor");
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_are_checked() {
    let shop = Shop::open().await;
    for path in [
        "/nothing",
        "/api/v1",
        "/api/v1/orders/",
        "/health/nothing",
        "/metrics/",
    ] {
        shop.get(path).await.problem(404, "route_not_found");
    }
    shop.post("/nothing", "{}")
        .await
        .problem(404, "route_not_found");
    for path in [
        "orders/x",
        "orders/%ff",
        "payments/x",
        "payments/order/x",
        "inventory/products/%C3%A9",
        "inventory/reservations/0198c3a1-5b1e-7c3d-8f00-0123456789ab",
        "inventory/reservations/order/x",
    ] {
        shop.get(path).await.problem(400, "invalid_id");
    }
    for (method, path, allow) in [
        ("DELETE", "orders", "GET,HEAD,POST"),
        ("PUT", "inventory/products/low-stock", "GET,HEAD"),
        ("PATCH", "inventory/products/sku-1", "GET,HEAD,PUT"),
        (
            "GET",
            "orders/0198c3a1-5b1e-7c3d-8f00-0123456789ab/cancel",
            "POST",
        ),
        ("OPTIONS", "orders", "GET,HEAD,POST"),
        ("BREW", "/health", "GET,HEAD"),
    ] {
        let answer = shop
            .call(method, path, &[], "")
            .await
            .problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    let head = shop.call("HEAD", "/health", &[], "").await.is(200);
    assert_eq!(head.text, "");
}

#[tokio::test(start_paused = true)]
async fn other_sites_may_look_and_not_touch() {
    let shop = Shop::open().await;
    for (site, status) in [("cross-site", 403), ("same-origin", 422), ("none", 422)] {
        let headers = [("sec-fetch-site", site)];
        let answer = shop.call("POST", "orders", &headers, "{}").await;
        assert_eq!(answer.status, status, "{site}");
        shop.call("GET", "orders", &headers, "").await.is(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_recovers() {
    let shop = Shop::open().await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}]}"#;
    shop.disk.set_full(true);
    // What was taken before the disk was seen to be full waits for room, but not for ever.
    let taken = shop
        .post("orders", body)
        .await
        .problem(503, "outcome_unknown");
    assert_eq!(taken.header("retry-after"), Some("1"));
    let refused = shop.post("orders", body).await.problem(507, "journal_full");
    assert_eq!(refused.header("retry-after"), Some("30"));
    shop.get("inventory/products/sku-1").await.is(200);
    shop.disk.set_full(false);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    shop.post("orders", body).await.is(201);
}

#[tokio::test(start_paused = true)]
async fn a_broken_store_keeps_its_secrets() {
    let shop = Shop::open().await;
    shop.disk.set_broken(true);
    let answer = shop
        .get("inventory/products/sku-1")
        .await
        .problem(503, "store_unavailable");
    assert!(!answer.text.contains("secret"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}
