//! The adapters of the order engine: what carries the core's decisions out.

pub mod gateway;
pub mod handle;
