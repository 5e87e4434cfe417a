//! What HTTP counts, and `/metrics`, which shows what everybody counts.
//!
//! Labels are bounded: a route is its template, a method one of eight, a status a number
//! that this service gives. Each counter is looked up once and from then on is one atomic
//! addition, because this is on the way of every request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use super::HttpState;
use super::outer::Route;
use super::problem::{Code, Problem};

/// Seconds; a wait for a saga is among what is measured.
const BUCKETS_S: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other",
];

/// Every status that this service gives; others are counted too, only slower.
const STATUSES: [u16; 17] = [
    200, 201, 400, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 507, 204, 304,
];

/// The metrics of HTTP.
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    cells: Vec<OnceLock<Cell>>,
}

struct Cell {
    duration: Histogram,
    statuses: [OnceLock<IntCounter>; STATUSES.len()],
}

impl HttpMetrics {
    /// Registers `http_requests_total` and `http_request_duration_seconds`.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "Requests answered."),
            &["method", "route", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from a request's head to its answer's head, in seconds.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["method", "route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        let cells = Route::ALL.len() * METHODS.len();
        Ok(Self {
            requests,
            durations,
            cells: (0..cells).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Counts one answer.
    pub(super) fn record(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let slot = METHODS.iter().position(|name| *name == method.as_str());
        let slot = slot.unwrap_or(METHODS.len() - 1);
        let labels = [METHODS[slot], route.template()];
        let cell = self.cells[route as usize * METHODS.len() + slot].get_or_init(|| Cell {
            duration: self.durations.with_label_values(&labels),
            statuses: std::array::from_fn(|_| OnceLock::new()),
        });
        cell.duration.observe(took.as_secs_f64());
        let counter = || {
            let status = status.as_str();
            self.requests
                .with_label_values(&[labels[0], labels[1], status])
        };
        let known = STATUSES.iter().position(|known| *known == status.as_u16());
        match known {
            Some(index) => cell.statuses[index].get_or_init(counter).inc(),
            None => counter().inc(),
        }
    }
}

/// `GET /metrics`
pub(super) async fn show(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let text = TextEncoder::new().encode_to_string(&state.registry.gather());
    let text = text.map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::new(Code::Internal, "the metrics could not be written")
    })?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}
