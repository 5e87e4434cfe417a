//! The inventory decider: every state, every input.

mod common;

use a4co_core::decider::{Fact, Input};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::inventory::{InventoryCommand, InventoryEvent, InventoryParticipant};
use a4co_core::limits::STOCK_UNITS_MAX;
use a4co_core::order::{CancelReason, Order, OrderEvent, OrderParticipant, Shortage, UndoPart};
use a4co_core::rejection::Rejection;
use common::facts::{
    HOLD_MS, ID, TOTAL_MINOR, acknowledged, compensation, inventory_event, inventory_reserved,
    order_created, order_event, payment_requested, payment_succeeded, product_defined,
    stock_adjusted,
};
use common::table::{Table, render};
use common::{Host, T0, after, amount, new_order, order_id, product_id, text};

closed!(
    /// Where the reservation of an order for three apples can stand.
    State {
        /// Never heard of; four apples are there.
        Unknown,
        /// Never heard of; two apples are there.
        UnknownShort,
        Active,
        Confirmed,
        Released,
        /// Released before it was asked for.
        Tombstone,
        /// The hold ended, and the apples are still there.
        Expired,
        /// The hold ended, and the apples are gone.
        ExpiredGone,
        /// The commit was refused; then apples came in.
        Refused,
        OutOfStock,
    }
);

closed!(
    /// What can come about an order.
    On {
        OrderCreated,
        /// At once: the hold would end when it ends now.
        PaymentRequested,
        /// A second later.
        PaymentRequestedLater,
        CommitRequested,
        UndoStock,
        UndoBoth,
        UndoPayment,
        OrderConfirmed,
        OrderFailed,
        StockUndone,
        PaymentUndone,
        SagaParked,
        RetryRequested,
        OrderCancelled,
        Answered,
        Recalled,
        Early,
        Deadline,
        Late,
        OwnEvent,
        PaymentSucceeded,
        Gateway,
    }
);

fn host(state: State) -> Host<InventoryParticipant> {
    let (held, ended) = (|| inventory_reserved(3), inventory_event);
    let then: Vec<InventoryEvent> = match state {
        State::Unknown => vec![],
        State::UnknownShort => vec![stock_adjusted(-2)],
        State::Active => vec![held()],
        State::Confirmed => vec![held(), ended("Committed")],
        State::Released => vec![held(), ended("Released")],
        State::Tombstone => vec![ended("NeverHeld")],
        State::Expired => vec![held(), ended("Expired")],
        State::ExpiredGone => vec![held(), ended("Expired"), stock_adjusted(-2)],
        State::Refused => vec![
            held(),
            ended("Expired"),
            stock_adjusted(-2),
            ended("CommitRefused"),
            stock_adjusted(10),
        ],
        State::OutOfStock => vec![ended("OutOfStock")],
    };
    Host::default()
        .with([product_defined(), stock_adjusted(4)])
        .with(then)
}

fn recalled() -> OrderEvent {
    let order = Host::<OrderParticipant>::default().with([order_created(apples(3))]);
    let order: &Order = order.state.order(order_id(ID)).expect("created");
    OrderEvent::Recalled(Box::new(order.clone()))
}

fn apples(quantity: u32) -> a4co_core::order::NewOrder {
    new_order(&[("apple", quantity)])
}

