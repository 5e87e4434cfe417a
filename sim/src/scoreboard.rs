//! The proof that the checks can fail: mistakes planted in the engine and the log, switched
//! on one at a time, and the seeds that it takes to see each.
//!
//! Needs a build with the feature `planted`; without it the program builds and runs one.

use std::process::ExitCode;

use crate::cli::Options;
#[cfg(feature = "planted")]
use crate::cli::Side;

/// Seeds within which a mistake must be seen.
#[cfg(feature = "planted")]
const SEEDS_MAX: u64 = 2_000;

/// Mistakes in answers to messages that come late, twice or out of order between the
/// participants: in one process each message is read once, in order, in the same commit. A
/// few seeds try all the same; what is seen is no longer out of reach.
#[cfg(feature = "planted")]
const OUT_OF_REACH: &[&str] = &[
    "confirmed_before_committed",
    "cursor_saved_before_commit",
    "partial_refund_ends_the_undo",
    "refund_of_another_number_taken",
    "refund_while_undone",
    "second_undo_refunds_again",
    "unread_lost_at_restart",
    "unread_lost_in_snapshot",
];

/// Mistakes of the replicated host, and those that only several processes can reach.
#[cfg(feature = "planted")]
fn of_the_cluster(name: &str) -> bool {
    a4co_core::planted::REPLICATED.contains(&name)
}

#[cfg(feature = "planted")]
fn seeds_max(name: &str) -> u64 {
    match name {
        _ if OUT_OF_REACH.contains(&name) => 50,
        // The power has to go in between two operations that come rarely.
        "history_goes_before_the_base_is_durable" => 40_000,
        "spare_taken_without_sync" => 10_000,
        // A refund has to arrive in the very moment in which its charge is being committed.
        "recall_forgotten" => 5_000,
        _ => SEEDS_MAX,
    }
}

/// Is the canary switched on, which every run must see?
#[cfg(not(feature = "planted"))]
pub(crate) const fn canary_sings() -> bool {
    false
}

#[cfg(feature = "planted")]
static CANARY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Is the canary switched on, which every run must see?
#[cfg(feature = "planted")]
pub(crate) fn canary_sings() -> bool {
    CANARY.load(std::sync::atomic::Ordering::Relaxed)
}

/// Builds the simulator with the mistakes in it, and runs its scoreboard.
#[cfg(not(feature = "planted"))]
pub(crate) fn run(_: &Options) -> ExitCode {
    let arguments = [
        "run",
        "--release",
        "-q",
        "-p",
        "sim",
        "--features",
        "planted",
        "--",
    ];
    let status = std::process::Command::new("cargo")
        .args(arguments)
        .args(std::env::args().skip(1))
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(crate::cli::EXIT_USAGE)),
        _ => ExitCode::from(crate::cli::EXIT_USAGE),
    }
}

/// Prints each mistake, the check that caught it, and the seeds that it took.
#[cfg(feature = "planted")]
pub(crate) fn run(options: &Options) -> ExitCode {
    // A panic is one of the ways to be seen; its words are not wanted here.
    std::panic::set_hook(Box::new(|_| {}));
    let core = a4co_core::planted::NAMES;
    let journal = a4co_journal::planted::NAMES;
    let mut missed = 0;
    let mut shown = 0;
    let mut beyond = 0;
    let driver = a4co_driver::planted::NAMES;
    let all = core.iter().chain(journal).chain(driver);
    for name in [&"canary"].into_iter().chain(all) {
        if options.bug.as_ref().is_some_and(|bug| bug != name) {
            continue;
        }
        shown += 1;
        CANARY.store(*name == "canary", std::sync::atomic::Ordering::Relaxed);
        a4co_core::planted::select(core.contains(name).then_some(name));
        a4co_journal::planted::select(journal.contains(name).then_some(name));
        a4co_driver::planted::select(driver.contains(name).then_some(name));
        let side = if driver.contains(name) {
            Side::Driver
        } else if of_the_cluster(name) {
            Side::Replicated
        } else {
            Side::Embedded
        };
        let found = crate::batch::first_failure(options.from, seeds_max(name), options.jobs, side);
        match found {
            Some((seed, failure)) => {
                let seeds = seed - options.from + 1;
                let check = failure.check;
                crate::say!("{name:<38} {check:<34} {seeds:>5} seeds");
            }
            None => {
                if OUT_OF_REACH.contains(name) {
                    beyond += 1;
                    crate::say!("{name:<38} out of reach of one process");
                    continue;
                }
                missed += 1;
                let seeds = seeds_max(name);
                crate::say!("{name:<38} {:<34} {seeds:>5} seeds", "NOT FOUND");
            }
        }
    }
    CANARY.store(false, std::sync::atomic::Ordering::Relaxed);
    a4co_core::planted::select(None);
    a4co_journal::planted::select(None);
    a4co_driver::planted::select(None);
    let found = shown - missed - beyond;
    crate::say!("{found} of {shown} found in time, {beyond} out of reach");
    ExitCode::from(u8::from(missed > 0))
}
