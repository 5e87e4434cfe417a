//! The order participant: the saga's orchestrator.
//!
//! It creates orders, asks inventory and payment for their parts, and undoes all of
//! it when a part cannot be had. It never touches stock or money itself.

mod command;
mod decide;
mod event;
mod state;

pub use command::{CreateOrder, Line, MetadataValue, NewOrder, OrderCommand, SandboxHints};
pub(crate) use decide::decide_step;
pub use event::{CancelReason, OrderEvent, Shortage, Undo, UndoPart};
pub use state::{
    HistoryEntry, IllegalStep, Order, OrderState, OrderStatus, SagaState, Step, UndoProgress,
};

/// The order participant; see [`crate::decider::Participant`].
#[derive(Debug, Clone, Copy)]
pub struct OrderParticipant;
