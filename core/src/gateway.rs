//! The vocabulary between the payment participant and whatever carries out its calls.
//!
//! A gateway's answer has three values: it succeeded, it was rejected, or **nobody
//! knows** (time-out, 5xx, crash between call and answer). Unknown is a state of the
//! payment and not an error.
//!
//! ```text
//! What an adapter owes the core
//!  - it answers every call exactly once, with `Unknown` when it gave up waiting;
//!  - two calls with one idempotency key are one call at the gateway;
//!  - after `Cancelled`, no charge of that payment succeeds any more. Should one all
//!    the same, the adapter reports it, and the core refunds it.
//! ```

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{GatewayReference, OrderId, PaymentMethodId};
use crate::money::{Amount, Currency};
use crate::order::SandboxHints;
use crate::time::Timestamp;

/// What is to be done at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GatewayOperation {
    /// Authorise and capture the amount.
    Charge,
    /// Ask what became of the charge.
    Query,
    /// Make sure that the charge does not happen.
    Cancel,
    /// Give back `amount` as refund number `number` of this payment.
    Refund {
        /// Counts the refunds of one payment, from 1.
        number: u32,
    },
    /// Take the money that was authorised. Owed once the stock is committed, and only
    /// where a charge is authorised first.
    Capture,
}

/// A call that the payment participant owes to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayCall {
    /// The order; the payment's id derives from it.
    pub order_id: OrderId,
    /// What to do.
    pub operation: GatewayOperation,
    /// Attempts of this operation before this one. Not part of the idempotency key:
    /// every attempt names the same thing.
    pub attempt: u32,
    /// Amount to charge, or to give back, in minor units.
    pub amount: Amount,
    /// Currency of the amount.
    pub currency: Currency,
    /// The customer's means of payment, where the order named one.
    pub payment_method: Option<PaymentMethodId>,
    /// The gateway's name for the charge, once it is known.
    pub reference: Option<GatewayReference>,
    /// Wishes for the sandbox gateway; a real one ignores them.
    pub hints: SandboxHints,
    /// When the payment was asked for: an adapter that looks the charge up need not look
    /// further back.
    pub requested_at: Timestamp,
}

/// What a gateway call came to, or what the gateway reported by itself (a webhook).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayOutcome {
    /// The whole amount is captured: now (charge, query) or before (cancel came too late).
    Succeeded {
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
    /// The gateway refused the charge, the capture or the refund, for good.
    Rejected {
        /// The gateway's code, such as `card_declined`.
        code: Arc<str>,
    },
    /// The gateway is still at it; ask again later.
    Pending,
    /// The gateway has never heard of the charge.
    NotFound,
    /// Nothing was charged, and nothing will be.
    Cancelled,
    /// The refund is done.
    Refunded {
        /// The gateway's name for the refund.
        reference: GatewayReference,
    },
    /// Nobody knows: time-out, 5xx, broken connection, crash.
    Unknown {
        /// What was seen, for people.
        detail: Arc<str>,
    },
    /// The amount is set aside for us and not yet taken: a capture takes it, a cancel
    /// lets it go.
    Authorised {
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
    /// The customer has to do something first (3-D Secure); ask again later.
    ActionRequired {
        /// The gateway's name for the charge.
        reference: GatewayReference,
    },
}
