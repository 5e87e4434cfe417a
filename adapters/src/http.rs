//! HTTP: requests in, commands and reads through the ports, JSON out.
//!
//! ```text
//! What holds for every route
//!  - a DTO never enters the core, and a domain type is parsed whole or refused whole,
//!    with every offending field named at once;
//!  - every error is a problem (RFC 9457) with a stable code; see `problem`;
//!  - a client's mistake never gets a 5xx, and nothing that a client sends panics;
//!  - while the process recovers, everything but health and metrics is 503 `recovering`.
//! ```
//!
//! [`router`] is the service, [`server`] carries it over TCP.

mod answer;
mod any;
mod cluster;
mod console;
mod fields;
mod fingerprint;
mod headers;
mod health;
mod ids;
mod inventory;
mod live;
mod metrics;
mod openapi;
mod orders;
mod outer;
mod payments;
mod ports;
mod problem;
mod request;
pub mod server;
mod shapes;
#[cfg(test)]
mod tests;
mod trace;
mod webhook;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use a4co_core::command::{Command, Reply};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

pub use self::any::parse_any;
pub use self::live::LiveTap;
pub use self::metrics::HttpMetrics;
use self::outer::Route;
pub use self::ports::{
    Commands, Members, OrderPage, OrderQuery, Phase, Ports, PositionError, Positioned, ReadError,
    ReadModel, Readiness,
};
pub use self::problem::{Code, FieldError, Problem};
use crate::gateway::stripe::Stripe;

use crate::trace::Tracer;

/// The prefix of the API's paths.
pub const API_PREFIX: &str = "/api/v1";

/// Where the journals are, as the API names it.
const EMBEDDED: &str = "embedded";
const ON_NATS: &str = "nats";

/// What is the same for the whole life of the process.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The payment gateway's name, as payments show it.
    pub gateway: &'static str,
    /// Hints for the sandbox in an order's metadata have an effect.
    pub sandbox: bool,
    /// Requests that may be under way at once, those that wait for a saga included.
    pub requests_max: usize,
    /// Time that a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Time that the engine may take to make a command durable before its client is told
    /// that the outcome is not known yet.
    pub reply_timeout: Duration,
    /// How long a refund's answer is held back for the gateway's answer, where the client
    /// does not say.
    pub refund_wait: Duration,
    /// Clients that may follow the live feed at once.
    pub listeners_max: usize,
    /// The journals are on NATS, shared with other processes.
    pub clustered: bool,
    /// Takes the spans of requests.
    pub tracer: Tracer,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            gateway: "sandbox",
            sandbox: true,
            requests_max: 16_384,
            body_timeout: Duration::from_secs(15),
            reply_timeout: Duration::from_secs(30),
            refund_wait: Duration::from_secs(10),
            listeners_max: 64,
            clustered: false,
            tracer: Tracer::default(),
        }
    }
}

/// What all requests share.
pub struct HttpState {
    settings: HttpSettings,
    readiness: Arc<Readiness>,
    registry: prometheus::Registry,
    metrics: HttpMetrics,
    feed: live::Feed,
    console: console::Console,
    ports: OnceLock<Ports>,
    stripe: OnceLock<Stripe>,
    requests: AtomicUsize,
}

