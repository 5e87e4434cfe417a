//! The order decider: every state, every input.

mod common;

use a4co_core::decider::{Fact, Input};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::ids::Fingerprint;
use a4co_core::order::{CancelReason, OrderCommand, OrderEvent, OrderParticipant, UndoPart};
use a4co_core::payment::{PaymentFailure, RefundOrigin};
use common::facts::{
    CHARGE_END_MS, ID, SAGA_END_MS, TOTAL_MINOR, acknowledged, attempted, compensation,
    inventory_event, inventory_reserved, order_created, order_event, parked, payment_cancelled,
    payment_event, payment_processing, payment_requested, payment_succeeded, product_defined,
    refund_requested, refunded, stock_adjusted,
};
use common::table::{Table, render};
use common::{Host, T0, after, create, new_order, order_id, text};

closed!(
    /// Where an order can stand. `INVENTORY_RESERVED` is passed through within one event.
    State {
        Unknown,
        Started,
        Processing,
        ProcessingParked,
        Paid,
        Completed,
        Failed,
        /// Undoing before payment was asked for.
        UndoingStock,
        /// Undoing after payment failed while it was parked.
        UndoingStockUnparked,
        /// Undoing after the hold expired, or the commit was refused.
        UndoingPayment,
        UndoingBoth,
        UndoingBothParked,
        /// Of both, the stock is acknowledged.
        PaymentLeft,
        /// Of both, the payment is acknowledged.
        StockLeft,
        Cancelled,
    }
);

closed!(
    /// What can come.
    On {
        Create,
        CreateChanged,
        Cancel,
        Retry,
        Early,
        Deadline,
        Reserved,
        OutOfStock,
        Extended,
        Committed,
        Retaken,
        CommitRefused,
        Released,
        NeverHeld,
        Expired,
        ProductDefined,
        StockAdjusted,
        InventoryAnswered,
        PaymentProcessing,
        PaymentAttempted,
        PaymentSucceeded,
        PaymentFailed,
        PaymentTimedOut,
        PaymentUndone,
        PaymentForestalled,
        PaymentCancelRequested,
        PaymentUndoRequested,
        PaymentCapturedLate,
        RefundRequested,
        RefundedPart,
        RefundedAll,
        RefundFailed,
        PaymentParked,
        PaymentRetried,
        PaymentAnswered,
        OwnEvent,
        Gateway,
    }
);

fn host(state: State) -> Host<OrderParticipant> {
    let created = || order_created(new_order(&[("apple", 3)]));
    let asked = || payment_requested(TOTAL_MINOR);
    let undo = |stock, payment| compensation(CancelReason::SagaTimedOut, stock, payment);
    let parked = || order_event("SagaParked");
    let stock = || acknowledged(UndoPart::Stock);
    let payment = || acknowledged(UndoPart::Payment);
    let events = match state {
        State::Unknown => vec![],
        State::Started => vec![created()],
        State::Processing => vec![created(), asked()],
        State::ProcessingParked => vec![created(), asked(), parked()],
        State::Paid => vec![created(), asked(), order_event("CommitRequested")],
        State::Completed => vec![
            created(),
            asked(),
            order_event("CommitRequested"),
            order_event("OrderConfirmed"),
        ],
        State::Failed => vec![created(), order_event("OrderFailed")],
        State::UndoingStock => vec![created(), undo(true, false)],
        State::UndoingStockUnparked => vec![created(), asked(), parked(), undo(true, false)],
        State::UndoingPayment => vec![created(), asked(), undo(false, true)],
        State::UndoingBoth => vec![created(), asked(), undo(true, true)],
        State::UndoingBothParked => vec![created(), asked(), undo(true, true), parked()],
        State::PaymentLeft => vec![created(), asked(), undo(true, true), stock()],
        State::StockLeft => vec![created(), asked(), undo(true, true), parked(), payment()],
        State::Cancelled => vec![
            created(),
            undo(true, false),
            stock(),
            order_event("OrderCancelled"),
        ],
    };
    Host::default().with(events)
}

