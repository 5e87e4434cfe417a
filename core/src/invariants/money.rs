//! What holds of money, in minor units, in our books and the gateway's.

use alloc::format;

use super::{OrderView, Phase, Verdict};
use crate::order::{Order, SagaState};
use crate::payment::{Payment, PaymentPhase, RefundStatus};

/// The gateway captured once at most, and never more than the order's amount.
///
/// Without it a retried charge takes a customer's money twice: the one mistake that no
/// later refund makes good. Once is allowed (`> 1` fails), and the whole amount is
/// (`>`, not `>=`).
///
/// # Errors
/// How often, or how much.
pub fn charged_at_most_once(view: &OrderView<'_>) -> Verdict {
    let Some(gateway) = view.gateway else {
        return Ok(());
    };
    if gateway.captures > 1 {
        return Err(format!("the gateway captured {} times", gateway.captures));
    }
    let captured = gateway.captured.minor();
    match view.payment {
        Some(payment) if captured > payment.amount.minor() => Err(format!(
            "the gateway captured {captured}, the payment is about {}",
            payment.amount.minor()
        )),
        None if captured > 0 && view.is_complete => Err(format!(
            "the gateway captured {captured} for a payment that nobody asked for"
        )),
        _ => Ok(()),
    }
}

/// Money of this order, in minor units, that is captured and neither earned by a confirmed
/// order, nor given back, nor visibly in flight (the saga is under way, or a refund owed).
/// Zero unless something is wrong.
#[must_use]
pub fn unaccounted_minor(order: Option<&Order>, payment: &Payment) -> i64 {
    let may_keep = match order.map(|order| order.saga) {
        Some(SagaState::Failed | SagaState::Compensated) => false,
        // What is to be undone is owed as refunds in the very append that says so.
        Some(_) => !payment.undo_requested,
        None => false,
    };
    if may_keep {
        0
    } else {
        payment.captured.minor() - taken_minor(payment)
    }
}

/// Captured = confirmed orders + refunded + visibly in flight, for each order by itself
/// and so for any sum of them; and our books and the gateway's say the same.
///
/// Without it money that was taken from a customer can be neither earned nor on its way
/// back, and nobody looks for it.
///
/// While calls are under way the gateway may be ahead of us, never behind: we claim no
/// capture (`>` fails, not `>=`) and no refund that it has not made. It may have refunded
/// no more than we have asked for. At quiescence the books are equal.
///
/// # Errors
/// What does not add up.
pub fn money_accounted(view: &OrderView<'_>, phase: Phase) -> Verdict {
    let Some(payment) = view.payment else {
        return Ok(());
    };
    let captured = payment.captured.minor();
    let whole = payment.amount.minor();
    if captured != 0 && captured != whole {
        return Err(format!(
            "{captured} captured of {whole}: neither all nor none"
        ));
    }
    if payment.phase != PaymentPhase::Captured && captured != 0 {
        return Err(format!("{captured} captured in phase {:?}", payment.phase));
    }
    let taken = taken_minor(payment);
    if taken > captured {
        return Err(format!("refunds of {taken} exceed {captured} captured"));
    }
    if view.order.is_some() || view.is_complete {
        let unaccounted = unaccounted_minor(view.order, payment);
        if unaccounted != 0 {
            return Err(format!(
                "{unaccounted} captured, with no order to keep it and no refund under way"
            ));
        }
    }
    let refunded = payment.refunded().minor();
    if phase.is_quiescent() && payment.undo_requested && refunded != captured {
        return Err(format!("{refunded} given back of {captured} to be undone"));
    }
    compare_books(view, payment, phase)
}

fn compare_books(view: &OrderView<'_>, payment: &Payment, phase: Phase) -> Verdict {
    let Some(gateway) = view.gateway else {
        return Ok(());
    };
    let (ours, theirs) = (payment.captured.minor(), gateway.captured.minor());
    if ours > theirs || (phase.is_quiescent() && ours != theirs) {
        return Err(format!("we have {ours} captured, the gateway has {theirs}"));
    }
    let (ours, theirs) = (payment.refunded().minor(), gateway.refunded.minor());
    if ours > theirs || (phase.is_quiescent() && ours != theirs) {
        return Err(format!("we have {ours} refunded, the gateway has {theirs}"));
    }
    let asked = taken_minor(payment);
    if theirs > asked {
        return Err(format!(
            "the gateway refunded {theirs}, we asked for {asked}"
        ));
    }
    Ok(())
}

/// Given back or owed as a refund, in minor units. Unlike [`Payment::refundable`] it does
/// not assume that the sum is within the charge: that is what is asked here.
fn taken_minor(payment: &Payment) -> i64 {
    payment
        .refunds
        .iter()
        .filter(|refund| !matches!(refund.status, RefundStatus::Failed(_)))
        .fold(0, |sum: i64, refund| {
            sum.saturating_add(refund.amount.minor())
        })
}
