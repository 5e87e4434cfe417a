//! A type for every id, so that no two of them can be taken for each other.
//!
//! Apart from the aggregates because ids cross their borders. Three kinds:
//!
//! - **uuids**, given from outside or derived from one: [`OrderId`], and from it
//!   [`PaymentId`], [`ReservationId`] and [`RefundId`], so that a retry names the same
//!   thing without having to remember it;
//! - **texts**, named by somebody else: [`ProductId`], [`CustomerId`],
//!   [`IdempotencyKey`], [`PaymentMethodId`], [`GatewayReference`];
//! - **positions and digests**: [`ParticipantId`], [`Sequence`], [`Fingerprint`].
//!
//! Nothing here draws a random number. In a human-readable format (JSON) an id is the
//! text that `Display` writes; at rest (postcard) it is its bytes. Both ways back are
//! checked: decoding any bytes gives a valid id or an error, never a panic.

use alloc::sync::Arc;
use core::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::limits;

/// Why a text is not an id. Nothing has changed, and the same text fails again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has no characters.
    #[error("{kind} is empty")]
    Empty {
        /// What the text was meant to be, for instance `product id`.
        kind: &'static str,
    },
    /// The text has more than [`limits::ID_CHARS_MAX`] characters.
    #[error("{kind} has {length} characters, at most {max} are allowed", max = limits::ID_CHARS_MAX)]
    TooLong {
        /// What the text was meant to be.
        kind: &'static str,
        /// Characters that it has.
        length: usize,
    },
    /// A character is not printable ASCII.
    #[error(
        "{kind} has the character {character:?} at position {position}, only printable ASCII is allowed"
    )]
    BadCharacter {
        /// What the text was meant to be.
        kind: &'static str,
        /// The first such character.
        character: char,
        /// Characters before it.
        position: usize,
    },
    /// The text begins or ends with a space.
    #[error("{kind} has a space at position {position}, it may not begin or end with one")]
    OuterSpace {
        /// What the text was meant to be.
        kind: &'static str,
        /// Characters before that space.
        position: usize,
    },
    /// The text lacks the prefix that tells this kind of id from others.
    #[error("{kind} does not begin with {prefix:?}")]
    WrongPrefix {
        /// What the text was meant to be.
        kind: &'static str,
        /// What it should begin with.
        prefix: &'static str,
    },
    /// The text, or what follows its prefix, is not a UUID in hyphenated form.
    #[error("{kind} is not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
    NotAUuid {
        /// What the text was meant to be.
        kind: &'static str,
    },
    /// The number at the end is missing, does not fit 32 bits or is not written plainly.
    #[error("{kind} does not end with a plain number")]
    BadNumber {
        /// What the text was meant to be.
        kind: &'static str,
    },
    /// The text or code names no participant.
    #[error("there is no such participant, only order, inventory and payment")]
    UnknownParticipant,
    /// The text is not 32 hexadecimal digits in lower case.
    #[error("a fingerprint is 32 hexadecimal digits in lower case")]
    NotAFingerprint,
}

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

/// Writes an id that somebody else names: a short text of printable ASCII.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 128 characters of printable ASCII (`0x20..=0x7e`). A space may stand
        /// inside, but not first or last: HTTP trims header values, so that the same id
        /// would otherwise be two in a header and in a body. A clone is a count, not a
        /// copy.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes over a text.
            ///
            /// # Errors
            /// [`IdError::Empty`], [`IdError::TooLong`], [`IdError::BadCharacter`] or
            /// [`IdError::OuterSpace`].
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check_text($kind, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(ParseVisitor { kind: $kind, parse: Self::parse })
            }
        }

        from_str!($name);
    };
}

/// Writes `FromStr` as `parse`.
macro_rules! from_str {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    )*};
}

text_id!(
    /// Names a product; the shop chooses it.
    ProductId,
    "product id"
);
text_id!(
    /// Names a customer; the shop chooses it.
    CustomerId,
    "customer id"
);
text_id!(
    /// Names a request, so that its retry is known as such; the client chooses it.
    IdempotencyKey,
    "idempotency key"
);
text_id!(
    /// Names a way to pay, at the gateway.
    PaymentMethodId,
    "payment method id"
);
text_id!(
    /// Names a charge or a refund at the gateway; the gateway chooses it.
    GatewayReference,
    "gateway reference"
);

from_str!(
    OrderId,
    PaymentId,
    ReservationId,
    RefundId,
    ParticipantId,
    Fingerprint
);

