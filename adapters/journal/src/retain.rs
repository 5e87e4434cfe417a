//! Retention: letting old history go without ever losing a way to rebuild the rest.
//!
//! The rule: the **base** is a snapshot file of its own name, `base-<sequence>.snap`, and
//! every record after it is there. To let history go, an intact snapshot is renamed to be
//! the new base, and that name is made durable; only then is anything removed: older
//! bases, older snapshots, and segments that lie entirely at or before it. A crash between
//! any two steps leaves either the old base with all its records, or the new base with
//! some files that it made useless, which the next opening removes. No other file ever
//! says what may be missing: a segment that is gone without a base is damage.

use std::sync::Arc;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{ReadError, RetainError};
use crate::layout::{Layout, SnapshotFile, segment_name};
use crate::planted::planted;
use crate::shared::Shared;
use crate::snapshot::read_snapshot;

/// How much history to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    All,
    /// This record and everything after it.
    From(u64),
}

/// What retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// The base now: every record after it is kept.
    pub base_sequence: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Snapshots removed.
    pub snapshots_removed: u64,
}

/// Lets old history go; meant for another thread than the one that appends.
#[derive(Clone)]
pub struct Retainer<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> Retainer<D> {
    /// Makes the newest intact snapshot before the history to keep the base, and removes
    /// what lies entirely before it. Keeps more than asked for where no snapshot stands
    /// close by, never less.
    ///
    /// # Errors
    /// See [`RetainError`]: nothing that is needed is ever removed.
    pub fn retain(&self, keep: Keep) -> Result<Retained, RetainError> {
        let _alone = self.shared.snapshot_work();
        let disk = &self.shared.disk;
        let layout = Layout::read(disk)?;
        if let Keep::From(from) = keep
            && let Some(chosen) = self.choose(&layout, from)?
        {
            let base = SnapshotFile {
                is_base: true,
                ..chosen
            };
            disk.rename(&chosen.name(), &base.name())?;
        }
        Ok(remove_dead(disk, &Layout::read(disk)?)?)
    }

    fn choose(&self, layout: &Layout, from: u64) -> Result<Option<SnapshotFile>, RetainError> {
        let files = layout.live_snapshots();
        let candidates = files
            .into_iter()
            .rev()
            .filter(|file| file.sequence < from && file.sequence > layout.base());
        for file in candidates {
            match read_snapshot(&self.shared.disk, file) {
                Ok(_) => return Ok(Some(file)),
                Err(ReadError::Disk(error)) => return Err(error.into()),
                // A damaged one cannot stand for history; an older one may.
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

/// Removes what the base has made useless. In any order, since the base's durable name
/// already says that it is.
pub(crate) fn remove_dead<D: Disk>(disk: &D, layout: &Layout) -> Result<Retained, DiskError> {
    let mut retained = Retained {
        base_sequence: layout.base(),
        ..Retained::default()
    };
    // Whoever renamed the base may have failed, or died, before that was durable; and only a
    // durable base makes what is before it dead.
    let mut dead_snapshots = layout.dead_snapshots();
    let is_any_dead = !layout.dead_segments().is_empty() || dead_snapshots.next().is_some();
    if is_any_dead && !planted!("history_goes_before_the_base_is_durable") {
        disk.sync_dir()?;
    }
    for &first in layout.dead_segments() {
        let name = segment_name(first);
        let bytes = disk.open(&name, false)?.len()?;
        disk.remove(&name)?;
        retained.segments_removed += 1;
        retained.bytes_removed += bytes;
    }
    for file in layout.dead_snapshots() {
        disk.remove(&file.name())?;
        retained.snapshots_removed += 1;
    }
    if retained.segments_removed + retained.snapshots_removed > 0 {
        disk.sync_dir()?;
    }
    Ok(retained)
}
