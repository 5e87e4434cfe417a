//! Every step of the saga in four ways: repeat it, fail it, fail it and repeat its undo,
//! lose its answer.
//!
//! A step is a message that somebody acts on: a fact to one reader, or a call to the
//! gateway. In each way the rest of the saga then runs to its end, every invariant is
//! asked after every message, and the outcome is compared.

mod common;

use a4co_core::decider::Participant;
use a4co_core::gateway::GatewayOperation;
use a4co_core::ids::ParticipantId;
use a4co_core::invariants::Phase;
use a4co_core::order::SagaState;
use a4co_core::payment::{PaymentParticipant, PaymentStatus};
use a4co_core::settings::Settings;
use common::bag::{Bag, Fault, Message};
use common::gateway::Plan;
use common::{new_order, order_id};

closed!(
    /// The steps of a saga, undo included, by what is done in each.
    Step {
        Reserve,
        /// As `Reserve`; where it fails, it is for having come too late.
        ReserveLate,
        HearReserved,
        StartPayment,
        ExtendHold,
        Charge,
        HearPaid,
        Commit,
        HearCommitted,
        // The undo of an order that is cancelled after its money was captured.
        Release,
        HearReleased,
        StartRefund,
        Refund,
        HearRefunded,
        // The undo of a charge that is not through yet.
        StartCancel,
        CancelCharge,
        HearCancelled,
    }
);

/// How an order goes on when nothing disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Completed,
    /// Cancelled when the money was captured and the order had not heard of it.
    UndonePaid,
    /// Cancelled while the charge's outcome was unknown.
    UndoneCharging,
}

impl Step {
    fn story(self) -> Story {
        match self {
            Self::Reserve
            | Self::ReserveLate
            | Self::HearReserved
            | Self::StartPayment
            | Self::ExtendHold
            | Self::Charge
            | Self::HearPaid
            | Self::Commit
            | Self::HearCommitted => Story::Completed,
            Self::Release
            | Self::HearReleased
            | Self::StartRefund
            | Self::Refund
            | Self::HearRefunded => Story::UndonePaid,
            Self::StartCancel | Self::CancelCharge | Self::HearCancelled => Story::UndoneCharging,
        }
    }

    /// Whether this message, the first such one, is the step.
    fn is(self, message: &Message, bag: &Bag) -> bool {
        use ParticipantId::{Inventory, Order, Payment};
        match message {
            Message::Fact { from, to, index } => {
                let name = match from {
                    Order => bag.order.journal[*index].event.name(),
                    Inventory => bag.inventory.journal[*index].event.name(),
                    Payment => bag.payment.journal[*index].event.name(),
                };
                matches!(
                    (self, name, to),
                    (Self::Reserve | Self::ReserveLate, "OrderCreated", Inventory)
                        | (Self::HearReserved, "InventoryReserved", Order)
                        | (Self::StartPayment, "PaymentRequested", Payment)
                        | (Self::ExtendHold, "PaymentRequested", Inventory)
                        | (Self::HearPaid, "PaymentSucceeded", Order)
                        | (Self::Commit, "CommitRequested", Inventory)
                        | (Self::HearCommitted, "InventoryCommitted", Order)
                        | (Self::Release, "CompensationRequested", Inventory)
                        | (Self::HearReleased, "InventoryReleased", Order)
                        | (Self::StartRefund, "CompensationRequested", Payment)
                        | (Self::StartCancel, "CompensationRequested", Payment)
                        | (Self::HearRefunded, "PaymentRefunded", Order)
                        | (Self::HearCancelled, "PaymentCancelled", Order)
                )
            }
            Message::Call { call, .. } => matches!(
                (self, call.operation),
                (Self::Charge, GatewayOperation::Charge)
                    | (Self::CancelCharge, GatewayOperation::Cancel)
                    | (Self::Refund, GatewayOperation::Refund { .. })
            ),
            Message::Outcome { .. } => false,
        }
    }

    /// Whether the orchestrator asks for it, and waits for the answer.
    fn is_asked_of_participant(self) -> bool {
        matches!(
            self,
            Self::Reserve | Self::ReserveLate | Self::Commit | Self::Release
        )
    }

