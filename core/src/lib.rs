//! The pure core of the order engine: it decides, and carries nothing out.
//!
//! ```text
//! The contract, for those who drive it
//!  - no I/O, no clock, no randomness, no threads: time and ids are arguments;
//!  - `handle_input` first, then `poll_output` until it has nothing more;
//!  - nothing that an output promises holds before the append that it rests on is
//!    durable, and no such output leaves earlier;
//!  - the same inputs in the same order give the same outputs, byte for byte.
//! ```
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command;
pub mod decider;
pub mod embedded;
pub mod engine;
pub mod gateway;
pub mod ids;
pub mod invariants;
pub mod inventory;
pub mod limits;
pub mod money;
pub mod order;
pub mod payment;
#[cfg(not(feature = "planted"))]
mod planted;
#[cfg(feature = "planted")]
pub mod planted;
pub mod record;
pub mod rejection;
pub mod replicated;
pub mod row;
pub mod settings;
pub mod shards;
pub mod time;
pub mod trace;
