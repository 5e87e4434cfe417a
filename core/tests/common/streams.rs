//! Processes that share journals: lists of messages stand for the streams, a map for the
//! key-value bucket, and each process has a view of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};

use a4co_core::command::{Command, Reply, RequestId};
use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::ParticipantId;
use a4co_core::inventory::InventoryCommand;
use a4co_core::order::{OrderCommand, OrderStatus, SagaState};
use a4co_core::replicated::{
    Alarm, AppendAnswer, HostId, HostSnapshot, LeaseAnswer, ReadAnswer, Refusal, ReplicaInput,
    ReplicaOutput, ReplicatedConfig, ReplicatedHost, Role, StreamSequence,
};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::shards::{JournalId, ShardCount};
use a4co_core::time::{Millis, Timestamp};

use super::{T0, create, new_order, order_id, product_id, reference};

pub(crate) const LEASE_TTL: Millis = Millis::from_secs(10);
/// No wait of a test is longer.
const PATIENCE: u64 = 400;

/// What the servers keep.
#[derive(Default)]
pub(crate) struct Servers {
    pub(crate) streams: [Vec<Vec<u8>>; 3],
    pub(crate) leases: [(Option<Vec<u8>>, u64); 3],
}

/// What happens to the answer of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Request,
    Answer,
}

pub(crate) struct Process {
    pub(crate) host: ReplicatedHost,
    pub(crate) rows: BTreeMap<RowKey, Row>,
    /// The next message to deliver of each journal.
    pub(crate) tails: [u64; 3],
    pub(crate) inputs: VecDeque<ReplicaInput>,
    pub(crate) calls: VecDeque<GatewayCall>,
    pub(crate) replies: BTreeMap<u64, Result<Reply, Refusal>>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) rebuilt: u32,
    /// Neither takes inputs nor sends anything, as under SIGSTOP.
    pub(crate) is_paused: bool,
    /// What becomes of its next appends.
    pub(crate) losses: VecDeque<Loss>,
}

pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) processes: Vec<Process>,
    pub(crate) now: Timestamp,
    pub(crate) requests: u64,
    pub(crate) starts: u8,
}

impl World {
    pub(crate) fn new(processes: usize) -> Self {
        let mut world = Self {
            servers: Servers::default(),
            processes: Vec::new(),
            now: T0,
            requests: 0,
            starts: 0,
        };
        for _ in 0..processes {
            let process = world.start([true; 3], HostSnapshot::default());
            world.processes.push(process);
        }
        world
    }

    pub(crate) fn start(&mut self, candidate_for: [bool; 3], snapshot: HostSnapshot) -> Process {
        self.starts += 1;
        let config = ReplicatedConfig {
            host: HostId::from_bytes([self.starts; 16]),
            candidate_for,
            lease_ttl_ms: LEASE_TTL,
            shards: ShardCount::ONE,
        };
        let seen = [StreamSequence::NONE; 3];
        Process {
            host: ReplicatedHost::new(&config, &Settings::default(), snapshot, &seen),
            rows: BTreeMap::new(),
            tails: [u64::MAX; 3],
            inputs: VecDeque::from([ReplicaInput::Time]),
            calls: VecDeque::new(),
            replies: BTreeMap::new(),
            alarms: Vec::new(),
            rebuilt: 0,
            is_paused: false,
            losses: VecDeque::new(),
        }
    }

    /// Lets everything happen that is due, and as much time pass as is given.
    pub(crate) fn pass(&mut self, length: Millis) {
        let until = self.now.saturating_add(length);
        loop {
            self.settle();
            let wakes = self.processes.iter().filter(|process| !process.is_paused);
            match wakes.filter_map(|process| process.host.wake_at()).min() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            for process in &mut self.processes {
                process.inputs.push_back(ReplicaInput::Time);
            }
        }
        self.now = until;
    }

    pub(crate) fn settle(&mut self) {
        for step in 0.. {
            assert!(step < 100_000, "the processes never come to rest");
            let mut is_at_rest = true;
            for process in &mut self.processes {
                if !process.is_paused {
                    is_at_rest &= !process.step(self.now, &mut self.servers);
                }
            }
            if is_at_rest {
                break;
            }
        }
    }

