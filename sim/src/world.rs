//! The world: a heap of events in simulated time, and everything that they happen to.
//!
//! One event at a time, in order of time and then of scheduling. Nothing here reads a
//! clock or hashes by address, so that a seed is a run, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use a4co_core::command::Reply;
use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::shards::ShardCount;
use a4co_core::time::Timestamp;
use a4co_journal::sim_disk::{SimDisk, SimFault};

use crate::audit::Audit;
use crate::clients::Clients;
use crate::cluster::{Cluster, ClusterEvent};
use crate::coverage::Strike;
use crate::gateway::{Gateway, Later};
use crate::plan::{Breaks, Plan};
use crate::process::Process;
use crate::queue::Queue;
use crate::reads::{Read, Reads};
use crate::reports::Report;
use crate::store::Store;
use crate::trace::{Node, Trace};
use crate::verdict::{Failure, safety};

/// The wall clock at the start of every run.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;
/// Events after which a run is taken to be going in circles.
const EVENTS_MAX: u64 = 3_000_000;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client sends what it wants, for the first time or again.
    Send(u32),
    /// A request arrives.
    Deliver { intent: u32, attempt: u32 },
    /// A reply arrives.
    Told {
        intent: u32,
        attempt: u32,
        reply: Box<Reply>,
    },
    /// A client has waited long enough.
    GiveUp { intent: u32, attempt: u32 },
    /// The driver takes its inputs.
    Drive { process: u32 },
    /// The driver wakes for a timer.
    Wake { process: u32 },
    /// The append is carried out.
    Append { process: u32 },
    /// A row has been looked up.
    Fetched {
        process: u32,
        key: Box<RowKey>,
        row: Option<Box<Row>>,
    },
    /// A call arrives at the gateway.
    CallArrives { call: u64 },
    /// Its answer arrives.
    CallAnswered {
        call: u64,
        outcome: Box<GatewayOutcome>,
    },
    /// Its caller gives up.
    CallGivenUp { call: u64 },
    /// Something happens at the gateway.
    AtGateway { order_id: OrderId, later: Later },
    /// A report of the gateway arrives.
    Report(u32),
    /// A fault of the plan strikes.
    Fault(u32),
    /// The disk has room again.
    Room,
    /// A process starts.
    Start,
    /// All faults end.
    Heal,
    /// Has everything come to its end?
    Settle,
    /// Something that only a cluster has.
    Cluster(ClusterEvent),
    /// Somebody reads. It is not counted as an event.
    Read(Read),
}

/// A call on its way.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) call: GatewayCall,
    pub(crate) process: u32,
    pub(crate) is_open: bool,
}

/// The world.
pub(crate) struct World<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) settings: Settings,
    pub(crate) now_us: u64,
    queue: Queue,
    pub(crate) trace: Trace,
    pub(crate) disk: SimDisk,
    pub(crate) process: Option<Box<Process>>,
    /// The processes, where the run is of the replicated host.
    pub(crate) cluster: Option<Box<Cluster>>,
    /// Counts processes; events of an earlier one are void.
    pub(crate) processes: u32,
    pub(crate) store: Store,
    pub(crate) audit: Audit,
    pub(crate) gateway: Gateway,
    pub(crate) calls: BTreeMap<u64, OpenCall>,
    pub(crate) calls_made: u64,
    /// What the gateway has reported by itself so far.
    pub(crate) reports: Vec<Report>,
    /// Orders with a call under way, as this process knows.
    pub(crate) calling: BTreeSet<OrderId>,
    pub(crate) clients: Clients,
    pub(crate) reads: Reads,
    /// The wall clock against simulated time, in ms.
    pub(crate) skew_ms: i64,
    pub(crate) outage_until_us: u64,
    pub(crate) is_healed: bool,
    /// A record that was being appended when the process died.
    pub(crate) in_doubt: Option<Vec<u8>>,
    /// The driver's steps so far, and the one at which the process dies.
    pub(crate) steps: u64,
    pub(crate) dies_at: Option<(u64, bool)>,
    /// The power goes so many operations into the next snapshot.
    pub(crate) cut_tending: Option<u64>,
    /// A fault of the disk may be waiting for its operation.
    pub(crate) disk_is_armed: bool,
    pub(crate) stats: Stats,
    settle_by_us: u64,
}

