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
//! A run that outgrows its family's limits is split, in one batch: a reader and a crash
//! see it before or after, and no entry is ever in two runs.

use std::ops::ControlFlow;

use sled::{Db, IVec};

use crate::error::StoreError;
use crate::keys;

/// Edits of a run at once. Even if each becomes a run of its own, the batch stays below 256
/// operations: sled keeps what a batch replaced until the batch is done.
const EDITS_AT_ONCE: usize = 200;
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
        let runs = db.range(vec![self.prefix]..=self.bound(key));
        Ok(runs.rev().next().transpose()?)
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
        for run in db.range(from..self.bound(end)) {
            let (bound, run) = run?;
            for entry in entries(&bound, &run) {
                let (key, value) = entry?;
                if key >= first && (key >= end || visit(key, value)?.is_break()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Makes changes; they are sorted by key, each key once. `write` is given one batch
    /// after the other, each of which leaves all runs whole.
    pub(crate) fn edit(
        self,
        db: &Db,
        edits: &[Edit],
        mut write: impl FnMut(&Db, Writes) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = edits;
        while let Some((key, _)) = rest.first() {
            let run = self.run_of(db, key)?;
            let lowest = [self.prefix];
            let bound = run.as_ref().map_or(&lowest[..], |(bound, _)| bound);
            let next = db.get_gt(bound)?;
            let next = next.filter(|(next, _)| next[0] == self.prefix);
            let here = match &next {
                Some((next, _)) => rest.partition_point(|(key, _)| **key < next[1..]),
                None => rest.len(),
            };
            let (here, later) = rest.split_at(here.min(EDITS_AT_ONCE));
            let old = match &run {
                Some((bound, run)) => entries(bound, run).collect::<Result<Vec<_>, _>>()?,
                None => Vec::new(),
            };
            let appends = old.last().is_none_or(|(last, _)| *here[0].0 > **last);
            let merged = merged(&old, here);
            let runs = self.split(&merged, appends);
            let mut writes = Writes::default();
            if runs.is_empty() {
                if run.is_some() {
                    writes.0.push((bound.to_vec(), None));
                }
            } else {
                for (index, run) in runs.iter().enumerate() {
                    let bound = match index {
                        0 => bound.to_vec(),
                        _ => self.bound(run[0].0),
                    };
                    writes.0.push((bound, Some(encoded(run))));
                }
            }
            write(db, writes)?;
            rest = later;
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

/// Operations that belong together.
#[derive(Debug, Default)]
pub(crate) struct Writes(Vec<Edit>);

impl Writes {
    pub(crate) fn apply(mut self, db: &Db) -> Result<(), StoreError> {
        // A batch costs more than the operations in it.
        if self.0.len() == 1
            && let Some((key, value)) = self.0.pop()
        {
            match value {
                Some(value) => db.insert(key, value)?,
                None => db.remove(key)?,
            };
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in self.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(db.apply_batch(batch)?)
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
