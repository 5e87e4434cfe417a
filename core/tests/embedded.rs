//! The embedded host end to end, without I/O.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use a4co_core::command::{Command, RequestId};
use a4co_core::decider::Idempotency;
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::ids::{
    CustomerId, Fingerprint, GatewayReference, IdempotencyKey, ParticipantId, ProductId,
};
use a4co_core::inventory::ReservationStatus;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{
    CreateOrder, Line, NewOrder, OrderCommand, OrderStatus, SagaState, SandboxHints,
};
use a4co_core::payment::{PaymentCommand, PaymentStatus};
use a4co_core::record;
use a4co_core::rejection::Rejection;
use a4co_core::row::{Answer, Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use common::world::World;
use common::{order_id, product_id};

/// The commit that is asked for, which the test answers when it likes.
fn commit(world: &mut World) -> Vec<u8> {
    match world.host.poll_output() {
        Some(HostOutput::Commit(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

/// On hand, reserved, sold.
fn product(world: &World) -> (u64, u64, u64) {
    match &world.rows[&RowKey::Product(product_id("sku-1"))] {
        Row::Product(product) => (product.on_hand, product.reserved, product.sold),
        other => panic!("{other:?}"),
    }
}

fn refund(amount: i64, key: Option<&str>) -> Command {
    Command::Payment(PaymentCommand::Refund {
        order_id: order_id(1),
        amount: Some(Amount::from_minor(amount).unwrap()),
        idempotency: key.map(|key| Idempotency {
            key: IdempotencyKey::parse(key).unwrap(),
            fingerprint: Fingerprint::of(&amount.to_le_bytes()),
        }),
    })
}

fn create(id: u8, quantity: u32, may_exist: bool) -> Command {
    let unit_price = Amount::from_minor(250).unwrap();
    Command::Order(OrderCommand::Create(CreateOrder {
        order_id: order_id(id),
        may_exist,
        order: Arc::new(NewOrder {
            customer_id: CustomerId::parse("customer-1").unwrap(),
            lines: Arc::from([Line {
                product_id: ProductId::parse("sku-1").unwrap(),
                quantity,
                unit_price,
            }]),
            total: unit_price.checked_mul(u64::from(quantity)).unwrap(),
            currency: Currency::EUR,
            payment_method: None,
            metadata: Arc::from([]),
            hints: SandboxHints::default(),
            idempotency_key: None,
            fingerprint: Fingerprint::of(&quantity.to_le_bytes()),
            trace: None,
        }),
    }))
}

fn paid() -> GatewayOutcome {
    GatewayOutcome::Succeeded {
        reference: GatewayReference::parse("ch_1").unwrap(),
    }
}

fn unknown() -> GatewayOutcome {
    GatewayOutcome::Unknown {
        detail: Arc::from("timed out"),
    }
}

#[test]
fn an_order_completes_in_two_commits_and_leaves_memory() {
    let mut world = World::new();
    let before = world.log.len();
    let reply = world.ask(create(1, 3, false));
    let Ok(Answer::Order(order)) = reply.result else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (order.status, order.saga),
        (OrderStatus::Pending, SagaState::Started)
    );
    assert_eq!(world.order(1).saga, SagaState::PaymentProcessing);
    assert_eq!(product(&world), (10, 3, 0));
    assert_eq!(world.answer_gateway(paid()), GatewayOperation::Charge);
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
    assert_eq!(product(&world), (7, 0, 3));
    assert_eq!(
        world.log.len() - before,
        2,
        "all steps at hand share a commit"
    );
    assert!(world.host.order().state().orders.is_empty());
    assert!(world.host.inventory().state().reservations.is_empty());
    assert!(world.host.payment().state().payments.is_empty());
    assert!(
        world.host.wake_at().is_none(),
        "what has ended sets no timer"
    );
    world.restart();
}

#[test]
fn nothing_leaves_before_its_record_is_durable() {
    let mut world = World::new();
    let request = RequestId(99);
    world.host.handle_input(
        world.now,
        HostInput::Command {
            request,
            command: create(1, 1, false),
        },
    );
    assert!(matches!(
        world.host.poll_output(),
        Some(HostOutput::Commit(_))
    ));
    assert_eq!(
        world.host.poll_output(),
        None,
        "neither reply nor call before the commit"
    );
    world.host.handle_input(world.now, HostInput::Committed);
    assert!(matches!(
        world.host.poll_output(),
        Some(HostOutput::Publish(_))
    ));
    assert!(matches!(
        world.host.poll_output(),
        Some(HostOutput::Reply { .. })
    ));
    assert!(matches!(
        world.host.poll_output(),
        Some(HostOutput::CallGateway(_))
    ));
}

#[test]
fn a_decline_gives_the_stock_back() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    world.answer_gateway(GatewayOutcome::Rejected {
        code: Arc::from("card_declined"),
    });
    let order = world.order(1);
    assert_eq!(
        (order.status, order.saga),
        (OrderStatus::Cancelled, SagaState::Compensated)
    );
    assert_eq!(
        order.cancel_reason.as_ref().unwrap().to_string(),
        "payment failed: card_declined"
    );
    assert_eq!(product(&world), (10, 0, 0));
}

#[test]
fn a_restart_owes_the_same_call() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    let owed = world.calls.clone();
    world.restart();
    assert_eq!(world.calls, owed);
    world.answer_gateway(unknown());
    assert!(world.calls.is_empty(), "the next try waits");
    world.restart();
    assert!(world.calls.is_empty(), "also after a restart");
    world.pass(Millis::from_secs(1));
    assert_eq!(world.answer_gateway(paid()), GatewayOperation::Charge);
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
}

#[test]
fn a_success_after_the_order_was_undone_is_refunded() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    let cancel = Command::Order(OrderCommand::Cancel {
        order_id: order_id(1),
        reason: Arc::from("changed my mind"),
        idempotency: None,
    });
    world.ask(cancel.clone()).result.unwrap();
    assert_eq!(world.order(1).saga, SagaState::Compensating);
    world.answer_gateway(paid());
    assert_eq!(
        world.answer_gateway(GatewayOutcome::Refunded {
            reference: GatewayReference::parse("re_1").unwrap()
        }),
        GatewayOperation::Refund { number: 1 }
    );
    assert_eq!(world.order(1).saga, SagaState::Compensated);
    assert_eq!(product(&world), (10, 0, 0));
    let again = world.ask(cancel);
    assert!(again.result.is_ok(), "cancelling what is cancelled is fine");
    world.restart();
}

#[test]
fn the_same_id_is_the_same_order_also_after_it_left_memory() {
    let mut world = World::new();
    assert!(!world.ask(create(1, 3, true)).replayed);
    world.answer_gateway(paid());
    world.restart();
    let again = world.ask(create(1, 3, true));
    assert!(again.replayed);
    let Ok(Answer::Order(order)) = again.result else {
        panic!("{again:?}")
    };
    assert_eq!(order.status, OrderStatus::Confirmed);
    assert_eq!(order.as_created().status, OrderStatus::Pending);
    let other = world.ask(create(1, 4, true));
    assert_eq!(other.result, Err(Rejection::IdempotencyKeyReused));
    assert!(
        world.host.order().state().orders.is_empty(),
        "what was fetched is given back"
    );
}

#[test]
fn a_confirmed_order_is_refunded_after_it_left_memory() {
    let mut world = World::new();
    world.ask(create(1, 4, false)).result.unwrap();
    world.answer_gateway(paid());
    let refund = |amount| refund(amount, None);
    world.ask(refund(400)).result.unwrap();
    world.restart();
    world.answer_gateway(GatewayOutcome::Refunded {
        reference: GatewayReference::parse("re_1").unwrap(),
    });
    assert_eq!(
        world.ask(refund(700)).result,
        Err(Rejection::RefundExceedsCharge {
            remaining: Amount::from_minor(600).unwrap()
        })
    );
    world.ask(refund(600)).result.unwrap();
    world.answer_gateway(GatewayOutcome::Refunded {
        reference: GatewayReference::parse("re_2").unwrap(),
    });
    let Row::Payment(payment) = &world.rows[&RowKey::Payment(order_id(1))] else {
        panic!()
    };
    assert_eq!(payment.status(), PaymentStatus::Refunded);
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
    world.restart();
}

#[test]
fn an_expired_hold_undoes_the_order() {
    let mut world = World::new();
    world.settings = Settings {
        payment_timeout_ms: Millis::from_minutes(4),
        ..Settings::default()
    };
    world.ask(create(1, 3, false)).result.unwrap();
    world.pass(Millis::from_minutes(2));
    assert_eq!(
        world.order(1).saga,
        SagaState::PaymentProcessing,
        "the call is still out"
    );
    world.pass(Millis::from_minutes(3));
    assert_eq!(
        world.order(1).saga,
        SagaState::Compensating,
        "the saga's timer"
    );
    let Row::Reservation(held) = &world.rows[&RowKey::Reservation(order_id(1))] else {
        panic!()
    };
    assert_eq!(held.status, ReservationStatus::Released);
    world.answer_gateway(unknown());
    assert_eq!(
        world.answer_gateway(GatewayOutcome::Cancelled),
        GatewayOperation::Cancel
    );
    assert_eq!(world.order(1).saga, SagaState::Compensated);
}

#[test]
fn without_room_new_commands_are_refused_and_old_ones_go_on() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    world.host.handle_input(world.now, HostInput::Room(false));
    assert_eq!(
        world.ask(create(2, 1, false)).result,
        Err(Rejection::JournalFull)
    );
    world.answer_gateway(paid());
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
    world.host.handle_input(world.now, HostInput::Room(true));
    assert!(world.ask(create(2, 1, false)).result.is_ok());
}

