//! Products, stock and reservations.

use super::shop::Shop;

#[tokio::test(start_paused = true)]
async fn products_are_created_and_described() {
    let shop = Shop::open().await;
    let created = shop.put(
        "products/a",
        r#"{"productId":"a","name":"A","price":1,"currency":"JPY"}"#,
    );
    let created = created.await.is(201);
    let expected = r#"{"productId":"a","name":"A","price":1,"currency":"JPY","onHandQuantity":0,"availableQuantity":0,"reservedQuantity":0,"soldQuantity":0}"#;
    assert_eq!(created.text, expected);
    // What is left out stays, and a price is in the currency that the product has.
    let changed = shop
        .put("products/a", r#"{"price":2,"onHandQuantity":7}"#)
        .await
        .is(200);
    assert_eq!(changed.field("currency"), "JPY");
    assert_eq!(changed.field("name"), "A");
    assert_eq!(changed.field("onHandQuantity"), 7);
    assert_eq!(shop.get("inventory/products/a").await.text, changed.text);
    shop.put("products/a", "{}").await.is(200);
    shop.put("products/a%20b%2Fc", "{}").await.is(201);
    shop.get("inventory/products/a%20b%2Fc").await.is(200);
    shop.get("inventory/products/none")
        .await
        .problem(404, "product_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_description_is_checked_whole() {
    let shop = Shop::open().await;
    let check = async |body: &str, findings: &[&str]| {
        let answer = shop
            .put("products/sku-1", body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(answer.findings(), findings, "{body}");
    };
    check(
        r#"{"productId":"sku-2","name":" ","price":1.001,"currency":1,"onHandQuantity":-1,"soldQuantity":1}"#,
        &[
            "/productId id_mismatch",
            "/name empty",
            "/currency wrong_type",
            "/onHandQuantity quantity_out_of_range",
            "/soldQuantity unknown_field",
        ],
    )
    .await;
    check(r#"{"price":1.001}"#, &["/price too_many_digits"]).await;
    check(r#"{"price":-1}"#, &["/price amount_negative"]).await;
    check(r#"{"price":"1"}"#, &["/price wrong_type"]).await;
    check(r#"{"currency":"USD"}"#, &["/price price_required"]).await;
    check(
        r#"{"onHandQuantity":1000000000001}"#,
        &["/onHandQuantity quantity_out_of_range"],
    )
    .await;
    check(
        &format!(r#"{{"name":"{}"}}"#, "n".repeat(201)),
        &["/name name_too_long"],
    )
    .await;
    shop.put("products/sku-1", "")
        .await
        .problem(400, "malformed_json");
    shop.put("products/%20", "{}")
        .await
        .problem(400, "invalid_id");
}

#[tokio::test(start_paused = true)]
async fn stock_is_received_and_written_off() {
    let shop = Shop::open().await;
    let path = "inventory/products/sku-1/adjustments";
    let received = shop
        .post(path, r#"{"delta":5,"reason":"delivery"}"#)
        .await
        .is(200);
    assert_eq!(received.field("onHandQuantity"), 15);
    let written_off = shop
        .post(path, r#"{"delta":-3,"reason":"broken"}"#)
        .await
        .is(200);
    assert_eq!(written_off.field("availableQuantity"), 12);
    shop.order("pm_silent").await;
    let too_many = shop.post(path, r#"{"delta":-12,"reason":"broken"}"#).await;
    too_many.problem(409, "stock_below_reserved");
    let huge = shop
        .post(path, r#"{"delta":1000000000000,"reason":"dream"}"#)
        .await;
    huge.problem(422, "stock_too_large");
    for (body, findings) in [
        ("{}", &["/delta required", "/reason required"] as &[_]),
        (
            r#"{"delta":0,"reason":""}"#,
            &["/delta quantity_out_of_range", "/reason empty"],
        ),
        (
            r#"{"delta":1.5,"reason":1}"#,
            &["/delta not_a_whole_number", "/reason wrong_type"],
        ),
        (
            r#"{"delta":-1000000000001,"reason":"x"}"#,
            &["/delta quantity_out_of_range"],
        ),
    ] {
        let answer = shop
            .post(path, body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(answer.findings(), findings, "{body}");
    }
    let long = format!(r#"{{"delta":1,"reason":"{}"}}"#, "r".repeat(501));
    let answer = shop
        .post(path, &long)
        .await
        .problem(422, "validation_failed");
    assert_eq!(answer.findings(), ["/reason reason_too_long"]);
    let unknown = "inventory/products/none/adjustments";
    let answer = shop.post(unknown, r#"{"delta":1,"reason":"x"}"#).await;
    answer.problem(404, "product_not_found");
}

#[tokio::test(start_paused = true)]
async fn products_are_listed() {
    let shop = Shop::open().await;
    shop.put("products/empty", "{}").await.is(201);
    let list = async |path: &str| {
        let answer = shop
            .get(&format!("inventory/products{path}"))
            .await
            .is(200)
            .json();
        let rows = answer["data"].as_array().cloned().unwrap_or_default();
        let ids = rows
            .iter()
            .filter_map(|row| row["productId"].as_str().map(str::to_owned));
        (ids.collect::<Vec<_>>(), answer["nextCursor"].clone())
    };
    let none = serde_json::Value::Null;
    let all = ["empty", "sku-1", "sku-2", "sku-free"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(list("").await, (all.clone(), none.clone()));
    assert_eq!(list("?limit=2").await, (all[..2].to_vec(), "sku-1".into()));
    assert_eq!(
        list("?limit=2&cursor=sku-1").await,
        (all[2..].to_vec(), none.clone())
    );
    assert_eq!(list("/low-stock?threshold=1").await.0, ["empty", "sku-2"]);
    assert_eq!(list("/low-stock").await.0, all);
    assert_eq!(list("/out-of-stock").await.0, ["empty"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_reserved_is_no_reservation() {
    let shop = Shop::open().await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-2","quantity":3}]}"#;
    let order = shop.post_and_wait("orders", body).await.is(201).json();
    let id = order["orderId"].as_str().expect("an id");
    for path in [format!("res_{id}"), format!("order/{id}")] {
        let answer = shop.get(&format!("inventory/reservations/{path}")).await;
        answer.problem(404, "reservation_not_found");
    }
}
