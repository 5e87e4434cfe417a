//! What payment decides on commands, on the order's wishes and when time is up.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::PaymentParticipant;
use super::event::{PaymentCommand, PaymentEvent, PaymentFailure, RefundOrigin};
use super::outcome::{next_number, on_outcome};
use super::state::{Payment, PaymentPhase, PaymentState, RefundStatus};
use crate::decider::{Fact, Idempotency, Input, Need, Participant, Recorded};
use crate::gateway::{GatewayCall, GatewayOperation};
use crate::ids::{GatewayReference, OrderId, ParticipantId, Sequence};
use crate::limits::REFUNDS_PER_PAYMENT_MAX;
use crate::money::Amount;
use crate::order::OrderEvent;
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::row::{Answer, AnswerRecord, Row, RowKey};
use crate::settings::Settings;
use crate::time::Timestamp;

impl Participant for PaymentParticipant {
    const ID: ParticipantId = ParticipantId::Payment;
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type State = PaymentState;

    fn decide(
        state: &PaymentState,
        settings: &Settings,
        input: Input<'_, PaymentCommand>,
        now: Timestamp,
    ) -> Result<Vec<PaymentEvent>, Rejection> {
        match input {
            Input::Command(PaymentCommand::Refund {
                order_id, amount, ..
            }) => {
                let payment = state
                    .payment(*order_id)
                    .ok_or(Rejection::PaymentNotFound(*order_id))?;
                on_refund(payment, *amount)
            }
            Input::Command(PaymentCommand::Report {
                order_id,
                refund,
                outcome,
            }) => {
                let payment = state
                    .payment(*order_id)
                    .ok_or(Rejection::PaymentNotFound(*order_id))?;
                let operation = refund.map(|number| GatewayOperation::Refund { number });
                Ok(on_outcome(payment, settings, operation, outcome, now))
            }
            Input::Command(PaymentCommand::Retry { order_id, .. }) => {
                let payment = state
                    .payment(*order_id)
                    .ok_or(Rejection::PaymentNotFound(*order_id))?;
                on_retry(payment).ok_or_else(|| Rejection::PaymentNotParked(payment.status()))
            }
            Input::Command(PaymentCommand::WriteOff { order_id, .. }) => {
                let payment = state
                    .payment(*order_id)
                    .ok_or(Rejection::PaymentNotFound(*order_id))?;
                on_write_off(payment)
            }
            Input::Upstream(Fact::Order(event)) => Ok(on_order(state, event)),
            Input::Sharded {
                fact: Fact::Order(event),
                ..
            } => Ok(on_order(state, event.step())),
            Input::Gateway {
                order_id,
                operation,
                outcome,
            } => Ok(state.payment(order_id).map_or_else(Vec::new, |payment| {
                on_outcome(payment, settings, operation, outcome, now)
            })),
            Input::Deadline(order_id) => Ok(state
                .payment(order_id)
                .map_or_else(Vec::new, |payment| on_deadline(payment, now))),
            Input::Upstream(Fact::Inventory(_) | Fact::Payment(_)) | Input::Sharded { .. } => {
                Ok(Vec::new())
            }
        }
    }

    fn evolve(state: &mut PaymentState, recorded: &Recorded<PaymentEvent>, sequence: Sequence) {
        state.evolve(recorded, sequence);
    }

    fn order_id(event: &PaymentEvent) -> Option<OrderId> {
        event.order_id()
    }

    fn touched(event: &PaymentEvent, _: &PaymentState, out: &mut Vec<RowKey>) {
        match event {
            PaymentEvent::Answered(record) => {
                out.push(RowKey::Answer(ParticipantId::Payment, record.key.clone()));
            }
            event => out.extend(event.order_id().map(RowKey::Payment)),
        }
    }

    fn needs(input: &Input<'_, PaymentCommand>) -> Option<Need> {
        let order_id = match input {
            Input::Command(command) => command.order_id(),
            Input::Upstream(Fact::Order(event))
            | Input::Sharded {
                fact: Fact::Order(event),
                ..
            } => match event.step() {
                OrderEvent::RetryRequested { order_id } => *order_id,
                OrderEvent::CompensationRequested { order_id, undo, .. } if undo.payment => {
                    *order_id
                }
                _ => return None,
            },
            // A late word of the gateway may be about a payment that has left memory.
            Input::Gateway { order_id, .. } => *order_id,
            _ => return None,
        };
        Some(Need {
            key: RowKey::Payment(order_id),
            may_exist: true,
        })
    }

    fn idempotency(command: &PaymentCommand) -> Option<&Idempotency> {
        match command {
            PaymentCommand::Refund { idempotency, .. }
            | PaymentCommand::Retry { idempotency, .. }
            | PaymentCommand::WriteOff { idempotency, .. } => idempotency.as_ref(),
            // What was said before changes nothing when it is said again.
            PaymentCommand::Report { .. } => None,
        }
    }

    fn is_answered_by_state(_: &PaymentCommand) -> bool {
        false
    }

    fn answered(record: AnswerRecord) -> PaymentEvent {
        PaymentEvent::Answered(Box::new(record))
    }

