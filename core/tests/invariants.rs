//! Each invariant finds what it is for: a healthy world with one thing wrong in it gives
//! that violation, and no other.

mod common;

use a4co_core::ids::ParticipantId;
use a4co_core::invariants::{
    Books, Invariant, Phase, World, check_all, check_transition, leaked_units, unaccounted_minor,
};
use a4co_core::inventory::{Product, Reservation, ReservationStatus};
use a4co_core::order::{Order, SagaState};
use a4co_core::payment::{Payment, PaymentFailure, PaymentPhase, RefundStatus};
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;
use common::bag::Bag;
use common::{amount, new_order, order_id, product_id};

const CONFIRMED: u8 = 1;
const UNDONE: u8 = 2;
const SHORT: u8 = 3;
/// Its stock is held, and its charge not yet made.
const UNDER_WAY: u8 = 4;

/// One order of each kind.
fn healthy() -> Bag {
    let mut bag = Bag::new(Settings::default());
    bag.stock("apple", 5);
    bag.create(order_id(CONFIRMED), &new_order(&[("apple", 2)]));
    bag.heal();
    bag.create(order_id(UNDONE), &new_order(&[("apple", 1)]));
    while bag.payment.state.payment(order_id(UNDONE)).is_none() {
        bag.deliver(0, common::bag::Fault::None, false);
    }
    bag.call(order_id(UNDONE));
    bag.deliver(bag.messages.len() - 1, common::bag::Fault::None, false);
    bag.deliver(bag.messages.len() - 1, common::bag::Fault::None, false);
    bag.cancel(order_id(UNDONE));
    bag.heal();
    bag.create(order_id(SHORT), &new_order(&[("apple", 9)]));
    bag.heal();
    bag.assert_ended();
    bag.create(order_id(UNDER_WAY), &new_order(&[("apple", 3)]));
    while !bag.messages.is_empty() {
        bag.deliver(0, common::bag::Fault::None, false);
    }
    bag.assert_all(Phase::Commit);
    bag
}

fn order(bag: &mut Bag, number: u8) -> &mut Order {
    let order = bag.order.state.orders.get_mut(&order_id(number));
    order.expect("created")
}

fn held(bag: &mut Bag, number: u8) -> &mut Reservation {
    let held = bag.inventory.state.reservations.get_mut(&order_id(number));
    held.expect("reserved")
}

fn payment(bag: &mut Bag, number: u8) -> &mut Payment {
    let payment = bag.payment.state.payments.get_mut(&order_id(number));
    payment.expect("asked for")
}

fn apple(bag: &mut Bag) -> &mut Product {
    let products = &mut bag.inventory.state.products;
    products.get_mut(&product_id("apple")).expect("defined")
}

fn world(bag: &Bag) -> World<'_> {
    let (order, inventory) = (&bag.order.state, &bag.inventory.state);
    World::of_states(order, inventory, &bag.payment.state)
}

/// Breaks one thing, and names every invariant that notices.
#[track_caller]
fn check(phase: Phase, expected: &[Invariant], harm: impl Fn(&mut Bag)) {
    let mut bag = healthy();
    harm(&mut bag);
    let found = check_all(
        &world(&bag).complete().with_books(&bag.gateway.books),
        phase,
    );
    let mut named: Vec<_> = found.iter().map(|it| it.invariant).collect();
    named.dedup();
    assert_eq!(named, expected, "{found:#?}");
}

#[track_caller]
fn check_later(expected: &[Invariant], harm: impl Fn(&mut Bag)) {
    let before = healthy();
    let mut after = before.clone();
    harm(&mut after);
    let found = check_transition(&world(&before), &world(&after));
    let named: Vec<_> = found.iter().map(|it| it.invariant).collect();
    assert_eq!(named, expected, "{found:#?}");
}

#[test]
fn what_is_healthy_passes() {
    check(Phase::Commit, &[], |_| {});
    check_later(&[], |_| {});
    // Without the rows that have left memory, what is left is judged alone.
    let mut bag = healthy();
    for number in [CONFIRMED, UNDONE, SHORT] {
        bag.inventory.state.reservations.remove(&order_id(number));
        bag.payment.state.payments.remove(&order_id(number));
    }
    assert_eq!(check_all(&world(&bag), Phase::Commit), []);
    assert_ne!(check_all(&world(&bag).complete(), Phase::Commit), []);
}

