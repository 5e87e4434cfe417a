//! What a gateway reports by itself (a webhook), through both hosts: taken once, answered
//! only when it is durable, and found again where its payment has left memory. And money
//! that is only set aside, from its authorisation to its capture.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use a4co_core::command::{Command, Reply, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::ParticipantId;
use a4co_core::inventory::InventoryCommand;
use a4co_core::order::{Order, OrderCommand, OrderStatus, SagaState};
use a4co_core::payment::{Payment, PaymentCommand, PaymentPhase, PaymentStatus};
use a4co_core::record;
use a4co_core::rejection::Rejection;
use a4co_core::row::{Answer, Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;
use common::{create, new_order, order_id, product_id, reference, streams, text};

const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

/// An embedded host whose commits are answered, or kept waiting.
struct World {
    host: EmbeddedHost,
    log: Vec<Vec<u8>>,
    rows: BTreeMap<RowKey, Row>,
    replies: BTreeMap<u64, Reply>,
    calls: Vec<GatewayCall>,
    /// What waits to be durable.
    in_flight: Option<Vec<u8>>,
    commits_wait: bool,
    requests: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            host: EmbeddedHost::new(&Settings::default()),
            log: Vec::new(),
            rows: BTreeMap::new(),
            replies: BTreeMap::new(),
            calls: Vec::new(),
            in_flight: None,
            commits_wait: false,
            requests: 0,
        };
        world.host.start(NOW);
        let stock = Command::Inventory(InventoryCommand::Define {
            product_id: product_id("sku-1"),
            name: None,
            price: None,
            on_hand: Some(10),
        });
        world.ask(stock).result.unwrap();
        let order = Command::Order(OrderCommand::Create(create(1, &new_order(&[("sku-1", 1)]))));
        world.ask(order).result.unwrap();
        world
    }

    fn drive(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    self.in_flight = Some(bytes);
                    if !self.commits_wait {
                        self.commit();
                    }
                }
                HostOutput::Publish(rows) => {
                    self.rows
                        .extend(rows.into_iter().map(|row| (row.key(), row)));
                }
                HostOutput::Reply { request, reply } => {
                    self.replies.insert(request.0, reply);
                }
                HostOutput::CallGateway(call) => self.calls.push(call),
                HostOutput::Fetch(key) => {
                    let row = self.rows.get(&key).cloned();
                    self.host.handle_input(NOW, HostInput::Fetched { key, row });
                }
            }
        }
    }

    fn commit(&mut self) {
        self.log.extend(self.in_flight.take());
        self.host.handle_input(NOW, HostInput::Committed);
    }

    fn submit(&mut self, command: Command) -> u64 {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.host
            .handle_input(NOW, HostInput::Command { request, command });
        self.drive();
        self.requests
    }

    fn ask(&mut self, command: Command) -> Reply {
        let request = self.submit(command);
        self.replies.remove(&request).expect("an answer")
    }

    fn answer(&mut self, operation: GatewayOperation, outcome: GatewayOutcome) {
        let call = self.calls.remove(0);
        assert_eq!(call.operation, operation);
        let answer = HostInput::Gateway {
            order_id: call.order_id,
            operation: Some(operation),
            outcome,
        };
        self.host.handle_input(NOW, answer);
        self.drive();
    }

    fn order(&self) -> &Order {
        match &self.rows[&RowKey::Order(order_id(1))] {
            Row::Order(order) => order,
            other => panic!("{other:?}"),
        }
    }

    fn payment(&self) -> &Payment {
        match &self.rows[&RowKey::Payment(order_id(1))] {
            Row::Payment(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    /// Another process, with the log alone: it has the same rows, and owes the same calls.
    fn restart(&mut self) {
        let mut host = EmbeddedHost::new(&Settings::default());
        let mut rows = BTreeMap::new();
        for bytes in &self.log {
            let changed = host.replay(&record::decode(bytes).unwrap(), true).unwrap();
            rows.extend(changed.into_iter().map(|row| (row.key(), row)));
        }
        assert_eq!(rows, self.rows);
        let owed = std::mem::take(&mut self.calls);
        self.host = host;
        self.host.start(NOW);
        self.drive();
        assert_eq!(self.calls, owed);
    }
}

impl World {
    /// Another process, at a time when the call that is owed is due.
    fn restart_until_due(&mut self) {
        assert!(self.calls.is_empty(), "it is not due yet");
        self.restart();
        let due = self.host.wake_at().expect("something is owed");
        self.host.handle_input(due, HostInput::Time);
        self.drive();
        assert_eq!(self.calls.len(), 1);
    }
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
    let mut world = World::new();
    world.commits_wait = true;
    let request = world.submit(report(1, None, paid()));
    assert!(world.in_flight.is_some(), "it is on its way to the disk");
    assert!(!world.replies.contains_key(&request));
    assert_eq!(world.payment().status(), PaymentStatus::Processing);
    world.commit();
    world.drive();
    let Ok(Answer::Payment(payment)) = &world.replies[&request].result else {
        panic!("{:?}", world.replies[&request]);
    };
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
}

#[test]
fn a_repeated_report_waits_for_the_first_one_and_changes_nothing() {
    let mut world = World::new();
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
    let before = world.order().clone();
    assert_eq!(before.status, OrderStatus::Confirmed);
    world.answer(GatewayOperation::Charge, paid());
    assert_eq!(*world.order(), before);
    assert_eq!(world.payment().captured, world.payment().amount);
}

#[test]
fn a_late_report_brings_its_payment_back_and_the_money_too() {
    let mut world = World::new();
    world.answer(GatewayOperation::Charge, declined());
    assert_eq!(world.order().saga, SagaState::Compensated);
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
    assert_eq!(world.payment().status(), PaymentStatus::Refunded);
    world.answer(refund, refunded);
    assert_eq!(world.payment().refunds.len(), 1);
}

#[test]
fn a_report_of_what_is_not_known_is_told_so() {
    let mut world = World::new();
    let reply = world.ask(report(7, None, paid()));
    assert_eq!(reply.result, Err(Rejection::PaymentNotFound(order_id(7))));
}

#[test]
fn a_full_disk_refuses_reports_so_that_they_come_again() {
    let mut world = World::new();
    world.host.handle_input(NOW, HostInput::Room(false));
    let reply = world.ask(report(1, None, paid()));
    assert_eq!(reply.result, Err(Rejection::JournalFull));
    world.host.handle_input(NOW, HostInput::Room(true));
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
    let mut world = World::new();
    world.answer(GatewayOperation::Charge, set_aside());
    assert_eq!(world.order().status, OrderStatus::Confirmed);
    assert_eq!(world.payment().phase, PaymentPhase::Capturing);
    assert!(world.payment().captured.is_zero());
    // Each way that the call can go: no answer, a restart, a refusal, its answer twice.
    let unknown = GatewayOutcome::Unknown {
        detail: text("timeout"),
    };
    world.restart();
    world.answer(GatewayOperation::Capture, unknown);
    assert_eq!(world.payment().attempts, 1);
    world.restart_until_due();
    world.answer(GatewayOperation::Capture, paid());
    assert_eq!(world.payment().status(), PaymentStatus::Succeeded);
    assert_eq!(world.payment().captured, world.payment().amount);
    let before = world.payment().clone();
    world.ask(report(1, None, paid())).result.unwrap();
    assert_eq!(*world.payment(), before);
}

/// The gateway lets go of what it had set aside: nothing is called any more, and the payment
/// stays in memory, parked, until somebody has seen to it.
#[test]
fn a_capture_that_is_refused_for_good_waits_for_a_person_and_for_nothing_else() {
    let mut world = World::new();
    world.answer(GatewayOperation::Charge, set_aside());
    let expired = GatewayOutcome::Rejected {
        code: text("authorisation_expired"),
    };
    world.answer(GatewayOperation::Capture, expired.clone());
    let confirmed = world.order().clone();
    assert_eq!(confirmed.status, OrderStatus::Confirmed);
    let payment = world.payment();
    assert_eq!(payment.phase, PaymentPhase::CaptureFailed);
    assert_eq!(payment.status(), PaymentStatus::Failed);
    assert!(payment.parked && !payment.is_settled());
    let why = payment.failure.as_ref().unwrap().to_string();
    assert_eq!(why, "capture refused: authorisation_expired");
    world.restart();
    assert_eq!(world.host.wake_at(), None, "nothing is tried any more");
    assert_eq!(world.host.payment().state().payments.len(), 1);
    // The webhook of it, late.
    let before = world.payment().clone();
    let cancelled = report(1, None, GatewayOutcome::Cancelled);
    world.ask(cancelled.clone()).result.unwrap();
    assert_eq!(*world.payment(), before);

    let retry = Command::Payment(PaymentCommand::Retry {
        order_id: order_id(1),
        idempotency: None,
    });
    world.ask(retry.clone()).result.unwrap();
    assert_eq!(world.payment().status(), PaymentStatus::Processing);
    // This time the webhook comes first.
    world.ask(cancelled).result.unwrap();
    world.answer(GatewayOperation::Capture, expired);
    assert!(world.payment().waits_for_a_person());

    let write_off = Command::Payment(PaymentCommand::WriteOff {
        order_id: order_id(1),
        idempotency: None,
    });
    world.ask(write_off.clone()).result.unwrap();
    assert!(world.payment().is_settled() && !world.payment().parked);
    assert!(world.host.payment().state().payments.is_empty());
    let before = world.payment().clone();
    world.ask(write_off).result.unwrap();
    assert_eq!(*world.payment(), before, "once is enough");
    let reply = world.ask(retry);
    let not_parked = Rejection::PaymentNotParked(PaymentStatus::Failed);
    assert_eq!(reply.result, Err(not_parked));
    assert_eq!(
        *world.order(),
        confirmed,
        "what was confirmed stays as it is"
    );
    // And should the money come all the same, it is booked.
    world.ask(report(1, None, paid())).result.unwrap();
    assert_eq!(world.payment().captured, world.payment().amount);
    assert!(world.calls.is_empty());
}

#[test]
fn an_authorisation_reported_first_is_taken_once() {
    let mut world = World::new();
    world.ask(report(1, None, set_aside())).result.unwrap();
    assert_eq!(world.order().status, OrderStatus::Confirmed);
    // The charge's own answer comes after it; one call at a time, so the capture then.
    world.answer(GatewayOperation::Charge, set_aside());
    world.answer(GatewayOperation::Capture, paid());
    assert_eq!(world.payment().status(), PaymentStatus::Succeeded);
    assert!(world.calls.is_empty());
}

#[test]
fn a_customer_who_has_to_act_is_waited_for_by_asking_only() {
    let mut world = World::new();
    let act = GatewayOutcome::ActionRequired {
        reference: reference("charge"),
    };
    world.answer(GatewayOperation::Charge, act.clone());
    assert!(world.payment().awaits_customer());
    assert_eq!(world.payment().status(), PaymentStatus::Processing);
    world.restart();
    assert!(world.payment().awaits_customer());
    world.restart_until_due();
    assert_eq!(world.calls[0].operation, GatewayOperation::Query);
    assert_eq!(world.calls[0].reference, Some(reference("charge")));
    world.ask(report(1, None, act)).result.unwrap();
    world.ask(report(1, None, paid())).result.unwrap();
    assert!(!world.payment().awaits_customer());
    assert_eq!(world.order().status, OrderStatus::Confirmed);
}
