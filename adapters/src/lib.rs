//! The adapters of the order engine: what carries the core's decisions out.

pub mod gateway;
pub mod http;
pub use a4co_driver::handle;
