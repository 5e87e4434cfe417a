//! A payment with its refunds, and how events change it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::event::{PaymentEvent, PaymentFailure, RefundOrigin};
use crate::decider::Recorded;
use crate::gateway::{GatewayCall, GatewayOperation};
use crate::ids::{GatewayReference, IdempotencyKey, OrderId, PaymentMethodId, Sequence};
use crate::money::{Amount, Currency};
use crate::order::SandboxHints;
use crate::planted::planted;
use crate::row::AnswerRecord;
use crate::settings::Settings;
use crate::time::Timestamp;

/// Where a payment stands, for its decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PaymentPhase {
    /// The charge is owed, or its outcome unknown.
    Charging,
    /// The cancelling of the charge is owed.
    Cancelling,
    /// The amount is captured; refunds may be owed.
    Captured,
    /// Refused by the gateway.
    Failed,
    /// Not charged, and it never will be.
    Cancelled,
    /// The amount is set aside; it is taken once the order is confirmed.
    Authorised,
    /// The order is confirmed; taking the amount is owed.
    Capturing,
    /// The order is confirmed, and the gateway will not give what it had set aside. Waits
    /// for a person while it is parked; written off else.
    CaptureFailed,
}

/// Where a payment stands, under the names that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PaymentStatus {
    /// Asked for, not yet begun.
    Pending,
    /// At the gateway.
    Processing,
    /// Captured.
    Succeeded,
    /// Refused.
    Failed,
    /// Never charged.
    Cancelled,
    /// Captured and given back in full.
    Refunded,
}

impl PaymentStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Processing,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Refunded,
    ];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Refunded => "REFUNDED",
        }
    }
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundStatus {
    /// Owed to the gateway.
    Pending,
    /// Given back.
    Succeeded(GatewayReference),
    /// Refused by the gateway, with this code.
    Failed(Arc<str>),
}

/// One refund of a payment. Its number is its place in the list, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// How much, in minor units.
    pub amount: Amount,
    /// Who wants it.
    pub origin: RefundOrigin,
    /// Where it stands.
    pub status: RefundStatus,
    /// When it was asked for.
    pub requested_at: Timestamp,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The order; the payment's id derives from it.
    pub order_id: OrderId,
    /// To charge, in minor units. Zero for a tombstone.
    pub amount: Amount,
    /// Of every amount here.
    pub currency: Currency,
    /// The customer's means of payment.
    pub payment_method: Option<PaymentMethodId>,
    /// Wishes for the sandbox.
    pub hints: SandboxHints,
    /// Where it stands.
    pub phase: PaymentPhase,
    /// The order is undone: what is captured goes back.
    pub undo_requested: bool,
    /// Tries so far of the call that is owed now.
    pub attempts: u32,
    /// When the call that is owed now is due.
    pub due_at: Timestamp,
    /// When the charge is given up.
    pub deadline_at: Timestamp,
    /// The call that is owed keeps failing, or was refused for good: shown to an operator.
    pub parked: bool,
    /// What was last seen of an attempt that came to nothing definite.
    pub last_detail: Option<Arc<str>>,
    /// The gateway's name for the charge.
    pub reference: Option<GatewayReference>,
    /// Why nothing was charged.
    pub failure: Option<PaymentFailure>,
    /// Captured, in minor units, refunds not subtracted.
    pub captured: Amount,
    /// Refunds, in the order in which they were asked for.
    pub refunds: Vec<Refund>,
    /// When payment first heard of the order.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The journal sequence of its last change.
    pub version: Sequence,
}

impl Payment {
    /// Where it stands, as clients see it.
    #[must_use]
    pub fn status(&self) -> PaymentStatus {
        match self.phase {
            PaymentPhase::Charging
            | PaymentPhase::Cancelling
            | PaymentPhase::Authorised
            | PaymentPhase::Capturing => PaymentStatus::Processing,
            PaymentPhase::Captured if self.is_given_back() => PaymentStatus::Refunded,
            PaymentPhase::Captured => PaymentStatus::Succeeded,
            PaymentPhase::Failed | PaymentPhase::CaptureFailed => PaymentStatus::Failed,
            PaymentPhase::Cancelled => PaymentStatus::Cancelled,
        }
    }

