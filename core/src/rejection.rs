//! Every reason for which a command is refused. A refusal never changed state.

use serde::{Deserialize, Serialize};

use crate::ids::{OrderId, ProductId};
use crate::money::Amount;
use crate::order::{OrderStatus, SagaState};
use crate::payment::PaymentStatus;

/// Why a command was refused. None of these changed anything; each says whether
/// the same command may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The idempotency key was used before with another payload. Use a new key.
    #[error("this idempotency key was already used with a different request")]
    IdempotencyKeyReused,
    /// No order has this id. Trying again helps only once it has been created.
    #[error("no order has the id {0}")]
    OrderNotFound(OrderId),
    /// The order has gone too far to be undone. Final; a confirmed order can be refunded.
    #[error("the order is {status} ({saga}) and can no longer be cancelled")]
    OrderNotCancellable {
        /// The order's status when it was asked.
        status: OrderStatus,
        /// The state of its saga when it was asked.
        saga: SagaState,
    },
    /// Only a parked saga takes an operator's nudge. May change as the saga goes on.
    #[error("the order's saga is not parked ({0}), so there is nothing to retry")]
    SagaNotParked(SagaState),
    /// No product has this id. Create it first.
    #[error("no product has the id {0}")]
    ProductNotFound(ProductId),
    /// A write-off would take units that are promised to orders. May succeed later.
    #[error("stock cannot go to {on_hand}: {reserved} units are reserved for orders")]
    StockBelowReserved {
        /// On hand after the change that was asked for; may be below zero.
        on_hand: i64,
        /// Units reserved now.
        reserved: u64,
    },
    /// The stock would pass the largest quantity that is kept. Final.
    #[error("stock cannot exceed {max} units")]
    StockTooLarge {
        /// The limit in units.
        max: u64,
    },
    /// No payment belongs to this id.
    #[error("order {0} has no payment")]
    PaymentNotFound(OrderId),
    /// Only a payment that succeeded can be refunded.
    #[error("a payment that is {0} cannot be refunded")]
    PaymentNotRefundable(PaymentStatus),
    /// More than what is left of the charge. Ask for less.
    #[error("the refund exceeds what is left of the charge")]
    RefundExceedsCharge {
        /// What may still be refunded, in minor units.
        remaining: Amount,
    },
    /// The payment has had its number of refunds. Final.
    #[error("a payment takes at most {max} refunds")]
    TooManyRefunds {
        /// The limit.
        max: u32,
    },
    /// Too many orders are active. Try again shortly.
    #[error("too many orders are in progress; try again shortly")]
    Overloaded,
    /// The journal has no room. Try again when the operator has made some.
    #[error("the journal's disk is full, so nothing new can be accepted")]
    JournalFull,
    /// Only a parked payment takes an operator's nudge. May change as its call goes on.
    #[error("the payment is {0} and not parked, so there is nothing to retry")]
    PaymentNotParked(PaymentStatus),
    /// Only a payment whose capture was refused can be written off.
    #[error("the payment is {0}, and its capture was not refused: there is nothing to write off")]
    NothingToWriteOff(PaymentStatus),
}