    pub(crate) fn leader(&self, journal: impl Into<JournalId> + Copy) -> Option<usize> {
        let is_leader = |process: &Process| {
            !process.is_paused && matches!(process.host.role(journal), Role::Leader { .. })
        };
        self.processes.iter().position(is_leader)
    }

    pub(crate) fn await_leaders(&mut self) {
        for _ in 0..PATIENCE {
            if ParticipantId::ALL
                .into_iter()
                .all(|it| self.leader(it).is_some())
            {
                return;
            }
            self.pass(Millis::new(100));
        }
        panic!("no leader after {PATIENCE} waits");
    }

    /// Asks the process, which may not be the leader.
    pub(crate) fn ask_at(&mut self, at: usize, command: Command) -> Result<Reply, Refusal> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let input = ReplicaInput::Command { request, command };
        self.processes[at].inputs.push_back(input);
        self.settle();
        self.processes[at]
            .replies
            .remove(&request.0)
            .expect("every command is answered")
    }

    pub(crate) fn ask(&mut self, command: Command) -> Reply {
        self.await_leaders();
        let leader = self.leader(command.participant()).unwrap();
        self.ask_at(leader, command).unwrap()
    }

    pub(crate) fn stock(&mut self, on_hand: u64) {
        let reply = self.ask(Command::Inventory(InventoryCommand::Define {
            product_id: product_id("sku-1"),
            name: None,
            price: None,
            on_hand: Some(on_hand),
        }));
        assert!(reply.result.is_ok(), "{reply:?}");
    }

    pub(crate) fn order(&mut self, number: u8) {
        let reply = self.ask(order(number));
        assert!(reply.result.is_ok(), "{reply:?}");
    }

    /// The gateway pays whatever is asked of it.
    pub(crate) fn pay(&mut self) {
        for process in &mut self.processes {
            while let Some(call) = process.calls.pop_front() {
                process.inputs.push_back(ReplicaInput::Gateway {
                    order_id: call.order_id,
                    operation: Some(call.operation),
                    outcome: GatewayOutcome::Succeeded {
                        reference: reference("ch_1"),
                    },
                });
            }
        }
        self.settle();
    }

    /// Every process that is up shows this order as confirmed, and the stock as sold.
    #[track_caller]
    pub(crate) fn expect_confirmed(&self, number: u8, sold: u64) {
        for process in self.processes.iter().filter(|process| !process.is_paused) {
            assert_eq!(process.alarms, []);
            let Some(Row::Order(order)) = process.rows.get(&RowKey::Order(order_id(number))) else {
                panic!("no order {number}");
            };
            let ended = (OrderStatus::Confirmed, SagaState::Completed);
            assert_eq!((order.status, order.saga), ended);
            let Some(Row::Product(product)) =
                process.rows.get(&RowKey::Product(product_id("sku-1")))
            else {
                panic!("no product");
            };
            assert_eq!((product.reserved, product.sold), (0, sold));
        }
    }

    /// A process dies and starts anew, with no more than its snapshot.
    pub(crate) fn restart(&mut self, at: usize, snapshot: HostSnapshot) {
        self.processes[at] = self.start([true; 3], snapshot);
    }

    /// All processes that are up end in the same state.
    #[track_caller]
    pub(crate) fn expect_one_state(&self) {
        let mut states = self
            .processes
            .iter()
            .filter(|process| !process.is_paused)
            .map(|it| {
                let host = &it.host;
                (
                    host.order().engine().state().clone(),
                    host.inventory().engine().state().clone(),
                    host.payment().engine().state().clone(),
                )
            });
        let first = states.next().unwrap();
        assert!(states.all(|state| state == first));
    }
}

pub(crate) fn order(number: u8) -> Command {
    Command::Order(OrderCommand::Create(create(
        number,
        &new_order(&[("sku-1", 1)]),
    )))
}

