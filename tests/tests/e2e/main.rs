//! End-to-end tests: the real binary over HTTP. Each test has a server of its own, so they
//! run side by side.

mod bad_input;
mod cancel;
mod console;
mod crash;
mod damage;
mod full_disk;
mod idempotency;
mod lists;
mod metrics;
mod outcomes;
mod process;
mod prometheus;
mod refunds;
mod scarce;
mod tools;
mod traces;
