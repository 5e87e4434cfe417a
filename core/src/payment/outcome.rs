//! What each outcome of a gateway call means to a payment: one table, by phase.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::backoff::wait_ms;
use super::event::{PaymentEvent, PaymentFailure, RefundOrigin};
use super::state::{Payment, PaymentPhase, RefundStatus};
use crate::gateway::{GatewayOperation, GatewayOutcome};
use crate::ids::GatewayReference;
use crate::money::Amount;
use crate::planted::planted;
use crate::settings::Settings;
use crate::time::Timestamp;

/// Decides on an outcome. `operation` is what had been called; `None` is a report that
/// the gateway sent by itself.
pub(super) fn on_outcome(
    payment: &Payment,
    settings: &Settings,
    operation: Option<GatewayOperation>,
    outcome: &GatewayOutcome,
    now: Timestamp,
) -> Vec<PaymentEvent> {
    if let Some(GatewayOperation::Refund { number }) = operation {
        return on_refund_outcome(payment, settings, number, outcome, now);
    }
    let order_id = payment.order_id;
    match (payment.phase, outcome) {
        (PaymentPhase::Charging, GatewayOutcome::Succeeded { reference }) => {
            vec![succeeded(payment, reference)]
        }
        (PaymentPhase::Charging, GatewayOutcome::Authorised { reference }) => {
            vec![PaymentEvent::PaymentAuthorised {
                order_id,
                reference: reference.clone(),
            }]
        }
        // Taken, by us or by somebody who was quicker; or after all.
        (
            PaymentPhase::Authorised | PaymentPhase::Capturing | PaymentPhase::CaptureFailed,
            GatewayOutcome::Succeeded { reference },
        ) => vec![succeeded(payment, reference)],
        (PaymentPhase::Charging, GatewayOutcome::ActionRequired { reference }) => {
            let is_new = payment.reference.as_ref() != Some(reference);
            let mut events = Vec::new();
            if is_new {
                events.push(PaymentEvent::PaymentActionRequired {
                    order_id,
                    reference: reference.clone(),
                });
            }
            if let Some(operation) = owed(payment, settings, operation) {
                events.extend(try_again(payment, settings, operation, outcome, now));
            }
            events
        }
        // What was set aside has been let go, whoever says so: it is never taken any more.
        (PaymentPhase::Capturing, GatewayOutcome::Cancelled) => {
            capture_refused(payment, Arc::from("cancelled_at_gateway"))
        }
        // The answer to the capture alone: a report may be late, and about an earlier try.
        (PaymentPhase::Capturing, GatewayOutcome::Rejected { code })
            if owed(payment, settings, operation).is_some() =>
        {
            if planted!("refused_capture_is_tried_for_ever") {
                return try_again(payment, settings, GatewayOperation::Capture, outcome, now);
            }
            capture_refused(payment, code.clone())
        }
        (PaymentPhase::Capturing, _) => owed(payment, settings, operation).map_or_else(
            Vec::new,
            |operation| try_again(payment, settings, operation, outcome, now),
        ),
        // A cancel that finds success: completion where the order still waits for it,
        // else a refund. Never silence.
        (PaymentPhase::Cancelling, GatewayOutcome::Succeeded { reference }) => {
            if planted!("success_after_timeout_dropped") {
                return Vec::new();
            }
            if payment.undo_requested && !planted!("refund_branch_never_reached") {
                captured_late(payment, reference)
            } else {
                vec![succeeded(payment, reference)]
            }
        }
        (
            PaymentPhase::Failed | PaymentPhase::Cancelled,
            GatewayOutcome::Succeeded { reference },
        ) if !payment.amount.is_zero() && !planted!("late_success_after_decline_dropped") => captured_late(payment, reference),
        (PaymentPhase::Cancelling, GatewayOutcome::Unknown { .. }) if planted!("cancel_unknown_is_cancelled") => {
            vec![PaymentEvent::PaymentCancelled {
                order_id,
                failure: PaymentFailure::Undone,
                forestalled: None,
            }]
        }
        (PaymentPhase::Charging | PaymentPhase::Cancelling, GatewayOutcome::Rejected { code }) => {
            vec![PaymentEvent::PaymentFailed {
                order_id,
                failure: PaymentFailure::Declined { code: code.clone() },
            }]
        }
        (PaymentPhase::Charging, GatewayOutcome::Unknown { .. }) if planted!("unknown_is_failure") => {
            let failure = PaymentFailure::TimedOut;
            vec![PaymentEvent::PaymentFailed { order_id, failure }]
        }
        (PaymentPhase::Charging, GatewayOutcome::Cancelled) => {
            let failure = PaymentFailure::Declined {
                code: Arc::from("cancelled_at_gateway"),
            };
            vec![PaymentEvent::PaymentFailed { order_id, failure }]
        }
        (PaymentPhase::Charging, GatewayOutcome::NotFound) if planted!("not_found_is_failure") => {
            let failure = PaymentFailure::TimedOut;
            vec![PaymentEvent::PaymentFailed { order_id, failure }]
        }
        (PaymentPhase::Cancelling, GatewayOutcome::Cancelled) => {
            let failure = if payment.undo_requested {
                PaymentFailure::Undone
            } else {
                PaymentFailure::TimedOut
            };
            vec![PaymentEvent::PaymentCancelled {
                order_id,
                failure,
                forestalled: None,
            }]
        }
        (
            PaymentPhase::Charging | PaymentPhase::Cancelling,
            GatewayOutcome::Pending
            | GatewayOutcome::NotFound
            | GatewayOutcome::Unknown { .. }
            | GatewayOutcome::Authorised { .. }
            | GatewayOutcome::ActionRequired { .. }
            // Nonsense is no answer either.
            | GatewayOutcome::Refunded { .. },
        ) => match owed(payment, settings, operation) {
            Some(operation) => try_again(payment, settings, operation, outcome, now),
            // A report, or the answer to a call that is no longer what is owed: the
            // next call is due as it was.
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What had been called, if it is what is owed now.
fn owed(
    payment: &Payment,
    settings: &Settings,
    operation: Option<GatewayOperation>,
) -> Option<GatewayOperation> {
    operation.filter(|called| payment.owed_operation(settings) == Some(*called))
}

fn on_refund_outcome(
    payment: &Payment,
    settings: &Settings,
    number: u32,
    outcome: &GatewayOutcome,
    now: Timestamp,
) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    let Some((pending, refund)) = payment.pending_refund() else {
        return Vec::new();
    };
    if pending != number && !planted!("refund_of_another_number_taken") {
        return Vec::new();
    }
    match outcome {
        GatewayOutcome::Unknown { .. } if planted!("unknown_refund_is_refunded") => {
            vec![PaymentEvent::RefundFailed {
                order_id,
                number,
                code: Arc::from("unknown"),
            }]
        }
        GatewayOutcome::Refunded { reference } => {
            let before = payment.refunded();
            let given_back = before.checked_add(refund.amount).unwrap_or(Amount::MAX);
            vec![PaymentEvent::PaymentRefunded {
                order_id,
                number,
                amount: refund.amount,
                reference: reference.clone(),
                nothing_left: given_back == payment.captured
                    || planted!("nothing_left_is_always_said"),
            }]
        }
        GatewayOutcome::Rejected { code }
            if refund.origin == RefundOrigin::Operator
                || planted!("refused_refund_is_over")
                || (payment.attempts > 0 && planted!("refund_that_fails_late_is_over")) =>
        {
            let mut events = vec![PaymentEvent::RefundFailed {
                order_id,
                number,
                code: code.clone(),
            }];
            // What the operator's refund would have given back, the saga still owes.
            if payment.undo_requested
                && refund.status == RefundStatus::Pending
                && !planted!("refused_refund_is_over")
                && !planted!("refund_that_fails_late_is_over")
            {
                events.push(PaymentEvent::RefundRequested {
                    order_id,
                    number: next_number(payment),
                    amount: refund.amount,
                    origin: RefundOrigin::Compensation,
                });
            }
            events
        }
        _ => try_again(
            payment,
            settings,
            GatewayOperation::Refund { number },
            outcome,
            now,
        ),
    }
}

/// Notes an attempt that came to nothing definite, and parks what keeps failing.
fn try_again(
    payment: &Payment,
    settings: &Settings,
    operation: GatewayOperation,
    outcome: &GatewayOutcome,
    now: Timestamp,
) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    let tried = payment.attempts.saturating_add(1);
    let attempts = match (operation, outcome) {
        // The gateway is at it: charging again adds nothing, so only ask from here on.
        (
            GatewayOperation::Charge,
            GatewayOutcome::Pending | GatewayOutcome::ActionRequired { .. },
        ) => tried.max(settings.charge_attempts),
        // It never arrived: charge again, under the same key. Rounds of this come ever more
        // seldom, as each waits for a part of the time that all before it took.
        (GatewayOperation::Query, GatewayOutcome::NotFound) => 0,
        _ => tried,
    };
    // A charge that stays unknown ends at its deadline, in a cancel; only what has no
    // such end is parked.
    let has_end = matches!(
        operation,
        GatewayOperation::Charge | GatewayOperation::Query
    );
    let parked = !has_end && tried >= settings.park_after_attempts;
    let is_left_to_reports = planted!("refund_under_way_is_not_asked_for")
        && matches!(operation, GatewayOperation::Refund { .. })
        && *outcome == GatewayOutcome::Pending;
    let wait = if (parked && planted!("parked_is_forgotten")) || is_left_to_reports {
        crate::time::Millis::MAX
    } else if parked {
        settings.parked_retry_ms
    } else if attempts == 0 {
        let so_far = now.saturating_since(payment.created_at).get();
        let seldom = (so_far / 4).min(settings.retry_cap_ms.get());
        wait_ms(settings, order_id, tried).max(crate::time::Millis::new(seldom))
    } else {
        wait_ms(settings, order_id, tried)
    };
    let mut events = vec![PaymentEvent::PaymentAttempted {
        order_id,
        operation,
        attempts,
        retry_at: now.saturating_add(wait),
        detail: detail(outcome),
    }];
    if parked && !payment.parked {
        events.push(PaymentEvent::PaymentParked {
            order_id,
            operation,
        });
    }
    events
}

fn detail(outcome: &GatewayOutcome) -> Arc<str> {
    match outcome {
        GatewayOutcome::Unknown { detail } => detail.clone(),
        GatewayOutcome::Rejected { code } => code.clone(),
        GatewayOutcome::Pending => Arc::from("still processing at the gateway"),
        GatewayOutcome::NotFound => Arc::from("unknown to the gateway"),
        GatewayOutcome::ActionRequired { .. } => Arc::from("the customer has to authenticate"),
        GatewayOutcome::Authorised { .. } => Arc::from("authorised, not yet captured"),
        GatewayOutcome::Succeeded { .. }
        | GatewayOutcome::Cancelled
        | GatewayOutcome::Refunded { .. } => Arc::from("an answer that does not fit the question"),
    }
}

fn succeeded(payment: &Payment, reference: &GatewayReference) -> PaymentEvent {
    PaymentEvent::PaymentSucceeded {
        order_id: payment.order_id,
        reference: Some(reference.clone()),
    }
}

/// The order is confirmed and the money is not here, and will not be by itself.
fn capture_refused(payment: &Payment, code: Arc<str>) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    if planted!("refused_capture_is_a_capture") {
        return payment
            .reference
            .iter()
            .map(|it| succeeded(payment, it))
            .collect();
    }
    let mut events = vec![PaymentEvent::PaymentCaptureFailed { order_id, code }];
    if planted!("refused_capture_is_not_shown") {
        events.push(PaymentEvent::PaymentWrittenOff { order_id });
    }
    events
}

fn captured_late(payment: &Payment, reference: &GatewayReference) -> Vec<PaymentEvent> {
    let order_id = payment.order_id;
    vec![
        PaymentEvent::PaymentCapturedLate {
            order_id,
            reference: reference.clone(),
        },
        PaymentEvent::RefundRequested {
            order_id,
            number: next_number(payment),
            amount: payment.amount,
            origin: RefundOrigin::Compensation,
        },
    ]
}

/// The number of the refund that would be asked for next.
pub(super) fn next_number(payment: &Payment) -> u32 {
    u32::try_from(payment.refunds.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}
