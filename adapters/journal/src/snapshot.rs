//! Snapshots: written beside the log by another thread, read at a start, thinned out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{DamageKind, ReadError, SnapshotError};
use crate::format::{Position, SNAPSHOT_HEADER_BYTES, SnapshotHeader};
use crate::layout::{Layout, SNAPSHOT_UNFINISHED, SnapshotFile, snapshot_name};
use crate::planted::planted;
use crate::shared::{Shared, remove_unfinished};

/// How many of the newest snapshots are always kept: one, and one to fall back to.
pub const KEPT_SNAPSHOTS: usize = 2;
/// Payloads are written in pieces of this size.
const WRITE_BYTES: usize = 1024 * 1024;

/// A state that stands for all records up to its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that it stands for.
    pub position: Position,
    /// What was given to [`SnapshotWriter::write`].
    pub payload: Vec<u8>,
}

/// Writes snapshots; meant for another thread than the one that appends.
#[derive(Clone)]
pub struct SnapshotWriter<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Writes the state as it was at this position (take [`crate::Journal::position`]
    /// together with the state), makes it durable, and removes snapshots that are no
    /// longer needed. A snapshot at the newest one's sequence replaces it.
    ///
    /// # Errors
    /// See [`SnapshotError`]: the earlier snapshots still stand. After a disk's error the
    /// new one may stand too.
    pub fn write(&self, position: Position, payload: &[u8]) -> Result<(), SnapshotError> {
        let _alone = self.shared.snapshot_work();
        let disk = &self.shared.disk;
        let layout = Layout::read(disk)?;
        let last = self.shared.durable_sequence.load(Ordering::Acquire);
        if position.sequence > last {
            return Err(SnapshotError::Ahead {
                sequence: position.sequence,
                last,
            });
        }
        let newest = layout.snapshots.last().map_or(0, |file| file.sequence);
        if position.sequence < newest {
            return Err(SnapshotError::Older {
                sequence: position.sequence,
                newest,
            });
        }
        let name = match layout.snapshots.last() {
            // The base keeps its name, else it would be the base no longer.
            Some(file) if file.sequence == position.sequence => file.name(),
            _ => snapshot_name(position.sequence),
        };
        let written = self.write_file(&name, position, payload);
        if written.is_err() {
            remove_unfinished(disk, SNAPSHOT_UNFINISHED);
        }
        written?;
        self.prune()
    }

    fn write_file(
        &self,
        name: &str,
        position: Position,
        payload: &[u8],
    ) -> Result<(), SnapshotError> {
        let disk = &self.shared.disk;
        let file = write_snapshot(disk, SNAPSHOT_UNFINISHED, position, payload)?;
        if !planted!("snapshot_not_synced") {
            file.sync_data()?;
        }
        disk.rename(SNAPSHOT_UNFINISHED, name)?;
        disk.sync_dir()?;
        Ok(())
    }

    fn prune(&self) -> Result<(), SnapshotError> {
        let disk = &self.shared.disk;
        let layout = Layout::read(disk)?;
        let all: Vec<u64> = layout
            .live_snapshots()
            .iter()
            .filter(|file| !file.is_base)
            .map(|file| file.sequence)
            .collect();
        for sequence in surplus(&all, layout.base(), self.shared.milestones) {
            disk.remove(&snapshot_name(sequence))?;
        }
        // Not synced: one that comes back after a crash is removed by the next prune.
        Ok(())
    }
}

/// Which snapshots to remove. Beside the newest ones some are kept that stand as evenly as
/// may be between the base and them, so that retention finds one near to where history
/// shall begin: without them the base could only ever move to the newest two.
fn surplus(all: &[u64], base: u64, milestones: usize) -> Vec<u64> {
    let newest = all.len().saturating_sub(KEPT_SNAPSHOTS);
    let mut kept = all.to_vec();
    let mut removed = Vec::new();
    for _ in milestones..newest {
        let candidates = kept.len() - KEPT_SNAPSHOTS;
        let gap = |at: usize| {
            let before = if at == 0 { base } else { kept[at - 1] };
            kept[at + 1] - before
        };
        let Some(closest) = (0..candidates).min_by_key(|at| gap(*at)) else {
            break;
        };
        removed.push(kept.remove(closest));
    }
    removed
}

/// Writes a snapshot's file; neither it nor its name is durable yet.
pub(crate) fn write_snapshot<D: Disk>(
    disk: &D,
    name: &str,
    position: Position,
    payload: &[u8],
) -> Result<D::File, DiskError> {
    let file = disk.create(name)?;
    let header = SnapshotHeader {
        position,
        payload_bytes: payload.len() as u64,
        payload_hash: *blake3::hash(payload).as_bytes(),
    };
    file.write_at(0, &header.encode())?;
    let mut offset = SNAPSHOT_HEADER_BYTES as u64;
    for piece in payload.chunks(WRITE_BYTES) {
        file.write_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    Ok(file)
}

/// Reads a snapshot and checks all of it.
pub(crate) fn read_snapshot<D: Disk>(
    disk: &D,
    snapshot: SnapshotFile,
) -> Result<Snapshot, ReadError> {
    let name = snapshot.name();
    let file = disk.open(&name, false)?;
    let damaged = |offset, kind| {
        Err(ReadError::damaged(
            name.clone(),
            offset,
            snapshot.sequence,
            kind,
        ))
    };
    let mut bytes = [0; SNAPSHOT_HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    let header = match SnapshotHeader::decode(&bytes[..read]) {
        Ok(header) => header,
        Err(bad) => return damaged(0, bad.into()),
    };
    if header.position.sequence != snapshot.sequence {
        let found = header.position.sequence;
        return damaged(0, DamageKind::Name { found });
    }
    let found = file.len()?;
    let expected = (SNAPSHOT_HEADER_BYTES as u64).saturating_add(header.payload_bytes);
    if found != expected {
        return damaged(found.min(expected), DamageKind::Length { found, expected });
    }
    let offset = SNAPSHOT_HEADER_BYTES as u64;
    let mut payload = vec![0; usize::try_from(header.payload_bytes).unwrap_or(usize::MAX)];
    let read = file.read_at(offset, &mut payload)?;
    if read != payload.len() || *blake3::hash(&payload).as_bytes() != header.payload_hash {
        return damaged(offset, DamageKind::Payload);
    }
    Ok(Snapshot {
        position: header.position,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::surplus;

    #[test]
    fn the_newest_two_stay_and_the_rest_is_thinned_where_it_is_densest() {
        assert_eq!(surplus(&[], 0, 0), Vec::<u64>::new());
        assert_eq!(surplus(&[5], 0, 0), Vec::<u64>::new());
        assert_eq!(surplus(&[5, 6], 0, 0), Vec::<u64>::new());
        assert_eq!(surplus(&[5, 6, 7], 0, 0), vec![5]);
        assert_eq!(surplus(&[10, 20, 21, 30, 31], 0, 2), vec![21]);
        assert_eq!(surplus(&[10, 20, 30, 40, 41], 0, 3), Vec::<u64>::new());
    }
}
