//! The way of a command into the loop of a process that may lead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use a4co_core::command::{Command, Reply};
use a4co_core::replicated::Refusal;
use tokio::sync::{mpsc, oneshot};

use super::standing::Positions;
use crate::handle::{Counted, SubmitError};

/// A reply, and how far each journal was shown at its leader when it left: a reader that
/// has come as far sees what the command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    /// What the command came to.
    pub reply: Reply,
    /// How far readers of the answering process see.
    pub shown: Positions,
}

/// Why a command has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaSubmitError {
    /// The loop did not take it, or has ended.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It is not decided here, or nobody knows.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

pub(super) type Answer = Result<Replied, Refusal>;

/// A command with the place to which its answer goes.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A handle to a running loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReplicaHandle {
    queue: mpsc::Sender<Submission>,
    depth: Arc<AtomicUsize>,
}

impl ReplicaHandle {
    pub(super) fn new(queue: mpsc::Sender<Submission>) -> Self {
        Self {
            queue,
            depth: Arc::default(),
        }
    }

    /// Hands a command to this process's own participant.
    ///
    /// # Errors
    /// [`ReplicaSubmitError`]; only after [`Refusal::OutcomeUnknown`] and
    /// [`SubmitError::Stopped`] may the command have been carried out.
    pub async fn submit(&self, command: Command) -> Result<Replied, ReplicaSubmitError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Submission { command, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
            })?;
        let _counted = Counted::new(&self.depth);
        match answered.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(SubmitError::Stopped.into()),
        }
    }

    /// Commands that wait for their reply now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }
}