#[test]
fn a_snapshot_with_the_records_after_it_is_the_same_host() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    let snapshot = world.host.snapshot().expect("all is durable");
    let taken_at = world.log.len();
    let bytes = record::encode(&snapshot);
    world.answer_gateway(unknown());
    let mut other = EmbeddedHost::from_snapshot(&world.settings, record::decode(&bytes).unwrap());
    for bytes in &world.log[taken_at..] {
        other
            .replay(&record::decode(bytes).unwrap(), false)
            .unwrap();
    }
    assert_eq!(other.snapshot(), world.host.snapshot());
}

/// Replay takes a payment out of memory with the record that settles it. What is decided on
/// it before that record is durable has to bring it back.
#[test]
fn a_refund_that_overtakes_the_commit_of_the_charge_survives_a_restart() {
    let mut world = World::new();
    world.ask(create(1, 4, false)).result.unwrap();
    let call = world.calls.pop_front().unwrap();
    let answer = HostInput::Gateway {
        order_id: call.order_id,
        operation: Some(call.operation),
        outcome: paid(),
    };
    world.host.handle_input(world.now, answer);
    let settles = commit(&mut world);
    let command = HostInput::Command {
        request: RequestId(99),
        command: refund(400, None),
    };
    world.host.handle_input(world.now, command);
    world.log.push(settles);
    world.host.handle_input(world.now, HostInput::Committed);
    world.drive();
    assert!(world.replies.remove(&99).unwrap().result.is_ok());
    world.restart();
    assert_eq!(
        world.answer_gateway(GatewayOutcome::Refunded {
            reference: GatewayReference::parse("re_1").unwrap()
        }),
        GatewayOperation::Refund { number: 1 }
    );
}

