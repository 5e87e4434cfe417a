//! `a4co order`: get, list, cancel, retry, write-off.
//!
//! Apart from the client: here is what is asked, and how an order looks to people.

use a4co_core::ids::OrderId;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Exit;
use super::args::OrderCommand;
use super::client::{Asked, Client, Failure, end};
use super::complain;
use super::table::Table;

/// Carries out `a4co order …`.
#[must_use]
pub fn run(command: &OrderCommand, as_json: bool) -> Exit {
    end(carry_out(command, as_json), as_json)
}

fn carry_out(command: &OrderCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        OrderCommand::Get { order_id, client } => {
            let client = Client::new(&client.url)?;
            client
                .get(&["orders", order_id], &[])?
                .print(as_json, picture)
        }
        OrderCommand::List {
            client,
            cursor,
            all,
            ..
        } => {
            let client = Client::new(&client.url)?;
            list(&client, command, cursor.clone(), *all, as_json)
        }
        OrderCommand::Cancel {
            order_id,
            reason,
            wait,
            key,
            client,
        } => {
            let client = Client::new(&client.url)?;
            let asked = Asked {
                wait_s: *wait,
                ..Asked::under(key.idempotency_key.as_deref())
            };
            let body = serde_json::json!({ "reason": reason }).to_string();
            client
                .post(&["orders", order_id, "cancel"], &body, &asked)?
                .print(as_json, picture)
        }
        OrderCommand::Retry {
            order_id,
            key,
            client,
        } => {
            let client = Client::new(&client.url)?;
            let asked = Asked::under(key.idempotency_key.as_deref());
            client
                .post(&["orders", order_id, "retry"], "{}", &asked)?
                .print(as_json, picture)
        }
        OrderCommand::WriteOff {
            order_id,
            key,
            client,
        } => {
            let client = Client::new(&client.url)?;
            let asked = Asked::under(key.idempotency_key.as_deref());
            // What is no order's id, the server says.
            let payment = OrderId::parse(order_id)
                .map_or_else(|_| order_id.clone(), |id| id.payment_id().to_string());
            client.post(&["payments", &payment, "write-off"], "{}", &asked)?;
            client
                .get(&["orders", order_id], &[])?
                .print(as_json, picture)
        }
    }
}

fn list(
    client: &Client,
    command: &OrderCommand,
    mut cursor: Option<String>,
    all: bool,
    as_json: bool,
) -> Result<(), Failure> {
    loop {
        let query = query_of(command, cursor.as_deref());
        let query: Vec<(&str, &str)> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let answer = client.get(&["orders"], &query)?;
        answer.print(as_json, page)?;
        cursor = answer.read::<Page>()?.next_cursor;
        match &cursor {
            Some(_) if all => {}
            Some(next) if !as_json => {
                complain(&format!(
                    "There are more: add --cursor {next}, or --all for every one."
                ));
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}

fn query_of(command: &OrderCommand, cursor: Option<&str>) -> Vec<(&'static str, String)> {
    let OrderCommand::List {
        status,
        customer,
        created_from,
        created_to,
        limit,
        ..
    } = command
    else {
        return Vec::new();
    };
    let optional = [
        ("status", status.as_deref()),
        ("customerId", customer.as_deref()),
        ("createdFrom", created_from.as_deref()),
        ("createdTo", created_to.as_deref()),
        ("cursor", cursor),
    ];
    let given = optional
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.to_owned())));
    given.chain([("limit", limit.to_string())]).collect()
}

/// An order, as far as people are shown it. Amounts stay the tokens that they came as.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    customer_id: String,
    status: String,
    saga_state: String,
    #[serde(default)]
    items: Vec<Item>,
    total_amount: Box<RawValue>,
    currency: String,
    payment_method_id: Option<String>,
    reservation_id: Option<String>,
    payment_id: Option<String>,
    failure_reason: Option<String>,
    cancellation_reason: Option<String>,
    #[serde(default)]
    parked: bool,
    created_at: String,
    updated_at: Option<String>,
    #[serde(default)]
    history: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: String,
    quantity: u64,
    price: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Step {
    at: String,
    state: String,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    data: Vec<Order>,
    next_cursor: Option<String>,
}

