//! Where a replica stands, so that another start of it goes on from there.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::entry::{AppendId, Epoch, HostId, StreamSequence};
use crate::ids::ParticipantId;
use crate::inventory::InventoryState;
use crate::order::OrderState;
use crate::payment::PaymentState;
use crate::record::{DecodeError, FORMAT_VERSION, Part, Snapshot, decode, encode, encode_into};
use crate::shards::{PerJournal, SHARDS_MAX, ShardId};

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
    /// For each journal: the message after which everything comes that may still have to be
    /// read.
    pub read_after: PerJournal<StreamSequence>,
}

/// The three replicas of one shard. Each stands somewhere of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSnapshot {
    /// The order participant.
    pub order: ReplicaSnapshot<OrderState>,
    /// The inventory participant.
    pub inventory: ReplicaSnapshot<InventoryState>,
    /// The payment participant.
    pub payment: ReplicaSnapshot<PaymentState>,
}

/// All replicas of a process: three for each shard. None: the beginning of every journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSnapshot {
    /// By shard.
    pub shards: Vec<ShardSnapshot>,
}

impl ShardSnapshot {
    /// How far the replica of a participant has applied its journal.
    #[must_use]
    pub const fn position(&self, participant: ParticipantId) -> &Position {
        match participant {
            ParticipantId::Order => &self.order.position,
            ParticipantId::Inventory => &self.inventory.position,
            ParticipantId::Payment => &self.payment.position,
        }
    }
}

impl HostSnapshot {
    /// The snapshot at rest: the version byte, then postcard of each shard's, one after the
    /// other.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some((first, others)) = self.shards.split_first() else {
            return encode(&ShardSnapshot::default());
        };
        others
            .iter()
            .fold(encode(first), |out, shard| encode_into(shard, out))
    }

    /// The snapshot of one shard, or its beginning.
    #[must_use]
    pub fn take(&mut self, shard: ShardId) -> ShardSnapshot {
        let place = self.shards.get_mut(usize::from(shard.get()));
        place.map(core::mem::take).unwrap_or_default()
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes; never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, mut rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if *version != FORMAT_VERSION {
            return Err(DecodeError::Version(*version));
        }
        let mut shards = Vec::new();
        while shards.is_empty() || !rest.is_empty() {
            if shards.len() >= usize::from(SHARDS_MAX) {
                return Err(DecodeError::Trailing(rest.len()));
            }
            let (shard, after) = postcard::take_from_bytes(rest).map_err(DecodeError::Malformed)?;
            shards.push(shard);
            rest = after;
        }
        Ok(Self { shards })
    }
}

impl ShardSnapshot {
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
