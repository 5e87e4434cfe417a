//! What the tasks of one run share. It belongs to the run's thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use a4co_core::ids::OrderId;
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use a4co_driver::ports::AnswerSink;
use a4co_driver::{EngineHandle, Watches};
use a4co_journal::sim_disk::SimDisk;
use madsim::time::Instant;
use tokio::sync::Notify;

use super::calls::OpenCall;
use super::slots::{Slot, Watching};
use super::swarm::DriverPlan;
use crate::audit::Audit;
use crate::coverage::Strike;
use crate::gateway::Gateway;
use crate::plan::{Action, Ask};
use crate::rng::{Rng, Stream};
use crate::run::Outcome;
use crate::store::Store;
use crate::trace::{Node, Trace};
use crate::verdict::{Checked, Failure};
use crate::world::{EPOCH_MS, Stats};

/// A process while it runs.
pub(super) struct Life {
    pub(super) number: u32,
    pub(super) handle: EngineHandle,
    pub(super) watches: Watches,
    pub(super) answers: Arc<dyn AnswerSink>,
    pub(super) started_at: Timestamp,
    pub(super) started_us: u64,
    /// It was killed: nothing of it counts any more.
    pub(super) is_dead: bool,
    /// It was asked to stop, or has failed: it takes nothing more.
    pub(super) is_ending: bool,
    /// Its loop has returned, as it was asked to.
    pub(super) has_stopped: bool,
    /// A record found no room since the last one that did.
    pub(super) is_full: bool,
    /// Rows asked for and not yet handed over.
    pub(super) fetches: u64,
}

pub(super) struct World {
    pub(super) plan: Arc<DriverPlan>,
    pub(super) settings: Settings,
    began: Option<Instant>,
    pub(super) trace: Trace,
    pub(super) disk: SimDisk,
    pub(super) store: Store,
    pub(super) audit: Audit,
    pub(super) gateway: Gateway,
    pub(super) life: Option<Life>,
    pub(super) lives: u32,
    pub(super) calls: BTreeMap<u64, OpenCall>,
    pub(super) calls_made: u64,
    pub(super) calling: BTreeSet<OrderId>,
    pub(super) slots: BTreeMap<u64, Slot>,
    pub(super) slots_made: u64,
    pub(super) watching: Vec<Watching>,
    /// The order that each number of the plan last stood for.
    pub(super) order_ids: BTreeMap<u32, OrderId>,
    pub(super) clients_at_work: u32,
    /// What each action was told.
    pub(super) told: BTreeMap<u32, Vec<OrderId>>,
    pub(super) is_healed: bool,
    pub(super) outage_until_us: u64,
    pub(super) in_doubt: Option<Vec<u8>>,
    pub(super) steps: u64,
    pub(super) dies_at: Option<(u64, bool)>,
    pub(super) disk_is_armed: bool,
    pub(super) skew_ms: i64,
    /// Chance of what other threads do meanwhile.
    pub(super) threads: Rng,
    /// Wakes whoever watches over the process.
    pub(super) news: Arc<Notify>,
    pub(super) failure: Option<Failure>,
    pub(super) stats: Stats,
}

thread_local! {
    static WORLD: RefCell<Option<Box<World>>> = const { RefCell::new(None) };
}

/// Does something with the world. Never call a port, or poll anything, in here.
pub(super) fn with<R>(act: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(|world| {
        #[expect(clippy::expect_used, reason = "a run begins with one")]
        act(world.as_mut().expect("a world"))
    })
}

/// Makes the world of this thread.
pub(super) fn begin(plan: DriverPlan, keep_lines: bool) {
    let settings = plan.plan.knobs.settings();
    let world = World {
        threads: Rng::fork(plan.plan.knobs.seed, Stream::Driver, &[2]),
        plan: Arc::new(plan),
        began: None,
        trace: Trace::new(keep_lines),
        disk: SimDisk::new(),
        store: Store::default(),
        audit: Audit::new(&settings),
        gateway: Gateway::default(),
        life: None,
        lives: 0,
        calls: BTreeMap::new(),
        calls_made: 0,
        calling: BTreeSet::new(),
        slots: BTreeMap::new(),
        slots_made: 0,
        watching: Vec::new(),
        order_ids: BTreeMap::new(),
        clients_at_work: 0,
        told: BTreeMap::new(),
        is_healed: false,
        outage_until_us: 0,
        in_doubt: None,
        steps: 0,
        dies_at: None,
        disk_is_armed: false,
        skew_ms: 0,
        news: Arc::new(Notify::new()),
        failure: None,
        stats: Stats::default(),
        settings,
    };
    WORLD.with_borrow_mut(|place| *place = Some(Box::new(world)));
}

