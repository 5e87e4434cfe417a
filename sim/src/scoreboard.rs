//! The proof that the checks can fail: mistakes planted in the engine and the log, switched
//! on one at a time, and the seeds that it takes to see each; or one of them for an ordinary
//! run, to look at how it fails.
//!
//! Needs a build with the feature `planted`; without it the program builds and runs one.

use std::process::ExitCode;

#[cfg(feature = "planted")]
use crate::cli::Options;
#[cfg(feature = "planted")]
use crate::cli::Side;

/// Seeds within which a mistake must be seen.
#[cfg(feature = "planted")]
const SEEDS_MAX: u64 = 2_000;

/// Mistakes of the embedded host that only a reader which waits for a row meets. With the
/// deciders as they are, none ever waits: in one process each journal is read in the very
/// record in which it is written, so that a row is in memory whenever a fact of another
/// journal needs it (a hold until its order has committed or undone it, a payment until its
/// order has read its end). The code is there for deciders that look further back. A few
/// seeds try all the same; what is seen is no longer out of reach.
#[cfg(feature = "planted")]
const OUT_OF_REACH: &[&str] = &["unread_lost_at_restart", "unread_lost_in_snapshot"];

/// Mistakes in the deciders that show where one journal hears of another's event late: in
/// one process it is read in the same commit.
#[cfg(feature = "planted")]
const SEEN_BETWEEN_PROCESSES: &[&str] =
    &["partial_refund_ends_the_undo", "second_undo_refunds_again"];

/// Mistakes of the replicated host, and those that only several processes can reach.
#[cfg(feature = "planted")]
fn of_the_cluster(name: &str) -> bool {
    a4co_core::planted::REPLICATED.contains(&name)
        || SEEN_BETWEEN_PROCESSES.contains(&name)
        || name == "position_not_waited_for"
}

/// Mistakes that take more than [`SEEDS_SMALL_MAX`] seeds: `--small` leaves them out.
#[cfg(feature = "planted")]
const RARELY_SEEN: &[&str] = &[
    "appends_behind_what_it_has_not_read",
    "full_record_dropped",
    "history_goes_before_the_base_is_durable",
    "recall_forgotten",
    "refund_that_fails_late_is_over",
    "refund_under_way_is_not_asked_for",
    "released_twice",
    "sold_stock_is_not_returned",
    "spare_taken_without_sync",
    "stale_look_up",
];

/// Seeds within which all others are seen.
#[cfg(feature = "planted")]
const SEEDS_SMALL_MAX: u64 = 400;

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

/// Mistakes of the simulator's own parts: the canary, which every run must see, a store that
/// shows readers what was before the last change, and a process of a cluster that answers a
/// read before it is as far as the position that the read names.
#[cfg(feature = "planted")]
const OWN: [&str; 3] = ["canary", "stale_read", "position_not_waited_for"];

/// Which of [`OWN`] is switched on.
#[cfg(feature = "planted")]
static OWN_SELECTED: std::sync::atomic::AtomicUsize =
    std::sync::atomic::AtomicUsize::new(usize::MAX);

#[cfg(feature = "planted")]
fn is_on(own: usize) -> bool {
    OWN_SELECTED.load(std::sync::atomic::Ordering::Relaxed) == own
}

#[cfg(not(feature = "planted"))]
const fn is_on(_: usize) -> bool {
    false
}

/// Is the canary switched on, which every run must see?
pub(crate) fn canary_sings() -> bool {
    is_on(0)
}

/// Does the store show what was before the last change?
pub(crate) fn stale_reads() -> bool {
    is_on(1)
}

/// Do reads in a cluster not wait for the position that they name?
pub(crate) fn reads_without_waiting() -> bool {
    is_on(2)
}

/// Builds the simulator with the mistakes in it, and runs that with the same arguments.
#[cfg(not(feature = "planted"))]
pub(crate) fn rebuilt() -> ExitCode {
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

/// Every mistake that there is, the canary first.
#[cfg(feature = "planted")]
fn names() -> impl Iterator<Item = &'static str> {
    let core = a4co_core::planted::NAMES.iter();
    let others = a4co_journal::planted::NAMES
        .iter()
        .chain(a4co_driver::planted::NAMES);
    OWN.iter().chain(core).chain(others).copied()
}

