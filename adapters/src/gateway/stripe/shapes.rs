//! Stripe's objects, as far as they are read here.
//!
//! Everything that could be missing may be: a field more or less is no reason to lose
//! track of a payment. What an answer says beyond this is not looked at.

use a4co_core::ids::OrderId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `metadata` of what we make: whose payment it is.
pub(super) const ORDER_ID: &str = "order_id";
/// `metadata` of a refund: which one of its payment.
pub(super) const REFUND: &str = "refund";
/// `metadata` of a refund that is made again: which of its keys it has.
pub(super) const REFUND_KEY: &str = "refund_key";

/// Our words on an object.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) order_id: Option<String>,
    #[serde(default)]
    pub(super) refund: Option<String>,
    #[serde(default)]
    refund_key: Option<String>,
}

impl Metadata {
    pub(super) fn order(&self) -> Option<OrderId> {
        OrderId::parse(self.order_id.as_deref()?).ok()
    }

    pub(super) fn refund_number(&self) -> Option<u32> {
        self.refund.as_deref()?.parse().ok()
    }

    /// The first one says nothing of it.
    pub(super) fn refund_key(&self) -> u32 {
        let key = self.refund_key.as_deref().and_then(|key| key.parse().ok());
        key.unwrap_or(1)
    }
}

/// A payment intent.
#[derive(Clone, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) amount: i64,
    #[serde(default)]
    pub(super) amount_received: Option<i64>,
    #[serde(default)]
    pub(super) currency: String,
    #[serde(default)]
    pub(super) latest_charge: Option<LatestCharge>,
    #[serde(default)]
    pub(super) created: u64,
    #[serde(default)]
    pub(super) client_secret: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
    #[serde(default)]
    pub(super) last_payment_error: Option<ErrorObject>,
    #[serde(default)]
    pub(super) cancellation_reason: Option<String>,
}

impl std::fmt::Debug for Intent {
    // The client secret lets whoever has it act for the customer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intent")
            .field("id", &self.id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Intent {
    pub(super) fn order(&self) -> Option<OrderId> {
        self.metadata.as_ref()?.order()
    }
}

/// The charge of an intent: whole where it was asked for, else its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum LatestCharge {
    Whole(Charge),
    Other(serde::de::IgnoredAny),
}

/// A charge.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Charge {
    #[serde(default)]
    pub(super) amount_refunded: i64,
}

/// A refund.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) failure_reason: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
}

impl Refund {
    /// Nothing was given back, and nothing will be.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// The body of an answer that is an error.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: ErrorObject,
}

/// What went wrong.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ErrorObject {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
    #[serde(default)]
    pub(super) payment_intent: Option<Box<Intent>>,
}

impl ErrorObject {
    /// The most telling of its codes, for people and for the reason of a cancellation.
    pub(super) fn reason(&self) -> &str {
        let codes = [&self.decline_code, &self.code, &self.kind];
        let code = codes.into_iter().flatten().find(|code| !code.is_empty());
        code.map_or("declined", String::as_str)
    }
}

/// An event, as a webhook brings it.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) livemode: bool,
    pub(super) data: EventData,
}

/// What an event is about, read once its type is known.
#[derive(Debug, Deserialize)]
pub(super) struct EventData {
    pub(super) object: serde_json::Value,
}
