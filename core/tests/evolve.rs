//! `evolve` takes any events in any order without a panic and gives the same state again,
//! and every event and row survives the way to storage and back.

mod common;

use std::fmt::Debug;

use a4co_core::decider::{Participant, Recorded};
use a4co_core::gateway::GatewayOperation;
use a4co_core::ids::{Fingerprint, OrderId, ParticipantId, PaymentMethodId, Sequence};
use a4co_core::invariants::{
    Invariant, Phase, World, check_all, check_transition, replay_equals_state,
};
use a4co_core::inventory::{
    HeldLine, InventoryEvent, InventoryParticipant, InventoryState, Price, ReleaseReason,
};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{
    CancelReason, Line, MetadataValue, NewOrder, OrderEvent, OrderParticipant, OrderState,
    SandboxHints, Shortage, Undo, UndoPart,
};
use a4co_core::payment::{
    PaymentEvent, PaymentFailure, PaymentParticipant, PaymentState, RefundOrigin,
};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use common::{Host, key, order_id, product_id, reference, text};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

// ---- any events

fn any_order() -> impl Strategy<Value = OrderId> {
    (0..3_u8).prop_map(order_id)
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn any_amount() -> impl Strategy<Value = Amount> {
    let edges = vec![Amount::ZERO, Amount::MAX, Amount::MIN];
    prop_oneof![
        (-500..500_i64).prop_map(common::amount),
        proptest::sample::select(edges),
    ]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any_number().prop_map(Timestamp::from_unix_ms)
}

fn any_currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(Currency::all().collect::<Vec<_>>())
}

fn any_product() -> impl Strategy<Value = a4co_core::ids::ProductId> {
    proptest::sample::select(vec![product_id("apple"), product_id("pear")])
}

fn any_hints() -> impl Strategy<Value = SandboxHints> {
    (any::<bool>(), of(any_number())).prop_map(|(decline, hold_ms)| SandboxHints {
        decline,
        hold_ms: hold_ms.map(Millis::new),
    })
}

fn any_method() -> impl Strategy<Value = Option<PaymentMethodId>> {
    of(Just(PaymentMethodId::parse("pm_card").expect("a valid id")))
}

fn any_new_order() -> impl Strategy<Value = NewOrder> {
    let line = (any_product(), any::<u32>(), any_amount());
    let line = line.prop_map(|(product_id, quantity, unit_price)| Line {
        product_id,
        quantity,
        unit_price,
    });
    let note = prop_oneof![
        ".{0,9}".prop_map(|words| MetadataValue::Text(text(&words))),
        any::<bool>().prop_map(MetadataValue::Bool),
        Just(MetadataValue::Number(text("1.50e3"))),
    ];
    (
        vec(line, 0..4),
        any_amount(),
        any_currency(),
        any_method(),
        vec((Just(text("note")), note), 0..3),
        any_hints(),
        any::<[u8; 16]>(),
    )
        .prop_map(
            |(lines, total, currency, payment_method, metadata, hints, bytes)| NewOrder {
                lines: lines.into(),
                total,
                currency,
                payment_method,
                metadata: metadata.into(),
                hints,
                idempotency_key: Some(key("key")),
                fingerprint: Fingerprint::from_bytes(bytes),
                ..common::new_order(&[])
            },
        )
}

fn any_shortages() -> impl Strategy<Value = Vec<Shortage>> {
    let one = (any_product(), any_number(), any_number());
    let one = one.prop_map(|(product_id, requested, available)| Shortage {
        product_id,
        requested,
        available,
    });
    vec(one, 0..3)
}

fn any_reason() -> impl Strategy<Value = CancelReason> {
    prop_oneof![
        Just(CancelReason::Requested(text("no"))),
        Just(CancelReason::PaymentFailed(text("card_declined"))),
        Just(CancelReason::PaymentTimedOut),
        Just(CancelReason::SagaTimedOut),
        Just(CancelReason::HoldExpired),
        Just(CancelReason::CommitRefused),
    ]
}

