//! A snapshot against the state that the replay has come to at its place.

use a4co_core::ids::{ParticipantId, Sequence};
use a4co_core::record::{Cursors, OwnedFact, Snapshot};

use super::findings::Findings;

/// Whether both are the same. A snapshot may have read on: what was read without deciding
/// anything is in no record.
pub(super) fn compare(
    sequence: u64,
    kept: &Snapshot,
    replayed: Option<&Snapshot>,
    findings: &mut Findings,
) -> bool {
    let differs = match replayed {
        None => Some("the replay has no state there".to_owned()),
        Some(replayed) => difference(kept, replayed),
    };
    let is_equal = differs.is_none();
    if let Some(detail) = differs {
        findings.difference(
            "replay_equals_state",
            format!("snapshot at record {sequence}"),
            detail,
        );
    }
    is_equal
}

/// What the one has and the other does not, the former read on or not.
pub(in crate::ops) fn difference(kept: &Snapshot, replayed: &Snapshot) -> Option<String> {
    let lasts = [
        (kept.order.last, replayed.order.last),
        (kept.inventory.last, replayed.inventory.last),
        (kept.payment.last, replayed.payment.last),
    ];
    for (participant, (kept, replayed)) in ParticipantId::ALL.into_iter().zip(lasts) {
        if kept != replayed {
            return Some(format!(
                "its {participant} journal stands at {}, that of the replay at {}",
                kept.get(),
                replayed.get()
            ));
        }
    }
    let times = [
        (kept.order.decided_at, replayed.order.decided_at),
        (kept.inventory.decided_at, replayed.inventory.decided_at),
        (kept.payment.decided_at, replayed.payment.decided_at),
    ];
    for (participant, (kept, replayed)) in ParticipantId::ALL.into_iter().zip(times) {
        if kept != replayed {
            return Some(format!(
                "its {participant} journal's last event is of {kept}, that of the replay of \
                 {replayed}"
            ));
        }
    }
    let states = [
        kept.order.state == replayed.order.state,
        kept.inventory.state == replayed.inventory.state,
        kept.payment.state == replayed.payment.state,
    ];
    for (participant, is_equal) in ParticipantId::ALL.into_iter().zip(states) {
        if !is_equal {
            return Some(format!(
                "its {participant} state is not what the journal replays to"
            ));
        }
    }
    let ours = cursors(kept);
    for (reader, (kept, replayed)) in ours.iter().zip(cursors(replayed)).enumerate() {
        for from in ParticipantId::ALL {
            if kept.of(from) < replayed.of(from) {
                let reader = ParticipantId::ALL[reader];
                return Some(format!(
                    "its {reader} has read the {from} journal to {}, the replay to {}",
                    kept.of(from).get(),
                    replayed.of(from).get()
                ));
            }
        }
    }
    let still_unread = |(reader, sequence, fact): &&(ParticipantId, Sequence, OwnedFact)| {
        *sequence > ours[reader.index()].of(fact.as_fact().participant())
    };
    if sorted(kept.unread.iter()) != sorted(replayed.unread.iter().filter(still_unread)) {
        return Some("other events wait to be read than in the replay".to_owned());
    }
    None
}

fn cursors(snapshot: &Snapshot) -> [&Cursors; 3] {
    [
        &snapshot.order.cursors,
        &snapshot.inventory.cursors,
        &snapshot.payment.cursors,
    ]
}

type Unread = (ParticipantId, Sequence, OwnedFact);

fn sorted<'u>(unread: impl Iterator<Item = &'u Unread>) -> Vec<&'u Unread> {
    let mut unread: Vec<_> = unread.collect();
    unread
        .sort_by_key(|(reader, sequence, fact)| (*reader, fact.as_fact().participant(), *sequence));
    unread
}
