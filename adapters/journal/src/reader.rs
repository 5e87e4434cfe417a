//! Reading a log, also one that another process is appending to: record by record, and
//! from the snapshot that a recovery starts with.

use crate::disk::Disk;
use crate::error::{Damage, DamageKind, ReadError};
use crate::format::{Position, SegmentHeader};
use crate::layout::{Layout, SnapshotFile, base_name, segment_name, snapshot_name};
use crate::scan::{SegmentReader, Step, Tail};
use crate::snapshot::{Snapshot, read_snapshot};

/// How often reading is begun again because retention removed what was to be read.
pub(crate) const ATTEMPTS: u32 = 8;

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log, from 1 without a gap.
    pub sequence: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// What to start from, and what to apply to it.
pub struct Recovery<D: Disk> {
    /// The state to start from; none: the empty state, before record 1.
    pub snapshot: Option<Snapshot>,
    /// Snapshots that would have come first and are damaged. Never ignore them in
    /// silence: a person should know.
    pub damaged_snapshots: Vec<Damage>,
    /// Everything after the snapshot.
    pub records: Records<D>,
}

/// Reads a journal without owning it: for checks, backups and rebuilding a view.
#[derive(Clone, Debug)]
pub struct Reader<D: Disk> {
    disk: D,
    /// See [`SegmentReader::hashed_from`].
    hashed_from: u64,
}