fn any_order_event() -> impl Strategy<Value = OrderEvent> {
    let part = proptest::sample::select(vec![UndoPart::Stock, UndoPart::Payment]);
    let created = (any_order(), any_new_order(), any_time());
    let created = created
        .prop_map(|(order_id, order, deadline_at)| OrderEvent::OrderCreated {
            order_id,
            order: order.into(),
            deadline_at,
        })
        .boxed();
    let requested = (
        any_order(),
        any_amount(),
        any_currency(),
        any_method(),
        any_hints(),
        any_time(),
    );
    let requested = requested.prop_map(
        |(order_id, amount, currency, payment_method, hints, deadline_at)| {
            OrderEvent::PaymentRequested {
                order_id,
                amount,
                currency,
                payment_method,
                hints,
                deadline_at,
            }
        },
    );
    let undo = (
        any_order(),
        any_reason(),
        any::<(bool, bool)>(),
        any_currency(),
    );
    let undo = undo.prop_map(|(order_id, reason, (stock, payment), currency)| {
        OrderEvent::CompensationRequested {
            order_id,
            reason,
            undo: Undo { stock, payment },
            currency,
        }
    });
    prop_oneof![
        created.clone(),
        requested,
        any_order().prop_map(|order_id| OrderEvent::CommitRequested { order_id }),
        any_order().prop_map(|order_id| OrderEvent::OrderConfirmed { order_id }),
        (any_order(), any_shortages()).prop_map(|(order_id, shortages)| {
            OrderEvent::OrderFailed {
                order_id,
                shortages,
            }
        }),
        undo,
        (any_order(), part)
            .prop_map(|(order_id, part)| OrderEvent::UndoAcknowledged { order_id, part }),
        any_order().prop_map(|order_id| OrderEvent::SagaParked { order_id }),
        any_order().prop_map(|order_id| OrderEvent::RetryRequested { order_id }),
        any_order().prop_map(|order_id| OrderEvent::OrderCancelled { order_id }),
        Just(common::facts::order_event("Answered")),
        vec(created, 1).prop_map(|created| {
            let host = Host::<OrderParticipant>::default().with(created);
            let order = host.state.orders.into_values().next().expect("created");
            OrderEvent::Recalled(order)
        }),
    ]
}

