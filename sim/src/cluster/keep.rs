//! Lives of a process, and what its machine keeps between them: rows, a snapshot, and how far
//! each journal had been seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use a4co_core::replicated::{
    HostId, HostSnapshot, ReplicaInput, ReplicatedConfig, ReplicatedHost, StreamSequence,
};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::{JournalId, ShardCount};
use a4co_core::time::Millis;

use super::wire::Tail;
use super::{ClusterEvent, Item, Kept, Member};
use crate::coverage::Strike;
use crate::trace::Node;
use crate::verdict::{Checked, Failure, safety};
use crate::world::World;

/// The journals' positions of a snapshot.
fn positions(snapshot: &HostSnapshot, shards: ShardCount) -> Vec<StreamSequence> {
    let position = |journal: JournalId| {
        let shard = snapshot.shards.get(usize::from(journal.shard.id.get()));
        shard.map_or(StreamSequence::NONE, |shard| {
            shard.position(journal.participant).stream_sequence
        })
    };
    JournalId::all(shards).map(position).collect()
}

/// As numbers, for people.
fn numbers(positions: &[StreamSequence]) -> Vec<u64> {
    positions.iter().map(|at| at.get()).collect()
}

fn opened(bytes: &[u8]) -> Result<HostSnapshot, Failure> {
    HostSnapshot::decode(bytes)
        .map_err(|error| safety("record_decodes", format!("a snapshot: {error}")))
}

impl Kept {
    /// Keeps all that is shown.
    fn flush(&mut self) {
        for (journal, at, rows) in std::mem::take(&mut self.unsaved) {
            self.rows.extend(rows);
            self.rows_at.set(journal, at);
        }
    }

    /// Takes over what another shows of each journal, where that is further.
    fn adopt(&mut self, other: &Self, shards: ShardCount) {
        for journal in JournalId::all(shards) {
            let at = other.rows_at.of(journal);
            if at > self.rows_at.of(journal) {
                self.rows.extend(other.rows_of(journal));
                self.rows_at.set(journal, at);
            }
        }
    }

    fn rows_of(&self, journal: JournalId) -> impl Iterator<Item = (RowKey, Rc<Row>)> {
        let rows = self.rows.iter();
        let rows = rows.filter(move |(key, _)| key.journal(journal.shard.count) == journal);
        rows.map(|(key, row)| (key.clone(), Rc::clone(row)))
    }
}

impl Member {
    /// Takes over what another view shows of a journal, where that is further.
    fn adopt(&mut self, other: &Kept, shards: ShardCount) {
        for journal in JournalId::all(shards) {
            let at = other.rows_at.of(journal);
            if at > self.shown_at[journal.index()] {
                self.shown.extend(other.rows_of(journal));
                self.shown_at[journal.index()] = at;
            }
        }
    }
}

