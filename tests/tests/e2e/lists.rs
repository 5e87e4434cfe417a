//! Lists: pages, filters, and what is wrong with a query.

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Order, Server};
use serde_json::{Value, json};

fn ids(orders: &[Value]) -> Vec<&str> {
    orders.iter().map(shop::id).collect()
}

#[track_caller]
fn page(client: &Client, query: &str) -> (Vec<Value>, Option<String>) {
    let page = client
        .get(&format!("/api/v1/orders?{query}"))
        .expect(200)
        .json();
    let rows = page["data"].as_array().expect("rows").clone();
    (rows, page["nextCursor"].as_str().map(str::to_owned))
}

#[test]
fn orders_come_newest_first_and_each_once() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 1_000);
    let mut placed: Vec<String> = (0..25)
        .map(|_| shop::id(&client.place(&Order::of(&[("cup", 1)]))).to_owned())
        .collect();
    for order_id in &placed {
        let _ = client.ended(order_id);
    }
    placed.reverse();
    for limit in [1, 7, 25, 100] {
        let mut seen = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let after = cursor
                .map(|cursor| format!("&cursor={cursor}"))
                .unwrap_or_default();
            let (rows, next) = page(&client, &format!("limit={limit}{after}"));
            assert!(rows.len() <= limit);
            seen.extend(rows);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(ids(&seen), placed, "limit {limit}");
    }
    // A page goes on where it stopped, although orders were placed meanwhile.
    let (first, next) = page(&client, "limit=10");
    let _ = client.order(&Order::of(&[("cup", 1)]));
    let next = next.expect("a further page");
    let (second, _) = page(&client, &format!("limit=10&cursor={next}"));
    assert_eq!(ids(&first), placed[..10]);
    assert_eq!(ids(&second), placed[10..20]);
    // And across a restart.
    let server = server.restart();
    let (second, _) = page(&server.client(), &format!("limit=10&cursor={next}"));
    assert_eq!(ids(&second), placed[10..20]);
}

#[test]
fn orders_are_filtered_by_what_they_are() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let of =
        |order: Order, customer: &str| client.order(&order.with("customerId", json!(customer)));
    let confirmed = of(Order::of(&[("cup", 1)]), "ada");
    expect_end(&confirmed, "CONFIRMED", "COMPLETED");
    let failed = of(Order::of(&[("cup", 50)]), "ada");
    let cancelled = of(Order::of(&[("cup", 1)]).paid_by("pm_card_declined"), "bob");
    let check = |query: &str, expected: &[&Value]| {
        let (rows, _) = page(&client, query);
        let expected: Vec<&str> = expected.iter().copied().map(shop::id).collect();
        assert_eq!(ids(&rows), expected, "{query}");
    };
    check("", &[&cancelled, &failed, &confirmed]);
    check("status=CONFIRMED", &[&confirmed]);
    check("status=FAILED", &[&failed]);
    check("status=CANCELLED", &[&cancelled]);
    check("status=PENDING", &[]);
    check("customerId=ada", &[&failed, &confirmed]);
    check("customerId=bob&status=CANCELLED", &[&cancelled]);
    check("customerId=bob&status=CONFIRMED", &[]);
    check("customerId=nobody", &[]);
    let created = |order: &Value| order["createdAt"].as_str().expect("a time").to_owned();
    let since = format!("createdFrom={}", created(&failed));
    let (rows, _) = page(&client, &since);
    assert!(ids(&rows).contains(&shop::id(&failed)), "{since}: {rows:?}");
    assert!(ids(&rows).contains(&shop::id(&cancelled)));
    check("createdFrom=2100-01-01", &[]);
    check("createdTo=2001-01-01", &[]);
    check(
        "createdFrom=2001-01-01&createdTo=2100-01-01T00:00:00Z",
        &[&cancelled, &failed, &confirmed],
    );
}

#[test]
fn a_wrong_query_names_every_wrong_parameter() {
    let server = Server::start();
    let client = server.client();
    let query = "limit=101&status=DONE&createdFrom=yesterday&colour=red&customerId=%00";
    let answer = client.get(&format!("/api/v1/orders?{query}"));
    let problem = answer.expect_problem(400, "invalid_query");
    let errors = problem["errors"].as_array().expect("errors").iter();
    let mut named: Vec<&str> = errors.filter_map(|it| it["parameter"].as_str()).collect();
    named.sort_unstable();
    assert_eq!(
        named,
        ["colour", "createdFrom", "customerId", "limit", "status"]
    );
    for wrong in [
        "limit=0",
        "limit=-1",
        "limit=ten",
        "limit=5&limit=6",
        "limit=1e2",
    ] {
        client
            .get(&format!("/api/v1/orders?{wrong}"))
            .expect_problem(400, "invalid_query");
    }
    client
        .get("/api/v1/orders?cursor=nonsense")
        .expect_problem(400, "invalid_cursor");
}

#[test]
fn products_are_listed_by_their_stock() {
    let server = Server::start();
    let client = server.client();
    for (product, units) in [("a", 0), ("b", 3), ("c", 10), ("d", 500)] {
        client.stock(product, units);
    }
    let listed = |path: &str| -> Vec<String> {
        let list = client
            .get(&format!("/api/v1/inventory/products{path}"))
            .expect(200)
            .json();
        let rows = list["data"].as_array().expect("rows").iter();
        rows.map(|row| row["productId"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(listed(""), ["a", "b", "c", "d"]);
    assert_eq!(listed("?limit=2"), ["a", "b"]);
    assert_eq!(listed("?limit=2&cursor=b"), ["c", "d"]);
    assert_eq!(listed("/out-of-stock"), ["a"]);
    assert_eq!(listed("/low-stock?threshold=3"), ["a", "b"]);
    assert_eq!(listed("/low-stock?threshold=0"), ["a"]);
    client
        .get("/api/v1/inventory/products/none")
        .expect_problem(404, "product_not_found");
}

#[test]
fn stock_is_received_and_written_off_but_never_what_is_promised() {
    let server = a4co_tests::Options::new()
        .flag("--sandbox-slow", "3s")
        .start();
    let client = server.client();
    client.stock("cup", 10);
    let path = "/api/v1/inventory/products/cup/adjustments";
    let adjust = |delta: i64| client.post(path, &json!({ "delta": delta, "reason": "count" }));
    let _ = adjust(5).expect(200);
    client.expect_stock("cup", 15, 0, 0);
    let placed = client.place(&Order::of(&[("cup", 4)]).paid_by("pm_card_slow"));
    let _ = client.in_saga_state(shop::id(&placed), &["PAYMENT_PROCESSING"]);
    adjust(-12).expect_problem(409, "stock_below_reserved");
    client.expect_stock("cup", 15, 4, 0);
    let _ = adjust(-11).expect(200);
    client.expect_stock("cup", 4, 4, 0);
    let _ = client.cancel(shop::id(&placed), "x").expect(200);
    let _ = client.ended(shop::id(&placed));
    client.expect_stock("cup", 4, 0, 0);
}
