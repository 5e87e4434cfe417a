//! What lies between a process and the journal service: requests, answers, tails and
//! watches, any of which may be lost, late or there twice.
//!
//! It stands for the adapter too: that gives up waiting, says "unknown", and resumes a tail
//! that broke.

use std::rc::Rc;

use a4co_core::record::Record;
use a4co_core::replicated::{
    AppendAnswer, AppendId, LeaseAnswer, ReadAnswer, ReplicaInput, StreamSequence,
};
use a4co_core::shards::JournalId;

use super::entries::{Entries, Stored};
use super::{ClusterEvent, Item};
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::Checked;
use crate::world::World;
use crate::{describe, detail};

/// A request to the service.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Append {
        journal: JournalId,
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Rc<[u8]>,
    },
    Entry {
        journal: JournalId,
        at: StreamSequence,
    },
    Bounds {
        journal: JournalId,
        seen: StreamSequence,
    },
    Lease {
        journal: JournalId,
    },
    WriteLease {
        journal: JournalId,
        expected_revision: u64,
        value: Vec<u8>,
    },
}

impl Ask {
    /// The number of its stream; `None` for the leases' bucket.
    const fn stream(&self) -> Option<usize> {
        match self {
            Self::Append { journal, .. }
            | Self::Entry { journal, .. }
            | Self::Bounds { journal, .. } => Some(journal.index()),
            Self::Lease { .. } | Self::WriteLease { .. } => None,
        }
    }

    /// What the adapter says when it has waited long enough; nothing where the host asks
    /// again by itself.
    const fn unknown(&self) -> Option<ReplicaInput> {
        Some(match self {
            Self::Append {
                journal, append_id, ..
            } => ReplicaInput::Appended {
                journal: *journal,
                append_id: *append_id,
                answer: AppendAnswer::Unknown,
            },
            Self::Entry { journal, at } => ReplicaInput::EntryAt {
                journal: *journal,
                stream_sequence: *at,
                answer: ReadAnswer::Unknown,
            },
            Self::WriteLease { journal, .. } => ReplicaInput::LeaseWritten {
                journal: *journal,
                answer: LeaseAnswer::Unknown,
            },
            Self::Bounds { .. } | Self::Lease { .. } => return None,
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "an append",
            Self::Entry { .. } => "a read",
            Self::Bounds { .. } => "a question for the stream's bounds",
            Self::Lease { .. } => "a read of the lease",
            Self::WriteLease { .. } => "a write of the lease",
        }
    }
}

/// The delivery of a journal's messages to one process.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Counts `Follow`s; 0: none yet.
    subscription: u32,
    next: u64,
    is_scheduled: bool,
    stalled_until_us: u64,
    delivered: u64,
}

