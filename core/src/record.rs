//! What is written down: frames of one participant's events, and the record of the
//! embedded host that holds a frame of each.
//!
//! Format at rest: a version byte, then postcard. Decoding is total: any bytes give a
//! record or an error.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::decider::{Fact, Recorded};
use crate::ids::{ParticipantId, Sequence};
use crate::inventory::{InventoryEvent, InventoryState};
use crate::order::{OrderEvent, OrderState};
use crate::payment::{PaymentEvent, PaymentState};
use crate::row::Row;
use crate::shards::PerJournal;
use crate::time::Timestamp;

/// Version of the format at rest. Another number is another format, never a guess.
pub const FORMAT_VERSION: u8 = 3;

/// How far a participant has read each journal: the last sequence. Its own entry stays at
/// zero.
pub type Cursors = PerJournal<Sequence>;

/// Consecutive events of one journal, with how far their decider had read the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame<E> {
    /// The sequence before the first event: what the journal must end with for this
    /// frame to fit.
    pub after: Sequence,
    /// How far the others' journals had been read once the last event was decided.
    pub cursors: Cursors,
    /// The events, in order.
    pub events: Vec<Recorded<E>>,
}

/// One commit of the embedded host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The order journal's share.
    pub order: Frame<OrderEvent>,
    /// The inventory journal's share.
    pub inventory: Frame<InventoryEvent>,
    /// The payment journal's share.
    pub payment: Frame<PaymentEvent>,
}

/// A frame whose events are encoded already, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// As in [`Frame`].
    pub after: Sequence,
    /// As in [`Frame`].
    pub cursors: Cursors,
    /// How many events.
    pub count: usize,
    /// The events, each in postcard.
    pub events: Vec<u8>,
}

impl EncodedFrame {
    /// Writes what postcard would write for the [`Frame`] that this one stands for.
    #[must_use]
    pub fn append_to(&self, out: Vec<u8>) -> Vec<u8> {
        let mut out = encode_into(&(self.after, &self.cursors, self.count), out);
        out.extend_from_slice(&self.events);
        out
    }
}

/// The bytes of a [`Record`] that holds these frames.
#[must_use]
pub fn encode_record(
    order: &EncodedFrame,
    inventory: &EncodedFrame,
    payment: &EncodedFrame,
) -> Vec<u8> {
    let length = order.events.len() + inventory.events.len() + payment.events.len();
    let mut out = Vec::with_capacity(length + 64);
    out.push(FORMAT_VERSION);
    payment.append_to(inventory.append_to(order.append_to(out)))
}

impl Record {
    /// The time of its newest event.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let order = self.order.events.last().map(|recorded| recorded.at);
        let inventory = self.inventory.events.last().map(|recorded| recorded.at);
        let payment = self.payment.events.last().map(|recorded| recorded.at);
        order.max(inventory).max(payment).unwrap_or_default()
    }
}

/// An event that a participant had not read yet, with whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnedFact {
    /// From the order journal.
    Order(OrderEvent),
    /// From the inventory journal.
    Inventory(InventoryEvent),
    /// From the payment journal.
    Payment(PaymentEvent),
}

impl OwnedFact {
    /// The fact.
    #[must_use]
    pub const fn as_fact(&self) -> Fact<'_> {
        match self {
            Self::Order(event) => Fact::Order(event),
            Self::Inventory(event) => Fact::Inventory(event),
            Self::Payment(event) => Fact::Payment(event),
        }
    }
}

impl From<Fact<'_>> for OwnedFact {
    fn from(fact: Fact<'_>) -> Self {
        match fact {
            Fact::Order(event) => Self::Order(event.clone()),
            Fact::Inventory(event) => Self::Inventory(event.clone()),
            Fact::Payment(event) => Self::Payment(event.clone()),
        }
    }
}

/// Everything that one participant is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part<S> {
    /// The fold of its journal.
    pub state: S,
    /// The sequence of the last event in it.
    pub last: Sequence,
    /// When that event was decided: time goes on from here, whatever the clock says.
    pub decided_at: Timestamp,
    /// How far it has read the others.
    pub cursors: Cursors,
}

/// The state of the embedded host between two records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The order participant.
    pub order: Part<OrderState>,
    /// The inventory participant.
    pub inventory: Part<InventoryState>,
    /// The payment participant.
    pub payment: Part<PaymentState>,
    /// Facts that a participant had not read yet: reader, sequence, fact.
    pub unread: Vec<(ParticipantId, Sequence, OwnedFact)>,
}

impl Snapshot {
    /// Every row of the state, for a store that starts from this snapshot.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let orders = self.order.state.orders.values().cloned().map(Row::Order);
        let products = self
            .inventory
            .state
            .products
            .values()
            .cloned()
            .map(Row::Product);
        let held = self
            .inventory
            .state
            .reservations
            .values()
            .cloned()
            .map(Row::Reservation);
        let payments = self
            .payment
            .state
            .payments
            .values()
            .cloned()
            .map(Row::Payment);
        let answers = (self.order.state.answers.values())
            .chain(self.inventory.state.answers.values())
            .chain(self.payment.state.answers.values());
        orders
            .chain(products)
            .chain(held)
            .chain(payments)
            .chain(answers.cloned().map(Row::Answer))
    }

    /// The time of the newest event that the state shows. What has left memory is not
    /// looked at, so this is a lower bound of the journal's last event.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let orders = self
            .order
            .state
            .orders
            .values()
            .map(|order| order.updated_at);
        let payments = self
            .payment
            .state
            .payments
            .values()
            .map(|payment| payment.updated_at);
        let held = self
            .inventory
            .state
            .reservations
            .values()
            .map(|held| held.created_at);
        orders.chain(payments).chain(held).max().unwrap_or_default()
    }
}

/// Bytes that are not what they should be. Nothing was changed by reading them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("empty where a version byte was expected")]
    Empty,
    /// Written by another version of the format. Use the version that wrote it.
    #[error("format version {0} is not version {FORMAT_VERSION}, which this build reads")]
    Version(u8),
    /// Not a value of this format.
    #[error("malformed: {0}")]
    Malformed(postcard::Error),
    /// More bytes than the value has.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// Appends a value in postcard, without a version byte.
///
/// # Panics
/// Never for the types of this crate: the encoder refuses only sequences of unknown
/// length, and has no other error when it writes into memory.
#[must_use]
pub fn encode_into<T: Serialize>(value: &T, out: Vec<u8>) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "see above")]
    postcard::to_extend(value, out).expect("a value of the journal encodes")
}

/// Encodes a value, version byte first.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_into(value, alloc::vec![FORMAT_VERSION])
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`DecodeError`] for any other bytes; never a panic.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != FORMAT_VERSION {
        return Err(DecodeError::Version(*version));
    }
    let (value, left) = postcard::take_from_bytes(rest).map_err(DecodeError::Malformed)?;
    if left.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Trailing(left.len()))
    }
}
