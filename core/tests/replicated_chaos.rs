//! The replicated host under seeded chaos: processes that die, sleep and wake, answers and
//! requests that are lost, a gateway that says what it likes. Then everything heals, and the
//! books have to be right and the same everywhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use a4co_core::command::{Command, RequestId};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{OrderId, ParticipantId};
use a4co_core::order::{OrderCommand, OrderStatus};
use a4co_core::replicated::{AnyEntry, Content, Epoch, HostId, HostSnapshot, ReplicaInput};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::JournalId;
use a4co_core::time::Millis;
use common::streams::{Loss, World, message, order};
use common::{order_id, product_id, reference};

const ORDERS: u8 = 12;
const STOCK: u64 = 8;

/// xorshift64*: the whole run follows from the seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// The gateway's books: idempotent by order.
#[derive(Default)]
struct Gateway {
    charged: BTreeSet<OrderId>,
    /// Whatever comes later, these are not charged.
    over: BTreeSet<OrderId>,
    refunds: BTreeMap<OrderId, u32>,
}

impl Gateway {
    fn take(
        &mut self,
        call: &GatewayCall,
        chance: &mut Chance,
        is_definite: bool,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        let unknown = GatewayOutcome::Unknown {
            detail: Arc::from("nobody knows"),
        };
        if !is_definite && chance.one_in(4) {
            return unknown; // never arrived
        }
        let paid = GatewayOutcome::Succeeded {
            reference: reference("ch"),
        };
        let outcome = match call.operation {
            _ if self.charged.contains(&order_id) => match call.operation {
                GatewayOperation::Refund { number } => {
                    self.refunds.insert(order_id, number);
                    GatewayOutcome::Refunded {
                        reference: reference("re"),
                    }
                }
                _ => paid,
            },
            GatewayOperation::Charge if self.over.contains(&order_id) || chance.one_in(5) => {
                self.over.insert(order_id);
                GatewayOutcome::Rejected {
                    code: Arc::from("card_declined"),
                }
            }
            GatewayOperation::Charge => {
                self.charged.insert(order_id);
                paid
            }
            GatewayOperation::Query | GatewayOperation::Capture => GatewayOutcome::NotFound,
            GatewayOperation::Cancel => {
                self.over.insert(order_id);
                GatewayOutcome::Cancelled
            }
            GatewayOperation::Refund { .. } => panic!("a refund of what was never charged"),
        };
        if !is_definite && chance.one_in(4) {
            return unknown; // the answer was lost
        }
        outcome
    }
}

