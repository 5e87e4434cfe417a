//! What holds of sagas: how they step, how they end, and that they end.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;

use super::{OrderView, Verdict};
use crate::ids::ProductId;
use crate::invariants::Phase;
use crate::inventory::{ReleaseReason, Reservation, ReservationStatus};
use crate::limits::HISTORY_ENTRIES_MAX;
use crate::order::{CancelReason, Order, OrderStatus, SagaState, Step};
use crate::payment::{Payment, PaymentFailure, PaymentPhase, RefundStatus};

/// The history is a walk through the saga's table, it leads to the present state, and the
/// status that customers see is that state's.
///
/// Without it a decider could emit a step that the saga does not have, and nobody would
/// notice: to apply such an event changes nothing. A history that is full (`<`, not `<=`,
/// the limit: the last place may hold the last step of all) is judged up to there.
///
/// # Errors
/// The step, or the state that does not fit.
pub fn saga_steps_legal(view: &OrderView<'_>) -> Verdict {
    let Some(order) = view.order else {
        return Ok(());
    };
    let mut present = None;
    for entry in order.history.iter().take(HISTORY_ENTRIES_MAX) {
        let next = match (present, entry.step) {
            (None, Step::Created) => SagaState::Started,
            (None, step) => return Err(format!("the history begins with {step:?}")),
            (Some(state), step) => SagaState::next(state, step).map_err(|e| e.to_string())?,
        };
        if next != entry.saga {
            return Err(format!(
                "{:?} led to {}, not {next}",
                entry.step, entry.saga
            ));
        }
        present = Some(next);
    }
    if order.history.len() < HISTORY_ENTRIES_MAX && present != Some(order.saga) {
        return Err(format!("the history does not lead to {}", order.saga));
    }
    let fits = match order.saga {
        SagaState::Started => order.status == OrderStatus::Pending,
        SagaState::PaymentProcessing | SagaState::PaymentSucceeded => {
            order.status == OrderStatus::InventoryReserved
        }
        SagaState::Compensating => matches!(
            order.status,
            OrderStatus::Pending | OrderStatus::InventoryReserved
        ),
        SagaState::Completed => order.status == OrderStatus::Confirmed,
        SagaState::Failed => order.status == OrderStatus::Failed,
        SagaState::Compensated => order.status == OrderStatus::Cancelled,
        // Passed through within one event.
        SagaState::InventoryReserved => false,
    };
    if !fits {
        return Err(format!("{} is shown as {}", order.saga, order.status));
    }
    if order.saga.is_terminal() && order.parked {
        return Err(format!("{}, and still parked", order.saga));
    }
    Ok(())
}

/// A confirmed order's stock is sold, line for line, and its money captured in full (or
/// set aside and about to be, or refused by name); and stock is sold for no order that is
/// not confirmed or about to be.
///
/// Without it a customer is told "confirmed" for goods that another one gets, or gets
/// goods for which nobody paid. With several shards one may have sold its part while
/// another cannot: until it has taken that back, the undo of the stock is owed.
///
/// # Errors
/// What is missing, or what is there without an order for it.
pub fn confirmed_implies_committed_and_paid(view: &OrderView<'_>) -> Verdict {
    let Some(order) = view.order else {
        return Ok(());
    };
    let is_committed = |held: &Reservation| held.status == ReservationStatus::Confirmed;
    // Committed and not yet known to be: the answer is on its way.
    let may_be_committed = matches!(
        order.saga,
        SagaState::PaymentSucceeded | SagaState::Completed
    );
    let is_taken_back = !view.others.is_empty()
        && order.saga == SagaState::Compensating
        && order.undo.is_some_and(|undo| undo.stock_owed);
    if view.reservations().any(is_committed) && !may_be_committed && !is_taken_back {
        return Err(format!("stock is sold for an order that is {}", order.saga));
    }
    if order.saga != SagaState::Completed {
        return Ok(());
    }
    if let Some(held) = view.reservations().find(|held| !is_committed(held)) {
        return Err(format!("confirmed, its reservation is {:?}", held.status));
    }
    match view.reservation {
        None if view.is_complete => return Err("confirmed without a reservation".into()),
        Some(_) if !holds_every_line(order, view) => {
            return Err("confirmed, but other units are sold than were ordered".into());
        }
        Some(_) | None => {}
    }
    match view.payment {
        // Authorised, and taking it is owed: the one call that is left.
        Some(payment) if payment.phase == PaymentPhase::Capturing => Ok(()),
        // The gateway did not give it: not paid, by name, and a person is told or was.
        Some(payment) if payment.phase == PaymentPhase::CaptureFailed => match payment.failure {
            Some(PaymentFailure::CaptureRefused { .. }) => Ok(()),
            _ => Err("confirmed, not paid, and nothing says why".into()),
        },
        // The payment's next step, which reads the order's last one.
        Some(payment) if payment.phase == PaymentPhase::Authorised && !view.is_complete => Ok(()),
        Some(payment) if payment.phase != PaymentPhase::Captured => {
            Err(format!("confirmed, its payment is {:?}", payment.phase))
        }
        Some(payment) if payment.captured != order.order.total => Err(format!(
            "confirmed, {} captured of {}",
            payment.captured.minor(),
            order.order.total.minor()
        )),
        None if view.is_complete => Err("confirmed without a payment".into()),
        Some(_) | None => Ok(()),
    }
}

