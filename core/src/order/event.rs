//! What the order participant decides. Its journal holds nothing else.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::command::{NewOrder, SandboxHints};
use super::state::Order;
use crate::ids::{OrderId, PaymentMethodId, ProductId};
use crate::money::{Amount, Currency};
use crate::row::AnswerRecord;
use crate::shards::{ShardId, StockAnswer};
use crate::time::Timestamp;

/// An event of the order journal. The order of the variants is part of the format at
/// rest: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// The saga began. Inventory reads this as the request to reserve every line.
    OrderCreated {
        /// The order.
        order_id: OrderId,
        /// What it is about.
        order: Arc<NewOrder>,
        /// When the saga gives up.
        deadline_at: Timestamp,
    },
    /// Stock is held; payment is asked for.
    PaymentRequested {
        /// The order.
        order_id: OrderId,
        /// To charge, in minor units.
        amount: Amount,
        /// Of the amount.
        currency: Currency,
        /// The customer's means of payment.
        payment_method: Option<PaymentMethodId>,
        /// Wishes for the sandbox.
        hints: SandboxHints,
        /// When payment gives up and cancels the charge.
        deadline_at: Timestamp,
    },
    /// The money is captured; inventory is asked to make the hold final.
    CommitRequested {
        /// The order.
        order_id: OrderId,
    },
    /// Paid and committed: the order is complete.
    OrderConfirmed {
        /// The order.
        order_id: OrderId,
    },
    /// Stock was short; nothing else had been done.
    OrderFailed {
        /// The order.
        order_id: OrderId,
        /// Every line that was short.
        shortages: Vec<Shortage>,
    },
    /// All that was done, or may have been, is to be undone.
    CompensationRequested {
        /// The order.
        order_id: OrderId,
        /// Why.
        reason: CancelReason,
        /// Which parts are asked to undo.
        undo: Undo,
        /// The order's, for a payment that has not heard of the order yet.
        currency: Currency,
    },
    /// One part has confirmed its undo.
    UndoAcknowledged {
        /// The order.
        order_id: OrderId,
        /// Which part.
        part: UndoPart,
    },
    /// An undo (or the cancelling of a charge) keeps failing and waits for a person;
    /// it is still retried, slowly.
    SagaParked {
        /// The order.
        order_id: OrderId,
    },
    /// An operator asked for the parked step to be tried at once.
    RetryRequested {
        /// The order.
        order_id: OrderId,
    },
    /// Every undo is acknowledged: nothing of the order is left.
    OrderCancelled {
        /// The order.
        order_id: OrderId,
    },
    /// A command's answer, kept under its idempotency key.
    Answered(Box<AnswerRecord>),
    /// An order that had left memory is back in it, as it was.
    Recalled(Box<Order>),
    /// With several shards: a step of the saga that asks something of stock.
    Asked {
        /// The step, one of the above.
        step: Box<OrderEvent>,
        /// The inventory shards that are asked, in order of number. Named, so that the
        /// others need not look whether they know the order.
        stock: Vec<ShardId>,
    },
    /// With several shards: an inventory shard answered, and its part stands elsewhere now.
    StockAnswered {
        /// The order.
        order_id: OrderId,
        /// Whose journal the answer is from.
        shard: ShardId,
        /// What it came to.
        answer: StockAnswer,
    },
    /// With several shards: a line was short in one, so these are asked to hold nothing.
    /// The order fails once they have said so.
    StockGivenUp {
        /// The order.
        order_id: OrderId,
        /// Every shard that holds its part, or may.
        stock: Vec<ShardId>,
    },
}

/// A line that could not be reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Which product.
    pub product_id: ProductId,
    /// Units asked for, over all lines of the order.
    pub requested: u64,
    /// Units that were available.
    pub available: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            product_id,
            requested,
            available,
        } = self;
        write!(
            f,
            "{product_id}: {requested} requested, {available} available"
        )
    }
}

