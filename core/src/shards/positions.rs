//! A position in each journal, as small as it was where there is one shard.
//!
//! At rest three numbers, in the order of [`crate::ids::ParticipantId::ALL`]. With several
//! shards a number that no position reaches, and then three for each shard.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{JournalId, SHARDS_MAX};

/// What stands before the positions of several shards.
const SHARDED: u64 = u64::MAX;

/// A position in each journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerJournal<T> {
    /// Those of the first shard, or of the only one.
    first: [T; 3],
    /// Those of the others.
    others: Vec<[T; 3]>,
}

impl<T: Copy + Default> PerJournal<T> {
    /// The position in a journal.
    pub fn of(&self, journal: impl Into<JournalId>) -> T {
        let journal = journal.into();
        let participant = journal.participant.index();
        match usize::from(journal.shard.id.get()).checked_sub(1) {
            None => self.first[participant],
            Some(other) => self
                .others
                .get(other)
                .map_or_else(T::default, |positions| positions[participant]),
        }
    }

    /// Sets the position in a journal.
    pub fn set(&mut self, journal: impl Into<JournalId>, position: T) {
        let journal = journal.into();
        let others = usize::from(journal.shard.count.get()) - 1;
        if self.others.len() < others {
            self.others.resize(others, [T::default(); 3]);
        }
        let positions = match usize::from(journal.shard.id.get()).checked_sub(1) {
            None => &mut self.first,
            Some(other) => &mut self.others[other],
        };
        positions[journal.participant.index()] = position;
    }
}

impl<T: Copy + Into<u64>> Serialize for PerJournal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = |positions: &[T; 3]| positions.map(Into::<u64>::into);
        let first = numbers(&self.first);
        if self.others.is_empty() {
            return first.serialize(serializer);
        }
        let mut all = vec![first];
        all.extend(self.others.iter().map(numbers));
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&SHARDED)?;
        tuple.serialize_element(&all)?;
        tuple.end()
    }
}

impl<'de, T: From<u64>> Deserialize<'de> for PerJournal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);
        impl<'de, T: From<u64>> Visitor<'de> for Parts<T> {
            type Value = PerJournal<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a position in each journal")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<PerJournal<T>, A::Error> {
                let missing = || A::Error::invalid_length(0, &"a position in each journal");
                let number: u64 = parts.next_element()?.ok_or_else(missing)?;
                if number != SHARDED {
                    let inventory: u64 = parts.next_element()?.ok_or_else(missing)?;
                    let payment: u64 = parts.next_element()?.ok_or_else(missing)?;
                    return Ok(PerJournal {
                        first: [number, inventory, payment].map(T::from),
                        others: Vec::new(),
                    });
                }
                let all: Vec<[u64; 3]> = parts.next_element()?.ok_or_else(missing)?;
                if all.len() > usize::from(SHARDS_MAX) {
                    return Err(A::Error::custom("too many shards"));
                }
                let mut all = all.into_iter().map(|positions| positions.map(T::from));
                Ok(PerJournal {
                    first: all.next().ok_or_else(missing)?,
                    others: all.collect(),
                })
            }
        }
        deserializer.deserialize_tuple(3, Parts(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ParticipantId, Sequence};
    use crate::record::{decode, encode};
    use crate::shards::ShardCount;

    #[test]
    fn with_one_shard_it_is_three_numbers() {
        let mut positions = PerJournal::<Sequence>::default();
        positions.set(ParticipantId::Inventory, Sequence::new(300));
        let plain = [Sequence::NONE, Sequence::new(300), Sequence::NONE];
        assert_eq!(encode(&positions), encode(&plain));
        assert_eq!(decode(&encode(&positions)), Ok(positions));
    }

    #[test]
    fn with_several_each_journal_has_its_own() {
        let count = ShardCount::new(16).unwrap();
        let mut positions = PerJournal::<Sequence>::default();
        for (number, journal) in (1..).zip(JournalId::all(count)) {
            positions.set(journal, Sequence::new(number));
        }
        for (number, journal) in (1..).zip(JournalId::all(count)) {
            assert_eq!(positions.of(journal), Sequence::new(number));
        }
        assert_eq!(decode(&encode(&positions)), Ok(positions));
    }
}
