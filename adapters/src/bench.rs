//! `a4co bench`: a load generator that talks to a running server over HTTP, and audits the
//! server's stock when it is done.
//!
//! A closed loop by default: each client places an order, waits for its end and places the
//! next. With `--rate` an open loop: orders are due on a schedule, and latency counts from
//! when an order was due and not from when a client was free to send it. So a server that
//! stalls is charged with every order that it kept from being sent (the correction for
//! coordinated omission), and not with one order a client.
//!
//! It shares a machine with what it measures, so it is thrifty: one thread, one connection
//! a client, and nothing of an answer is read but its id and its state.

mod args;
mod books;
mod clients;
pub(crate) mod connection;
mod orders;
mod report;
mod tally;

use std::cell::Cell;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{JoinSet, LocalSet};

pub use self::args::{BenchArgs, Workload};
use self::books::Books;
use self::clients::{Schedule, Shared};
use self::connection::{AskError, BadUrl, Server};
use self::report::Report;
use self::tally::Tally;

/// Why there was no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The URL is not one.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The combination of options makes no sense.
    #[error("{0}")]
    Options(String),
    /// The server cannot be asked.
    #[error("{0}")]
    Ask(#[from] AskError),
    /// The server does not do what it is asked.
    #[error("{what}: {status} {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        body: String,
    },
    /// No threads, no sockets, or the output is closed.
    #[error("the load generator failed: {0}")]
    Io(#[from] std::io::Error),
    /// A client panicked: a bug.
    #[error("a client of the load generator panicked")]
    Panicked,
}

/// Measures, prints the report, and says by its exit code whether all went well: 0 when no
/// order met an error and the books agree, else 1.
///
/// # Errors
/// [`BenchError`], when it did not come to a measurement.
pub fn run(args: &BenchArgs) -> Result<ExitCode, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = LocalSet::new().block_on(&runtime, measure(args))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(args: &BenchArgs) -> Result<Report, BenchError> {
    args.check().map_err(BenchError::Options)?;
    let server = Server::parse(&args.url)?;
    let books = Rc::new(Books::open(&server, args).await?);
    let schedule = Schedule::starting_now(args);
    let shared = Rc::new(Shared {
        server,
        books,
        schedule,
        args: args.clone(),
        taken: Cell::new(0),
    });
    let mut clients = JoinSet::new();
    for client in 0..args.clients {
        clients.spawn_local(clients::run(shared.clone(), client));
    }
    let shown = (!args.json && std::io::stderr().is_terminal())
        .then(|| tokio::task::spawn_local(show_progress(shared.clone())));
    let mut tally = Tally::new();
    while let Some(of_client) = clients.join_next().await {
        tally.merge(of_client.map_err(|_| BenchError::Panicked)?);
    }
    if let Some(shown) = shown {
        shown.abort();
    }
    // A server that is gone by now is no reason to keep back what was measured.
    let audit = shared.books.audit(&shared.server).await;
    Ok(Report::new(
        args,
        &tally,
        audit.map_err(|error| error.to_string()),
    ))
}

/// A bar for the time that is left. Drawn a few times a second, which costs nothing that
/// would show in the figures.
async fn show_progress(shared: Rc<Shared>) {
    let Schedule { began, from, to } = shared.schedule;
    let bar = ProgressBar::new(u64::try_from((to - began).as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{msg:>10} {wide_bar} {percent:>3} %") {
        bar.set_style(style);
    }
    loop {
        let now = Instant::now();
        bar.set_message(match now {
            now if now < from => "warming up",
            now if now < to => "measuring",
            _ => "finishing",
        });
        bar.set_position(u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX));
        if now >= to {
            bar.finish_and_clear();
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