impl World<'_> {
    pub(super) fn start_member(&mut self, machine: usize) -> Checked {
        if self.cluster().machines[machine].member.is_some() {
            return Ok(());
        }
        self.processes += 1;
        let life = self.processes;
        let (now_us, seed) = (self.now_us, self.plan.knobs.seed);
        let settings = self.settings.clone();
        let skew_ms = self.cluster().machines[machine].skew_ms;
        let started_wall = self.wall_of(skew_ms);
        let cluster = self.cluster();
        let place = &mut cluster.machines[machine];
        if place.kept.snapshot.is_none()
            && place.kept.rows.is_empty()
            && let Some(stored) = &cluster.object_store
        {
            place.kept = stored.clone();
        }
        let snapshot = match &place.kept.snapshot {
            Some(bytes) => opened(bytes)?,
            None => HostSnapshot::default(),
        };
        let roles = cluster.knobs.roles[machine];
        let mut id = [0xA0; 16];
        id[..8].copy_from_slice(&seed.to_be_bytes());
        id[12..].copy_from_slice(&life.to_be_bytes());
        let config = ReplicatedConfig {
            host: HostId::from_bytes(id),
            candidate_for: [roles & 1 != 0, roles & 2 != 0, roles & 4 != 0],
            lease_ttl_ms: Millis::new(cluster.knobs.lease_ttl_ms),
            shards: cluster.shards,
        };
        let published = positions(&snapshot, cluster.shards);
        let seen = cluster.journals.iter();
        let seen: Vec<_> = seen.map(|it| place.kept.rows_at.of(*it)).collect();
        let from = numbers(&published);
        let journals = cluster.journals.len();
        place.member = Some(Box::new(Member {
            life,
            host_id: config.host,
            host: ReplicatedHost::new(&config, &settings, snapshot, &seen),
            inbox: VecDeque::new(),
            drives: false,
            wakes_at_us: None,
            started_wall,
            started_us: now_us,
            drift: place.drift,
            sent: 0,
            open: BTreeMap::new(),
            tails: (0..journals).map(|_| Tail::default()).collect(),
            flying: (0..journals).map(|_| None).collect(),
            shown: place.kept.rows.clone(),
            shown_at: seen,
            published,
            commands: BTreeMap::new(),
            calling: BTreeMap::new(),
            called_before: BTreeSet::new(),
            leads: vec![false; journals],
            leads_since_us: vec![0; journals],
            halted: vec![false; journals],
            since_snapshot: 0,
        }));
        let numbers = [u64::from(life), machine as u64];
        self.note(Node::Engine, "starts", numbers, || {
            format!("process {life} on machine {machine}, roles {roles}, from {from:?}")
        });
        self.put_before(life, Item::Input(ReplicaInput::Time));
        Ok(())
    }

    /// The process on a machine dies.
    pub(super) fn kill_member(&mut self, machine: usize) {
        let is_healed = self.is_healed;
        let Some(member) = self.cluster().machines[machine].member.take() else {
            return;
        };
        let life = member.life;
        self.trace.machine = Some(machine);
        self.stats.crashes += 1;
        self.audit.ledger.strike(Strike::Killed);
        for call in self.calls.values_mut().filter(|it| it.process == life) {
            call.is_open = false;
        }
        let knobs = &self.plan.knobs;
        let mut rng = self.chance(&[8, u64::from(life)]);
        let delay_us = rng.between(1, knobs.restart_ms.max(1)) * 1000;
        let skew_ms = i64::try_from(rng.below(2 * knobs.restart_skew_ms + 1)).unwrap_or(0)
            - i64::try_from(knobs.restart_skew_ms).unwrap_or(0);
        let is_lost = !is_healed && rng.chance(knobs.store_lost);
        let place = &mut self.cluster().machines[machine];
        place.dies_at = None;
        place.pauses_at = None;
        place.paused_until_us = 0;
        place.kept.unsaved.clear();
        if !is_healed {
            place.skew_ms = skew_ms;
        }
        if is_lost {
            place.kept = Kept::default();
        }
        self.note(
            Node::Fault,
            "dies",
            [u64::from(life), u64::from(is_lost)],
            || {
                let kept = if is_lost {
                    ", and all that it kept"
                } else {
                    ""
                };
                let ms = delay_us / 1000;
                format!("process {life} on machine {machine}{kept}; another in {ms} ms")
            },
        );
        self.in_cluster(delay_us, ClusterEvent::Start { machine });
    }

    /// The participant is built again, from the newest snapshot that there is.
    pub(super) fn rebuild_in(&mut self, life: u32, journal: JournalId) -> Checked {
        let now_us = self.now_us;
        let cluster = self.cluster();
        let Some(machine) = cluster.machine_of(life) else {
            return Ok(());
        };
        let place = &mut cluster.machines[machine];
        let stored = &cluster.object_store;
        let snapshot = match (&place.kept.snapshot, stored) {
            (Some(bytes), _) => opened(bytes)?,
            (None, Some(stored)) => {
                if let Some(member) = &mut place.member {
                    member.adopt(stored, cluster.shards);
                }
                // What is adopted is kept at once: nothing of it is published again.
                place.kept.flush();
                place.kept.adopt(stored, cluster.shards);
                stored
                    .snapshot
                    .as_deref()
                    .map_or_else(|| Ok(HostSnapshot::default()), opened)?
            }
            (None, None) => HostSnapshot::default(),
        };
        let Some(member) = &mut place.member else {
            return Ok(());
        };
        let at = positions(&snapshot, cluster.shards);
        member.published[journal.index()] = at[journal.index()];
        let now = member.now(now_us);
        member.host.rebuild(now, journal, snapshot);
        Ok(())
    }

    /// Snapshots, on the machine and in the object store.
    pub(super) fn tend_snapshot(&mut self, life: u32) -> Checked {
        let every = self.plan.knobs.snapshot_every;
        let Some(cluster) = self.cluster.as_deref_mut() else {
            return Ok(());
        };
        let lasts = cluster.journals.iter();
        let lasts: Vec<_> = lasts.map(|it| cluster.service.stream(*it).last()).collect();
        let shards = cluster.shards;
        let is_damaged = cluster.is_damaged();
        let Some(machine) = cluster.machine_of(life) else {
            return Ok(());
        };
        let place = &mut cluster.machines[machine];
        let Some(member) = &mut place.member else {
            return Ok(());
        };
        if every == 0 || member.since_snapshot < every || is_damaged {
            return Ok(());
        }
        let Some(snapshot) = member.host.snapshot() else {
            return Ok(());
        };
        member.since_snapshot = 0;
        let at = numbers(&positions(&snapshot, shards));
        // It rests on rows that are kept.
        place.kept.flush();
        place.kept.snapshot = Some(snapshot.encode());
        self.stats.snapshots += 1;
        let names = [11, u64::from(life), self.stats.snapshots];
        let goes_up = self
            .chance(&names)
            .chance(self.cluster().knobs.object_store);
        if goes_up {
            let cluster = self.cluster();
            let kept = &cluster.machines[machine].kept;
            let is_newer = cluster.object_store.as_ref().is_none_or(|stored| {
                let mut journals = cluster.journals.iter();
                journals.all(|it| stored.rows_at.of(*it) <= kept.rows_at.of(*it))
            });
            if is_newer {
                cluster.object_store = Some(kept.clone());
            }
        }
        self.note(Node::Engine, "snapshot", [u64::from(life), at[0]], || {
            format!("process {life} at {at:?}")
        });
        if at == lasts {
            let whose = format!("process {life}");
            self.audit.same_states(snapshot, &whose)?;
        }
        Ok(())
    }
}
