//! The payment decider: every state, every input.

#[path = "../common/mod.rs"]
mod common;
mod states;

use a4co_core::decider::{Fact, Input};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::order::{CancelReason, OrderEvent, UndoPart};
use a4co_core::payment::{PaymentCommand, PaymentEvent, PaymentFailure};
use a4co_core::rejection::Rejection;
use common::facts::{
    CHARGE_END_MS, ID, TOTAL_MINOR, acknowledged, compensation, inventory_event, order_created,
    order_event, payment_requested, payment_succeeded, refunded,
};
use common::table::{Table, render};
use common::{T0, after, amount, new_order, order_id, reference, text};
use states::{State, host};

/// What can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Fact(Told),
    Refund(Wish),
    Retry,
    WriteOff,
    Early,
    Deadline,
    Late,
    Inventory,
    OwnEvent,
    Gateway(Called, Said),
}

closed!(
    /// What the order says.
    Told {
        OrderCreated,
        PaymentRequested,
        PaymentRequestedFree,
        UndoPayment,
        UndoBoth,
        UndoStock,
        RetryRequested,
        CommitRequested,
        OrderConfirmed,
        OrderFailed,
        StockUndone,
        PaymentUndone,
        SagaParked,
        OrderCancelled,
        Answered,
    }
);

closed!(
    /// How much an operator wants back: all that is left, or so many cents.
    Wish { Nothing, LessThanNothing, One, ThreeEuros, MoreThanThree, All }
);

closed!(
    /// What had been called, if anything had.
    Called { Nothing, Charge, Query, Cancel, Capture, FirstRefund, SecondRefund }
);

closed!(
    /// What came of it.
    Said {
        Succeeded,
        Rejected,
        Pending,
        NotFound,
        Cancelled,
        Refunded,
        Unknown,
        Authorised,
        ActionRequired,
    }
);

fn inputs() -> Vec<On> {
    let mut inputs = vec![
        On::Retry,
        On::WriteOff,
        On::Early,
        On::Deadline,
        On::Late,
        On::Inventory,
        On::OwnEvent,
    ];
    inputs.extend(Told::ALL.iter().map(|told| On::Fact(*told)));
    inputs.extend(Wish::ALL.iter().map(|wish| On::Refund(*wish)));
    for called in Called::ALL {
        inputs.extend(Said::ALL.iter().map(|said| On::Gateway(*called, *said)));
    }
    inputs
}

fn decide(state: State, on: On) -> String {
    let host = host(state);
    let id = order_id(ID);
    let deadline = |ms| show(host.decide(Input::Deadline(id), after(ms)));
    match on {
        On::Fact(told) => {
            let event = told_event(told);
            show(host.decide(Input::Upstream(Fact::Order(&event)), T0))
        }
        On::Refund(wish) => {
            let minor = match wish {
                Wish::Nothing => Some(0),
                Wish::LessThanNothing => Some(-1),
                Wish::One => Some(1),
                Wish::ThreeEuros => Some(300),
                Wish::MoreThanThree => Some(301),
                Wish::All => None,
            };
            let command = PaymentCommand::Refund {
                order_id: id,
                amount: minor.map(amount),
                idempotency: None,
            };
            show(host.decide(Input::Command(&command), T0))
        }
        On::Retry => {
            let command = PaymentCommand::Retry {
                order_id: id,
                idempotency: None,
            };
            show(host.decide(Input::Command(&command), T0))
        }
        On::WriteOff => {
            let command = PaymentCommand::WriteOff {
                order_id: id,
                idempotency: None,
            };
            show(host.decide(Input::Command(&command), T0))
        }
        On::Early => deadline(CHARGE_END_MS - 1),
        On::Deadline => deadline(CHARGE_END_MS),
        On::Late => deadline(2 * CHARGE_END_MS),
        On::Inventory => {
            let event = inventory_event("Expired");
            show(host.decide(Input::Upstream(Fact::Inventory(&event)), T0))
        }
        On::OwnEvent => {
            let event = payment_succeeded();
            show(host.decide(Input::Upstream(Fact::Payment(&event)), T0))
        }
        On::Gateway(called, said) => {
            let operation = operation(called);
            let outcome = &outcome(said);
            let input = Input::Gateway {
                order_id: id,
                operation,
                outcome,
            };
            let decided = show(host.decide(input, T0));
            // A webhook says the same, as a command; and of what is unknown it is told so.
            let refund = match operation {
                None => Some(None),
                Some(GatewayOperation::Refund { number }) => Some(Some(number)),
                Some(_) => None,
            };
            if let Some(refund) = refund {
                let command = PaymentCommand::Report {
                    order_id: id,
                    refund,
                    outcome: outcome.clone(),
                };
                let reported = show(host.decide(Input::Command(&command), T0));
                if state == State::Unknown {
                    assert_eq!(reported, "refused: PaymentNotFound");
                } else {
                    assert_eq!(reported, decided, "{state:?} {on:?}");
                }
            }
            decided
        }
    }
}

