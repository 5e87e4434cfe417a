//! What a client may get wrong: each is a 4xx that names every field, and changes nothing.

use a4co_tests::{Client, Server};
use serde_json::{Value, json};

/// A shop with two products, that must look the same after every mistake.
fn shop() -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let yen = json!({ "price": 500, "currency": "JPY", "onHandQuantity": 10 });
    let _ = client
        .put("/api/v1/inventory/products/yen", &yen)
        .expect(201);
    let unpriced = json!({ "onHandQuantity": 1_000_000_000_000_u64 });
    let _ = client
        .put("/api/v1/inventory/products/unpriced", &unpriced)
        .expect(201);
    (server, client)
}

#[track_caller]
fn expect_untouched(client: &Client) {
    client.expect_stock("cup", 10, 0, 0);
    client.expect_stock("yen", 10, 0, 0);
    client.expect_stock("unpriced", 1_000_000_000_000, 0, 0);
    assert!(client.all_orders("").is_empty());
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let mut pointers: Vec<&str> = errors
        .iter()
        .filter_map(|it| it["pointer"].as_str())
        .collect();
    pointers.sort_unstable();
    pointers
}

/// Every offending field is named, and no other.
#[track_caller]
fn check(client: &Client, body: &str, status: u16, code: &str, fields: &[&str]) {
    let ask = client.ask("POST", "/api/v1/orders");
    let answer = ask
        .bytes("application/json", body.as_bytes().to_vec())
        .send();
    let problem = answer.expect_problem(status, code);
    assert_eq!(pointers(&problem), fields, "{body}: {problem}");
}

#[test]
fn bodies_that_are_no_order() {
    let (_server, client) = shop();
    for body in [
        "",
        "{",
        "nonsense",
        "{\"customerId\":}",
        "[1,2",
        "\"\\ud800\"x",
        "{}{}",
    ] {
        let ask = client.ask("POST", "/api/v1/orders");
        let answer = ask
            .bytes("application/json", body.as_bytes().to_vec())
            .send();
        assert!(
            (answer.status, answer.json()["code"].as_str()) == (400, Some("malformed_json")),
            "{body}: {answer:?}"
        );
    }
    check(&client, "[]", 422, "validation_failed", &[""]);
    check(&client, "null", 422, "validation_failed", &[""]);
    check(
        &client,
        "{}",
        422,
        "validation_failed",
        &["/customerId", "/items"],
    );
    let ask = client.ask("POST", "/api/v1/orders");
    let binary = ask
        .bytes("application/json", vec![b'{', 0xff, 0xfe, b'}'])
        .send();
    binary.expect_problem(400, "malformed_json");
    let deep = "[".repeat(100_000);
    check(&client, &deep, 400, "malformed_json", &[]);
    expect_untouched(&client);
}