/// What a run came to, in numbers.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Events of the loop.
    pub events: u64,
    /// Events in the journals.
    pub journal_events: u64,
    /// Durable records.
    pub records: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Claims that were stored: changes of a journal's leader.
    pub claims: u64,
    /// Leaders that had run ahead of a journal that another had appended to.
    pub fenced: u64,
    /// Orders that are durable, by how they ended: confirmed, failed, cancelled.
    pub ended: [u64; 3],
    /// Simulated time in microseconds.
    pub simulated_us: u64,
}

impl Stats {
    /// Takes over what the auditor has counted by the end of a run.
    pub(crate) fn count_audited(&mut self, audit: &Audit) {
        self.journal_events = audit.events;
        self.records = audit.records.len() as u64;
        for order in audit.orders() {
            match order.status.name() {
                "CONFIRMED" => self.ended[0] += 1,
                "FAILED" => self.ended[1] += 1,
                "CANCELLED" => self.ended[2] += 1,
                _ => {}
            }
        }
    }
}

impl<'p> World<'p> {
    /// The world of a plan, before anything has happened.
    pub(crate) fn new(plan: &'p Plan, keep_lines: bool) -> Self {
        let settings = plan.knobs.settings();
        let shards = plan.knobs.cluster.as_ref();
        let shards = shards.map_or(ShardCount::ONE, |knobs| knobs.shard_count());
        let mut world = Self {
            plan,
            now_us: 0,
            queue: Queue::default(),
            trace: Trace::new(keep_lines),
            disk: SimDisk::new(),
            process: None,
            cluster: plan
                .knobs
                .cluster
                .as_ref()
                .map(|knobs| Box::new(Cluster::new((**knobs).clone()))),
            processes: 0,
            store: Store::default(),
            audit: Audit::of_shards(&settings, shards),
            gateway: Gateway::default(),
            calls: BTreeMap::new(),
            calls_made: 0,
            reports: Vec::new(),
            calling: BTreeSet::new(),
            clients: Clients::new(plan),
            reads: Reads::default(),
            skew_ms: 0,
            outage_until_us: 0,
            is_healed: false,
            in_doubt: None,
            steps: 0,
            dies_at: None,
            cut_tending: None,
            disk_is_armed: false,
            stats: Stats::default(),
            settle_by_us: 0,
            settings,
        };
        world.audit.is_of_cluster = plan.knobs.cluster.is_some();
        world.schedule(0, Event::Start);
        for intent in world.clients.first_sends() {
            world.schedule(intent.0 * 1000, Event::Send(intent.1));
        }
        for (number, fault) in (0..).zip(&plan.faults) {
            if fault.at_ms < plan.knobs.heal_at_ms {
                world.schedule(fault.at_ms * 1000, Event::Fault(number));
            }
        }
        world.schedule(plan.knobs.heal_at_ms * 1000, Event::Heal);
        world.schedule_reads();
        world
    }

    /// Schedules an event so many microseconds from now.
    pub(crate) fn schedule(&mut self, delay_us: u64, event: Event) {
        let at_us = self.now_us.saturating_add(delay_us);
        self.queue.push(at_us, event);
    }