    /// Whether it can be answered with a refusal.
    fn is_refused(self) -> bool {
        matches!(self, Self::Reserve | Self::Charge | Self::Refund)
    }

    fn is_call(self) -> bool {
        matches!(self, Self::Charge | Self::CancelCharge | Self::Refund)
    }
}

/// The four ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Repeat,
    Fail,
    FailAndRepeatUndo,
    LoseAnswer,
}

/// Runs a step's story and disturbs that one step.
fn play(step: Step, way: Way) -> Bag {
    let mut bag = Bag::new(Settings::default());
    bag.stock("apple", 5);
    let story = step.story();
    let fails = matches!(way, Way::Fail | Way::FailAndRepeatUndo);
    if fails {
        prepare_failure(step, &mut bag);
    }
    bag.create(order_id(1), &new_order(&[("apple", 3)]));
    let mut is_disturbed = false;
    let mut is_cancelled = false;
    for _ in 0..200 {
        if !is_cancelled && wants_cancel(story, &bag) {
            bag.cancel(order_id(1));
            is_cancelled = true;
        }
        if bag.messages.is_empty() {
            bag.call(order_id(1));
        }
        let (here, undo) = (next(step, &bag), fails.then(|| next_undo(&bag)).flatten());
        let before = bag.clone();
        match (here, undo) {
            (Some(index), _) if !is_disturbed => {
                is_disturbed = true;
                disturb(step, way, index, &mut bag);
            }
            (_, Some(index)) if way == Way::FailAndRepeatUndo => {
                bag.deliver(index, Fault::None, true);
                bag.deliver(index, Fault::None, true);
                bag.deliver(index, Fault::None, false);
            }
            _ => bag.deliver(0, first_fault(story, &bag), false),
        }
        bag.assert_step(&before);
        if bag.messages.is_empty() && !owes_call(&bag) {
            break;
        }
    }
    assert!(is_disturbed, "{step:?} never came");
    bag.heal();
    bag.assert_ended();
    bag
}

/// Arranges that the step cannot succeed.
fn prepare_failure(step: Step, bag: &mut Bag) {
    match step {
        Step::Reserve => bag.write_off("apple"),
        Step::Charge => {
            bag.gateway.plans.insert(order_id(1), Plan::Decline);
        }
        // The gateway refuses this refund a few times more than it takes to be parked.
        Step::Refund => bag.refusals = 10,
        _ => {}
    }
}

fn disturb(step: Step, way: Way, index: usize, bag: &mut Bag) {
    match way {
        Way::Repeat => {
            bag.deliver(index, Fault::None, true);
            bag.deliver(index, Fault::None, true);
            bag.deliver(index, Fault::None, false);
        }
        Way::LoseAnswer if step.is_call() => bag.deliver(index, Fault::AnswerLost, false),
        // A participant that is asked again answers again.
        Way::LoseAnswer if step.is_asked_of_participant() => {
            let known = bag.messages.len();
            bag.deliver(index, Fault::None, true);
            bag.messages.truncate(known);
            bag.deliver(index, Fault::None, false);
        }
        // The orchestrator's journal loses nothing. But that it has read this far may be
        // lost, so that it reads again, and what it says comes late and twice.
        Way::LoseAnswer => {
            let known = bag.messages.len();
            bag.deliver(index, Fault::None, true);
            let said = bag.messages.split_off(known);
            bag.deliver(index, Fault::None, false);
            bag.messages
                .extend(said.iter().cloned().chain(said.clone()));
        }
        // It is refused, or a call is not carried out, or a fact comes when its time is over.
        Way::Fail | Way::FailAndRepeatUndo if step.is_refused() => {
            bag.deliver(index, Fault::None, false);
        }
        Way::Fail | Way::FailAndRepeatUndo if step.is_call() => {
            bag.deliver(index, Fault::CallLost, false);
        }
        Way::Fail | Way::FailAndRepeatUndo => {
            let late = bag.messages.remove(index);
            bag.now_ms += 600_000;
            bag.timer(ParticipantId::Order, order_id(1));
            bag.messages.push(late);
        }
    }
}

fn next(step: Step, bag: &Bag) -> Option<usize> {
    let mut messages = bag.messages.iter();
    messages.position(|message| step.is(message, bag))
}

