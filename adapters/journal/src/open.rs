//! Opening: what a crash left is cleared away, what is damaged is refused, and whatever
//! the process will rely on is made durable again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{AppendError, Damage, DamageKind, OpenError, ReadError};
use crate::format::{
    DEFAULT_SEGMENT_BYTES, HEADER_BLOCK_BYTES, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Position,
    SegmentHeader,
};
use crate::journal::{Journal, Segment, make_segment};
use crate::layout::{Layout, SPARE, segment_name};
use crate::planted::planted;
use crate::reader::{Records, newest_snapshot};
use crate::scan::{SegmentReader, Tail};
use crate::shared::{Shared, write_zeros};
use crate::snapshot::Snapshot;

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of new segments, in bytes: a multiple of 4096, at least
    /// [`MIN_SEGMENT_BYTES`] and at most [`MAX_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// How many older snapshots are kept, beside the newest two and the base, for
    /// retention to choose the next base from. The more, the closer the history kept is
    /// to what was asked for.
    pub milestones: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            milestones: 6,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), OpenError> {
        let range = MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES;
        let is_whole = self.segment_bytes.is_multiple_of(HEADER_BLOCK_BYTES);
        if range.contains(&self.segment_bytes) && is_whole {
            return Ok(());
        }
        Err(OpenError::Options(format!(
            "segment_bytes is {}, which must be a multiple of {HEADER_BLOCK_BYTES} between \
             {MIN_SEGMENT_BYTES} and {MAX_SEGMENT_BYTES}",
            self.segment_bytes
        )))
    }
}

/// What was found when the journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The newest intact snapshot: apply the records after it.
    pub snapshot: Option<Snapshot>,
    /// Newer snapshots that are damaged. Never ignore them in silence.
    pub damaged_snapshots: Vec<Damage>,
    /// The sequence of the last record; 0: there is none.
    pub last_sequence: u64,
    /// The base: history after it is kept.
    pub base_sequence: u64,
    /// A record that a crash interrupted, never acknowledged, and now gone.
    pub torn_tail: Option<TornTail>,
}

/// Where a torn record was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub file: String,
    /// Where it began, in bytes.
    pub offset: u64,
    /// How many bytes were zeroed.
    pub bytes: u64,
    /// The sequence that it would have had.
    pub sequence: u64,
}

impl<D: Disk> Journal<D> {
    /// Takes the folder, checks the log from the newest snapshot on (all of it when there
    /// is none; [`crate::verify()`] checks everything), cuts a torn tail, and removes what
    /// crashes and retention left over.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(disk: D, options: Options) -> Result<(Self, Recovered), OpenError> {
        options.check()?;
        let lock = disk.lock()?;
        let layout = Layout::read(&disk)?;
        if layout.copy_is_unfinished {
            return Err(OpenError::UnfinishedCopy);
        }
        // Damage is looked for first: nothing at all is touched in a folder that a
        // person will have to look at.
        check_files(&disk, &layout)?;
        let (snapshot, damaged_snapshots) = newest_snapshot(&disk, &layout)?;
        let (end, hashed_from) = match scan(&disk, &layout, snapshot.as_ref())? {
            Some((end, hashed_from)) => (Some(end), hashed_from),
            None => (None, 1),
        };

        let shared = Shared::new(disk, options.segment_bytes, options.milestones);
        clear_leftovers(&shared.disk, &layout)?;
        let spare_is_usable = layout.has_spare && keep_spare(&shared)?;
        shared
            .spare_is_ready
            .store(spare_is_usable, Ordering::Release);
        let (segment, position, torn_tail) = match end {
            Some(end) => reopen(&shared.disk, end)?,
            None => (first_segment(&shared)?, Position::START, None),
        };
        // A name that the last process gave and did not sync is in the cache alone, and
        // this one is about to rely on it.
        shared.disk.sync_dir()?;
        let recovered = Recovered {
            snapshot,
            damaged_snapshots,
            last_sequence: position.sequence,
            base_sequence: layout.base(),
            torn_tail,
        };
        Ok((
            Self::new(Arc::new(shared), segment, (position, hashed_from), lock),
            recovered,
        ))
    }
}

/// Checks every segment's header and length, and that none is missing.
fn check_files<D: Disk>(disk: &D, layout: &Layout) -> Result<(), ReadError> {
    let live = layout.live_segments();
    let mut before = None;
    for &first in live {
        let segment = SegmentReader::open(disk, first)?;
        let header = segment.header();
        let is_linked = match before {
            None => first <= layout.base() + 1,
            Some(before) => header.previous_first == before,
        };
        if !is_linked {
            let missing_first = header.previous_first;
            let kind = DamageKind::MissingSegment { missing_first };
            return Err(ReadError::damaged(segment_name(first), 0, first, kind));
        }
        before = Some(first);
    }
    if live.is_empty() && !layout.is_empty() {
        let wanted = layout.base() + 1;
        let kind = DamageKind::NoSegment;
        return Err(ReadError::damaged(segment_name(wanted), 0, wanted, kind));
    }
    Ok(())
}

