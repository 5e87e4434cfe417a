//! What names a place in a journal and what was put there.
//!
//! Apart from the other ids because no client ever sees one.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{IdError, ParseVisitor};

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

impl From<u64> for Sequence {
    fn from(sequence: u64) -> Self {
        Self(sequence)
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
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

from_str!(ParticipantId, Fingerprint);

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
