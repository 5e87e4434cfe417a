//! Commands of all three participants under one name, and the reply to one.

use serde::{Deserialize, Serialize};

use crate::ids::ParticipantId;
use crate::inventory::InventoryCommand;
use crate::order::OrderCommand;
use crate::payment::PaymentCommand;
use crate::rejection::Rejection;
use crate::row::Answer;
use crate::shards::{JournalId, Shard, ShardCount};

/// A command to any participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// To the order participant.
    Order(OrderCommand),
    /// To the inventory participant.
    Inventory(InventoryCommand),
    /// To the payment participant.
    Payment(PaymentCommand),
}

impl Command {
    /// Who decides it.
    #[must_use]
    pub const fn participant(&self) -> ParticipantId {
        match self {
            Self::Order(_) => ParticipantId::Order,
            Self::Inventory(_) => ParticipantId::Inventory,
            Self::Payment(_) => ParticipantId::Payment,
        }
    }

    /// The journal of the shard that decides it.
    #[must_use]
    pub fn journal(&self, count: ShardCount) -> JournalId {
        let id = match self {
            Self::Order(command) => count.of_order(command.order_id()),
            Self::Inventory(
                InventoryCommand::Define { product_id, .. }
                | InventoryCommand::Adjust { product_id, .. },
            ) => count.of_product(product_id),
            Self::Payment(command) => count.of_order(command.order_id()),
        };
        JournalId::new(self.participant(), Shard { id, count })
    }
}

/// Names a command among those that its sender has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a command came to. It leaves only once all that it rests on is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What the command changed, as it was right after it; or why nothing changed.
    ///
    /// A replayed order creation answers with the order as it is now
    /// ([`crate::order::Order::as_created`] gives the first answer back).
    pub result: Result<Answer, Rejection>,
    /// The command had been answered before, under the same idempotency key.
    pub replayed: bool,
}