fn picture(order: &Order) -> String {
    let mut facts = Table::new(&[], &[]);
    facts.row(["Order", &order.order_id]);
    facts.row(["Customer", &order.customer_id]);
    facts.row([
        "Status",
        &format!("{} (saga {})", order.status, order.saga_state),
    ]);
    facts.row([
        "Total",
        &format!("{} {}", order.total_amount, order.currency),
    ]);
    facts.row(["Created", &order.created_at]);
    let optional = [
        ("Updated", &order.updated_at),
        ("Method", &order.payment_method_id),
        ("Reservation", &order.reservation_id),
        ("Payment", &order.payment_id),
        ("Failed", &order.failure_reason),
        ("Cancelled", &order.cancellation_reason),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            facts.row([name, value]);
        }
    }
    if order.parked {
        let hint = format!("yes; `a4co order retry {}` tries again now", order.order_id);
        facts.row(["Parked", &hint]);
    }
    let mut items = Table::new(&["PRODUCT", "QUANTITY", "PRICE"], &[1, 2]);
    for item in &order.items {
        let price = item.price.as_ref().map_or("", |price| price.get());
        items.row([&item.product_id, &item.quantity.to_string(), price]);
    }
    let mut history = Table::new(&["AT", "STATE", "WHAT"], &[]);
    for step in &order.history {
        history.row([&step.at, &step.state, step.detail.as_deref().unwrap_or("")]);
    }
    format!(
        "{}\n{}\n{}",
        facts.render(),
        items.render(),
        history.render()
    )
}

fn page(page: &Page) -> String {
    if page.data.is_empty() {
        return "No orders.\n".to_owned();
    }
    let head = [
        "ORDER", "CREATED", "STATUS", "SAGA", "CUSTOMER", "TOTAL", "", "",
    ];
    let mut table = Table::new(&head, &[5]);
    for order in &page.data {
        table.row([
            &order.order_id,
            &order.created_at,
            &order.status,
            &order.saga_state,
            &order.customer_id,
            order.total_amount.get(),
            &order.currency,
            if order.parked { "parked" } else { "" },
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"orderId":"019a","customerId":"c-1","status":"PENDING",
        "sagaState":"COMPENSATING","items":[{"productId":"tea","quantity":2,"price":1.50}],
        "totalAmount":3.00,"currency":"EUR","parked":true,"paymentId":"pay_019a",
        "createdAt":"2026-01-01T00:00:00.000Z","cancellationReason":"changed\u0007",
        "history":[{"at":"2026-01-01T00:00:00.000Z","state":"STARTED","detail":"order accepted"}]}"#;

    #[test]
    fn an_order_for_people() {
        let order: Order = serde_json::from_str(ORDER).expect("an order");
        let wanted = "\
Order      019a
Customer   c-1
Status     PENDING (saga COMPENSATING)
Total      3.00 EUR
Created    2026-01-01T00:00:00.000Z
Payment    pay_019a
Cancelled  changed\\u{7}
Parked     yes; `a4co order retry 019a` tries again now

PRODUCT  QUANTITY  PRICE
tea             2   1.50

AT                        STATE    WHAT
2026-01-01T00:00:00.000Z  STARTED  order accepted
";
        assert_eq!(picture(&order), wanted);
    }

    #[test]
    fn a_page_for_people() {
        let json = format!(r#"{{"data":[{ORDER}],"nextCursor":null}}"#);
        let wanted = "\
ORDER  CREATED                   STATUS   SAGA          CUSTOMER  TOTAL
019a   2026-01-01T00:00:00.000Z  PENDING  COMPENSATING  c-1        3.00  EUR  parked
";
        assert_eq!(page(&serde_json::from_str(&json).expect("a page")), wanted);
        let empty = Page {
            data: Vec::new(),
            next_cursor: None,
        };
        assert_eq!(page(&empty), "No orders.\n");
    }
}
