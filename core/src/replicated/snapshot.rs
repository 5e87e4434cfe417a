//! Where a replica stands, so that another start of it goes on from there.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::entry::{AppendId, Epoch, HostId, StreamSequence};
use crate::inventory::InventoryState;
use crate::order::OrderState;
use crate::payment::PaymentState;
use crate::record::{DecodeError, Part, Snapshot, decode, encode};

/// How far a journal's own replica has applied its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last message applied.
    pub stream_sequence: StreamSequence,
    /// Its name.
    pub append_id: AppendId,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// Whose epoch that is.
    pub leader: Option<HostId>,
}

/// One participant as its journal holds it, and from where each stream is to be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSnapshot<S> {
    /// The place in its own stream.
    pub position: Position,
    /// The participant there. Its cursors are those that the journal has recorded.
    pub part: Part<S>,
    /// For each journal, in the order of [`crate::ids::ParticipantId::ALL`]: the message
    /// after which everything comes that may still have to be read.
    pub read_after: [StreamSequence; 3],
}

/// All three replicas of a process. Each stands somewhere of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSnapshot {
    /// The order participant.
    pub order: ReplicaSnapshot<OrderState>,
    /// The inventory participant.
    pub inventory: ReplicaSnapshot<InventoryState>,
    /// The payment participant.
    pub payment: ReplicaSnapshot<PaymentState>,
}

impl HostSnapshot {
    /// The snapshot at rest: the version byte, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes; never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }

    /// The three states as the embedded host would keep them, to read rows from.
    #[must_use]
    pub fn into_parts(self) -> Snapshot {
        Snapshot {
            order: self.order.part,
            inventory: self.inventory.part,
            payment: self.payment.part,
            unread: Vec::new(),
        }
    }
}

impl<S: Serialize + DeserializeOwned> ReplicaSnapshot<S> {
    /// The snapshot at rest: the version byte, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes; never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}