fn told_event(told: Told) -> OrderEvent {
    let undo = |stock, payment| compensation(CancelReason::SagaTimedOut, stock, payment);
    match told {
        Told::OrderCreated => order_created(new_order(&[("apple", 3)])),
        Told::PaymentRequested => payment_requested(TOTAL_MINOR),
        Told::PaymentRequestedFree => payment_requested(0),
        Told::UndoPayment => undo(false, true),
        Told::UndoBoth => undo(true, true),
        Told::UndoStock => undo(true, false),
        Told::StockUndone => acknowledged(UndoPart::Stock),
        Told::PaymentUndone => acknowledged(UndoPart::Payment),
        other => order_event(&format!("{other:?}")),
    }
}

fn operation(called: Called) -> Option<GatewayOperation> {
    Some(match called {
        Called::Nothing => return None,
        Called::Charge => GatewayOperation::Charge,
        Called::Query => GatewayOperation::Query,
        Called::Cancel => GatewayOperation::Cancel,
        Called::Capture => GatewayOperation::Capture,
        Called::FirstRefund => GatewayOperation::Refund { number: 1 },
        Called::SecondRefund => GatewayOperation::Refund { number: 2 },
    })
}

fn outcome(said: Said) -> GatewayOutcome {
    match said {
        Said::Succeeded => GatewayOutcome::Succeeded {
            reference: reference("charge"),
        },
        Said::Rejected => GatewayOutcome::Rejected { code: text("no") },
        Said::Pending => GatewayOutcome::Pending,
        Said::NotFound => GatewayOutcome::NotFound,
        Said::Cancelled => GatewayOutcome::Cancelled,
        Said::Refunded => GatewayOutcome::Refunded {
            reference: reference("refund"),
        },
        Said::Unknown => GatewayOutcome::Unknown {
            detail: text("timeout"),
        },
        Said::Authorised => GatewayOutcome::Authorised {
            reference: reference("charge"),
        },
        Said::ActionRequired => GatewayOutcome::ActionRequired {
            reference: reference("charge"),
        },
    }
}

fn show(decision: Result<Vec<PaymentEvent>, Rejection>) -> String {
    render(decision, |event| match event {
        PaymentEvent::PaymentProcessing { .. } => "processing".into(),
        PaymentEvent::PaymentAttempted { attempts, .. } => format!("tried {attempts}"),
        PaymentEvent::PaymentSucceeded { .. } => "succeeded".into(),
        PaymentEvent::PaymentFailed { failure, .. } => match failure {
            PaymentFailure::Declined { code } => format!("failed: {code}"),
            other => format!("failed: {other:?}"),
        },
        PaymentEvent::PaymentCancelRequested { .. } => "give up".into(),
        PaymentEvent::PaymentUndoRequested { .. } => "undo".into(),
        PaymentEvent::PaymentCancelled {
            failure,
            forestalled,
            ..
        } => match forestalled {
            Some(_) => format!("forestalled: {failure:?}"),
            None => format!("cancelled: {failure:?}"),
        },
        PaymentEvent::PaymentCapturedLate { .. } => "captured late".into(),
        PaymentEvent::RefundRequested {
            number,
            amount,
            origin,
            ..
        } => format!("owe {origin:?} refund {number} of {}", amount.minor()),
        PaymentEvent::PaymentRefunded {
            number,
            nothing_left,
            ..
        } => match nothing_left {
            true => format!("refunded {number}, nothing left"),
            false => format!("refunded {number}"),
        },
        PaymentEvent::RefundFailed { number, .. } => format!("refund {number} failed"),
        PaymentEvent::PaymentParked { .. } => "parked".into(),
        PaymentEvent::PaymentRetried { .. } => "retried".into(),
        PaymentEvent::PaymentCaptureFailed { code, .. } => format!("not taken: {code}"),
        PaymentEvent::PaymentWrittenOff { .. } => "written off".into(),
        other => other.name().into(),
    })
}

fn gateway(called: &[Called], said: &[Said]) -> Vec<On> {
    let pairs = called.iter().flat_map(|called| {
        let called = *called;
        said.iter().map(move |said| On::Gateway(called, *said))
    });
    pairs.collect()
}

