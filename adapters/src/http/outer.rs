//! What surrounds every route: admission, panics, metrics, one log line, and errors that
//! are problems whoever made them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ports::{Phase, PositionError};
use super::problem::{Code, Problem};
use super::{HttpState, trace};

/// Writes the routes: each one's name in code and its path.
macro_rules! routes {
    ($($name:ident = $template:literal,)*) => {
        /// A route, by which requests are counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Route {
            $(#[doc = $template] $name,)*
        }

        impl Route {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The path with its parameters' names.
            pub(super) const fn template(self) -> &'static str {
                match self { $(Self::$name => $template,)* }
            }
        }
    };
}

routes! {
    Orders = "/api/v1/orders",
    Order = "/api/v1/orders/{orderId}",
    OrderCancel = "/api/v1/orders/{orderId}/cancel",
    OrderRetry = "/api/v1/orders/{orderId}/retry",
    Products = "/api/v1/inventory/products",
    Product = "/api/v1/inventory/products/{productId}",
    ProductAdjustments = "/api/v1/inventory/products/{productId}/adjustments",
    ProductsLow = "/api/v1/inventory/products/low-stock",
    ProductsOut = "/api/v1/inventory/products/out-of-stock",
    Reservation = "/api/v1/inventory/reservations/{reservationId}",
    ReservationOfOrder = "/api/v1/inventory/reservations/order/{orderId}",
    Payment = "/api/v1/payments/{paymentId}",
    PaymentsParked = "/api/v1/payments/parked",
    PaymentOfOrder = "/api/v1/payments/order/{orderId}",
    PaymentRefund = "/api/v1/payments/{paymentId}/refund",
    PaymentWriteOff = "/api/v1/payments/{paymentId}/write-off",
    PaymentWebhook = "/api/v1/payments/webhook",
    StripeWebhook = "/webhooks/stripe",
    Health = "/health",
    HealthLive = "/health/live",
    HealthReady = "/health/ready",
    Metrics = "/metrics",
    OpenApi = "/api/openapi.json",
    Docs = "/api/docs",
    DocsScript = "/api/docs/page.js",
    DocsStyle = "/api/docs/page.css",
    Events = "/api/v1/events",
    Cluster = "/api/v1/cluster",
    ConsoleOverview = "/",
    ConsoleOrders = "/orders",
    ConsoleOrder = "/orders/{orderId}",
    ConsoleStock = "/stock",
    ConsoleProduct = "/stock/{productId}",
    ConsoleParked = "/parked",
    ConsoleTestOrder = "/test-order",
    ConsoleCluster = "/cluster",
    ConsoleFile = "/console/{version}/{file}",
    Unmatched = "unmatched",
}

impl Route {
    /// Answers also while there is no engine, and however much there is to do.
    const fn is_about_the_process(self) -> bool {
        matches!(
            self,
            Self::Health
                | Self::HealthLive
                | Self::HealthReady
                | Self::Metrics
                | Self::OpenApi
                | Self::Docs
                | Self::DocsScript
                | Self::DocsStyle
        ) || self.is_of_the_console()
    }

    /// A page of the console, or a file that it is made of. What it shows, it fetches.
    pub(super) const fn is_of_the_console(self) -> bool {
        matches!(
            self,
            Self::ConsoleOverview
                | Self::ConsoleOrders
                | Self::ConsoleOrder
                | Self::ConsoleStock
                | Self::ConsoleProduct
                | Self::ConsoleParked
                | Self::ConsoleTestOrder
                | Self::ConsoleCluster
                | Self::ConsoleFile
        )
    }
}

/// The middleware of every route.
pub(super) async fn outer(
    State((state, route)): State<(Arc<HttpState>, Route)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let span = trace::begin(&state.settings.tracer, route, &mut request);
    let response = match Admission::of(&state, route, &method, request.headers()) {
        Ok(_admitted) => match reach_position(&state, request.headers()).await {
            Ok(()) => {
                let mut response = unless_it_panics(next.run(request)).await;
                show_position(&state, route, response.headers_mut());
                response
            }
            Err(problem) => problem.into_response(),
        },
        Err(problem) => problem.into_response(),
    };
    let response = as_problem(response, &method, route);
    if let Some(span) = span {
        span.end(&state.settings.tracer, &method, route, &response);
    }
    let (status, took) = (response.status(), started.elapsed());
    state.metrics.record(route, &method, status, took);
    let (route, status) = (route.template(), status.as_u16());
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(%method, route, status, took_us, "answered");
    } else {
        tracing::debug!(%method, route, status, took_us, "answered");
    }
    response
}

