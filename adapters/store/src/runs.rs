//! Sorted entries, several to a key of sled: a run.
//!
//! sled pays for each key: microseconds when it is written, and memory for ever, since a
//! leaf of its tree takes sixteen keys and every leaf has a place in its page table. So
//! neighbours lie in one value. A run's key is its family and a lower bound: entries from
//! there to the next run's bound are in it. The first run of a family has an empty bound.
//!
//! ```text
//! family bound → ( length of key: u8 | length of value: u32 | key | value )*
//! ```
//!
//! A run that outgrows its family's limits is split: the upper parts are written first, then
//! the lower one without them. In between, and for ever after a crash in between, an entry is
//! in two runs; the upper one has it. **Entries of a run at or above the next run's bound are
//! void.** So each change is one operation, and there are no batches, which in sled cost two
//! writes to the file each. sled recovers a prefix of its operations, so their order holds.

use std::ops::ControlFlow;

use sled::{Db, IVec};

use crate::error::StoreError;
use crate::keys;

/// Edits of a run at once: bounds what is in memory twice.
const EDITS_AT_ONCE: usize = 4096;
const HEAD_BYTES: usize = 5;

/// Entries that are sorted together: a byte before all keys, and how large runs get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) prefix: u8,
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
}

/// A change to one entry: its key, and its value or its removal.
pub(crate) type Edit = (Vec<u8>, Option<Vec<u8>>);

type Entry<'a> = (&'a [u8], &'a [u8]);

impl Family {
    fn bound(self, key: &[u8]) -> Vec<u8> {
        [&[self.prefix][..], key].concat()
    }

    /// The run that has this key, if any.
    fn run_of(self, db: &Db, key: &[u8]) -> Result<Option<(IVec, IVec)>, StoreError> {
        let mut runs = db.range(vec![self.prefix]..=self.bound(key));
        Ok(runs.next_back().transpose()?)
    }

    /// The value of an entry.
    pub(crate) fn get<T>(
        self,
        db: &Db,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some((bound, run)) = self.run_of(db, key)? else {
            return Ok(None);
        };
        for entry in entries(&bound, &run) {
            let (found, value) = entry?;
            if found == key {
                return read(value).map(Some);
            }
        }
        Ok(None)
    }

    /// Visits the entries from `first` up to `end`, which is not included, last first.
    pub(crate) fn visit_back(
        self,
        db: &Db,
        first: &[u8],
        end: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut end = end.to_vec();
        for run in db.range(vec![self.prefix]..=self.bound(&end)).rev() {
            let (bound, run) = run?;
            let found = entries(&bound, &run).collect::<Result<Vec<_>, _>>()?;
            for (key, value) in found.into_iter().rev() {
                // A run that was just split may still be seen whole.
                if key >= &*end {
                    continue;
                }
                if key < first || visit(key, value)?.is_break() {
                    return Ok(());
                }
            }
            if bound[1..] <= *first {
                return Ok(());
            }
            end = end.min(bound[1..].to_vec());
        }
        Ok(())
    }

