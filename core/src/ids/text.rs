//! Ids that are a short text which somebody else chose.
//!
//! Apart from the uuids because these are checked and not made.

use alloc::sync::Arc;
use core::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{IdError, ParseVisitor};
use crate::limits;

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
