//! The public events: what the journals tell the outside, one CloudEvent for each.
//!
//! Apart from NATS so that the codec can be fuzzed and read without a server: an event is
//! a list of headers and a JSON body (CloudEvents 1.0, binary mode). Reading is total: any
//! headers and bytes give an event or an error, never a panic.
//!
//! ```text
//! What an event promises
//!  - its id names one event of one journal for ever: a repeated id is the same event;
//!  - events of one order come in the order in which its participant decided them;
//!  - it is delivered at least once.
//! ```

mod project;
mod traces;

use a4co_core::ids::OrderId;
use a4co_core::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::project::{project, project_entry};
pub use self::traces::Traces;

/// `ce-source` of every event.
pub const SOURCE_PREFIX: &str = "/a4co/";

/// The largest body that is read, in bytes: an order of 100 lines takes a tenth of it.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// One stream of public events, and who owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublicStream {
    /// `ORDERS`, owned by the order participant.
    Orders,
    /// `INVENTORY`, owned by the inventory participant.
    Inventory,
    /// `PAYMENTS`, owned by the payment participant.
    Payments,
}

impl PublicStream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Orders, Self::Inventory, Self::Payments];

    /// The stream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "ORDERS",
            Self::Inventory => "INVENTORY",
            Self::Payments => "PAYMENTS",
        }
    }

    /// The subjects that it holds.
    #[must_use]
    pub const fn subjects(self) -> &'static str {
        match self {
            Self::Orders => "orders.>",
            Self::Inventory => "inventory.>",
            Self::Payments => "payments.>",
        }
    }

    /// The participant that owns it, as in `ce-source`.
    #[must_use]
    pub const fn owner(self) -> &'static str {
        match self {
            Self::Orders => "order",
            Self::Inventory => "inventory",
            Self::Payments => "payment",
        }
    }
}

/// Declares the kinds of event with their type, stream and subject.
macro_rules! kinds {
    ($($kind:ident: $stream:ident, $subject:literal, $doc:literal;)+) => {
        /// What happened. `ce-type` is the variant's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $(#[doc = $doc] $kind,)+ }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// `ce-type`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)+ }
            }

            /// The subject that it is published under.
            #[must_use]
            pub const fn subject(self) -> &'static str {
                match self { $(Self::$kind => $subject,)+ }
            }

            /// The stream that holds it.
            #[must_use]
            pub const fn stream(self) -> PublicStream {
                match self { $(Self::$kind => PublicStream::$stream,)+ }
            }
        }
    };
}

kinds! {
    OrderCreated: Orders, "orders.created", "An order was accepted.";
    PaymentRequested: Orders, "orders.payment_requested", "Stock is held; payment is asked for.";
    CommitRequested: Orders, "orders.commit_requested", "Paid; the hold is to become final.";
    OrderConfirmed: Orders, "orders.confirmed", "Paid and committed.";
    OrderFailed: Orders, "orders.failed", "Stock was short.";
    CompensationRequested: Orders, "orders.compensation_requested", "All is to be undone.";
    OrderCancelled: Orders, "orders.cancelled", "All is undone.";
    InventoryReserved: Inventory, "inventory.reserved", "Every line is held.";
    InventoryOutOfStock: Inventory, "inventory.out_of_stock", "Some line was short.";
    InventoryCommitted: Inventory, "inventory.committed", "The held units are sold.";
    InventoryCommitRefused: Inventory, "inventory.commit_refused", "The hold was gone and the units are sold.";
    InventoryReleased: Inventory, "inventory.released", "Nothing is held any more.";
    InventoryExpired: Inventory, "inventory.expired", "The hold came to its end.";
    PaymentProcessing: Payments, "payments.processing", "The charge is under way.";
    PaymentSucceeded: Payments, "payments.succeeded", "The amount is captured.";
    PaymentFailed: Payments, "payments.failed", "The gateway refused.";
    PaymentCancelled: Payments, "payments.cancelled", "Nothing is charged, and nothing will be.";
    PaymentRefunded: Payments, "payments.refunded", "A refund is done.";
    PaymentCaptureFailed: Payments, "payments.capture_failed", "The order is confirmed, and the gateway did not give what it had set aside.";
}

