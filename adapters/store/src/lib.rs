//! The rebuildable store: the rows of the engine's state, for those who read.
//!
//! ```text
//! What the view promises
//! 1. Whoever reads after publish() has returned sees at least what was published.
//! 2. applied() is truthful: every row published up to there is in sled, also after a
//!    kill -9. What was published later is published again, from the log, by the caller.
//! 3. It is never the truth. Whatever is wrong with it, the answer is to delete it and
//!    to publish the log again; open() says so by returning 0 as the applied sequence.
//! 4. A full or failing disk stops no one: what is published stays readable in memory,
//!    and sled follows when there is room.
//! 5. Memory grows with what is not applied yet, with products and with active orders;
//!    history costs sled's page table, some tens of bytes an order.
//! ```
//!
//! It reads no clock that the product's time rests on, and decides nothing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod cursor;
mod disk;
mod error;
mod inspect;
mod keys;
mod options;
mod overlay;
mod prune;
mod query;
mod record;
mod runs;
mod view;
mod worker;

pub use cursor::{Cursor, CursorError};
pub use error::{Reason, StoreError};
pub use inspect::Inspection;
pub use options::{Fault, FaultPoint, FreeSpace, Options};
pub use prune::Pruned;
pub use query::{OrderQuery, Page};
pub use view::{Health, Metrics, Opened, Pressure, View};
