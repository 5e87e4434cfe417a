//! The running binary against its own OpenAPI description, by schemathesis, and the client
//! that the documentation shows.
//!
//! Apart from the other end-to-end tests because they need programs from outside, which
//! `./test api` installs.

use std::path::Path;
use std::process::Command;

use a4co_tests::server::Server;
use serde_json::json;

/// A server with the product that the examples order.
fn shop() -> Server {
    let server = Server::start();
    let product = json!({ "name": "Espresso cup", "price": 9.50, "onHandQuantity": 1_000_000 });
    let client = server.client();
    client
        .put("/api/v1/inventory/products/espresso-cup", &product)
        .expect(201);
    server
}

#[test]
fn the_documented_client_gets_its_order_confirmed() {
    let server = shop();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/order.py");
    let output = Command::new("python3")
        .arg(example)
        .env("A4CO_URL", format!("http://{}", server.address()))
        .output()
        .expect("python3 can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(" CONFIRMED COMPLETED"), "{output:?}");
}

#[test]
fn schemathesis_finds_no_failure() {
    let program = std::env::var_os("A4CO_SCHEMATHESIS")
        .expect("A4CO_SCHEMATHESIS names the program; ./test api installs it and sets this");
    let server = shop();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis.toml");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let status = Command::new(program)
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", server.address()))
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "40",
        ])
        // It keeps notes beside itself.
        .current_dir(scratch.path())
        .status()
        .expect("schemathesis can be started");
    assert!(
        status.success(),
        "schemathesis found failures; they are above"
    );
    assert!(server.stop().success(), "the server did not end in order");
}