/// Where a mistake can be seen.
#[cfg(feature = "planted")]
fn side_of(name: &str) -> Side {
    if a4co_driver::planted::NAMES.contains(&name) {
        Side::Driver
    } else if a4co_core::planted::SHARDED.contains(&name) {
        Side::Shards(Some(2))
    } else if of_the_cluster(name) {
        Side::Replicated
    } else {
        Side::Embedded
    }
}

/// Switches this mistake on and all others off.
#[cfg(feature = "planted")]
fn select(name: Option<&str>) {
    let own = OWN.iter().position(|own| Some(*own) == name);
    OWN_SELECTED.store(
        own.unwrap_or(usize::MAX),
        std::sync::atomic::Ordering::Relaxed,
    );
    let of = |names: &[&str]| name.filter(|name| names.contains(name));
    a4co_core::planted::select(of(a4co_core::planted::NAMES));
    a4co_journal::planted::select(of(a4co_journal::planted::NAMES));
    a4co_driver::planted::select(of(a4co_driver::planted::NAMES));
}

/// Switches a mistake on for whatever is run.
///
/// # Errors
/// There is none of this name, or the layer does not run the code that it is in.
#[cfg(feature = "planted")]
pub(crate) fn switch_on(name: &str, side: Side) -> Result<(), String> {
    if !names().any(|known| known == name) {
        let all: Vec<&str> = names().collect();
        return Err(format!(
            "no mistake {name:?}; there are: {}",
            all.join(", ")
        ));
    }
    if side_of(name) == Side::Driver && side != Side::Driver {
        return Err(format!(
            "{name} is in the driver's loop: add --layer driver"
        ));
    }
    if side_of(name) == Side::Replicated && matches!(side, Side::Embedded | Side::Driver) {
        return Err(format!(
            "{name} shows in the replicated host only: add --host replicated"
        ));
    }
    if matches!(side_of(name), Side::Shards(_)) && !matches!(side, Side::Shards(_)) {
        return Err(format!(
            "{name} shows between shards only: add --host replicated --shards 2"
        ));
    }
    if OWN.contains(&name) && side == Side::Driver {
        return Err(format!("{name} is in the main layer only"));
    }
    select(Some(name));
    Ok(())
}

/// Prints each mistake, the check that caught it, and the seeds that it took.
#[cfg(feature = "planted")]
pub(crate) fn run(options: &Options) -> ExitCode {
    // A panic is one of the ways to be seen; its words are not wanted here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = 0;
    let mut shown = 0;
    let mut beyond = 0;
    for name in names() {
        if options.bug.as_deref().is_some_and(|bug| bug != name) {
            continue;
        }
        let is_rare = RARELY_SEEN.contains(&name);
        if options.small && (is_rare || OUT_OF_REACH.contains(&name)) {
            crate::say!("{name:<38} left out of the smaller scoreboard");
            continue;
        }
        let seeds_max = match seeds_max(name) {
            most if options.small => most.min(SEEDS_SMALL_MAX),
            most => most,
        };
        shown += 1;
        select(Some(name));
        let found =
            crate::batch::first_failure(options.from, seeds_max, options.jobs, side_of(name));
        match found {
            Some((seed, failure)) => {
                let seeds = seed - options.from + 1;
                let check = failure.check;
                crate::say!("{name:<38} {check:<34} {seeds:>5} seeds");
            }
            None => {
                if OUT_OF_REACH.contains(&name) {
                    beyond += 1;
                    crate::say!("{name:<38} out of reach");
                    continue;
                }
                missed += 1;
                crate::say!("{name:<38} {:<34} {seeds_max:>5} seeds", "NOT FOUND");
            }
        }
    }
    select(None);
    let found = shown - missed - beyond;
    crate::say!("{found} of {shown} found in time, {beyond} out of reach");
    ExitCode::from(u8::from(missed > 0))
}
