//! Traces: one for each order, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! ```text
//! What belongs to an order's trace
//!  - the request that placed it; its caller's trace goes on where it sent a `traceparent`;
//!  - its saga, from the request to the end, with one span for each step;
//!  - every call to the payment gateway.
//! What it owes the engine
//!  - nothing waits for it: a span that finds the queue full is dropped;
//!  - without an endpoint there is no queue, no thread and no span.
//! ```
//!
//! Spans are written when what they tell of is over, with its beginning and end, since these
//! may lie in different records of the journal, on either side of a restart, or in different
//! processes. That is why nothing here opens one and closes it later. The saga's span has an
//! id that derives from the order's, so that its children can name it before it is there.

mod export;
mod gateway;
mod steps;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use a4co_core::ids::OrderId;
use a4co_core::time::Timestamp;
use a4co_core::trace::TraceContext;
use a4co_driver::ports::Clock as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use secrecy::SecretString;

pub use self::export::TraceError;
pub use self::gateway::Traced;
pub use self::steps::SagaSpans;
use crate::config::Rate;
use crate::embedded::MonotonicClock;

/// The order's id, on every span that is about one.
const ORDER_ID: &str = "a4co.order.id";

/// How long the end of the process waits for the last spans.
const LAST_SPANS_WAIT: Duration = Duration::from_secs(3);

/// Where traces go, and how many.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// The collector's address, without the path; `None`: no traces.
    pub endpoint: Option<String>,
    /// Headers for the collector, such as its token.
    pub headers: Vec<(String, SecretString)>,
    /// Share of the traces that begin here which are kept.
    pub ratio: Rate,
    /// `service.name`.
    pub service: String,
}

/// Takes spans. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    spans: BatchSpanProcessor,
    ratio: Rate,
    scope: InstrumentationScope,
    started_at: Timestamp,
    started: Instant,
}

/// What one span says.
struct Told {
    context: TraceContext,
    /// The span above it; none at the top of a trace.
    parent: Option<[u8; 8]>,
    /// The span above it is somebody else's.
    parent_is_remote: bool,
    kind: SpanKind,
    name: Cow<'static, str>,
    begin: SystemTime,
    end: SystemTime,
    attributes: Vec<KeyValue>,
    error: Option<Cow<'static, str>>,
}

/// A request on its way: handed from the outermost layer to whoever makes an order of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTrace(pub(crate) TraceContext);

/// A request's span, while it is under way.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    parent: Option<TraceContext>,
    began: Instant,
}

/// What a request was, and what it was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) method: &'a str,
    /// The path with its parameters' names.
    pub(crate) route: &'static str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    /// Of the order that it made.
    pub(crate) order_id: Option<&'a str>,
}

