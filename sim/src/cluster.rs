//! The replicated host in the main layer: two or three processes, each with all participants
//! and all of their shards, over a simulated journal service.
//!
//! The world around them is that of the embedded host: clients, gateway, auditor, end. What
//! is here is what lies between the processes and the service (`wire`), the service
//! itself, the driver that a process has (`member`), and what breaks.

mod commands;
mod entries;
mod faults;
mod finish;
mod keep;
mod member;
pub mod plan;
pub(crate) mod reads;
mod service;
pub mod swarm;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use a4co_core::ids::OrderId;
use a4co_core::replicated::{AppendId, HostId, ReplicaInput, ReplicatedHost, StreamSequence};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::{JournalId, PerJournal, ShardCount};
use a4co_core::time::{Millis, Timestamp};

use crate::audit::{Changed, Rows};
use crate::verdict::Checked;
use crate::world::{EPOCH_MS, Event, World};
use commands::Carried;
use entries::Entries;
use faults::Damage;
use plan::ClusterKnobs;
use service::Service;
use wire::{Ask, Tail};

/// What happens in a cluster and nowhere else.
#[derive(Debug)]
pub(crate) enum ClusterEvent {
    /// A machine starts its process.
    Start { machine: usize },
    /// A process takes its inputs.
    Drive { life: u32 },
    /// A process wakes for a timer.
    Wake { life: u32 },
    /// A request arrives at the service.
    AtService {
        life: u32,
        number: u64,
        ask: Box<Ask>,
    },
    /// Its answer arrives.
    Answered {
        life: u32,
        number: u64,
        answer: Box<ReplicaInput>,
    },
    /// Its sender gives up.
    TimedOut { life: u32, number: u64 },
    /// Something reaches a process unasked.
    Reaches { life: u32, input: Box<ReplicaInput> },
    /// The next message of a tail is due.
    Tail {
        life: u32,
        journal: JournalId,
        subscription: u32,
    },
    /// An adapter notices that a tail has left something out.
    TailResumes {
        life: u32,
        journal: JournalId,
        subscription: u32,
        from: u64,
    },
    /// A row has been looked up.
    Fetched {
        life: u32,
        key: Box<RowKey>,
        row: Option<Rc<Row>>,
    },
    /// A process goes on after it stood still.
    Resumes { machine: usize },
    /// A process is connected anew.
    Connects { life: u32 },
    /// A forwarded command arrives.
    Forwarded {
        /// To whom; to any process where nobody knows who leads.
        to: Option<HostId>,
        carried: Box<Carried>,
    },
    /// By now a damaged stream has been noticed.
    IsNoticed,
}

/// What waits for a process's driver.
#[derive(Debug)]
pub(crate) enum Item {
    Input(ReplicaInput),
    Command(Box<Carried>),
}

/// A process while it runs.
#[derive(Debug)]
pub(crate) struct Member {
    /// Counts all starts of all processes.
    pub(crate) life: u32,
    pub(crate) host_id: HostId,
    pub(crate) host: ReplicatedHost,
    pub(crate) inbox: VecDeque<Item>,
    pub(crate) drives: bool,
    pub(crate) wakes_at_us: Option<u64>,
    started_wall: Timestamp,
    started_us: u64,
    /// How much faster its clock runs, per mille.
    drift: i64,
    /// Requests to the service so far, and those that wait for an answer.
    sent: u64,
    open: BTreeMap<u64, Ask>,
    /// By [`JournalId::index`], as are the others.
    tails: Vec<Tail>,
    /// The append of each journal whose outcome it has not been told, and its payload.
    flying: Vec<Option<(AppendId, StreamSequence, Vec<u8>)>>,
    /// What readers see here, and up to which message.
    pub(crate) shown: Rows,
    shown_at: Vec<StreamSequence>,
    /// The last message that the host has published of each journal.
    published: Vec<StreamSequence>,
    /// Commands under way.
    commands: BTreeMap<u64, Carried>,
    /// Orders with a gateway call under way, of this leadership.
    calling: BTreeMap<OrderId, u64>,
    /// Orders with a call of an earlier leadership under way: its answer may pass for that
    /// of a later one, and then there are two.
    called_before: BTreeSet<OrderId>,
    leads: Vec<bool>,
    leads_since_us: Vec<u64>,
    halted: Vec<bool>,
    since_snapshot: u32,
}