fn next_undo(bag: &Bag) -> Option<usize> {
    let undo = [
        Step::Release,
        Step::StartRefund,
        Step::Refund,
        Step::CancelCharge,
    ];
    undo.into_iter().find_map(|step| next(step, bag))
}

/// In the story of the charge that is not through, nobody hears of it at first.
fn first_fault(story: Story, bag: &Bag) -> Fault {
    let is_charge = matches!(
        bag.messages.first(),
        Some(Message::Call { call, .. }) if call.operation == GatewayOperation::Charge
    );
    if story == Story::UndoneCharging && is_charge {
        Fault::CallLost
    } else {
        Fault::None
    }
}

fn wants_cancel(story: Story, bag: &Bag) -> bool {
    let id = order_id(1);
    let is_asked = bag
        .order
        .state
        .order(id)
        .is_some_and(|order| order.saga == SagaState::PaymentProcessing);
    let payment = bag.payment.state.payment(id);
    match story {
        Story::Completed => false,
        Story::UndonePaid => {
            is_asked && payment.is_some_and(|it| it.status() == PaymentStatus::Succeeded)
        }
        Story::UndoneCharging => is_asked && payment.is_some_and(|it| it.attempts > 0),
    }
}

fn owes_call(bag: &Bag) -> bool {
    let settings = &bag.payment.settings;
    PaymentParticipant::owed_call(&bag.payment.state, settings, order_id(1)).is_some()
}

#[track_caller]
fn check(step: Step, way: Way, saga: SagaState, payment: Option<PaymentStatus>) {
    let bag = play(step, way);
    let order = bag.order.state.order(order_id(1)).expect("created");
    assert_eq!(order.saga, saga, "{step:?}, {way:?}");
    let present = bag.payment.state.payment(order_id(1));
    let status = present.map(a4co_core::payment::Payment::status);
    assert_eq!(status, payment, "{step:?}, {way:?}");
    bag.assert_all(Phase::Quiescent { now: bag.now() });
}

/// To repeat a step, or to lose its answer, changes nothing about how the story ends.
#[test]
fn repeated_or_unanswered_it_ends_the_same() {
    for way in [Way::Repeat, Way::LoseAnswer] {
        for step in Step::ALL.iter().copied() {
            let (saga, payment) = match step.story() {
                Story::Completed => (SagaState::Completed, PaymentStatus::Succeeded),
                Story::UndonePaid => (SagaState::Compensated, PaymentStatus::Refunded),
                Story::UndoneCharging => (SagaState::Compensated, PaymentStatus::Cancelled),
            };
            check(step, way, saga, Some(payment));
        }
    }
}

/// A step that fails, or comes when its time is over, ends in an undo of everything; and
/// to repeat that undo changes nothing.
#[test]
fn failed_it_is_undone_however_often() {
    use PaymentStatus as P;
    use SagaState as S;
    for way in [Way::Fail, Way::FailAndRepeatUndo] {
        let check = |step, saga, payment| check(step, way, saga, payment);
        check(Step::Reserve, S::Failed, None);
        check(Step::HearReserved, S::Compensated, None);
        // The undo overtakes the request: a tombstone.
        check(Step::ReserveLate, S::Compensated, None);
        check(Step::StartPayment, S::Compensated, Some(P::Cancelled));
        check(Step::ExtendHold, S::Compensated, Some(P::Cancelled));
        check(Step::Charge, S::Compensated, Some(P::Failed));
        check(Step::HearPaid, S::Compensated, Some(P::Refunded));
        // Once paid, nobody gives up: late is late, and then complete.
        check(Step::Commit, S::Completed, Some(P::Succeeded));
        check(Step::HearCommitted, S::Completed, Some(P::Succeeded));
        // An undo that fails is not given up.
        for step in [
            Step::Release,
            Step::HearReleased,
            Step::StartRefund,
            Step::Refund,
            Step::HearRefunded,
        ] {
            check(step, S::Compensated, Some(P::Refunded));
        }
        for step in [Step::StartCancel, Step::CancelCharge, Step::HearCancelled] {
            check(step, S::Compensated, Some(P::Cancelled));
        }
    }
}