/// Everything that is called about the charge, and the gateway's own reports.
const ABOUT_CHARGE: &[Called] = &[
    Called::Nothing,
    Called::Charge,
    Called::Query,
    Called::Cancel,
    Called::Capture,
];
/// Nothing definite; a refund is no answer to a question about the charge either.
const OPEN_ENDED: &[Said] = &[Said::Pending, Said::NotFound, Said::Refunded, Said::Unknown];

type Payments = Table<State, On>;

#[test]
fn every_state_on_every_input() {
    let mut table = Table::new(State::ALL, inputs(), decide);
    what_the_order_says(&mut table);
    what_an_operator_wants(&mut table);
    what_the_gateway_says_of_a_charge(&mut table);
    what_the_gateway_says_of_a_refund(&mut table);
    what_comes_of_an_authorisation(&mut table);
    use State as S;
    table.check(
        &[S::Charging, S::Asking, S::AwaitsCustomer],
        &[On::Deadline, On::Late],
        "give up",
    );
    table.the_rest_decides_nothing();
}

fn what_the_order_says(table: &mut Payments) {
    use State as S;
    let asked = [
        On::Fact(Told::PaymentRequested),
        On::Fact(Told::PaymentRequestedFree),
    ];
    table.check(&[S::Unknown], &asked[..1], "processing");
    table.check(&[S::Unknown], &asked[1..], "processing + succeeded");
    // Asked again, it answers again; and once it is undone it only says so.
    let paid = [
        S::Captured,
        S::CapturedFree,
        S::PartOwed,
        S::PartRefunded,
        S::PartRefused,
        S::AllRefunded,
    ];
    table.check(&paid, &asked, "succeeded");
    table.check(&[S::Undone], &asked, "refunded 1, nothing left");
    table.check(&[S::Declined], &asked, "failed: card_declined");
    table.check(&[S::TimedOut], &asked, "cancelled: TimedOut");
    table.check(&[S::Tombstone], &asked, "cancelled: Undone");

    let undo = [On::Fact(Told::UndoPayment), On::Fact(Told::UndoBoth)];
    table.check(&[S::Unknown], &undo, "forestalled: Undone");
    let under_way = [
        S::Charging,
        S::Asking,
        S::AwaitsCustomer,
        S::Cancelling,
        S::CancellingParked,
        S::Authorised,
        S::Capturing,
        S::CapturingParked,
    ];
    table.check(&under_way, &undo, "undo");
    let whole = "undo + owe Compensation refund 1 of 300";
    table.check(&[S::Captured], &undo, whole);
    table.check(&[S::CapturedFree], &undo, "cancelled: Undone");
    // What an operator gives back is not given back twice.
    let rest = "undo + owe Compensation refund 2 of 200";
    table.check(&[S::PartOwed, S::PartRefunded], &undo, rest);
    let all_of_it = "undo + owe Compensation refund 2 of 300";
    table.check(&[S::PartRefused], &undo, all_of_it);
    table.check(
        &[S::AllRefunded, S::Undone],
        &undo,
        "refunded 1, nothing left",
    );
    table.check(&[S::Declined], &undo, "failed: card_declined");
    table.check(&[S::TimedOut], &undo, "cancelled: TimedOut");
    table.check(&[S::Tombstone], &undo, "cancelled: Undone");

    table.check(
        &[
            S::CancellingParked,
            S::UndoneParked,
            S::CapturingParked,
            S::CaptureFailed,
        ],
        &[On::Fact(Told::RetryRequested), On::Retry],
        "retried",
    );
}