/// What a machine keeps while no process runs on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    rows: Rows,
    /// How far, of each journal.
    rows_at: PerJournal<StreamSequence>,
    /// Rows that are shown and not kept yet.
    unsaved: VecDeque<(JournalId, StreamSequence, Changed)>,
    snapshot: Option<Vec<u8>>,
}

/// Where a process runs.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) member: Option<Box<Member>>,
    kept: Kept,
    skew_ms: i64,
    drift: i64,
    paused_until_us: u64,
    cut_to_until_us: u64,
    cut_from_until_us: u64,
    steps: u64,
    dies_at: Option<u64>,
    pauses_at: Option<(u64, u64)>,
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) knobs: ClusterKnobs,
    pub(crate) shards: ShardCount,
    /// In the order of [`JournalId::index`].
    pub(crate) journals: Vec<JournalId>,
    pub(crate) service: Service,
    pub(crate) machines: Vec<Machine>,
    entries: Entries,
    /// A snapshot with its rows, for a machine that has neither.
    object_store: Option<Kept>,
    damage: Option<Damage>,
    reads: reads::Reads,
    /// Everything has ended once, and everybody was started anew.
    is_last_round: bool,
}

impl Machine {
    const fn is_paused(&self, now_us: u64) -> bool {
        self.paused_until_us > now_us
    }
}

impl Member {
    /// The clock that this process's host is shown.
    pub(crate) fn now(&self, now_us: u64) -> Timestamp {
        let ms = (now_us - self.started_us) / 1000;
        let more = i64::try_from(ms).unwrap_or(0) * self.drift / 1000;
        let ms = ms.saturating_add_signed(more);
        self.started_wall.saturating_add(Millis::new(ms))
    }

    /// Microseconds until its clock shows this.
    fn until_us(&self, now_us: u64, at: Timestamp) -> u64 {
        let ms = at.unix_ms().saturating_sub(self.now(now_us).unix_ms());
        // A timer that is due already waits a moment, as that of a real driver would.
        let us = ms.saturating_mul(1_000_000) / (1000_u64.saturating_add_signed(self.drift));
        us.max(10)
    }
}

impl Cluster {
    pub(crate) fn new(knobs: ClusterKnobs) -> Self {
        let machines = knobs.roles.iter().map(|_| Machine::default()).collect();
        let shards = knobs.shard_count();
        Self {
            knobs,
            shards,
            journals: JournalId::all(shards).collect(),
            service: Service::new(shards),
            machines,
            entries: Entries::new(shards),
            object_store: None,
            damage: None,
            reads: reads::Reads::default(),
            is_last_round: false,
        }
    }

    /// The machine on which this life runs.
    fn machine_of(&self, life: u32) -> Option<usize> {
        self.machines
            .iter()
            .position(|it| it.member.as_ref().is_some_and(|it| it.life == life))
    }

    fn member(&mut self, life: u32) -> Option<&mut Member> {
        self.machines
            .iter_mut()
            .filter_map(|it| it.member.as_deref_mut())
            .find(|it| it.life == life)
    }

    pub(crate) fn peek(&self, life: u32) -> Option<&Member> {
        self.machines
            .iter()
            .filter_map(|it| it.member.as_deref())
            .find(|it| it.life == life)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.machines.iter().filter_map(|it| it.member.as_deref())
    }

    /// A stream was damaged: nothing that comes after is judged, but the alarm.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }
}

