//! `a4co reconcile`: asks the engine and the payment gateway, and shows what differs.
//!
//! Apart from the comparison, which asks nobody. What differs at the first look is looked
//! at once more: between the two looks payments go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use a4co_core::ids::OrderId;
use a4co_core::money::Currency;
use a4co_core::time::Timestamp;
use a4co_driver::ports::Clock as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::args::ReconcileFlags;
use super::client::{Client, Failure, end};
use super::{Exit, load, show};
use crate::config::{Config, GatewayChoice};
use crate::embedded::MonotonicClock;
use crate::gateway::sandbox::SandboxBooks;
use crate::gateway::stripe::{Booked, Stripe};
use crate::nats::{self, Connected, NatsConfig};
use crate::ops::{Ours, Reconciliation, compare};

/// A day, in seconds.
const DAY_S: u64 = 24 * 60 * 60;

/// How far around the period charges are looked for: an order's charge comes after it, by as
/// long as the order may wait, and Stripe's clock is another.
const AROUND_S: u64 = DAY_S;

/// Age from which a payment should not be open any more: far beyond the saga's own end.
const OPEN_S_MAX: u64 = 60 * 60;

/// Before the second look.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Runs `a4co reconcile`.
#[must_use]
pub fn run(flags: &ReconcileFlags, file: Option<&Path>, as_json: bool) -> Exit {
    let config = match load(&flags.settings, file) {
        Ok(effective) => effective.config,
        Err(error) => return end(Err(Failure::Usage(error.to_string())), as_json),
    };
    match carry_out(flags, &config) {
        Ok(report) => {
            let text = if as_json {
                serde_json::to_string(&report).unwrap_or_default()
            } else {
                report.to_string()
            };
            show(&format!("{text}\n"));
            if report.is_clean() {
                Exit::Done
            } else {
                Exit::Failed
            }
        }
        Err(failure) => end(Err(failure), as_json),
    }
}

fn carry_out(flags: &ReconcileFlags, config: &Config) -> Result<Reconciliation, Failure> {
    let now_s = MonotonicClock::not_before(Timestamp::UNIX_EPOCH)
        .now()
        .unix_ms()
        / 1000;
    // What was created within this very second counts.
    let to = flags.to.as_deref().map_or(Ok(now_s + 1), time)?;
    let from = flags
        .from
        .as_deref()
        .map_or(Ok(to.saturating_sub(DAY_S)), time)?;
    if from >= to {
        return Err(Failure::Usage("--from is not before --to".to_owned()));
    }
    let is_folder = flags
        .settings
        .given
        .iter()
        .any(|(key, _)| *key == "data_dir");
    let cluster = config.nats.journals().filter(|_| !is_folder);
    let mut sources = Sources {
        client: Client::new(&flags.client.url)?,
        books: Books::open(config, cluster.as_ref())?,
        now_s,
    };
    let mut theirs = sources.books.all(from, to)?;
    let mut ours = sources.payments(from, to)?;
    sources.complete(&mut ours, &mut theirs, (from, to))?;
    let mut report = report(&ours, &theirs);
    if !report.is_clean() {
        std::thread::sleep(BETWEEN_LOOKS);
        let differing: BTreeSet<String> = report
            .differences
            .iter()
            .filter_map(|difference| difference.order_id.clone())
            .collect();
        sources.look_again(&differing, &mut ours, &mut theirs)?;
        report = self::report(&ours, &theirs);
    }
    report.gateway = sources.books.name().to_owned();
    (report.from, report.to) = (shown(from), shown(to));
    Ok(report)
}

fn report(ours: &BTreeMap<OrderId, Ours>, theirs: &[Booked]) -> Reconciliation {
    let mut report = Reconciliation::default();
    let ours: Vec<Ours> = ours.values().cloned().collect();
    compare(&ours, theirs, &mut report);
    report
}

/// Both sides.
struct Sources {
    client: Client,
    books: Books,
    now_s: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderPage {
    data: Vec<Order>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: OrderId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    order_id: OrderId,
    status: String,
    amount: Box<RawValue>,
    refunded_amount: Box<RawValue>,
    currency: Currency,
    gateway: String,
    #[serde(default)]
    gateway_reference: Option<String>,
    refunds: Vec<Refund>,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct Refund {
    status: String,
}

impl Sources {
    /// The payments of all orders that were created in the period.
    fn payments(&self, from: u64, to: u64) -> Result<BTreeMap<OrderId, Ours>, Failure> {
        let (from, to) = (shown(from), shown(to));
        let mut payments = BTreeMap::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("limit", "100"),
                ("createdFrom", &*from),
                ("createdTo", &*to),
            ];
            query.extend(cursor.iter().map(|cursor| ("cursor", cursor.as_str())));
            let page: OrderPage = self.client.get(&["orders"], &query)?.read()?;
            for Order { order_id } in page.data {
                if let Some((ours, _)) = self.payment(order_id)? {
                    payments.insert(order_id, ours);
                }
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(payments),
            }
        }
    }

