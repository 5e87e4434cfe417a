//! Many orders at once for stock that does not suffice.

use std::collections::BTreeMap;

use a4co_tests::{Order, Server, books, shop};

fn at_once(server: &Server, orders: usize, order: impl Fn(usize) -> Order + Sync) -> Vec<String> {
    std::thread::scope(|scope| {
        let order = &order;
        let placed: Vec<_> = (0..orders)
            .map(|number| {
                let client = server.client();
                scope.spawn(move || {
                    let ended = client.order(&order(number));
                    ended["status"].as_str().expect("a status").to_owned()
                })
            })
            .collect();
        let placed = placed.into_iter();
        placed
            .map(|order| order.join().expect("an order"))
            .collect()
    })
}

fn count(statuses: &[String], status: &str) -> usize {
    statuses.iter().filter(|it| *it == status).count()
}

#[test]
fn ten_orders_for_three_cups_sell_three() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 3);
    let statuses = at_once(&server, 10, |_| Order::of(&[("cup", 1)]));
    assert_eq!(count(&statuses, "CONFIRMED"), 3, "{statuses:?}");
    assert_eq!(count(&statuses, "FAILED"), 7, "{statuses:?}");
    client.expect_stock("cup", 0, 0, 3);
}

#[test]
fn crossed_orders_of_two_products_never_oversell_nor_hold_half() {
    let server = Server::start();
    let client = server.client();
    client.stock("left", 10);
    client.stock("right", 8);
    let statuses = at_once(&server, 24, |number| match number % 3 {
        0 => Order::of(&[("left", 2), ("right", 1)]),
        1 => Order::of(&[("right", 2), ("left", 1)]),
        _ => Order::of(&[("left", 1), ("right", 1)]).paid_by("pm_card_declined"),
    });
    assert!(count(&statuses, "CONFIRMED") > 0, "{statuses:?}");
    let received = BTreeMap::from([("left".to_owned(), 10), ("right".to_owned(), 8)]);
    let account = books::expect_to_agree(&client, &received);
    assert_eq!(account.by_status.values().sum::<u64>(), 24);
}

#[test]
fn what_one_order_gives_back_another_may_have() {
    let server = a4co_tests::Options::new()
        .flag("--sandbox-slow", "3s")
        .start();
    let client = server.client();
    client.stock("cup", 1);
    let first = client.place(&Order::of(&[("cup", 1)]).paid_by("pm_card_slow"));
    let _ = client.in_saga_state(shop::id(&first), &["PAYMENT_PROCESSING"]);
    let second = client.order(&Order::of(&[("cup", 1)]));
    assert_eq!(second["status"], "FAILED");
    let _ = client.cancel(shop::id(&first), "x").expect(200);
    let _ = client.ended(shop::id(&first));
    let third = client.order(&Order::of(&[("cup", 1)]));
    assert_eq!(third["status"], "CONFIRMED");
    client.expect_stock("cup", 0, 0, 1);
}