fn any_inventory_event() -> impl Strategy<Value = InventoryEvent> {
    let line = (any_product(), any_number());
    let line = line.prop_map(|(product_id, quantity)| HeldLine {
        product_id,
        quantity,
    });
    let reserved = (any_order(), vec(line, 0..4), any_number(), any_time());
    let reserved = reserved
        .prop_map(
            |(order_id, lines, hold_ms, expires_at)| InventoryEvent::InventoryReserved {
                order_id,
                lines: lines.into(),
                hold_ms: Millis::new(hold_ms),
                expires_at,
            },
        )
        .boxed();
    let price = (any_amount(), any_currency());
    let price = price.prop_map(|(amount, currency)| Price { amount, currency });
    let delta = prop_oneof![-9..9_i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    let released = prop_oneof![
        Just(ReleaseReason::NeverHeld),
        Just(ReleaseReason::ShortElsewhere),
        any_reason().prop_map(ReleaseReason::Compensation),
    ];
    prop_oneof![
        (any_product(), of(Just(text("Apple"))), of(price)).prop_map(
            |(product_id, name, price)| InventoryEvent::ProductDefined {
                product_id,
                name,
                price,
            }
        ),
        (any_product(), delta).prop_map(|(product_id, delta)| InventoryEvent::StockAdjusted {
            product_id,
            delta,
            reason: text("test"),
        }),
        reserved.clone(),
        (any_order(), any_shortages()).prop_map(|(order_id, shortages)| {
            InventoryEvent::InventoryOutOfStock {
                order_id,
                shortages,
            }
        }),
        (any_order(), any_time()).prop_map(|(order_id, expires_at)| {
            InventoryEvent::ReservationExtended {
                order_id,
                expires_at,
            }
        }),
        (any_order(), any::<bool>()).prop_map(|(order_id, retaken)| {
            InventoryEvent::InventoryCommitted { order_id, retaken }
        }),
        (any_order(), any_shortages()).prop_map(|(order_id, shortages)| {
            InventoryEvent::InventoryCommitRefused {
                order_id,
                shortages,
            }
        }),
        (any_order(), released)
            .prop_map(|(order_id, reason)| InventoryEvent::InventoryReleased { order_id, reason }),
        any_order().prop_map(|order_id| InventoryEvent::InventoryExpired { order_id }),
        Just(common::facts::inventory_event("Answered")),
        reserved.prop_map(|reserved| {
            let host = Host::<InventoryParticipant>::default().with([reserved]);
            let held = host.state.reservations.into_values().next();
            InventoryEvent::Recalled(held.expect("reserved"))
        }),
    ]
}

fn any_payment_event() -> impl Strategy<Value = PaymentEvent> {
    let number = || prop_oneof![0..4_u32, Just(u32::MAX)];
    let operation = || {
        prop_oneof![
            Just(GatewayOperation::Charge),
            Just(GatewayOperation::Query),
            Just(GatewayOperation::Cancel),
            Just(GatewayOperation::Capture),
            number().prop_map(|number| GatewayOperation::Refund { number }),
        ]
    };
    let failure = || {
        prop_oneof![
            Just(PaymentFailure::Declined { code: text("no") }),
            Just(PaymentFailure::TimedOut),
            Just(PaymentFailure::Undone),
            Just(PaymentFailure::CaptureRefused { code: text("no") }),
        ]
    };
    let origin = proptest::sample::select(vec![RefundOrigin::Compensation, RefundOrigin::Operator]);
    let processing = (
        any_order(),
        any_amount(),
        any_currency(),
        any_method(),
        any_hints(),
        any_time(),
    );
    let processing = processing
        .prop_map(
            |(order_id, amount, currency, payment_method, hints, deadline_at)| {
                PaymentEvent::PaymentProcessing {
                    order_id,
                    amount,
                    currency,
                    payment_method,
                    hints,
                    deadline_at,
                }
            },
        )
        .boxed();
    let about = |event: fn(OrderId) -> PaymentEvent| any_order().prop_map(event);
    prop_oneof![
        4 => processing.clone(),
        1 => (any_order(), operation(), any::<u32>(), any_time()).prop_map(
            |(order_id, operation, attempts, retry_at)| PaymentEvent::PaymentAttempted {
                order_id,
                operation,
                attempts,
                retry_at,
                detail: text("timeout"),
            }
        ),
        2 => (any_order(), of(Just(reference("charge")))).prop_map(|(order_id, reference)| {
            PaymentEvent::PaymentSucceeded {
                order_id,
                reference,
            }
        }),
        1 => (any_order(), failure())
            .prop_map(|(order_id, failure)| PaymentEvent::PaymentFailed { order_id, failure }),
        1 => about(|order_id| PaymentEvent::PaymentCancelRequested { order_id }),
        1 => about(|order_id| PaymentEvent::PaymentUndoRequested { order_id }),
        1 => (any_order(), failure(), of(any_currency())).prop_map(
            |(order_id, failure, forestalled)| PaymentEvent::PaymentCancelled {
                order_id,
                failure,
                forestalled,
            }
        ),
        1 => about(|order_id| PaymentEvent::PaymentCapturedLate {
            order_id,
            reference: reference("charge"),
        }),
        2 => (any_order(), number(), any_amount(), origin).prop_map(
            |(order_id, number, amount, origin)| PaymentEvent::RefundRequested {
                order_id,
                number,
                amount,
                origin,
            }
        ),
        2 => (any_order(), number(), any_amount(), any::<bool>()).prop_map(
            |(order_id, number, amount, nothing_left)| PaymentEvent::PaymentRefunded {
                order_id,
                number,
                amount,
                reference: reference("refund"),
                nothing_left,
            }
        ),
        1 => (any_order(), number()).prop_map(|(order_id, number)| PaymentEvent::RefundFailed {
            order_id,
            number,
            code: text("no"),
        }),
        1 => (any_order(), operation()).prop_map(|(order_id, operation)| {
            PaymentEvent::PaymentParked {
                order_id,
                operation,
            }
        }),
        1 => about(|order_id| PaymentEvent::PaymentRetried { order_id }),
        1 => about(|order_id| PaymentEvent::PaymentActionRequired {
            order_id,
            reference: reference("charge"),
        }),
        2 => about(|order_id| PaymentEvent::PaymentAuthorised {
            order_id,
            reference: reference("charge"),
        }),
        2 => about(|order_id| PaymentEvent::PaymentCaptureRequested { order_id }),
        1 => about(|order_id| PaymentEvent::PaymentCaptureFailed {
            order_id,
            code: text("no"),
        }),
        1 => about(|order_id| PaymentEvent::PaymentWrittenOff { order_id }),
        1 => Just(common::facts::payment_event("Answered")),
        1 => processing.prop_map(|processing| {
            let host = Host::<PaymentParticipant>::default().with([processing]);
            let payment = host.state.payments.into_values().next();
            PaymentEvent::Recalled(payment.expect("processing"))
        }),
    ]
}

fn recorded<E: Debug>(event: impl Strategy<Value = E>) -> impl Strategy<Value = Vec<Recorded<E>>> {
    let one = (any_time(), event).prop_map(|(at, event)| Recorded { at, event });
    vec(one, 0..40)
}

// ---- what is asked of them

#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = postcard::to_allocvec(value).expect("memory suffices");
    let (again, rest) = postcard::take_from_bytes::<T>(&bytes).expect("its own bytes decode");
    assert_eq!(&again, value);
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
}

