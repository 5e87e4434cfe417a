//! Payment gateways: the port (it belongs to the driver) and its implementations.

pub mod sandbox;
pub mod stripe;

pub use a4co_driver::ports::{AnswerSink, Gateway, GatewayAnswer};
