//! The names of the journal's files, and what a folder's listing says about it.

use crate::disk::{Disk, DiskError};
use crate::planted::planted;

/// A spare segment while it is being filled with zeros.
pub(crate) const SPARE_UNFINISHED: &str = "spare.tmp";
/// A spare segment, ready to be renamed.
pub(crate) const SPARE: &str = "spare.log";
/// A segment that is being made where there was no spare.
pub(crate) const SEGMENT_UNFINISHED: &str = "segment.tmp";
/// A snapshot that is being written.
pub(crate) const SNAPSHOT_UNFINISHED: &str = "snapshot.tmp";
/// Present while a copy into this folder has not finished.
pub(crate) const COPY_UNFINISHED: &str = "copy.unfinished";

pub(crate) fn segment_name(first: u64) -> String {
    format!("segment-{first:020}.log")
}

pub(crate) fn snapshot_name(sequence: u64) -> String {
    format!("snapshot-{sequence:020}.snap")
}

pub(crate) fn base_name(sequence: u64) -> String {
    format!("base-{sequence:020}.snap")
}

fn number(name: &str, before: &str, after: &str) -> Option<u64> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

/// A snapshot's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) sequence: u64,
    pub(crate) is_base: bool,
}

impl SnapshotFile {
    pub(crate) fn name(self) -> String {
        if self.is_base {
            base_name(self.sequence)
        } else {
            snapshot_name(self.sequence)
        }
    }
}

/// What is in the folder, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// First sequences, ascending.
    pub(crate) segments: Vec<u64>,
    /// Ascending by sequence; bases too.
    pub(crate) snapshots: Vec<SnapshotFile>,
    pub(crate) has_spare: bool,
    pub(crate) copy_is_unfinished: bool,
    /// What a crash left half-made.
    pub(crate) unfinished: Vec<&'static str>,
}

impl Layout {
    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Self, DiskError> {
        let mut layout = Self::default();
        for name in disk.list()? {
            layout.add(&name);
        }
        layout.segments.sort_unstable();
        layout
            .snapshots
            .sort_unstable_by_key(|file| (file.sequence, !file.is_base));
        Ok(layout)
    }

    fn add(&mut self, name: &str) {
        if let Some(first) = number(name, "segment-", ".log") {
            self.segments.push(first);
        } else if let Some(sequence) = number(name, "snapshot-", ".snap") {
            self.snapshots.push(SnapshotFile {
                sequence,
                is_base: false,
            });
        } else if let Some(sequence) = number(name, "base-", ".snap") {
            self.snapshots.push(SnapshotFile {
                sequence,
                is_base: true,
            });
        } else if name == SPARE {
            self.has_spare = true;
        } else if name == COPY_UNFINISHED {
            self.copy_is_unfinished = true;
        } else {
            let unfinished = [SPARE_UNFINISHED, SEGMENT_UNFINISHED, SNAPSHOT_UNFINISHED];
            self.unfinished
                .extend(unfinished.into_iter().filter(|known| *known == name));
        }
    }

    /// The sequence of the base: every record after it is kept. 0 is the empty base,
    /// which needs no file.
    pub(crate) fn base(&self) -> u64 {
        self.snapshots
            .iter()
            .filter(|file| file.is_base)
            .map(|file| file.sequence)
            .max()
            .unwrap_or(0)
    }

    /// The segments that hold or will hold records after the base, ascending. The first
    /// of them starts at or before the record after the base, unless one is missing.
    pub(crate) fn live_segments(&self) -> &[u64] {
        &self.segments[self.first_live()..]
    }

    /// The segments that lie entirely at or before the base.
    pub(crate) fn dead_segments(&self) -> &[u64] {
        &self.segments[..self.first_live()]
    }

    fn first_live(&self) -> usize {
        self.segments
            .partition_point(|first| *first <= self.base() + 1)
            .saturating_sub(usize::from(!planted!("one_segment_too_many_goes")))
    }

    /// The snapshots that retention has made useless: those before the base.
    pub(crate) fn dead_snapshots(&self) -> impl Iterator<Item = SnapshotFile> {
        let base = self.base();
        self.snapshots.iter().copied().filter(move |file| {
            file.sequence < base || (file.sequence == base && !file.is_base && base > 0)
        })
    }

    /// The snapshots from the base on, ascending.
    pub(crate) fn live_snapshots(&self) -> Vec<SnapshotFile> {
        let base = self.base();
        let mut files: Vec<_> = self
            .snapshots
            .iter()
            .copied()
            .filter(|file| file.sequence >= base)
            .collect();
        // Under both names (the base sorts first): the same state, once is enough.
        files.dedup_by_key(|file| file.sequence);
        files
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshots.is_empty()
    }
}
