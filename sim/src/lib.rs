//! The deterministic simulator of the order engine: one seed, one run, byte for byte.
//!
//! ```text
//! What it never does
//!  - read a clock to decide anything, draw a random number that is not of the seed,
//!    iterate over a hash map, or use a thread within a run;
//!  - call the code under test to learn what is right.
//! ```

/// Prints a line; whoever has stopped reading gets no more, and no panic.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}
pub(crate) use say;

pub mod audit;
mod batch;
mod calls;
pub mod cli;
mod clients;
pub mod cluster;
pub mod coverage;
mod describe;
pub mod detail;
#[cfg(madsim)]
pub mod driver;
pub mod exhaustive;
mod finish;
pub mod gateway;
pub mod html;
pub mod meaning;
pub mod plan;
mod process;
mod queue;
mod reads;
mod recovery;
mod reports;
pub mod rng;
mod run;
pub mod scenario;
mod scoreboard;
pub mod shrink;
mod store;
pub mod swarm;
pub mod trace;
pub mod verdict;
mod world;

pub use run::{Outcome, run};
pub use world::Stats;
