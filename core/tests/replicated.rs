//! The replicated host end to end, without I/O: lost requests and answers, leaders that die
//! or sleep, journals that are not what they were.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::VecDeque;

use a4co_core::command::{Command, RequestId};
use a4co_core::ids::ParticipantId;
use a4co_core::order::OrderCommand;
use a4co_core::replicated::{
    Alarm, AppendAnswer, HostId, HostSnapshot, Refusal, ReplicaInput, ReplicaOutput, StreamSequence,
};
use a4co_core::row::RowKey;
use a4co_core::shards::JournalId;
use a4co_core::time::Millis;
use common::streams::{Loss, World, order};
use common::{create, new_order, order_id};

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
    for journal in ParticipantId::ALL.map(JournalId::from) {
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
    for journal in ParticipantId::ALL.map(JournalId::from) {
        if world.leader(journal) == Some(old) {
            let step_down = ReplicaInput::StepDown { journal };
            world.processes[old].inputs.push_back(step_down);
        }
    }
    world.settle();
    // What a watch shows.
    for journal in ParticipantId::ALL.map(JournalId::from) {
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
fn who_hands_over_does_not_claim_again_while_the_lease_is_on_its_way() {
    let mut world = World::new(1);
    world.stock(10);
    let now = world.now;
    let host = &mut world.processes[0].host;
    for journal in ParticipantId::ALL.map(JournalId::from) {
        host.handle_input(now, ReplicaInput::StepDown { journal });
    }
    // The answers of the lease's writes are still to come.
    host.handle_input(now, ReplicaInput::Time);
    while let Some(output) = host.poll_output() {
        assert!(
            !matches!(output, ReplicaOutput::Append { .. }),
            "nothing is appended by a host that has handed over: {output:?}"
        );
    }
}

#[test]
fn a_stream_that_comes_back_shorter_stops_the_participant() {
    let mut world = World::new(1);
    world.stock(10);
    world.order(1);
    let journal = JournalId::from(ParticipantId::Order);
    let last = world.servers.streams[journal.index()].len() as u64;
    world.servers.streams[journal.index()].pop();
    let seen = world.processes[0].host.seen(journal);
    world.processes[0]
        .inputs
        .push_back(ReplicaInput::StreamState {
            journal,
            seen,
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
fn an_answer_that_is_older_than_what_came_meanwhile_is_no_alarm() {
    let mut world = World::new(1);
    world.stock(10);
    let journal = JournalId::from(ParticipantId::Order);
    let seen = world.processes[0].host.seen(journal);
    world.order(1);
    assert!(world.processes[0].host.seen(journal) > seen);
    // The servers answered before the order's messages came.
    world.processes[0]
        .inputs
        .push_back(ReplicaInput::StreamState {
            journal,
            seen,
            first: StreamSequence::new(1),
            last: seen,
        });
    world.settle();
    assert_eq!(world.processes[0].alarms, []);
    world.order(2);
}

#[test]
fn a_message_that_is_no_entry_stops_every_follower_and_is_never_skipped() {
    for bytes in [&b"hello"[..], &[], &[1, 1, 0, 0]] {
        let mut world = World::new(2);
        world.stock(10);
        let journal = JournalId::from(ParticipantId::Order);
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
            journal: ParticipantId::Order.into(),
            append_id,
            answer: AppendAnswer::Stored {
                stream_sequence: expected_last.next(),
            },
        },
    );
    // A start from a snapshot does not publish again what the snapshot holds.
    assert_eq!(process.host.snapshot(), None, "rows wait to be published");
    let then: Vec<_> = std::iter::from_fn(|| process.host.poll_output()).collect();
    assert!(matches!(then[0], ReplicaOutput::Publish { .. }), "{then:?}");
    assert!(matches!(then[1], ReplicaOutput::Reply { .. }), "{then:?}");
}

#[test]
fn two_that_both_believe_in_their_lease_do_not_take_the_journal_from_each_other_for_ever() {
    let mut world = World::new(2);
    world.stock(10);
    let old = world.leader(ParticipantId::Order).unwrap();
    world.processes[old].is_paused = true;
    world.await_leaders();
    let claims = world.servers.streams[ParticipantId::Order.index()].len();
    // It wakes at rest, with nothing that could be fenced, and still holds the old lease.
    world.processes[old].is_paused = false;
    world.pass(Millis::from_secs(60));
    let after = world.servers.streams[ParticipantId::Order.index()].len();
    assert!(after <= claims + 1, "{} further claims", after - claims);
    world.order(1);
    world.pay();
    world.pass(Millis::from_secs(1));
    world.expect_confirmed(1, 1);
}
