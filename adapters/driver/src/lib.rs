//! The async glue around the sans-IO host: the loop that carries its outputs out.
//!
//! Everything outside is behind a port ([`ports`]), so that the production loop also runs
//! in a simulator. It starts no thread and reads no clock of its own.
//!
//! ```text
//! What the loop promises
//!  - one record is in the making at a time; the log's append is its only blocking call;
//!  - rows are published before the replies that speak of them leave;
//!  - every command that was taken is answered, or its sender sees that the engine stopped.
//! ```

pub mod driver;
pub mod handle;
#[cfg(not(feature = "planted"))]
mod planted;
#[cfg(feature = "planted")]
pub mod planted;
pub mod ports;
pub mod replicated;
pub mod watch;

pub use driver::{Driver, DriverError, Stopped};
pub use handle::{EngineHandle, Submission, SubmitError};
pub use watch::Watches;
