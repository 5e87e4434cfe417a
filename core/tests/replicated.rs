//! The replicated host end to end, without I/O: lists of messages stand for the streams, a
//! map for the key-value bucket, and one gateway for all processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

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
use a4co_core::time::{Millis, Timestamp};
use common::{T0, create, new_order, order_id, product_id, reference};

const LEASE_TTL: Millis = Millis::from_secs(10);
/// No wait of a test is longer.
const PATIENCE: u64 = 400;

/// What the servers keep.
#[derive(Default)]
struct Servers {
    streams: [Vec<Vec<u8>>; 3],
    leases: [(Option<Vec<u8>>, u64); 3],
}

/// What happens to the answer of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Request,
    Answer,
}

struct Process {
    host: ReplicatedHost,
    rows: BTreeMap<RowKey, Row>,
    /// The next message to deliver of each journal.
    tails: [u64; 3],
    inputs: VecDeque<ReplicaInput>,
    calls: VecDeque<GatewayCall>,
    replies: BTreeMap<u64, Result<Reply, Refusal>>,
    alarms: Vec<Alarm>,
    rebuilt: u32,
    /// Neither takes inputs nor sends anything, as under SIGSTOP.
    is_paused: bool,
    /// What becomes of its next appends.
    losses: VecDeque<Loss>,
}

struct World {
    servers: Servers,
    processes: Vec<Process>,
    now: Timestamp,
    requests: u64,
    starts: u8,
}

