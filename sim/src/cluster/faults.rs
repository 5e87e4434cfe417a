//! What breaks in a cluster, and how it all ends: processes that die, stand still or are
//! cut off, a service without a leader, and streams that are not what they were.

use std::collections::BTreeMap;
use std::rc::Rc;

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::ReplicaInput;
use a4co_core::shards::{JournalId, Shard, ShardCount};

use super::plan::{ClusterBreaks, Intruder};
use super::{ClusterEvent, Item, Kept};
use crate::trace::Node;
use crate::verdict::{Checked, liveness, safety};
use crate::world::World;

/// After a stop of this long a server has dropped the connection.
const DISCONNECTED_US: u64 = 4_000_000;

/// What became of a stream for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ruin {
    /// Messages from here on are lost.
    LostFrom(u64),
    /// The message here is no entry.
    NoEntryAt(u64),
    /// Everything up to here was let go, and a process had not read it.
    PurgedTo(u64),
}

/// A stream that was damaged.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    journal: JournalId,
    ruin: Ruin,
    /// What each process had applied of that journal just then.
    had: BTreeMap<u32, u64>,
}

impl World<'_> {
    /// The journal of a number: by shard, and then by participant.
    fn journal_of(&mut self, number: u32) -> JournalId {
        let shards = self.cluster().shards;
        let number = usize::try_from(number).unwrap_or(0);
        let participant = ParticipantId::ALL[number % 3];
        let shard = shards.each().nth(number / 3 % usize::from(shards.get()));
        JournalId::new(participant, shard.unwrap_or(Shard::ALONE))
    }

    fn machine_number(&mut self, process: u32) -> usize {
        let machines = self.cluster().machines.len();
        usize::try_from(process).unwrap_or(0) % machines
    }

    pub(crate) fn on_cluster_fault(&mut self, breaks: &ClusterBreaks) {
        if self.cluster.as_ref().is_none_or(|it| it.is_damaged()) {
            return;
        }
        let now_us = self.now_us;
        match *breaks {
            ClusterBreaks::Crash { process, steps } => {
                let machine = self.machine_number(process);
                let place = &mut self.cluster().machines[machine];
                place.dies_at = Some(place.steps + u64::from(steps));
                if steps == 0 {
                    self.kill_member(machine);
                }
            }
            ClusterBreaks::Pause {
                process,
                steps,
                for_ms,
            } => {
                let machine = self.machine_number(process);
                let place = &mut self.cluster().machines[machine];
                place.pauses_at = Some((place.steps + u64::from(steps), for_ms * 1000));
                if steps == 0 {
                    self.pause(machine, for_ms * 1000);
                }
            }
            ClusterBreaks::Cut {
                process,
                to,
                from,
                for_ms,
            } => {
                let machine = self.machine_number(process);
                let until_us = now_us + for_ms * 1000;
                let place = &mut self.cluster().machines[machine];
                if to {
                    place.cut_to_until_us = until_us;
                }
                if from {
                    place.cut_from_until_us = until_us;
                }
                if let Some(member) = &place.member {
                    let life = member.life;
                    self.in_cluster(for_ms * 1000, ClusterEvent::Connects { life });
                }
            }
            ClusterBreaks::NoLeader { stream, for_ms } => {
                let journals = self.cluster().journals.len();
                let stream = usize::try_from(stream).unwrap_or(0) % (journals + 1);
                // The bucket is the last of them.
                let stream = if stream < journals {
                    let number = u32::try_from(stream).unwrap_or(0);
                    self.journal_of(number).index()
                } else {
                    self.cluster().service.bucket()
                };
                let service = &mut self.cluster().service;
                service.no_leader_until_us[stream] = now_us + for_ms * 1000;
            }
            ClusterBreaks::Slow { by_ms, for_ms } => {
                let service = &mut self.cluster().service;
                service.slow_by_us = by_ms * 1000;
                service.slow_until_us = now_us + for_ms * 1000;
            }
            ClusterBreaks::HandOver { process, journal } => {
                let machine = self.machine_number(process);
                let journal = self.journal_of(journal);
                if let Some(member) = &self.cluster().machines[machine].member {
                    let life = member.life;
                    let input = ReplicaInput::StepDown { journal };
                    self.put_before(life, Item::Input(input));
                }
            }
            ClusterBreaks::LeaseDeleted { journal } => {
                let journal = self.journal_of(journal);
                let service = &mut self.cluster().service;
                let revision = service.leases[journal.index()].1;
                let _ = service.write_lease(journal, revision, None);
                let revision = service.leases[journal.index()].1;
                self.show_lease(journal, revision);
            }
            ClusterBreaks::Trim => self.trim(),
            ClusterBreaks::Lost { journal, messages } => {
                let journal = self.journal_of(journal);
                self.lose(journal, messages);
            }
            ClusterBreaks::Intrusion { journal, message } => {
                let journal = self.journal_of(journal);
                self.intrude(journal, message);
            }
            ClusterBreaks::Purged { journal, process } => {
                let journal = self.journal_of(journal);
                self.purge(journal, process);
            }
        }
    }

    pub(super) fn pause(&mut self, machine: usize, for_us: u64) {
        let now_us = self.now_us;
        let place = &mut self.cluster().machines[machine];
        place.pauses_at = None;
        place.paused_until_us = now_us + for_us;
        let Some(life) = place.member.as_ref().map(|it| it.life) else {
            return;
        };
        self.note(Node::Fault, "stops", [u64::from(life), for_us], || {
            format!("process {life} stands still for {} ms", for_us / 1000)
        });
        self.in_cluster(for_us, ClusterEvent::Resumes { machine });
        if for_us >= DISCONNECTED_US {
            self.in_cluster(for_us, ClusterEvent::Connects { life });
        }
    }

    pub(super) fn on_resumes(&mut self, machine: usize) {
        let (now_us, number) = (self.now_us, self.stats.events);
        let place = &mut self.cluster().machines[machine];
        let Some(member) = &mut place.member else {
            return;
        };
        if place.paused_until_us > now_us {
            return; // stopped again since
        }
        let life = member.life;
        member.wakes_at_us = None;
        member.drives = true;
        // It may look at its clock before it looks at what has come meanwhile.
        let names = [12, u64::from(life), number];
        let clock_first = self.chance(&names).chance(500);
        if clock_first && let Some(member) = self.cluster().member(life) {
            member.inbox.push_front(Item::Input(ReplicaInput::Time));
        }
        self.note(Node::Fault, "goes on", [u64::from(life), 0], || {
            format!("process {life}, its clock first: {clock_first}")
        });
        self.in_cluster(0, ClusterEvent::Drive { life });
    }

    /// Retention lets go what every machine's snapshots cover, and the object store's.
    fn trim(&mut self) {
        let cluster = self.cluster();
        if cluster.object_store.is_none() {
            return;
        }
        let kept = cluster
            .machines
            .iter()
            .map(|it| &it.kept)
            .chain(&cluster.object_store);
        let shards = cluster.shards;
        let least = |one: Vec<u64>, other: Vec<u64>| {
            let both = one.into_iter().zip(other);
            both.map(|(one, other)| one.min(other)).collect()
        };
        let needs = kept.map(|kept| kept.needs_from(shards));
        let Some(covered) = needs.reduce(least) else {
            return;
        };
        for (stream, from) in cluster.service.streams.iter_mut().zip(&covered) {
            stream.trim(*from);
        }
        self.note(Node::Service, "lets go", [covered[0], covered[1]], || {
            format!("history before {covered:?}")
        });
    }

    fn lose(&mut self, journal: JournalId, messages: u32) {
        let service = &mut self.cluster().service;
        let stream = &mut service.streams[journal.index()];
        let messages = u64::from(messages).min(stream.last() + 1 - stream.first());
        if messages == 0 {
            return;
        }
        let from = stream.last() + 1 - messages;
        stream.lose(usize::try_from(messages).unwrap_or(0));
        self.ruined(journal, Ruin::LostFrom(from));
    }

    fn intrude(&mut self, journal: JournalId, message: Intruder) {
        let journals = self.cluster().journals.clone();
        let service = &mut self.cluster().service;
        let others = journals.into_iter().filter(|it| *it != journal);
        let foreign = others
            .filter_map(|other| {
                let stream = service.stream(other);
                stream.get(stream.last()).map(Rc::clone)
            })
            .next();
        let own = service.stream(journal);
        let bytes = match message {
            Intruder::Unreadable => None,
            Intruder::Foreign => foreign,
            Intruder::Repeated => own.get(own.first()).map(Rc::clone),
        };
        let bytes = bytes.unwrap_or_else(|| Rc::from(&b"no entry at all"[..]));
        let at = service.streams[journal.index()].push(bytes);
        self.ruined(journal, Ruin::NoEntryAt(at));
    }

    fn purge(&mut self, journal: JournalId, process: u32) {
        let machine = self.machine_number(process);
        let cluster = self.cluster();
        let stream = &mut cluster.service.streams[journal.index()];
        let last = stream.last();
        if last == 0 {
            return;
        }
        stream.trim(last + 1);
        cluster.object_store = None;
        cluster.machines[machine].kept = Kept::default();
        self.kill_member(machine);
        self.cluster().machines[machine].kept = Kept::default();
        self.ruined(journal, Ruin::PurgedTo(last));
    }

    /// From here on only the alarm is judged: everything else heals, so that nothing hides
    /// it.
    fn ruined(&mut self, journal: JournalId, ruin: Ruin) {
        let cluster = self.cluster();
        let had = cluster.members();
        let had = had.map(|it| (it.life, it.published[journal.index()].get()));
        let had = had.collect();
        cluster.damage = Some(Damage { journal, ruin, had });
        self.note(Node::Fault, "ruins", [journal.index() as u64, 0], || {
            format!("the {journal} journal's stream: {ruin:?}")
        });
        self.is_healed = true;
        self.gateway.is_healed = true;
        self.heal_cluster();
        self.deliver(journal);
        let knobs = &self.plan.knobs;
        let restart_ms = knobs.restart_ms;
        let ttl_ms = self.cluster().knobs.lease_ttl_ms;
        let after_us = (30_000 + restart_ms + 6 * ttl_ms) * 1000;
        self.in_cluster(after_us, ClusterEvent::IsNoticed);
    }

    /// Is this append, which was stored, on top of what nobody may build on?
    pub(super) fn check_on_top(&mut self, life: u32, journal: JournalId, at: u64) -> Checked {
        match self.cluster().damage {
            Some(Damage {
                journal: damaged,
                ruin: Ruin::NoEntryAt(bad),
                ..
            }) if damaged == journal && at > bad => {
                let why = format!(
                    "process {life} appends message {at} to the {journal} journal, where \
                     message {bad} is no entry"
                );
                Err(safety("nothing_on_top_of_damage", why))
            }
            _ => Ok(()),
        }
    }

    /// Whoever has seen what is not there any more, or has to read what cannot be read, has
    /// stopped with an alarm.
    pub(super) fn check_noticed(&mut self) -> Checked {
        let cluster = self.cluster();
        let Some(Damage { journal, ruin, had }) = &cluster.damage else {
            return Ok(());
        };
        let index = journal.index();
        let all_halted = cluster.members().all(|it| it.halted[index]);
        let any_halted = cluster.members().any(|it| it.halted[index]);
        let mut silent = Vec::new();
        for member in cluster.members().filter(|it| !it.halted[index]) {
            let has = member.published[index].get();
            let must_stop = match ruin {
                // Whoever saw none of it cannot know.
                Ruin::LostFrom(from) => {
                    !any_halted && had.get(&member.life).is_some_and(|had| had >= from)
                }
                Ruin::NoEntryAt(_) => !all_halted,
                Ruin::PurgedTo(last) => has < *last,
            };
            if must_stop {
                silent.push(member.life);
            }
        }
        if silent.is_empty() {
            return Ok(());
        }
        let why = format!(
            "processes {silent:?} go on with the {journal} journal, whose stream is {ruin:?}"
        );
        Err(liveness("damage_is_noticed", why))
    }

    /// Whatever broke in the cluster works again.
    pub(crate) fn heal_cluster(&mut self) {
        let now_us = self.now_us;
        let Some(cluster) = self.cluster.as_deref_mut() else {
            return;
        };
        cluster.service.no_leader_until_us.fill(0);
        cluster.service.slow_until_us = 0;
        let mut lives = Vec::new();
        let mut resumes = Vec::new();
        for (number, place) in cluster.machines.iter_mut().enumerate() {
            place.cut_to_until_us = 0;
            place.cut_from_until_us = 0;
            place.dies_at = None;
            place.pauses_at = None;
            if place.is_paused(now_us) {
                place.paused_until_us = 0;
                resumes.push(number);
            }
            lives.extend(place.member.as_ref().map(|it| it.life));
        }
        for machine in resumes {
            self.on_resumes(machine);
        }
        for life in lives {
            self.on_connects(life);
        }
    }
}

impl Kept {
    /// The first message of each journal that a start from here has to read.
    fn needs_from(&self, shards: ShardCount) -> Vec<u64> {
        let snapshot = self
            .snapshot
            .as_deref()
            .and_then(|bytes| a4co_core::replicated::HostSnapshot::decode(bytes).ok());
        let Some(snapshot) = snapshot else {
            return JournalId::all(shards).map(|_| 1).collect();
        };
        let needed = |journal: JournalId| {
            let of_shards = snapshot.shards.iter().zip(shards.each());
            let needed = of_shards.flat_map(|(snapshot, shard)| {
                let readers = [
                    (ParticipantId::Order, &snapshot.order.read_after),
                    (ParticipantId::Inventory, &snapshot.inventory.read_after),
                    (ParticipantId::Payment, &snapshot.payment.read_after),
                ];
                readers.into_iter().filter_map(move |(reader, after)| {
                    let reader = JournalId::new(reader, shard);
                    let is_read = reader == journal || reader.sources().contains(&journal);
                    is_read.then(|| after.of(journal).next().get())
                })
            });
            needed.min().unwrap_or(1)
        };
        JournalId::all(shards).map(needed).collect()
    }
}
