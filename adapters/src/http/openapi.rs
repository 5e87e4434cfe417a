//! The API's own description: OpenAPI 3.1 at `/api/openapi.json`, and a page that shows it.
//!
//! The paths are those of the router, the limits those of the core, the errors those of the
//! table in `problem`; only the shapes are written down a second time (`schemas`), because
//! bodies are read and written field by field. A test holds the document against the router,
//! and the end-to-end tests hold live answers against it.

mod operations;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use operations::OPERATIONS;

/// Made once; a request costs a reference count.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

/// `GET /api/openapi.json`
pub(super) async fn show() -> Response<Body> {
    let body = Body::from(DOCUMENT.clone());
    file(body, "application/vnd.oai.openapi+json;version=3.1")
}

/// `GET /api/docs`
pub(super) async fn page() -> Response<Body> {
    asset(
        include_str!("openapi/page.html"),
        "text/html; charset=utf-8",
    )
}

/// `GET /api/docs/page.js`
pub(super) async fn script() -> Response<Body> {
    asset(
        include_str!("openapi/page.js"),
        "text/javascript; charset=utf-8",
    )
}

/// `GET /api/docs/page.css`
pub(super) async fn style() -> Response<Body> {
    asset(include_str!("openapi/page.css"), "text/css; charset=utf-8")
}

fn asset(text: &'static str, content_type: &'static str) -> Response<Body> {
    file(Body::from(text), content_type)
}

fn file(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, content_type);
    set(header::CACHE_CONTROL, "no-cache");
    // The page loads its own files and talks to nobody else.
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    response
}

/// The whole description.
fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths
            .entry(operation.route.template())
            .or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_owned(), operation.document());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "A4CO order engine",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Orders that either complete or are fully undone.",
            "description": include_str!("openapi/description.md"),
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "orders", "description": "An order and its saga." },
            { "name": "inventory", "description": "Products, their stock, and what is held." },
            { "name": "payments", "description": "Charges and refunds." },
            { "name": "process", "description": "Health, metrics and this description." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "parameters": operations::parameters(),
            "headers": operations::headers(),
        },
    })
}
