//! Reading one segment: its header, its records in order, and what its tail means.

use crate::disk::{Disk, DiskFile};
use crate::error::{DamageKind, ReadError};
use crate::format::{
    HEADER_BLOCK_BYTES, Position, RECORD_HEADER_BYTES, RecordHead, SegmentHeader, is_zero,
};
use crate::layout::segment_name;
use crate::planted::planted;

/// Read ahead by this much at first, and by twice as much each time up to [`READ_BYTES`]:
/// whoever wants the last record pays for no more than that. A longer record is read whole.
const READ_BYTES_FIRST: usize = 16 * 1024;
/// Read ahead by this much at most.
const READ_BYTES: usize = 256 * 1024;

/// What stands at the next record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An intact record that fits; its payload is [`SegmentReader::payload`].
    Record,
    /// Nothing, or something that does not fit its checksum: the end of the log, or a
    /// write that was interrupted or is in flight, or damage.
    NoRecord,
}

/// What follows the last record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros to the end.
    Clean,
    /// Something that is no record, and no record after it: a write that a crash
    /// interrupted, or one in flight.
    Torn { bytes: u64 },
    /// An intact record follows what is none.
    Broken { offset: u64, sequence: u64 },
}

/// Reads the records of one segment in order.
pub(crate) struct SegmentReader<D: Disk> {
    file: D::File,
    header: SegmentHeader,
    name: String,
    /// Where the next record stands.
    offset: u64,
    /// After the last record that was read.
    position: Position,
    /// Where the last record that was read begins, if one was.
    last_record: Option<u64>,
    buffer: Vec<u8>,
    /// How much of the buffer is of the file, and from where on.
    filled: usize,
    buffer_offset: u64,
    /// From here on this process has hashed the records before, or has written them: their
    /// checksums show that they still are what they were.
    hashed_from: u64,
    /// How much the next read takes, in bytes.
    read_ahead: usize,
    payload: core::ops::Range<usize>,
}

impl<D: Disk> SegmentReader<D> {
    /// Opens and checks the header, the name and the length.
    pub(crate) fn open(disk: &D, first: u64) -> Result<Self, ReadError> {
        let name = segment_name(first);
        let file = disk.open(&name, false)?;
        let damaged = |offset, kind| Err(ReadError::damaged(name.clone(), offset, first, kind));
        let mut block = [0; 64];
        let read = file.read_at(0, &mut block)?;
        let length = file.len()?;
        let header = match SegmentHeader::decode(&block[..read]) {
            Ok(header) => header,
            Err(bad) => return damaged(0, bad.into()),
        };
        if header.first != first {
            return damaged(
                0,
                DamageKind::Name {
                    found: header.first,
                },
            );
        }
        // A segment gets its name only with its full length durable, so no crash
        // explains another one.
        if length != header.segment_bytes {
            let kind = DamageKind::Length {
                found: length,
                expected: header.segment_bytes,
            };
            return damaged(length.min(header.segment_bytes), kind);
        }
        Ok(Self {
            file,
            header,
            name,
            offset: HEADER_BLOCK_BYTES,
            position: header.start(),
            last_record: None,
            buffer: Vec::new(),
            buffer_offset: 0,
            filled: 0,
            hashed_from: u64::MAX,
            read_ahead: READ_BYTES_FIRST,
            payload: 0..0,
        })
    }

