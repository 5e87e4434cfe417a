//! The generator's own books of the products it orders, and their comparison with the
//! server's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::BenchError;
use super::args::BenchArgs;
use super::connection::{Connection, Server};
use super::orders::Basket;

/// Connections that prepare and audit. Each product is made durable on its own, so a few at
/// once share a disk's flush.
const CONNECTIONS: usize = 64;
/// How long the server may take to let go of what it still holds when the load has ended.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
const SETTLE_LOOK_EVERY: Duration = Duration::from_millis(250);
/// Disagreements that are told in full.
const TOLD_MAX: usize = 10;

/// A product's stock as the server tells it, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stock {
    on_hand_quantity: u64,
    available_quantity: u64,
    reserved_quantity: u64,
    sold_quantity: u64,
}

/// One product in the generator's books, in units.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// What the server said before the load.
    opening: Stock,
    /// Sold since, as the clients were told.
    sold: u64,
    /// Of orders without a known end.
    perhaps: u64,
}

/// The books. All clients are on one thread.
pub(super) struct Books {
    prefix: String,
    entries: RefCell<Vec<Entry>>,
}

/// How the books compare, in units over all products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Audit {
    /// Everything agrees.
    pub(super) agree: bool,
    /// Products that were looked at.
    pub(super) products: usize,
    /// Sold as the clients were told.
    pub(super) sold_by_clients: u64,
    /// Of orders whose end the clients never learnt.
    pub(super) perhaps_sold: u64,
    /// Sold as the server tells it.
    pub(super) sold_by_server: u64,
    /// Still held for orders.
    pub(super) reserved: u64,
    /// On hand and sold together, after less before: none may appear or vanish.
    pub(super) appeared: i128,
    /// What does not agree, product by product; the first few.
    pub(super) disagreements: Vec<String>,
}

impl Books {
    /// Makes the products, and opens an entry for each.
    pub(super) async fn open(server: &Server, args: &BenchArgs) -> Result<Self, BenchError> {
        let (prefix, stock) = (args.prefix.clone(), args.stock);
        let opening = for_each(server, args.products, move |mut connection, number| {
            let path = path(&prefix, number);
            // Prices differ, so that a sum of money that is wrong has a chance to show.
            let cents = 500 + number % 10_000;
            let (euros, cents) = (cents / 100, cents % 100);
            let body = format!(
                r#"{{"name":"Load {number}","price":{euros}.{cents:02},"currency":"EUR","onHandQuantity":{stock}}}"#
            );
            async move {
                let answer = connection.put(&path, body).await?;
                if !answer.status.is_success() {
                    return Err(BenchError::Refused {
                        what: format!("PUT {path}"),
                        status: answer.status.as_u16(),
                        body: answer.text(),
                    });
                }
                Ok((connection, answer.json::<Stock>()?))
            }
        })
        .await?;
        let entries = opening.into_iter().map(|opening| Entry {
            opening,
            sold: 0,
            perhaps: 0,
        });
        Ok(Self {
            prefix: args.prefix.clone(),
            entries: RefCell::new(entries.collect()),
        })
    }

    /// A client was told that this is sold.
    pub(super) fn sold(&self, basket: &Basket) {
        let mut entries = self.entries.borrow_mut();
        for (product, units) in basket.lines() {
            entries[product as usize].sold += u64::from(units);
        }
    }

    /// A client does not know whether this is sold.
    pub(super) fn perhaps_sold(&self, basket: &Basket) {
        let mut entries = self.entries.borrow_mut();
        for (product, units) in basket.lines() {
            entries[product as usize].perhaps += u64::from(units);
        }
    }

    /// Compares with the server's books, once it holds nothing any more.
    pub(super) async fn audit(&self, server: &Server) -> Result<Audit, BenchError> {
        let deadline = Instant::now() + SETTLES_WITHIN;
        loop {
            let closing = self.closing(server).await?;
            let audit = compare(&self.prefix, &self.entries.borrow(), &closing);
            if audit.agree || Instant::now() > deadline {
                return Ok(audit);
            }
            tokio::time::sleep(SETTLE_LOOK_EVERY).await;
        }
    }

    async fn closing(&self, server: &Server) -> Result<Vec<Stock>, BenchError> {
        let prefix = self.prefix.clone();
        let products = u32::try_from(self.entries.borrow().len()).unwrap_or(u32::MAX);
        for_each(server, products, move |mut connection, number| {
            let path = path(&prefix, number);
            async move {
                let answer = connection.get(&path).await?;
                let stock = answer.json::<Stock>()?;
                Ok((connection, stock))
            }
        })
        .await
    }
}

