//! What each check means, in a sentence for whoever sees it fail for the first time.

/// Checks by name, and what it means when one fails.
const MEANINGS: &[(&str, &str)] = &[
    (
        "accepted_cancel_undoes",
        "a cancellation was accepted, and the order went on all the same",
    ),
    (
        "acknowledged_is_found",
        "somebody was told that it is done, and it is gone",
    ),
    (
        "cancelled_implies_nothing_held",
        "an order counts as cancelled while stock or money of it is still held",
    ),
    (
        "answered_once",
        "one command got two answers from a process of a cluster",
    ),
    (
        "at_rest_is_at_rest",
        "everything had ended, and something still happened",
    ),
    (
        "damage_is_noticed",
        "a stream was damaged, and nobody who reads it raised an alarm",
    ),
    (
        "no_alarm_without_cause",
        "a process raised an alarm although its streams were intact",
    ),
    (
        "nothing_on_top_of_damage",
        "a process went on appending to a stream that was damaged",
    ),
    (
        "one_committer",
        "somebody other than the leader of the present epoch appended to a journal",
    ),
    (
        "only_the_leader_calls",
        "a process called the gateway for a participant that another one leads",
    ),
    (
        "resent_unchanged",
        "an append without a definite answer was not sent again as it was",
    ),
    (
        "shown_in_order",
        "a process showed its readers rows in another order than the journal's",
    ),
    (
        "canary",
        "this mistake is planted in the simulator itself, so that every run sees it",
    ),
    (
        "charged_at_most_once",
        "money was taken twice, or asked for again after the charge had ended",
    ),
    (
        "comes_to_an_end",
        "the world goes in circles, or stands still",
    ),
    (
        "confirmed_implies_committed_and_paid",
        "an order is confirmed whose stock is not sold or whose money is not there",
    ),
    (
        "read_is_a_state",
        "a process of a cluster gave a reader what its journal has never said",
    ),
    (
        "read_sees_its_position",
        "a read named a position, and did not see what the position stands for",
    ),
    (
        "reads_never_go_back",
        "a process gave a reader something older than it had given before",
    ),
    (
        "position_is_reached",
        "a client was given a position that some process never comes to",
    ),
    (
        "unpaid_is_shown",
        "an order is confirmed and its money was refused, and nobody is told",
    ),
    (
        "damage_is_refused",
        "a bit of the log flipped, and the log was opened as if it had not",
    ),
    (
        "deadline_is_served",
        "a timer was due and nothing happened; perhaps it was not set again at the last restart",
    ),
    (
        "durable_record_is_found",
        "a record whose sync had succeeded is not in the log any more, or is another",
    ),
    (
        "ended_leaves_memory",
        "what has ended is still kept in memory",
    ),
    (
        "every_saga_ends",
        "an order, its payment or its hold never came to an end after all faults had ended",
    ),
    (
        "full_disk_refuses",
        "a command was taken although the log had no room for it",
    ),
    (
        "gateway_accepts_call",
        "the gateway was called in a way that no correct engine calls it",
    ),
    (
        "healthy_order_completes",
        "the last order, with nothing in its way any more, was not confirmed",
    ),
    (
        "journal_contiguous",
        "a journal's sequence has a gap or a repetition",
    ),
    (
        "journal_is_intact",
        "the log or a snapshot does not read as it was written",
    ),
    (
        "journal_opens_after_crash",
        "after a crash the log refuses to open, although no byte of it was damaged",
    ),
    (
        "model_body",
        "an order was created that no client had sent so",
    ),
    (
        "model_causes",
        "a participant acted on something that had not happened",
    ),
    (
        "model_money",
        "what the payment journal claims is not what the gateway's books say, or not what was asked for",
    ),
    (
        "model_saga",
        "the saga took a step that what came before does not allow, or left out an undo",
    ),
    (
        "model_shard",
        "an event is in another shard's journal, asks other shards than its order lies in, or \
         says that a shard answered what it did not",
    ),
    (
        "model_stock",
        "what the inventory journal claims is not what the auditor's own count says",
    ),
    (
        "model_time",
        "something came before its time, or with another deadline than configured",
    ),
    (
        "money_accounted",
        "captured money is neither an order's, nor refunded, nor on its way",
    ),
    ("never_oversold", "more units are promised than there are"),
    (
        "no_hold_outlives_its_end",
        "stock is still held after the hold's end had been served",
    ),
    ("no_panic", "the code under test panicked"),
    (
        "no_run_without_end",
        "from some state on, no step leads to an end any more",
    ),
    (
        "one_append_in_flight",
        "a second append was asked for before the first was answered",
    ),
    (
        "one_call_at_a_time",
        "an order had two calls to the gateway under way at once",
    ),
    (
        "output_after_commit",
        "a reply, a call or a row left the engine before what it says was durable",
    ),
    (
        "queue_count_is_true",
        "the number of commands that wait is not what it is said to be",
    ),
    (
        "read_your_writes",
        "somebody was told that it is done, and does not see it when reading",
    ),
    (
        "read_is_linearizable",
        "a client read stock as it was at no moment between its asking and the answer",
    ),
    ("record_decodes", "what was written cannot be read"),
    ("record_fits", "a record is longer than the log takes"),
    (
        "replay_equals_state",
        "what is in memory, or shown, is not what the log gives when it is replayed",
    ),
    ("reply_is_true", "a reply says what is not so"),
    (
        "restart_owes_nothing",
        "after everything had ended, a restart still calls the gateway",
    ),
    (
        "rows_follow_from_log",
        "the store shows a row that the log does not have so",
    ),
    (
        "saga_steps_legal",
        "a saga is in a state that no step leads to",
    ),
    (
        "same_key_same_answer",
        "one idempotency key had its effect twice, or two answers",
    ),
    (
        "stock_conserved",
        "units have appeared or gone: on hand and sold are not what was received",
    ),
    (
        "stop_answers_what_it_took",
        "the process stopped in good order and left a request without an answer",
    ),
    ("stop_ends", "the process was asked to stop and did not"),
    (
        "stop_finishes_what_it_took",
        "the process stopped in good order and lost something that it had decided",
    ),
    (
        "taken_is_answered",
        "a command was taken and never answered, or answered in a way that cannot be",
    ),
    (
        "terminal_is_final",
        "something that had ended changed again",
    ),
    (
        "time_never_goes_back",
        "an event is dated before the one that it follows",
    ),
    (
        "watch_misses_no_end",
        "somebody waited for an order's end and was not told of it",
    ),
];

/// What it means that this check failed; empty for one without a sentence.
#[must_use]
pub fn meaning(check: &str) -> &'static str {
    MEANINGS
        .iter()
        .find(|(name, _)| *name == check)
        .map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The names of checks that a source text makes.
    fn checks(text: &str) -> impl Iterator<Item = &str> {
        let made = ["safety(", "liveness(", "wrong("];
        let after = made
            .into_iter()
            .flat_map(|made| text.split(made).skip(1))
            .map(str::trim_start);
        let named = after.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
        named.filter(|name| name.chars().all(|it| it.is_ascii_lowercase() || it == '_'))
    }

    fn look(folder: &Path, found: &mut usize) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                // The exhaustive layer says what its checks mean in a table of its own.
                if !path.ends_with("exhaustive") {
                    look(&path, found);
                }
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for check in checks(&text) {
                *found += 1;
                let name = path.display();
                assert!(!meaning(check).is_empty(), "{name}: {check} has no meaning");
            }
        }
    }

    #[test]
    fn every_check_says_what_it_means() {
        let mut found = 0;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        look(&source, &mut found);
        assert!(found > 60, "{found} checks found");
    }
}