    /// Visits the entries from `first` up to `end`, which is not included.
    pub(crate) fn visit(
        self,
        db: &Db,
        first: &[u8],
        end: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let from = self.run_of(db, first)?;
        let from = from.map_or_else(|| vec![self.prefix], |(bound, _)| bound.to_vec());
        let after = [self.prefix + 1];
        let mut runs = db.range(&from[..]..&after[..]).peekable();
        while let Some(run) = runs.next() {
            let (bound, run) = run?;
            let next = match runs.peek() {
                Some(Ok((next, _))) => Some(&next[1..]),
                _ => None,
            };
            for entry in entries(&bound, &run) {
                let (key, value) = entry?;
                if next.is_some_and(|next| key >= next) {
                    break;
                }
                if key >= first && (key >= end || visit(key, value)?.is_break()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Makes changes; they are sorted by key, each key once. Each operation on sled is given
    /// to `write`.
    pub(crate) fn edit(
        self,
        db: &Db,
        edits: &[Edit],
        mut write: impl FnMut(&Db, Edit) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = edits;
        while let Some((key, _)) = rest.first() {
            let run = self.run_of(db, key)?;
            let lowest = [self.prefix];
            let bound = run.as_ref().map_or(&lowest[..], |(bound, _)| bound);
            let next = db.get_gt(bound)?;
            let next = next.filter(|(next, _)| next[0] == self.prefix);
            let is_here = |key: &[u8]| next.as_ref().is_none_or(|(next, _)| *key < next[1..]);
            let here = rest.partition_point(|(key, _)| is_here(key));
            let (here, later) = rest.split_at(here.min(EDITS_AT_ONCE));
            let mut old = match &run {
                Some((bound, run)) => entries(bound, run).collect::<Result<Vec<_>, _>>()?,
                None => Vec::new(),
            };
            old.retain(|(key, _)| is_here(key));
            let appends = old.last().is_none_or(|(last, _)| *here[0].0 > **last);
            let merged = merged(&old, here);
            let runs = self.split(&merged, appends);
            for run in runs.iter().skip(1).rev() {
                write(db, (self.bound(run[0].0), Some(encoded(run))))?;
            }
            if let Some(first) = runs.first() {
                write(db, (bound.to_vec(), Some(encoded(first))))?;
            } else if run.is_some() {
                self.clear_below(db, bound, &mut write)?;
                write(db, (bound.to_vec(), None))?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Removes what is void in the run before this bound, which is about to go and would
    /// let it count again.
    fn clear_below(
        self,
        db: &Db,
        bound: &[u8],
        write: &mut impl FnMut(&Db, Edit) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some((below, run)) = db.get_lt(bound)? else {
            return Ok(());
        };
        if below[0] != self.prefix {
            return Ok(());
        }
        let mut kept = entries(&below, &run).collect::<Result<Vec<_>, _>>()?;
        let all = kept.len();
        kept.retain(|(key, _)| *key < &bound[1..]);
        if kept.len() < all {
            write(db, (below.to_vec(), Some(encoded(&kept))))?;
        }
        Ok(())
    }

    /// Cuts entries into runs. What is appended fills them; what comes in between leaves
    /// room for more.
    fn split<'r, 'e>(self, entries: &'r [Entry<'e>], appends: bool) -> Vec<&'r [Entry<'e>]> {
        let fits =
            |count: usize, bytes: usize| count <= self.entries_max && bytes <= self.bytes_max;
        let bytes: usize = entries.iter().map(entry_bytes).sum();
        if entries.is_empty() {
            return Vec::new();
        }
        if fits(entries.len(), bytes) {
            return vec![entries];
        }
        let parts = if appends { 1 } else { 2 };
        let (entries_max, bytes_max) = (self.entries_max / parts, self.bytes_max / parts);
        let mut runs = Vec::new();
        let (mut begin, mut bytes) = (0, 0);
        for (index, entry) in entries.iter().enumerate() {
            let more = entry_bytes(entry);
            if index > begin && (index - begin == entries_max || bytes + more > bytes_max) {
                runs.push(&entries[begin..index]);
                (begin, bytes) = (index, 0);
            }
            bytes += more;
        }
        runs.push(&entries[begin..]);
        runs
    }
}

fn entry_bytes((key, value): &Entry<'_>) -> usize {
    HEAD_BYTES + key.len() + value.len()
}

/// The entries with the changes made, still sorted.
fn merged<'e>(old: &[Entry<'e>], edits: &'e [Edit]) -> Vec<Entry<'e>> {
    let mut merged = Vec::with_capacity(old.len() + edits.len());
    let mut old = old.iter().copied().peekable();
    for (key, value) in edits {
        while let Some(entry) = old.next_if(|(old, _)| *old < &**key) {
            merged.push(entry);
        }
        // What is changed goes, whether or not something comes in its place.
        let _ = old.next_if(|(old, _)| *old == &**key);
        if let Some(value) = value {
            merged.push((key, value));
        }
    }
    merged.extend(old);
    merged
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "keys are ids of at most 128 characters, values rows of at most a megabyte"
)]
fn encoded(run: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(run.iter().map(entry_bytes).sum());
    for (key, value) in run {
        debug_assert!(key.len() <= usize::from(u8::MAX));
        bytes.push(key.len() as u8);
        bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The entries of a run; total over any bytes.
fn entries<'r>(
    bound: &'r [u8],
    mut run: &'r [u8],
) -> impl Iterator<Item = Result<Entry<'r>, StoreError>> {
    std::iter::from_fn(move || {
        if run.is_empty() {
            return None;
        }
        let Some((entry, rest)) = split_entry(run) else {
            run = &[];
            return Some(Err(StoreError::Undecodable {
                what: "a run of entries",
                key: keys::shown(bound),
            }));
        };
        run = rest;
        Some(Ok(entry))
    })
}

fn split_entry(run: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = run.split_first_chunk::<HEAD_BYTES>()?;
    let [key_bytes, value_bytes @ ..] = *head;
    let value_bytes = usize::try_from(u32::from_be_bytes(value_bytes)).ok()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_bytes))?;
    let (value, rest) = rest.split_at_checked(value_bytes)?;
    Some(((key, value), rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::disk::degraded;

    const SMALL: Family = Family {
        prefix: b'b',
        entries_max: 4,
        bytes_max: 60,
    };

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    /// Keys of several lengths, few enough to meet.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(0..5_u8, 0..4)
    }

    fn edits() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        let value = proptest::option::weighted(0.6, vec(any::<u8>(), 0..30));
        proptest::collection::btree_map(key(), value, 1..12)
    }

    fn open() -> Db {
        let config = sled::Config::new().temporary(true);
        let db = config.cache_capacity(1 << 20).open().unwrap();
        // Neighbours of the family, which are not to be touched.
        for key in [&b"a\xff"[..], b"c"] {
            db.insert(key, b"neighbour").unwrap();
        }
        db
    }

    fn all(db: &Db, first: &[u8], end: &[u8]) -> (Model, Model) {
        let (mut forth, mut back) = (Vec::new(), Vec::new());
        let keep = |found: &mut Vec<_>, key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        SMALL
            .visit(db, first, end, |key, value| keep(&mut forth, key, value))
            .unwrap();
        SMALL
            .visit_back(db, first, end, |key, value| keep(&mut back, key, value))
            .unwrap();
        assert!(forth.is_sorted_by(|(left, _), (right, _)| left < right));
        assert!(back.is_sorted_by(|(left, _), (right, _)| left > right));
        (forth.into_iter().collect(), back.into_iter().collect())
    }

    #[track_caller]
    fn check(db: &Db, model: &Model, first: &[u8], end: &[u8]) {
        for (key, value) in model {
            let found = SMALL.get(db, key, |value| Ok(value.to_vec())).unwrap();
            assert_eq!(found.as_ref(), Some(value));
        }
        let end_of_all = [0xff];
        let (forth, back) = all(db, &[], &end_of_all);
        assert_eq!((&forth, &back), (model, model));
        if first < end {
            let part = model.range(first.to_vec()..end.to_vec());
            let part: Model = part
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(all(db, first, end), (part.clone(), part));
        }
        for key in [&b"a\xff"[..], b"c"] {
            assert_eq!(db.get(key).unwrap().as_deref(), Some(&b"neighbour"[..]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Runs are a sorted map, also when changes stop half-way and are made again.
        #[test]
        fn runs_are_a_sorted_map(
            steps in vec((edits(), proptest::option::of(0..4_usize)), 1..40),
            first in key(),
            end in key(),
        ) {
            let db = open();
            let mut model = Model::new();
            for (edits, stops_after) in steps {
                for (key, value) in &edits {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
                let edits: Vec<Edit> = edits.into_iter().collect();
                for writes in stops_after.into_iter().chain([usize::MAX]) {
                    let mut left = writes;
                    let done = SMALL.edit(&db, &edits, |db, (key, value)| {
                        left = left.checked_sub(1).ok_or_else(|| degraded("stopped"))?;
                        match value {
                            Some(value) => db.insert(key, value)?,
                            None => db.remove(key)?,
                        };
                        Ok(())
                    });
                    prop_assert!(done.is_ok() || left == 0);
                }
                check(&db, &model, &first, &end);
            }
        }

        #[test]
        fn any_bytes_are_a_run_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let found: Result<Vec<_>, _> = entries(b"bound", &bytes).collect();
            if let Ok(found) = found {
                prop_assert_eq!(encoded(&found), bytes);
            }
        }
    }

    /// A split that stopped half-way leaves entries in the lower run that are void, and stay
    /// void when the run that has them is emptied.
    #[test]
    fn what_was_moved_does_not_come_back() {
        let db = open();
        let edits = |keys: std::ops::RangeInclusive<u8>, value: Option<&[u8]>| {
            let edit = |key| (vec![key], value.map(<[u8]>::to_vec));
            keys.map(edit).collect::<Vec<Edit>>()
        };
        let insert = |db: &Db, (key, value): Edit| {
            match value {
                Some(value) => db.insert(key, value)?,
                None => db.remove(key)?,
            };
            Ok(())
        };
        SMALL.edit(&db, &edits(2..=5, Some(b"v")), insert).unwrap();
        // Comes first, so that the run is split in the middle; only one part is written.
        let mut writes = 0;
        let stopped = SMALL.edit(&db, &edits(1..=1, Some(b"v")), |db, operation| {
            writes += 1;
            let stops = writes > 2;
            if stops {
                Err(degraded("stopped"))
            } else {
                insert(db, operation)
            }
        });
        assert!(stopped.is_err());
        let there: Vec<u8> = all(&db, &[], &[0xff]).0.into_keys().flatten().collect();
        assert_eq!(there, [2, 3, 4, 5]);
        SMALL.edit(&db, &edits(3..=5, None), insert).unwrap();
        let (forth, back) = all(&db, &[], &[0xff]);
        assert_eq!(forth.into_keys().collect::<Vec<_>>(), [[2]]);
        assert_eq!(back.into_keys().collect::<Vec<_>>(), [[2]]);
    }

    #[test]
    fn what_is_appended_fills_runs_and_what_comes_between_leaves_room() {
        let entries: Vec<Entry<'_>> = (0..9).map(|_| (&b"k"[..], &b"v"[..])).collect();
        let lengths = |appends| {
            let runs = SMALL.split(&entries, appends).into_iter();
            runs.map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(true), [4, 4, 1]);
        assert_eq!(lengths(false), [2, 2, 2, 2, 1]);
    }
}
