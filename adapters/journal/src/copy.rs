//! A consistent copy of a journal, also while another process appends to it: backup, and
//! restore the other way round.

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{CopyError, DamageKind, ReadError};
use crate::format::ChainHash;
use crate::layout::{COPY_UNFINISHED, Layout, SnapshotFile, segment_name};
use crate::reader::{ATTEMPTS, Reader, Records};
use crate::scan::SegmentReader;
use crate::shared::write_zeros;
use crate::snapshot::{read_snapshot, write_snapshot};
use crate::verify::{SnapshotReport, verify_once};

/// Files are copied in pieces of this size.
const COPY_BYTES: usize = 1024 * 1024;

/// What was copied, and checked in the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Segments.
    pub segments: u64,
    /// Records.
    pub records: u64,
    /// Snapshots, the base among them.
    pub snapshots: u64,
    /// Snapshots of the source that are damaged and were left out.
    pub snapshots_damaged: u64,
    /// Bytes written, zeros too.
    pub bytes: u64,
    /// The base of the copy.
    pub base_sequence: u64,
    /// The last record of the copy.
    pub last_sequence: u64,
    /// The chain hash after it.
    pub chain_hash: ChainHash,
}

/// Where the records of a segment ended when they were read.
struct SegmentEnd {
    first: u64,
    offset: u64,
}

enum Failure {
    /// Retention was faster; begin again.
    Moved,
    Final(CopyError),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Removed { .. } | ReadError::Disk(DiskError::NotFound { .. }) => Self::Moved,
            other => Self::Final(CopyError::Source(other)),
        }
    }
}

fn source(error: DiskError) -> Failure {
    ReadError::Disk(error).into()
}

fn destination(error: DiskError) -> Failure {
    Failure::Final(CopyError::Destination(error))
}

impl<D: Disk> Reader<D> {
    /// Copies the base, the intact snapshots and the records up to the last one into an
    /// empty folder, makes them durable, and checks every byte of the copy. Until it has
    /// finished, the destination is marked, and neither opened nor checked.
    ///
    /// On a running instance the last record copied may be one whose sync is under way: it
    /// is in the copy even if a power cut then takes it from the source.
    ///
    /// # Errors
    /// See [`CopyError`]; the source is never written to.
    pub fn copy_to<E: Disk>(&self, to: &E) -> Result<Copied, CopyError> {
        let _lock = to.lock().map_err(CopyError::Destination)?;
        let layout = Layout::read(to).map_err(CopyError::Destination)?;
        if !layout.is_empty() || layout.copy_is_unfinished {
            return Err(CopyError::NotEmpty);
        }
        mark(to).map_err(CopyError::Destination)?;
        for _ in 0..ATTEMPTS {
            match copy_once(self.disk(), to) {
                Ok(copied) => return finish(to, copied),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Moved) => clear(to).map_err(CopyError::Destination)?,
            }
        }
        Err(CopyError::Moving { attempts: ATTEMPTS })
    }
}

fn mark<E: Disk>(to: &E) -> Result<(), DiskError> {
    to.create(COPY_UNFINISHED)?.sync_data()?;
    to.sync_dir()
}

fn clear<E: Disk>(to: &E) -> Result<(), DiskError> {
    let layout = Layout::read(to)?;
    for first in layout.segments {
        to.remove(&segment_name(first))?;
    }
    for file in layout.snapshots {
        to.remove(&file.name())?;
    }
    Ok(())
}

fn copy_once<D: Disk, E: Disk>(from: &D, to: &E) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    // Snapshots before the log: it only grows, so each of them is within what is copied.
    let layout = Layout::read(from).map_err(source)?;
    copied.base_sequence = layout.base();
    let mut intact = 0;
    for file in layout.live_snapshots() {
        intact += u64::from(copy_snapshot(from, to, file, &mut copied)?);
    }
    if layout.base() > 0 && intact == 0 {
        return Err(ReadError::damaged(
            SnapshotFile {
                sequence: layout.base(),
                is_base: true,
            }
            .name(),
            0,
            layout.base(),
            DamageKind::NoSnapshot,
        )
        .into());
    }
    for end in read_ends(from, &mut copied)? {
        copy_segment(from, to, &end, &mut copied)?;
    }
    // Retention may have moved the base while its old segments were still being read.
    if Layout::read(from).map_err(source)?.base() != copied.base_sequence {
        return Err(Failure::Moved);
    }
    Ok(copied)
}