impl Process {
    /// Carries one thing out, or takes one input. Tells whether there was any.
    pub(crate) fn step(&mut self, now: Timestamp, servers: &mut Servers) -> bool {
        if let Some(output) = self.host.poll_output() {
            self.carry_out(now, output, servers);
            return true;
        }
        if let Some(input) = self.inputs.pop_front() {
            self.host.handle_input(now, input);
            return true;
        }
        for journal in ParticipantId::ALL.map(JournalId::from) {
            let next = self.tails[journal.index()];
            let Some(bytes) = message(servers, journal, next) else {
                continue;
            };
            self.tails[journal.index()] += 1;
            let entry = ReplicaInput::Entry {
                journal,
                stream_sequence: StreamSequence::new(next),
                bytes,
            };
            self.host.handle_input(now, entry);
            return true;
        }
        false
    }

    pub(crate) fn carry_out(
        &mut self,
        now: Timestamp,
        output: ReplicaOutput,
        servers: &mut Servers,
    ) {
        match output {
            ReplicaOutput::Follow { journal, from } => self.tails[journal.index()] = from.get(),
            ReplicaOutput::Append {
                journal,
                append_id,
                expected_last,
                payload,
            } => {
                let loss = self.losses.pop_front();
                let stream = &mut servers.streams[journal.index()];
                let answer = if loss == Some(Loss::Request) {
                    AppendAnswer::Unknown
                } else if stream.len() as u64 != expected_last.get() {
                    AppendAnswer::WrongLast
                } else {
                    stream.push(payload);
                    match loss {
                        None => AppendAnswer::Stored {
                            stream_sequence: expected_last.next(),
                        },
                        Some(_) => AppendAnswer::Unknown,
                    }
                };
                self.inputs.push_back(ReplicaInput::Appended {
                    journal,
                    append_id,
                    answer,
                });
            }
            ReplicaOutput::ReadEntry {
                journal,
                stream_sequence,
            } => {
                let found = message(servers, journal, stream_sequence.get());
                self.inputs.push_back(ReplicaInput::EntryAt {
                    journal,
                    stream_sequence,
                    answer: found.map_or(ReadAnswer::Missing, ReadAnswer::Found),
                });
            }
            ReplicaOutput::ReadStream { journal, seen } => {
                let last = servers.streams[journal.index()].len() as u64;
                self.inputs.push_back(ReplicaInput::StreamState {
                    journal,
                    seen,
                    first: StreamSequence::new(1),
                    last: StreamSequence::new(last),
                });
            }
            ReplicaOutput::ReadLease { journal } => {
                let (value, revision) = servers.leases[journal.index()].clone();
                self.inputs.push_back(ReplicaInput::LeaseSeen {
                    journal,
                    value,
                    revision,
                });
            }
            ReplicaOutput::WriteLease {
                journal,
                expected_revision,
                value,
            } => {
                let lease = &mut servers.leases[journal.index()];
                let answer = if lease.1 == expected_revision {
                    *lease = (Some(value), expected_revision + 1);
                    LeaseAnswer::Ok { revision: lease.1 }
                } else {
                    LeaseAnswer::Conflict
                };
                self.inputs
                    .push_back(ReplicaInput::LeaseWritten { journal, answer });
            }
            ReplicaOutput::Publish { rows, .. } => {
                self.rows
                    .extend(rows.into_iter().map(|row| (row.key(), row)));
            }
            ReplicaOutput::Reply { request, reply } => {
                assert!(self.replies.insert(request.0, Ok(reply)).is_none());
            }
            ReplicaOutput::Refused { request, refusal } => {
                assert!(self.replies.insert(request.0, Err(refusal)).is_none());
            }
            ReplicaOutput::CallGateway(call) => self.calls.push_back(call),
            ReplicaOutput::Fetch(key) => {
                let row = self.rows.get(&key).cloned();
                self.inputs.push_back(ReplicaInput::Fetched { key, row });
            }
            ReplicaOutput::RoleChanged { .. } => {}
            ReplicaOutput::Rebuild { journal, .. } => {
                self.rebuilt += 1;
                self.host.rebuild(now, journal, HostSnapshot::default());
            }
            ReplicaOutput::Halted { alarm, .. } => self.alarms.push(alarm),
        }
    }
}

pub(crate) fn message(servers: &Servers, journal: JournalId, at: u64) -> Option<Vec<u8>> {
    let index = usize::try_from(at.checked_sub(1)?).ok()?;
    servers.streams[journal.index()].get(index).cloned()
}
