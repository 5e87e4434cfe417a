//! What journals replay to, counted and summed: the part of a report that does not depend
//! on where the journals are kept.

use std::collections::BTreeMap;
use std::fmt;

use a4co_core::invariants::leaked_units;
use a4co_core::inventory::Product;
use a4co_core::money::{Amount, Currency};
use a4co_core::time::Timestamp;
use serde::Serialize;

use super::replay::Replay;
use super::report::line;
use super::totals::Totals;

/// Everything that was replayed, counted and summed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// Events replayed, by journal.
    pub events: EventCounts,
    /// The time of the newest event, in RFC 3339.
    pub last_event_at: Option<String>,
    /// Orders, by status.
    pub orders: BTreeMap<&'static str, u64>,
    /// Orders, by the state of their saga.
    pub sagas: BTreeMap<&'static str, u64>,
    /// Sagas that wait for an operator.
    pub parked: u64,
    /// Reservations, by status.
    pub reservations: BTreeMap<&'static str, u64>,
    /// Payments, by status.
    pub payments: BTreeMap<&'static str, u64>,
    /// All products together.
    pub stock: StockSummary,
    /// By currency.
    pub money: BTreeMap<String, MoneySums>,
}

/// Events, by journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EventCounts {
    /// Of the order journal.
    pub order: u64,
    /// Of the inventory journal.
    pub inventory: u64,
    /// Of the payment journal.
    pub payment: u64,
}

/// All products together, in units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StockSummary {
    /// How many products.
    pub products: u64,
    /// Units on hand.
    pub on_hand: u128,
    /// Units promised to orders under way.
    pub reserved: u128,
    /// Units sold.
    pub sold: u128,
    /// Units received, less those written off.
    pub received: i128,
    /// On hand + sold - received.
    pub leaked: i128,
}

/// Money of one currency, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoneySums {
    /// The totals of the confirmed orders.
    pub confirmed_orders_minor: i128,
    /// Captured in all.
    pub captured_minor: i128,
    /// Given back.
    pub refunded_minor: i128,
    /// Refunds that are under way.
    pub refunds_owed_minor: i128,
}

impl Contents {
    /// What a replay has come to.
    pub(in crate::ops) fn of(replay: &Replay) -> Self {
        let products = replay.host.inventory().state().products.values();
        let products = products.map(AsRef::as_ref);
        Self::sum(
            replay.events,
            replay.last_event_at,
            &replay.totals,
            products,
        )
    }

    pub(super) fn sum<'p>(
        events: EventCounts,
        at: Timestamp,
        totals: &Totals,
        products: impl Iterator<Item = &'p Product>,
    ) -> Self {
        let mut stock = StockSummary::default();
        for product in products {
            stock.products += 1;
            stock.on_hand += u128::from(product.on_hand);
            stock.reserved += u128::from(product.reserved);
            stock.sold += u128::from(product.sold);
            stock.received += i128::from(product.received);
            stock.leaked += leaked_units(product);
        }
        Self {
            events,
            last_event_at: (at != Timestamp::UNIX_EPOCH).then(|| at.to_string()),
            orders: named(&totals.by_status, |status| status.name()),
            sagas: named(&totals.by_saga, |saga| saga.name()),
            parked: totals.parked,
            reservations: named(&totals.reservations, |status| {
                status.name().unwrap_or("OUT_OF_STOCK")
            }),
            payments: named(&totals.payments, |status| status.name()),
            stock,
            money: (totals.money.iter())
                .map(|(currency, sums)| (currency.to_string(), *sums))
                .collect(),
        }
    }

    /// Orders in all.
    #[must_use]
    pub fn orders_total(&self) -> u64 {
        self.orders.values().sum()
    }
}

fn named<K>(
    counts: &BTreeMap<K, u64>,
    name: impl Fn(&K) -> &'static str,
) -> BTreeMap<&'static str, u64> {
    let there = counts.iter().filter(|(_, count)| **count > 0);
    there.map(|(key, count)| (name(key), *count)).collect()
}

/// Some lines of a table for people.
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventCounts {
            order,
            inventory,
            payment,
        } = self.events;
        let events = format_args!("{order} order, {inventory} inventory, {payment} payment");
        line(f, "events", events)?;
        let at = self.last_event_at.as_deref().unwrap_or("none");
        line(f, "last event at", format_args!("{at}"))?;
        let parked = match self.parked {
            0 => String::new(),
            parked => format!("; {parked} parked"),
        };
        let orders = format_args!("{}{}{parked}", self.orders_total(), Counts(&self.orders));
        line(f, "orders", orders)?;
        counted(f, "reservations", &self.reservations)?;
        counted(f, "payments", &self.payments)?;
        let stock = &self.stock;
        let units = format_args!(
            "{} products; {} on hand ({} reserved), {} sold, {} received, {} leaked",
            stock.products, stock.on_hand, stock.reserved, stock.sold, stock.received, stock.leaked
        );
        line(f, "stock", units)?;
        for (currency, sums) in &self.money {
            let major = |minor| major(currency, minor);
            let text = format_args!(
                "{currency} {} captured, {} refunded, {} of refunds under way; {} in confirmed \
                 orders",
                major(sums.captured_minor),
                major(sums.refunded_minor),
                major(sums.refunds_owed_minor),
                major(sums.confirmed_orders_minor)
            );
            line(f, "money", text)?;
        }
        Ok(())
    }
}

fn counted(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    counts: &BTreeMap<&'static str, u64>,
) -> fmt::Result {
    let total: u64 = counts.values().sum();
    line(f, name, format_args!("{total}{}", Counts(counts)))
}

/// `: 3 CONFIRMED, 1 FAILED`.
struct Counts<'c>(&'c BTreeMap<&'static str, u64>);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.0.iter().enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(f, "{before}{count} {name}")?;
        }
        Ok(())
    }
}

/// In major units, where the sum is one that an amount can have.
fn major(currency: &str, minor: i128) -> String {
    let amount = i64::try_from(minor)
        .ok()
        .and_then(|minor| Amount::from_minor(minor).ok());
    match (Currency::parse(currency), amount) {
        (Ok(currency), Some(amount)) => currency.format_amount(amount),
        _ => format!("{minor} minor units"),
    }
}