struct Chaos {
    world: World,
    gateway: Gateway,
    chance: Chance,
    snapshots: Vec<Option<HostSnapshot>>,
    placed: u8,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let processes = 2 + usize::try_from(seed % 2).unwrap();
        let mut world = World::new(processes);
        world.stock(STOCK);
        Self {
            world,
            gateway: Gateway::default(),
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            snapshots: vec![None; processes],
            placed: 0,
        }
    }

    fn any_process(&mut self) -> usize {
        usize::try_from(self.chance.below(self.world.processes.len() as u64)).unwrap()
    }

    fn step(&mut self) {
        let at = self.any_process();
        match self.chance.below(40) {
            0..=19 => self.run(at),
            20..=25 => self.pass(5),
            26..=28 => self.pass(500),
            29 => self.pass(12_000),
            30..=31 => self.command(at),
            32..=34 => {
                let loss = if self.chance.one_in(2) {
                    Loss::Request
                } else {
                    Loss::Answer
                };
                self.world.processes[at].losses.push_back(loss);
            }
            35 => {
                let process = &mut self.world.processes[at];
                process.is_paused = !process.is_paused;
            }
            36 => {
                if let Some(snapshot) = self.world.processes[at].host.snapshot() {
                    self.snapshots[at] = Some(snapshot);
                }
            }
            37 => self.restart(at),
            38 => self.watch(at),
            _ => self.step_down(at),
        }
        self.answer_calls(at, false);
    }

    /// A few things happen in one process, and nowhere else.
    fn run(&mut self, at: usize) {
        let steps = 1 + self.chance.below(12);
        let process = &mut self.world.processes[at];
        if process.is_paused {
            return;
        }
        for _ in 0..steps {
            process.step(self.world.now, &mut self.world.servers);
        }
    }

    fn pass(&mut self, ms_max: u64) {
        let ms = self.chance.below(ms_max);
        self.world.now = self.world.now.saturating_add(Millis::new(ms));
        for process in &mut self.world.processes {
            process.inputs.push_back(ReplicaInput::Time);
        }
    }

    fn command(&mut self, at: usize) {
        self.world.requests += 1;
        let request = RequestId(self.world.requests);
        let cancels = self.placed > 0 && self.chance.one_in(4);
        let command = if cancels {
            let number = 1 + u8::try_from(self.chance.below(u64::from(self.placed))).unwrap();
            Command::Order(OrderCommand::Cancel {
                order_id: order_id(number),
                reason: Arc::from("chaos"),
                idempotency: None,
            })
        } else {
            // An order that was refused is asked for again; one that was taken, too.
            let fresh = self.placed < ORDERS && !self.chance.one_in(4);
            self.placed += u8::from(fresh);
            order(self.placed.max(1))
        };
        let input = ReplicaInput::Command { request, command };
        self.world.processes[at].inputs.push_back(input);
    }

    /// With its snapshot and its view, or on another machine with neither.
    fn restart(&mut self, at: usize) {
        if self.chance.one_in(2) {
            self.snapshots[at] = None;
        }
        let rows = std::mem::take(&mut self.world.processes[at].rows);
        let snapshot = self.snapshots[at].clone();
        let keeps = snapshot.is_some();
        self.world.restart(at, snapshot.unwrap_or_default());
        if keeps {
            self.world.processes[at].rows = rows;
        }
    }

    fn watch(&mut self, at: usize) {
        for journal in ParticipantId::ALL.map(JournalId::from) {
            let (value, revision) = self.world.servers.leases[journal.index()].clone();
            self.world.processes[at]
                .inputs
                .push_back(ReplicaInput::LeaseSeen {
                    journal,
                    value,
                    revision,
                });
        }
    }

    fn step_down(&mut self, at: usize) {
        let journal = ParticipantId::ALL[usize::try_from(self.chance.below(3)).unwrap()].into();
        self.world.processes[at]
            .inputs
            .push_back(ReplicaInput::StepDown { journal });
    }

    fn answer_calls(&mut self, at: usize, is_definite: bool) {
        let process = &mut self.world.processes[at];
        let calls = process.calls.len();
        for _ in 0..calls {
            let call = process.calls.pop_front().unwrap();
            if !is_definite && self.chance.one_in(2) {
                process.calls.push_back(call); // still at it
                continue;
            }
            let outcome = self.gateway.take(&call, &mut self.chance, is_definite);
            process.inputs.push_back(ReplicaInput::Gateway {
                order_id: call.order_id,
                operation: Some(call.operation),
                outcome,
            });
        }
    }

    /// Every fault ends, and time passes until all is done.
    fn heal(&mut self) {
        for process in &mut self.world.processes {
            process.is_paused = false;
            process.losses = VecDeque::new();
        }
        for _ in 0..200 {
            self.world.pass(Millis::from_secs(5));
            for at in 0..self.world.processes.len() {
                self.answer_calls(at, true);
            }
        }
        self.world.pass(Millis::from_secs(60));
    }

    fn check(&mut self) {
        self.check_journals();
        self.world.expect_one_state();
        for process in &self.world.processes {
            assert_eq!(process.alarms, []);
            let Some(Row::Product(product)) =
                process.rows.get(&RowKey::Product(product_id("sku-1")))
            else {
                panic!("no product");
            };
            let mut confirmed = 0;
            for row in process.rows.values() {
                let Row::Order(order) = row else { continue };
                assert!(order.saga.is_terminal(), "never ended: {order:?}");
                let order_id = order.order_id;
                let is_paid = self.gateway.charged.contains(&order_id);
                let is_refunded = self.gateway.refunds.contains_key(&order_id);
                if order.status == OrderStatus::Confirmed {
                    confirmed += 1;
                    assert!(is_paid && !is_refunded, "confirmed and not paid: {order:?}");
                } else {
                    assert!(!is_paid || is_refunded, "paid for nothing: {order:?}");
                }
            }
            assert_eq!((product.on_hand, product.reserved), (STOCK - confirmed, 0));
            assert_eq!(product.sold, confirmed);
        }
    }

    /// No two leaders' entries interleave, and no event is missing or there twice.
    fn check_journals(&self) {
        for journal in ParticipantId::ALL.map(JournalId::from) {
            let (mut epoch, mut leader, mut next) = (Epoch::default(), HostId::default(), 0);
            for at in 1.. {
                let Some(bytes) = message(&self.world.servers, journal, at) else {
                    break;
                };
                let entry = AnyEntry::decode(journal, &bytes).unwrap();
                let (host, under, span) = match &entry {
                    AnyEntry::Order(entry) => (entry.host(), entry.epoch, span(&entry.content)),
                    AnyEntry::Inventory(entry) => (entry.host(), entry.epoch, span(&entry.content)),
                    AnyEntry::Payment(entry) => (entry.host(), entry.epoch, span(&entry.content)),
                };
                match span {
                    None => {
                        assert!(under > epoch, "{journal} {at}: a claim of the past");
                        (epoch, leader) = (under, host);
                    }
                    Some((after, length)) => {
                        assert_eq!(
                            (under, host),
                            (epoch, leader),
                            "{journal} {at}: one committer"
                        );
                        assert_eq!(after, next, "{journal} {at}: contiguous");
                        next += length;
                    }
                }
            }
        }
    }
}

fn span<E>(content: &Content<E>) -> Option<(u64, u64)> {
    match content {
        Content::Claim => None,
        Content::Frame(frame) => Some((frame.after.get(), frame.events.len() as u64)),
    }
}

#[test]
fn the_books_are_right_and_the_same_everywhere_whatever_happened() {
    let seeds = std::env::var("CHAOS_SEEDS").map_or(150, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(seed);
            for _ in 0..1_500 {
                chaos.step();
            }
            chaos.heal();
            chaos.check();
            let entries: usize = chaos.world.servers.streams.iter().map(Vec::len).sum();
            assert!(entries > 10 && chaos.placed > 0, "nothing happened");
        });
        assert!(outcome.is_ok(), "seed {seed} failed; see above");
    }
}