fn decide(state: State, on: On) -> String {
    let host = host(state);
    let id = order_id(ID);
    let at = |event: OrderEvent, now| show(host.decide(Input::Upstream(Fact::Order(&event)), now));
    let fact = |event| at(event, T0);
    let undo = |stock, payment| fact(compensation(CancelReason::SagaTimedOut, stock, payment));
    let deadline = |ms| show(host.decide(Input::Deadline(id), after(ms)));
    match on {
        On::OrderCreated => fact(order_created(apples(3))),
        On::PaymentRequested => fact(payment_requested(TOTAL_MINOR)),
        On::PaymentRequestedLater => at(payment_requested(TOTAL_MINOR), after(1_000)),
        On::UndoStock => undo(true, false),
        On::UndoBoth => undo(true, true),
        On::UndoPayment => undo(false, true),
        On::StockUndone => fact(acknowledged(UndoPart::Stock)),
        On::PaymentUndone => fact(acknowledged(UndoPart::Payment)),
        On::CommitRequested
        | On::OrderConfirmed
        | On::OrderFailed
        | On::SagaParked
        | On::RetryRequested
        | On::OrderCancelled
        | On::Answered => fact(order_event(&format!("{on:?}"))),
        On::Recalled => fact(recalled()),
        On::Early => deadline(HOLD_MS - 1),
        On::Deadline => deadline(HOLD_MS),
        On::Late => deadline(2 * HOLD_MS),
        On::OwnEvent => {
            let event = inventory_event("Expired");
            show(host.decide(Input::Upstream(Fact::Inventory(&event)), T0))
        }
        On::PaymentSucceeded => {
            let event = payment_succeeded();
            show(host.decide(Input::Upstream(Fact::Payment(&event)), T0))
        }
        On::Gateway => show(host.decide(
            Input::Gateway {
                order_id: id,
                operation: Some(GatewayOperation::Cancel),
                outcome: &GatewayOutcome::Cancelled,
            },
            T0,
        )),
    }
}

fn show(decision: Result<Vec<InventoryEvent>, Rejection>) -> String {
    let missing = |shortages: &[Shortage]| {
        let units = shortages.iter().map(|it| it.requested - it.available);
        units.sum::<u64>()
    };
    render(decision, |event| match event {
        InventoryEvent::InventoryOutOfStock { shortages, .. } => {
            format!("out of stock by {}", missing(shortages))
        }
        InventoryEvent::InventoryCommitRefused { shortages, .. } => {
            format!("commit refused for {}", missing(shortages))
        }
        InventoryEvent::InventoryCommitted { retaken, .. } => match retaken {
            true => "retaken".into(),
            false => "committed".into(),
        },
        InventoryEvent::InventoryReleased { reason, .. } => match reason {
            a4co_core::inventory::ReleaseReason::NeverHeld => "never held".into(),
            a4co_core::inventory::ReleaseReason::ShortElsewhere => "short elsewhere".into(),
            a4co_core::inventory::ReleaseReason::Compensation(_) => "released".into(),
        },
        InventoryEvent::StockAdjusted { delta, .. } => format!("stock {delta:+}"),
        other => other.name().into(),
    })
}

#[test]
fn every_state_on_every_input() {
    use On as O;
    use State as S;
    let mut table = Table::new(S::ALL, O::ALL.to_vec(), decide);

    // Asked for a hold; asked again, it gives the same answer again.
    table.check(&[S::Unknown], &[O::OrderCreated], "InventoryReserved");
    table.check(&[S::UnknownShort], &[O::OrderCreated], "out of stock by 1");
    table.check(&[S::Active], &[O::OrderCreated], "InventoryReserved");
    table.check(&[S::Confirmed], &[O::OrderCreated], "committed");
    table.check(&[S::Released], &[O::OrderCreated], "released");
    table.check(&[S::Tombstone], &[O::OrderCreated], "never held");
    table.check(
        &[S::Expired, S::ExpiredGone, S::Refused],
        &[O::OrderCreated],
        "InventoryExpired",
    );
    table.check(&[S::OutOfStock], &[O::OrderCreated], "out of stock by 1");

    // Only a hold that is there, and only one that would end sooner, is extended.
    table.check(
        &[S::Active],
        &[O::PaymentRequestedLater],
        "ReservationExtended",
    );

    // What is sold once is sold; what was refused once stays refused.
    table.check(
        &[S::Active, S::Confirmed],
        &[O::CommitRequested],
        "committed",
    );
    table.check(&[S::Expired], &[O::CommitRequested], "retaken");
    table.check(
        &[S::ExpiredGone, S::Refused],
        &[O::CommitRequested],
        "commit refused for 1",
    );
    table.check(
        &[
            S::Unknown,
            S::UnknownShort,
            S::Released,
            S::Tombstone,
            S::OutOfStock,
        ],
        &[O::CommitRequested],
        "commit refused for 0",
    );

    // Undone: also what never was, so that it never will be. What is sold stays sold.
    let undo = [O::UndoStock, O::UndoBoth];
    table.check(&[S::Unknown, S::UnknownShort], &undo, "never held");
    table.check(
        &[
            S::Active,
            S::Released,
            S::Tombstone,
            S::Expired,
            S::ExpiredGone,
            S::Refused,
            S::OutOfStock,
        ],
        &undo,
        "released",
    );

    table.check(&[S::Active], &[O::Deadline, O::Late], "InventoryExpired");

    table.the_rest_decides_nothing();
}