fn path(prefix: &str, number: u32) -> String {
    format!("/api/v1/inventory/products/{prefix}{}", number + 1)
}

/// Asks about every product over a few connections, and returns the answers in order.
async fn for_each<F, A>(server: &Server, products: u32, ask: F) -> Result<Vec<Stock>, BenchError>
where
    F: Fn(Connection, u32) -> A + 'static,
    A: Future<Output = Result<(Connection, Stock), BenchError>> + 'static,
{
    let ask = Rc::new(ask);
    let mut tasks = JoinSet::new();
    for first in 0..products.min(u32::try_from(CONNECTIONS).unwrap_or(1)) {
        let (ask, server) = (ask.clone(), server.clone());
        tasks.spawn_local(async move {
            let mut connection = server.connection();
            let mut answers = Vec::new();
            for number in (first..products).step_by(CONNECTIONS) {
                let (returned, stock) = ask(connection, number).await?;
                connection = returned;
                answers.push((number, stock));
            }
            Ok::<_, BenchError>(answers)
        });
    }
    let mut answers = Vec::with_capacity(products as usize);
    while let Some(of_task) = tasks.join_next().await {
        answers.extend(of_task.map_err(|_| BenchError::Panicked)??);
    }
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, stock)| stock).collect())
}

fn compare(prefix: &str, entries: &[Entry], closing: &[Stock]) -> Audit {
    let mut audit = Audit {
        agree: entries.len() == closing.len(),
        products: closing.len(),
        sold_by_clients: 0,
        perhaps_sold: 0,
        sold_by_server: 0,
        reserved: 0,
        appeared: 0,
        disagreements: Vec::new(),
    };
    for (number, (entry, closing)) in (1..).zip(entries.iter().zip(closing)) {
        let whole =
            |stock: &Stock| i128::from(stock.on_hand_quantity) + i128::from(stock.sold_quantity);
        let appeared = whole(closing) - whole(&entry.opening);
        let sold = i128::from(closing.sold_quantity) - i128::from(entry.opening.sold_quantity);
        let told = i128::from(entry.sold)..=i128::from(entry.sold) + i128::from(entry.perhaps);
        audit.sold_by_clients += entry.sold;
        audit.perhaps_sold += entry.perhaps;
        audit.sold_by_server += u64::try_from(sold).unwrap_or(0);
        audit.reserved += closing.reserved_quantity;
        audit.appeared += appeared;
        let split =
            closing.available_quantity + closing.reserved_quantity == closing.on_hand_quantity;
        if appeared == 0 && told.contains(&sold) && closing.reserved_quantity == 0 && split {
            continue;
        }
        audit.agree = false;
        if audit.disagreements.len() < TOLD_MAX {
            let Stock {
                on_hand_quantity: on_hand,
                reserved_quantity: reserved,
                ..
            } = closing;
            audit.disagreements.push(format!(
                "{prefix}{number}: {sold} sold where the clients were told of {} and {} more are possible; {appeared} appeared; {reserved} of {on_hand} on hand still reserved",
                entry.sold, entry.perhaps
            ));
        }
    }
    audit
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stock(on_hand: u64, reserved: u64, sold: u64) -> Stock {
        Stock {
            on_hand_quantity: on_hand,
            available_quantity: on_hand - reserved,
            reserved_quantity: reserved,
            sold_quantity: sold,
        }
    }

    #[track_caller]
    fn check(sold: u64, perhaps: u64, closing: Stock, agree: bool) {
        let opening = stock(10, 0, 5);
        let entry = Entry {
            opening,
            sold,
            perhaps,
        };
        let audit = compare("p", &[entry], &[closing]);
        assert_eq!(audit.agree, agree, "{audit:?}");
        assert_eq!(audit.disagreements.is_empty(), agree);
    }

    #[test]
    fn every_unit_is_accounted_for() {
        check(0, 0, stock(10, 0, 5), true);
        check(3, 0, stock(7, 0, 8), true);
        // Sold and not told of; told of and not sold.
        check(2, 0, stock(7, 0, 8), false);
        check(4, 0, stock(7, 0, 8), false);
        // What is not known may go either way, and no further.
        check(2, 1, stock(7, 0, 8), true);
        check(3, 2, stock(7, 0, 8), true);
        check(1, 1, stock(7, 0, 8), false);
        // Vanished, appeared, still held.
        check(3, 0, stock(6, 0, 8), false);
        check(3, 0, stock(8, 0, 8), false);
        check(3, 0, stock(7, 1, 8), false);
    }
}
