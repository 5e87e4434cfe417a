//! What holds of a journal, and of the answers that are kept.

use alloc::format;

use super::{Invariant, Subject, Verdict, Violation};
use crate::decider::{Participant, Recorded};
use crate::ids::{ParticipantId, Sequence};
use crate::row::AnswerRecord;

/// Every entry is one above the entry before it; the first is one above `after`.
///
/// Without it an event is missing or there twice, and the state that is folded from the
/// journal is one that nobody decided. Exactly one above: `>` alone would let a gap pass.
///
/// # Errors
/// The first entry that is out of place.
pub fn journal_contiguous(
    participant: ParticipantId,
    after: Sequence,
    entries: impl IntoIterator<Item = Sequence>,
) -> Result<(), Violation> {
    let mut last = after;
    for entry in entries {
        if entry.get().checked_sub(1) != Some(last.get()) {
            return Err(Violation {
                invariant: Invariant::JournalContiguous,
                subject: Subject::Journal(participant, entry),
                detail: format!("it follows {}", last.get()),
            });
        }
        last = entry;
    }
    Ok(())
}

/// Appends come in the order of their leaders' epochs: once a later leader has appended,
/// an earlier one never does.
///
/// Without it two leaders decide on states that do not contain each other's decisions, and
/// the last unit is sold twice. One leader appends many times (`<` fails, not `<=`).
///
/// # Errors
/// The first append of a leader that had been superseded.
pub fn one_committer(
    participant: ParticipantId,
    appends: impl IntoIterator<Item = (Sequence, u64)>,
) -> Result<(), Violation> {
    let mut latest = 0;
    for (sequence, epoch) in appends {
        if epoch < latest {
            return Err(Violation {
                invariant: Invariant::OneCommitter,
                subject: Subject::Journal(participant, sequence),
                detail: format!("appended in epoch {epoch}, after one of epoch {latest}"),
            });
        }
        latest = epoch;
    }
    Ok(())
}

/// Folding the journal again gives the state that is in memory. The caller starts from
/// where the journal does (nothing, or a snapshot), and takes out of the fold what has
/// left memory.
///
/// Without it a restart changes history: what was decided before it and after it rests on
/// different states.
///
/// # Errors
/// The number of the last entry; the two states are the caller's to compare.
pub fn replay_equals_state<'e, P: Participant>(
    start: P::State,
    journal: impl IntoIterator<Item = (Sequence, &'e Recorded<P::Event>)>,
    state: &P::State,
) -> Result<(), Violation> {
    let mut folded = start;
    let mut last = Sequence::NONE;
    for (sequence, recorded) in journal {
        P::evolve(&mut folded, recorded, sequence);
        last = sequence;
    }
    if folded == *state {
        return Ok(());
    }
    Err(Violation {
        invariant: Invariant::ReplayEqualsState,
        subject: Subject::Journal(P::ID, last),
        detail: "folding the journal gives another state".into(),
    })
}

/// An answer that is kept under an idempotency key stays as it was first given.
///
/// Without it a client that retries is told something else than the first time, and acts
/// twice.
///
/// # Errors
/// Which part of it changed.
pub fn same_key_same_answer(before: &AnswerRecord, after: &AnswerRecord) -> Verdict {
    if before.fingerprint != after.fingerprint {
        return Err("the key now belongs to another request".into());
    }
    if before.answer != after.answer {
        return Err("the answer is another one".into());
    }
    Ok(())
}
