//! Whatever a client sends, it is answered, and never blamed on us.

use axum::body::Body;
use axum::http::{Request, Uri};
use proptest::prelude::*;

use super::shop::Shop;

const PATHS: [(&str, &str); 8] = [
    ("POST", "/api/v1/orders"),
    (
        "POST",
        "/api/v1/orders/0198c3a1-5b1e-7c3d-8f00-0123456789ab/cancel",
    ),
    (
        "POST",
        "/api/v1/orders/0198c3a1-5b1e-7c3d-8f00-0123456789ab/retry",
    ),
    ("PUT", "/api/v1/inventory/products/sku-1"),
    ("PUT", "/api/v1/inventory/products/new"),
    ("POST", "/api/v1/inventory/products/sku-1/adjustments"),
    (
        "POST",
        "/api/v1/payments/pay_0198c3a1-5b1e-7c3d-8f00-0123456789ab/refund",
    ),
    ("GET", "/api/v1/orders"),
];

/// JSON that is nearly an order: known names with values of every kind.
fn nearly_an_order() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0".to_owned()),
        Just("1e999999999999".to_owned()),
        Just("1E-400".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("[[[[[[[[{}]]]]]]]]".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "\"[ -!#-\\[\\]-~é😀]{0,12}\"",
    ];
    let name = prop_oneof![
        Just("customerId".to_owned()),
        Just("items".to_owned()),
        Just("productId".to_owned()),
        Just("quantity".to_owned()),
        Just("price".to_owned()),
        Just("unitPrice".to_owned()),
        Just("totalAmount".to_owned()),
        Just("currency".to_owned()),
        Just("metadata".to_owned()),
        Just("reservationTtlMinutes".to_owned()),
        Just("forcePaymentFailure".to_owned()),
        Just("delta".to_owned()),
        Just("reason".to_owned()),
        Just("onHandQuantity".to_owned()),
        Just("name".to_owned()),
        Just("amount".to_owned()),
        "[a-z/~]{0,3}",
    ];
    token.prop_recursive(4, 40, 6, move |inner| {
        let object =
            prop::collection::vec((name.clone(), inner.clone()), 0..6).prop_map(|fields| {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            });
        let array =
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(",")));
        prop_oneof![3 => object, 1 => array]
    })
}

fn check(
    runtime: &tokio::runtime::Runtime,
    shop: &Shop,
    body: &[u8],
    headers: &[(&str, &[u8])],
) -> Result<(), TestCaseError> {
    for (method, path) in PATHS {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let answer = runtime.block_on(shop.send(request));
        prop_assert!(answer.status < 500, "{method} {path}: {answer:?}");
        if answer.status >= 400 {
            let code = answer.field("code");
            let known = crate::http::Code::ALL;
            prop_assert!(known.iter().any(|known| code == known.name()), "{answer:?}");
        }
    }
    Ok(())
}

fn shop() -> (tokio::runtime::Runtime, Shop) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let shop = runtime.block_on(Shop::open());
    (runtime, shop)
}

#[test]
fn any_body_is_answered() {
    let (runtime, shop) = shop();
    proptest!(|(body in any::<Vec<u8>>())| check(&runtime, &shop, &body, &[])?);
}

#[test]
fn any_json_is_answered() {
    let (runtime, shop) = shop();
    proptest!(|(body in nearly_an_order())| check(&runtime, &shop, body.as_bytes(), &[])?);
}

#[test]
fn any_header_is_answered() {
    let (runtime, shop) = shop();
    let value = "[\t -~\u{80}-\u{ff}]{0,40}";
    proptest!(|(key in value, prefer in value, site in value)| {
        let headers = [
            ("idempotency-key", key.as_bytes()),
            ("prefer", prefer.as_bytes()),
            ("sec-fetch-site", site.as_bytes()),
        ];
        check(&runtime, &shop, b"{\"delta\":1,\"reason\":\"r\"}", &headers)?;
    });
}

#[test]
fn any_path_and_query_is_answered() {
    let (runtime, shop) = shop();
    let path = "(/api/v1)?/(orders|payments|inventory/products|inventory/reservations|health)(/[ -~]{0,12})?(\\?[ -~]{0,30})?";
    proptest!(|(path in path)| {
        // What is no URI at all never gets past the server.
        let Ok(uri) = path.parse::<Uri>() else { return Ok(()); };
        let request = Request::get(uri).body(Body::empty()).expect("a request");
        let answer = runtime.block_on(shop.send(request));
        prop_assert!(answer.status < 500, "{path}: {answer:?}");
    });
}