fn decide(state: State, on: On) -> String {
    let host = host(state);
    let id = order_id(ID);
    let command = |command: OrderCommand| show(host.decide(Input::Command(&command), T0));
    let inventory = |event| {
        let fact = Fact::Inventory(&event);
        show(host.decide(Input::Upstream(fact), T0))
    };
    let payment = |event| show(host.decide(Input::Upstream(Fact::Payment(&event)), T0));
    let mut changed = new_order(&[("apple", 3)]);
    changed.fingerprint = Fingerprint::of(b"second");
    match on {
        On::Create => command(OrderCommand::Create(create(
            ID,
            &new_order(&[("apple", 3)]),
        ))),
        On::CreateChanged => command(OrderCommand::Create(create(ID, &changed))),
        On::Cancel => command(OrderCommand::Cancel {
            order_id: id,
            reason: text("no"),
            idempotency: None,
        }),
        On::Retry => command(OrderCommand::Retry {
            order_id: id,
            idempotency: None,
        }),
        On::Early => show(host.decide(Input::Deadline(id), after(SAGA_END_MS - 1))),
        On::Deadline => show(host.decide(Input::Deadline(id), after(SAGA_END_MS))),
        On::Reserved => inventory(inventory_reserved(3)),
        On::OutOfStock => inventory(inventory_event("OutOfStock")),
        On::Extended => inventory(inventory_event("Extended")),
        On::Committed => inventory(inventory_event("Committed")),
        On::Retaken => inventory(inventory_event("Retaken")),
        On::CommitRefused => inventory(inventory_event("CommitRefused")),
        On::Released => inventory(inventory_event("Released")),
        On::NeverHeld => inventory(inventory_event("NeverHeld")),
        On::Expired => inventory(inventory_event("Expired")),
        On::ProductDefined => inventory(product_defined()),
        On::StockAdjusted => inventory(stock_adjusted(1)),
        On::InventoryAnswered => inventory(inventory_event("Answered")),
        On::PaymentProcessing => payment(payment_processing(TOTAL_MINOR)),
        On::PaymentAttempted => payment(attempted(GatewayOperation::Charge, 1)),
        On::PaymentSucceeded => payment(payment_succeeded()),
        On::PaymentFailed => payment(payment_event("Failed")),
        On::PaymentTimedOut => payment(payment_cancelled(PaymentFailure::TimedOut)),
        On::PaymentUndone => payment(payment_cancelled(PaymentFailure::Undone)),
        On::PaymentForestalled => payment(payment_event("Forestalled")),
        On::PaymentCancelRequested => payment(payment_event("CancelRequested")),
        On::PaymentUndoRequested => payment(payment_event("UndoRequested")),
        On::PaymentCapturedLate => payment(payment_event("CapturedLate")),
        On::RefundRequested => payment(refund_requested(1, 300, RefundOrigin::Compensation)),
        On::RefundedPart => payment(refunded(1, 100, false)),
        On::RefundedAll => payment(refunded(1, 300, true)),
        On::RefundFailed => payment(payment_event("RefundFailed")),
        On::PaymentParked => payment(parked(GatewayOperation::Cancel)),
        On::PaymentRetried => payment(payment_event("Retried")),
        On::PaymentAnswered => payment(payment_event("Answered")),
        On::OwnEvent => {
            let event = order_event("CommitRequested");
            show(host.decide(Input::Upstream(Fact::Order(&event)), T0))
        }
        On::Gateway => show(host.decide(
            Input::Gateway {
                order_id: id,
                operation: Some(GatewayOperation::Charge),
                outcome: &GatewayOutcome::Cancelled,
            },
            T0,
        )),
    }
}

fn show(decision: Result<Vec<OrderEvent>, a4co_core::rejection::Rejection>) -> String {
    render(decision, |event| match event {
        OrderEvent::CompensationRequested { reason, undo, .. } => {
            let what = match (undo.stock, undo.payment) {
                (true, true) => "both",
                (true, false) => "stock",
                (false, true) => "payment",
                (false, false) => "neither",
            };
            format!("undo {what}: {}", reason.name())
        }
        OrderEvent::UndoAcknowledged { part, .. } => format!("{part:?} undone"),
        other => other.name().into(),
    })
}

