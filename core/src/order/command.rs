//! What the outside may ask of an order, already parsed and priced.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decider::Idempotency;
use crate::ids::{CustomerId, Fingerprint, IdempotencyKey, OrderId, PaymentMethodId, ProductId};
use crate::money::{Amount, Currency};
use crate::time::Millis;
use crate::trace::TraceContext;

/// A command to the order participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Start the saga of a new order.
    Create(CreateOrder),
    /// Undo the order, if that is still possible.
    Cancel {
        /// Which order.
        order_id: OrderId,
        /// The user's words, for people.
        reason: Arc<str>,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
    /// An operator's nudge for a parked saga.
    Retry {
        /// Which order.
        order_id: OrderId,
        /// The client's key, if it sent one.
        idempotency: Option<Idempotency>,
    },
}

impl OrderCommand {
    /// Which order it is about.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        match self {
            Self::Create(create) => create.order_id,
            Self::Cancel { order_id, .. } | Self::Retry { order_id, .. } => *order_id,
        }
    }
}

/// A new order, priced and checked by whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOrder {
    /// Fresh (UUID v7), or derived from the client's idempotency key (UUID v5).
    pub order_id: OrderId,
    /// `false` only for an id that was minted for this very command.
    pub may_exist: bool,
    /// The order itself.
    pub order: Arc<NewOrder>,
}

/// What an order is about; fixed for its whole life, so that command, event and state
/// share one copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Who buys.
    pub customer_id: CustomerId,
    /// What is bought: 1 to 100 lines.
    pub lines: Arc<[Line]>,
    /// Sum of the lines, in minor units of `currency`.
    pub total: Amount,
    /// Of every amount in the order.
    pub currency: Currency,
    /// The customer's means of payment, passed on to the gateway.
    pub payment_method: Option<PaymentMethodId>,
    /// The client's own notes, given back as they came.
    pub metadata: Arc<[(Arc<str>, MetadataValue)]>,
    /// Wishes for the sandbox; empty with a real gateway.
    pub hints: SandboxHints,
    /// The client's idempotency key, from which the order id was derived.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Of the request, to tell a retry from another request under the same key.
    pub fingerprint: Fingerprint,
    /// The trace that the request belongs to, where it belongs to one: data to hand on.
    pub trace: Option<TraceContext>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub product_id: ProductId,
    /// Units, 1 to 1,000,000.
    pub quantity: u32,
    /// Price of one unit, in minor units of the order's currency.
    pub unit_price: Amount,
}

/// A scalar in an order's metadata, given back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataValue {
    /// A text.
    Text(Arc<str>),
    /// A truth value.
    Bool(bool),
    /// A number, as its JSON token: never a binary float.
    Number(Arc<str>),
}

/// Wishes of a test or a demo for the sandbox. The door leaves them empty when the
/// gateway is a real one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxHints {
    /// Decline the charge.
    pub decline: bool,
    /// Shorten the reservation's hold, in milliseconds.
    pub hold_ms: Option<Millis>,
}
