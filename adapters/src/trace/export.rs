//! The way to the collector: OTLP over HTTP, as protobuf.
//!
//! Apart because it is the only part that speaks to anybody. It runs on the thread of the
//! span processor, which blocks there as long as a collector takes.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor as _};
use secrecy::ExposeSecret as _;

use super::TraceConfig;

/// Spans that may wait; further ones are dropped.
const QUEUE_MAX: usize = 8_192;

/// Spans in one request, at most.
const BATCH_MAX: usize = 1_024;

/// How often what waits is sent.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// How long a collector may take for one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Why traces cannot be sent at all. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent: {0}")]
pub struct TraceError(#[from] opentelemetry_otlp::ExporterBuildError);

pub(super) fn processor(
    endpoint: &str,
    config: &TraceConfig,
) -> Result<BatchSpanProcessor, TraceError> {
    let headers: HashMap<String, String> = (config.headers.iter())
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
        .collect();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(ANSWER_WITHIN)
        .with_headers(headers)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(SEND_EVERY)
        .build();
    let mut processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    processor.set_resource(
        &Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", config.service.clone()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .build(),
    );
    Ok(processor)
}

/// The HTTP client that the product has already.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(crate::tls::of_ureq())
            .timeout_global(Some(ANSWER_WITHIN))
            .build();
        Self(config.into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, Bytes::from(body)))
    }
}

impl HttpClient for Client {
    // As the trait's macro writes it.
    fn send_bytes<'client, 'answer>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'client: 'answer,
        Self: 'answer,
    {
        Box::pin(async move { self.send(request) })
    }
}
