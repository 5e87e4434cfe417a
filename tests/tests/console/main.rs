//! The web console in a real browser: what an operator sees, clicks and types.
//!
//! Apart from the other end-to-end tests because they need Chromium, which `./test console`
//! installs. With `A4CO_SCREENSHOTS` naming a folder, a picture of each page is kept there.

mod cluster;
mod lists;
mod looks;
mod orders;
mod outage;

use a4co_tests::{Options, Server};
use serde_json::json;

/// A shop with what an operator may meet, where nothing takes longer than it must.
fn shop() -> Server {
    stocked("3s")
}

/// One in which a slow card never ends by itself, so that nothing ends before it is seen.
fn endless_shop() -> Server {
    stocked("1h")
}

fn stocked(slow: &str) -> Server {
    let server = Options::new()
        .flag("--sandbox-slow", slow)
        .flag("--sandbox-timeout", "100ms")
        .flag("--retry-first", "1ms")
        .flag("--retry-cap", "2ms")
        .start();
    let client = server.client();
    for (product, name, price, units) in [
        ("espresso-cup", "Espresso cup", json!(9.5), 200),
        ("grinder", "Burr grinder", json!(149), 3),
        ("sold-out", "Filter, size 4", json!(3.25), 0),
    ] {
        let body = json!({ "name": name, "price": price, "onHandQuantity": units });
        let path = format!("/api/v1/inventory/products/{product}");
        client.put(&path, &body).expect(201);
    }
    server
}
