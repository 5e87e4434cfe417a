//! The options of `a4co bench`.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// Loads a running server with orders, reports latencies, and audits the stock afterwards.
///
/// It makes products of its own (`bench-1` and so on), and counts on being the only one who
/// orders them.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// The server to load
    #[arg(long, env = "A4CO_URL", default_value = "http://127.0.0.1:3004")]
    pub url: String,
    /// Clients, each with one connection and one order at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Open loop: this many orders a second are due, whether or not earlier ones have ended;
    /// latency counts from when an order was due
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// What is ordered
    #[arg(long, value_enum, default_value = "uniform")]
    pub workload: Workload,
    /// Products to order from
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub products: u32,
    /// Units that each product has at the start; fewer than are asked for give orders that
    /// fail for want of stock
    #[arg(long, value_name = "UNITS", default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(..=1_000_000_000_000))]
    pub stock: u64,
    /// How the products' ids begin
    #[arg(long, default_value = "bench-")]
    pub prefix: String,
    /// Payment method of every order, such as pm_card_slow; none by default
    #[arg(long, value_name = "ID")]
    pub payment_method: Option<String>,
    /// Time before the measurement, such as 3s
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    pub warmup: Duration,
    /// Time of the measurement, such as 20s or 1m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub duration: Duration,
    /// Of the random choices; the same seed orders the same
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The report as one JSON object; the global flag sets it
    #[arg(skip)]
    pub json: bool,
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// 1 to 3 lines of distinct products, each as likely as the next
    Uniform,
    /// 1 to 3 lines, the first always of the same product
    Hot,
    /// 1 line, always of the same product
    HotOnly,
}

impl BenchArgs {
    /// What clap cannot see: how the options fit together.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.duration.is_zero() {
            return Err("--duration must be above zero".to_owned());
        }
        // An order has up to three distinct products.
        if self.products < 3 && self.workload != Workload::HotOnly {
            return Err(format!(
                "--products {} is too few for orders of up to three lines: give at least 3, or --workload hot-only",
                self.products
            ));
        }
        Ok(())
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "write a time with its unit, such as 500ms, 10s or 2m".to_owned())?;
    let time = Duration::try_from(time).map_err(|_| "must not be below zero".to_owned())?;
    if time > Duration::from_secs(24 * 60 * 60) {
        return Err("must be at most a day".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<BenchArgs, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.bench.check()?;
        Ok(line.bench)
    }

    #[test]
    fn options_are_read_with_their_units() {
        let args = parse("--warmup 500ms --duration 1m --rate 300 --workload hot-only").unwrap();
        assert_eq!(args.warmup, Duration::from_millis(500));
        assert_eq!(args.duration, Duration::from_secs(60));
        assert_eq!(args.rate, Some(300));
        assert_eq!(args.workload, Workload::HotOnly);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--clients 0",
            "--rate 0",
            "--duration 10",
            "--duration 0s",
            "--duration=-5s",
            "--warmup 2d",
            "--products 2",
            "--workload sideways",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--products 1 --workload hot-only").is_ok());
    }
}