/// Takes the world away and says what the run came to, and when it ended.
pub(super) fn end() -> (Outcome, u64) {
    let world = WORLD.with_borrow_mut(Option::take);
    #[expect(clippy::expect_used, reason = "begun before")]
    let mut world = world.expect("a world");
    let at_us = world.stats.simulated_us;
    world.stats.events = world.trace.count;
    world.stats.count_audited(&world.audit);
    let outcome = Outcome {
        orders: Vec::new(),
        failure: world.failure.take(),
        stats: world.stats,
        trace: world.trace,
        cells: world.audit.ledger.cells,
    };
    (outcome, at_us)
}

impl World {
    /// Microseconds since the run began. Only within the executor.
    pub(super) fn now_us(&mut self) -> u64 {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let us = u64::try_from(now.duration_since(began).as_micros()).unwrap_or(u64::MAX);
        self.stats.simulated_us = us;
        us
    }

    pub(super) fn note(
        &mut self,
        node: Node,
        what: &'static str,
        numbers: [u64; 2],
        text: impl FnOnce() -> String,
    ) {
        let at_us = self.now_us();
        self.trace.note(at_us, node, what, numbers, text);
    }

    /// Keeps the first failed check, and ends the run.
    pub(super) fn see(&mut self, checked: Checked) {
        if let Err(failure) = checked
            && self.failure.is_none()
        {
            let at_us = self.now_us();
            self.failure = Some(Failure { at_us, ..failure });
            self.news.notify_one();
        }
    }

    /// The process that runs, unless it was killed.
    pub(super) fn alive(&mut self) -> Option<&mut Life> {
        self.life.as_mut().filter(|life| !life.is_dead)
    }

    /// This very process, unless it was killed.
    pub(super) fn alive_as(&mut self, number: u32) -> Option<&mut Life> {
        self.alive().filter(|life| life.number == number)
    }

    /// The engine's clock, as production has it: the wall clock once, then monotonic.
    pub(super) fn engine_now(&mut self) -> Timestamp {
        let now_us = self.now_us();
        match &self.life {
            Some(life) => {
                let ms = now_us.saturating_sub(life.started_us) / 1_000;
                life.started_at.saturating_add(Millis::new(ms))
            }
            None => self.wall(),
        }
    }

    pub(super) fn wall(&mut self) -> Timestamp {
        let ms = EPOCH_MS + self.now_us() / 1_000;
        Timestamp::from_unix_ms(ms.saturating_add_signed(self.skew_ms))
    }

    pub(super) fn fork(&self, stream: Stream, names: &[u64]) -> Rng {
        Rng::fork(self.plan.plan.knobs.seed, stream, names)
    }

    /// Everything that clients do, the stock at the start first.
    pub(super) fn actions(&self) -> Vec<Action> {
        let define = |stock: &crate::plan::Stock| Action {
            at_ms: 0,
            key: None,
            retries: 20,
            ask: Ask::Define {
                product: stock.product,
                on_hand: Some(stock.on_hand),
            },
        };
        let plan = &self.plan.plan;
        let stock = plan.products.iter().map(define);
        stock.chain(plan.actions.iter().cloned()).collect()
    }

    /// A port of this process was called. False: the process is dead, or dies here, and the
    /// call must have no effect.
    pub(super) fn step(&mut self, life: u32) -> bool {
        if self.alive_as(life).is_none() {
            return false;
        }
        self.steps += 1;
        if let Some((at, power)) = self.dies_at
            && self.steps >= at
        {
            self.die(power);
            return false;
        }
        true
    }

    /// The process dies, with or without the power. What its tasks still do has no effect,
    /// and whoever watches over it drops them.
    pub(super) fn die(&mut self, power: bool) {
        let Some(life) = self.alive() else { return };
        life.is_dead = true;
        life.is_ending = true;
        let number = u64::from(life.number);
        self.note(Node::Fault, "dies", [number, u64::from(power)], || {
            let power = if power { "the power goes" } else { "killed" };
            format!("process {number} dies: {power}")
        });
        self.after_death(power);
        self.news.notify_one();
    }

    /// What an end of the process, of whatever kind, leaves.
    pub(super) fn after_death(&mut self, power: bool) {
        self.stats.crashes += 1;
        self.audit.ledger.strike(Strike::of_death(power));
        self.dies_at = None;
        self.disk_is_armed = false;
        let mut rng = self.fork(Stream::Crash, &[u64::from(self.lives), self.stats.crashes]);
        if power {
            self.disk.crash(&mut rng.next_u64());
        } else {
            self.disk.kill();
        }
        let is_lost = !self.is_healed && rng.chance(self.plan.plan.knobs.store_lost);
        self.store.crash(is_lost);
        for call in self.calls.values_mut() {
            call.is_open = false;
        }
        self.calling.clear();
        self.audit.unpublished = None;
        self.watching.clear();
        let most_ms = self.plan.plan.knobs.restart_skew_ms;
        if !self.is_healed && most_ms > 0 {
            let skew_ms = i64::try_from(rng.below(2 * most_ms + 1)).unwrap_or(0);
            self.skew_ms = skew_ms - i64::try_from(most_ms).unwrap_or(0);
        }
    }
}
