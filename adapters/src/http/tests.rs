//! Tests of the whole router, over the production loop with a log in memory.

mod any_bytes;
mod bodies;
mod errors;
mod idempotency;
mod orders;
mod payments;
mod process;
mod shop;
mod stock;
mod tcp;
