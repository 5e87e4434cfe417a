//! The bytes on disk: names of files, headers, records. All numbers are little-endian.
//!
//! ```text
//! segment   header block (4096 bytes), then records, then zeros up to its size
//!  0  magic "A4COSEGM"      8  version u32       12  crc32c u32 of the rest of the 64 bytes
//! 16  first sequence u64   24  first sequence of the segment before u64 (0: there is none)
//! 32  segment bytes u64    40  chain hash at its start [16]       56  zeros [8]
//!
//! record    8-aligned
//!  0  payload bytes u32     4  crc32c u32 of all else, padding too, seeded by the segment
//!  8  sequence u64         16  chain hash [16]   32  payload, zeros up to a multiple of 8
//!
//! snapshot  header (80 bytes), then the payload, then the end of the file
//!  0  magic "A4COSNAP"      8  version u32       12  crc32c u32 of the rest of the 80 bytes
//! 16  sequence u64         24  chain hash [16]   40  payload bytes u64   48  blake3 [32]
//! ```

use core::fmt;

/// The most that one record's payload may have. With the smallest segments that
/// [`crate::Options`] allows, less: a record never spans segments.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;
/// The size of a segment unless [`crate::Options`] says otherwise.
pub const DEFAULT_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// The smallest segment: its header's block and one more.
pub const MIN_SEGMENT_BYTES: u64 = 2 * HEADER_BLOCK_BYTES;
/// The largest segment: the check of a log's tail reads what is left of it at once.
pub const MAX_SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// The version of all three formats above.
pub const FORMAT_VERSION: u32 = 1;

/// A block of its own for the header, so that no append ever rewrites it.
pub(crate) const HEADER_BLOCK_BYTES: u64 = HEADER_BLOCK_LEN as u64;
const HEADER_BLOCK_LEN: usize = 4096;
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
pub(crate) const SNAPSHOT_HEADER_BYTES: usize = 80;
const SEGMENT_HEADER_BYTES: usize = 64;
const ALIGNMENT_BYTES: usize = 8;
const SEGMENT_MAGIC: [u8; 8] = *b"A4COSEGM";
const SNAPSHOT_MAGIC: [u8; 8] = *b"A4COSNAP";

const _: () = assert!(
    HEADER_BLOCK_BYTES + (RECORD_HEADER_BYTES + MAX_RECORD_BYTES) as u64 <= DEFAULT_SEGMENT_BYTES,
    "the largest record fits in a segment of the default size"
);
const _: () = assert!(MAX_RECORD_BYTES.is_multiple_of(ALIGNMENT_BYTES));
const _: () = assert!(SEGMENT_HEADER_BYTES as u64 <= HEADER_BLOCK_BYTES);
const _: () = assert!(MIN_SEGMENT_BYTES <= DEFAULT_SEGMENT_BYTES);
const _: () = assert!(DEFAULT_SEGMENT_BYTES <= MAX_SEGMENT_BYTES);

/// What stands for everything up to and including one record: the first half of blake3
/// over the hash before it, its sequence and its payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash(pub [u8; 16]);

impl ChainHash {
    /// The hash before the first record.
    pub const GENESIS: Self = Self([0; 16]);

    /// The hash after one more record.
    #[must_use]
    pub fn then(&self, sequence: u64, payload: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&sequence.to_le_bytes());
        hasher.update(payload);
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(half)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the log: after the record of this sequence (0: before the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The sequence of the last record before this place.
    pub sequence: u64,
    /// The chain hash after that record.
    pub chain_hash: ChainHash,
}

impl Position {
    /// The start of every log.
    pub const START: Self = Self {
        sequence: 0,
        chain_hash: ChainHash::GENESIS,
    };

    pub(crate) fn then(&self, payload: &[u8]) -> Self {
        let sequence = self.sequence + 1;
        Self {
            sequence,
            chain_hash: self.chain_hash.then(sequence, payload),
        }
    }
}

/// Why a header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not ours, or not what was written.
    Damaged,
    /// Intact, and of another version.
    Version(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first: u64,
    /// The first sequence of the segment before, 0 for none: a missing file is found
    /// without reading the records of the one before it.
    pub(crate) previous_first: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) chain_hash: ChainHash,
}

impl SegmentHeader {
    /// The place in the log at which the segment starts.
    pub(crate) fn start(&self) -> Position {
        Position {
            sequence: self.first - 1,
            chain_hash: self.chain_hash,
        }
    }

