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

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, string::ToString, vec::Vec};
    use core::fmt::Debug;

    use proptest::prelude::*;
    use serde::{
        Serialize,
        de::{DeserializeOwned, IntoDeserializer, value},
    };

    use super::*;

    const UUID: &str = "0198c3a1-5b1e-7c3d-8f00-0123456789ab";

    fn order_id() -> OrderId {
        OrderId::parse(UUID).expect("a hyphenated UUID")
    }

    /// The text that a human-readable format is given.
    fn human<T: Serialize>(value: &T) -> String {
        struct Shown<'v, T>(&'v T);
        impl<T: Serialize> fmt::Display for Shown<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }
        Shown(value).to_string()
    }

    fn from_human<T: DeserializeOwned>(text: &str) -> Result<T, value::Error> {
        T::deserialize(IntoDeserializer::<value::Error>::into_deserializer(text))
    }

    fn at_rest<T: Serialize>(value: &T) -> Vec<u8> {
        postcard::to_allocvec(value).expect("memory suffices")
    }

    /// An id is `text` where people read, takes `bytes` at rest, and comes back from both.
    #[track_caller]
    fn check<T>(id: &T, text: &str, bytes: usize)
    where
        T: Serialize + DeserializeOwned + fmt::Display + core::str::FromStr<Err = IdError>,
        T: PartialEq + Debug,
    {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse().as_ref(), Ok(id));
        assert_eq!(human(id), text);
        assert_eq!(from_human(text).as_ref(), Ok(id));
        let encoded = at_rest(id);
        assert_eq!(encoded.len(), bytes, "{encoded:?}");
        assert_eq!(postcard::from_bytes(&encoded).as_ref(), Ok(id));
        for end in 0..encoded.len() {
            assert!(postcard::from_bytes::<T>(&encoded[..end]).is_err());
        }
    }

    #[track_caller]
    fn check_error<T: core::str::FromStr<Err = IdError> + Debug + PartialEq>(
        text: &str,
        error: IdError,
    ) {
        assert_eq!(text.parse::<T>(), Err(error), "{text:?}");
    }

    #[test]
    fn every_id_has_one_text_and_a_compact_form() {
        let order_id = order_id();
        let payment_id = order_id.payment_id();
        check(&order_id, UUID, 16);
        check(&payment_id, &format!("pay_{UUID}"), 16);
        check(&order_id.reservation_id(), &format!("res_{UUID}"), 16);
        check(&RefundId::new(payment_id, 7), &format!("re_{UUID}_7"), 17);
        check(&RefundId::new(payment_id, 0), &format!("re_{UUID}_0"), 17);
        let last = RefundId::new(payment_id, u32::MAX);
        check(&last, &format!("re_{UUID}_4294967295"), 21);
        check(&ParticipantId::Order, "order", 1);
        check(&ParticipantId::Inventory, "inventory", 1);
        check(&ParticipantId::Payment, "payment", 1);
        let text = "af1349b9f5f9a1a6a0404dea36dcc949";
        check(&Fingerprint::of(b""), text, 16);
        check(&ProductId::parse("a b").expect("valid"), "a b", 4);
        let long = "~".repeat(limits::ID_CHARS_MAX);
        check(&CustomerId::parse(&long).expect("valid"), &long, 130);
    }

    #[test]
    fn derived_ids_lead_back_to_their_order() {
        let order_id = order_id();
        assert_eq!(PaymentId::of(order_id).order_id(), order_id);
        assert_eq!(ReservationId::of(order_id).order_id(), order_id);
        let refund_id = RefundId::new(order_id.payment_id(), 3);
        assert_eq!(refund_id.order_id(), order_id);
        assert_eq!(refund_id.payment_id(), order_id.payment_id());
        assert_eq!(refund_id.number(), 3);
    }

    /// The expected id comes from another implementation of UUID v5.
    #[test]
    fn a_key_names_the_same_order_for_ever() {
        let key = |text| IdempotencyKey::parse(text).expect("valid");
        let order_id = OrderId::from_idempotency_key(&key("checkout-1"));
        assert_eq!(order_id.to_string(), "b726f1ec-90a3-5cb9-baa5-d18bce11cbc9");
        assert_eq!(order_id.uuid().get_version_num(), 5);
        assert_ne!(order_id, OrderId::from_idempotency_key(&key("checkout-2")));
    }

    #[test]
    fn uuids_are_read_in_one_form() {
        let upper = OrderId::parse(&UUID.to_uppercase()).expect("either case");
        assert_eq!(upper, order_id());
        let kind = "order id";
        check_error::<OrderId>("", IdError::NotAUuid { kind });
        check_error::<OrderId>(&UUID.replace('-', ""), IdError::NotAUuid { kind });
        check_error::<OrderId>(&format!("{{{UUID}}}"), IdError::NotAUuid { kind });
        check_error::<OrderId>(&format!("urn:uuid:{UUID}"), IdError::NotAUuid { kind });
        check_error::<OrderId>(&UUID.replace('b', "g"), IdError::NotAUuid { kind });
        let (kind, prefix) = ("payment id", "pay_");
        check_error::<PaymentId>(UUID, IdError::WrongPrefix { kind, prefix });
        check_error::<PaymentId>("pay_", IdError::NotAUuid { kind });
        let (kind, prefix) = ("reservation id", "res_");
        let other = format!("pay_{UUID}");
        check_error::<ReservationId>(&other, IdError::WrongPrefix { kind, prefix });
    }

    #[test]
    fn refund_numbers_are_plain() {
        let kind = "refund id";
        for number in ["", "-1", "+1", "01", "00", "1 ", "4294967296", "1_1"] {
            let text = format!("re_{UUID}_{number}");
            check_error::<RefundId>(&text, IdError::BadNumber { kind });
        }
        check_error::<RefundId>(&format!("re_{UUID}"), IdError::BadNumber { kind });
        check_error::<RefundId>("re_1_1", IdError::NotAUuid { kind });
    }

    #[test]
    fn texts_are_short_and_printable() {
        let kind = "product id";
        check_error::<ProductId>("", IdError::Empty { kind });
        let length = limits::ID_CHARS_MAX + 1;
        check_error::<ProductId>(&"x".repeat(length), IdError::TooLong { kind, length });
        check_error::<ProductId>(" x", IdError::OuterSpace { kind, position: 0 });
        check_error::<ProductId>("x ", IdError::OuterSpace { kind, position: 1 });
        check_error::<ProductId>(" ", IdError::OuterSpace { kind, position: 0 });
        for character in ['\0', '\n', '\t', '\u{1f}', '\u{7f}', 'é', '\u{a0}', '😀'] {
            let text = format!("ab{character}");
            let position = 2;
            let error = IdError::BadCharacter {
                kind,
                character,
                position,
            };
            check_error::<ProductId>(&text, error);
        }
        // Long because of its bytes, wrong because of its characters.
        let error = IdError::BadCharacter {
            kind,
            character: 'é',
            position: 0,
        };
        check_error::<ProductId>(&"é".repeat(100), error);
    }

    #[test]
    fn decoding_checks_what_parsing_checks() {
        assert!(postcard::from_bytes::<ProductId>(&at_rest(&"")).is_err());
        assert!(postcard::from_bytes::<ProductId>(&at_rest(&"a\n")).is_err());
        assert!(postcard::from_bytes::<ProductId>(&at_rest(&"x".repeat(129))).is_err());
        assert!(postcard::from_bytes::<ParticipantId>(&[0]).is_err());
        assert!(postcard::from_bytes::<ParticipantId>(&[4]).is_err());
        assert!(from_human::<ProductId>(" ").is_err());
        assert!(from_human::<ParticipantId>("orders").is_err());
    }

    #[test]
    fn participants_have_stable_codes() {
        let codes = ParticipantId::ALL.map(ParticipantId::code);
        assert_eq!(codes, [1, 2, 3]);
        for (index, participant) in ParticipantId::ALL.into_iter().enumerate() {
            assert_eq!(participant.index(), index);
            assert_eq!(
                ParticipantId::from_code(participant.code()),
                Ok(participant)
            );
        }
    }

    #[test]
    fn sequences_count_up_and_never_wrap() {
        assert_eq!(Sequence::default(), Sequence::NONE);
        assert!(Sequence::NONE.is_none());
        assert_eq!(Sequence::NONE.next(), Sequence::FIRST);
        let last = Sequence::new(u64::MAX);
        assert_eq!(last.next(), last);
        assert_eq!(last.checked_add(1), None);
        assert_eq!(Sequence::FIRST.checked_add(2), Some(Sequence::new(3)));
        assert_eq!(Sequence::new(5).saturating_since(Sequence::new(2)), 3);
        assert_eq!(Sequence::new(2).saturating_since(Sequence::new(5)), 0);
        assert_eq!(at_rest(&Sequence::new(127)), [127]);
    }

    #[test]
    fn fingerprints_are_the_start_of_blake3() {
        let whole = blake3::hash(b"order");
        assert_eq!(
            Fingerprint::of(b"order").as_bytes()[..],
            whole.as_bytes()[..16]
        );
        for text in [
            "",
            "af",
            "AF1349B9F5F9A1A6A0404DEA36DCC949",
            "+f1349b9f5f9a1a6a0404dea36dcc949",
        ] {
            check_error::<Fingerprint>(text, IdError::NotAFingerprint);
        }
    }

    proptest! {
        #[test]
        fn parsing_any_text_gives_that_text_or_an_error(text in any::<String>()) {
            if let Ok(id) = ProductId::parse(&text) {
                prop_assert_eq!(id.as_str(), text.as_str());
            }
            if let Ok(id) = RefundId::parse(&text) {
                prop_assert!(id.to_string().eq_ignore_ascii_case(&text));
            }
        }

        #[test]
        fn printable_texts_survive_both_formats(text in "[!-~]([ -~]{0,126}[!-~])?") {
            let id = IdempotencyKey::parse(&text).expect("1 to 128 printable characters");
            prop_assert_eq!(postcard::from_bytes(&at_rest(&id)), Ok(id.clone()));
            prop_assert_eq!(from_human(&human(&id)), Ok(id));
        }

        #[test]
        fn refund_ids_survive_their_text(bytes in any::<[u8; 16]>(), number in any::<u32>()) {
            let id = RefundId::new(PaymentId::from_bytes(bytes), number);
            prop_assert_eq!(RefundId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(postcard::from_bytes(&at_rest(&id)), Ok(id));
        }

        #[test]
        fn decoding_any_bytes_gives_a_valid_id_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(id) = postcard::from_bytes::<CustomerId>(&bytes) {
                prop_assert_eq!(CustomerId::parse(id.as_str()), Ok(id));
            }
            let _ = postcard::from_bytes::<RefundId>(&bytes);
            let _ = postcard::from_bytes::<ParticipantId>(&bytes);
            let _ = postcard::from_bytes::<Fingerprint>(&bytes);
        }
    }
}