fn what_an_operator_wants(table: &mut Payments) {
    use State as S;
    let all: Vec<_> = Wish::ALL.iter().map(|wish| On::Refund(*wish)).collect();
    let everything = [all.as_slice(), &[On::Retry, On::WriteOff]].concat();
    table.check(&[S::Unknown], &everything, "refused: PaymentNotFound");
    let mut not_parked = State::ALL.to_vec();
    not_parked.retain(|state| {
        let is_parked = format!("{state:?}").ends_with("Parked") || *state == S::CaptureFailed;
        *state != S::Unknown && !is_parked
    });
    table.check(&not_parked, &[On::Retry], "refused: PaymentNotParked");
    let mut others = State::ALL.to_vec();
    others.retain(|state| !matches!(state, S::Unknown | S::CaptureFailed | S::WrittenOff));
    table.check(&others, &[On::WriteOff], "refused: NothingToWriteOff");
    table.check(&[S::CaptureFailed], &[On::WriteOff], "written off");
    let not_refundable = [
        S::Charging,
        S::Asking,
        S::Cancelling,
        S::CancellingParked,
        S::CancellingUndone,
        S::CapturedFree,
        S::AllRefunded,
        S::UndoneOwed,
        S::UndoneParked,
        S::PartOwedUndone,
        S::Undone,
        S::Declined,
        S::TimedOut,
        S::Tombstone,
        S::CapturedLate,
        S::AwaitsCustomer,
        S::Authorised,
        S::Capturing,
        S::CapturingParked,
        S::CaptureFailed,
        S::WrittenOff,
    ];
    table.check(&not_refundable, &all, "refused: PaymentNotRefundable");

    let refundable = [S::Captured, S::PartOwed, S::PartRefunded, S::PartRefused];
    let never = [Wish::Nothing, Wish::LessThanNothing, Wish::MoreThanThree].map(On::Refund);
    table.check(&refundable, &never, "refused: RefundExceedsCharge");
    let one = [On::Refund(Wish::One)];
    table.check(&[S::Captured], &one, "owe Operator refund 1 of 1");
    table.check(&refundable[1..], &one, "owe Operator refund 2 of 1");
    let whole = [Wish::ThreeEuros, Wish::All].map(On::Refund);
    table.check(&[S::Captured], &whole, "owe Operator refund 1 of 300");
    table.check(&[S::PartRefused], &whole, "owe Operator refund 2 of 300");
    let some_is_gone = [S::PartOwed, S::PartRefunded];
    table.check(&some_is_gone, &whole[..1], "refused: RefundExceedsCharge");
    table.check(&some_is_gone, &whole[1..], "owe Operator refund 2 of 200");
}

fn what_the_gateway_says_of_a_charge(table: &mut Payments) {
    use State as S;
    let open = [
        S::Charging,
        S::Asking,
        S::AwaitsCustomer,
        S::Cancelling,
        S::CancellingParked,
        S::CancellingUndone,
    ];
    let success = gateway(ABOUT_CHARGE, &[Said::Succeeded]);
    table.check(&open[..5], &success, "succeeded");
    let late = "captured late + owe Compensation refund 1 of 300";
    table.check(
        &[S::CancellingUndone, S::Declined, S::TimedOut],
        &success,
        late,
    );
    table.check(
        &open,
        &gateway(ABOUT_CHARGE, &[Said::Rejected]),
        "failed: no",
    );
    let cancelled = gateway(ABOUT_CHARGE, &[Said::Cancelled]);
    table.check(&open[..3], &cancelled, "failed: cancelled_at_gateway");
    table.check(&open[3..5], &cancelled, "cancelled: TimedOut");
    table.check(&[S::CancellingUndone], &cancelled, "cancelled: Undone");

    // Nothing definite: the call that is owed is tried again, and no other.
    let charge = |said: &[Said]| gateway(&[Called::Charge], said);
    table.check(&[S::Charging], &charge(&[Said::Pending]), "tried 3");
    table.check(&[S::Charging], &charge(&OPEN_ENDED[1..]), "tried 1");
    let query = |said: &[Said]| gateway(&[Called::Query], said);
    let not_found = query(&[Said::NotFound]);
    let asking = [S::Asking, S::AwaitsCustomer];
    table.check(&asking, &not_found, "tried 0");
    let no_word = query(&[Said::Pending, Said::Refunded, Said::Unknown]);
    table.check(&asking, &no_word, "tried 4");
    let mut cancel = gateway(&[Called::Cancel], OPEN_ENDED);
    cancel.extend(gateway(
        &[Called::Cancel],
        &[Said::Authorised, Said::ActionRequired],
    ));
    table.check(&[S::Cancelling, S::CancellingUndone], &cancel, "tried 1");
    table.check(&[S::CancellingParked], &cancel, "tried 9");
}