#[test]
fn fields_that_are_wrong() {
    let (_server, client) = shop();
    let bad = "validation_failed";
    let of = |items: &str| format!(r#"{{"customerId":"c","items":{items}}}"#);
    let line = |fields: &str| of(&format!(r#"[{{"productId":"cup",{fields}}}]"#));
    check(&client, &of("[]"), 422, bad, &["/items"]);
    check(&client, &of("{}"), 422, bad, &["/items"]);
    check(&client, &of("[1]"), 422, bad, &["/items/0"]);
    check(
        &client,
        &of("[{}]"),
        422,
        bad,
        &["/items/0/productId", "/items/0/quantity"],
    );
    for quantity in [
        "0",
        "-1",
        "1000001",
        "1.5",
        "1e3",
        "\"2\"",
        "true",
        "99999999999999999999",
    ] {
        let body = line(&format!(r#""quantity":{quantity}"#));
        check(&client, &body, 422, bad, &["/items/0/quantity"]);
    }
    for price in ["-1", "\"10\"", "10.001", "1e400", "99999999999999999999999"] {
        let body = line(&format!(r#""quantity":1,"price":{price}"#));
        check(&client, &body, 422, bad, &["/items/0/price"]);
        let body = line(&format!(r#""quantity":1,"unitPrice":{price}"#));
        check(&client, &body, 422, bad, &["/items/0/unitPrice"]);
    }
    check(
        &client,
        &line(r#""quantity":1,"price":10,"unitPrice":11"#),
        422,
        bad,
        &["/items/0/unitPrice"],
    );
    check(
        &client,
        &line(r#""quantity":1,"quantity":2"#),
        422,
        bad,
        &["/items/0/quantity"],
    );
    check(
        &client,
        &line(r#""quantity":1,"color":"red""#),
        422,
        bad,
        &["/items/0/color"],
    );
    let long = "i".repeat(129);
    for id in ["", " cup", "cüp", "a\\nb", &long] {
        let body = format!(
            r#"{{"customerId":"{id}","items":[{{"productId":"{id}","quantity":1}}],"paymentMethodId":"{id}"}}"#
        );
        let fields = ["/customerId", "/items/0/productId", "/paymentMethodId"];
        check(&client, &body, 422, bad, &fields);
    }
    expect_untouched(&client);
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let (_server, client) = shop();
    let body = r#"{"customerId":7,"currency":"XYZ","totalAmount":"free","surprise":1,
        "items":[{"productId":"cup","quantity":0},{"quantity":1},7],
        "metadata":{"nested":{"a":1},"ok":"yes"}}"#;
    let fields = [
        "/currency",
        "/customerId",
        "/items/0/quantity",
        "/items/1/productId",
        "/items/2",
        "/metadata/nested",
        "/surprise",
        "/totalAmount",
    ];
    check(&client, body, 422, "validation_failed", &fields);
    expect_untouched(&client);
}

#[test]
fn what_the_catalogue_says_otherwise() {
    let (_server, client) = shop();
    let of = |items: &str, more: &str| format!(r#"{{"customerId":"c","items":[{items}]{more}}}"#);
    let cup = r#"{"productId":"cup","quantity":2}"#;
    check(
        &client,
        &of(
            &format!(r#"{cup},{{"productId":"ghost","quantity":1}}"#),
            "",
        ),
        422,
        "product_not_found",
        &["/items/1/productId"],
    );
    check(
        &client,
        &of(r#"{"productId":"cup","quantity":2,"price":9.99}"#, ""),
        422,
        "price_mismatch",
        &["/items/0/price"],
    );
    check(
        &client,
        &of(cup, r#","totalAmount":20.01"#),
        422,
        "price_mismatch",
        &["/totalAmount"],
    );
    check(
        &client,
        &of(r#"{"productId":"unpriced","quantity":1}"#, ""),
        422,
        "price_required",
        &["/items/0/price"],
    );
    check(
        &client,
        &of(r#"{"productId":"yen","quantity":1}"#, ""),
        422,
        "currency_mismatch",
        &["/currency"],
    );
    expect_untouched(&client);
}

#[test]
fn sums_beyond_what_can_be_counted() {
    let (_server, client) = shop();
    // 2^53 cents is the most: one line of it is fine, a million of them are not.
    let most = "90071992547409.92";
    let of = |quantity: u32| {
        format!(
            r#"{{"customerId":"c","items":[{{"productId":"unpriced","quantity":{quantity},"price":{most}}}]}}"#
        )
    };
    for quantity in [2, 1_000_000] {
        check(
            &client,
            &of(quantity),
            422,
            "validation_failed",
            &["/items"],
        );
    }
    let beyond = r#"{"customerId":"c","items":[{"productId":"unpriced","quantity":1,"price":90071992547409.93}]}"#;
    check(
        &client,
        beyond,
        422,
        "validation_failed",
        &["/items/0/price"],
    );
    expect_untouched(&client);
    let ask = client.ask("POST", "/api/v1/orders").wait(30);
    let answer = ask
        .bytes("application/json", of(1).into_bytes())
        .send()
        .expect(201);
    assert!(
        answer.text().contains(&format!(r#""totalAmount":{most}"#)),
        "{answer:?}"
    );
}

#[test]
fn more_than_the_limits() {
    let (_server, client) = shop();
    let lines = |count: usize| vec![r#"{"productId":"cup","quantity":1}"#; count].join(",");
    let of = |items: &str, more: &str| format!(r#"{{"customerId":"c","items":[{items}]{more}}}"#);
    check(
        &client,
        &of(&lines(101), ""),
        422,
        "validation_failed",
        &["/items"],
    );
    let metadata = |keys: usize| {
        let keys: Vec<String> = (0..keys).map(|key| format!(r#""k{key}":1"#)).collect();
        format!(r#","metadata":{{{}}}"#, keys.join(","))
    };
    check(
        &client,
        &of(&lines(1), &metadata(51)),
        422,
        "validation_failed",
        &["/metadata"],
    );
    let long = format!(r#","metadata":{{"k":"{}"}}"#, "v".repeat(501));
    check(
        &client,
        &of(&lines(1), &long),
        422,
        "validation_failed",
        &["/metadata/k"],
    );
    let key = "k".repeat(41);
    let long = format!(r#","metadata":{{"{key}":1}}"#);
    let at = format!("/metadata/{key}");
    check(
        &client,
        &of(&lines(1), &long),
        422,
        "validation_failed",
        &[&at],
    );
    let padded = format!("{}{}", " ".repeat(1024 * 1024), of(&lines(1), ""));
    check(&client, &padded, 413, "body_too_large", &[]);
    expect_untouched(&client);
    // And exactly the limits are fine.
    client.stock("cup", 1_000);
    let text = "ü".repeat(500);
    let most = of(
        &lines(100),
        &metadata(49).replace("{\"k0\":1", &format!("{{\"k0\":\"{text}\"")),
    );
    let ask = client.ask("POST", "/api/v1/orders").wait(30);
    let answer = ask
        .bytes("application/json", most.into_bytes())
        .send()
        .expect(201);
    assert_eq!(answer.json()["status"], "CONFIRMED", "{answer:?}");
}

#[test]
fn requests_that_are_no_api() {
    let (_server, client) = shop();
    client
        .get("/api/v1/nothing")
        .expect_problem(404, "route_not_found");
    client
        .get("/api/v2/orders")
        .expect_problem(404, "route_not_found");
    client
        .ask("DELETE", "/api/v1/orders")
        .send()
        .expect_problem(405, "method_not_allowed");
    client
        .get("/api/v1/orders/not-an-id")
        .expect_problem(400, "invalid_id");
    client
        .get("/api/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057")
        .expect_problem(404, "order_not_found");
    let ask = client.ask("POST", "/api/v1/orders");
    ask.bytes("text/plain", b"{}".to_vec())
        .send()
        .expect_problem(415, "unsupported_media_type");
    let crossed = client.ask("POST", "/api/v1/orders");
    crossed
        .header("sec-fetch-site", "cross-site")
        .json(&json!({}))
        .send()
        .expect_problem(403, "cross_site_request");
    expect_untouched(&client);
}

#[test]
fn products_that_are_wrong() {
    let (_server, client) = shop();
    let put = |product: &str, body: Value| {
        client.put(&format!("/api/v1/inventory/products/{product}"), &body)
    };
    let wrong =
        json!({ "name": 5, "price": -1, "currency": "EUR", "onHandQuantity": 1.5, "colour": 1 });
    let problem = put("new", wrong).expect_problem(422, "validation_failed");
    assert_eq!(
        pointers(&problem),
        ["/colour", "/name", "/onHandQuantity", "/price"]
    );
    let too_exact = json!({ "price": 1.5, "currency": "JPY" });
    let problem = put("new", too_exact).expect_problem(422, "validation_failed");
    assert_eq!(pointers(&problem), ["/price"]);
    client
        .get("/api/v1/inventory/products/new")
        .expect_problem(404, "product_not_found");
    let adjust = |body: Value| client.post("/api/v1/inventory/products/cup/adjustments", &body);
    let problem = adjust(json!({})).expect_problem(422, "validation_failed");
    assert_eq!(pointers(&problem), ["/delta", "/reason"]);
    let problem =
        adjust(json!({ "delta": 0, "reason": "" })).expect_problem(422, "validation_failed");
    assert_eq!(pointers(&problem), ["/delta", "/reason"]);
    adjust(json!({ "delta": -11, "reason": "lost" })).expect_problem(409, "stock_below_reserved");
    expect_untouched(&client);
}
