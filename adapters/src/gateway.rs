//! The port to a payment gateway.
//!
//! ```text
//! What a gateway adapter owes the engine (see `a4co_core::gateway`)
//!  - every call is answered exactly once, `Unknown` when it gave up waiting;
//!  - two calls with one idempotency key are one call at the gateway;
//!  - after `Cancelled`, no charge of that payment succeeds any more.
//! ```

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::OrderId;

/// An answer on its way to the engine: the outcome of a call, or (`operation` is
/// `None`) what the gateway reported by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAnswer {
    /// Whose payment.
    pub order_id: OrderId,
    /// What had been called.
    pub operation: Option<GatewayOperation>,
    /// What it came to.
    pub outcome: GatewayOutcome,
}

/// Takes answers to the engine. Cheap to clone; callable from any thread, also from
/// within [`Gateway::submit`].
pub trait AnswerSink: Send + Sync + 'static {
    /// Hands over one answer. Never blocks.
    fn deliver(&self, answer: GatewayAnswer);
}

/// A payment gateway.
pub trait Gateway: Send + Sync + 'static {
    /// The gateway's name in the API, such as `sandbox`.
    fn name(&self) -> &'static str;

    /// Takes the calls of one commit. Must not block on the network: a call whose answer
    /// takes time is answered later, from a task of the adapter's own; one whose answer
    /// is known at once may be answered before this returns.
    fn submit(&self, calls: Vec<GatewayCall>, answers: &std::sync::Arc<dyn AnswerSink>);
}
