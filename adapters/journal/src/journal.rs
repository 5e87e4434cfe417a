//! Appending: one write and one sync a record, and what happens when either fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{AppendError, ReadError, RetainError};
use crate::format::{
    HEADER_BLOCK_BYTES, Position, RECORD_HEADER_BYTES, SegmentHeader, encode_record, is_zero,
    max_payload_bytes, record_bytes,
};
use crate::layout::{SEGMENT_UNFINISHED, SPARE, segment_name};
use crate::planted::planted;
use crate::reader::{Reader, Records};
use crate::retain::{Keep, Retained, Retainer};
use crate::shared::{Shared, remove_unfinished, write_zeros};
use crate::snapshot::SnapshotWriter;
use crate::spare::SparePreparer;

/// The log, owned for writing. One per data folder, over all processes.
pub struct Journal<D: Disk> {
    shared: Arc<Shared<D>>,
    segment: Segment<D>,
    position: Position,
    /// The first record of the segment from which on opening has hashed all of them.
    hashed_from: u64,
    buffer: Vec<u8>,
    is_stopped: bool,
    _lock: D::Lock,
}

/// The segment that is being appended to.
pub(crate) struct Segment<D: Disk> {
    pub(crate) file: D::File,
    pub(crate) header: SegmentHeader,
    /// Where the next record goes.
    pub(crate) offset: u64,
}

impl<D: Disk> Segment<D> {
    fn has_room_for(&self, bytes: u64) -> bool {
        self.offset + bytes <= self.header.segment_bytes
    }

    fn is_empty(&self) -> bool {
        self.offset == HEADER_BLOCK_BYTES
    }
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(
        shared: Arc<Shared<D>>,
        segment: Segment<D>,
        (position, hashed_from): (Position, u64),
        lock: D::Lock,
    ) -> Self {
        shared
            .durable_sequence
            .store(position.sequence, Ordering::Release);
        Self {
            shared,
            segment,
            position,
            hashed_from,
            buffer: Vec::new(),
            is_stopped: false,
            _lock: lock,
        }
    }

