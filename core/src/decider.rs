//! What the three participants have in common: the decider's shape, and its inputs.
//!
//! ```text
//! decide : (&State, Input, now) -> Result<Vec<Event>, Rejection>     pure
//! evolve : (&mut State, &Event)                                      total, cannot fail
//! ```
//! Everything else (`owed_call`, `deadline`, …) is a function of the state, so that a
//! restart owes exactly what was owed before it.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

use crate::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use crate::ids::{OrderId, ParticipantId, Sequence};
use crate::inventory::InventoryEvent;
use crate::order::OrderEvent;
use crate::payment::PaymentEvent;
use crate::rejection::Rejection;
use crate::row::{Answer, AnswerRecord, Row, RowKey};
use crate::settings::Settings;
use crate::shards::ShardId;
use crate::time::Timestamp;

/// One event of any journal, as its readers see it.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    /// From the order journal.
    Order(&'a OrderEvent),
    /// From the inventory journal.
    Inventory(&'a InventoryEvent),
    /// From the payment journal.
    Payment(&'a PaymentEvent),
}

impl Fact<'_> {
    /// Whose journal it is from.
    #[must_use]
    pub const fn participant(self) -> ParticipantId {
        match self {
            Self::Order(_) => ParticipantId::Order,
            Self::Inventory(_) => ParticipantId::Inventory,
            Self::Payment(_) => ParticipantId::Payment,
        }
    }
}

/// What a decider is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, C> {
    /// A command from outside.
    Command(&'a C),
    /// Another participant's event.
    Upstream(Fact<'a>),
    /// The same, where participants have several shards.
    Sharded {
        /// Which of its participant's shards the event is from.
        from: ShardId,
        /// Which shard reads it.
        to: ShardId,
        /// The event.
        fact: Fact<'a>,
    },
    /// What a gateway call of ours came to, or (`operation` is `None`) what the
    /// gateway reported unasked.
    Gateway {
        /// The order whose payment it is.
        order_id: OrderId,
        /// The operation that was called; `None` for a webhook.
        operation: Option<GatewayOperation>,
        /// The outcome.
        outcome: &'a GatewayOutcome,
    },
    /// A deadline that the state named has come.
    Deadline(OrderId),
}

/// An event with the time at which it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Recorded<E> {
    /// When it was decided.
    pub at: Timestamp,
    /// What was decided.
    pub event: E,
}

/// An idempotency key with the fingerprint of the request that first used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Idempotency {
    /// The client's key.
    pub key: crate::ids::IdempotencyKey,
    /// Of the request's meaning; another fingerprint under one key is a conflict.
    pub fingerprint: crate::ids::Fingerprint,
}

/// A participant of the saga: a pure decider that owns one journal.
pub trait Participant: 'static {
    /// Which of the three it is.
    const ID: ParticipantId;
    /// What the outside may ask of it.
    type Command: Clone + core::fmt::Debug;
    /// What it decides, and all that its journal holds.
    type Event: Clone + core::fmt::Debug + PartialEq + Serialize + DeserializeOwned;
    /// The fold of its journal, less what has ended and left memory.
    type State: Clone + Default + core::fmt::Debug + PartialEq + Serialize + DeserializeOwned;

    /// Decides what an input means. Never changes anything.
    ///
    /// # Errors
    /// A command may be refused; other inputs are never refused: what does not apply
    /// any more decides nothing.
    fn decide(
        state: &Self::State,
        settings: &Settings,
        input: Input<'_, Self::Command>,
        now: Timestamp,
    ) -> Result<Vec<Self::Event>, Rejection>;

    /// Applies one event. Total: an event that the state does not know how to take
    /// changes nothing, which `decide` never produces.
    fn evolve(state: &mut Self::State, recorded: &Recorded<Self::Event>, sequence: Sequence);

    /// The order that this event is about.
    fn order_id(event: &Self::Event) -> Option<OrderId>;

    /// All rows that this event changes, read from the state after it.
    fn touched(event: &Self::Event, state: &Self::State, out: &mut Vec<RowKey>);

    /// The row that must be known before the input can be decided, if there is one.
    fn needs(input: &Input<'_, Self::Command>) -> Option<Need>;

    /// The idempotency key of a command whose answer is kept, with its fingerprint.
    /// Order creation needs none: its order id derives from the key.
    fn idempotency(command: &Self::Command) -> Option<&Idempotency>;

    /// Is a command that decides nothing a repeated one, answered before?
    fn is_answered_by_state(command: &Self::Command) -> bool;

    /// The event that records a command's answer under its key.
    fn answered(record: AnswerRecord) -> Self::Event;

    /// The event that brings a row which had left memory back into it, so that the
    /// journal alone is enough to rebuild the state.
    fn recalled(row: Row) -> Option<Self::Event>;

    /// What a command that was accepted answers with, read from the state after it.
    fn answer(state: &Self::State, command: &Self::Command) -> Option<Answer>;

    /// The row as it is now, if it is in memory.
    fn row(state: &Self::State, key: &RowKey) -> Option<Row>;

    /// Is this row in memory?
    fn holds(state: &Self::State, key: &RowKey) -> bool;

    /// Puts a row that was fetched back into memory.
    fn restore(state: &mut Self::State, row: Row);

    /// Has this row ended, so that it may leave memory, and is `sequence` its last change?
    fn may_leave(state: &Self::State, key: &RowKey, sequence: Sequence) -> bool;

    /// Takes a row out of memory.
    fn forget(state: &mut Self::State, key: &RowKey);

    /// When this order next wants [`Input::Deadline`].
    fn deadline(state: &Self::State, order_id: OrderId) -> Option<Timestamp>;

    /// The gateway call that this order's payment owes, and when it is due.
    fn owed_call(
        state: &Self::State,
        settings: &Settings,
        order_id: OrderId,
    ) -> Option<(Timestamp, GatewayCall)>;

    /// Every order in memory, in order of id.
    fn order_ids(state: &Self::State) -> Vec<OrderId>;

    /// Orders in memory.
    fn active_len(state: &Self::State) -> usize;
}

/// A row that an input needs, and whether it can exist outside memory at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The row.
    pub key: RowKey,
    /// `false` when the id was minted just now, so that looking for it is in vain.
    pub may_exist: bool,
}