impl World<'_> {
    /// The chance of one decision in the cluster.
    pub(super) fn chance(&self, names: &[u64]) -> Rng {
        Rng::fork(self.plan.knobs.seed, Stream::Cluster, names)
    }

    /// A process sends a request.
    pub(super) fn ask_service(&mut self, life: u32, ask: Ask) {
        let (now_us, is_healed) = (self.now_us, self.is_healed);
        let cluster = self.cluster();
        let Some(machine) = cluster.machine_of(life) else {
            return;
        };
        let is_cut = cluster.machines[machine].cut_to_until_us > now_us;
        let Some(member) = cluster.member(life) else {
            return;
        };
        member.sent += 1;
        let number = member.sent;
        member.open.insert(number, ask.clone());
        let mut rng = self.chance(&[1, u64::from(life), number]);
        let knobs = &self.cluster().knobs;
        let timeout_us = knobs.ack_timeout_ms * 1000;
        let is_lost = is_cut || (!is_healed && rng.chance(knobs.ask_lost));
        let is_late = !is_healed && rng.chance(knobs.ask_late);
        let is_append = matches!(ask, Ask::Append { .. });
        let is_twice = is_append && !is_healed && rng.chance(knobs.append_twice);
        let mut delay_us = rng.below(knobs.service_us + 1);
        let again_us = rng.below(8 * knobs.service_us + 1);
        if is_late {
            delay_us += rng.between(1, 4) * timeout_us;
        }
        delay_us += self.slowness(&mut rng);
        self.in_cluster(timeout_us, ClusterEvent::TimedOut { life, number });
        if is_lost {
            self.aside(Node::Net, "loses", None, || {
                format!("{} of process {life}", ask.name())
            });
            return;
        }
        let at_service = |ask| ClusterEvent::AtService { life, number, ask };
        if is_twice {
            let ask = Box::new(ask.clone());
            self.in_cluster(delay_us + again_us, at_service(ask));
        }
        self.in_cluster(delay_us, at_service(Box::new(ask)));
    }

    fn slowness(&mut self, rng: &mut Rng) -> u64 {
        let now_us = self.now_us;
        let service = &self.cluster().service;
        if service.slow_until_us > now_us {
            rng.below(service.slow_by_us + 1)
        } else {
            0
        }
    }

    /// A request arrives at the service, whatever has become of its sender.
    pub(super) fn at_service(&mut self, life: u32, number: u64, ask: Ask) -> Checked {
        let now_us = self.now_us;
        let mut rng = self.chance(&[2, u64::from(life), number]);
        let service = &self.cluster().service;
        let stream = ask.stream().unwrap_or(service.bucket());
        let has_leader = service.has_leader(stream, now_us);
        if !has_leader {
            // Either an error at once or no answer at all: nobody knows.
            if rng.chance(500)
                && let Some(unknown) = ask.unknown()
            {
                self.answer(life, number, unknown, &mut rng);
            }
            return Ok(());
        }
        let service = &mut self.cluster().service;
        let answer = match ask {
            Ask::Append {
                journal,
                append_id,
                expected_last,
                payload,
            } => {
                let answer = service.append(journal, expected_last, payload);
                self.on_append_at_service(life, journal, answer)?;
                ReplicaInput::Appended {
                    journal,
                    append_id,
                    answer,
                }
            }
            Ask::Entry { journal, at } => ReplicaInput::EntryAt {
                journal,
                stream_sequence: at,
                answer: service.read(journal, at),
            },
            Ask::Bounds { journal, seen } => self.bounds(journal, seen),
            Ask::Lease { journal } => self.lease_as_seen(journal),
            Ask::WriteLease {
                journal,
                expected_revision,
                value,
            } => {
                let answer = service.write_lease(journal, expected_revision, Some(value));
                if let LeaseAnswer::Ok { revision } = answer {
                    self.note(
                        Node::Service,
                        "lease",
                        [journal.index() as u64, revision],
                        || {
                            format!(
                                "of the {journal} journal, written by process {life}: \
                                 revision {revision}"
                            )
                        },
                    );
                    self.show_lease(journal, revision);
                }
                ReplicaInput::LeaseWritten { journal, answer }
            }
        };
        self.answer(life, number, answer, &mut rng);
        Ok(())
    }

    fn bounds(&mut self, journal: JournalId, seen: StreamSequence) -> ReplicaInput {
        let stream = self.cluster().service.stream(journal);
        ReplicaInput::StreamState {
            journal,
            seen,
            first: StreamSequence::new(stream.first()),
            last: StreamSequence::new(stream.last()),
        }
    }

    fn lease_as_seen(&mut self, journal: JournalId) -> ReplicaInput {
        let (value, revision) = self.cluster().service.leases[journal.index()].clone();
        ReplicaInput::LeaseSeen {
            journal,
            value,
            revision,
        }
    }

    /// Whoever watches the lease may see the change, sooner or later.
    pub(super) fn show_lease(&mut self, journal: JournalId, revision: u64) {
        let seen = self.lease_as_seen(journal);
        let lives: Vec<u32> = self.cluster().members().map(|it| it.life).collect();
        for life in lives {
            let names = [3, u64::from(life), journal.index() as u64, revision];
            let mut rng = self.chance(&names);
            let knobs = &self.cluster().knobs;
            if !rng.chance(knobs.watched) {
                continue;
            }
            let delay_us = rng.below(8 * knobs.service_us + 1);
            let input = Box::new(seen.clone());
            self.in_cluster(delay_us, ClusterEvent::Reaches { life, input });
        }
    }

    fn on_append_at_service(
        &mut self,
        life: u32,
        journal: JournalId,
        answer: AppendAnswer,
    ) -> Checked {
        let number = journal.index() as u64;
        let AppendAnswer::Stored { stream_sequence } = answer else {
            self.note(Node::Service, "refuses", [number, u64::from(life)], || {
                format!("an append of process {life} to the {journal} journal: wrong last")
            });
            return Ok(());
        };
        let at = stream_sequence.get();
        self.check_on_top(life, journal, at)?;
        self.deliver(journal);
        let cluster = self.cluster.as_deref_mut();
        let Some(cluster) = cluster else {
            return Ok(());
        };
        if cluster.is_damaged() {
            return Ok(());
        }
        let Some(bytes) = cluster.service.stream(journal).get(at).map(Rc::clone) else {
            return Ok(());
        };
        let (audit, gateway) = (&mut self.audit, &self.gateway);
        let stored = cluster
            .entries
            .on_stored(journal, at, &bytes, audit, gateway);
        let hash = describe::hash(&bytes);
        let names = [(at << 2) | number, hash];
        let said = |record: &Record| {
            let events = describe::events(record);
            format!("message {at} of the {journal} journal, by process {life}: {events}")
        };
        if stored.is_err() && self.trace.lines.is_some() {
            // Whoever looks at the run is shown what failed.
            if let Some(record) = Entries::read(journal, &bytes, &self.audit) {
                self.aside(Node::Journal, "durable", None, || said(&record));
                self.trace.add(|line| detail::add_record(line, &record));
            }
        }
        match stored? {
            Stored::Claim(epoch) => {
                self.stats.claims += 1;
                self.note(Node::Service, "claimed", names, || {
                    format!("the {journal} journal by process {life}: message {at}, epoch {epoch}")
                });
            }
            Stored::Record(record) => {
                self.note(Node::Journal, "durable", names, || said(&record));
                self.trace.add(|line| detail::add_record(line, &record));
                if let Some(cluster) = self.cluster.as_deref() {
                    let rows = cluster.entries.rows_of(journal, at);
                    self.trace.add(|line| detail::add_rows(line, rows));
                }
            }
        }
        Ok(())
    }

    /// The service answers.
    fn answer(&mut self, life: u32, number: u64, answer: ReplicaInput, rng: &mut Rng) {
        let (now_us, is_healed) = (self.now_us, self.is_healed);
        let cluster = self.cluster();
        let Some(machine) = cluster.machine_of(life) else {
            return;
        };
        let is_cut = cluster.machines[machine].cut_from_until_us > now_us;
        let knobs = &cluster.knobs;
        let is_lost = is_cut || (!is_healed && rng.chance(knobs.answer_lost));
        let mut delay_us = rng.below(knobs.service_us + 1);
        if !is_healed && rng.chance(knobs.answer_late) {
            delay_us += rng.between(1, 4) * knobs.ack_timeout_ms * 1000;
        }
        delay_us += self.slowness(rng);
        if is_lost {
            self.aside(Node::Net, "loses", None, || {
                format!("the service's answer {number} to process {life}")
            });
            return;
        }
        let answered = ClusterEvent::Answered {
            life,
            number,
            answer: Box::new(answer),
        };
        self.in_cluster(delay_us, answered);
    }

    pub(super) fn on_answered(&mut self, life: u32, number: u64, answer: ReplicaInput) {
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let is_open = member.open.remove(&number).is_some();
        // What became of an append is worth knowing even after "unknown" was said; any other
        // answer belongs to a question that nobody asks any more.
        if is_open || matches!(answer, ReplicaInput::Appended { .. }) {
            self.put_before(life, Item::Input(answer));
        }
    }

    pub(super) fn on_timed_out(&mut self, life: u32, number: u64) {
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        if let Some(ask) = member.open.remove(&number)
            && let Some(unknown) = ask.unknown()
        {
            self.aside(Node::Net, "gives up", None, || {
                format!("process {life} has waited long enough for {}", ask.name())
            });
            self.put_before(life, Item::Input(unknown));
        }
    }

    /// A process wants a journal's messages from here on.
    pub(super) fn follow(&mut self, life: u32, journal: JournalId, from: StreamSequence) {
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let tail = &mut member.tails[journal.index()];
        tail.subscription += 1;
        tail.next = from.get();
        tail.is_scheduled = false;
        self.schedule_tail(life, journal);
    }

    /// There may be something to deliver.
    pub(super) fn deliver(&mut self, journal: JournalId) {
        let lives: Vec<u32> = self.cluster().members().map(|it| it.life).collect();
        for life in lives {
            self.schedule_tail(life, journal);
        }
    }

    fn schedule_tail(&mut self, life: u32, journal: JournalId) {
        let now_us = self.now_us;
        let cluster = self.cluster();
        let last = cluster.service.stream(journal).last();
        let tail_us = cluster.knobs.tail_us;
        let no_leader_us = cluster.service.no_leader_until_us[journal.index()];
        let Some(machine) = cluster.machine_of(life) else {
            return;
        };
        let cut_us = cluster.machines[machine].cut_from_until_us;
        let Some(member) = cluster.member(life) else {
            return;
        };
        let tail = &mut member.tails[journal.index()];
        if tail.subscription == 0 || tail.is_scheduled || tail.next > last {
            return;
        }
        tail.is_scheduled = true;
        let (subscription, delivered) = (tail.subscription, tail.delivered);
        let from_us = tail.stalled_until_us.max(cut_us).max(no_leader_us);
        let names = [4, u64::from(life), journal.index() as u64, delivered];
        let delay_us = self.chance(&names).below(tail_us + 1);
        let tail = ClusterEvent::Tail {
            life,
            journal,
            subscription,
        };
        self.in_cluster(from_us.saturating_sub(now_us) + delay_us, tail);
    }

    pub(super) fn on_tail(&mut self, life: u32, journal: JournalId, subscription: u32) {
        let (now_us, is_healed) = (self.now_us, self.is_healed);
        let cluster = self.cluster();
        let stream = cluster.service.stream(journal);
        let first = stream.first();
        let Some(machine) = cluster.machine_of(life) else {
            return;
        };
        let is_cut = cluster.machines[machine].cut_from_until_us > now_us;
        let Some(member) = cluster.member(life) else {
            return;
        };
        let tail = &mut member.tails[journal.index()];
        if tail.subscription != subscription {
            return;
        }
        tail.is_scheduled = false;
        if is_cut || tail.stalled_until_us > now_us {
            return self.schedule_tail(life, journal);
        }
        tail.next = tail.next.max(first);
        let at = tail.next;
        tail.delivered += 1;
        let delivered = tail.delivered;
        let Some(bytes) = self
            .cluster()
            .service
            .stream(journal)
            .get(at)
            .map(Rc::clone)
        else {
            return;
        };
        let names = [5, u64::from(life), journal.index() as u64, delivered];
        let mut rng = self.chance(&names);
        let knobs = &self.cluster().knobs;
        let leaves_out = !is_healed && rng.chance(knobs.tail_gap);
        let is_twice = !is_healed && rng.chance(knobs.tail_twice);
        let stalls = !is_healed && rng.chance(knobs.tail_stalls);
        let stall_us = rng.between(1, knobs.tail_stall_ms.max(1)) * 1000;
        if let Some(member) = self.cluster().member(life) {
            let tail = &mut member.tails[journal.index()];
            tail.next = at + 1;
            if stalls {
                tail.stalled_until_us = now_us + stall_us;
            }
        }
        if leaves_out {
            self.aside(Node::Net, "leaves out", None, || {
                format!("message {at} of the {journal} journal to process {life}")
            });
            let resumes = ClusterEvent::TailResumes {
                life,
                journal,
                subscription,
                from: at,
            };
            self.in_cluster(stall_us, resumes);
        } else {
            for _ in 0..=u8::from(is_twice) {
                let input = ReplicaInput::Entry {
                    journal,
                    stream_sequence: StreamSequence::new(at),
                    bytes: bytes.to_vec(),
                };
                self.put_before(life, Item::Input(input));
            }
        }
        self.schedule_tail(life, journal);
    }

    pub(super) fn on_tail_resumes(
        &mut self,
        life: u32,
        journal: JournalId,
        subscription: u32,
        from: u64,
    ) {
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let tail = &mut member.tails[journal.index()];
        if tail.subscription == subscription {
            tail.next = tail.next.min(from);
            self.schedule_tail(life, journal);
        }
    }

    /// Connected anew: the adapter asks where the streams begin and end, and goes on with
    /// the tails.
    pub(super) fn on_connects(&mut self, life: u32) {
        for journal in self.cluster().journals.clone() {
            let Some(seen) = self.cluster().peek(life).map(|it| it.host.seen(journal)) else {
                return;
            };
            self.ask_service(life, Ask::Bounds { journal, seen });
            if let Some(member) = self.cluster().member(life) {
                let tail = &mut member.tails[journal.index()];
                tail.stalled_until_us = 0;
                tail.is_scheduled = false;
            }
            self.schedule_tail(life, journal);
        }
    }
}