impl World {
    fn new(processes: usize) -> Self {
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

    fn start(&mut self, candidate_for: [bool; 3], snapshot: HostSnapshot) -> Process {
        self.starts += 1;
        let config = ReplicatedConfig {
            host: HostId::from_bytes([self.starts; 16]),
            candidate_for,
            lease_ttl_ms: LEASE_TTL,
        };
        let seen = [StreamSequence::NONE; 3];
        Process {
            host: ReplicatedHost::new(&config, &Settings::default(), snapshot, seen),
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
    fn pass(&mut self, length: Millis) {
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

    fn settle(&mut self) {
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

    fn leader(&self, journal: ParticipantId) -> Option<usize> {
        let is_leader = |process: &Process| {
            !process.is_paused && matches!(process.host.role(journal), Role::Leader { .. })
        };
        self.processes.iter().position(is_leader)
    }

    fn await_leaders(&mut self) {
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
    fn ask_at(&mut self, at: usize, command: Command) -> Result<Reply, Refusal> {
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

    fn ask(&mut self, command: Command) -> Reply {
        self.await_leaders();
        let leader = self.leader(command.participant()).unwrap();
        self.ask_at(leader, command).unwrap()
    }

    fn stock(&mut self, on_hand: u64) {
        let reply = self.ask(Command::Inventory(InventoryCommand::Define {
            product_id: product_id("sku-1"),
            name: None,
            price: None,
            on_hand: Some(on_hand),
        }));
        assert!(reply.result.is_ok(), "{reply:?}");
    }

    fn order(&mut self, number: u8) {
        let reply = self.ask(order(number));
        assert!(reply.result.is_ok(), "{reply:?}");
    }

    /// The gateway pays whatever is asked of it.
    fn pay(&mut self) {
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
    fn expect_confirmed(&self, number: u8, sold: u64) {
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
    fn restart(&mut self, at: usize, snapshot: HostSnapshot) {
        self.processes[at] = self.start([true; 3], snapshot);
    }

    /// All processes that are up end in the same state.
    #[track_caller]
    fn expect_one_state(&self) {
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

fn order(number: u8) -> Command {
    Command::Order(OrderCommand::Create(create(
        number,
        &new_order(&[("sku-1", 1)]),
    )))
}

impl Process {
    /// Carries one thing out, or takes one input. Tells whether there was any.
    fn step(&mut self, now: Timestamp, servers: &mut Servers) -> bool {
        if let Some(output) = self.host.poll_output() {
            self.carry_out(now, output, servers);
            return true;
        }
        if let Some(input) = self.inputs.pop_front() {
            self.host.handle_input(now, input);
            return true;
        }
        for journal in ParticipantId::ALL {
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

    fn carry_out(&mut self, now: Timestamp, output: ReplicaOutput, servers: &mut Servers) {
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
            ReplicaOutput::ReadStream { journal } => {
                let last = servers.streams[journal.index()].len() as u64;
                self.inputs.push_back(ReplicaInput::StreamState {
                    journal,
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

fn message(servers: &Servers, journal: ParticipantId, at: u64) -> Option<Vec<u8>> {
    let index = usize::try_from(at.checked_sub(1)?).ok()?;
    servers.streams[journal.index()].get(index).cloned()
}

#[test]
fn an_order_completes_over_three_journals_in_one_process() {
    let mut world = World::new(1);
    world.stock(10);
    world.order(1);
    world.pay();
    world.expect_confirmed(1, 1);
}

#[test]
fn each_participant_may_be_led_by_another_process() {
    let mut world = World::new(0);
    for journal in ParticipantId::ALL {
        let mut candidate_for = [false; 3];
        candidate_for[journal.index()] = true;
        let process = world.start(candidate_for, HostSnapshot::default());
        world.processes.push(process);
    }
    world.stock(10);
    world.order(1);
    world.pay();
    world.expect_confirmed(1, 1);
    let leaders = ParticipantId::ALL.map(|journal| world.leader(journal));
    assert_eq!(leaders, [Some(0), Some(1), Some(2)]);
    world.expect_one_state();
}

#[test]
fn a_command_to_a_follower_changes_nothing_and_names_the_leader() {
    let mut world = World::new(2);
    world.stock(10);
    let leader = world.leader(ParticipantId::Order).unwrap();
    let refused = world.ask_at(1 - leader, order(1)).unwrap_err();
    let leader = Some(HostId::from_bytes([u8::try_from(leader).unwrap() + 1; 16]));
    assert_eq!(refused, Refusal::NotLeader { leader });
    assert!(
        !world.processes[0]
            .rows
            .contains_key(&RowKey::Order(order_id(1)))
    );
}

#[test]
fn an_append_without_an_answer_is_settled_whether_it_was_stored_or_not() {
    for loss in [Loss::Request, Loss::Answer] {
        for lost in 1..=3 {
            let mut world = World::new(2);
            world.stock(10);
            let leader = world.leader(ParticipantId::Order).unwrap();
            world.processes[leader].losses = VecDeque::from(vec![loss; lost]);
            world.requests += 1;
            let request = RequestId(world.requests);
            let command = order(1);
            world.processes[leader]
                .inputs
                .push_back(ReplicaInput::Command { request, command });
            world.pass(Millis::from_secs(5));
            world.pay();
            world.pass(Millis::from_secs(5));
            let reply = world.processes[leader].replies.remove(&request.0);
            assert!(
                reply.unwrap().unwrap().result.is_ok(),
                "{loss:?}, {lost} times"
            );
            world.expect_confirmed(1, 1);
            world.expect_one_state();
        }
    }
}

#[test]
fn a_killed_leader_is_followed_by_another_that_owes_the_same_call() {
    let mut world = World::new(2);
    world.stock(10);
    world.order(1);
    let leader = world.leader(ParticipantId::Payment).unwrap();
    assert_eq!(world.processes[leader].calls.len(), 1, "the charge is owed");
    world.restart(leader, HostSnapshot::default());
    world.processes[leader].is_paused = true;
    world.await_leaders();
    world.pay();
    world.processes[leader].is_paused = false;
    world.pass(Millis::from_secs(30));
    world.expect_confirmed(1, 1);
    world.expect_one_state();
}

#[test]
fn a_leader_that_slept_beyond_its_lease_commits_nothing() {
    let mut world = World::new(2);
    world.stock(10);
    let old = world.leader(ParticipantId::Order).unwrap();
    world.processes[old].is_paused = true;
    world.await_leaders();
    world.order(2);
    // It wakes, and believes that it leads: a command is the first thing that it sees.
    world.processes[old].is_paused = false;
    let before = world.servers.streams.clone();
    world.requests += 1;
    let request = RequestId(world.requests);
    world.processes[old]
        .inputs
        .push_front(ReplicaInput::Command {
            request,
            command: order(3),
        });
    world.pass(Millis::from_secs(30));
    let told = world.processes[old].replies.remove(&request.0).unwrap();
    assert!(matches!(told, Err(Refusal::NotLeader { .. })), "{told:?}");
    assert!(
        world.processes[old].rebuilt > 0,
        "it had run ahead of its journal"
    );
    for (after, before) in world.servers.streams.iter().zip(&before) {
        assert!(after.starts_with(before));
    }
    assert!(
        !world.processes[old]
            .rows
            .contains_key(&RowKey::Order(order_id(3)))
    );
    world.pay();
    world.pass(Millis::from_secs(5));
    world.expect_confirmed(2, 1);
    world.expect_one_state();
}

#[test]
fn a_planned_hand_over_needs_no_lease_to_run_out() {
    let mut world = World::new(2);
    world.stock(10);
    let old = world.leader(ParticipantId::Order).unwrap();
    let started = world.now;
    for journal in ParticipantId::ALL {
        if world.leader(journal) == Some(old) {
            let step_down = ReplicaInput::StepDown { journal };
            world.processes[old].inputs.push_back(step_down);
        }
    }
    world.settle();
    // What a watch shows.
    for journal in ParticipantId::ALL {
        let (value, revision) = world.servers.leases[journal.index()].clone();
        for process in &mut world.processes {
            process.inputs.push_back(ReplicaInput::LeaseSeen {
                journal,
                value: value.clone(),
                revision,
            });
        }
    }
    world.pass(Millis::new(10));
    assert_eq!(world.leader(ParticipantId::Order), Some(1 - old));
    assert!(world.now.saturating_since(started) < Millis::from_secs(1));
    world.order(1);
    world.pay();
    world.expect_confirmed(1, 1);
}

#[test]
fn a_stream_that_comes_back_shorter_stops_the_participant() {
    let mut world = World::new(1);
    world.stock(10);
    world.order(1);
    let journal = ParticipantId::Order;
    let last = world.servers.streams[journal.index()].len() as u64;
    world.servers.streams[journal.index()].pop();
    world.processes[0]
        .inputs
        .push_back(ReplicaInput::StreamState {
            journal,
            first: StreamSequence::new(1),
            last: StreamSequence::new(last - 1),
        });
    world.settle();
    let shorter = Alarm::Shorter {
        seen: StreamSequence::new(last),
        last: StreamSequence::new(last - 1),
    };
    assert_eq!(world.processes[0].alarms, [shorter]);
    let refused = world.ask_at(0, order(2)).unwrap_err();
    assert!(matches!(refused, Refusal::NotLeader { .. }));
}

#[test]
fn a_message_that_is_no_entry_stops_every_follower_and_is_never_skipped() {
    for bytes in [&b"hello"[..], &[], &[1, 1, 0, 0]] {
        let mut world = World::new(2);
        world.stock(10);
        let journal = ParticipantId::Order;
        let at = world.servers.streams[journal.index()].len() as u64 + 1;
        world.servers.streams[journal.index()].push(bytes.to_vec());
        world.pass(Millis::from_secs(1));
        for process in &world.processes {
            let [
                Alarm::NoEntry {
                    stream_sequence, ..
                },
            ] = process.alarms[..]
            else {
                panic!("{:?}", process.alarms);
            };
            assert_eq!(stream_sequence, StreamSequence::new(at));
        }
    }
}

#[test]
fn a_process_goes_on_from_its_snapshot() {
    let mut world = World::new(2);
    world.stock(10);
    world.order(1);
    let snapshot = world.processes[0].host.snapshot().expect("at rest");
    let decoded = HostSnapshot::decode(&snapshot.encode()).unwrap();
    assert_eq!(decoded, snapshot);
    world.order(2);
    world.pay();
    world.pass(Millis::from_secs(1));
    let rows = std::mem::take(&mut world.processes[0].rows);
    world.restart(0, decoded);
    world.processes[0].rows = rows;
    world.pass(Millis::from_secs(30));
    world.order(3);
    world.pay();
    world.pass(Millis::from_secs(1));
    for number in 1..=3 {
        world.expect_confirmed(number, 3);
    }
    world.expect_one_state();
}

#[test]
fn every_reply_rests_on_a_stored_message() {
    let mut world = World::new(1);
    world.stock(10);
    let process = &mut world.processes[0];
    let request = RequestId(99);
    let mut created = create(1, &new_order(&[("sku-1", 1)]));
    created.may_exist = false;
    let command = Command::Order(OrderCommand::Create(created));
    process
        .host
        .handle_input(world.now, ReplicaInput::Command { request, command });
    let Some(ReplicaOutput::Append {
        append_id,
        expected_last,
        ..
    }) = process.host.poll_output()
    else {
        panic!("an append comes first");
    };
    assert_eq!(
        process.host.poll_output(),
        None,
        "nothing leaves before it is stored"
    );
    process.host.handle_input(
        world.now,
        ReplicaInput::Appended {
            journal: ParticipantId::Order,
            append_id,
            answer: AppendAnswer::Stored {
                stream_sequence: expected_last.next(),
            },
        },
    );
    let then: Vec<_> = std::iter::from_fn(|| process.host.poll_output()).collect();
    assert!(matches!(then[0], ReplicaOutput::Publish { .. }), "{then:?}");
    assert!(matches!(then[1], ReplicaOutput::Reply { .. }), "{then:?}");
}
