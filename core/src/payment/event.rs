//! What payment can be asked, and what it decides.

use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::Payment;
use crate::decider::Idempotency;
use crate::gateway::{GatewayOperation, GatewayOutcome};
use crate::ids::{GatewayReference, OrderId, PaymentMethodId};
use crate::money::{Amount, Currency};
use crate::order::SandboxHints;
use crate::row::AnswerRecord;
use crate::time::Timestamp;

/// A command to the payment participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentCommand {
    /// Give back part of a charge, or all that is left of it.
    Refund {
        /// Whose payment.
        order_id: OrderId,
        /// How much, in minor units; above zero. `None` is all that is left.
        amount: Option<Amount>,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
    /// What the gateway says by itself (a webhook). A command, so that whoever brings it
    /// is answered once what it led to is durable, and so that it reaches the leader.
    Report {
        /// Whose payment.
        order_id: OrderId,
        /// The refund that it is about; `None` for the charge.
        refund: Option<u32>,
        /// What the gateway says.
        outcome: GatewayOutcome,
    },
    /// An operator's nudge for a call that keeps failing after the order itself has ended:
    /// a capture, or a refund that an operator asked for.
    Retry {
        /// Whose payment.
        order_id: OrderId,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
    /// An operator has seen to a payment whose capture was refused: the money was had in
    /// another way, or it is given up. Nothing waits for anybody any more.
    WriteOff {
        /// Whose payment.
        order_id: OrderId,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
}

impl PaymentCommand {
    /// Whose payment it is about.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        match self {
            Self::Refund { order_id, .. }
            | Self::Report { order_id, .. }
            | Self::Retry { order_id, .. }
            | Self::WriteOff { order_id, .. } => *order_id,
        }
    }
}

/// An event of the payment journal. The order of the variants is part of the format at
/// rest: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    /// The charge is owed to the gateway from now on.
    PaymentProcessing {
        /// The order; the payment's id derives from it.
        order_id: OrderId,
        /// To charge, in minor units.
        amount: Amount,
        /// Of the amount.
        currency: Currency,
        /// The customer's means of payment.
        payment_method: Option<PaymentMethodId>,
        /// Wishes for the sandbox.
        hints: SandboxHints,
        /// When the charge is given up and cancelled.
        deadline_at: Timestamp,
    },
    /// A gateway call came to nothing definite; it is tried again.
    PaymentAttempted {
        /// The order.
        order_id: OrderId,
        /// What was tried.
        operation: GatewayOperation,
        /// Tries so far, as far as the choice of the next call is concerned.
        attempts: u32,
        /// When it is tried again.
        retry_at: Timestamp,
        /// What was seen, for people.
        detail: Arc<str>,
    },
    /// The amount is captured.
    PaymentSucceeded {
        /// The order.
        order_id: OrderId,
        /// The gateway's name for the charge; none where nothing was to be paid.
        reference: Option<GatewayReference>,
    },
    /// Nothing is charged: the gateway refused.
    PaymentFailed {
        /// The order.
        order_id: OrderId,
        /// Why.
        failure: PaymentFailure,
    },
    /// The charge took too long: from now on its cancelling is owed to the gateway.
    PaymentCancelRequested {
        /// The order.
        order_id: OrderId,
    },
    /// The order is undone: whatever is, or will be, charged goes back.
    PaymentUndoRequested {
        /// The order.
        order_id: OrderId,
    },
    /// Nothing is charged, and nothing will be.
    PaymentCancelled {
        /// The order.
        order_id: OrderId,
        /// Why.
        failure: PaymentFailure,
        /// The order's currency where payment had not heard of the order before: a
        /// tombstone, so that a late request charges nothing.
        forestalled: Option<Currency>,
    },
    /// The gateway captured the amount after we had given up on it. A refund follows in
    /// the same append.
    PaymentCapturedLate {
        /// The order.
        order_id: OrderId,
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
    /// A refund is owed to the gateway from now on.
    RefundRequested {
        /// The order.
        order_id: OrderId,
        /// Counts the refunds of this payment, from 1.
        number: u32,
        /// How much, in minor units.
        amount: Amount,
        /// Who wants it.
        origin: RefundOrigin,
    },
    /// A refund is done.
    PaymentRefunded {
        /// The order.
        order_id: OrderId,
        /// Which refund.
        number: u32,
        /// How much, in minor units.
        amount: Amount,
        /// The gateway's name for the refund.
        reference: GatewayReference,
        /// All that was captured has been given back.
        nothing_left: bool,
    },
    /// The gateway refused a refund that an operator had asked for.
    RefundFailed {
        /// The order.
        order_id: OrderId,
        /// Which refund.
        number: u32,
        /// The gateway's code.
        code: Arc<str>,
    },
    /// Cancelling, capturing or refunding keeps failing. It is retried slowly, and shown.
    PaymentParked {
        /// The order.
        order_id: OrderId,
        /// What keeps failing.
        operation: GatewayOperation,
    },
    /// An operator asked for another try, at once.
    PaymentRetried {
        /// The order.
        order_id: OrderId,
    },
    /// A command's answer, kept under its idempotency key.
    Answered(Box<AnswerRecord>),
    /// A payment that had left memory is back in it, as it was.
    Recalled(Box<Payment>),
    /// The gateway waits for the customer (3-D Secure), until the payment's deadline.
    PaymentActionRequired {
        /// The order.
        order_id: OrderId,
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
    /// The amount is set aside and not yet taken: the stock may be committed.
    PaymentAuthorised {
        /// The order.
        order_id: OrderId,
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
    /// The order is confirmed: taking the authorised amount is owed to the gateway.
    PaymentCaptureRequested {
        /// The order.
        order_id: OrderId,
    },
    /// The gateway will not give what it had set aside: the order is confirmed and not paid.
    /// Nothing is owed to the gateway any more; a person has to see to it.
    PaymentCaptureFailed {
        /// The order.
        order_id: OrderId,
        /// The gateway's code.
        code: Arc<str>,
    },
    /// A person has seen to a payment whose capture was refused.
    PaymentWrittenOff {
        /// The order.
        order_id: OrderId,
    },
}

/// Why nothing was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentFailure {
    /// The gateway said no.
    Declined {
        /// The gateway's code.
        code: Arc<str>,
    },
    /// No definite answer in time.
    TimedOut,
    /// The order was undone.
    Undone,
    /// The amount was set aside, and the gateway did not give it when it was to be taken.
    CaptureRefused {
        /// The gateway's code, such as `authorisation_expired`.
        code: Arc<str>,
    },
}

impl core::fmt::Display for PaymentFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Declined { code } => write!(f, "declined: {code}"),
            Self::TimedOut => f.write_str("no answer from the gateway in time"),
            Self::Undone => f.write_str("the order was undone"),
            Self::CaptureRefused { code } => write!(f, "capture refused: {code}"),
        }
    }
}

