//! What a gateway reports by itself (a webhook), through both hosts: taken once, answered
//! only when it is durable, and found again where its payment has left memory. And money
//! that is only set aside, from its authorisation to its capture.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use a4co_core::command::Command;
use a4co_core::embedded::HostInput;
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::ids::ParticipantId;
use a4co_core::order::{OrderCommand, OrderStatus, SagaState};
use a4co_core::payment::{PaymentCommand, PaymentPhase, PaymentStatus};
use a4co_core::rejection::Rejection;
use a4co_core::row::Answer;
use common::world::World;
use common::{create, new_order, order_id, reference, streams, text};

/// A host with one order that is being charged.
fn charging() -> World {
    let mut world = World::new();
    let order = Command::Order(OrderCommand::Create(create(1, &new_order(&[("sku-1", 1)]))));
    world.ask(order).result.unwrap();
    world
}

/// Another process, at a time when the call that is owed is due.
#[track_caller]
fn restart_until_due(world: &mut World) {
    assert!(world.calls.is_empty(), "it is not due yet");
    world.restart();
    let due = world.host.wake_at().expect("something is owed");
    world.host.handle_input(due, HostInput::Time);
    world.drive();
    assert_eq!(world.calls.len(), 1);
}

fn report(number: u8, refund: Option<u32>, outcome: GatewayOutcome) -> Command {
    Command::Payment(PaymentCommand::Report {
        order_id: order_id(number),
        refund,
        outcome,
    })
}

fn paid() -> GatewayOutcome {
    GatewayOutcome::Succeeded {
        reference: reference("charge"),
    }
}

fn declined() -> GatewayOutcome {
    GatewayOutcome::Rejected {
        code: text("card_declined"),
    }
}

#[test]
fn a_report_is_answered_once_it_is_durable_and_not_before() {
    let mut world = charging();
    world.commits_wait = true;
    let request = world.submit(report(1, None, paid()));
    assert!(world.in_flight.is_some(), "it is on its way to the disk");
    assert!(!world.replies.contains_key(&request));
    assert_eq!(world.payment(1).status(), PaymentStatus::Processing);
    world.commit();
    world.drive();
    let Ok(Answer::Payment(payment)) = &world.replies[&request].result else {
        panic!("{:?}", world.replies[&request]);
    };
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
}

#[test]
fn a_repeated_report_waits_for_the_first_one_and_changes_nothing() {
    let mut world = charging();
    world.commits_wait = true;
    let first = world.submit(report(1, None, paid()));
    let second = world.submit(report(1, None, paid()));
    assert!(world.replies.is_empty(), "what it rests on is not durable");
    world.commit();
    world.commits_wait = false;
    world.drive();
    assert!(world.replies[&first].result.is_ok());
    assert!(world.replies[&second].result.is_ok());
    // And the answer to the call itself, which comes last.
    let before = world.order(1).clone();
    assert_eq!(before.status, OrderStatus::Confirmed);
    world.answer(GatewayOperation::Charge, paid());
    assert_eq!(*world.order(1), before);
    assert_eq!(world.payment(1).captured, world.payment(1).amount);
}

#[test]
fn a_late_report_brings_its_payment_back_and_the_money_too() {
    let mut world = charging();
    world.answer(GatewayOperation::Charge, declined());
    assert_eq!(world.order(1).saga, SagaState::Compensated);
    assert!(
        world.host.payment().state().payments.is_empty(),
        "all is over"
    );
    world.ask(report(1, None, paid())).result.unwrap();
    let refund = GatewayOperation::Refund { number: 1 };
    assert_eq!(world.calls[0].operation, refund);
    world.restart();
    let refunded = GatewayOutcome::Refunded {
        reference: reference("refund"),
    };
    world
        .ask(report(1, Some(1), refunded.clone()))
        .result
        .unwrap();
    assert_eq!(world.payment(1).status(), PaymentStatus::Refunded);
    world.answer(refund, refunded);
    assert_eq!(world.payment(1).refunds.len(), 1);
}

#[test]
fn a_report_of_what_is_not_known_is_told_so() {
    let mut world = charging();
    let reply = world.ask(report(7, None, paid()));
    assert_eq!(reply.result, Err(Rejection::PaymentNotFound(order_id(7))));
}

#[test]
fn a_full_disk_refuses_reports_so_that_they_come_again() {
    let mut world = charging();
    world.host.handle_input(world.now, HostInput::Room(false));
    let reply = world.ask(report(1, None, paid()));
    assert_eq!(reply.result, Err(Rejection::JournalFull));
    world.host.handle_input(world.now, HostInput::Room(true));
    world.ask(report(1, None, paid())).result.unwrap();
}

#[test]
fn a_report_reaches_the_leader_and_is_answered_once_it_is_appended() {
    let mut world = streams::World::new(2);
    world.stock(10);
    world.order(1);
    let leader = world.leader(ParticipantId::Payment).unwrap();
    let refused = world.ask_at(1 - leader, report(1, None, paid()));
    assert!(refused.is_err(), "a follower decides nothing");
    let reply = world.ask_at(leader, report(1, None, paid())).unwrap();
    assert!(reply.result.is_ok(), "{reply:?}");
    world.expect_confirmed(1, 1);
    world.expect_one_state();
}

