//! Health, recovery, metrics and back-pressure.

use super::shop::Shop;
use crate::http::HttpSettings;

#[tokio::test(start_paused = true)]
async fn health_tells_what_is_the_matter() {
    let shop = Shop::closed(HttpSettings::default());
    let check = async |status: u16, word: &str, checks: &str| {
        let ready = shop.get("/health/ready").await.is(status);
        let expected = format!(r#"{{"status":"{word}","service":"a4co","checks":{checks}}}"#);
        assert_eq!(ready.text, expected);
        assert_eq!(shop.get("/health").await.is(200).text, expected);
        assert_eq!(shop.get("/health/live").await.is(200).field("status"), "ok");
    };
    let recovering = r#"{"recovery":"in progress","journal":"ok","store":"ok"}"#;
    check(503, "recovering", recovering).await;
    let answer = shop.get("orders").await.problem(503, "recovering");
    assert_eq!(answer.header("retry-after"), Some("1"));
    shop.post("orders", "{}").await.problem(503, "recovering");
    shop.get("/metrics").await.is(200);

    shop.readiness.set_ready();
    let well = r#"{"recovery":"ok","journal":"ok","store":"ok"}"#;
    check(200, "ok", well).await;
    shop.get("orders").await.is(200);
    shop.readiness.set_store_degraded(true);
    check(
        200,
        "degraded",
        r#"{"recovery":"ok","journal":"ok","store":"degraded"}"#,
    )
    .await;
    shop.readiness.set_journal_writable(false);
    let full = r#"{"recovery":"ok","journal":"not writable","store":"degraded"}"#;
    check(503, "unavailable", full).await;
    shop.get("orders").await.is(200);
    shop.readiness.set_journal_writable(true);
    shop.readiness.set_store_degraded(false);
    shop.readiness.set_draining();
    check(503, "stopping", well).await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_route_and_never_by_id() {
    let shop = Shop::open().await;
    shop.get("orders/0198c3a1-5b1e-7c3d-8f00-0123456789ab")
        .await
        .is(404);
    shop.get("/secret-path").await.is(404);
    shop.call("BREW", "/health", &[], "").await.is(405);
    shop.post("orders", "{}").await.is(422);
    let metrics = shop.get("/metrics").await.is(200);
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        r#"http_requests_total{method="GET",route="/api/v1/orders/{orderId}",status="404"} 1"#,
        r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"http_requests_total{method="other",route="/health",status="405"} 1"#,
        r#"http_requests_total{method="POST",route="/api/v1/orders",status="422"} 1"#,
        r#"http_requests_total{method="PUT",route="/api/v1/inventory/products/{productId}",status="201"} 3"#,
        r#"http_request_duration_seconds_count{method="POST",route="/api/v1/orders"} 1"#,
    ] {
        assert!(metrics.text.contains(line), "{line} in\n{}", metrics.text);
    }
    assert!(!metrics.text.contains("secret"), "{}", metrics.text);
    assert!(!metrics.text.contains("0198c3a1"), "{}", metrics.text);
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_at_once_are_turned_away() {
    let settings = HttpSettings {
        requests_max: 2,
        ..HttpSettings::default()
    };
    let shop = Shop::open_with(settings).await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}],"paymentMethodId":"pm_slow"}"#;
    let (a, b, late) = tokio::join!(
        shop.post_and_wait("orders", body),
        shop.post_and_wait("orders", body),
        async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            shop.get("/health").await.is(200);
            shop.get("orders").await
        }
    );
    let late = late.problem(503, "overloaded");
    assert_eq!(late.header("retry-after"), Some("1"));
    a.is(201);
    b.is(201);
    shop.get("orders").await.is(200);
}

/// The engine has ended, and its queue with it.
#[tokio::test(start_paused = true)]
async fn a_stopped_engine_is_said_to_be_stopping() {
    let shop = Shop::open().await;
    let stopped = shop.stopped();
    let body = r#"{"delta":1,"reason":"x"}"#;
    let answer = stopped
        .post("inventory/products/sku-1/adjustments", body)
        .await;
    let answer = answer.problem(503, "shutting_down");
    assert_eq!(answer.header("retry-after"), Some("1"));
    stopped.get("inventory/products/sku-1").await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer() {
    let shop = Shop::open().await;
    shop.disk.set_panics();
    let answer = shop
        .get("inventory/products/sku-1")
        .await
        .problem(500, "internal_error");
    assert!(!answer.text.contains("boom"), "{answer:?}");
}
