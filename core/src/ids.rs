//! A type for every id, so that no two of them can be taken for each other.
//!
//! Apart from the aggregates because ids cross their borders. Three kinds:
//!
//! - **uuids**, given from outside or derived from one: [`OrderId`], and from it
//!   [`PaymentId`], [`ReservationId`] and [`RefundId`], so that a retry names the same
//!   thing without having to remember it;
//! - **texts**, named by somebody else: [`ProductId`], [`CustomerId`],
//!   [`IdempotencyKey`], [`PaymentMethodId`], [`GatewayReference`];
//! - **the journal's**: [`ParticipantId`], [`Sequence`], [`Fingerprint`].
//!
//! Nothing here draws a random number. In a human-readable format (JSON) an id is the
//! text that `Display` writes; at rest (postcard) it is its bytes. Both ways back are
//! checked: decoding any bytes gives a valid id or an error, never a panic.

use core::fmt;

use serde::de;

use crate::limits;

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

/// Writes serde for an id: its text where people read, else `$at_rest` there and back.
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

mod journal;
mod text;
mod uuids;

pub use self::{
    journal::{Fingerprint, ParticipantId, Sequence},
    text::{CustomerId, GatewayReference, IdempotencyKey, PaymentMethodId, ProductId},
    uuids::{ORDER_NAMESPACE, OrderId, PaymentId, RefundId, ReservationId},
};

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