/// Folds, asks everything that is a function of the state, and folds again from what
/// storage gives back.
fn fold<P: Participant>(journal: &[Recorded<P::Event>]) -> P::State {
    let settings = Settings::default();
    let mut host = Host::<P>::default();
    for entry in journal {
        round_trip(entry);
        host.append(entry.event.clone(), entry.at);
        let mut keys: Vec<RowKey> = Vec::new();
        P::touched(&entry.event, &host.state, &mut keys);
        for row in keys.iter().filter_map(|key| P::row(&host.state, key)) {
            round_trip(&row);
            assert!(P::holds(&host.state, &row.key()));
            restores_as_it_was::<P>(&host.state, row);
        }
    }
    for order_id in P::order_ids(&host.state) {
        let _at = P::deadline(&host.state, order_id);
        let _call = P::owed_call(&host.state, &settings, order_id);
    }
    round_trip(&host.state);
    let folded = replay_equals_state::<P>(P::State::default(), host.entries(), &host.state);
    assert_eq!(folded, Ok(()));
    host.state
}

/// A row that leaves memory and comes back is as it was; products never leave.
fn restores_as_it_was<P: Participant>(state: &P::State, row: Row) {
    let key = row.key();
    if matches!(key, RowKey::Product(_)) {
        return;
    }
    let mut away = state.clone();
    P::forget(&mut away, &key);
    assert!(!P::holds(&away, &key));
    P::restore(&mut away, row);
    assert!(away == *state, "{key:?} came back changed");
}

proptest! {
    #[test]
    fn any_order_events(journal in recorded(any_order_event())) {
        let state = fold::<OrderParticipant>(&journal);
        ask_everything(&state, &InventoryState::default(), &PaymentState::default());
    }

    /// Nonsense does not lead a saga out of its table, nor change what has ended.
    #[test]
    fn a_saga_keeps_to_its_table(journal in recorded(any_order_event())) {
        let mut host = Host::<OrderParticipant>::default();
        let nonsense = |it: &Recorded<OrderEvent>| !matches!(it.event, OrderEvent::Recalled(_));
        for entry in journal.into_iter().filter(nonsense) {
            let before = host.state.clone();
            host.append(entry.event, entry.at);
            let (inventory, payment) = (InventoryState::default(), PaymentState::default());
            let earlier = World::of_states(&before, &inventory, &payment);
            let later = World::of_states(&host.state, &inventory, &payment);
            let mut found = check_transition(&earlier, &later);
            found.extend(check_all(&later, Phase::Commit));
            let of_steps = [Invariant::SagaStepsLegal, Invariant::TerminalIsFinal];
            found.retain(|violation| of_steps.contains(&violation.invariant));
            prop_assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn any_inventory_events(journal in recorded(any_inventory_event())) {
        let state = fold::<InventoryParticipant>(&journal);
        ask_everything(&OrderState::default(), &state, &PaymentState::default());
    }

    #[test]
    fn any_payment_events(journal in recorded(any_payment_event())) {
        let state = fold::<PaymentParticipant>(&journal);
        ask_everything(&OrderState::default(), &InventoryState::default(), &state);
        for payment in state.payments.values() {
            let _figures = (
                payment.status(),
                payment.refunded(),
                payment.refundable(),
                payment.is_given_back(),
                payment.is_settled(),
            );
        }
    }
}

/// The invariants say what they find in nonsense, and never panic over it.
fn ask_everything(order: &OrderState, inventory: &InventoryState, payment: &PaymentState) {
    let world = World::of_states(order, inventory, payment).complete();
    let now = Timestamp::MAX;
    for phase in [Phase::Commit, Phase::Quiescent { now }] {
        for violation in check_all(&world, phase) {
            assert!(!violation.to_string().is_empty());
        }
    }
}

/// A journal whose first entry is not the first, or that misses one, is found out.
#[test]
fn sequences_are_asked_for_exactly() {
    use a4co_core::invariants::{journal_contiguous, one_committer};
    let check = |after: u64, entries: &[u64], holds: bool| {
        let entries = entries.iter().copied().map(Sequence::new);
        let verdict = journal_contiguous(ParticipantId::Order, Sequence::new(after), entries);
        assert_eq!(verdict.is_ok(), holds, "{verdict:?}");
    };
    check(0, &[], true);
    check(0, &[1, 2, 3], true);
    check(7, &[8, 9], true);
    check(0, &[0], false);
    check(0, &[2], false);
    check(0, &[1, 1], false);
    check(0, &[1, 3], false);
    check(u64::MAX, &[0], false);

    let check = |epochs: &[u64], holds: bool| {
        let appends = (1..).map(Sequence::new).zip(epochs.iter().copied());
        let verdict = one_committer(ParticipantId::Order, appends);
        assert_eq!(verdict.is_ok(), holds, "{verdict:?}");
    };
    check(&[1, 1, 2, 2, 5], true);
    check(&[1, 2, 1], false);
}