/// Nothing is at this path.
pub(super) async fn no_route() -> Problem {
    Problem::new(
        Code::RouteNotFound,
        "there is nothing at this path; the API begins at /api/v1",
    )
}

/// The answer while there is no engine yet.
pub(super) fn recovering() -> Problem {
    let detail = "the service is reading what it had stored and will be ready shortly";
    Problem::new(Code::Recovering, detail)
}

/// A request that was let in; counted until it is answered or given up.
struct Admission<'s>(&'s HttpState);

impl<'s> Admission<'s> {
    fn of(
        state: &'s HttpState,
        route: Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let admitted = Self(state);
        let under_way = state.requests.fetch_add(1, Ordering::Relaxed);
        if route.is_about_the_process() {
            return Ok(admitted);
        }
        if state.readiness.phase() == Phase::Recovering {
            return Err(recovering());
        }
        if under_way >= state.settings.requests_max {
            let detail = "too many requests are under way; try again shortly";
            return Err(Problem::new(Code::Overloaded, detail));
        }
        if !method.is_safe() && is_cross_site(headers) {
            let detail = "a page of another site may not change anything here";
            return Err(Problem::new(Code::CrossSiteRequest, detail));
        }
        Ok(admitted)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names how far reads are: in answers, and in requests that want to see what an earlier
/// answer told of. Only where several processes answer.
const POSITION: HeaderName = HeaderName::from_static("a4co-position");

async fn reach_position(state: &HttpState, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(wanted) = headers.get(POSITION) else {
        return Ok(());
    };
    let Some(positions) = state.ports.get().and_then(|ports| ports.positions.as_ref()) else {
        // One process answers everything, and no read is behind.
        return Ok(());
    };
    let reached = match wanted.to_str() {
        Ok(wanted) => positions.wait(wanted).await,
        Err(_) => Err(PositionError::Malformed),
    };
    reached.map_err(|error| {
        let code = match error {
            PositionError::Malformed => Code::InvalidPosition,
            PositionError::Behind => Code::PositionNotReached,
        };
        Problem::new(code, error.to_string())
    })
}

fn show_position(state: &HttpState, route: Route, headers: &mut HeaderMap) {
    if route.is_about_the_process() {
        return;
    }
    let positions = state.ports.get().and_then(|ports| ports.positions.as_ref());
    if let Some(positions) = positions
        && let Ok(position) = HeaderValue::try_from(positions.position())
    {
        headers.insert(POSITION, position);
    }
}

/// Browsers say so, and no page can make them say otherwise. Without this, any page that a
/// shopkeeper visits could post to an engine on the shopkeeper's own machine.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site.as_bytes() == b"cross-site")
}

/// Runs a route; a panic in it is an answer, and the connection goes on.
async fn unless_it_panics(route: impl Future<Output = Response>) -> Response {
    let mut route = pin!(route);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| route.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            // The panic hook has told the log where it was.
            let detail = "something went wrong here; the log of the service has more";
            Poll::Ready(Problem::new(Code::Internal, detail).into_response())
        })
    })
    .await
}

/// Errors of the router itself are bare statuses. They become problems here, with their
/// headers (`Allow`, for one) kept.
fn as_problem(mut response: Response, method: &Method, route: Route) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_json(response.headers()) {
        return response;
    }
    let code = Code::of_status(status.as_u16());
    let detail = match code {
        Code::MethodNotAllowed => format!("{} does not take {method}", route.template()),
        _ => status
            .canonical_reason()
            .unwrap_or("the request failed")
            .to_owned(),
    };
    let (kept, _) = response.into_parts();
    let mut problem = Problem::new(code, detail).into_response();
    *problem.status_mut() = kept_status(kept.status, code);
    for name in [header::ALLOW, header::X_CONTENT_TYPE_OPTIONS] {
        if let Some(value) = kept.headers.get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

/// The code's own status, so that the two in the body and in the head agree.
fn kept_status(status: StatusCode, code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(status)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"application/json") || value.starts_with(b"application/problem+json")
    })
}
