//! What a journal's stream holds: one entry a message, and the names that are in it.
//!
//! At rest: the version byte, then postcard of an [`Entry`]. Decoding is total.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::decider::Fact;
use crate::ids::{ParticipantId, Sequence};
use crate::inventory::InventoryEvent;
use crate::order::OrderEvent;
use crate::payment::PaymentEvent;
use crate::record::{DecodeError, EncodedFrame, FORMAT_VERSION, Frame, decode, encode_into};
use crate::shards::JournalId;

/// Names one start of one process. Given from outside (a fresh UUID), never used again:
/// what an earlier start of the same process left on its way must not pass for ours.
///
/// At rest 16 bytes; as text 32 hexadecimal digits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct HostId([u8; 16]);

impl HostId {
    /// The host of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A message's position in its stream, as the stream counts. The first one is 1; 0 is
/// before it. Not an event's [`Sequence`]: one message holds many events, or none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct StreamSequence(u64);

impl StreamSequence {
    /// Before the first message.
    pub const NONE: Self = Self(0);

    /// The position `sequence`.
    #[must_use]
    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    /// The position as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; that of [`Self::NONE`] is itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl From<u64> for StreamSequence {
    fn from(sequence: u64) -> Self {
        Self(sequence)
    }
}

impl From<StreamSequence> for u64 {
    fn from(sequence: StreamSequence) -> Self {
        sequence.0
    }
}

impl fmt::Display for StreamSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One leadership of one journal: each claim counts one on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch `number`; 0 is before the first.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The epoch as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names an append. Resent, it keeps its name; what has another name is another append.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct AppendId {
    /// Whose append it is.
    pub host: HostId,
    /// Counts that host's appends to one journal, from 1.
    pub number: u64,
}

impl fmt::Display for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.number)
    }
}

/// One message of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// The journal that it belongs into: a message in another stream is foreign there.
    pub journal: JournalId,
    /// The name of the append that brought it.
    pub append_id: AppendId,
    /// The name of the entry before it (all zero for the first): a stream that lost its
    /// end and went on without it does not fit any more to whoever has seen that end.
    pub previous: AppendId,
    /// The leadership under which it was appended.
    pub epoch: Epoch,
    /// What it says.
    pub content: Content<E>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content<E> {
    /// The appending host leads from here on, under the entry's epoch.
    Claim,
    /// Events that the leader decided.
    Frame(Arc<Frame<E>>),
}

impl<E> Entry<E> {
    /// Who appended it.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.append_id.host
    }
}

/// The head of an entry, which is encoded apart from its frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) journal: JournalId,
    pub(super) append_id: AppendId,
    pub(super) previous: AppendId,
    pub(super) epoch: Epoch,
}

impl Head {
    /// The bytes of an entry with this head; a claim where there is no frame.
    pub(super) fn encode(self, frame: Option<&EncodedFrame>) -> Vec<u8> {
        let length = frame.map_or(0, |frame| frame.events.len());
        let mut out = Vec::with_capacity(length + 96);
        out.push(FORMAT_VERSION);
        let variant = u32::from(frame.is_some());
        let out = encode_into(
            &(
                self.journal,
                self.append_id,
                self.previous,
                self.epoch,
                variant,
            ),
            out,
        );
        match frame {
            Some(frame) => frame.append_to(out),
            None => out,
        }
    }
}

/// An entry of any journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyEntry {
    /// Of the order journal.
    Order(Entry<OrderEvent>),
    /// Of the inventory journal.
    Inventory(Entry<InventoryEvent>),
    /// Of the payment journal.
    Payment(Entry<PaymentEvent>),
}

impl AnyEntry {
    /// Reads a message of `journal`'s stream.
    ///
    /// # Errors
    /// [`EntryError`] for bytes that are no entry of this journal; never a panic.
    pub fn decode(journal: impl Into<JournalId>, bytes: &[u8]) -> Result<Self, EntryError> {
        let journal = journal.into();
        match journal.participant {
            ParticipantId::Order => decode_for(journal, bytes).map(Self::Order),
            ParticipantId::Inventory => decode_for(journal, bytes).map(Self::Inventory),
            ParticipantId::Payment => decode_for(journal, bytes).map(Self::Payment),
        }
    }

    /// The journal that it belongs into.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        match self {
            Self::Order(entry) => entry.journal,
            Self::Inventory(entry) => entry.journal,
            Self::Payment(entry) => entry.journal,
        }
    }

    /// The frame that it holds, to be kept.
    pub(super) fn frame(&self) -> Option<SharedFrame> {
        Some(match self {
            Self::Order(entry) => SharedFrame::Order(frame_of(entry)?),
            Self::Inventory(entry) => SharedFrame::Inventory(frame_of(entry)?),
            Self::Payment(entry) => SharedFrame::Payment(frame_of(entry)?),
        })
    }
}

fn frame_of<E>(entry: &Entry<E>) -> Option<Arc<Frame<E>>> {
    match &entry.content {
        Content::Claim => None,
        Content::Frame(frame) => Some(Arc::clone(frame)),
    }
}

fn decode_for<E: DeserializeOwned>(
    journal: JournalId,
    bytes: &[u8],
) -> Result<Entry<E>, EntryError> {
    // The journal's name comes first, so that another journal's message is called what
    // it is, and not malformed.
    if let Some((&FORMAT_VERSION, rest)) = bytes.split_first()
        && let Ok((named, _)) = postcard::take_from_bytes::<JournalId>(rest)
        && named != journal
    {
        return Err(EntryError::Foreign(named));
    }
    decode(bytes).map_err(EntryError::Undecodable)
}

/// Why a message is not an entry of the journal in whose stream it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is of another journal.
    #[error("it belongs to the {0} journal")]
    Foreign(JournalId),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Undecodable(DecodeError),
}

/// A frame of any journal, kept for a reader.
#[derive(Debug, Clone)]
pub(super) enum SharedFrame {
    Order(Arc<Frame<OrderEvent>>),
    Inventory(Arc<Frame<InventoryEvent>>),
    Payment(Arc<Frame<PaymentEvent>>),
}

impl SharedFrame {
    /// The sequence of its last event, or of the one before it where it has none.
    pub(super) fn last(&self) -> Sequence {
        let (after, length) = self.span();
        Sequence::new(after.get().saturating_add(length as u64))
    }

    /// The sequence before its first event, and its number of events.
    pub(super) fn span(&self) -> (Sequence, usize) {
        match self {
            Self::Order(frame) => (frame.after, frame.events.len()),
            Self::Inventory(frame) => (frame.after, frame.events.len()),
            Self::Payment(frame) => (frame.after, frame.events.len()),
        }
    }

    /// The event at this sequence.
    pub(super) fn fact(&self, sequence: Sequence) -> Option<Fact<'_>> {
        let (after, _) = self.span();
        let index = sequence.get().checked_sub(after.get())?.checked_sub(1)?;
        let index = usize::try_from(index).ok()?;
        match self {
            Self::Order(frame) => frame.events.get(index).map(|it| Fact::Order(&it.event)),
            Self::Inventory(frame) => frame.events.get(index).map(|it| Fact::Inventory(&it.event)),
            Self::Payment(frame) => frame.events.get(index).map(|it| Fact::Payment(&it.event)),
        }
    }
}