    /// What the checksums of this segment's records start from, so that bytes of another
    /// segment, or of a log inside a payload, do not pass for records of this one.
    pub(crate) fn checksum_seed(&self) -> u32 {
        crc32c::crc32c(&self.chain_hash.0)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; HEADER_BLOCK_LEN];
        block[0..8].copy_from_slice(&SEGMENT_MAGIC);
        block[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.first.to_le_bytes());
        block[24..32].copy_from_slice(&self.previous_first.to_le_bytes());
        block[32..40].copy_from_slice(&self.segment_bytes.to_le_bytes());
        block[40..56].copy_from_slice(&self.chain_hash.0);
        let crc = header_checksum(&block[..SEGMENT_HEADER_BYTES]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes
            .get(..SEGMENT_HEADER_BYTES)
            .ok_or(BadHeader::Damaged)?;
        check_header(bytes, SEGMENT_MAGIC)?;
        let header = Self {
            first: u64_at(bytes, 16),
            previous_first: u64_at(bytes, 24),
            segment_bytes: u64_at(bytes, 32),
            chain_hash: hash_at(bytes, 40),
        };
        let bytes_allowed = MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES;
        if header.first == 0
            || header.previous_first >= header.first
            || !bytes_allowed.contains(&header.segment_bytes)
        {
            return Err(BadHeader::Damaged);
        }
        Ok(header)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) position: Position,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_hash: [u8; 32],
}

impl SnapshotHeader {
    pub(crate) fn encode(&self) -> [u8; SNAPSHOT_HEADER_BYTES] {
        let mut bytes = [0; SNAPSHOT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SNAPSHOT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.sequence.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.position.chain_hash.0);
        bytes[40..48].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.payload_hash);
        let crc = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes
            .get(..SNAPSHOT_HEADER_BYTES)
            .ok_or(BadHeader::Damaged)?;
        check_header(bytes, SNAPSHOT_MAGIC)?;
        let mut payload_hash = [0; 32];
        payload_hash.copy_from_slice(&bytes[48..80]);
        Ok(Self {
            position: Position {
                sequence: u64_at(bytes, 16),
                chain_hash: hash_at(bytes, 24),
            },
            payload_bytes: u64_at(bytes, 40),
            payload_hash,
        })
    }
}

fn check_header(bytes: &[u8], magic: [u8; 8]) -> Result<(), BadHeader> {
    // The checksum first: a flipped bit in the version is damage, not a newer program.
    if bytes[..8] != magic || u32_at(bytes, 12) != header_checksum(bytes) {
        return Err(BadHeader::Damaged);
    }
    match u32_at(bytes, 8) {
        FORMAT_VERSION => Ok(()),
        other => Err(BadHeader::Version(other)),
    }
}

fn header_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// The bytes that a record of this payload takes in its segment.
pub(crate) const fn record_bytes(payload_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT_BYTES) as u64
}

/// The most that a payload may have in segments of this size.
pub(crate) fn max_payload_bytes(segment_bytes: u64) -> usize {
    let room = segment_bytes.saturating_sub(HEADER_BLOCK_BYTES) & !(ALIGNMENT_BYTES as u64 - 1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    room.saturating_sub(RECORD_HEADER_BYTES)
        .min(MAX_RECORD_BYTES)
}

/// Puts one whole record into `buffer`, which keeps its allocation. The caller has
/// checked the payload's length.
pub(crate) fn encode_record(buffer: &mut Vec<u8>, seed: u32, position: Position, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("the caller checked MAX_RECORD_BYTES");
    buffer.clear();
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&position.sequence.to_le_bytes());
    buffer.extend_from_slice(&position.chain_hash.0);
    buffer.extend_from_slice(payload);
    buffer.resize(buffer.len().next_multiple_of(ALIGNMENT_BYTES), 0);
    let crc = record_checksum(seed, buffer);
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn record_checksum(seed: u32, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..4]), &record[8..])
}

/// The head of a record, as it stands there, before anything of it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) payload_bytes: usize,
    pub(crate) sequence: u64,
    pub(crate) chain_hash: ChainHash,
    checksum: u32,
}

impl RecordHead {
    /// From at least [`RECORD_HEADER_BYTES`]; none where there are only zeros, which no
    /// record has (sequences start at 1).
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..RECORD_HEADER_BYTES];
        if is_zero(bytes) {
            return None;
        }
        Some(Self {
            payload_bytes: u32_at(bytes, 0) as usize,
            sequence: u64_at(bytes, 8),
            chain_hash: hash_at(bytes, 16),
            checksum: u32_at(bytes, 4),
        })
    }

    /// The whole record's bytes, or none if no record may be as long.
    pub(crate) fn record_bytes(&self) -> Option<usize> {
        (self.payload_bytes <= MAX_RECORD_BYTES)
            .then(|| (RECORD_HEADER_BYTES + self.payload_bytes).next_multiple_of(ALIGNMENT_BYTES))
    }

    /// Whether the checksum fits the whole record (of [`RecordHead::record_bytes`]).
    pub(crate) fn checksum_fits(&self, seed: u32, record: &[u8]) -> bool {
        self.checksum == record_checksum(seed, record)
    }
}

/// Whether there are only zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // By words: this runs over whole segments at every start.
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn hash_at(bytes: &[u8], at: usize) -> ChainHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&bytes[at..at + 16]);
    ChainHash(hash)
}