/// Which parts a compensation asks to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Inventory releases the hold, or makes sure that there never is one.
    pub stock: bool,
    /// Payment cancels the charge, or refunds it.
    pub payment: bool,
}

/// One part of a compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UndoPart {
    /// The hold.
    Stock,
    /// The charge.
    Payment,
}

/// Why an order was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReason {
    /// The user asked for it, in these words.
    Requested(Arc<str>),
    /// The gateway refused the charge, with this code.
    PaymentFailed(Arc<str>),
    /// No definite answer to the charge within the payment timeout.
    PaymentTimedOut,
    /// The saga as a whole took too long.
    SagaTimedOut,
    /// The hold ended before the payment did.
    HoldExpired,
    /// Paid, but the hold had ended and the stock was sold: refunded.
    CommitRefused,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested(words) => f.write_str(words),
            Self::PaymentFailed(code) => write!(f, "payment failed: {code}"),
            Self::PaymentTimedOut => f.write_str("payment timeout: no answer in time"),
            Self::SagaTimedOut => f.write_str("timeout: the order took too long"),
            Self::HoldExpired => f.write_str("the stock reservation expired"),
            Self::CommitRefused => f.write_str(
                "the stock reservation expired and the stock was sold; payment refunded",
            ),
        }
    }
}

impl CancelReason {
    /// A bounded name for metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "user_cancelled",
            Self::PaymentFailed(_) => "payment_failed",
            Self::PaymentTimedOut => "payment_timeout",
            Self::SagaTimedOut => "saga_timeout",
            Self::HoldExpired => "reservation_expired",
            Self::CommitRefused => "commit_refused",
        }
    }
}

impl OrderEvent {
    /// The order that this event is about; none for a kept answer.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::OrderCreated { order_id, .. }
            | Self::PaymentRequested { order_id, .. }
            | Self::CommitRequested { order_id }
            | Self::OrderConfirmed { order_id }
            | Self::OrderFailed { order_id, .. }
            | Self::CompensationRequested { order_id, .. }
            | Self::UndoAcknowledged { order_id, .. }
            | Self::SagaParked { order_id }
            | Self::RetryRequested { order_id }
            | Self::OrderCancelled { order_id }
            | Self::StockAnswered { order_id, .. }
            | Self::StockGivenUp { order_id, .. } => Some(*order_id),
            Self::Asked { step, .. } => step.order_id(),
            Self::Recalled(order) => Some(order.order_id),
            Self::Answered(_) => None,
        }
    }

    /// The event as it would be without shards: what payment reads, and what the saga does.
    #[must_use]
    pub fn step(&self) -> &Self {
        match self {
            Self::Asked { step, .. } => step,
            event => event,
        }
    }

    /// The inventory shards that it asks something of.
    #[must_use]
    pub fn asks(&self) -> &[ShardId] {
        match self {
            Self::Asked { stock, .. } | Self::StockGivenUp { stock, .. } => stock,
            _ => &[],
        }
    }

    /// The event's name, as CONTRACT and logs have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OrderCreated { .. } => "OrderCreated",
            Self::PaymentRequested { .. } => "PaymentRequested",
            Self::CommitRequested { .. } => "CommitRequested",
            Self::OrderConfirmed { .. } => "OrderConfirmed",
            Self::OrderFailed { .. } => "OrderFailed",
            Self::CompensationRequested { .. } => "CompensationRequested",
            Self::UndoAcknowledged { .. } => "UndoAcknowledged",
            Self::SagaParked { .. } => "SagaParked",
            Self::RetryRequested { .. } => "RetryRequested",
            Self::OrderCancelled { .. } => "OrderCancelled",
            Self::Answered(_) => "Answered",
            Self::Recalled(_) => "Recalled",
            Self::Asked { step, .. } => step.name(),
            Self::StockAnswered { .. } => "StockAnswered",
            Self::StockGivenUp { .. } => "StockGivenUp",
        }
    }
}
