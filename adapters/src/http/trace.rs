//! A request's part in a trace.
//!
//! Apart from the other layers because most requests have none: pages, probes and the live
//! feed are not told of.

use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::Response;

use super::outer::Route;
use super::{API_PREFIX, headers};
use crate::trace::{Answered, RequestSpan, Tracer};

/// A request that is told of, while it is under way.
pub(super) struct Span {
    span: RequestSpan,
    path: String,
}

/// Whether requests of this route have a place in a trace, so that their header is read. The
/// feed has none: it ends when its page is closed.
pub(super) fn is_told(route: Route) -> bool {
    route.template().starts_with(API_PREFIX) && route != Route::Events
}

/// Gives a request of the API its place in a trace, and what becomes an order of it too.
pub(super) fn begin(tracer: &Tracer, route: Route, request: &mut Request) -> Option<Span> {
    if !is_told(route) {
        return None;
    }
    let (trace, span) = tracer.begin(headers::trace(request.headers()));
    if let Some(trace) = trace {
        request.extensions_mut().insert(trace);
    }
    Some(Span {
        span: span?,
        path: request.uri().path().to_owned(),
    })
}

impl Span {
    /// The request is answered.
    pub(super) fn end(self, tracer: &Tracer, method: &Method, route: Route, response: &Response) {
        // An order that was made is where the answer says.
        let made = response.headers().get(header::LOCATION);
        let made = made.and_then(|location| location.to_str().ok());
        let order_id = made.and_then(|location| location.rsplit('/').next());
        let answered = Answered {
            method: method.as_str(),
            route: route.template(),
            path: &self.path,
            status: response.status().as_u16(),
            order_id: order_id.filter(|_| route == Route::Orders),
        };
        tracer.end(&self.span, &answered);
    }
}
