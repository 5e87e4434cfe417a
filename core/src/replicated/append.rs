//! The one append in flight, until its outcome is definite.
//!
//! It is sent, unchanged, until there is an answer; a wrong last sequence is settled by
//! reading the message that is where it should be. Whatever the tail shows first settles
//! it as well.

use alloc::vec::Vec;

use super::entry::{AppendId, Epoch, StreamSequence};
use super::io::ReplicaOutput;
use crate::ids::Sequence;
use crate::limits::{RESEND_CAP_MS, RESEND_FIRST_MS};
use crate::record::Cursors;
use crate::row::Row;
use crate::shards::JournalId;
use crate::time::{Millis, Timestamp};

/// When to try again: at first at once, then later and later.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retry {
    due_at: Timestamp,
    wait: Millis,
}

impl Retry {
    pub(super) const fn due_at(&self) -> Timestamp {
        self.due_at
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due_at
    }

    /// It is tried now; if nothing comes of it, when again?
    pub(super) fn next(&mut self, now: Timestamp) -> Timestamp {
        let doubled = self.wait.get().saturating_mul(2);
        self.wait = Millis::new(doubled.clamp(RESEND_FIRST_MS, RESEND_CAP_MS));
        self.due_at = now.saturating_add(self.wait);
        self.due_at
    }
}

/// What an append makes durable.
#[derive(Debug)]
pub(super) enum Kind {
    Claim {
        epoch: Epoch,
    },
    Frame {
        decided: Sequence,
        cursors: Cursors,
        rows: Vec<Row>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Sent; the adapter answers.
    Sent,
    ResendAt(Timestamp),
    ReadAt(Timestamp),
    /// The read was asked for; the adapter answers.
    Read,
    /// The stream's end has to be known first.
    AwaitEnd,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) append_id: AppendId,
    pub(super) expected_last: StreamSequence,
    payload: Vec<u8>,
    pub(super) kind: Kind,
    step: Step,
    retry: Retry,
}

impl InFlight {
    pub(super) fn new(
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Vec<u8>,
        kind: Kind,
    ) -> Self {
        Self {
            append_id,
            expected_last,
            payload,
            kind,
            step: Step::Sent,
            retry: Retry::default(),
        }
    }

    pub(super) fn output(&self, journal: JournalId) -> ReplicaOutput {
        ReplicaOutput::Append {
            journal,
            append_id: self.append_id,
            expected_last: self.expected_last,
            payload: self.payload.clone(),
        }
    }

    pub(super) fn resend_later(&mut self, now: Timestamp) {
        if matches!(self.step, Step::Sent) {
            self.step = Step::ResendAt(self.retry.next(now));
        }
    }

    pub(super) fn read_at(&mut self, now: Timestamp) {
        if matches!(self.step, Step::Sent | Step::ResendAt(_)) {
            self.step = Step::ReadAt(now);
        }
    }

    pub(super) fn read_later(&mut self, now: Timestamp) {
        if matches!(self.step, Step::Read) {
            self.step = Step::ReadAt(self.retry.next(now));
        }
    }

    pub(super) fn wait_for_end(&mut self) {
        if matches!(self.step, Step::Read) {
            self.step = Step::AwaitEnd;
        }
    }

    /// The stream ends at `last`, which is not before what was seen of it.
    pub(super) fn end_known(&mut self, now: Timestamp, last: StreamSequence) {
        if !matches!(self.step, Step::AwaitEnd) {
            return;
        }
        let at = self.retry.next(now);
        self.step = if last > self.expected_last {
            Step::ReadAt(at)
        } else {
            Step::ResendAt(at)
        };
    }

    pub(super) const fn wake_at(&self) -> Option<Timestamp> {
        match self.step {
            Step::ResendAt(at) | Step::ReadAt(at) => Some(at),
            Step::Sent | Step::Read | Step::AwaitEnd => None,
        }
    }

    /// What is due now.
    pub(super) fn due(&mut self, now: Timestamp, journal: JournalId) -> Option<ReplicaOutput> {
        match self.step {
            Step::ResendAt(at) if at <= now => {
                self.step = Step::Sent;
                Some(self.output(journal))
            }
            Step::ReadAt(at) if at <= now => {
                self.step = Step::Read;
                Some(ReplicaOutput::ReadEntry {
                    journal,
                    stream_sequence: self.expected_last.next(),
                })
            }
            _ => None,
        }
    }
}