/// A row is looked up before it is there, and the answer comes after it was made, committed
/// and taken out of memory.
#[test]
fn a_look_up_that_is_out_of_date_does_not_refund_twice() {
    let mut world = World::new();
    world.ask(create(1, 4, false)).result.unwrap();
    world.answer_gateway(paid());
    let ask = |world: &mut World, request| {
        let command = HostInput::Command {
            request: RequestId(request),
            command: refund(400, Some("refund-1")),
        };
        world.host.handle_input(world.now, command);
        let Some(HostOutput::Fetch(key)) = world.host.poll_output() else {
            panic!("the answer is looked for")
        };
        key
    };
    let answer = ask(&mut world, 98);
    assert!(matches!(answer, RowKey::Answer(ParticipantId::Payment, _)));
    let fetched = HostInput::Fetched {
        key: answer,
        row: None,
    };
    world.host.handle_input(world.now, fetched.clone());
    let Some(HostOutput::Fetch(payment)) = world.host.poll_output() else {
        panic!("the payment is looked for")
    };
    ask(&mut world, 99);
    let row = world.rows.get(&payment).cloned();
    world
        .host
        .handle_input(world.now, HostInput::Fetched { key: payment, row });
    world.drive();
    world.host.handle_input(world.now, fetched);
    world.drive();
    let first = world.replies.remove(&98).unwrap();
    let second = world.replies.remove(&99).unwrap();
    assert_eq!(second.result, first.result);
    assert!(second.replayed);
    world.restart();
}