    /// The gateway waits for the customer. Until a charge has succeeded, its reference is
    /// known for this reason alone.
    #[must_use]
    pub fn awaits_customer(&self) -> bool {
        self.phase == PaymentPhase::Charging && self.reference.is_some()
    }

    /// Given back so far, in minor units.
    #[must_use]
    pub fn refunded(&self) -> Amount {
        self.refund_total(|status| matches!(status, RefundStatus::Succeeded(_)))
    }

    /// What a further refund may give back, in minor units: neither given back nor
    /// already on its way back.
    #[must_use]
    pub fn refundable(&self) -> Amount {
        let taken = self.refund_total(|status| !matches!(status, RefundStatus::Failed(_)));
        self.captured.checked_sub(taken).unwrap_or_default()
    }

    /// Something was captured, and all of it has been given back.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        !self.captured.is_zero() && self.refunded() == self.captured
    }

    /// The refund that is owed now, with its number.
    #[must_use]
    pub fn pending_refund(&self) -> Option<(u32, &Refund)> {
        (1..)
            .zip(&self.refunds)
            .find(|(_, refund)| refund.status == RefundStatus::Pending)
    }

    /// What is owed to the gateway now.
    #[must_use]
    pub fn owed_operation(&self, settings: &Settings) -> Option<GatewayOperation> {
        match self.phase {
            PaymentPhase::Charging if self.attempts < settings.charge_attempts => {
                Some(GatewayOperation::Charge)
            }
            PaymentPhase::Charging => Some(GatewayOperation::Query),
            PaymentPhase::Captured
                if planted!("second_capture_on_webhook_race") && self.refunds.is_empty() =>
            {
                Some(GatewayOperation::Charge)
            }
            PaymentPhase::Cancelling => Some(GatewayOperation::Cancel),
            PaymentPhase::Capturing => Some(GatewayOperation::Capture),
            PaymentPhase::Captured => {
                self.pending_refund()
                    .map(|(number, _)| GatewayOperation::Refund {
                        number: if planted!("retry_under_new_key") {
                            number + self.attempts
                        } else {
                            number
                        },
                    })
            }
            PaymentPhase::Failed
            | PaymentPhase::Cancelled
            | PaymentPhase::Authorised
            | PaymentPhase::CaptureFailed => None,
        }
    }

    /// Nothing is owed to the gateway, nothing will be unless somebody asks for it, and
    /// nothing waits for a person.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.phase {
            PaymentPhase::Charging
            | PaymentPhase::Cancelling
            | PaymentPhase::Authorised
            | PaymentPhase::Capturing => false,
            PaymentPhase::Captured => {
                self.pending_refund().is_none() || planted!("settled_while_refund_is_owed")
            }
            PaymentPhase::Failed | PaymentPhase::Cancelled => true,
            PaymentPhase::CaptureFailed => !self.parked,
        }
    }

    /// Its capture was refused, and nobody has seen to it yet. Nothing more happens to it
    /// until somebody does.
    #[must_use]
    pub fn waits_for_a_person(&self) -> bool {
        self.phase == PaymentPhase::CaptureFailed && self.parked
    }

    fn refund_total(&self, counts: impl Fn(&RefundStatus) -> bool) -> Amount {
        let amounts = self.refunds.iter().filter(|refund| counts(&refund.status));
        // Refunds never exceed the charge, so their sum is within range.
        Amount::sum(amounts.map(|refund| refund.amount)).unwrap_or_default()
    }

    fn owe_afresh(&mut self, at: Timestamp) {
        self.attempts = 0;
        self.due_at = at;
        self.parked = false;
        self.last_detail = None;
    }

    /// Ends a refund that is owed. One that has ended stays as it ended: its answer may be
    /// repeated, and then says nothing about the call that is owed now.
    fn end_refund(&mut self, number: u32, status: RefundStatus, at: Timestamp) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let refund = index.checked_sub(1).and_then(|i| self.refunds.get_mut(i));
        if let Some(refund) = refund.filter(|refund| refund.status == RefundStatus::Pending) {
            refund.status = status;
            self.owe_afresh(at);
        }
    }

    fn apply(&mut self, event: &PaymentEvent, at: Timestamp) {
        match event {
            PaymentEvent::PaymentAttempted {
                attempts,
                retry_at,
                detail,
                ..
            } => {
                self.attempts = *attempts;
                self.due_at = *retry_at;
                self.last_detail = Some(detail.clone());
            }
            // An answer repeated to one who asked again changes nothing.
            PaymentEvent::PaymentSucceeded { .. } if self.phase == PaymentPhase::Captured => {}
            PaymentEvent::PaymentSucceeded { reference, .. } => {
                self.capture(reference.clone());
                self.owe_afresh(at);
            }
            PaymentEvent::PaymentCapturedLate { reference, .. } => {
                self.capture(Some(reference.clone()));
                self.undo_requested = true;
                self.owe_afresh(at);
            }
            PaymentEvent::PaymentFailed { failure, .. } => {
                self.phase = PaymentPhase::Failed;
                self.failure = Some(failure.clone());
                self.parked = false;
            }
            PaymentEvent::PaymentCancelled { failure, .. } => {
                self.phase = PaymentPhase::Cancelled;
                self.failure = Some(failure.clone());
                self.parked = false;
            }
            PaymentEvent::PaymentCancelRequested { .. } => {
                self.phase = PaymentPhase::Cancelling;
                self.owe_afresh(at);
            }
            PaymentEvent::PaymentUndoRequested { .. } => {
                self.undo_requested = true;
                if matches!(
                    self.phase,
                    PaymentPhase::Charging | PaymentPhase::Authorised | PaymentPhase::Capturing
                ) {
                    self.phase = PaymentPhase::Cancelling;
                    self.owe_afresh(at);
                }
            }
            PaymentEvent::RefundRequested { amount, origin, .. } => {
                if self.pending_refund().is_none() {
                    self.owe_afresh(at);
                }
                self.refunds.push(Refund {
                    amount: *amount,
                    origin: *origin,
                    status: RefundStatus::Pending,
                    requested_at: at,
                });
            }
            PaymentEvent::PaymentRefunded {
                number, reference, ..
            } => {
                self.end_refund(*number, RefundStatus::Succeeded(reference.clone()), at);
            }
            PaymentEvent::RefundFailed { number, code, .. } => {
                self.end_refund(*number, RefundStatus::Failed(code.clone()), at);
            }
            PaymentEvent::PaymentActionRequired { reference, .. } => {
                self.reference = Some(reference.clone());
            }
            // Repeated to one who asked again, it changes nothing.
            PaymentEvent::PaymentAuthorised { reference, .. } => {
                if self.phase == PaymentPhase::Charging {
                    self.phase = PaymentPhase::Authorised;
                    self.reference = Some(reference.clone());
                    self.owe_afresh(at);
                }
            }
            PaymentEvent::PaymentCaptureRequested { .. } => {
                if self.phase == PaymentPhase::Authorised {
                    self.phase = PaymentPhase::Capturing;
                    self.owe_afresh(at);
                }
            }
            PaymentEvent::PaymentCaptureFailed { code, .. } => {
                if self.phase == PaymentPhase::Capturing {
                    self.phase = PaymentPhase::CaptureFailed;
                    self.owe_afresh(at);
                    self.failure = Some(PaymentFailure::CaptureRefused { code: code.clone() });
                    self.last_detail = Some(code.clone());
                    self.parked = true;
                }
            }
            PaymentEvent::PaymentWrittenOff { .. } => self.parked = false,
            PaymentEvent::PaymentParked { .. } => self.parked = true,
            PaymentEvent::PaymentRetried { .. } => {
                if self.phase == PaymentPhase::CaptureFailed {
                    self.phase = PaymentPhase::Capturing;
                    self.failure = None;
                }
                self.owe_afresh(at);
            }
            PaymentEvent::PaymentProcessing { .. }
            | PaymentEvent::Answered(_)
            | PaymentEvent::Recalled(_) => {}
        }
    }

    fn capture(&mut self, reference: Option<GatewayReference>) {
        self.phase = PaymentPhase::Captured;
        self.captured = self.amount;
        self.failure = None;
        self.reference = reference;
    }
}