/// Who wants a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundOrigin {
    /// The saga: it must succeed in the end, so a refusal is retried and parked.
    Compensation,
    /// A person: a refusal is an answer.
    Operator,
}

impl PaymentEvent {
    /// The order that this event is about; none for a kept answer.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::PaymentProcessing { order_id, .. }
            | Self::PaymentAttempted { order_id, .. }
            | Self::PaymentSucceeded { order_id, .. }
            | Self::PaymentFailed { order_id, .. }
            | Self::PaymentCancelRequested { order_id }
            | Self::PaymentUndoRequested { order_id }
            | Self::PaymentCancelled { order_id, .. }
            | Self::PaymentCapturedLate { order_id, .. }
            | Self::RefundRequested { order_id, .. }
            | Self::PaymentRefunded { order_id, .. }
            | Self::RefundFailed { order_id, .. }
            | Self::PaymentParked { order_id, .. }
            | Self::PaymentRetried { order_id }
            | Self::PaymentActionRequired { order_id, .. }
            | Self::PaymentAuthorised { order_id, .. }
            | Self::PaymentCaptureRequested { order_id }
            | Self::PaymentCaptureFailed { order_id, .. }
            | Self::PaymentWrittenOff { order_id } => Some(*order_id),
            Self::Recalled(payment) => Some(payment.order_id),
            Self::Answered(_) => None,
        }
    }

    /// The event's name, as CONTRACT and logs have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PaymentProcessing { .. } => "PaymentProcessing",
            Self::PaymentAttempted { .. } => "PaymentAttempted",
            Self::PaymentSucceeded { .. } => "PaymentSucceeded",
            Self::PaymentFailed { .. } => "PaymentFailed",
            Self::PaymentCancelRequested { .. } => "PaymentCancelRequested",
            Self::PaymentUndoRequested { .. } => "PaymentUndoRequested",
            Self::PaymentCancelled { .. } => "PaymentCancelled",
            Self::PaymentCapturedLate { .. } => "PaymentCapturedLate",
            Self::RefundRequested { .. } => "RefundRequested",
            Self::PaymentRefunded { .. } => "PaymentRefunded",
            Self::RefundFailed { .. } => "RefundFailed",
            Self::PaymentParked { .. } => "PaymentParked",
            Self::PaymentRetried { .. } => "PaymentRetried",
            Self::Answered(_) => "Answered",
            Self::Recalled(_) => "Recalled",
            Self::PaymentActionRequired { .. } => "PaymentActionRequired",
            Self::PaymentAuthorised { .. } => "PaymentAuthorised",
            Self::PaymentCaptureRequested { .. } => "PaymentCaptureRequested",
            Self::PaymentCaptureFailed { .. } => "PaymentCaptureFailed",
            Self::PaymentWrittenOff { .. } => "PaymentWrittenOff",
        }
    }
}