    /// The wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        let ms = EPOCH_MS + self.now_us / 1000;
        Timestamp::from_unix_ms(ms.saturating_add_signed(self.skew_ms))
    }

    pub(crate) fn note(
        &mut self,
        node: Node,
        what: &'static str,
        numbers: [u64; 2],
        text: impl FnOnce() -> String,
    ) {
        self.trace.note(self.now_us, node, what, numbers, text);
    }

    /// The last line of the trace is about this order.
    pub(crate) fn about(&mut self, order_id: OrderId) {
        self.trace.add(|line| line.about.push(order_id));
    }

    /// A line for readers, which the digest does not know of.
    pub(crate) fn aside(
        &mut self,
        node: Node,
        what: &'static str,
        order_id: Option<OrderId>,
        text: impl FnOnce() -> String,
    ) {
        self.trace.aside(self.now_us, node, what, text);
        self.trace.add(|line| line.about.extend(order_id));
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        let answer = self.run_events();
        self.stats.simulated_us = self.now_us;
        self.stats.count_audited(&self.audit);
        answer.map_err(|failure| Failure {
            at_us: self.now_us,
            ..failure
        })
    }

    fn run_events(&mut self) -> Result<(), Failure> {
        while let Some((at_us, event)) = self.queue.pop() {
            self.now_us = at_us;
            self.trace.machine = None;
            self.stats.events += u64::from(!matches!(event, Event::Read(_)));
            if self.stats.events > EVENTS_MAX {
                return Err(crate::verdict::liveness(
                    "comes_to_an_end",
                    format!("{EVENTS_MAX} events and no end"),
                ));
            }
            if self.happen(event)? {
                return Ok(());
            }
            if let Some(complaint) = self.gateway.complaint.take() {
                return Err(safety("gateway_accepts_call", complaint));
            }
        }
        Err(safety("comes_to_an_end", "the world stood still"))
    }

    /// One event. True: the run is over.
    fn happen(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Send(intent) => self.on_send(intent),
            Event::Deliver { intent, attempt } => self.on_deliver(intent, attempt),
            Event::Told {
                intent,
                attempt,
                reply,
            } => self.on_told(intent, attempt, &reply),
            Event::GiveUp { intent, attempt } => self.on_give_up(intent, attempt),
            Event::Drive { process } => self.on_drive(process)?,
            Event::Wake { process } => self.on_wake(process)?,
            Event::Append { process } => self.on_append(process)?,
            Event::Fetched { process, key, row } => self.on_fetched(process, *key, row)?,
            Event::CallArrives { call } => self.on_call_arrives(call),
            Event::CallAnswered { call, outcome } => self.on_call_answered(call, *outcome),
            Event::CallGivenUp { call } => {
                self.on_call_answered(call, crate::gateway::unknown("timed out"));
            }
            Event::AtGateway { order_id, later } => self.at_gateway(order_id, later),
            Event::Report(number) => self.on_report(number),
            Event::Fault(number) => self.on_fault(number)?,
            Event::Room => self.on_room(),
            Event::Start if self.cluster.is_some() => self.start_cluster()?,
            Event::Start => self.on_start()?,
            Event::Heal => self.on_heal(),
            Event::Settle => return self.on_settle(),
            Event::Cluster(event) => return self.happen_in_cluster(event),
            Event::Read(read) => self.on_read(read)?,
        }
        Ok(false)
    }

    fn on_fault(&mut self, number: u32) -> Result<(), Failure> {
        let plan = self.plan;
        let Some(fault) = usize::try_from(number)
            .ok()
            .and_then(|index| plan.faults.get(index))
        else {
            return Ok(());
        };
        if self.is_healed {
            return Ok(());
        }
        self.note(Node::Fault, "strikes", [u64::from(number), 0], || {
            format!("{:?}", fault.breaks)
        });
        if let Some(strike) = fault.breaks.strike() {
            self.audit.ledger.strike(strike);
        }
        match fault.breaks {
            Breaks::Crash { steps, power } => {
                self.dies_at = Some((self.steps + u64::from(steps), power));
                if steps == 0 {
                    self.die(power);
                }
            }
            Breaks::PowerCut { operations } => {
                let at = self.disk.operations() + u64::from(operations);
                self.disk.cut_power_at(at);
                self.disk_is_armed = true;
            }
            Breaks::SyncFails => {
                self.disk.fail_next_sync();
                self.disk_is_armed = true;
            }
            Breaks::PowerCutTending { operations } => {
                self.cut_tending = Some(u64::from(operations));
            }
            Breaks::DiskFails { operations, full } => {
                let at = self.disk.operations() + u64::from(operations);
                let fault = if full { SimFault::Full } else { SimFault::Io };
                self.disk.fail_at(at, fault);
                self.disk_is_armed = true;
            }
            Breaks::DiskFull { for_ms, left } => {
                self.disk.set_capacity(self.disk.used_bytes() + left);
                self.schedule(for_ms * 1000, Event::Room);
            }
            Breaks::Outage { for_ms } => {
                self.outage_until_us = self.now_us + for_ms * 1000;
            }
            Breaks::ClockJump { by_ms } => {
                self.skew_ms = self.skew_ms.saturating_add(by_ms);
                self.rearm();
            }
            Breaks::BitFlip => self.on_bit_flip(number)?,
            Breaks::Cluster(ref breaks) => self.on_cluster_fault(breaks),
        }
        Ok(())
    }

    fn on_room(&mut self) {
        self.disk.set_capacity(u64::MAX);
        self.aside(Node::Disk, "has room", None, || {
            "the disk is not full".into()
        });
    }

    /// All faults end. From here on everything has to come to its end.
    fn on_heal(&mut self) {
        if self.cluster.as_ref().is_some_and(|it| it.is_damaged()) {
            return;
        }
        self.is_healed = true;
        self.note(Node::Fault, "end", [0, 0], || {
            "all faults end; everything must come to its end".into()
        });
        self.audit.ledger.strike(Strike::Healed);
        self.gateway.is_healed = true;
        crate::finish::allow_refunds(&self.audit, &mut self.gateway);
        self.outage_until_us = 0;
        self.dies_at = None;
        self.cut_tending = None;
        self.on_room();
        if self.disk_is_armed {
            // Another process, since a fault that waits for its operation ends with one.
            self.die(false);
            self.disk.kill();
            self.disk_is_armed = false;
        }
        for order_id in self.gateway.pending() {
            let later = Later::Settle;
            self.schedule(1_000_000, Event::AtGateway { order_id, later });
        }
        for (order_id, number) in self.gateway.pending_refunds().collect::<Vec<_>>() {
            let later = Later::SettleRefund { number };
            self.schedule(1_000_000, Event::AtGateway { order_id, later });
        }
        self.heal_cluster();
        self.heal_clients();
        let bound_us = self.bound_ms() * 1000;
        self.settle_by_us = self.now_us + bound_us;
        self.schedule(2_000_000, Event::Settle);
    }

    /// How long everything may take once nothing fails any more: every timer once after
    /// the other, and the clock as far off as it ever was.
    fn bound_ms(&self) -> u64 {
        let knobs = &self.plan.knobs;
        let jumps: u64 = self
            .plan
            .faults
            .iter()
            .map(|fault| match fault.breaks {
                Breaks::ClockJump { by_ms } => by_ms.unsigned_abs(),
                _ => 0,
            })
            .sum();
        let skews = knobs.restart_skew_ms * 2 * (1 + u64::from(self.processes));
        let timers = knobs.saga_timeout_ms + knobs.hold_ms + knobs.payment_timeout_ms;
        let retries = 20 * knobs.retry_cap_ms + 4 * knobs.parked_retry_ms;
        let others = knobs.restart_ms + knobs.client_timeout_ms + 4 * knobs.webhook_ms;
        2 * timers + retries + others + jumps + skews + 600_000 + self.cluster_bound_ms()
    }

    fn on_settle(&mut self) -> Result<bool, Failure> {
        self.check_timers()?;
        let why = match self.still_open() {
            None if self.begins_last_round()? => "everybody has just been started anew".into(),
            None => return self.finish().map(|()| true),
            Some(why) => why,
        };
        if self.now_us >= self.settle_by_us {
            return Err(crate::verdict::liveness("every_saga_ends", why));
        }
        self.nudge_world();
        // Rarer and rarer: a long wait is one of many timers, not of many looks.
        let step_us = ((self.now_us + 1_000_000) / 8).clamp(2_000_000, 60_000_000);
        self.schedule(step_us, Event::Settle);
        Ok(false)
    }
}