#[test]
fn stock_conserved() {
    let expected = &[Invariant::StockConserved];
    check(Phase::Commit, expected, |bag| apple(bag).on_hand += 1);
    check(Phase::Commit, expected, |bag| apple(bag).sold -= 1);
    // A hold whose units were never put back, and one whose units were put back twice.
    check(Phase::Commit, expected, |bag| apple(bag).reserved -= 1);
    check(Phase::Commit, expected, |bag| {
        held(bag, UNDER_WAY).status = ReservationStatus::Released;
    });
    let mut bag = healthy();
    assert_eq!(leaked_units(apple(&mut bag)), 0);
    apple(&mut bag).received += 2;
    assert_eq!(leaked_units(apple(&mut bag)), -2);
}

#[test]
fn never_oversold() {
    let expected = &[Invariant::NeverOversold];
    check(Phase::Commit, expected, |bag| {
        // Three are held: written off below that, the books still balance.
        apple(bag).on_hand -= 1;
        apple(bag).received -= 1;
    });
}

#[test]
fn charged_at_most_once() {
    let expected = &[Invariant::ChargedAtMostOnce];
    check(Phase::Commit, expected, |bag| {
        let books: &mut Books = &mut bag.gateway.books;
        books.entry(order_id(CONFIRMED)).or_default().captures = 2;
    });
    check(Phase::Commit, expected, |bag| {
        let books: &mut Books = &mut bag.gateway.books;
        books.entry(order_id(CONFIRMED)).or_default().captured = amount(201);
    });
    check(Phase::Commit, expected, |bag| {
        let books: &mut Books = &mut bag.gateway.books;
        books.entry(order_id(SHORT)).or_default().captured = amount(1);
    });
}

#[test]
fn money_accounted() {
    let expected = &[Invariant::MoneyAccounted];
    // We claim what the gateway does not have.
    check(Phase::Commit, expected, |bag| bag.gateway.books.clear());
    // It gave back what nobody asked for.
    check(Phase::Commit, expected, |bag| {
        let books: &mut Books = &mut bag.gateway.books;
        books.entry(order_id(CONFIRMED)).or_default().refunded = amount(1);
    });
    // Captured, undone, and not on its way back.
    let lost = &[
        Invariant::CancelledImpliesNothingHeld,
        Invariant::MoneyAccounted,
    ];
    check(Phase::Commit, lost, |bag| {
        payment(bag, UNDONE).refunds.clear();
    });
    let mut bag = healthy();
    payment(&mut bag, UNDONE).refunds.clear();
    let undone = payment(&mut bag, UNDONE).clone();
    assert_eq!(
        unaccounted_minor(Some(order(&mut bag, UNDONE)), &undone),
        100
    );
}

#[test]
fn confirmed_implies_committed_and_paid() {
    let expected = &[Invariant::ConfirmedImpliesCommittedAndPaid];
    check(Phase::Commit, expected, |bag| {
        held(bag, CONFIRMED).status = ReservationStatus::Expired;
        apple(bag).sold -= 2;
        apple(bag).received -= 2;
    });
    check(Phase::Commit, expected, |bag| {
        payment(bag, CONFIRMED).phase = PaymentPhase::Cancelled;
        payment(bag, CONFIRMED).captured = amount(0);
    });
    check(Phase::Commit, expected, |bag| {
        bag.payment.state.payments.remove(&order_id(CONFIRMED));
        bag.gateway.books.remove(&order_id(CONFIRMED));
    });
    // Not paid, and by what reason is not said.
    let not_taken = |bag: &mut Bag, failure| {
        payment(bag, CONFIRMED).phase = PaymentPhase::CaptureFailed;
        payment(bag, CONFIRMED).captured = amount(0);
        payment(bag, CONFIRMED).failure = failure;
    };
    check(Phase::Commit, expected, |bag| not_taken(bag, None));
    check(Phase::Commit, &[], |bag| {
        let code = common::text("authorisation_expired");
        not_taken(bag, Some(PaymentFailure::CaptureRefused { code }));
    });
    // Sold for an order that is not about to be confirmed.
    check(Phase::Commit, expected, |bag| {
        held(bag, UNDER_WAY).status = ReservationStatus::Confirmed;
        apple(bag).reserved -= 3;
        apple(bag).on_hand -= 3;
        apple(bag).sold += 3;
    });
}

