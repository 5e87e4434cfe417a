//! Ids that are a UUID, and those derived from an order's.
//!
//! Apart from the texts because they are made here, out of each other, and not checked.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::{IdError, IdempotencyKey, ParseVisitor};

/// The namespace of order ids made from idempotency keys. It never changes: another
/// value would give a retried request another order.
pub const ORDER_NAMESPACE: Uuid = Uuid::from_u128(0x6f36_8fc1_1d0a_5b0e_9c55_0b7a_4d3c_52e1);

/// Names an order: a UUID, of version 7 (from the adapter) or 5 (of an idempotency key).
///
/// At rest 16 bytes; as text hyphenated and in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(Uuid);

/// Names the one payment of an order; derived from the order's id. As text `pay_<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(OrderId);

/// Names the one reservation of an order; derived from the order's id. As text
/// `res_<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(OrderId);

/// Names one refund of a payment: the payment and the refund's number there. As text
/// `re_<uuid>_<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefundId {
    payment_id: PaymentId,
    number: u32,
}

impl OrderId {
    /// The order of this UUID, whatever its version.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The order that a request under this idempotency key creates: the UUID of version 5
    /// of the key in [`ORDER_NAMESPACE`]. The same key always gives the same id, whoever
    /// asks and after any restart.
    #[must_use]
    pub fn from_idempotency_key(key: &IdempotencyKey) -> Self {
        Self(Uuid::new_v5(&ORDER_NAMESPACE, key.as_str().as_bytes()))
    }

    /// Reads a hyphenated UUID, in either case.
    ///
    /// # Errors
    /// [`IdError::NotAUuid`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        parse_hyphenated("order id", text).map(Self)
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The 16 bytes that name this order at rest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The order named by these 16 bytes; the reverse of [`OrderId::as_bytes`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// This order's payment.
    #[must_use]
    pub const fn payment_id(self) -> PaymentId {
        PaymentId(self)
    }

    /// This order's reservation.
    #[must_use]
    pub const fn reservation_id(self) -> ReservationId {
        ReservationId(self)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

/// Writes what an id derived from an order's id needs: its prefix and its ways in and out.
macro_rules! derived_id {
    ($name:ident, $kind:literal, $prefix:literal) => {
        impl $name {
            /// What the text begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The one that belongs to this order.
            #[must_use]
            pub const fn of(order_id: OrderId) -> Self {
                Self(order_id)
            }

            /// Reads what `Display` writes.
            ///
            /// # Errors
            /// [`IdError::WrongPrefix`] or [`IdError::NotAUuid`].
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let rest = strip_prefix($kind, $prefix, text)?;
                parse_hyphenated($kind, rest).map(|uuid| Self(OrderId(uuid)))
            }

            /// The order that it belongs to.
            #[must_use]
            pub const fn order_id(self) -> OrderId {
                self.0
            }

            /// The order's 16 bytes, which name it at rest.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The one named by these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(OrderId::from_bytes(bytes))
            }
        }

        impl From<OrderId> for $name {
            fn from(order_id: OrderId) -> Self {
                Self(order_id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

derived_id!(PaymentId, "payment id", "pay_");
derived_id!(ReservationId, "reservation id", "res_");

impl RefundId {
    /// What the text begins with.
    pub const PREFIX: &'static str = "re_";

    /// Refund number `number` of this payment.
    #[must_use]
    pub const fn new(payment_id: PaymentId, number: u32) -> Self {
        Self { payment_id, number }
    }

    /// Reads what `Display` writes; the number has neither sign nor leading zeros, so
    /// that every refund has one text.
    ///
    /// # Errors
    /// [`IdError::WrongPrefix`], [`IdError::NotAUuid`] or [`IdError::BadNumber`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "refund id";
        let rest = strip_prefix(KIND, Self::PREFIX, text)?;
        let (uuid, number) = rest
            .split_once('_')
            .ok_or(IdError::BadNumber { kind: KIND })?;
        let order_id = parse_hyphenated(KIND, uuid).map(OrderId)?;
        let plain = number == "0" || number.starts_with(|c: char| matches!(c, '1'..='9'));
        let number = number.parse().ok().filter(|_| plain);
        let number = number.ok_or(IdError::BadNumber { kind: KIND })?;
        Ok(Self::new(order_id.payment_id(), number))
    }

    /// The payment that is refunded.
    #[must_use]
    pub const fn payment_id(self) -> PaymentId {
        self.payment_id
    }

    /// The order whose payment is refunded.
    #[must_use]
    pub const fn order_id(self) -> OrderId {
        self.payment_id.order_id()
    }

    /// The refund's number among those of its payment.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "re_{}_{}", self.payment_id.order_id(), self.number)
    }
}

from_str!(OrderId, PaymentId, ReservationId, RefundId);

serde_as!(
    OrderId,
    "order id",
    [u8; 16],
    |id| *id.as_bytes(),
    |bytes| Ok(Self::from_bytes(bytes))
);
serde_as!(
    PaymentId,
    "payment id",
    [u8; 16],
    |id| *id.as_bytes(),
    |bytes| Ok(Self::from_bytes(bytes))
);
serde_as!(
    ReservationId,
    "reservation id",
    [u8; 16],
    |id| *id.as_bytes(),
    |bytes| Ok(Self::from_bytes(bytes))
);
serde_as!(
    RefundId,
    "refund id",
    (PaymentId, u32),
    |id| (id.payment_id, id.number),
    |(payment_id, number)| Ok(Self::new(payment_id, number))
);

fn strip_prefix<'t>(
    kind: &'static str,
    prefix: &'static str,
    text: &'t str,
) -> Result<&'t str, IdError> {
    text.strip_prefix(prefix)
        .ok_or(IdError::WrongPrefix { kind, prefix })
}

/// The hyphenated form alone: the crate would also read braces, `urn:uuid:` and bare
/// digits, and one order would have many texts.
fn parse_hyphenated(kind: &'static str, text: &str) -> Result<Uuid, IdError> {
    const HYPHENATED_BYTES: usize = 36;
    if text.len() != HYPHENATED_BYTES {
        return Err(IdError::NotAUuid { kind });
    }
    Uuid::try_parse(text).map_err(|_| IdError::NotAUuid { kind })
}
