//! `a4co demo`: a shop at work. Loads the demo catalogue into a running server, places a
//! mixed stream of orders, and shows what became of each.

mod board;
mod scenes;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior};

use self::board::{Board, Summary};
use self::scenes::{Outcome, Scene, Stage};
use crate::bench::connection::{AskError, BadUrl, Connection, Server};
use crate::demo_catalogue;

/// Loads the demo catalogue and places a mixed stream of orders: successes, declined
/// payments, short stock, time-outs, cancellations and refunds.
///
/// For a server whose payments are simulated.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// The server to order from
    #[arg(long, env = "A4CO_URL", default_value = "http://127.0.0.1:3004")]
    pub url: String,
    /// Orders to place
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub orders: u32,
    /// Orders a second
    #[arg(long, value_name = "ORDERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// Of the random choices; the same seed orders the same
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only the summary, as one JSON object; the global flag sets it
    #[arg(skip)]
    pub json: bool,
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The URL is not one.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The server cannot be asked.
    #[error("{0}")]
    Ask(#[from] AskError),
    /// The server does not do what it is asked.
    #[error("{what}: {answer}")]
    Refused {
        /// What was asked.
        what: String,
        /// The answer.
        answer: String,
    },
    /// Real money is not for playing with.
    #[error("the server's payment gateway is {0}, and the demo is for the sandbox only")]
    RealGateway(String),
    /// No threads, no sockets, or the output is closed.
    #[error("the demo failed: {0}")]
    Io(#[from] std::io::Error),
    /// A task panicked: a bug.
    #[error("a part of the demo panicked")]
    Panicked,
}

/// Runs the demo and prints its summary. The exit code is 0 when every order ended as its
/// scene says, else 1.
///
/// # Errors
/// [`DemoError`].
pub fn run(args: &DemoArgs) -> Result<ExitCode, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let summary = LocalSet::new().block_on(&runtime, play(args))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &summary).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{summary}")?;
    }
    Ok(if summary.is_as_expected() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn play(args: &DemoArgs) -> Result<Summary, DemoError> {
    let server = Server::parse(&args.url)?;
    let mut connection = server.connection();
    load_catalogue(&mut connection).await?;
    check_gateway(&mut connection).await?;
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut board = Board::new(args);
    let mut stages: JoinSet<Result<Outcome, AskError>> = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut placed = 0;
    while placed < args.orders || !stages.is_empty() {
        tokio::select! {
            biased;
            Some(ended) = stages.join_next() => {
                board.ended(ended.map_err(|_| DemoError::Panicked)?);
            }
            _ = ticks.tick(), if placed < args.orders => {
                let scene = Scene::nth(placed, &mut random);
                let stage = Stage::new(scene, random.fork());
                let connection = server.connection();
                board.placed(scene);
                stages.spawn_local(stage.play(connection));
                placed += 1;
            }
        }
    }
    Ok(board.finish(began.elapsed()))
}

/// Makes the products that are not there yet; what is there is left as it is.
async fn load_catalogue(connection: &mut Connection) -> Result<(), DemoError> {
    for product in demo_catalogue::products() {
        let path = format!("/api/v1/inventory/products/{}", product.product_id.as_str());
        let present = connection.get(&path).await?;
        if present.status.is_success() {
            continue;
        }
        let body = format!(
            r#"{{"name":{},"price":{},"currency":"{}","onHandQuantity":{}}}"#,
            serde_json::Value::from(product.name.as_ref()),
            product.price.currency.format_amount(product.price.amount),
            product.price.currency.as_str(),
            product.on_hand
        );
        let answer = connection.put(&path, body).await?;
        if !answer.status.is_success() {
            return Err(DemoError::Refused {
                what: format!("PUT {path}"),
                answer: format!("{} {}", answer.status, answer.text()),
            });
        }
    }
    Ok(())
}

/// Places an order that no gateway charges much for and the sandbox declines, and looks at
/// which gateway it went to.
async fn check_gateway(connection: &mut Connection) -> Result<(), DemoError> {
    #[derive(Deserialize)]
    struct Payment {
        gateway: String,
    }
    let body = r#"{"customerId":"demo","items":[{"productId":"filter-papers-100","quantity":1}],"metadata":{"forcePaymentFailure":true,"demo":"gateway check"}}"#;
    let placed = connection
        .post("/api/v1/orders", body.to_owned(), true)
        .await?;
    if !placed.status.is_success() {
        return Err(DemoError::Refused {
            what: "POST /api/v1/orders".to_owned(),
            answer: format!("{} {}", placed.status, placed.text()),
        });
    }
    let path = format!("/api/v1/payments/order/{}", placed.order()?.order_id);
    let payment = connection.get(&path).await?;
    if !payment.status.is_success() {
        // Without stock there is no payment, and so nothing to be careful about.
        return Ok(());
    }
    match payment.json::<Payment>()?.gateway {
        gateway if gateway == "sandbox" => Ok(()),
        gateway => Err(DemoError::RealGateway(gateway)),
    }
}