impl World<'_> {
    /// The cluster of a world that has one.
    ///
    /// # Panics
    /// In a world of the embedded host, where nothing asks for it.
    #[expect(clippy::expect_used, reason = "see above")]
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_deref_mut().expect("a cluster")
    }

    /// What happens now is at the machine of this process.
    pub(crate) fn is_at(&mut self, life: u32) {
        if let Some(cluster) = self.cluster.as_deref() {
            self.trace.machine = cluster.machine_of(life);
        }
    }

    pub(crate) fn in_cluster(&mut self, delay_us: u64, event: ClusterEvent) {
        self.schedule(delay_us, Event::Cluster(event));
    }

    /// One event. True: the run is over.
    pub(crate) fn happen_in_cluster(
        &mut self,
        event: ClusterEvent,
    ) -> Result<bool, crate::verdict::Failure> {
        match event {
            ClusterEvent::Start { machine } | ClusterEvent::Resumes { machine } => {
                self.trace.machine = Some(machine);
            }
            ClusterEvent::Drive { life }
            | ClusterEvent::Wake { life }
            | ClusterEvent::AtService { life, .. }
            | ClusterEvent::Answered { life, .. }
            | ClusterEvent::TimedOut { life, .. }
            | ClusterEvent::Reaches { life, .. }
            | ClusterEvent::Tail { life, .. }
            | ClusterEvent::TailResumes { life, .. }
            | ClusterEvent::Fetched { life, .. }
            | ClusterEvent::Connects { life } => self.is_at(life),
            ClusterEvent::Forwarded { .. } | ClusterEvent::IsNoticed => {}
        }
        match event {
            ClusterEvent::Start { machine } => self.start_member(machine)?,
            ClusterEvent::Drive { life } => self.on_member_drive(life)?,
            ClusterEvent::Wake { life } => self.on_member_wake(life)?,
            ClusterEvent::AtService { life, number, ask } => {
                self.at_service(life, number, *ask)?;
            }
            ClusterEvent::Answered {
                life,
                number,
                answer,
            } => self.on_answered(life, number, *answer),
            ClusterEvent::TimedOut { life, number } => self.on_timed_out(life, number),
            ClusterEvent::Reaches { life, input } => self.put_before(life, Item::Input(*input)),
            ClusterEvent::Tail {
                life,
                journal,
                subscription,
            } => self.on_tail(life, journal, subscription),
            ClusterEvent::TailResumes {
                life,
                journal,
                subscription,
                from,
            } => self.on_tail_resumes(life, journal, subscription, from),
            ClusterEvent::Fetched { life, key, row } => {
                let row = row.map(|row| (*row).clone());
                let input = ReplicaInput::Fetched { key: *key, row };
                self.put_before(life, Item::Input(input));
            }
            ClusterEvent::Resumes { machine } => self.on_resumes(machine),
            ClusterEvent::Connects { life } => self.on_connects(life),
            ClusterEvent::Forwarded { to, carried } => self.on_forwarded(to, *carried),
            ClusterEvent::IsNoticed => {
                self.check_noticed()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All machines start for the first time.
    pub(crate) fn start_cluster(&mut self) -> Checked {
        for machine in 0..self.cluster().machines.len() {
            let knobs = &self.plan.knobs;
            let mut rng = self.chance(&[0, machine as u64]);
            let skew_ms = i64::try_from(rng.below(2 * knobs.restart_skew_ms + 1)).unwrap_or(0)
                - i64::try_from(knobs.restart_skew_ms).unwrap_or(0);
            let cluster = self.cluster();
            let drift = i64::try_from(rng.below(2 * u64::from(cluster.knobs.drift) + 1))
                .unwrap_or(0)
                - i64::from(cluster.knobs.drift);
            self.trace.machine = Some(machine);
            let place = &mut self.cluster().machines[machine];
            place.drift = drift;
            place.skew_ms = skew_ms;
            self.start_member(machine)?;
        }
        Ok(())
    }

    /// The wall clock of a machine.
    fn wall_of(&self, skew_ms: i64) -> Timestamp {
        let ms = EPOCH_MS + self.now_us / 1000;
        let skew_ms = skew_ms.saturating_add(self.skew_ms);
        Timestamp::from_unix_ms(ms.saturating_add_signed(skew_ms))
    }
}
