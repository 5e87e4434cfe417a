//! What mutation testing found untested: each of these fails on a mutant that all other
//! tests let live.

mod common;

use a4co_core::gateway::GatewayOperation;
use a4co_core::inventory::ReservationStatus;
use a4co_core::limits::HISTORY_ENTRIES_MAX;
use a4co_core::order::{CancelReason, OrderParticipant, OrderStatus, SagaState, Step, UndoPart};
use a4co_core::payment::{Payment, PaymentParticipant, PaymentStatus, RefundOrigin};
use a4co_core::settings::Settings;
use common::facts::{
    ID, acknowledged, attempted, compensation, order_created, order_event, parked, payment_event,
    payment_processing, payment_requested, payment_succeeded, refund_requested,
};
use common::{Host, after, new_order, order_id};

/// Clients, dashboards and scripts rely on these words.
#[test]
fn the_names_in_the_api_are_these() {
    let payments = PaymentStatus::ALL.map(|it| (it.name(), it.to_string()));
    let names = [
        "PENDING",
        "PROCESSING",
        "SUCCEEDED",
        "FAILED",
        "CANCELLED",
        "REFUNDED",
    ];
    assert_eq!(payments, names.map(|name| (name, name.to_owned())));

    let orders = OrderStatus::ALL.map(|it| (it.name(), it.to_string()));
    let names = [
        "PENDING",
        "INVENTORY_RESERVED",
        "CONFIRMED",
        "FAILED",
        "CANCELLED",
    ];
    assert_eq!(orders, names.map(|name| (name, name.to_owned())));

    let sagas = SagaState::ALL.map(|it| (it.name(), it.to_string()));
    let names = [
        "STARTED",
        "INVENTORY_RESERVED",
        "PAYMENT_PROCESSING",
        "PAYMENT_SUCCEEDED",
        "COMPLETED",
        "FAILED",
        "COMPENSATING",
        "COMPENSATED",
    ];
    assert_eq!(sagas, names.map(|name| (name, name.to_owned())));

    let holds = [
        (ReservationStatus::Active, Some("ACTIVE")),
        (ReservationStatus::Confirmed, Some("CONFIRMED")),
        (ReservationStatus::Released, Some("RELEASED")),
        (ReservationStatus::Expired, Some("EXPIRED")),
        (ReservationStatus::OutOfStock, None),
    ];
    for (hold, name) in holds {
        assert_eq!(hold.name(), name);
    }
}

fn payment(host: &Host<PaymentParticipant>) -> &Payment {
    host.state.payment(order_id(ID)).expect("a payment")
}

/// A call that is owed anew is due at once, as its first attempt, and is not parked:
/// the waits of the call before it are not its own.
#[track_caller]
fn owes_afresh(host: &Host<PaymentParticipant>, at_ms: u64, operation: GatewayOperation) {
    let payment = payment(host);
    assert_eq!(
        payment.owed_operation(&Settings::default()),
        Some(operation)
    );
    assert_eq!(payment.attempts, 0);
    assert_eq!(payment.due_at, after(at_ms));
    assert_eq!(payment.last_detail, None);
    assert!(!payment.parked);
}

#[test]
fn another_call_begins_with_no_attempts_and_at_once() {
    let mut host = Host::<PaymentParticipant>::default();
    host.append(payment_processing(300), after(0));
    host.append(attempted(GatewayOperation::Charge, 2), after(10));
    assert_eq!(payment(&host).attempts, 2);
    assert_eq!(payment(&host).due_at, after(1_000));

    host.append(payment_event("CancelRequested"), after(20));
    owes_afresh(&host, 20, GatewayOperation::Cancel);
    host.append(attempted(GatewayOperation::Cancel, 8), after(30));
    host.append(parked(GatewayOperation::Cancel), after(30));
    assert!(payment(&host).parked);
    host.append(payment_event("Retried"), after(40));
    owes_afresh(&host, 40, GatewayOperation::Cancel);

    host.append(attempted(GatewayOperation::Cancel, 3), after(50));
    host.append(payment_succeeded(), after(60));
    host.append(
        refund_requested(1, 300, RefundOrigin::Compensation),
        after(70),
    );
    owes_afresh(&host, 70, GatewayOperation::Refund { number: 1 });
}

#[test]
fn an_undo_turns_a_charge_into_its_cancelling_at_once() {
    let mut host = Host::<PaymentParticipant>::default();
    host.append(payment_processing(300), after(0));
    host.append(attempted(GatewayOperation::Charge, 2), after(10));
    host.append(payment_event("UndoRequested"), after(20));
    owes_afresh(&host, 20, GatewayOperation::Cancel);
}

/// Parking and retrying may repeat for ever; the history does not grow with them, and still
/// tells how it ended.
#[test]
fn a_full_history_takes_only_the_last_step_of_all() {
    let mut host = Host::<OrderParticipant>::default();
    host.append(order_created(new_order(&[("apple", 3)])), after(0));
    host.append(payment_requested(300), after(0));
    let reason = CancelReason::SagaTimedOut;
    host.append(compensation(reason, true, true), after(0));
    for _ in 0..HISTORY_ENTRIES_MAX {
        host.append(order_event("SagaParked"), after(1));
        host.append(order_event("RetryRequested"), after(1));
    }
    let history = |host: &Host<OrderParticipant>| {
        let order = host.state.order(order_id(ID)).expect("an order");
        order.history.clone()
    };
    assert_eq!(history(&host).len(), HISTORY_ENTRIES_MAX);
    host.append(acknowledged(UndoPart::Stock), after(2));
    host.append(acknowledged(UndoPart::Payment), after(2));
    assert_eq!(history(&host).len(), HISTORY_ENTRIES_MAX);
    host.append(order_event("OrderCancelled"), after(3));
    assert_eq!(history(&host).len(), HISTORY_ENTRIES_MAX + 1);
    assert_eq!(
        history(&host).last().map(|it| it.step),
        Some(Step::Cancelled)
    );
}