    /// The payment, and when it began; `None` for an order that has none.
    fn payment(&self, order_id: OrderId) -> Result<Option<(Ours, u64)>, Failure> {
        let asked = self
            .client
            .get(&["payments", "order", &order_id.to_string()], &[]);
        let payment: Payment = match asked {
            Ok(answer) => answer.read()?,
            Err(Failure::Refused { status: 404, .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        if payment.gateway != self.books.name() {
            let (has, wants) = (&payment.gateway, self.books.name());
            return Err(Failure::Usage(format!(
                "the server's payments go through {has}, and the settings here say {wants}: give this command the settings of the server"
            )));
        }
        let minor = |amount: &RawValue| {
            let amount = payment.currency.parse_amount(amount.get());
            amount.map_err(|error| Failure::Strange(error.to_string()))
        };
        let amount = minor(&payment.amount)?.minor();
        let is_captured = matches!(&*payment.status, "SUCCEEDED" | "REFUNDED");
        let is_owed = matches!(&*payment.status, "PENDING" | "PROCESSING")
            || payment
                .refunds
                .iter()
                .any(|refund| refund.status == "PENDING");
        let ours = Ours {
            order_id: payment.order_id,
            currency: payment.currency,
            captured_minor: if is_captured { amount } else { 0 },
            refunded_minor: minor(&payment.refunded_amount)?.minor(),
            reference: payment.gateway_reference,
            is_open: is_owed && self.is_recent(told(&payment.updated_at)?),
            status: payment.status,
        };
        Ok(Some((ours, told(&payment.created_at)?)))
    }

    fn is_recent(&self, at_s: u64) -> bool {
        self.now_s.saturating_sub(at_s) < OPEN_S_MAX
    }

    /// Fetches what only one side has so far, and leaves out what is of another period.
    fn complete(
        &self,
        ours: &mut BTreeMap<OrderId, Ours>,
        theirs: &mut Vec<Booked>,
        (from, to): (u64, u64),
    ) -> Result<(), Failure> {
        let there: BTreeSet<OrderId> = theirs.iter().filter_map(|it| it.order_id).collect();
        for payment in ours.values().filter(|it| it.captured_minor != 0) {
            if !there.contains(&payment.order_id)
                && let Some(reference) = &payment.reference
            {
                theirs.extend(self.books.one(payment.order_id, reference)?);
            }
        }
        for order_id in there {
            if ours.contains_key(&order_id) {
                continue;
            }
            if let Some((payment, began_s)) = self.payment(order_id)? {
                if (from..to).contains(&began_s) {
                    ours.insert(order_id, payment);
                } else {
                    theirs.retain(|booked| booked.order_id != Some(order_id));
                }
            }
        }
        Ok(())
    }

    fn look_again(
        &mut self,
        differing: &BTreeSet<String>,
        ours: &mut BTreeMap<OrderId, Ours>,
        theirs: &mut [Booked],
    ) -> Result<(), Failure> {
        if let Books::Cluster(books) = &mut self.books {
            books.copy()?;
        }
        for booked in theirs.iter_mut() {
            if let Some(order_id) = booked.order_id
                && differing.contains(&order_id.to_string())
                && let Some(present) = self.books.one(order_id, &booked.reference)?
            {
                *booked = present;
            }
        }
        for order_id in differing {
            let parsed = OrderId::parse(order_id).ok();
            if let Some(order_id) = parsed
                && let Some((payment, _)) = self.payment(order_id)?
            {
                ours.insert(order_id, payment);
            }
        }
        Ok(())
    }
}

/// The gateway's books.
enum Books {
    Sandbox(PathBuf),
    Cluster(Box<ClusterBooks>),
    Stripe(Stripe, Runtime),
}

/// The sandbox's books on the servers of a cluster, and a copy of them here.
struct ClusterBooks {
    runtime: Runtime,
    nats: Connected,
    copied: TempDir,
}

impl ClusterBooks {
    fn open(servers: &NatsConfig) -> Result<Self, Failure> {
        let runtime = Runtime::new().map_err(unread)?;
        let nats = runtime.block_on(nats::connect(servers, "a4co command line"));
        let mut books = Self {
            nats: nats.map_err(unread)?,
            runtime,
            copied: tempfile::tempdir().map_err(unread)?,
        };
        books.copy()?;
        Ok(books)
    }

    /// Copies them as they are now.
    fn copy(&mut self) -> Result<(), Failure> {
        let folder = tempfile::tempdir().map_err(unread)?;
        let copy = SandboxBooks::move_from(&self.nats, folder.path());
        if self.runtime.block_on(copy).map_err(unread)?.is_none() {
            return Err(Failure::Usage(format!(
                "the servers have no books of the sandbox: stream {} is not there, or empty",
                nats::SANDBOX_BOOKS
            )));
        }
        self.copied = folder;
        Ok(())
    }
}

impl Books {
    fn open(config: &Config, cluster: Option<&NatsConfig>) -> Result<Self, Failure> {
        match config.gateway {
            GatewayChoice::Sandbox => {
                if let Some(servers) = cluster {
                    return ClusterBooks::open(servers).map(|books| Self::Cluster(Box::new(books)));
                }
                let folder = config.data_dir.display();
                if SandboxBooks::read(&config.data_dir)
                    .map_err(unread)?
                    .is_none()
                {
                    return Err(Failure::Usage(format!(
                        "{folder} has no books of the sandbox: name the server's data folder with --data-dir, on the server's machine"
                    )));
                }
                Ok(Self::Sandbox(config.data_dir.clone()))
            }
            GatewayChoice::Stripe => {
                let runtime = Runtime::new().map_err(unread)?;
                let stripe = Stripe::reader(&config.stripe, runtime.handle().clone());
                Ok(Self::Stripe(stripe.map_err(unread)?, runtime))
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Sandbox(_) | Self::Cluster(_) => "sandbox",
            Self::Stripe(..) => crate::gateway::stripe::NAME,
        }
    }

    /// The sandbox's books know no times: what is of another period is left out later.
    fn all(&self, from: u64, to: u64) -> Result<Vec<Booked>, Failure> {
        match self {
            Self::Sandbox(folder) => all_in(folder),
            Self::Cluster(books) => all_in(books.copied.path()),
            Self::Stripe(stripe, runtime) => {
                let (from, to) = (from.saturating_sub(AROUND_S), to.saturating_add(AROUND_S));
                runtime.block_on(stripe.books(from, to)).map_err(unread)
            }
        }
    }

    fn one(&self, order_id: OrderId, reference: &str) -> Result<Option<Booked>, Failure> {
        match self {
            Self::Sandbox(folder) => one_in(folder, order_id).map(Some),
            Self::Cluster(books) => one_in(books.copied.path(), order_id).map(Some),
            Self::Stripe(stripe, runtime) => {
                let found = runtime.block_on(stripe.booked(reference)).map_err(unread)?;
                // One that names another order is none of this one's.
                Ok(found.filter(|booked| booked.order_id == Some(order_id)))
            }
        }
    }
}

fn all_in(folder: &Path) -> Result<Vec<Booked>, Failure> {
    let mut all = Vec::new();
    sandbox(folder)?
        .for_each_order(|order_id, books| all.push(sandboxed(order_id, books)))
        .map_err(unread)?;
    Ok(all)
}

fn one_in(folder: &Path, order_id: OrderId) -> Result<Booked, Failure> {
    let found = sandbox(folder)?.order(order_id).map_err(unread)?;
    Ok(sandboxed(order_id, &found))
}

/// The books as they are now.
fn sandbox(folder: &Path) -> Result<SandboxBooks, Failure> {
    let books = SandboxBooks::read(folder).map_err(unread)?;
    books.ok_or_else(|| unread("the sandbox's books are gone"))
}

fn sandboxed(order_id: OrderId, books: &crate::gateway::sandbox::OrderBooks) -> Booked {
    Booked {
        order_id: Some(order_id),
        reference: crate::gateway::sandbox::reference_of(order_id),
        currency: books.currency,
        captured_minor: books.captured_minor,
        authorised_minor: 0,
        refunded_minor: books.refunded_minor,
    }
}

/// The gateway does not tell: as a server that does not answer.
fn unread(error: impl std::fmt::Display) -> Failure {
    Failure::NoAnswer {
        reason: error.to_string(),
        key: None,
    }
}

fn seconds(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

fn shown(seconds: u64) -> String {
    Timestamp::from_unix_ms(seconds.saturating_mul(1000)).to_string()
}

/// A time of the server's.
fn told(text: &str) -> Result<u64, Failure> {
    time(text).map_err(|_| Failure::Strange(format!("{text} is no time")))
}

/// A time, or a day's beginning in UTC.
fn time(text: &str) -> Result<u64, Failure> {
    let time = text.parse::<jiff::Timestamp>().ok();
    let day = || format!("{text}T00:00:00Z").parse::<jiff::Timestamp>().ok();
    time.or_else(day).map(seconds).ok_or_else(|| {
        Failure::Usage(format!(
            "{text} is no time: write 2026-01-31 or 2026-01-31T08:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!(time("1970-01-02").ok(), Some(DAY_S));
        assert_eq!(time("1970-01-01T00:01:00Z").ok(), Some(60));
        assert_eq!(time("1970-01-01T01:01:00+01:00").ok(), Some(60));
        assert!(time("yesterday").is_err() && time("").is_err());
        assert_eq!(shown(60), "1970-01-01T00:01:00.000Z");
    }
}
