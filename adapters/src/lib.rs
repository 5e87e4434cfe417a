//! The adapters of the order engine: what carries the core's decisions out.

pub mod bench;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod demo_catalogue;
pub mod embedded;
pub mod events;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod nats;
pub mod ops;
pub mod serve;
pub mod telemetry;
mod tls;
pub mod trace;
pub use a4co_driver::handle;