closed!(
    /// How a product can stand.
    Shelf {
        Unknown,
        Empty,
        /// Five on hand.
        Five,
        /// Five on hand, three of them reserved.
        FiveReserved,
        /// As many as there can be.
        Full,
    }
);

closed!(
    /// What can be asked about a product.
    Ask {
        Describe,
        SetZero,
        SetTwo,
        SetFive,
        SetMax,
        SetTooMany,
        AddZero,
        AddOne,
        AddMost,
        TakeOne,
        TakeTwo,
        TakeThree,
        TakeFive,
        TakeSix,
        TakeMost,
    }
);

fn shelve(shelf: Shelf, ask: Ask) -> String {
    let max = i64::try_from(STOCK_UNITS_MAX).expect("below 2^63");
    let product = |units| vec![product_defined(), stock_adjusted(units)];
    let events = match shelf {
        Shelf::Unknown => vec![],
        Shelf::Empty => vec![product_defined()],
        Shelf::Five => product(5),
        Shelf::FiveReserved => [product(5), vec![inventory_reserved(3)]].concat(),
        Shelf::Full => product(max),
    };
    let host = Host::<InventoryParticipant>::default().with(events);
    let define = |on_hand| InventoryCommand::Define {
        product_id: product_id("apple"),
        name: Some(text("Apple")),
        price: Some(a4co_core::inventory::Price {
            amount: amount(100),
            currency: common::eur(),
        }),
        on_hand,
    };
    let adjust = |delta| InventoryCommand::Adjust {
        product_id: product_id("apple"),
        delta,
        reason: text("test"),
        idempotency: None,
    };
    let command = match ask {
        Ask::Describe => define(None),
        Ask::SetZero => define(Some(0)),
        Ask::SetTwo => define(Some(2)),
        Ask::SetFive => define(Some(5)),
        Ask::SetMax => define(Some(STOCK_UNITS_MAX)),
        Ask::SetTooMany => define(Some(u64::MAX)),
        Ask::AddZero => adjust(0),
        Ask::AddOne => adjust(1),
        Ask::AddMost => adjust(i64::MAX),
        Ask::TakeOne => adjust(-1),
        Ask::TakeTwo => adjust(-2),
        Ask::TakeThree => adjust(-3),
        Ask::TakeFive => adjust(-5),
        Ask::TakeSix => adjust(-6),
        Ask::TakeMost => adjust(i64::MIN),
    };
    show(host.decide(Input::Command(&command), T0))
}

