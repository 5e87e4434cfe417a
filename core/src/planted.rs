//! Mistakes that can be switched on, in a build made for it: the proof that the checks
//! would see them. The product is built without the feature `planted`, and then nothing of
//! this is there.

#[cfg(feature = "planted")]
mod switch {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::NAMES;

    /// One above the place in [`NAMES`]; 0: none.
    static SELECTED: AtomicUsize = AtomicUsize::new(0);

    /// Switches one mistake on and all others off. False: there is none of this name.
    pub fn select(name: Option<&str>) -> bool {
        let place = name.map(|name| NAMES.iter().position(|known| *known == name));
        let selected = place.flatten().map_or(0, |place| place + 1);
        SELECTED.store(selected, Ordering::Relaxed);
        place != Some(None)
    }

    pub(crate) fn is_on(name: &str) -> bool {
        let selected = SELECTED.load(Ordering::Relaxed);
        selected != 0 && NAMES[selected - 1] == name
    }
}

#[cfg(feature = "planted")]
pub use switch::select;

#[cfg(feature = "planted")]
pub(crate) use switch::is_on;

#[cfg(not(feature = "planted"))]
pub(crate) const fn is_on(_: &str) -> bool {
    false
}

/// Is this mistake switched on? Always `false`, and known to the compiler to be, in a
/// build without the feature.
macro_rules! planted {
    ($name:literal) => {
        cfg!(feature = "planted") && $crate::planted::is_on($name)
    };
}
pub(crate) use planted;

/// Every mistake that can be switched on here.
#[cfg(feature = "planted")]
pub const NAMES: &[&str] = &[
    "success_after_timeout_dropped",
    "refund_branch_never_reached",
    "late_success_after_decline_dropped",
    "unknown_is_failure",
    "not_found_is_failure",
    "cancel_unknown_is_cancelled",
    "nothing_left_is_always_said",
    "refund_of_another_number_taken",
    "refused_refund_is_over",
    "refused_capture_is_tried_for_ever",
    "refused_capture_is_a_capture",
    "refused_capture_is_not_shown",
    "refund_under_way_is_not_asked_for",
    "refund_that_fails_late_is_over",
    "unknown_refund_is_refunded",
    "parked_is_forgotten",
    "refund_beyond_charge",
    "refund_while_undone",
    "second_undo_refunds_again",
    "retry_under_new_key",
    "second_capture_on_webhook_race",
    "refund_charged_amount",
    "settled_while_refund_is_owed",
    "state_check_before_duplicate_check",
    "fingerprint_not_compared",
    "compensated_before_acknowledged",
    "partial_refund_ends_the_undo",
    "confirmed_order_is_cancelled",
    "cancel_says_ok_and_does_nothing",
    "time_out_keeps_the_charge",
    "decline_keeps_the_hold",
    "confirmed_before_committed",
    "payment_asked_without_total",
    "write_off_takes_reserved",
    "check_and_reserve_not_atomic",
    "lines_checked_one_by_one",
    "last_unit_sold_twice",
    "only_first_shortage_named",
    "hold_shorter_than_payment",
    "release_of_expired_says_nothing",
    "released_units_stay_reserved",
    "released_twice",
    "sold_units_stay_on_hand",
    "reply_before_fsync",
    "call_before_fsync",
    "clock_that_jumps_back",
    "time_lost_at_restart",
    "cursor_saved_before_commit",
    "tombstone_forgotten",
    "timers_lost_at_restart",
    "calls_lost_at_restart",
    "answer_not_kept",
    "kept_answer_of_another_request",
    "recall_forgotten",
    "fetched_row_changed_unrecorded",
    "stale_look_up",
    "row_not_shown",
    "state_only_in_memory",
    "two_calls_at_once",
    "one_timer_loses_the_others",
    "pipelined_appends",
    "open_frame_counts_as_durable",
    "unread_lost_at_restart",
    "unread_lost_in_snapshot",
    "rows_not_shown_at_all",
    "full_disk_takes_orders",
    "second_append_in_flight",
    "unknown_append_is_refused",
    "wrong_last_is_fenced",
    "wrong_last_is_stored",
    "claim_skipped",
    "appends_behind_what_it_has_not_read",
    "sent_counts_as_stored",
    "stale_epoch_is_applied",
    "shorter_stream_accepted",
    "message_that_is_no_entry_is_skipped",
    "snapshot_ahead_of_its_journal",
    "follower_calls_the_gateway",
    "unread_facts_lost_in_snapshot",
    "facts_dropped_when_read",
    "answered_and_then_refused",
    "gap_in_a_tail_is_ignored",
    "lease_taken_for_the_journal",
    "undo_forgets_a_shard",
    "answer_of_a_shard_counts_again",
    "one_shard_reserves_for_all",
    "one_shard_commits_for_all",
    "one_shard_releases_for_all",
    "sold_stock_is_not_returned",
    "every_shard_takes_every_line",
    "cursor_of_another_shard_advanced",
];

/// Those that only several shards of a participant reach.
#[cfg(feature = "planted")]
pub const SHARDED: &[&str] = &[
    "undo_forgets_a_shard",
    "answer_of_a_shard_counts_again",
    "one_shard_reserves_for_all",
    "one_shard_commits_for_all",
    "one_shard_releases_for_all",
    "sold_stock_is_not_returned",
    "every_shard_takes_every_line",
    "cursor_of_another_shard_advanced",
];

/// Those of the replicated host, and those that only messages between processes reach.
#[cfg(feature = "planted")]
pub const REPLICATED: &[&str] = &[
    "second_append_in_flight",
    "unknown_append_is_refused",
    "wrong_last_is_fenced",
    "wrong_last_is_stored",
    "claim_skipped",
    "appends_behind_what_it_has_not_read",
    "sent_counts_as_stored",
    "stale_epoch_is_applied",
    "shorter_stream_accepted",
    "message_that_is_no_entry_is_skipped",
    "snapshot_ahead_of_its_journal",
    "follower_calls_the_gateway",
    "unread_facts_lost_in_snapshot",
    "facts_dropped_when_read",
    "answered_and_then_refused",
    "gap_in_a_tail_is_ignored",
    "lease_taken_for_the_journal",
    "confirmed_before_committed",
    "cursor_saved_before_commit",
    "partial_refund_ends_the_undo",
];
