//! The web console: its page and files, which are part of the binary.
//!
//! The files lie under `adapters/console/` and are sent as they are: nothing is built, and
//! nothing is fetched from elsewhere, which the content security policy also says. Every page
//! is the same one; which it is, it reads from its address, and what it shows, it fetches.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::HttpState;
use super::problem::{Code, Problem};

/// Scripts and styles from here only, and none inside the page; nothing else from anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Writes the files: each one's name, type and text.
macro_rules! files {
    ($($name:literal: $kind:literal,)*) => {
        /// Every file but the page.
        const FILES: &[(&str, &str, &str)] = &[
            $(($name, $kind, include_str!(concat!("../../console/", $name))),)*
        ];
    };
}

files! {
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "theme.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "dialog.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "format.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "parts.js": "text/javascript; charset=utf-8",
    "plot.js": "text/javascript; charset=utf-8",
    "cluster.js": "text/javascript; charset=utf-8",
    "order.js": "text/javascript; charset=utf-8",
    "orders.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "parked.js": "text/javascript; charset=utf-8",
    "place.js": "text/javascript; charset=utf-8",
    "stock.js": "text/javascript; charset=utf-8",
}

const PAGE: &str = include_str!("../../console/index.html");

/// The console as this process serves it.
pub(super) struct Console {
    /// Of all files together: it is in their address, so that a browser may keep them for
    /// good and still gets those of a new program.
    version: String,
    page: Bytes,
    etag: HeaderValue,
}

impl Console {
    /// `sandbox`: the page offers what only the sandbox gateway understands.
    pub(super) fn new(sandbox: bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(PAGE.as_bytes());
        for (name, _, text) in FILES {
            hasher.update(name.as_bytes()).update(text.as_bytes());
        }
        let version = hasher.finalize().to_hex().as_str()[..16].to_owned();
        let page = PAGE
            .replace("{version}", &version)
            .replace("{sandbox}", if sandbox { "true" } else { "false" });
        let etag = format!("\"{version}-{sandbox}\"");
        Self {
            version,
            page: Bytes::from(page),
            // Digits, letters and quotes.
            etag: HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }
}

/// `GET` of any page
pub(super) async fn page(State(state): State<Arc<HttpState>>, headers: HeaderMap) -> Response {
    let console = &state.console;
    let is_known = headers.get(header::IF_NONE_MATCH) == Some(&console.etag);
    let mut response = if is_known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(console.page.clone()))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::ETAG, console.etag.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    protect(headers);
    response
}

/// `GET` of a file
pub(super) async fn file(
    State(state): State<Arc<HttpState>>,
    Path((version, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, kind, text) =
        file.ok_or_else(|| Problem::new(Code::RouteNotFound, "the console has no such file"))?;
    let mut response = Response::new(Body::from(*text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A page of another version gets what there is now, and keeps it no longer than it lives.
    let keep = if version == state.console.version {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    protect(headers);
    Ok(response)
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
