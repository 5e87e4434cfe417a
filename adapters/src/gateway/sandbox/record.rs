//! One entry of the sandbox's books, and its 36 bytes.
//!
//! ```text
//!  0       kind: 1 charged, 2 declined, 3 cancelled, 4 refunded
//!  1..17   order id
//! 17..25   amount in minor units, big-endian; 0 where the kind has none
//! 25..28   currency; zeros where the kind has none
//! 28..32   number of the refund, big-endian; 0 where the kind has none
//! 32..36   CRC-32C of all before it, big-endian
//! ```
//!
//! Apart from the file so that the codec is tested by itself. All records are equally
//! long, so that a damaged one does not hide those behind it.

use a4co_core::ids::OrderId;
use a4co_core::money::{Amount, Currency};

/// Bytes of one record.
pub(super) const RECORD_BYTES: usize = 36;

const BODY_BYTES: usize = 32;

/// One thing that the sandbox decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookEntry {
    /// The amount was captured.
    Charged {
        /// Whose payment.
        order_id: OrderId,
        /// How much.
        amount: Amount,
        /// Of the amount.
        currency: Currency,
    },
    /// The charge was declined, for good.
    Declined {
        /// Whose payment.
        order_id: OrderId,
        /// How much was asked for.
        amount: Amount,
        /// Of the amount.
        currency: Currency,
    },
    /// Cancelled before it was charged: it never will be.
    Cancelled {
        /// Whose payment.
        order_id: OrderId,
    },
    /// A part of the charge, or all of it, was given back.
    Refunded {
        /// Whose payment.
        order_id: OrderId,
        /// Which refund of the payment.
        number: u32,
        /// How much.
        amount: Amount,
    },
}

impl BookEntry {
    /// Whose payment it is about.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        match self {
            Self::Charged { order_id, .. }
            | Self::Declined { order_id, .. }
            | Self::Cancelled { order_id }
            | Self::Refunded { order_id, .. } => *order_id,
        }
    }

    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let (kind, amount, currency, number) = match self {
            Self::Charged {
                amount, currency, ..
            } => (1, *amount, currency.code(), 0),
            Self::Declined {
                amount, currency, ..
            } => (2, *amount, currency.code(), 0),
            Self::Cancelled { .. } => (3, Amount::ZERO, [0; 3], 0),
            Self::Refunded { number, amount, .. } => (4, *amount, [0; 3], *number),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[1..17].copy_from_slice(self.order_id().as_bytes());
        bytes[17..25].copy_from_slice(&amount.minor().to_be_bytes());
        bytes[25..28].copy_from_slice(&currency);
        bytes[28..32].copy_from_slice(&number.to_be_bytes());
        let sum = crc32c::crc32c(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Whose payment the record of these bytes is about, without reading the rest of it;
    /// `None` where the bytes are damaged.
    pub(super) fn peek(bytes: &[u8]) -> Option<OrderId> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let sum = u32::from_be_bytes(part(bytes, BODY_BYTES));
        let is_whole = crc32c::crc32c(&bytes[..BODY_BYTES]) == sum;
        is_whole.then(|| OrderId::from_bytes(part(bytes, 1)))
    }

    /// The entry of these bytes; `None` where they are no record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let order_id = Self::peek(bytes)?;
        let amount = Amount::from_minor(i64::from_be_bytes(part(bytes, 17))).ok()?;
        let currency = || Currency::from_code(part(bytes, 25)).ok();
        let number = u32::from_be_bytes(part(bytes, 28));
        let entry = match bytes[0] {
            1 => Self::Charged {
                order_id,
                amount,
                currency: currency()?,
            },
            2 => Self::Declined {
                order_id,
                amount,
                currency: currency()?,
            },
            3 => Self::Cancelled { order_id },
            4 => Self::Refunded {
                order_id,
                number,
                amount,
            },
            _ => return None,
        };
        Some(entry)
    }
}

/// `N` bytes from `at` on, which the caller knows to be within the record.
fn part<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = BookEntry> {
        let parts = (
            any::<[u8; 16]>(),
            0i64..=Amount::MAX.minor(),
            any::<u32>(),
            1u8..=4,
        );
        parts.prop_map(|(id, minor, number, kind)| {
            let order_id = OrderId::from_bytes(id);
            let amount = Amount::from_minor(minor).expect("within range");
            let currency = [Currency::EUR, Currency::JPY, Currency::KWD][number as usize % 3];
            match kind {
                1 => BookEntry::Charged {
                    order_id,
                    amount,
                    currency,
                },
                2 => BookEntry::Declined {
                    order_id,
                    amount,
                    currency,
                },
                3 => BookEntry::Cancelled { order_id },
                _ => BookEntry::Refunded {
                    order_id,
                    number,
                    amount,
                },
            }
        })
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes(entry in entries()) {
            prop_assert_eq!(BookEntry::decode(&entry.encode()), Some(entry));
        }

        #[test]
        fn one_wrong_bit_is_noticed(entry in entries(), bit in 0..RECORD_BYTES * 8) {
            let mut bytes = entry.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(BookEntry::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_an_entry_or_none(bytes in any::<Vec<u8>>()) {
            let _ = BookEntry::decode(&bytes);
        }
    }

    #[test]
    fn blank_storage_is_no_entry() {
        assert_eq!(BookEntry::decode(&[0; RECORD_BYTES]), None);
    }
}
