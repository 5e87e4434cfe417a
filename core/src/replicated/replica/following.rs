//! The part of a replica that follows: entries of its own journal, whoever appended them,
//! and those of the journals that it reads.

use alloc::vec::Vec;

use super::super::alarm::Alarm;
use super::super::append::Kind;
use super::super::entry::{AnyEntry, Content, Entry, EntryError, SharedFrame, StreamSequence};
use super::super::facts::Taken;
use super::super::io::ReplicaOutput;
use super::{Replica, Source, Stage};
use crate::decider::Participant;
use crate::planted::planted;
use crate::record::Cursors;
use crate::time::Timestamp;

impl<P: Participant> Replica<P> {
    /// A message of its own journal.
    pub(in crate::replicated) fn entry(
        &mut self,
        now: Timestamp,
        at: StreamSequence,
        entry: &Entry<P::Event>,
    ) {
        if !self.is_alive() || at != self.position.stream_sequence.next() {
            return;
        }
        if let Some(append) = &self.append
            && append.append_id == entry.append_id
        {
            return self.committed(now, at);
        }
        if let Err(alarm) = self.check(at, entry) {
            return self.halt(alarm);
        }
        match self.append.take().map(|append| append.kind) {
            Some(Kind::Claim { .. }) => {
                self.stage = Stage::Following;
                self.end = None;
            }
            Some(Kind::Frame { .. }) => return self.fence(entry.append_id),
            None if planted!("lease_taken_for_the_journal") && self.lease.is_mine() => {}
            // What was decided and not sent yet never will be in the journal.
            None if self.stage == Stage::Leading && !self.follow_again() => {
                return self.fence(entry.append_id);
            }
            None => {}
        }
        if matches!(entry.content, Content::Claim) {
            self.lease.doubt(now);
        }
        self.apply(at, entry);
    }

    /// A message of its own journal that cannot be read.
    pub(in crate::replicated) fn no_entry(&mut self, at: StreamSequence, error: EntryError) {
        if self.is_alive() && at == self.position.stream_sequence.next() {
            if planted!("message_that_is_no_entry_is_skipped") {
                self.position.stream_sequence = at;
                return;
            }
            self.halt(Alarm::NoEntry {
                stream_sequence: at,
                error,
            });
        }
    }

    /// A message of another journal.
    pub(in crate::replicated) fn fact(&mut self, at: StreamSequence, entry: &AnyEntry) {
        let from = entry.journal();
        let read = self.recorded.of(from);
        if self.is_alive()
            && let Some(facts) = self.facts_of(from)
        {
            let frame: Option<SharedFrame> = entry.frame();
            // Full or after a gap: the host follows again from what this replica wants.
            let _: Taken = facts.push(at, frame, read);
        }
    }

    pub(super) fn committed(&mut self, now: Timestamp, at: StreamSequence) {
        let Some(append) = self.append.take() else {
            return;
        };
        self.position.stream_sequence = at;
        self.position.append_id = append.append_id;
        match append.kind {
            Kind::Claim { epoch } => {
                self.position.epoch = epoch;
                self.position.leader = Some(self.config.host);
                self.stage = Stage::Leading;
                self.publish(Vec::new());
                let role = self.role();
                self.push(ReplicaOutput::RoleChanged {
                    journal: self.journal,
                    role,
                });
                self.engine.start(now);
            }
            Kind::Frame {
                decided,
                cursors,
                rows,
            } => {
                self.set_recorded(cursors);
                self.engine.durable(decided);
                self.publish(rows);
            }
        }
        self.collect();
    }

    /// Does an entry fit behind what was applied?
    pub(super) fn check(&self, at: StreamSequence, entry: &Entry<P::Event>) -> Result<(), Alarm> {
        if planted!("stale_epoch_is_applied") {
            return Ok(());
        }
        if entry.previous != self.position.append_id {
            return Err(Alarm::Rewritten {
                stream_sequence: at,
                seen: self.position.append_id,
                claimed: entry.previous,
            });
        }
        let is_leaders = match &entry.content {
            Content::Claim => entry.epoch > self.position.epoch,
            Content::Frame(_) => {
                entry.epoch == self.position.epoch && Some(entry.host()) == self.position.leader
            }
        };
        if !is_leaders {
            return Err(Alarm::NotTheLeader {
                stream_sequence: at,
                host: entry.host(),
                epoch: entry.epoch,
                current: self.position.epoch,
            });
        }
        let have = self.engine.durable_sequence();
        match &entry.content {
            Content::Frame(frame) if frame.after != have => Err(Alarm::DoesNotFit {
                stream_sequence: at,
                have,
                after: frame.after,
            }),
            _ => Ok(()),
        }
    }

    /// Applies another host's entry, which was checked.
    pub(super) fn apply(&mut self, at: StreamSequence, entry: &Entry<P::Event>) {
        let mut rows = Vec::new();
        match &entry.content {
            Content::Claim => {
                self.position.epoch = entry.epoch;
                self.position.leader = Some(entry.host());
            }
            Content::Frame(frame) => match self.engine.replay(frame, true) {
                Ok(changed) => {
                    rows = changed;
                    self.set_recorded(frame.cursors.clone());
                }
                Err(have) => {
                    let after = frame.after;
                    return self.halt(Alarm::DoesNotFit {
                        stream_sequence: at,
                        have,
                        after,
                    });
                }
            },
        }
        self.position.stream_sequence = at;
        self.position.append_id = entry.append_id;
        self.publish(rows);
        if planted!("follower_calls_the_gateway") {
            self.engine.start(Timestamp::UNIX_EPOCH); // at the time of its last event
            self.collect();
        }
    }

    fn set_recorded(&mut self, cursors: Cursors) {
        self.recorded = cursors;
        for Source { journal, facts } in &mut self.sources {
            facts.recorded(self.recorded.of(*journal));
        }
    }
}