/// One of the three that own a journal.
///
/// At rest its code, one byte; zero is none of them, so that blank storage names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ParticipantId {
    /// The orchestrator of the saga.
    Order = 1,
    /// The stock and its reservations.
    Inventory = 2,
    /// The payments and their refunds.
    Payment = 3,
}

impl ParticipantId {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Order, Self::Inventory, Self::Payment];

    /// The code at rest, which never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The participant of a code.
    ///
    /// # Errors
    /// [`IdError::UnknownParticipant`].
    pub const fn from_code(code: u8) -> Result<Self, IdError> {
        match code {
            1 => Ok(Self::Order),
            2 => Ok(Self::Inventory),
            3 => Ok(Self::Payment),
            _ => Err(IdError::UnknownParticipant),
        }
    }

    /// Its place in [`ParticipantId::ALL`], 0 to 2.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Order => 0,
            Self::Inventory => 1,
            Self::Payment => 2,
        }
    }

    /// The name: `order`, `inventory` or `payment`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
        }
    }

    /// The participant of a name.
    ///
    /// # Errors
    /// [`IdError::UnknownParticipant`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let named = Self::ALL
            .into_iter()
            .find(|participant| participant.name() == text);
        named.ok_or(IdError::UnknownParticipant)
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A position in one participant's journal. The first entry is 1; 0 is before it, where
/// nothing has been appended yet.
///
/// At rest a `u64` (a varint in postcard).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// Before the first entry.
    pub const NONE: Self = Self(0);
    /// The first entry.
    pub const FIRST: Self = Self(1);

    /// The position `sequence`.
    #[must_use]
    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    /// The position as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is before the first entry.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The position after this one. The last position of all, which no journal reaches,
    /// is its own next, so that a forged one cannot wrap to [`Sequence::NONE`].
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position `entries` further, or `None` where there is none.
    #[must_use]
    pub const fn checked_add(self, entries: u64) -> Option<Self> {
        match self.0.checked_add(entries) {
            Some(sequence) => Some(Self(sequence)),
            None => None,
        }
    }

    /// Entries after `earlier` up to this one, 0 where `earlier` is not earlier.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a payload is recognised by: the first 16 bytes of its BLAKE3 hash. Two payloads
/// with the same fingerprint are taken for the same one.
///
/// At rest 16 bytes; as text 32 hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let mut bytes = [0; 16];
        blake3::Hasher::new()
            .update(payload)
            .finalize_xof()
            .fill(&mut bytes);
        Self(bytes)
    }

    /// The fingerprint of these bytes; the reverse of [`Fingerprint::as_bytes`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hexadecimal digits in lower case.
    ///
    /// # Errors
    /// [`IdError::NotAFingerprint`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let plain = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !plain {
            return Err(IdError::NotAFingerprint);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| IdError::NotAFingerprint)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Writes serde for an id: its text where people read, else `$bytes` there and back.
macro_rules! serde_as {
    ($name:ident, $kind:literal, $at_rest:ty, $to:expr, $from:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.collect_str(self);
                }
                let to: fn(&Self) -> $at_rest = $to;
                to(self).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let visitor = ParseVisitor {
                        kind: $kind,
                        parse: Self::parse,
                    };
                    return deserializer.deserialize_str(visitor);
                }
                let from: fn($at_rest) -> Result<Self, IdError> = $from;
                from(<$at_rest>::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

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
serde_as!(
    ParticipantId,
    "participant",
    u8,
    |id| id.code(),
    Self::from_code
);
serde_as!(Fingerprint, "fingerprint", [u8; 16], |it| it.0, |bytes| Ok(
    Self(bytes)
));

/// Takes a text from a decoder straight into its parser, without a copy in between.
struct ParseVisitor<T> {
    kind: &'static str,
    parse: fn(&str) -> Result<T, IdError>,
}

impl<T> de::Visitor<'_> for ParseVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text that is a valid {}", self.kind)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// Says what is wrong with a text that is to be an id. A bad character is reported before
/// the length, since its bytes would make the length misleading.
fn check_text(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    let mut first = text.chars().take(limits::ID_CHARS_MAX).enumerate();
    if let Some((position, character)) = first.find(|(_, character)| !is_printable(*character)) {
        return Err(IdError::BadCharacter {
            kind,
            character,
            position,
        });
    }
    if text.len() > limits::ID_CHARS_MAX {
        return Err(IdError::TooLong {
            kind,
            length: text.chars().count(),
        });
    }
    if text.starts_with(' ') {
        return Err(IdError::OuterSpace { kind, position: 0 });
    }
    if text.ends_with(' ') {
        return Err(IdError::OuterSpace {
            kind,
            position: text.len() - 1,
        });
    }
    Ok(())
}

const fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~')
}

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