impl Tracer {
    /// Sends spans where the configuration says; none where it names no endpoint.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(config: &TraceConfig) -> Result<Self, TraceError> {
        let Some(endpoint) = &config.endpoint else {
            return Ok(Self(None));
        };
        let inner = Inner {
            spans: export::processor(endpoint, config)?,
            ratio: config.ratio,
            scope: InstrumentationScope::builder("a4co")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            started_at: MonotonicClock::not_before(Timestamp::from_unix_ms(0)).now(),
            started: Instant::now(),
        };
        tracing::info!(endpoint, "traces are sent to a collector");
        Ok(Self(Some(Arc::new(inner))))
    }

    /// Sends what is left, for a few seconds at most. Blocks.
    pub fn stop(&self) {
        if let Some(inner) = &self.0
            && let Err(error) = inner.spans.shutdown_with_timeout(LAST_SPANS_WAIT)
        {
            tracing::warn!(%error, "the last spans were not all sent");
        }
    }

    /// A request has come in, with its caller's trace where it sent one. The first is what an
    /// order keeps, with or without a collector; the second is there where it is to be told.
    pub(crate) fn begin(
        &self,
        parent: Option<TraceContext>,
    ) -> (Option<RequestTrace>, Option<RequestSpan>) {
        let Some(inner) = &self.0 else {
            return (parent.map(RequestTrace), None);
        };
        let trace_id = match parent {
            Some(parent) if !parent.is_sampled() => return (Some(RequestTrace(parent)), None),
            Some(parent) => parent.trace_id(),
            None => {
                let trace_id = fastrand::u128(1..);
                if !inner
                    .ratio
                    .takes(u64::try_from(trace_id >> 64).unwrap_or(0))
                {
                    return (None, None);
                }
                trace_id.to_be_bytes()
            }
        };
        let span_id = fastrand::u64(1..).to_be_bytes();
        let context = TraceContext::new(trace_id, span_id, true);
        (
            context.map(RequestTrace),
            context.map(|context| RequestSpan {
                context,
                parent,
                began: Instant::now(),
            }),
        )
    }

    /// A request is answered.
    pub(crate) fn end(&self, span: &RequestSpan, answered: &Answered<'_>) {
        let Some(inner) = &self.0 else { return };
        let Answered {
            method,
            route,
            path,
            status,
            order_id,
        } = answered;
        let mut attributes = vec![
            KeyValue::new("http.request.method", (*method).to_owned()),
            KeyValue::new("http.route", *route),
            KeyValue::new("url.path", (*path).to_owned()),
            KeyValue::new("http.response.status_code", i64::from(*status)),
        ];
        attributes.extend(order_id.map(|id| KeyValue::new(ORDER_ID, id.to_owned())));
        inner.tell(Told {
            context: span.context,
            parent: span.parent.map(|parent| parent.span_id()),
            parent_is_remote: true,
            kind: SpanKind::Server,
            name: Cow::Owned(format!("{method} {route}")),
            begin: inner.time(span.began),
            end: inner.time(Instant::now()),
            attributes,
            error: (*status >= 500).then_some(Cow::Borrowed("")),
        });
    }

    /// What an order's events carry: its saga's span where that is told, else what came with
    /// the request.
    #[must_use]
    pub fn of_events(&self, order_id: OrderId, trace: TraceContext) -> TraceContext {
        if self.0.is_some() && trace.is_sampled() {
            saga_of(order_id, trace)
        } else {
            trace
        }
    }

    fn told(&self, trace: Option<TraceContext>) -> Option<(&Inner, TraceContext)> {
        let inner = self.0.as_deref()?;
        let trace = trace.filter(TraceContext::is_sampled)?;
        Some((inner, trace))
    }
}

impl Inner {
    fn tell(&self, told: Told) {
        self.spans.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(told.context.trace_id()),
                SpanId::from_bytes(told.context.span_id()),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: told.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: told.parent.is_some() && told.parent_is_remote,
            span_kind: told.kind,
            name: told.name,
            start_time: told.begin,
            end_time: told.end.max(told.begin),
            attributes: told.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: told.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// When that was, by the clock of this process.
    fn time(&self, at: Instant) -> SystemTime {
        time_of(self.started_at) + at.saturating_duration_since(self.started)
    }
}

/// The saga's own place in the trace: under the request, above its steps.
fn saga_of(order_id: OrderId, trace: TraceContext) -> TraceContext {
    TraceContext::new(trace.trace_id(), saga_span_id(order_id), true).unwrap_or(trace)
}

/// Of the random half of the order's id. Its first bits are the variant, so it is never zero.
fn saga_span_id(order_id: OrderId) -> [u8; 8] {
    let (_, low) = order_id.uuid().as_u64_pair();
    low.max(1).to_be_bytes()
}

/// A span id that is the same for the same thing of an order, however often it is told.
fn span_id_of(order_id: OrderId, what: u64) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(order_id.uuid().as_bytes());
    hasher.update(&what.to_be_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    id
}

fn time_of(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.unix_ms())
}

fn order_attribute(order_id: OrderId) -> KeyValue {
    KeyValue::new(ORDER_ID, order_id.to_string())
}
