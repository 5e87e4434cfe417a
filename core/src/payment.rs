//! The payment participant: what is charged, cancelled and refunded, and what is owed
//! to the gateway.
//!
//! It never decides on an unknown outcome: it asks again until it knows.

mod backoff;
mod decide;
mod event;
mod outcome;
mod state;

pub use event::{PaymentCommand, PaymentEvent, PaymentFailure, RefundOrigin};
pub use state::{Payment, PaymentPhase, PaymentState, PaymentStatus, Refund, RefundStatus};

/// The payment participant; see [`crate::decider::Participant`].
#[derive(Debug, Clone, Copy)]
pub struct PaymentParticipant;
