//! The name of a journal: whose it is, and which shard's.
//!
//! At rest that of a participant with one shard is the participant's code alone, as it was
//! before there were shards. With several, three is added to the code, and the shard and
//! the count follow.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Shard, ShardCount};
use crate::ids::{IdError, ParticipantId};

/// Added to the code of a participant that has several shards.
const SHARDED: u8 = 3;

/// Names a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId {
    /// Whose it is.
    pub participant: ParticipantId,
    /// Which of its shards.
    pub shard: Shard,
}

impl JournalId {
    /// The journal of a participant's shard.
    #[must_use]
    pub const fn new(participant: ParticipantId, shard: Shard) -> Self {
        Self { participant, shard }
    }

    /// Every journal where participants have so many shards: by participant, in the order
    /// of [`ParticipantId::ALL`], and by shard.
    pub fn all(count: ShardCount) -> impl Iterator<Item = Self> {
        let of = move |participant| count.each().map(move |shard| Self::new(participant, shard));
        ParticipantId::ALL.into_iter().flat_map(of)
    }

    /// Its place in [`JournalId::all`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.participant.index() * self.shard.count.get() as usize + self.shard.id.get() as usize
    }

    /// The journals that its participant's shard reads: a payment belongs to one order, and
    /// an order's lines may lie anywhere.
    #[must_use]
    pub fn sources(self) -> Vec<Self> {
        let of_this = |participant| Self::new(participant, self.shard);
        let of_all = |participant| {
            let shards = self.shard.count.each();
            shards.map(move |shard| Self::new(participant, shard))
        };
        match self.participant {
            ParticipantId::Order => of_all(ParticipantId::Inventory)
                .chain([of_this(ParticipantId::Payment)])
                .collect(),
            ParticipantId::Inventory => of_all(ParticipantId::Order).collect(),
            ParticipantId::Payment => [of_this(ParticipantId::Order)].into(),
        }
    }

    /// The journal of a name.
    ///
    /// # Errors
    /// [`IdError::UnknownParticipant`], also for a shard that there is not.
    pub fn parse(text: &str, count: ShardCount) -> Result<Self, IdError> {
        if count == ShardCount::ONE {
            return ParticipantId::parse(text).map(Self::from);
        }
        let (name, number) = text.rsplit_once('-').ok_or(IdError::UnknownParticipant)?;
        let participant = ParticipantId::parse(name)?;
        let shard = count
            .each()
            .find(|shard| number.parse() == Ok(shard.id.get()));
        let shard = shard.ok_or(IdError::UnknownParticipant)?;
        Ok(Self::new(participant, shard))
    }
}

impl From<ParticipantId> for JournalId {
    /// The one journal of a participant that is not sharded.
    fn from(participant: ParticipantId) -> Self {
        Self::new(participant, Shard::ALONE)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shard.is_alone() {
            fmt::Display::fmt(&self.participant, f)
        } else {
            f.pad(&alloc::format!("{}-{}", self.participant, self.shard.id))
        }
    }
}

impl Serialize for JournalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let code = self.participant.code();
        if self.shard.is_alone() {
            return serializer.serialize_u8(code);
        }
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&(code + SHARDED))?;
        tuple.serialize_element(&self.shard.id.get())?;
        tuple.serialize_element(&self.shard.count.get())?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for JournalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = JournalId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a journal's name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<JournalId, A::Error> {
                let missing = |at| A::Error::invalid_length(at, &"a journal's name");
                let code: u8 = parts.next_element()?.ok_or_else(|| missing(0))?;
                if code <= SHARDED {
                    let participant = ParticipantId::from_code(code).map_err(A::Error::custom)?;
                    return Ok(participant.into());
                }
                let participant = ParticipantId::from_code(code - SHARDED);
                let id: u16 = parts.next_element()?.ok_or_else(|| missing(1))?;
                let count: u16 = parts.next_element()?.ok_or_else(|| missing(2))?;
                let shard = ShardCount::new(count)
                    .filter(|count| *count != ShardCount::ONE)
                    .and_then(|count| count.each().nth(usize::from(id)))
                    .ok_or_else(|| A::Error::custom("no such shard"))?;
                let participant = participant.map_err(A::Error::custom)?;
                Ok(JournalId::new(participant, shard))
            }
        }
        deserializer.deserialize_tuple(3, Parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, encode};

    #[test]
    fn a_journal_is_named_at_rest_as_before_where_there_is_one_shard() {
        for participant in ParticipantId::ALL {
            let alone = JournalId::from(participant);
            assert_eq!(encode(&alone), encode(&participant));
            assert_eq!(decode(&encode(&alone)), Ok(alone));
        }
    }

    #[test]
    fn every_journal_has_a_name_and_a_place_of_its_own() {
        for count in [1, 2, 16, 64] {
            let count = ShardCount::new(count).unwrap();
            for (place, journal) in JournalId::all(count).enumerate() {
                assert_eq!(journal.index(), place);
                let text = alloc::string::ToString::to_string(&journal);
                assert_eq!(JournalId::parse(&text, count), Ok(journal));
                assert_eq!(decode(&encode(&journal)), Ok(journal));
            }
        }
    }

    #[test]
    fn who_reads_whom() {
        let count = ShardCount::new(2).unwrap();
        let read = |of: &str| {
            let journal = JournalId::parse(of, count).unwrap();
            let names = journal.sources();
            let names = names.iter().map(alloc::string::ToString::to_string);
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read("order-1"), "inventory-0 inventory-1 payment-1");
        assert_eq!(read("inventory-0"), "order-0 order-1");
        assert_eq!(read("payment-1"), "order-1");
    }
}
