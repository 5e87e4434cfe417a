//! The part of a replica that leads: claims, decides, appends, and lets go.

use alloc::vec::Vec;

use super::super::alarm::Alarm;
use super::super::append::{InFlight, Kind};
use super::super::entry::{AppendId, Epoch, Head, HostId};
use super::super::io::{Refusal, ReplicaOutput};
use super::{Replica, Source, Stage};
use crate::decider::Participant;
use crate::engine::{Engine, Upstream};
use crate::limits::CURSORS_UNRECORDED_MAX;
use crate::planted::planted;
use crate::record::Part;
use crate::time::Timestamp;

impl<P: Participant> Replica<P> {
    pub(super) fn claim(&mut self) {
        if self.stage != Stage::Following
            || self.is_stopping
            || !self.lease.is_mine()
            || !self.is_caught_up()
            || !self.config.is_candidate
        {
            return;
        }
        self.stage = Stage::Claiming;
        let epoch = self.position.epoch.next();
        if planted!("claim_skipped") {
            self.position.epoch = epoch;
            self.position.leader = Some(self.config.host);
            self.stage = Stage::Leading;
            let role = self.role();
            self.push(ReplicaOutput::RoleChanged {
                journal: self.journal,
                role,
            });
            return self.engine.start(Timestamp::UNIX_EPOCH);
        }
        let head = self.head(epoch);
        self.send(head, head.encode(None), Kind::Claim { epoch });
    }

    pub(super) fn head(&mut self, epoch: Epoch) -> Head {
        self.appends += 1;
        Head {
            journal: self.journal,
            append_id: AppendId {
                host: self.config.host,
                number: self.appends,
            },
            previous: self.position.append_id,
            epoch,
        }
    }

    pub(super) fn send(&mut self, head: Head, payload: Vec<u8>, kind: Kind) {
        let expected_last = match self.end {
            // Whoever holds the lease may append, whatever was appended meanwhile.
            Some(end) if planted!("appends_behind_what_it_has_not_read") => {
                end.max(self.position.stream_sequence)
            }
            _ => self.position.stream_sequence,
        };
        let append = InFlight::new(head.append_id, expected_last, payload, kind);
        self.outputs.push_back(append.output(self.journal));
        self.append = Some(append);
    }

    /// Closes the open frame, unless an append is in flight or nothing was decided.
    pub(super) fn close_frame(&mut self, now: Timestamp) {
        let is_in_flight = self.append.is_some() && !planted!("second_append_in_flight");
        if self.stage != Stage::Leading || is_in_flight {
            return;
        }
        if self.engine.frame().is_empty() && !self.has_unrecorded_cursors() {
            return;
        }
        let (frame, rows) = self.engine.take_frame();
        let head = self.head(self.position.epoch);
        let kind = Kind::Frame {
            decided: self.engine.decided(),
            cursors: frame.cursors.clone(),
            rows,
        };
        self.send(head, head.encode(Some(&frame)), kind);
        if planted!("sent_counts_as_stored") {
            self.engine.durable(self.engine.decided());
            self.collect();
        }
        self.run(now);
    }

    /// Was so much read without an event of our own that followers should know?
    pub(super) fn has_unrecorded_cursors(&self) -> bool {
        let cursors = self.engine.cursors();
        self.sources.iter().any(|Source { journal, .. }| {
            let read = cursors.of(*journal);
            read.saturating_since(self.recorded.of(*journal)) >= CURSORS_UNRECORDED_MAX
        })
    }

    pub(super) fn work(&mut self, now: Timestamp) {
        while !self.is_saturated()
            && let Some((order_id, operation, outcome)) = self.deferred.pop_front()
        {
            self.engine.gateway(now, order_id, operation, outcome);
        }
        self.read_facts(now);
        let is_due = self.engine.wake_at().is_some_and(|at| at <= now);
        if is_due && !self.is_stopping && !self.is_saturated() {
            self.engine.time(now);
        }
        self.collect();
    }

    /// Reads what the others' journals have, as far as it has come.
    pub(super) fn read_facts(&mut self, now: Timestamp) {
        if self.stage != Stage::Leading || self.is_stopping {
            return;
        }
        for nth in 0..self.sources.len() {
            // One event at a time may wait for a row.
            while !self.is_saturated() {
                let Source { journal, facts } = &self.sources[nth];
                let from = *journal;
                if self
                    .blocked
                    .is_some_and(|(blocked, has_come)| blocked != from || !has_come)
                {
                    break;
                }
                let cursor = self.engine.cursors().of(from);
                let fact = match facts.next(cursor) {
                    Ok(Some(fact)) => fact,
                    Ok(None) => break,
                    Err(()) => {
                        return self.halt(Alarm::FactsMissing { from, have: cursor });
                    }
                };
                match self.engine.upstream(now, from, cursor.next(), fact) {
                    Upstream::Blocked => self.blocked = Some((from, false)),
                    Upstream::Read | Upstream::Duplicate | Upstream::Gap { .. } => {
                        self.blocked = None;
                        if planted!("facts_dropped_when_read") {
                            self.sources[nth].facts.recorded(cursor.next());
                        }
                    }
                }
            }
        }
    }

    /// Hands over, once nothing is under way.
    pub(super) fn hand_over(&mut self, now: Timestamp) {
        if !self.is_stopping || self.append.is_some() {
            return;
        }
        match self.stage {
            // What was decided goes out first.
            Stage::Leading if self.engine.durable_sequence() != self.engine.decided() => return,
            Stage::Leading => {
                self.follow_again();
            }
            Stage::Following => {}
            Stage::Claiming | Stage::Dropped | Stage::Halted => return,
        }
        self.is_stopping = false;
        if let Some(output) = self.lease.release(now) {
            self.push_lease(output);
        }
    }

    /// Turns a leader that has not run ahead of its journal into a follower.
    pub(super) fn follow_again(&mut self) -> bool {
        self.collect();
        let Some(part) = self.engine.stop() else {
            return false;
        };
        self.refuse_open(Refusal::NotLeader {
            leader: self.leader_after_us(),
        });
        let part = Part {
            cursors: if planted!("cursors_kept_at_hand_over") {
                part.cursors
            } else {
                self.recorded.clone()
            },
            ..part
        };
        self.engine = Engine::from_part(self.settings.clone(), part);
        self.leave(Stage::Following);
        true
    }

    pub(super) fn leader_after_us(&self) -> Option<HostId> {
        let holder = self.lease.holder();
        holder.filter(|host| *host != self.config.host && *host != HostId::default())
    }

    /// Another's entry is where ours should be: ours never will be in the journal.
    pub(super) fn fence(&mut self, fenced_by: AppendId) {
        self.refuse_open(Refusal::NotLeader {
            leader: Some(fenced_by.host),
        });
        self.engine = Engine::new(self.settings.clone());
        self.leave(Stage::Dropped);
        self.push(ReplicaOutput::Rebuild {
            journal: self.journal,
            fenced_by,
        });
    }
}