#[test]
fn cancelled_implies_nothing_held() {
    let expected = &[Invariant::CancelledImpliesNothingHeld];
    check(Phase::Commit, expected, |bag| {
        bag.inventory.state.reservations.remove(&order_id(UNDONE));
    });
    check(Phase::Commit, expected, |bag| {
        held(bag, UNDONE).status = ReservationStatus::Active;
        apple(bag).reserved += 1;
        apple(bag).on_hand += 1;
        apple(bag).received += 1;
    });
    check(Phase::Commit, expected, |bag| {
        payment(bag, UNDONE).phase = PaymentPhase::Charging;
        payment(bag, UNDONE).captured = amount(0);
        payment(bag, UNDONE).refunds.clear();
        bag.gateway.books.remove(&order_id(UNDONE));
    });
    check(Phase::Commit, expected, |bag| {
        let undo = order(bag, UNDONE).undo.as_mut();
        undo.expect("compensated").payment_owed = true;
    });
}

#[test]
fn no_hold_outlives_its_end() {
    let end = |bag: &mut Bag| held(bag, UNDER_WAY).expires_at;
    let end = end(&mut healthy());
    let early = Timestamp::from_unix_ms(end.unix_ms() - 1);
    check(Phase::TimersServed { now: early }, &[], |_| {});
    // Late is allowed until the timer has been served.
    check(Phase::Commit, &[], |_| {});
    let expected = &[Invariant::NoHoldOutlivesItsEnd];
    check(Phase::TimersServed { now: end }, expected, |_| {});
}

#[test]
fn saga_steps_legal() {
    let expected = &[Invariant::SagaStepsLegal];
    check(Phase::Commit, expected, |bag| {
        order(bag, CONFIRMED).history.remove(1);
    });
    check(Phase::Commit, expected, |bag| {
        order(bag, UNDONE).status = a4co_core::order::OrderStatus::Confirmed;
    });
    check(Phase::Commit, expected, |bag| {
        order(bag, UNDONE).parked = true;
    });
    check(Phase::Commit, expected, |bag| {
        order(bag, UNDER_WAY).saga = SagaState::InventoryReserved;
    });
}

#[test]
fn every_saga_ends() {
    let now = Timestamp::UNIX_EPOCH;
    let expected = &[Invariant::EverySagaEnds];
    check(Phase::Quiescent { now }, expected, |_| {});
}

#[test]
fn terminal_is_final() {
    let expected = &[Invariant::TerminalIsFinal];
    check_later(expected, |bag| order(bag, SHORT).saga = SagaState::Started);
    check_later(expected, |bag| {
        order(bag, CONFIRMED).updated_at = Timestamp::UNIX_EPOCH;
    });
    check_later(expected, |bag| {
        held(bag, UNDONE).status = ReservationStatus::Confirmed;
    });
    check_later(expected, |bag| {
        payment(bag, CONFIRMED).captured = amount(0);
    });
    check_later(expected, |bag| {
        payment(bag, UNDONE).refunds[0].status = RefundStatus::Pending;
    });
    // Brought back into memory, it is the same at a later place of the journal.
    check_later(&[], |bag| {
        order(bag, CONFIRMED).version = a4co_core::ids::Sequence::new(99);
    });
}

#[test]
fn same_key_same_answer() {
    let mut before = healthy();
    let record = common::facts::answer(ParticipantId::Order);
    let key = record.key.clone();
    let answers = &mut before.order.state.answers;
    answers.insert(key.clone(), Box::new(record));
    let mut after = before.clone();
    assert_eq!(check_transition(&world(&before), &world(&after)), []);
    let kept = after.order.state.answers.get_mut(&key).expect("kept");
    kept.fingerprint = a4co_core::ids::Fingerprint::of(b"another");
    let found = check_transition(&world(&before), &world(&after));
    let named: Vec<_> = found.iter().map(|it| it.invariant).collect();
    assert_eq!(named, [Invariant::SameKeySameAnswer]);
}
