//! One run of a plan, with a panic of the code under test as one of its outcomes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coverage::Cells;
use crate::detail::{self, OrderEnd};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::verdict::{Failure, Kind};
use crate::world::{Stats, World};

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The failed check, if one failed.
    pub failure: Option<Failure>,
    /// In numbers.
    pub stats: Stats,
    /// What happened.
    pub trace: Trace,
    /// What was reached.
    pub cells: Cells,
    /// How each order ended, where lines are kept.
    pub orders: Vec<OrderEnd>,
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, keep_lines: bool) -> Outcome {
    let mut world = World::new(plan, keep_lines);
    let answer = catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = match answer {
        Ok(answer) => answer.err(),
        Err(panic) => Some(Failure {
            kind: Kind::Crash,
            check: "no_panic",
            detail: panic_text(panic.as_ref()),
            at_us: world.now_us,
        }),
    };
    let orders = if keep_lines {
        detail::ends(&world)
    } else {
        Vec::new()
    };
    let trace = std::mem::take(&mut world.trace);
    Outcome {
        failure,
        stats: std::mem::take(&mut world.stats),
        trace,
        cells: std::mem::take(&mut world.audit.ledger.cells),
        orders,
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