/// The fold of the payment journal, less what is settled and has left memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentState {
    /// Payments in memory.
    pub payments: BTreeMap<OrderId, Box<Payment>>,
    /// Kept answers that have not left memory yet.
    pub answers: BTreeMap<IdempotencyKey, Box<AnswerRecord>>,
}

impl PaymentState {
    /// The payment, if it is in memory.
    #[must_use]
    pub fn payment(&self, order_id: OrderId) -> Option<&Payment> {
        self.payments.get(&order_id).map(AsRef::as_ref)
    }

    pub(super) fn owed_call(
        &self,
        settings: &Settings,
        order_id: OrderId,
    ) -> Option<(Timestamp, GatewayCall)> {
        let payment = self.payment(order_id)?;
        let operation = payment.owed_operation(settings)?;
        let amount = match payment.pending_refund() {
            Some((_, refund)) if !planted!("refund_charged_amount") => refund.amount,
            Some(_) => payment.captured,
            None => payment.amount,
        };
        let call = GatewayCall {
            order_id,
            operation,
            attempt: payment.attempts,
            amount,
            currency: payment.currency,
            payment_method: payment.payment_method.clone(),
            reference: payment.reference.clone(),
            hints: payment.hints,
            requested_at: payment.created_at,
        };
        Some((payment.due_at, call))
    }