impl HttpState {
    /// A state without an engine yet. `registry` is what `/metrics` shows: whoever else
    /// counts registers there.
    ///
    /// # Errors
    /// When the registry has metrics of HTTP already.
    pub fn new(
        settings: HttpSettings,
        readiness: Arc<Readiness>,
        registry: prometheus::Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            feed: live::Feed::default(),
            console: console::Console::new(settings.sandbox),
            settings,
            readiness,
            metrics: HttpMetrics::new(&registry)?,
            registry,
            ports: OnceLock::new(),
            stripe: OnceLock::new(),
            requests: AtomicUsize::new(0),
        })
    }

    /// Gives the routes their engine, once recovery has brought it up. The first call
    /// counts; [`Readiness::set_ready`] opens the door.
    pub fn attach(&self, ports: Ports) {
        if self.ports.set(ports).is_err() {
            tracing::error!("the engine was attached twice; the first one stays");
        }
    }

    /// Lets webhooks in, and payments show what the customer has to do. The first call counts.
    pub fn attach_stripe(&self, stripe: Stripe) {
        let _ = self.stripe.set(stripe);
    }

    /// Stripe, where it takes the money.
    fn stripe(&self) -> Option<&Stripe> {
        self.stripe.get()
    }

    /// What the engine tells the live feed with.
    #[must_use]
    pub fn live_tap(&self) -> LiveTap {
        self.feed.tap()
    }

    /// Keeps the live feed going until the process drains; the first call counts.
    pub async fn run_live_feed(self: Arc<Self>) {
        live::run(self).await;
    }

    /// Sends a command and waits until its outcome is durable.
    async fn submit(&self, command: Command) -> Result<Reply, Problem> {
        let reply = self.ports()?.engine.submit(command);
        let reply = tokio::time::timeout(self.settings.reply_timeout, reply).await;
        Ok(reply.map_err(|_| Problem::outcome_unknown())??)
    }

    /// The engine.
    fn ports(&self) -> Result<&Ports, Problem> {
        self.ports.get().ok_or_else(outer::recovering)
    }
}

/// The whole API, and the console. Other routers (documentation, webhooks) merge with it.
pub fn router(state: Arc<HttpState>) -> Router {
    let route =
        |router: Router<Arc<HttpState>>, route: Route, methods: MethodRouter<Arc<HttpState>>| {
            let layer = from_fn_with_state((state.clone(), route), outer::outer);
            router.route(route.template(), methods.layer(layer))
        };
    let mut router = Router::new();
    for (name, methods) in routes() {
        router = route(router, name, methods);
    }
    let unmatched = from_fn_with_state((state.clone(), Route::Unmatched), outer::outer);
    router
        .fallback_service(
            get(outer::no_route)
                .fallback(outer::no_route)
                .layer(unmatched),
        )
        .with_state(state)
}

fn routes() -> Vec<(Route, MethodRouter<Arc<HttpState>>)> {
    vec![
        (Route::Orders, get(orders::list).post(orders::create)),
        (Route::Order, get(orders::get)),
        (Route::OrderCancel, post(orders::cancel)),
        (Route::OrderRetry, post(orders::retry)),
        (Route::Products, get(inventory::list)),
        (Route::Product, get(inventory::get).put(inventory::define)),
        (Route::ProductAdjustments, post(inventory::adjust)),
        (Route::ProductsLow, get(inventory::low_stock)),
        (Route::ProductsOut, get(inventory::out_of_stock)),
        (Route::Reservation, get(inventory::reservation)),
        (
            Route::ReservationOfOrder,
            get(inventory::reservation_of_order),
        ),
        (Route::Payment, get(payments::get)),
        (Route::PaymentsParked, get(payments::parked)),
        (Route::PaymentOfOrder, get(payments::get_of_order)),
        (Route::PaymentRefund, post(payments::refund)),
        (Route::PaymentWriteOff, post(payments::write_off)),
        (Route::PaymentWebhook, post(webhook::take)),
        (Route::StripeWebhook, post(webhook::take)),
        (Route::Health, get(health::health)),
        (Route::HealthLive, get(health::live)),
        (Route::HealthReady, get(health::ready)),
        (Route::Metrics, get(metrics::show)),
        (Route::OpenApi, get(openapi::show)),
        (Route::Docs, get(openapi::page)),
        (Route::DocsScript, get(openapi::script)),
        (Route::DocsStyle, get(openapi::style)),
        (Route::Events, get(live::events)),
        (Route::Cluster, get(cluster::show)),
        (Route::ConsoleOverview, get(console::page)),
        (Route::ConsoleOrders, get(console::page)),
        (Route::ConsoleOrder, get(console::page)),
        (Route::ConsoleStock, get(console::page)),
        (Route::ConsoleProduct, get(console::page)),
        (Route::ConsoleParked, get(console::page)),
        (Route::ConsoleTestOrder, get(console::page)),
        (Route::ConsoleCluster, get(console::page)),
        (Route::ConsoleFile, get(console::file)),
    ]
}