    fn recalled(row: Row) -> Option<PaymentEvent> {
        match row {
            Row::Payment(payment) => Some(PaymentEvent::Recalled(payment)),
            _ => None,
        }
    }

    fn answer(state: &PaymentState, command: &PaymentCommand) -> Option<Answer> {
        state
            .payments
            .get(&command.order_id())
            .cloned()
            .map(Answer::Payment)
    }

    fn row(state: &PaymentState, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Payment(order_id) => state.payments.get(order_id).cloned().map(Row::Payment),
            RowKey::Answer(ParticipantId::Payment, key) => {
                state.answers.get(key).cloned().map(Row::Answer)
            }
            _ => None,
        }
    }

    fn holds(state: &PaymentState, key: &RowKey) -> bool {
        match key {
            RowKey::Payment(order_id) => state.payments.contains_key(order_id),
            RowKey::Answer(ParticipantId::Payment, key) => state.answers.contains_key(key),
            _ => false,
        }
    }

    fn restore(state: &mut PaymentState, row: Row) {
        match row {
            Row::Payment(payment) => {
                state.payments.insert(payment.order_id, payment);
            }
            Row::Answer(record) => {
                state.answers.insert(record.key.clone(), record);
            }
            _ => {}
        }
    }

    fn may_leave(state: &PaymentState, key: &RowKey, sequence: Sequence) -> bool {
        match key {
            RowKey::Payment(order_id) => state
                .payment(*order_id)
                .is_some_and(|payment| payment.is_settled() && payment.version <= sequence),
            RowKey::Answer(..) => true,
            _ => false,
        }
    }

    fn forget(state: &mut PaymentState, key: &RowKey) {
        match key {
            RowKey::Payment(order_id) => {
                state.payments.remove(order_id);
            }
            RowKey::Answer(_, key) => {
                state.answers.remove(key);
            }
            _ => {}
        }
    }

    fn deadline(state: &PaymentState, order_id: OrderId) -> Option<Timestamp> {
        state
            .payment(order_id)
            .filter(|payment| payment.phase == PaymentPhase::Charging)
            .map(|payment| payment.deadline_at)
    }

    fn owed_call(
        state: &PaymentState,
        settings: &Settings,
        order_id: OrderId,
    ) -> Option<(Timestamp, GatewayCall)> {
        state.owed_call(settings, order_id)
    }

    fn order_ids(state: &PaymentState) -> Vec<OrderId> {
        state.payments.keys().copied().collect()
    }

    fn active_len(state: &PaymentState) -> usize {
        state.payments.len()
    }
}

fn on_refund(payment: &Payment, amount: Option<Amount>) -> Result<Vec<PaymentEvent>, Rejection> {
    let remaining = if planted!("refund_while_undone") && payment.undo_requested {
        // What the undo has on its way back does not count.
        let given_back = payment.refunded();
        payment.captured.checked_sub(given_back).unwrap_or_default()
    } else {
        payment.refundable()
    };
    let is_refundable = payment.phase == PaymentPhase::Captured
        && (!payment.undo_requested || planted!("refund_while_undone"))
        && !remaining.is_zero();
    if !is_refundable {
        return Err(Rejection::PaymentNotRefundable(payment.status()));
    }
    let amount = amount.unwrap_or(remaining);
    if (amount > remaining && !planted!("refund_beyond_charge")) || amount <= Amount::ZERO {
        return Err(Rejection::RefundExceedsCharge { remaining });
    }
    let number = next_number(payment);
    if number > REFUNDS_PER_PAYMENT_MAX {
        return Err(Rejection::TooManyRefunds {
            max: REFUNDS_PER_PAYMENT_MAX,
        });
    }
    Ok(vec![PaymentEvent::RefundRequested {
        order_id: payment.order_id,
        number,
        amount,
        origin: RefundOrigin::Operator,
    }])
}