    pub(super) fn evolve(&mut self, recorded: &Recorded<PaymentEvent>, sequence: Sequence) {
        let at = recorded.at;
        match &recorded.event {
            PaymentEvent::PaymentProcessing {
                order_id,
                amount,
                currency,
                payment_method,
                hints,
                deadline_at,
            } => {
                self.payments.entry(*order_id).or_insert_with(|| {
                    let mut payment = new_payment(*order_id, *currency, at);
                    payment.amount = *amount;
                    payment.payment_method.clone_from(payment_method);
                    payment.hints = *hints;
                    payment.deadline_at = *deadline_at;
                    payment.version = sequence;
                    Box::new(payment)
                });
            }
            PaymentEvent::Answered(record) => {
                self.answers.insert(record.key.clone(), record.clone());
            }
            PaymentEvent::Recalled(payment) => {
                let mut payment = payment.clone();
                payment.version = sequence;
                self.payments.insert(payment.order_id, payment);
            }
            event => {
                let Some(order_id) = event.order_id() else {
                    return;
                };
                if let PaymentEvent::PaymentCancelled {
                    forestalled: Some(currency),
                    ..
                } = event
                {
                    self.payments
                        .entry(order_id)
                        .or_insert_with(|| Box::new(new_payment(order_id, *currency, at)));
                }
                if let Some(payment) = self.payments.get_mut(&order_id) {
                    payment.apply(event, at);
                    payment.updated_at = at;
                    payment.version = sequence;
                }
            }
        }
    }
}

fn new_payment(order_id: OrderId, currency: Currency, at: Timestamp) -> Payment {
    Payment {
        order_id,
        amount: Amount::ZERO,
        currency,
        payment_method: None,
        hints: SandboxHints::default(),
        phase: PaymentPhase::Charging,
        undo_requested: false,
        attempts: 0,
        due_at: at,
        deadline_at: at,
        parked: false,
        last_detail: None,
        reference: None,
        failure: None,
        captured: Amount::ZERO,
        refunds: Vec::new(),
        created_at: at,
        updated_at: at,
        version: Sequence::NONE,
    }
}
