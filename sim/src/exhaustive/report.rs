//! What an exploration prints, and the process's exit code.

use std::process::ExitCode;
use std::time::Instant;

use super::explore::{ASKED, explore};
use super::world::Bounds;

/// Explores, prints states, transitions, depth, time and the table of properties, and the
/// steps to what is wrong.
#[must_use]
pub fn run(bounds: Bounds) -> ExitCode {
    let start = Instant::now();
    crate::say!("at most: {bounds:?}");
    let found = explore(bounds);
    let [order, inventory, payment] = found.nodes;
    crate::say!(
        "{} states, {} transitions, depth {}, {:.1} s; \
         states of order {order}, inventory {inventory}, payment {payment}; {} distinct cuts checked",
        found.states,
        found.transitions,
        found.depth,
        start.elapsed().as_secs_f64(),
        found.cuts,
    );
    if found.failure.is_none() {
        crate::say!(
            "messages that nobody takes notice of: {} decisions asked, none decided anything",
            found.unnoticed
        );
    }
    crate::say!(
        "events decided: {}",
        found.events.iter().copied().collect::<Vec<_>>().join(" ")
    );
    crate::say!("ends, with the worlds at rest that ended so:");
    for (end, worlds) in &found.ends {
        crate::say!("  {worlds:>9}  {end}");
    }
    let failed = found.failure.as_ref().map(|(failure, _)| failure.check);
    crate::say!("properties:");
    for name in ASKED {
        let verdict = match failed {
            Some(check) if check == name => "VIOLATED",
            Some(_) => "not violated until then",
            None => "holds",
        };
        crate::say!("  {name:<38} {verdict}");
    }
    let Some((failure, trace)) = found.failure else {
        return ExitCode::SUCCESS;
    };
    crate::say!("the steps that lead there:");
    for (number, step) in (1..).zip(&trace) {
        crate::say!("  {number:>3}  {step}");
    }
    crate::say!("FAILED {failure}");
    ExitCode::from(failure.kind.exit_code())
}