#[test]
fn every_state_on_every_input() {
    use On as O;
    use State as S;
    const UNDOING: &[S] = &[
        S::UndoingStock,
        S::UndoingStockUnparked,
        S::UndoingPayment,
        S::UndoingBoth,
        S::UndoingBothParked,
        S::PaymentLeft,
        S::StockLeft,
    ];
    let all_but = |not: &[S]| -> Vec<S> {
        let all = S::ALL.iter().copied();
        all.filter(|state| !not.contains(state)).collect()
    };
    let mut table = Table::new(S::ALL, O::ALL.to_vec(), decide);

    // Commands.
    table.check(
        &[S::Unknown],
        &[O::Create, O::CreateChanged],
        "OrderCreated",
    );
    let known = all_but(&[S::Unknown]);
    table.check(&known, &[O::Create], "nothing");
    table.check(&known, &[O::CreateChanged], "refused: IdempotencyKeyReused");
    table.check(
        &[S::Unknown],
        &[O::Cancel, O::Retry],
        "refused: OrderNotFound",
    );
    table.check(&[S::Started], &[O::Cancel], "undo stock: user_cancelled");
    table.check(
        &[S::Processing, S::ProcessingParked],
        &[O::Cancel],
        "undo both: user_cancelled",
    );
    table.check(
        &[S::Paid, S::Completed, S::Failed],
        &[O::Cancel],
        "refused: OrderNotCancellable",
    );
    table.check(UNDOING, &[O::Cancel], "nothing");
    table.check(&[S::Cancelled], &[O::Cancel], "nothing");
    let is_parked = [S::ProcessingParked, S::UndoingBothParked];
    table.check(&is_parked, &[O::Retry], "RetryRequested");
    let not_parked = all_but(&[S::Unknown, S::ProcessingParked, S::UndoingBothParked]);
    table.check(&not_parked, &[O::Retry], "refused: SagaNotParked");

    // Time. Early is not yet; once paid, it is too late to give up.
    table.check(&[S::Started], &[O::Deadline], "undo stock: saga_timeout");
    table.check(
        &[S::Processing, S::ProcessingParked],
        &[O::Deadline],
        "undo both: saga_timeout",
    );

    // Inventory.
    table.check(&[S::Started], &[O::Reserved], "PaymentRequested");
    table.check(&[S::Started], &[O::OutOfStock], "OrderFailed");
    table.check(
        &[S::Started],
        &[O::Expired],
        "undo stock: reservation_expired",
    );
    table.check(
        &[S::Processing, S::ProcessingParked],
        &[O::Expired],
        "undo payment: reservation_expired",
    );
    table.check(&[S::Paid], &[O::Committed, O::Retaken], "OrderConfirmed");
    table.check(
        &[S::Paid],
        &[O::CommitRefused],
        "undo payment: commit_refused",
    );
    let stock_gone = [O::Released, O::NeverHeld, O::Expired];
    table.check(
        &[S::UndoingBoth, S::UndoingBothParked],
        &stock_gone,
        "Stock undone",
    );
    table.check(
        &[S::UndoingStock, S::UndoingStockUnparked, S::StockLeft],
        &stock_gone,
        "Stock undone + OrderCancelled",
    );

    // Payment.
    let processing = [S::Processing, S::ProcessingParked];
    table.check(&processing, &[O::PaymentSucceeded], "CommitRequested");
    table.check(
        &processing,
        &[O::PaymentFailed],
        "undo stock: payment_failed",
    );
    let not_charged = [O::PaymentTimedOut, O::PaymentUndone, O::PaymentForestalled];
    table.check(&processing, &not_charged, "undo stock: payment_timeout");
    let money_back = [
        O::PaymentFailed,
        O::PaymentTimedOut,
        O::PaymentUndone,
        O::PaymentForestalled,
        O::RefundedAll,
    ];
    table.check(
        &[S::UndoingBoth, S::UndoingBothParked],
        &money_back,
        "Payment undone",
    );
    table.check(
        &[S::UndoingPayment, S::PaymentLeft],
        &money_back,
        "Payment undone + OrderCancelled",
    );
    table.check(
        &[
            S::Processing,
            S::UndoingBoth,
            S::UndoingPayment,
            S::PaymentLeft,
        ],
        &[O::PaymentParked],
        "SagaParked",
    );

    table.the_rest_decides_nothing();
}

/// A new order is refused while too many are active, and a repeated one is not.
#[test]
fn overload_refuses_new_orders_only() {
    let mut host = host(State::Started);
    host.settings.max_active_orders = 1;
    let order = new_order(&[("apple", 3)]);
    let again = OrderCommand::Create(create(ID, &order));
    assert_eq!(host.decide(Input::Command(&again), T0), Ok(vec![]));
    let another = OrderCommand::Create(create(2, &order));
    assert_eq!(
        show(host.decide(Input::Command(&another), T0)),
        "refused: Overloaded"
    );
}

/// Every deadline is in the event, so that a replay does not depend on today's settings.
#[test]
fn deadlines_are_written_into_events() {
    let order = new_order(&[("apple", 3)]);
    let mut host = Host::<OrderParticipant>::default();
    let command = OrderCommand::Create(create(ID, &order));
    let created = host.handle(Input::Command(&command), T0);
    assert_eq!(created, Ok(vec![order_created(order)]));
    let reserved = inventory_reserved(3);
    let asked = host.handle(Input::Upstream(Fact::Inventory(&reserved)), T0);
    assert_eq!(asked, Ok(vec![payment_requested(TOTAL_MINOR)]));
    assert_eq!(host.settings.payment_timeout_ms.get(), CHARGE_END_MS);
}
