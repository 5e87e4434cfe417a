//! The exhaustive layer: the smaller world holds, and reaches what it is for. In the build
//! with planted mistakes: it finds them, and shows the steps.

use sim::exhaustive::{Bounds, explore};

#[cfg(not(feature = "planted"))]
#[test]
fn the_smaller_world_holds_and_reaches_every_kind_of_end() {
    let found = explore(Bounds::SMALL);
    assert_eq!(found.failure, None);
    for end in [
        "CONFIRMED, paid",
        "FAILED, never charged",
        "CANCELLED (changed my mind), never charged",
        "CANCELLED (changed my mind), refunded",
        "CANCELLED (payment failed: card_declined), declined",
        "CANCELLED (payment timeout: no answer in time), not charged",
        "CANCELLED (the stock reservation expired), refunded",
        "CANCELLED (timeout: the order took too long), refunded",
    ] {
        assert!(found.ends.contains_key(end), "{end}: {:#?}", found.ends);
    }
    assert!(found.states > 100_000, "{} states", found.states);
    // The same worlds each time.
    let again = explore(Bounds::SMALL);
    assert_eq!(
        (found.states, found.transitions, found.depth),
        (again.states, again.transitions, again.depth)
    );
}

/// Each with the check that sees it. One test, because a mistake is switched on for the
/// whole process.
#[cfg(feature = "planted")]
#[test]
fn planted_mistakes_are_found_with_the_steps_that_lead_there() {
    let small = [
        ("success_after_timeout_dropped", "no_run_without_end"),
        ("decline_keeps_the_hold", "cancelled_implies_nothing_held"),
        (
            "compensated_before_acknowledged",
            "cancelled_implies_nothing_held",
        ),
        (
            "time_out_keeps_the_charge",
            "cancelled_implies_nothing_held",
        ),
        (
            "confirmed_before_committed",
            "confirmed_implies_committed_and_paid",
        ),
        ("cancel_says_ok_and_does_nothing", "accepted_cancel_undoes"),
        ("released_twice", "terminal_is_final"),
    ];
    let mut wrong = Vec::new();
    for (name, check) in small {
        assert!(a4co_core::planted::select(Some(name)), "no mistake {name}");
        match explore(Bounds::SMALL).failure {
            Some((failure, trace)) if failure.check == check && !trace.is_empty() => {}
            Some((failure, trace)) => wrong.push(format!("{name}: {failure}\n{trace:#?}")),
            None => wrong.push(format!("{name}: not found")),
        }
    }
    a4co_core::planted::select(None);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        explore(Bounds::SMALL).failure,
        None,
        "without a mistake it holds"
    );
}