    /// The records from this sequence on, the first of a segment, need not be hashed again.
    pub(crate) fn hashed_from(mut self, sequence: u64) -> Self {
        self.hashed_from = sequence;
        self
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn last_record(&self) -> Option<u64> {
        self.last_record
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// Forgets what was read ahead, because a writer may have written there since.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
        self.payload = 0..0;
    }

    /// Goes one record on.
    pub(crate) fn step(&mut self) -> Result<Step, ReadError> {
        let rest = self.header.segment_bytes - self.offset;
        if rest < RECORD_HEADER_BYTES as u64 {
            return Ok(Step::NoRecord);
        }
        let Some(at) = self.fill(RECORD_HEADER_BYTES)? else {
            return Ok(Step::NoRecord);
        };
        let Some(head) = RecordHead::decode(&self.buffer[at..]) else {
            return Ok(Step::NoRecord);
        };
        let Some(length) = head.record_bytes().filter(|length| *length as u64 <= rest) else {
            return Ok(Step::NoRecord);
        };
        let Some(at) = self.fill(length)? else {
            return Ok(Step::NoRecord);
        };
        let record = &self.buffer[at..at + length];
        if !planted!("checksum_not_checked")
            && !head.checksum_fits(self.header.checksum_seed(), record)
        {
            return Ok(Step::NoRecord);
        }
        // From here on it is a whole record that somebody wrote: no interrupted write
        // looks like this, so whatever does not fit is damage.
        let payload = RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + head.payload_bytes;
        let sequence = self.position.sequence + 1;
        let next = if sequence >= self.hashed_from {
            Position {
                sequence,
                chain_hash: head.chain_hash,
            }
        } else {
            self.position.then(&record[payload])
        };
        let kind = if head.sequence != next.sequence {
            DamageKind::Sequence {
                found: head.sequence,
            }
        } else if head.chain_hash != next.chain_hash {
            DamageKind::Chain {
                found: head.chain_hash,
                expected: next.chain_hash,
            }
        } else {
            let start = at + RECORD_HEADER_BYTES;
            self.payload = start..start + head.payload_bytes;
            self.last_record = Some(self.offset);
            self.offset += length as u64;
            self.position = next;
            return Ok(Step::Record);
        };
        Err(self.damaged(kind))
    }

    /// A damage at the next record's place.
    pub(crate) fn damaged(&self, kind: DamageKind) -> ReadError {
        let sequence = self.position.sequence + 1;
        ReadError::damaged(self.name.clone(), self.offset, sequence, kind)
    }

    /// Says what the bytes from the next record's place to the end are, after
    /// [`Step::NoRecord`].
    pub(crate) fn tail(&self) -> Result<Tail, ReadError> {
        // Almost always so, and seen without a copy of what may be a whole segment.
        if self.file.is_zero(self.offset, self.header.segment_bytes)? {
            return Ok(Tail::Clean);
        }
        let length = usize::try_from(self.header.segment_bytes - self.offset).unwrap_or_default();
        let mut rest = vec![0; length];
        let read = self.file.read_at(self.offset, &mut rest)?;
        rest.truncate(read);
        if is_zero(&rest) {
            return Ok(Tail::Clean);
        }
        let end = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        if !planted!("damage_in_the_middle_is_cut")
            && let Some((at, sequence)) = self.find_record(&rest[..end], &rest)
        {
            return Ok(Tail::Broken {
                offset: self.offset + at as u64,
                sequence,
            });
        }
        Ok(Tail::Torn { bytes: end as u64 })
    }

    /// The first intact record, at any place where one can begin, that this log could
    /// have written after the last one that was read.
    fn find_record(&self, until_zeros: &[u8], rest: &[u8]) -> Option<(usize, u64)> {
        let seed = self.header.checksum_seed();
        let expected = self.position.sequence + 1;
        // No more records than fit: what names a later sequence is not one, and most of
        // what is not one is seen by this alone, without a checksum over it.
        let most = expected + (rest.len() / RECORD_HEADER_BYTES) as u64;
        (0..until_zeros.len()).step_by(8).find_map(|at| {
            let bytes = &rest[at..];
            if bytes.len() < RECORD_HEADER_BYTES {
                return None;
            }
            let head = RecordHead::decode(bytes)?;
            if !(expected..=most).contains(&head.sequence) {
                return None;
            }
            let record = bytes.get(..head.record_bytes()?)?;
            head.checksum_fits(seed, record)
                .then_some((at, head.sequence))
        })
    }

    /// Has `length` bytes from the next record's place in the buffer; returns where.
    /// None: the file ends before.
    fn fill(&mut self, length: usize) -> Result<Option<usize>, ReadError> {
        if let Some(at) = self.offset.checked_sub(self.buffer_offset)
            && let Ok(at) = usize::try_from(at)
            && at + length <= self.filled
        {
            return Ok(Some(at));
        }
        let rest = usize::try_from(self.header.segment_bytes - self.offset).unwrap_or(usize::MAX);
        let ahead = self.read_ahead.min(rest);
        self.read_ahead = (2 * self.read_ahead).min(READ_BYTES);
        let wanted = length.max(ahead);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.buffer_offset = self.offset;
        self.payload = 0..0;
        self.filled = 0;
        self.filled = (self.file).read_at(self.offset, &mut self.buffer[..wanted])?;
        Ok((self.filled >= length).then_some(0))
    }
}