/// One public event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicEvent {
    /// `ce-id`: names this event for ever.
    pub id: String,
    /// What happened.
    pub kind: Kind,
    /// When it was decided: `ce-time`, in milliseconds.
    pub at: Timestamp,
    /// Whose order: `ce-subject`.
    pub order_id: OrderId,
    /// W3C trace context of the request that led to it, where one is known.
    pub traceparent: Option<String>,
    /// The body.
    pub data: Body,
}

/// The body. Which fields there are depends on the kind; the order's id is always there,
/// for readers that look at bodies alone. Amounts are whole minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Body {
    /// The order.
    pub order_id: String,
    /// Who buys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Lines ordered, or units held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// Minor units of `currency`: the order's total, the charge or the refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// ISO 4217; absent where the event does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Products that were short.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<Short>,
    /// A bounded name of the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the hold ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The gateway's name for the charge or the refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_reference: Option<String>,
    /// Counts the refunds of a payment, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_number: Option<u32>,
}

/// Units of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Which product.
    pub product_id: String,
    /// Units.
    pub quantity: u64,
    /// Price of one unit in minor units, in an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price_minor: Option<i64>,
}

/// A product that was short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Short {
    /// Which product.
    pub product_id: String,
    /// Units asked for.
    pub requested: u64,
    /// Units that were there.
    pub available: u64,
}

/// Headers and body that are no public event. Nothing was changed by reading them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A header that every event has is missing.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header is not what it should be.
    #[error("the header {0} cannot be read")]
    Malformed(&'static str),
    /// Another version of CloudEvents.
    #[error("the CloudEvents version is not 1.0")]
    Version,
    /// A type that this build does not know.
    #[error("the event's type is not known to this build")]
    UnknownType,
    /// The body is too large.
    #[error("the body has {0} bytes, above {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// The body is not the JSON of an event.
    #[error("the body is not that of an event: {0}")]
    Body(String),
    /// The body is about another order than the header.
    #[error("the body and ce-subject name different orders")]
    OtherOrder,
}

impl PublicEvent {
    /// The headers, each once.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", self.id.clone()),
            ("ce-type", self.kind.name().to_owned()),
            ("ce-source", self.source()),
            ("ce-time", self.at.to_string()),
            ("ce-subject", self.order_id.to_string()),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(self.traceparent.clone().map(|it| ("traceparent", it)));
        headers
    }

    /// `ce-source`: `/a4co/` and the participant.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{SOURCE_PREFIX}{}", self.kind.stream().owner())
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        // Texts and numbers only: there is nothing that could fail to be written.
        serde_json::to_vec(&self.data).unwrap_or_default()
    }

    /// Reads an event from its headers, by name, and its body.
    ///
    /// # Errors
    /// [`EventError`] for anything else; never a panic.
    pub fn decode<'h>(
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: &[u8],
    ) -> Result<Self, EventError> {
        let wanted = |name| header(name).ok_or(EventError::Missing(name));
        if wanted("ce-specversion")? != "1.0" {
            return Err(EventError::Version);
        }
        let id = wanted("ce-id")?;
        if id.is_empty() {
            return Err(EventError::Malformed("ce-id"));
        }
        let name = wanted("ce-type")?;
        let kind = Kind::ALL.iter().find(|kind| kind.name() == name);
        let kind = *kind.ok_or(EventError::UnknownType)?;
        let at = read_time(wanted("ce-time")?).ok_or(EventError::Malformed("ce-time"))?;
        let order_id = OrderId::parse(wanted("ce-subject")?)
            .map_err(|_| EventError::Malformed("ce-subject"))?;
        if body.len() > BODY_BYTES_MAX {
            return Err(EventError::TooLarge(body.len()));
        }
        let data: Body =
            serde_json::from_slice(body).map_err(|error| EventError::Body(error.to_string()))?;
        if OrderId::parse(&data.order_id) != Ok(order_id) {
            return Err(EventError::OtherOrder);
        }
        let event = Self {
            id: id.to_owned(),
            kind,
            at,
            order_id,
            traceparent: header("traceparent").map(ToOwned::to_owned),
            data,
        };
        if wanted("ce-source")? != event.source() {
            return Err(EventError::Malformed("ce-source"));
        }
        Ok(event)
    }
}

/// Reads RFC 3339; what is finer than a millisecond is cut.
fn read_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let ms = u64::try_from(time.as_millisecond()).ok()?;
    Some(Timestamp::from_unix_ms(ms))
}

#[cfg(test)]
mod tests;