fn what_comes_of_an_authorisation(table: &mut Payments) {
    use State as S;
    // The customer has to do something: said once, and asked for from then on.
    let act = |called: &[Called]| gateway(called, &[Said::ActionRequired]);
    let first = "PaymentActionRequired";
    let others = [Called::Nothing, Called::Cancel, Called::Capture];
    table.check(&[S::Charging, S::Asking], &act(&others), first);
    table.check(&[S::Charging], &act(&[Called::Query]), first);
    table.check(&[S::Asking], &act(&[Called::Charge]), first);
    let tried = "PaymentActionRequired + tried 3";
    table.check(&[S::Charging], &act(&[Called::Charge]), tried);
    let tried = "PaymentActionRequired + tried 4";
    table.check(&[S::Asking], &act(&[Called::Query]), tried);
    table.check(&[S::AwaitsCustomer], &act(&[Called::Query]), "tried 4");

    let open = [S::Charging, S::Asking, S::AwaitsCustomer];
    let set_aside = gateway(ABOUT_CHARGE, &[Said::Authorised]);
    table.check(&open, &set_aside, "PaymentAuthorised");

    // Asked again, it answers again; it is taken once the order is confirmed.
    let secured = [
        S::Authorised,
        S::Capturing,
        S::CapturingParked,
        S::CaptureFailed,
        S::WrittenOff,
    ];
    let asked = [Told::PaymentRequested, Told::PaymentRequestedFree].map(On::Fact);
    table.check(&secured, &asked, "PaymentAuthorised");
    let confirmed = [On::Fact(Told::OrderConfirmed)];
    table.check(&[S::Authorised], &confirmed, "PaymentCaptureRequested");
    // Also after all: by somebody at the gateway's own pages.
    let taken = gateway(ABOUT_CHARGE, &[Said::Succeeded]);
    table.check(&secured, &taken, "succeeded");
    let nothing_definite = [
        Said::Pending,
        Said::NotFound,
        Said::Refunded,
        Said::Unknown,
        Said::Authorised,
        Said::ActionRequired,
    ];
    let not_taken = gateway(&[Called::Capture], &nothing_definite);
    table.check(&[S::Capturing], &not_taken, "tried 1");
    table.check(&[S::CapturingParked], &not_taken, "tried 9");
    // Refused for good, which the order's end does not wait for: said, and left to a person.
    let capturing = [S::Capturing, S::CapturingParked];
    let refused = gateway(&[Called::Capture], &[Said::Rejected]);
    table.check(&capturing, &refused, "not taken: no");
    let let_go = gateway(ABOUT_CHARGE, &[Said::Cancelled]);
    table.check(&capturing, &let_go, "not taken: cancelled_at_gateway");
}

fn what_the_gateway_says_of_a_refund(table: &mut Payments) {
    use State as S;
    let first = |said: &[Said]| gateway(&[Called::FirstRefund], said);
    let done = first(&[Said::Refunded]);
    table.check(&[S::PartOwed, S::PartOwedUndone], &done, "refunded 1");
    let whole = [S::UndoneOwed, S::UndoneParked, S::CapturedLate];
    table.check(&whole, &done, "refunded 1, nothing left");

    // To an operator a refusal is an answer; the saga goes on until it succeeds.
    let refused = first(&[Said::Rejected]);
    table.check(&[S::PartOwed], &refused, "refund 1 failed");
    table.check(
        &[S::PartOwedUndone],
        &refused,
        "refund 1 failed + owe Compensation refund 3 of 100",
    );
    let anything_else = [
        Said::Succeeded,
        Said::Pending,
        Said::NotFound,
        Said::Cancelled,
        Said::Unknown,
        Said::Authorised,
        Said::ActionRequired,
    ];
    let owed = [S::PartOwed, S::PartOwedUndone];
    table.check(&owed, &first(&anything_else), "tried 1");
    table.check(&[S::UndoneOwed, S::CapturedLate], &refused, "tried 1");
    table.check(
        &[S::UndoneOwed, S::CapturedLate],
        &first(&anything_else),
        "tried 1",
    );
    table.check(&[S::UndoneParked], &refused, "tried 9");
    table.check(&[S::UndoneParked], &first(&anything_else), "tried 9");
}

/// What keeps failing is parked at its bound and shown once; it goes on being tried.
#[test]
fn what_keeps_failing_is_parked_once() {
    let mut host = host(State::Cancelling);
    let bound = host.settings.park_after_attempts;
    for tried in 1..=bound + 2 {
        let input = Input::Gateway {
            order_id: order_id(ID),
            operation: Some(GatewayOperation::Cancel),
            outcome: &outcome(Said::Unknown),
        };
        let decided = show(host.handle(input, T0));
        let parks = if tried == bound { " + parked" } else { "" };
        assert_eq!(decided, format!("tried {tried}{parks}"));
    }
    let payment = host.state.payment(order_id(ID)).expect("known");
    let wait = payment.due_at.checked_since(T0);
    assert_eq!(wait, Some(host.settings.parked_retry_ms));
}

/// An answer that is repeated does not disturb the call that is owed meanwhile.
#[test]
fn a_repeated_answer_disturbs_nothing() {
    let mut host = host(State::UndoneParked);
    let before = host.state.payment(order_id(ID)).expect("known").clone();
    host.append(payment_succeeded(), after(1));
    host.append(refunded(7, 100, false), after(2));
    let mut after = host.state.payment(order_id(ID)).expect("known").clone();
    after.updated_at = before.updated_at;
    after.version = before.version;
    assert_eq!(after, before);
}