fn on_order(state: &PaymentState, event: &OrderEvent) -> Vec<PaymentEvent> {
    match event {
        OrderEvent::PaymentRequested {
            order_id,
            amount,
            currency,
            payment_method,
            hints,
            deadline_at,
        } => match state.payment(*order_id) {
            // Also a tombstone: a request that its undo has overtaken charges nothing.
            Some(known) => answer_again(known),
            None => {
                let order_id = *order_id;
                let mut events = vec![PaymentEvent::PaymentProcessing {
                    order_id,
                    amount: *amount,
                    currency: *currency,
                    payment_method: payment_method.clone(),
                    hints: *hints,
                    deadline_at: *deadline_at,
                }];
                if amount.is_zero() {
                    // Nothing to pay is paid at once; no gateway takes a charge of zero.
                    events.push(PaymentEvent::PaymentSucceeded {
                        order_id,
                        reference: None,
                    });
                }
                events
            }
        },
        OrderEvent::CompensationRequested {
            order_id,
            undo,
            currency,
            ..
        } if undo.payment => match state.payment(*order_id) {
            Some(payment) => undo_payment(payment),
            None => vec![PaymentEvent::PaymentCancelled {
                order_id: *order_id,
                failure: PaymentFailure::Undone,
                forestalled: Some(*currency),
            }],
        },
        // Nothing that was only authorised stands in the way of it any more.
        OrderEvent::OrderConfirmed { order_id } => state
            .payment(*order_id)
            .filter(|payment| payment.phase == PaymentPhase::Authorised)
            .map(|_| PaymentEvent::PaymentCaptureRequested {
                order_id: *order_id,
            })
            .into_iter()
            .collect(),
        OrderEvent::RetryRequested { order_id } => state
            .payment(*order_id)
            .and_then(on_retry)
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// What is parked is due at once; `None` where nothing is.
fn on_retry(payment: &Payment) -> Option<Vec<PaymentEvent>> {
    payment.parked.then(|| {
        vec![PaymentEvent::PaymentRetried {
            order_id: payment.order_id,
        }]
    })
}

/// Written off again, it is as it was.
fn on_write_off(payment: &Payment) -> Result<Vec<PaymentEvent>, Rejection> {
    if payment.phase != PaymentPhase::CaptureFailed {
        return Err(Rejection::NothingToWriteOff(payment.status()));
    }
    let order_id = payment.order_id;
    let written_off = PaymentEvent::PaymentWrittenOff { order_id };
    Ok(payment.parked.then_some(written_off).into_iter().collect())
}

fn undo_payment(payment: &Payment) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    match payment.phase {
        PaymentPhase::Charging
        | PaymentPhase::Cancelling
        | PaymentPhase::Authorised
        | PaymentPhase::Capturing
            if !payment.undo_requested =>
        {
            vec![PaymentEvent::PaymentUndoRequested { order_id }]
        }
        PaymentPhase::Charging
        | PaymentPhase::Cancelling
        | PaymentPhase::Authorised
        | PaymentPhase::Capturing
        // Its order is confirmed, and what is confirmed is not undone.
        | PaymentPhase::CaptureFailed => Vec::new(),
        PaymentPhase::Failed | PaymentPhase::Cancelled => answer_again(payment),
        // Nothing was to be paid, so nothing is to be given back.
        PaymentPhase::Captured if payment.captured.is_zero() => {
            vec![PaymentEvent::PaymentCancelled {
                order_id,
                failure: PaymentFailure::Undone,
                forestalled: None,
            }]
        }
        PaymentPhase::Captured if payment.is_given_back() => last_refund(payment),
        PaymentPhase::Captured => {
            let mut events = Vec::new();
            if !payment.undo_requested {
                events.push(PaymentEvent::PaymentUndoRequested { order_id });
            }
            let remaining = payment.refundable();
            if !remaining.is_zero() {
                events.push(PaymentEvent::RefundRequested {
                    order_id,
                    number: next_number(payment),
                    amount: if planted!("second_undo_refunds_again") {
                        payment.captured
                    } else {
                        remaining
                    },
                    origin: RefundOrigin::Compensation,
                });
            }
            events
        }
    }
}

/// Whoever asks again may have lost the answer, so it gets it again, once there is one.
fn answer_again(payment: &Payment) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    let failure = || payment.failure.clone().unwrap_or(PaymentFailure::Undone);
    match payment.phase {
        PaymentPhase::Charging | PaymentPhase::Cancelling => Vec::new(),
        PaymentPhase::Authorised | PaymentPhase::Capturing | PaymentPhase::CaptureFailed => {
            let authorised = |reference: &GatewayReference| PaymentEvent::PaymentAuthorised {
                order_id,
                reference: reference.clone(),
            };
            payment.reference.iter().map(authorised).collect()
        }
        PaymentPhase::Failed => {
            vec![PaymentEvent::PaymentFailed {
                order_id,
                failure: failure(),
            }]
        }
        PaymentPhase::Cancelled => {
            let failure = failure();
            vec![PaymentEvent::PaymentCancelled {
                order_id,
                failure,
                forestalled: None,
            }]
        }
        PaymentPhase::Captured if payment.undo_requested => last_refund(payment),
        PaymentPhase::Captured => vec![PaymentEvent::PaymentSucceeded {
            order_id,
            reference: payment.reference.clone(),
        }],
    }
}

/// The answer of a refund that left nothing of the charge; none while there is more to
/// give back.
fn last_refund(payment: &Payment) -> Vec<PaymentEvent> {
    let last = (1..)
        .zip(&payment.refunds)
        .filter_map(|(number, refund)| match &refund.status {
            RefundStatus::Succeeded(reference) => Some((number, refund.amount, reference.clone())),
            RefundStatus::Pending | RefundStatus::Failed(_) => None,
        });
    last.last()
        .filter(|_| payment.is_given_back())
        .map(
            |(number, amount, reference)| PaymentEvent::PaymentRefunded {
                order_id: payment.order_id,
                number,
                amount,
                reference,
                nothing_left: true,
            },
        )
        .into_iter()
        .collect()
}

fn on_deadline(payment: &Payment, now: Timestamp) -> Vec<PaymentEvent> {
    if payment.phase == PaymentPhase::Charging && now >= payment.deadline_at {
        vec![PaymentEvent::PaymentCancelRequested {
            order_id: payment.order_id,
        }]
    } else {
        Vec::new()
    }
}