#[test]
fn a_snapshot_keeps_time_from_going_back() {
    let mut world = World::new();
    world.ask(create(1, 3, false)).result.unwrap();
    let snapshot = world.host.snapshot().unwrap();
    let before = world.order(1).updated_at;
    world.host = EmbeddedHost::from_snapshot(&world.settings, snapshot);
    world.now = Timestamp::from_unix_ms(world.now.unix_ms() - 500_000);
    world.host.start(world.now);
    world.calls.clear();
    world.drive();
    world.ask(create(2, 1, false)).result.unwrap();
    assert!(world.order(2).created_at >= before);
}

#[test]
fn timers_that_are_due_together_wait_for_a_commit_once_a_record_is_full() {
    let mut world = World::new();
    let settings = Settings {
        frame_bytes_soft_max: 256,
        ..Settings::default()
    };
    world.stock(1_000);
    for id in 1..=100 {
        world.ask(create(id, 1, false)).result.unwrap();
    }
    // The disk is slow from here on: nothing is committed.
    world.settings = settings;
    world.restart();
    let uncommitted = world.log.len();
    world.now = world.now.saturating_add(world.settings.saga_timeout_ms);
    for _ in 0..200 {
        world.host.handle_input(world.now, HostInput::Time);
    }
    assert!(world.host.is_saturated());
    assert_eq!(world.host.wake_at(), None, "nothing is due before a commit");
    let decided = world.host.order().frame().len();
    assert!((1..30).contains(&decided), "{decided} events of orders");
    // With the disk back, all of them end, in records that are small.
    world.drive();
    while world.host.wake_at().is_some_and(|at| at <= world.now) {
        world.host.handle_input(world.now, HostInput::Time);
        world.drive();
    }
    for id in 1..=100 {
        assert_eq!(world.order(id).saga, SagaState::Compensating, "order {id}");
    }
    let longest = world.log[uncommitted..].iter().map(Vec::len).max().unwrap();
    assert!(longest < 4_096, "{longest} bytes");
}

#[test]
fn a_charge_that_never_arrives_is_tried_ever_more_seldom() {
    let mut world = World::new();
    world.ask(create(1, 1, false)).result.unwrap();
    let mut calls = 0;
    let first = world.now;
    while world.order(1).saga == SagaState::PaymentProcessing {
        if let Some(call) = world.calls.front() {
            let outcome = match call.operation {
                GatewayOperation::Charge => unknown(),
                _ => GatewayOutcome::NotFound,
            };
            world.answer_gateway(outcome);
            calls += 1;
        }
        let next = world.host.wake_at().expect("something is owed");
        world.pass(next.saturating_since(world.now));
        if calls > 1_000 || world.now.saturating_since(first) >= world.settings.payment_timeout_ms {
            break;
        }
    }
    assert!((20..80).contains(&calls), "{calls} calls in two minutes");
}

#[test]
fn an_order_that_is_cancelled_in_the_same_record_is_not_charged_first() {
    let mut world = World::new();
    let cancel = Command::Order(OrderCommand::Cancel {
        order_id: order_id(1),
        reason: Arc::from("at once"),
        idempotency: None,
    });
    for (request, command) in [(97, create(1, 1, false)), (98, cancel)] {
        let request = RequestId(request);
        let input = HostInput::Command { request, command };
        world.host.handle_input(world.now, input);
    }
    world.drive();
    let calls: Vec<_> = world.calls.iter().map(|call| call.operation).collect();
    assert!(!calls.contains(&GatewayOperation::Charge), "{calls:?}");
    while !world.calls.is_empty() {
        world.answer_gateway(GatewayOutcome::Cancelled);
    }
    assert_eq!(world.order(1).saga, SagaState::Compensated);
}
