//! The report of a run: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::args::{BenchArgs, Workload};
use super::books::Audit;
use super::tally::Tally;

/// A run's figures. Times in milliseconds unless the name says otherwise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    #[serde(rename = "loop")]
    kind: &'static str,
    clients: u32,
    rate: Option<u32>,
    workload: Workload,
    products: u32,
    warmup_s: f64,
    duration_s: f64,
    orders_per_s: f64,
    latency_ms: Latency,
    by_status: BTreeMap<String, u64>,
    sent_late: u64,
    errors: BTreeMap<String, u64>,
    first_error: Option<String>,
    /// `null` when the server could not be asked.
    books: Option<Audit>,
    books_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, tally: &Tally, audit: Result<Audit, String>) -> Self {
        let (books, books_error) = match audit {
            Ok(audit) => (Some(audit), None),
            Err(error) => (None, Some(error)),
        };
        let duration_s = args.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a day's orders fit")]
        let orders_per_s = tally.ended_in_time as f64 / duration_s;
        Self {
            kind: if args.rate.is_some() {
                "open"
            } else {
                "closed"
            },
            clients: args.clients,
            rate: args.rate,
            workload: args.workload,
            products: args.products,
            warmup_s: args.warmup.as_secs_f64(),
            duration_s,
            orders_per_s,
            latency_ms: Latency {
                count: tally.latencies(),
                mean: tally.mean_ms(),
                p50: tally.quantile_ms(0.5),
                p90: tally.quantile_ms(0.9),
                p99: tally.quantile_ms(0.99),
                p999: tally.quantile_ms(0.999),
                max: tally.max_ms(),
            },
            by_status: tally.by_status.clone(),
            sent_late: tally.sent_late,
            errors: tally.errors.clone(),
            first_error: tally.first_error.clone(),
            books,
            books_error,
        }
    }

    /// No order met an error, and every unit is accounted for.
    pub(super) fn is_good(&self) -> bool {
        self.errors.is_empty() && self.books.as_ref().is_some_and(|books| books.agree)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.latency_ms;
        match self.rate {
            Some(rate) => write!(
                f,
                "open loop, {rate} orders/s due, {} clients",
                self.clients
            )?,
            None => write!(f, "closed loop, {} clients", self.clients)?,
        }
        writeln!(
            f,
            ", {} over {} products, {} s after {} s of warm-up",
            match self.workload {
                Workload::Uniform => "uniform",
                Workload::Hot => "hot",
                Workload::HotOnly => "hot-only",
            },
            self.products,
            self.duration_s,
            self.warmup_s
        )?;
        writeln!(f, "  throughput  {:.0} orders/s", self.orders_per_s)?;
        let from = if self.rate.is_some() {
            "from when it was due"
        } else {
            "from when it was sent"
        };
        writeln!(
            f,
            "  latency     p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}  mean {:.2} ms, to the order's end, {from}",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.mean
        )?;
        writeln!(f, "  ended       {}", counts(&self.by_status))?;
        if self.sent_late > 0 {
            writeln!(
                f,
                "  sent late   {}: no client was free, or the machine was busy; the latency includes that",
                self.sent_late
            )?;
        }
        writeln!(f, "  errors      {}", counts(&self.errors))?;
        if let Some(error) = &self.first_error {
            writeln!(f, "              first: {error}")?;
        }
        if let Some(error) = &self.books_error {
            writeln!(f, "  books       NOT AUDITED: {error}")?;
        }
        let Some(books) = &self.books else {
            return Ok(());
        };
        let verdict = if books.agree { "agree" } else { "DO NOT AGREE" };
        writeln!(
            f,
            "  books       {verdict}: {} products; sold {} by the server, {} by the clients; {} reserved; {} units appeared",
            books.products,
            books.sold_by_server,
            books.sold_by_clients,
            books.reserved,
            books.appeared
        )?;
        for disagreement in &books.disagreements {
            writeln!(f, "              {disagreement}")?;
        }
        Ok(())
    }
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}
