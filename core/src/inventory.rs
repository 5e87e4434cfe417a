//! The inventory participant: products, their stock, and the holds on it.
//!
//! It never asks what an order costs or whether it is paid. All lines of an order are
//! reserved, or none; stock never goes below zero.

mod decide;
mod event;
mod state;

pub(crate) use decide::decide_alone;
pub use event::{InventoryCommand, InventoryEvent, ReleaseReason};
pub use state::{HeldLine, InventoryState, Price, Product, Reservation, ReservationStatus};

/// The inventory participant; see [`crate::decider::Participant`].
#[derive(Debug, Clone, Copy)]
pub struct InventoryParticipant;