fn holds_every_line(order: &Order, view: &OrderView<'_>) -> bool {
    let mut owed: BTreeMap<&ProductId, i128> = BTreeMap::new();
    for line in order.order.lines.iter() {
        *owed.entry(&line.product_id).or_default() += i128::from(line.quantity);
    }
    for line in view.reservations().flat_map(|held| held.lines.iter()) {
        *owed.entry(&line.product_id).or_default() -= i128::from(line.quantity);
    }
    owed.values().all(|units| *units == 0)
}

/// An undo that was acknowledged has happened: a cancelled order holds no stock, and its
/// charge is settled as not made or as given back (or on its way back, where the gateway
/// captured after all was over). An order that failed for want of stock holds nothing
/// either, and was never charged.
///
/// Without it "cancelled" would be a hope: stock stays blocked, or money stays taken, for
/// an order that nobody looks at any more.
///
/// # Errors
/// What is still there.
pub fn cancelled_implies_nothing_held(view: &OrderView<'_>) -> Verdict {
    let Some(order) = view.order else {
        return Ok(());
    };
    let (stock_undone, payment_undone) = match order.saga {
        SagaState::Compensated | SagaState::Failed => (true, true),
        SagaState::Compensating => order.undo.map_or((false, false), |undo| {
            (!undo.stock_owed, !undo.payment_owed)
        }),
        _ => (false, false),
    };
    let owed = order
        .undo
        .is_some_and(|undo| undo.stock_owed || undo.payment_owed);
    if order.saga.is_terminal() && owed {
        return Err(format!("{} with an undo unacknowledged", order.saga));
    }
    if stock_undone {
        let has = |held: &Reservation| {
            let status = held.status;
            status == ReservationStatus::Active || status == ReservationStatus::Confirmed
        };
        if let Some(held) = view.reservations().find(|held| has(held)) {
            let status = held.status;
            return Err(format!("{}, its reservation is {status:?}", order.saga));
        }
        // Also what never was a hold leaves a tombstone.
        if view.reservation.is_none() && view.is_complete {
            return Err(format!("{} without a trace of its stock", order.saga));
        }
    }
    if payment_undone && let Some(payment) = view.payment {
        let is_undone = match payment.phase {
            PaymentPhase::Charging
            | PaymentPhase::Cancelling
            | PaymentPhase::Authorised
            | PaymentPhase::Capturing => false,
            PaymentPhase::Captured => payment.refundable().is_zero(),
            PaymentPhase::Failed | PaymentPhase::Cancelled | PaymentPhase::CaptureFailed => true,
        };
        if !is_undone {
            return Err(format!(
                "{}, its payment is {:?}",
                order.saga, payment.phase
            ));
        }
    }
    if order.saga == SagaState::Failed && view.payment.is_some() {
        return Err("failed for want of stock, and has a payment".into());
    }
    if payment_undone && order.payment_requested && view.payment.is_none() && view.is_complete {
        return Err(format!("{} without a trace of its payment", order.saga));
    }
    Ok(())
}

