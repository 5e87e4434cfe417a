//! Harness of the end-to-end tests: the real binary on a data folder of its own, and HTTP
//! as a client speaks it.
//!
//! Black box: nothing here knows the product's types, so that a test fails when what a
//! client sees changes. Waiting is polling with a deadline, never a pause that is hoped to
//! be long enough; the deadlines are far beyond what a loaded machine needs.

pub mod books;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod nats;
pub mod server;
pub mod shop;
pub mod stripe;

pub use client::{Answer, Client};
pub use server::{Options, Server, binary};
pub use shop::{Order, Outcome};

use std::time::{Duration, Instant};

/// How long anything may take that should be quick, on a machine that is busy with
/// something else.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none after [`PATIENCE`], with `what` and the last reason.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(reason) => assert!(
                Instant::now() < deadline,
                "{what}: not within {PATIENCE:?}: {reason}"
            ),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
