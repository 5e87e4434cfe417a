//! The running binary against its own OpenAPI description, by schemathesis.
//!
//! Apart from the other end-to-end tests because it needs a program from outside, which
//! `./test api` installs.

use std::path::Path;
use std::process::Command;

use a4co_tests::server::Server;
use serde_json::json;

#[test]
fn schemathesis_finds_no_failure() {
    let program = std::env::var_os("A4CO_SCHEMATHESIS")
        .expect("A4CO_SCHEMATHESIS names the program; ./test api installs it and sets this");
    let server = Server::start();
    // The product of the description's examples, so that some orders come to something.
    let product = json!({ "name": "Espresso cup", "price": 9.50, "onHandQuantity": 1_000_000 });
    let put = server
        .client()
        .put("/api/v1/inventory/products/espresso-cup", &product);
    put.expect(201);
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
