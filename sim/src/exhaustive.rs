//! The exhaustive layer: every interleaving of a small world, to the end.
//!
//! One order of two products, three participants as separate nodes with a clock each, a
//! gateway that may answer in every way, and at most so many of each fault. Where the
//! seeds of the main layer sample a large world, this leaves nothing out of a small one.
//!
//! ```text
//! What is so in this world
//!  - a message is delivered in any order, also within a journal, and a bounded number of
//!    them twice: more than journals and cursors ever do;
//!  - a fact that is lost is sent again, which is to deliver it later: any order has it.
//!    What is lost for good is a gateway call, or its answer;
//!  - a crash leaves a journal: the state is rebuilt from its bytes, the call that was under
//!    way is forgotten (it may still arrive), and what was being read is read again;
//!  - a timer fires at any moment, a bounded number of times; at rest, time passes.
//! ```

mod explore;
mod gateway;
mod model;
mod node;
mod report;
mod world;

pub use explore::{Explored, explore};
pub use report::run;
pub use world::Bounds;