    /// The sequence of the last record that is durable; 0: there is none.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.position.sequence
    }

    /// The end of the log: what a snapshot of the state that has applied every record
    /// must be written with.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The longest payload that [`Journal::append`] takes.
    #[must_use]
    pub fn max_payload_bytes(&self) -> usize {
        max_payload_bytes(self.shared.segment_bytes)
    }

    /// Writes one record and makes it durable; returns its sequence.
    ///
    /// # Errors
    /// See [`AppendError`]: when it [is fatal](AppendError::is_fatal), whether the record
    /// is there is unknown, every further call is refused, and the process must end.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, AppendError> {
        if self.is_stopped {
            return Err(AppendError::Stopped);
        }
        let answer = self.try_append(payload);
        if let Err(error) = &answer {
            self.is_stopped = error.is_fatal();
        }
        answer
    }

    fn try_append(&mut self, payload: &[u8]) -> Result<u64, AppendError> {
        let limit = self.max_payload_bytes();
        if payload.len() > limit {
            return Err(AppendError::TooLarge {
                bytes: payload.len(),
                limit,
            });
        }
        if !self.segment.has_room_for(record_bytes(payload.len())) {
            self.roll()?;
        }
        let next = self.position.then(payload);
        let seed = self.segment.header.checksum_seed();
        encode_record(&mut self.buffer, seed, next, payload);
        match self
            .segment
            .file
            .write_at(self.segment.offset, &self.buffer)
        {
            Ok(()) => {}
            Err(error) if error.is_full() => return Err(self.undo_partial_write(error)),
            Err(error) => return Err(AppendError::WriteFailed(error)),
        }
        if !planted!("append_without_sync") {
            self.segment
                .file
                .sync_data()
                .or_else(|error| {
                    if planted!("failed_sync_is_success") {
                        Ok(())
                    } else {
                        Err(error)
                    }
                })
                .map_err(AppendError::SyncFailed)?;
        }
        self.segment.offset += self.buffer.len() as u64;
        self.position = next;
        self.shared
            .durable_sequence
            .store(next.sequence, Ordering::Release);
        Ok(next.sequence)
    }

    /// A file system that writes elsewhere what is written again (btrfs, zfs, a thin
    /// volume) may have no room even in a pre-sized file. "Nothing changed" is only true
    /// once no byte of the record is there and that is durable: its first half might,
    /// with luck, be all of it.
    fn undo_partial_write(&mut self, full: DiskError) -> AppendError {
        let Segment { file, offset, .. } = &self.segment;
        let end = offset + self.buffer.len() as u64;
        match file.read_at(*offset, &mut self.buffer) {
            Ok(read) if is_zero(&self.buffer[..read]) => return AppendError::Full(full),
            Ok(_) => {}
            Err(error) => return AppendError::WriteFailed(error),
        }
        if let Err(error) = write_zeros(file, *offset, end) {
            return AppendError::WriteFailed(error);
        }
        match file.sync_data() {
            Ok(()) => AppendError::Full(full),
            Err(error) => AppendError::SyncFailed(error),
        }
    }

    /// Goes on to the next segment: the spare one, or one made now.
    fn roll(&mut self) -> Result<(), AppendError> {
        let current = &self.segment.header;
        let header = SegmentHeader {
            first: self.position.sequence + 1,
            // An empty segment (too small for this record, from an earlier
            // configuration) is replaced and leaves no trace in the chain of files.
            previous_first: if self.segment.is_empty() {
                current.previous_first
            } else {
                current.first
            },
            segment_bytes: self.shared.segment_bytes,
            chain_hash: self.position.chain_hash,
        };
        let file = if self.shared.has_spare() {
            self.take_spare(&header)?
        } else {
            make_segment(&self.shared.disk, &header)?
        };
        self.segment = Segment {
            file,
            header,
            offset: HEADER_BLOCK_BYTES,
        };
        Ok(())
    }

    /// The header is durable before the file has a segment's name: no start ever finds a
    /// segment without one.
    fn take_spare(&self, header: &SegmentHeader) -> Result<D::File, AppendError> {
        let disk = &self.shared.disk;
        let file = disk.open(SPARE, true).map_err(AppendError::WriteFailed)?;
        file.write_at(0, &header.encode()).map_err(full_or_failed)?;
        file.sync_data().map_err(AppendError::SyncFailed)?;
        disk.rename(SPARE, &segment_name(header.first))
            .map_err(full_or_failed)?;
        self.shared.spare_is_ready.store(false, Ordering::Release);
        if !planted!("spare_taken_without_sync") {
            disk.sync_dir().map_err(AppendError::SyncFailed)?;
        }
        Ok(file)
    }

    /// Whether an append of this many bytes needs no new block of the disk. When not, a
    /// full disk answers it with [`AppendError::Full`].
    #[must_use]
    pub fn has_room(&self, payload_bytes: usize) -> bool {
        if payload_bytes > self.max_payload_bytes() || self.is_stopped {
            return false;
        }
        self.segment.has_room_for(record_bytes(payload_bytes)) || self.shared.has_spare()
    }

    /// Whether [`SparePreparer::prepare`] should be called, on another thread.
    #[must_use]
    pub fn wants_spare(&self) -> bool {
        !self.is_stopped && !self.shared.has_spare() && !self.shared.is_making_spare()
    }

    /// Prepares the next segment off the hot path.
    #[must_use]
    pub fn spare_preparer(&self) -> SparePreparer<D> {
        SparePreparer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Writes snapshots off the hot path.
    #[must_use]
    pub fn snapshot_writer(&self) -> SnapshotWriter<D> {
        SnapshotWriter {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lets old history go off the hot path.
    #[must_use]
    pub fn retainer(&self) -> Retainer<D> {
        Retainer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lets old history go: [`Retainer::retain`] on this thread.
    ///
    /// # Errors
    /// See [`RetainError`].
    pub fn retain(&self, keep: Keep) -> Result<Retained, RetainError> {
        self.retainer().retain(keep)
    }

    /// Reads this log. What was hashed when it was opened, or has been written since, is
    /// only checked by its checksums.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader::over(self.shared.disk.clone(), self.hashed_from)
    }

    /// The records from this sequence on: [`Reader::read_from`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_from(&self, sequence: u64) -> Result<Records<D>, ReadError> {
        self.reader().read_from(sequence)
    }
}

fn full_or_failed(error: DiskError) -> AppendError {
    if error.is_full() {
        AppendError::Full(error)
    } else {
        AppendError::WriteFailed(error)
    }
}

/// Makes a segment, of its full size and durable, before it gets its name.
pub(crate) fn make_segment<D: Disk>(
    disk: &D,
    header: &SegmentHeader,
) -> Result<D::File, AppendError> {
    let write = || {
        let file = disk.create(SEGMENT_UNFINISHED)?;
        file.write_at(0, &header.encode())?;
        write_zeros(&file, HEADER_BLOCK_BYTES, header.segment_bytes)?;
        // A file system may allocate as late as now; nothing relies on this file yet.
        file.sync_data()?;
        disk.rename(SEGMENT_UNFINISHED, &segment_name(header.first))?;
        Ok(file)
    };
    let file = write().map_err(|error| {
        remove_unfinished(disk, SEGMENT_UNFINISHED);
        full_or_failed(error)
    })?;
    if !planted!("folder_not_synced_after_roll") {
        disk.sync_dir().map_err(AppendError::SyncFailed)?;
    }
    Ok(file)
}

const _: () = assert!(RECORD_HEADER_BYTES as u64 <= HEADER_BLOCK_BYTES);
