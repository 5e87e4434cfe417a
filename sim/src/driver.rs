//! The driver layer: the production loop around the host, on madsim's executor.
//!
//! The main layer mirrors the driver; this one runs it. Log, rows, gateway, clock and
//! observer are simulated, and whatever else a process's threads could be doing while the
//! loop is inside one of them is done there and then (`slots::interleave`).
//!
//! ```text
//! What keeps a seed one run
//!  - a thread of its own for each run, since madsim and hash maps keep things by thread;
//!  - madsim's executor chooses among the tasks that can go on, by the seed;
//!  - no clock but madsim's, no file, no other runtime.
//! ```

mod calls;
mod clients;
mod life;
mod ports;
mod slots;
mod swarm;
mod world;

use crate::run::{Outcome, panic_text};
use crate::verdict::{Failure, Kind};

/// Runs the seed's plan to its end, on a thread of its own.
///
/// # Panics
/// When the machine gives no thread.
#[must_use]
pub fn run(seed: u64, keep_lines: bool) -> Outcome {
    let thread = std::thread::spawn(move || run_here(seed, keep_lines));
    #[expect(clippy::expect_used, reason = "the run catches its own panics")]
    thread.join().expect("a run that ends")
}

fn run_here(seed: u64, keep_lines: bool) -> Outcome {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    world::begin(swarm::plan(seed), keep_lines);
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let runtime =
            madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.block_on(life::all());
    }));
    let (mut outcome, at_us) = world::end();
    if let Err(panic) = answer {
        outcome.failure = Some(Failure {
            kind: Kind::Crash,
            check: "no_panic",
            detail: panic_text(panic.as_ref()),
            at_us,
        });
    }
    outcome
}