impl<D: Disk> Reader<D> {
    /// A reader of this folder. It takes no lock and writes nothing, so it may be used
    /// while another process appends.
    ///
    /// # Errors
    /// [`ReadError::UnfinishedCopy`], or the disk's error.
    pub fn open(disk: D) -> Result<Self, ReadError> {
        if Layout::read(&disk)?.copy_is_unfinished {
            return Err(ReadError::UnfinishedCopy);
        }
        Ok(Self::over(disk, u64::MAX))
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    pub(crate) fn over(disk: D, hashed_from: u64) -> Self {
        Self { disk, hashed_from }
    }

    /// The records from this sequence on (at least 1), as far as they go now.
    ///
    /// # Errors
    /// [`ReadError::Removed`] when retention has removed it, or the disk's error; the
    /// iterator's items have errors of their own, after which it ends.
    pub fn read_from(&self, sequence: u64) -> Result<Records<D>, ReadError> {
        let records = Records::open(self.disk.clone(), sequence.max(1))?;
        Ok(records.hashed_from(self.hashed_from))
    }

    /// The sequence of the base: the history after it can be rebuilt, that before it has
    /// been let go by retention. 0: nothing has.
    ///
    /// # Errors
    /// The disk's error.
    pub fn base(&self) -> Result<u64, ReadError> {
        Ok(Layout::read(&self.disk)?.base())
    }

    /// The snapshot that stands for this record; none: there is none (any more).
    ///
    /// # Errors
    /// [`ReadError::Damaged`], or the disk's error.
    pub fn snapshot_at(&self, sequence: u64) -> Result<Option<Snapshot>, ReadError> {
        let layout = Layout::read(&self.disk)?;
        let mut files = layout.live_snapshots().into_iter();
        let Some(file) = files.find(|file| file.sequence == sequence) else {
            return Ok(None);
        };
        match read_snapshot(&self.disk, file) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(ReadError::Disk(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest intact snapshot and the records after it: the fast restart.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when history has been let go and no snapshot is intact.
    pub fn recover_from_newest(&self) -> Result<Recovery<D>, ReadError> {
        self.recover(true)
    }

    /// The base and all records after it: rebuilds everything that the history kept can
    /// tell. When the base is damaged, the next intact snapshot takes its place (some
    /// history is then missing) and `damaged_snapshots` says so.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when history has been let go and no snapshot is intact.
    pub fn recover_from_base(&self) -> Result<Recovery<D>, ReadError> {
        self.recover(false)
    }

    fn recover(&self, newest: bool) -> Result<Recovery<D>, ReadError> {
        let mut attempt = 1;
        loop {
            match self.try_recover(newest) {
                // Retention moved the base between the listing and the opening.
                Err(ReadError::Removed { .. }) if attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    fn try_recover(&self, newest: bool) -> Result<Recovery<D>, ReadError> {
        let layout = Layout::read(&self.disk)?;
        let (snapshot, damaged_snapshots) = if newest {
            newest_snapshot(&self.disk, &layout)?
        } else {
            base_snapshot(&self.disk, &layout)?
        };
        let from = snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.position.sequence)
            + 1;
        let records = Records::open(self.disk.clone(), from)?;
        let mut records = records.hashed_from(self.hashed_from);
        if let Some(snapshot) = &snapshot {
            records.expect(snapshot.position);
        }
        Ok(Recovery {
            snapshot,
            damaged_snapshots,
            records,
        })
    }
}

/// The newest intact snapshot, and what was damaged before it was found.
pub(crate) fn newest_snapshot<D: Disk>(
    disk: &D,
    layout: &Layout,
) -> Result<(Option<Snapshot>, Vec<Damage>), ReadError> {
    let mut files = layout.live_snapshots();
    files.reverse();
    first_intact(disk, layout, &files, layout.base() > 0)
}

fn base_snapshot<D: Disk>(
    disk: &D,
    layout: &Layout,
) -> Result<(Option<Snapshot>, Vec<Damage>), ReadError> {
    if layout.base() == 0 {
        return Ok((None, Vec::new()));
    }
    first_intact(disk, layout, &layout.live_snapshots(), true)
}

fn first_intact<D: Disk>(
    disk: &D,
    layout: &Layout,
    files: &[SnapshotFile],
    is_needed: bool,
) -> Result<(Option<Snapshot>, Vec<Damage>), ReadError> {
    let mut damaged = Vec::new();
    for file in files {
        match read_snapshot(disk, *file) {
            Ok(snapshot) => return Ok((Some(snapshot), damaged)),
            Err(ReadError::Damaged(damage)) => damaged.push(*damage),
            // Pruned by the writer since the folder was listed: a newer one is there.
            Err(ReadError::Disk(error)) if error.is_not_found() => {}
            Err(other) => return Err(other),
        }
    }
    if is_needed {
        let base = layout.base();
        let name = base_name(base);
        return Err(ReadError::damaged(name, 0, base, DamageKind::NoSnapshot));
    }
    Ok((None, damaged))
}

/// The records of a log in order. It ends where the log ends; call
/// [`Reader::read_from`] again for what has been appended since.
pub struct Records<D: Disk> {
    disk: D,
    segment: Option<SegmentReader<D>>,
    /// The first record to hand out: those before it are read for the chain alone.
    from: u64,
    /// See [`SegmentReader::hashed_from`].
    hashed_from: u64,
    /// A place where the chain hash is known from elsewhere (a snapshot).
    known: Option<Position>,
    is_done: bool,
    tail: Tail,
}

impl<D: Disk> Records<D> {
    pub(crate) fn open(disk: D, from: u64) -> Result<Self, ReadError> {
        let layout = Layout::read(&disk)?;
        let live = layout.live_segments();
        let start = live
            .partition_point(|first| *first <= from)
            .saturating_sub(1);
        let segment = match live.get(start) {
            None if layout.is_empty() => None,
            None => return Err(no_segment(from)),
            Some(&first) if first > from => {
                if first > layout.base() + 1 {
                    return Err(missing_before(&disk, first));
                }
                return Err(ReadError::Removed {
                    wanted: from,
                    oldest: first,
                });
            }
            Some(&first) => match SegmentReader::open(&disk, first) {
                Ok(segment) => Some(segment),
                Err(ReadError::Disk(error)) if error.is_not_found() => {
                    return Err(removed_or(error.into(), &disk, from));
                }
                Err(other) => return Err(other),
            },
        };
        Ok(Self {
            disk,
            segment,
            from,
            hashed_from: u64::MAX,
            known: None,
            is_done: false,
            tail: Tail::Clean,
        })
    }

    /// From the start of the oldest segment that is kept.
    pub(crate) fn open_oldest(disk: D) -> Result<Self, ReadError> {
        let layout = Layout::read(&disk)?;
        let first = layout.live_segments().first().copied().unwrap_or(1);
        if first > layout.base() + 1 {
            return Err(missing_before(&disk, first));
        }
        Self::open(disk, first)
    }

    fn hashed_from(mut self, sequence: u64) -> Self {
        self.hashed_from = sequence;
        self.segment = self.segment.map(|segment| segment.hashed_from(sequence));
        self
    }

    /// Fails at this place unless the chain hash there is this one.
    pub(crate) fn expect(&mut self, position: Position) {
        self.known = Some(position);
    }

    /// The segment being read; none in an empty folder.
    pub(crate) fn segment(&self) -> Option<&SegmentReader<D>> {
        self.segment.as_ref()
    }

    /// What followed the last record, once the end was reached.
    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// The place after the last record that was read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.segment
            .as_ref()
            .map_or(Position::START, SegmentReader::position)
    }

    /// Goes one record on, without copying its payload ([`Records::payload`]).
    /// None: the end of the log as it is now.
    ///
    /// # Errors
    /// See [`ReadError`]; nothing more is read after one.
    pub fn advance(&mut self) -> Result<Option<u64>, ReadError> {
        if self.is_done {
            return Ok(None);
        }
        let answer = self
            .advance_unchecked()
            .and_then(|sequence| match self.known {
                Some(known) if sequence.is_none() => Err(self.too_short(known)),
                _ => Ok(sequence),
            });
        if !matches!(answer, Ok(Some(_))) {
            self.is_done = true;
        }
        answer
    }

    /// The payload of the record that [`Records::advance`] named.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.segment.as_ref().map_or(&[], SegmentReader::payload)
    }

    fn advance_unchecked(&mut self) -> Result<Option<u64>, ReadError> {
        self.check_known()?;
        loop {
            let Some(segment) = &mut self.segment else {
                return Ok(None);
            };
            if segment.step()? == Step::NoRecord && !self.go_on()? {
                return Ok(None);
            }
            self.check_known()?;
            let Some(segment) = &self.segment else {
                return Ok(None);
            };
            let sequence = segment.position().sequence;
            // A step into the next segment reads no record of it yet.
            if segment.last_record().is_some() && sequence >= self.from {
                return Ok(Some(sequence));
            }
        }
    }

    fn too_short(&self, known: Position) -> ReadError {
        let last = self.position().sequence;
        ReadError::damaged(
            snapshot_name(known.sequence),
            0,
            known.sequence,
            DamageKind::LogTooShort { last },
        )
    }

    fn check_known(&mut self) -> Result<(), ReadError> {
        let Some(segment) = &self.segment else {
            return Ok(());
        };
        let position = segment.position();
        if let Some(known) = self.known
            && known.sequence == position.sequence
        {
            self.known = None;
            if known != position {
                return Err(ReadError::damaged(
                    segment.name().to_owned(),
                    segment.last_record().unwrap_or(0),
                    position.sequence,
                    DamageKind::Chain {
                        found: position.chain_hash,
                        expected: known.chain_hash,
                    },
                ));
            }
        }
        Ok(())
    }

    /// Where no record stands: into the next segment, or one record on after all (a
    /// writer was faster). False: the end.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        let Some(segment) = &mut self.segment else {
            return Ok(false);
        };
        let first = segment.header().first;
        let expected = segment.position().sequence + 1;
        let layout = Layout::read(&self.disk)?;
        let next = layout.segments.iter().copied().find(|other| *other > first);
        if next == Some(expected) {
            let next = match SegmentReader::open(&self.disk, expected) {
                Ok(next) => next,
                Err(ReadError::Disk(error)) if error.is_not_found() => {
                    return Err(removed_or(error.into(), &self.disk, expected));
                }
                Err(other) => return Err(other),
            };
            check_link(segment, &next)?;
            self.segment = Some(next.hashed_from(self.hashed_from));
            return Ok(true);
        }
        let tail = segment.tail()?;
        if tail == Tail::Clean && next.is_none() {
            self.tail = tail;
            return Ok(false);
        }
        // On a live log the writer may have finished this record, and more, since it was
        // read: only what still does not fit when looked at again is wrong.
        segment.forget();
        if segment.step()? == Step::Record {
            return Ok(true);
        }
        if let Some(next) = next {
            if layout.base() >= expected {
                return Err(ReadError::Removed {
                    wanted: expected,
                    oldest: next,
                });
            }
            let previous = SegmentReader::open(&self.disk, next)
                .map(|next| next.header().previous_first)
                .unwrap_or(first);
            if previous != first && previous >= expected {
                return Err(missing_before(&self.disk, next));
            }
            let kind = match tail {
                Tail::Broken { offset, sequence } => DamageKind::Record {
                    intact_offset: offset,
                    intact_sequence: sequence,
                },
                Tail::Clean | Tail::Torn { .. } => DamageKind::Missing { next },
            };
            return Err(segment.damaged(kind));
        }
        if let Tail::Broken { offset, sequence } = tail {
            return Err(segment.damaged(DamageKind::Record {
                intact_offset: offset,
                intact_sequence: sequence,
            }));
        }
        self.tail = tail;
        Ok(false)
    }
}

impl<D: Disk> Iterator for Records<D> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(Some(sequence)) => Some(Ok(Record {
                sequence,
                payload: self.payload().to_vec(),
            })),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Whether a segment follows from the one before it, whose records have all been read.
fn check_link<D: Disk>(
    before: &SegmentReader<D>,
    next: &SegmentReader<D>,
) -> Result<(), ReadError> {
    let header: &SegmentHeader = next.header();
    let fail = |kind| {
        Err(ReadError::damaged(
            next.name().to_owned(),
            0,
            header.first,
            kind,
        ))
    };
    let expected = before.position();
    if header.start() != expected {
        return fail(DamageKind::Chain {
            found: header.chain_hash,
            expected: expected.chain_hash,
        });
    }
    if header.previous_first != before.header().first {
        return fail(DamageKind::MissingSegment {
            missing_first: header.previous_first,
        });
    }
    Ok(())
}

fn missing_before<D: Disk>(disk: &D, first: u64) -> ReadError {
    match SegmentReader::open(disk, first) {
        Ok(segment) => ReadError::damaged(
            segment.name().to_owned(),
            0,
            first,
            DamageKind::MissingSegment {
                missing_first: segment.header().previous_first,
            },
        ),
        Err(error) => error,
    }
}

fn no_segment(sequence: u64) -> ReadError {
    ReadError::damaged(segment_name(sequence), 0, sequence, DamageKind::NoSegment)
}

/// A segment was listed and is gone: by retention, or else `error` stands.
fn removed_or<D: Disk>(error: ReadError, disk: &D, wanted: u64) -> ReadError {
    match Layout::read(disk) {
        Ok(layout) => match layout.live_segments().first() {
            Some(&oldest) if oldest > wanted => ReadError::Removed { wanted, oldest },
            _ => error,
        },
        Err(error) => error.into(),
    }
}