/// Whether it is intact.
fn copy_snapshot<D: Disk, E: Disk>(
    from: &D,
    to: &E,
    file: SnapshotFile,
    copied: &mut Copied,
) -> Result<bool, Failure> {
    let name = file.name();
    let mut is_intact = true;
    let output = match read_snapshot(from, file) {
        Ok(snapshot) => {
            copied.bytes += snapshot.payload.len() as u64;
            write_snapshot(to, &name, snapshot.position, &snapshot.payload).map_err(destination)?
        }
        // A damaged base is copied as it is: without the file the copy would not say that
        // history was let go. Readers fall back to the next snapshot, and report it.
        Err(ReadError::Damaged(_)) if file.is_base => {
            copied.snapshots_damaged += 1;
            is_intact = false;
            let input = from.open(&name, false).map_err(source)?;
            let output = to.create(&name).map_err(destination)?;
            copy_bytes(&input, &output, input.len().map_err(source)?)?;
            output
        }
        Err(ReadError::Damaged(_)) => {
            copied.snapshots_damaged += 1;
            return Ok(false);
        }
        Err(other) => return Err(other.into()),
    };
    output.sync_data().map_err(destination)?;
    copied.snapshots += u64::from(is_intact);
    Ok(is_intact)
}

/// Reads and checks all records: what is damaged is not backed up as if it were not.
fn read_ends<D: Disk>(from: &D, copied: &mut Copied) -> Result<Vec<SegmentEnd>, Failure> {
    let mut ends: Vec<SegmentEnd> = Vec::new();
    let mut records = Records::open_oldest(from.clone())?;
    loop {
        let next = records.advance()?;
        if let Some(reader) = records.segment() {
            let first = reader.header().first;
            let offset = reader.offset();
            match ends.last_mut() {
                Some(end) if end.first == first => end.offset = offset,
                _ => ends.push(SegmentEnd { first, offset }),
            }
        }
        if next.is_none() {
            break;
        }
        copied.records += 1;
    }
    copied.last_sequence = records.position().sequence;
    copied.chain_hash = records.position().chain_hash;
    Ok(ends)
}

fn copy_segment<D: Disk, E: Disk>(
    from: &D,
    to: &E,
    end: &SegmentEnd,
    copied: &mut Copied,
) -> Result<(), Failure> {
    let name = segment_name(end.first);
    let input = from.open(&name, false).map_err(source)?;
    let header = *SegmentReader::open(from, end.first)?.header();
    let output = to.create(&name).map_err(destination)?;
    copy_bytes(&input, &output, end.offset)?;
    // What was appended since is not copied; the copy ends where the reading ended.
    write_zeros(&output, end.offset, header.segment_bytes).map_err(destination)?;
    output.write_at(0, &header.encode()).map_err(destination)?;
    output.sync_data().map_err(destination)?;
    copied.segments += 1;
    copied.bytes += header.segment_bytes;
    Ok(())
}

fn copy_bytes<F: DiskFile, G: DiskFile>(from: &F, to: &G, length: u64) -> Result<(), Failure> {
    let mut piece = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < length {
        let wanted = usize::try_from(length - offset)
            .unwrap_or(COPY_BYTES)
            .min(COPY_BYTES);
        let read = from.read_at(offset, &mut piece[..wanted]).map_err(source)?;
        if read == 0 {
            return Err(Failure::Moved);
        }
        to.write_at(offset, &piece[..read]).map_err(destination)?;
        offset += read as u64;
    }
    Ok(())
}

fn finish<E: Disk>(to: &E, copied: Copied) -> Result<Copied, CopyError> {
    to.sync_dir().map_err(CopyError::Destination)?;
    let report = verify_once(to).map_err(|error| CopyError::Verify(error.to_string()))?;
    let is_new = |one: &&SnapshotReport| !(one.is_base && copied.snapshots_damaged > 0);
    let mut snapshots = report.snapshots.iter().filter(is_new);
    if let Some(damage) = report
        .damage
        .or_else(|| snapshots.find_map(|one| one.damage.clone()))
    {
        return Err(CopyError::Verify(damage.to_string()));
    }
    if report.last_sequence != copied.last_sequence || report.chain_hash != copied.chain_hash {
        return Err(CopyError::Verify(format!(
            "it ends with record {} and chain hash {}, not {} and {}",
            report.last_sequence, report.chain_hash, copied.last_sequence, copied.chain_hash
        )));
    }
    to.remove(COPY_UNFINISHED).map_err(CopyError::Destination)?;
    to.sync_dir().map_err(CopyError::Destination)?;
    Ok(copied)
}
