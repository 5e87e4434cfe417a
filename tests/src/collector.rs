//! An OpenTelemetry collector, as much of one as traces need: OTLP over HTTP, as protobuf.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;

use crate::until;

/// A span, as a reader of traces sees it. Ids in hexadecimal digits.
#[derive(Debug, Clone)]
pub struct Span {
    /// Of the service, by its own word.
    pub service: String,
    /// Which trace it is in.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The span above it; empty at the top.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// OTLP's number of its kind: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// When it began and ended, in nanoseconds since 1970.
    pub time_ns: (u64, u64),
    /// What it says, as text.
    pub attributes: BTreeMap<String, String>,
}

/// A collector. Clones are the same one; it listens until the test ends.
#[derive(Debug, Clone)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    /// The head of each request.
    requests: Vec<String>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Self {
        Self::behind(Some)
    }

    /// Starts one that is spoken to over TLS, and says whom to trust for it: the certificate
    /// of its authority, as PEM. It answers to `localhost`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start_with_tls() -> (Self, String) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let own = own.expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("a version of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .expect("a key that fits");
        let config = Arc::new(config);
        let collector = Self::behind(move |stream| {
            let connection = rustls::ServerConnection::new(config.clone()).ok()?;
            Some(rustls::StreamOwned::new(connection, stream))
        });
        (collector, own.cert.pem())
    }

    fn behind<S: Read + Write>(
        wrap: impl Fn(TcpStream) -> Option<S> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let collector = Self {
            address: listener.local_addr().expect("its address"),
            kept: Arc::default(),
        };
        let serving = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, wrap) = (serving.clone(), wrap.clone());
                std::thread::spawn(move || wrap(stream).map(|stream| serving.serve(stream)));
            }
        });
        collector
    }

    /// What the product is told of it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same for one that is spoken to over TLS.
    #[must_use]
    pub fn tls_endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// All spans that came.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.kept().spans.clone()
    }

    /// The heads of all requests that came.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.kept().requests.clone()
    }

    /// The spans about an order, once one of them has this name; by their beginning.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    #[track_caller]
    pub fn order(&self, order_id: &str, name: &str) -> Vec<Span> {
        until(&format!("the span `{name}` of {order_id}"), || {
            let mut spans = self.spans();
            spans.retain(|span| {
                span.attributes.get("a4co.order.id").map(String::as_str) == Some(order_id)
            });
            spans.sort_by_key(|span| span.time_ns);
            if spans.iter().any(|span| span.name == name) {
                Ok(spans)
            } else {
                Err(format!("there are {spans:?}"))
            }
        })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let before = head.len();
                match reader.read_line(&mut head) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let line = head[before..].trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let request = ExportTraceServiceRequest::decode(&body[..]).expect("an export request");
            {
                let mut kept = self.kept();
                kept.requests.push(head);
                kept.spans.extend(read(request));
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            let stream = reader.get_mut();
            let sent = stream.write_all(answer.as_bytes());
            if sent.and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let about = resource.resource.map(|it| texts(&it.attributes));
        let service = about.and_then(|mut about| about.remove("service.name"));
        let service = service.unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            spans.push(Span {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                time_ns: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: texts(&span.attributes),
            });
        }
    }
    spans
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |it: &KeyValue| match it.value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.iter().map(|it| (it.key.clone(), text(it)));
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
