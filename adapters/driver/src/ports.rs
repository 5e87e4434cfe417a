//! What the loop needs from the outside. Production implements these over a real disk,
//! sled and the system's clock; a simulator over simulated ones.

use std::future::Future;
use std::sync::Arc;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::record::Snapshot;
use a4co_core::row::{Row, RowKey};
use a4co_core::time::{Millis, Timestamp};

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No room. Nothing changed; the same record may be tried again.
    #[error("the log has no room: {0}")]
    Full(String),
    /// Whether the record is there is unknown, and the process must end: a second sync
    /// may succeed without having written anything.
    #[error("the log failed, and this process must end: {0}")]
    Fatal(String),
}

/// The log of the embedded host.
pub trait Log {
    /// Makes one record durable and returns its sequence. Blocks.
    ///
    /// # Errors
    /// [`LogError`].
    fn append(&mut self, record: &[u8]) -> Result<u64, LogError>;

    /// Is there room for at least this many further bytes, whatever the disk does?
    fn has_room(&self, bytes: usize) -> bool;

    /// Has enough been written since the last snapshot that another is due?
    fn wants_snapshot(&self) -> bool;

    /// Takes the state as of the last append, to be written in the background. What
    /// fails there is reported there; the log goes on without it.
    fn snapshot(&mut self, state: &Snapshot);
}

/// The rows that readers see.
pub trait Rows {
    /// Shows the rows of a record that is durable. May wait while too many rows have not
    /// been applied yet.
    fn publish(&mut self, sequence: u64, rows: Vec<Row>);

    /// Looks rows up and sends each to `sink`, from wherever that does not block the loop.
    /// A row that cannot be read is tried until it can be: "there is none" is said only
    /// when it is so.
    fn fetch(&self, keys: Vec<RowKey>, sink: &Arc<dyn RowSink>);
}

/// Takes fetched rows back into the loop. Never blocks.
pub trait RowSink: Send + Sync + 'static {
    /// Hands over the row, or that there is none.
    fn fetched(&self, key: RowKey, row: Option<Row>);
}

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

/// A payment gateway. What its adapter owes is written at [`a4co_core::gateway`].
pub trait Gateway: Send + Sync + 'static {
    /// The gateway's name in the API, such as `sandbox`.
    fn name(&self) -> &'static str;

    /// Takes the calls of one commit. Must not block on the network: a call whose answer
    /// takes time is answered later, from a task of the adapter's own; one whose answer
    /// is known at once may be answered before this returns.
    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>);
}

/// The clock and the timer.
pub trait Clock {
    /// Now: never earlier than before, within one process.
    fn now(&self) -> Timestamp;

    /// Resolves after this long, or a little later.
    fn sleep(&self, length: Millis) -> impl Future<Output = ()>;
}

/// What wants to know of every commit: metrics, logs.
pub trait Observer {
    /// A record of this many bytes is durable, and these rows are what it changed.
    fn committed(&mut self, sequence: u64, bytes: usize, rows: &[Row]);

    /// Whether new commands are taken, as far as the log is concerned.
    fn room(&mut self, has_room: bool);
}
