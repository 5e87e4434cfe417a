//! Mistakes planted in the replicated host: the simulator sees each within a few seeds. One
//! test, since a mistake is switched on for the whole program. `--scoreboard` runs them all.
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sim::cluster::swarm;
use sim::run;

/// Each with the check that sees it, and the seeds that may be needed.
const MISTAKES: &[(&str, &str, u64)] = &[
    ("second_append_in_flight", "one_append_in_flight", 5),
    ("unknown_append_is_refused", "one_append_in_flight", 10),
    ("claim_skipped", "one_committer", 5),
    ("sent_counts_as_stored", "output_after_commit", 5),
    ("follower_calls_the_gateway", "only_the_leader_calls", 5),
    // In one process each fact is read in the commit that it is written in.
    ("partial_refund_ends_the_undo", "model_causes", 10),
    ("second_undo_refunds_again", "model_money", 10),
    (
        "message_that_is_no_entry_is_skipped",
        "nothing_on_top_of_damage",
        200,
    ),
];

#[test]
fn planted_mistakes_are_seen() {
    for (name, check, seeds) in MISTAKES {
        assert!(a4co_core::planted::select(Some(name)), "{name}");
        let seen = (0..*seeds).find_map(|seed| run(&swarm::plan(seed), false).failure);
        a4co_core::planted::select(None);
        assert_eq!(seen.map(|it| it.check), Some(*check), "{name}");
    }
    let failure = run(&swarm::plan(0), false).failure;
    assert_eq!(failure, None, "no mistake is switched on any more");
}
