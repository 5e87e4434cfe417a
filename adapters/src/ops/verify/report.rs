//! What a check of a data folder comes to, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use a4co_core::money::{Amount, Currency};
use serde::Serialize;

use super::findings::{FindingKind, Findings};

/// Findings that a person is shown.
const SHOWN_MAX: usize = 50;

/// What a check found, and what it did not look at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Whether a process was running on it.
    pub is_running: bool,
    /// The log's files.
    pub journal: JournalSummary,
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
    /// The store against the replay.
    pub store: Checked,
    /// The sandbox gateway's books against the payments.
    pub gateway_books: Checked,
    /// Everything that is wrong.
    pub findings: Findings,
}

/// The log's files.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalSummary {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Records replayed: those after the base.
    pub records_replayed: u64,
    /// Bytes of the records' payloads.
    pub payload_bytes: u64,
    /// The last record that was replayed; of a damaged log, the last one that is intact.
    pub last_sequence: u64,
    /// The record that the kept history begins after; 0: it is all there.
    pub base_sequence: u64,
    /// The chain hash after that record.
    pub chain_hash: String,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotSummary>,
    /// An unfinished record at the end, which was never acknowledged.
    pub torn_tail: Option<String>,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSummary {
    /// The record that it stands at.
    pub sequence: u64,
    /// Whether history before it was let go.
    pub is_base: bool,
    /// Whether the replay came to the same state; none where it was not compared: the base
    /// is what the replay begins with, and a snapshot may go while it is looked for.
    pub equals_replay: Option<bool>,
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

/// Whether a part was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Checked {
    /// It was; what differs is among the findings.
    Compared {
        /// Rows, or orders, that were looked at.
        items: u64,
        /// Of those, how many are older than the history that is kept, so that there was
        /// nothing to compare them with.
        without_history: u64,
    },
    /// It was not.
    NotChecked {
        /// Why not.
        why: String,
    },
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Orders in all.
    #[must_use]
    pub fn orders_total(&self) -> u64 {
        self.orders.values().sum()
    }
}

/// A table for people.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = if self.is_running {
            "a process is running on it"
        } else {
            "stopped"
        };
        line(
            f,
            "data folder",
            format_args!("{} ({running})", self.data_dir.display()),
        )?;
        self.write_journal(f)?;
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
        checked(f, "store", "rows", &self.store)?;
        checked(f, "gateway books", "orders", &self.gateway_books)?;
        self.write_findings(f)
    }
}

impl VerifyReport {
    fn write_journal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = &self.journal;
        let base = match journal.base_sequence {
            0 => String::new(),
            base => format!(", history kept after record {base}"),
        };
        let text = format_args!(
            "{} records in {} segments, {} bytes, the last is {}{base}",
            journal.records, journal.segments, journal.payload_bytes, journal.last_sequence
        );
        line(f, "journal", text)?;
        for one in &journal.snapshots {
            let how = match (one.equals_replay, one.is_base) {
                (Some(true), _) => "equals the replay",
                (Some(false), _) => "DIFFERS from the replay",
                (None, true) => "the replay began with it",
                (None, false) => "not compared",
            };
            line(
                f,
                "snapshot",
                format_args!("at record {}: {how}", one.sequence),
            )?;
        }
        if let Some(torn) = &journal.torn_tail {
            line(f, "unfinished end", format_args!("{torn}"))?;
        }
        Ok(())
    }

    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = &self.findings;
        if findings.is_empty() {
            return write!(f, "\nNothing is wrong with what was checked.");
        }
        writeln!(f, "\n{} found:", findings.total)?;
        for finding in findings.listed.iter().take(SHOWN_MAX) {
            let kind = match finding.kind {
                FindingKind::Damage => "damage    ",
                FindingKind::Difference => "difference",
            };
            writeln!(f, "  {kind}  {finding}")?;
        }
        let hidden = findings.total.saturating_sub(SHOWN_MAX as u64);
        if hidden > 0 {
            writeln!(f, "  … and {hidden} more (--json lists up to 1000)")?;
        }
        write!(
            f,
            "Keep a copy of the data folder. `a4co restore` puts a backup in its place; a store \
             that differs is rebuilt when its folder is moved away."
        )
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{name:<15} {text}")
}

fn counted(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    counts: &BTreeMap<&'static str, u64>,
) -> fmt::Result {
    let total: u64 = counts.values().sum();
    line(f, name, format_args!("{total}{}", Counts(counts)))
}

fn checked(f: &mut fmt::Formatter<'_>, name: &str, items: &str, checked: &Checked) -> fmt::Result {
    match checked {
        Checked::Compared {
            items: count,
            without_history: 0,
        } => line(f, name, format_args!("{count} {items} compared")),
        Checked::Compared {
            items: count,
            without_history,
        } => {
            let text = format_args!(
                "{count} {items} compared, but {without_history} that are older than the history \
                 kept"
            );
            line(f, name, text)
        }
        Checked::NotChecked { why } => line(f, name, format_args!("not checked: {why}")),
    }
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
