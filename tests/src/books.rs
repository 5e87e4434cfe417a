//! Accounts of a whole shop, drawn up from what any client can read, and compared with
//! each other: nothing sold that was not ordered, nothing charged that was not sold.
//!
//! An auditor of its own on purpose: it shares nothing with the product's invariants.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::Client;
use crate::server::{Options, run};
use crate::shop;

/// What the orders of a shop come to.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Orders by status.
    pub by_status: BTreeMap<String, u64>,
    /// Units of confirmed orders by product.
    pub sold: BTreeMap<String, u64>,
}

/// Fails unless all books of the shop agree, once every order has ended. `received` is
/// what each product was stocked with.
///
/// # Panics
/// When they do not agree.
#[track_caller]
pub fn expect_to_agree(client: &Client, received: &BTreeMap<String, u64>) -> Account {
    let mut account = Account::default();
    for order in client.all_orders("") {
        let order_id = shop::id(&order);
        // What the list shows is what the order itself shows.
        let order = client.ended(order_id);
        let status = order["status"].as_str().expect("a status").to_owned();
        expect_parts_to_agree(client, &order, &status);
        if status == "CONFIRMED" {
            for (product, units) in lines(&order) {
                *account.sold.entry(product).or_default() += units;
            }
        }
        *account.by_status.entry(status).or_default() += 1;
    }
    for (product, received) in received {
        let sold = account.sold.get(product).copied().unwrap_or(0);
        assert!(sold <= *received, "{product}: oversold");
        client.expect_stock(product, received - sold, 0, sold);
    }
    account
}

/// An order's reservation and payment must be what its status says.
#[track_caller]
fn expect_parts_to_agree(client: &Client, order: &Value, status: &str) {
    let order_id = shop::id(order);
    let reservation = client.reservation(order_id);
    let payment = client.payment(order_id);
    let part = |answer: &crate::Answer| match answer.status {
        200 => answer.json()["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        404 => "NONE".to_owned(),
        _ => format!("{answer:?}"),
    };
    let (held, paid) = (part(&reservation), part(&payment));
    let agree = match status {
        "CONFIRMED" => held == "CONFIRMED" && matches!(paid.as_str(), "SUCCEEDED" | "REFUNDED"),
        "FAILED" => held == "NONE" && paid == "NONE",
        "CANCELLED" => {
            matches!(held.as_str(), "RELEASED" | "EXPIRED" | "NONE")
                && matches!(paid.as_str(), "FAILED" | "CANCELLED" | "REFUNDED" | "NONE")
        }
        _ => false,
    };
    assert!(agree, "reservation {held}, payment {paid} of {order}");
    if payment.status == 200 {
        let payment = payment.json();
        assert_eq!(
            payment["amount"], order["totalAmount"],
            "{payment} of {order}"
        );
        if paid == "REFUNDED" {
            assert_eq!(payment["refundedAmount"], payment["amount"], "{payment}");
        }
    }
}

fn lines(order: &Value) -> Vec<(String, u64)> {
    let items = order["items"].as_array().expect("an order's items");
    items
        .iter()
        .map(|item| {
            let product = item["productId"].as_str().expect("a product's id");
            (
                product.to_owned(),
                item["quantity"].as_u64().expect("a quantity"),
            )
        })
        .collect()
}

/// Fails unless `a4co verify` finds journal, store, invariants and the sandbox gateway's
/// books in order. For a server that has stopped.
///
/// # Panics
/// When it finds something.
#[track_caller]
pub fn expect_verified(options: &Options) {
    let data = options.data_dir().to_string_lossy().into_owned();
    let output = run(&["verify", "--data-dir", &data]);
    assert!(
        output.status.success(),
        "a4co verify: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
