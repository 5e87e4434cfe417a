//! Health: is the process there, and may work be sent to it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::ports::{Phase, Readiness};
use super::problem::Problem;
use super::{HttpState, answer};

/// The service's name in health answers.
const SERVICE: &str = "a4co";

/// How the process is.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    service: &'static str,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    recovery: &'static str,
    journal: &'static str,
    store: &'static str,
}

/// `GET /health`: always 200, with what there is to say.
pub(super) async fn health(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    answer::json(StatusCode::OK, &describe(&state.readiness))
}

/// `GET /health/live`: 200 for as long as the process answers at all.
pub(super) async fn live(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let health = Health {
        status: "ok",
        ..describe(&state.readiness)
    };
    answer::json(StatusCode::OK, &health)
}

/// `GET /health/ready`: 503 while new orders cannot be taken.
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let status = if state.readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer::json(status, &describe(&state.readiness))
}

/// What there is to say.
pub(super) fn describe(readiness: &Readiness) -> Health {
    let (phase, journal) = (readiness.phase(), readiness.journal_writable());
    let store = readiness.store_degraded();
    Health {
        status: match (phase, journal, store) {
            (Phase::Recovering, _, _) => "recovering",
            (Phase::Draining, _, _) => "stopping",
            (Phase::Ready, false, _) => "unavailable",
            (Phase::Ready, true, true) => "degraded",
            (Phase::Ready, true, false) => "ok",
        },
        service: SERVICE,
        checks: Checks {
            recovery: match phase {
                Phase::Recovering => "in progress",
                Phase::Ready | Phase::Draining => "ok",
            },
            journal: if journal { "ok" } else { "not writable" },
            store: if store { "degraded" } else { "ok" },
        },
    }
}