fn set_aside() -> GatewayOutcome {
    GatewayOutcome::Authorised {
        reference: reference("charge"),
    }
}

#[test]
fn what_is_set_aside_is_taken_once_the_order_is_confirmed() {
    let mut world = charging();
    world.answer(GatewayOperation::Charge, set_aside());
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
    assert_eq!(world.payment(1).phase, PaymentPhase::Capturing);
    assert!(world.payment(1).captured.is_zero());
    // Each way that the call can go: no answer, a restart, a refusal, its answer twice.
    let unknown = GatewayOutcome::Unknown {
        detail: text("timeout"),
    };
    world.restart();
    world.answer(GatewayOperation::Capture, unknown);
    assert_eq!(world.payment(1).attempts, 1);
    restart_until_due(&mut world);
    world.answer(GatewayOperation::Capture, paid());
    assert_eq!(world.payment(1).status(), PaymentStatus::Succeeded);
    assert_eq!(world.payment(1).captured, world.payment(1).amount);
    let before = world.payment(1).clone();
    world.ask(report(1, None, paid())).result.unwrap();
    assert_eq!(*world.payment(1), before);
}

/// The gateway lets go of what it had set aside: nothing is called any more, and the payment
/// stays in memory, parked, until somebody has seen to it.
#[test]
fn a_capture_that_is_refused_for_good_waits_for_a_person_and_for_nothing_else() {
    let mut world = charging();
    world.answer(GatewayOperation::Charge, set_aside());
    let expired = GatewayOutcome::Rejected {
        code: text("authorisation_expired"),
    };
    world.answer(GatewayOperation::Capture, expired.clone());
    let confirmed = world.order(1).clone();
    assert_eq!(confirmed.status, OrderStatus::Confirmed);
    let payment = world.payment(1);
    assert_eq!(payment.phase, PaymentPhase::CaptureFailed);
    assert_eq!(payment.status(), PaymentStatus::Failed);
    assert!(payment.parked && !payment.is_settled());
    let why = payment.failure.as_ref().unwrap().to_string();
    assert_eq!(why, "capture refused: authorisation_expired");
    world.restart();
    assert_eq!(world.host.wake_at(), None, "nothing is tried any more");
    assert_eq!(world.host.payment().state().payments.len(), 1);
    // The webhook of it, late.
    let before = world.payment(1).clone();
    let cancelled = report(1, None, GatewayOutcome::Cancelled);
    world.ask(cancelled.clone()).result.unwrap();
    assert_eq!(*world.payment(1), before);

    let retry = Command::Payment(PaymentCommand::Retry {
        order_id: order_id(1),
        idempotency: None,
    });
    world.ask(retry.clone()).result.unwrap();
    assert_eq!(world.payment(1).status(), PaymentStatus::Processing);
    // This time the webhook comes first.
    world.ask(cancelled).result.unwrap();
    world.answer(GatewayOperation::Capture, expired);
    assert!(world.payment(1).waits_for_a_person());

    let write_off = Command::Payment(PaymentCommand::WriteOff {
        order_id: order_id(1),
        idempotency: None,
    });
    world.ask(write_off.clone()).result.unwrap();
    assert!(world.payment(1).is_settled() && !world.payment(1).parked);
    assert!(world.host.payment().state().payments.is_empty());
    let before = world.payment(1).clone();
    world.ask(write_off).result.unwrap();
    assert_eq!(*world.payment(1), before, "once is enough");
    let reply = world.ask(retry);
    let not_parked = Rejection::PaymentNotParked(PaymentStatus::Failed);
    assert_eq!(reply.result, Err(not_parked));
    assert_eq!(
        *world.order(1),
        confirmed,
        "what was confirmed stays as it is"
    );
    // And should the money come all the same, it is booked.
    world.ask(report(1, None, paid())).result.unwrap();
    assert_eq!(world.payment(1).captured, world.payment(1).amount);
    assert!(world.calls.is_empty());
}

#[test]
fn an_authorisation_reported_first_is_taken_once() {
    let mut world = charging();
    world.ask(report(1, None, set_aside())).result.unwrap();
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
    // The charge's own answer comes after it; one call at a time, so the capture then.
    world.answer(GatewayOperation::Charge, set_aside());
    world.answer(GatewayOperation::Capture, paid());
    assert_eq!(world.payment(1).status(), PaymentStatus::Succeeded);
    assert!(world.calls.is_empty());
}

#[test]
fn a_customer_who_has_to_act_is_waited_for_by_asking_only() {
    let mut world = charging();
    let act = GatewayOutcome::ActionRequired {
        reference: reference("charge"),
    };
    world.answer(GatewayOperation::Charge, act.clone());
    assert!(world.payment(1).awaits_customer());
    assert_eq!(world.payment(1).status(), PaymentStatus::Processing);
    world.restart();
    assert!(world.payment(1).awaits_customer());
    restart_until_due(&mut world);
    assert_eq!(world.calls[0].operation, GatewayOperation::Query);
    assert_eq!(world.calls[0].reference, Some(reference("charge")));
    world.ask(report(1, None, act)).result.unwrap();
    world.ask(report(1, None, paid())).result.unwrap();
    assert!(!world.payment(1).awaits_customer());
    assert_eq!(world.order(1).status, OrderStatus::Confirmed);
}