/// Reads from the newest snapshot to the end of the log. With the first record that was
/// read: that of a segment. None: there is no log yet.
fn scan<D: Disk>(
    disk: &D,
    layout: &Layout,
    snapshot: Option<&Snapshot>,
) -> Result<Option<(Records<D>, u64)>, ReadError> {
    if layout.is_empty() {
        return Ok(None);
    }
    let mut records = match snapshot {
        Some(snapshot) => {
            let after = snapshot.position.sequence + 1;
            let mut records = Records::open(disk.clone(), after)?;
            records.expect(snapshot.position);
            records
        }
        None => Records::open_oldest(disk.clone())?,
    };
    let first = (records.segment()).map_or(1, |segment| segment.header().first);
    while records.advance()?.is_some() {}
    let last = records.position().sequence;
    // By the name alone, since a damaged snapshot too was taken of records that were
    // durable.
    if let Some(file) = layout.snapshots.last()
        && file.sequence > last
    {
        let kind = DamageKind::LogTooShort { last };
        return Err(ReadError::damaged(file.name(), 0, file.sequence, kind));
    }
    Ok(Some((records, first)))
}

fn clear_leftovers<D: Disk>(disk: &D, layout: &Layout) -> Result<(), DiskError> {
    for name in &layout.unfinished {
        disk.remove(name)?;
    }
    crate::retain::remove_dead(disk, layout).map(|_| ())
}

/// Whether the spare that is there can be used; one that cannot is removed.
fn keep_spare<D: Disk>(shared: &Shared<D>) -> Result<bool, DiskError> {
    let file = shared.disk.open(SPARE, false)?;
    let mut is_usable = file.len()? == shared.segment_bytes;
    if is_usable {
        // Its header may be that of a crash while it was being taken; what comes after
        // must be zeros, or the end of a later log would not be seen.
        is_usable = file.is_zero(HEADER_BLOCK_BYTES, shared.segment_bytes)?;
    }
    if !is_usable {
        shared.disk.remove(SPARE)?;
    }
    Ok(is_usable)
}

/// The end of the log as this process will use it: the torn tail zeroed, and everything
/// that the last sync of the process before may not have made durable written anew. After
/// a failed sync the cache shows what the disk does not have, and only a new write puts
/// it there; every earlier sync had succeeded (the header's too, before the segment got its
/// name), so the last record is all that can be in that state.
fn reopen<D: Disk>(
    disk: &D,
    end: Records<D>,
) -> Result<(Segment<D>, Position, Option<TornTail>), OpenError> {
    let Some(reader) = end.segment() else {
        return Err(ReadError::from(DiskError::NotFound {
            name: segment_name(1),
        })
        .into());
    };
    let header = *reader.header();
    let offset = reader.offset();
    let position = reader.position();
    let name = reader.name().to_owned();
    let last_record = reader.last_record();
    let file = disk.open(&name, true)?;
    let torn_tail = match end.tail() {
        Tail::Torn { bytes } => Some(TornTail {
            file: name,
            offset,
            bytes,
            sequence: position.sequence + 1,
        }),
        Tail::Clean | Tail::Broken { .. } => None,
    };
    if let Some(torn) = &torn_tail {
        write_zeros(&file, torn.offset, torn.offset + torn.bytes)?;
    }
    if let Some(start) = last_record
        && !planted!("last_record_not_written_anew")
    {
        let length = usize::try_from(offset - start).unwrap_or_default();
        let mut record = vec![0; length];
        file.read_at(start, &mut record)?;
        file.write_at(start, &record)?;
    }
    file.sync_data()?;
    let segment = Segment {
        file,
        header,
        offset,
    };
    Ok((segment, position, torn_tail))
}

fn first_segment<D: Disk>(shared: &Shared<D>) -> Result<Segment<D>, OpenError> {
    let header = SegmentHeader {
        first: 1,
        previous_first: 0,
        segment_bytes: shared.segment_bytes,
        chain_hash: Position::START.chain_hash,
    };
    let file = make_segment(&shared.disk, &header).map_err(|error| match error {
        AppendError::Full(error) => OpenError::Full(error),
        AppendError::WriteFailed(error) | AppendError::SyncFailed(error) => OpenError::Disk(error),
        AppendError::TooLarge { .. } | AppendError::Stopped => {
            unreachable!("making a segment appends no record")
        }
    })?;
    Ok(Segment {
        file,
        header,
        offset: HEADER_BLOCK_BYTES,
    })
}