#[test]
fn every_shelf_on_every_command() {
    use Ask as A;
    use Shelf as S;
    let mut table = Table::new(S::ALL, A::ALL.to_vec(), shelve);
    let adjustments: Vec<_> = A::ALL
        .iter()
        .copied()
        .filter(|ask| *ask >= A::AddZero)
        .collect();

    table.check(S::ALL, &[A::Describe], "ProductDefined");
    table.check(&[S::Unknown], &adjustments, "refused: ProductNotFound");
    table.check(S::ALL, &[A::SetTooMany], "refused: StockTooLarge");
    let known = &S::ALL[1..];
    table.check(known, &[A::AddMost], "refused: StockTooLarge");
    table.check(known, &[A::TakeMost], "refused: StockBelowReserved");

    let nothing_there = [S::Unknown, S::Empty];
    table.check(&nothing_there, &[A::SetZero], "ProductDefined");
    table.check(&nothing_there, &[A::SetTwo], "ProductDefined + stock +2");
    table.check(&nothing_there, &[A::SetFive], "ProductDefined + stock +5");
    table.check(
        &nothing_there,
        &[A::SetMax],
        "ProductDefined + stock +1000000000000",
    );
    table.check(&[S::Empty], &[A::AddOne], "stock +1");
    table.check(
        &[S::Empty],
        &[
            A::TakeOne,
            A::TakeTwo,
            A::TakeThree,
            A::TakeFive,
            A::TakeSix,
        ],
        "refused: StockBelowReserved",
    );

    table.check(&[S::Five], &[A::SetZero], "ProductDefined + stock -5");
    table.check(&[S::Five], &[A::SetTwo], "ProductDefined + stock -3");
    let five = [S::Five, S::FiveReserved];
    table.check(&five, &[A::SetFive], "ProductDefined");
    table.check(&five, &[A::SetMax], "ProductDefined + stock +999999999995");
    table.check(&five, &[A::AddOne], "stock +1");
    table.check(&five, &[A::TakeOne], "stock -1");
    // What is left may be just what is reserved.
    table.check(&five, &[A::TakeTwo], "stock -2");
    table.check(&[S::Five], &[A::TakeThree], "stock -3");
    table.check(&[S::Five], &[A::TakeFive], "stock -5");
    table.check(&[S::Five], &[A::TakeSix], "refused: StockBelowReserved");
    table.check(
        &[S::FiveReserved],
        &[A::SetZero, A::SetTwo, A::TakeThree, A::TakeFive, A::TakeSix],
        "refused: StockBelowReserved",
    );

    table.check(
        &[S::Full],
        &[A::SetZero],
        "ProductDefined + stock -1000000000000",
    );
    table.check(
        &[S::Full],
        &[A::SetTwo],
        "ProductDefined + stock -999999999998",
    );
    table.check(
        &[S::Full],
        &[A::SetFive],
        "ProductDefined + stock -999999999995",
    );
    table.check(&[S::Full], &[A::SetMax], "ProductDefined");
    table.check(&[S::Full], &[A::AddOne], "refused: StockTooLarge");
    table.check(&[S::Full], &[A::TakeOne], "stock -1");
    table.check(&[S::Full], &[A::TakeTwo], "stock -2");
    table.check(&[S::Full], &[A::TakeThree], "stock -3");
    table.check(&[S::Full], &[A::TakeFive], "stock -5");
    table.check(&[S::Full], &[A::TakeSix], "stock -6");

    table.the_rest_decides_nothing();
}

/// All lines or none, lines of one product together, and every short product named.
#[test]
fn all_lines_are_reserved_or_none() {
    let short = |name: &str, requested, available| Shortage {
        product_id: product_id(name),
        requested,
        available,
    };
    let order = new_order(&[("apple", 2), ("pear", 1), ("apple", 3), ("fig", 1)]);
    let host = host(State::Unknown);
    let created = order_created(order);
    let decided = host.decide(Input::Upstream(Fact::Order(&created)), T0);
    let expected = InventoryEvent::InventoryOutOfStock {
        order_id: order_id(ID),
        shortages: vec![
            short("apple", 5, 4),
            short("fig", 1, 0),
            short("pear", 1, 0),
        ],
    };
    assert_eq!(decided, Ok(vec![expected]));
}