/// An order that has ended never changes again, and never disappears.
///
/// Without it a late message reopens what a customer was told is over. Only the sequence
/// of its last change may differ: bringing it back into memory is a change to the journal.
///
/// # Errors
/// What it was, and what it became.
pub fn terminal_is_final(before: Option<&Order>, after: Option<&Order>) -> Verdict {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    if !before.saga.is_terminal() {
        return Ok(());
    }
    let mut unchanged = after.clone();
    unchanged.version = before.version;
    if unchanged != *before {
        return Err(format!(
            "was {} ({}), became {} ({}), or changed in between",
            before.saga, before.status, after.saga, after.status
        ));
    }
    Ok(())
}

/// The same for a reservation: sold, released and short are for good. A hold that has
/// expired may be taken again by a late commit, and by nothing else; and what is sold may be
/// taken back where the order lies in several shards and another could not sell its part.
///
/// # Errors
/// What it was, and what it became.
pub fn reservation_is_final(before: Option<&Reservation>, after: Option<&Reservation>) -> Verdict {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    let may_become = match before.status {
        ReservationStatus::Active => true,
        ReservationStatus::Expired => matches!(
            after.status,
            ReservationStatus::Expired | ReservationStatus::Confirmed
        ),
        ReservationStatus::Confirmed if after.status == ReservationStatus::Released => {
            let refused = ReleaseReason::Compensation(CancelReason::CommitRefused);
            after.release_reason == Some(refused)
        }
        ended => after.status == ended,
    };
    if !may_become || (before.status != ReservationStatus::Active && before.lines != after.lines) {
        return Err(format!(
            "its reservation was {:?}, became {:?}",
            before.status, after.status
        ));
    }
    Ok(())
}

/// The same for a payment: what is captured stays so in the books, and what was given
/// back stays given back. A charge that was not made may still turn out to have been.
///
/// # Errors
/// What it was, and what it became.
pub fn payment_is_final(before: Option<&Payment>, after: Option<&Payment>) -> Verdict {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    if after.captured < before.captured {
        return Err(format!(
            "{} was captured, now {} is",
            before.captured.minor(),
            after.captured.minor()
        ));
    }
    let is_settled = matches!(
        before.phase,
        PaymentPhase::Failed
            | PaymentPhase::Cancelled
            | PaymentPhase::Captured
            | PaymentPhase::CaptureFailed
    );
    let is_open = matches!(
        after.phase,
        PaymentPhase::Charging | PaymentPhase::Cancelling
    );
    if is_settled && is_open {
        return Err(format!(
            "its payment was {:?}, became {:?}",
            before.phase, after.phase
        ));
    }
    for (number, refund) in (1_usize..).zip(&before.refunds) {
        let kept = after.refunds.get(number - 1).is_some_and(|later| {
            later.amount == refund.amount
                && (refund.status == RefundStatus::Pending || refund.status == later.status)
        });
        if !kept {
            return Err(format!(
                "refund {number} was {:?}, and changed",
                refund.status
            ));
        }
    }
    Ok(())
}

/// Once nothing is under way any more, every saga has ended, every payment is settled or
/// waits for a person and owes nothing, and no stock is held.
///
/// Without it the others would hold of a system that does nothing. It is liveness, so it
/// is asked only after healing.
///
/// # Errors
/// What is still open.
pub fn every_saga_ends(view: &OrderView<'_>, phase: Phase) -> Verdict {
    if !phase.is_quiescent() {
        return Ok(());
    }
    if let Some(order) = view.order
        && !order.saga.is_terminal()
    {
        return Err(format!(
            "its saga is still {} since {}",
            order.saga, order.updated_at
        ));
    }
    if let Some(payment) = view.payment
        && !payment.is_settled()
        && !payment.waits_for_a_person()
    {
        return Err(format!(
            "its payment still owes the gateway a call, in phase {:?} after {} attempts",
            payment.phase, payment.attempts
        ));
    }
    let mut held = view.reservations();
    if let Some(held) = held.find(|held| held.status == ReservationStatus::Active) {
        return Err(format!("it still holds stock until {}", held.expires_at));
    }
    if view.order.is_none()
        && view.is_complete
        && (view.reservation.is_some() || view.payment.is_some())
    {
        return Err("a reservation or a payment of an order that nobody knows".into());
    }
    Ok(())
}
