//! The way from the outside to the engine: commands in, replies and changes out.
//!
//! HTTP and the command line hold an [`EngineHandle`]; nothing else of the engine is
//! visible to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use a4co_core::command::{Command, Reply};
use tokio::sync::{mpsc, oneshot};

use crate::planted::planted;

/// A command with the place to which its reply goes.
#[derive(Debug)]
pub struct Submission {
    /// What is asked.
    pub command: Command,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Why a command got no reply. Nothing is known to have changed for `Stopped`: the same
/// command under the same idempotency key finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full. Nothing changed; try again shortly.
    #[error("the engine's queue is full")]
    QueueFull,
    /// The engine has stopped, or is stopping. The command may or may not have been taken.
    #[error("the engine is stopping")]
    Stopped,
    /// No process leads the participant at the moment. Nothing changed; try again shortly.
    #[error("nobody decides for this participant at the moment")]
    NoLeader,
    /// The command was sent to the process that decides, and nobody knows what became of it.
    /// The same command under the same idempotency key finds out.
    #[error("the outcome is not known")]
    OutcomeUnknown,
}

/// A handle to a running engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    queue: mpsc::Sender<Submission>,
    depth: Arc<AtomicUsize>,
}

impl EngineHandle {
    /// A handle whose commands go to `queue`.
    #[must_use]
    pub fn new(queue: mpsc::Sender<Submission>) -> Self {
        Self {
            queue,
            depth: Arc::default(),
        }
    }

    /// Hands a command to the engine and waits until its outcome is durable.
    ///
    /// # Errors
    /// [`SubmitError`] when the engine did not take the command, or stopped meanwhile.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(Submission { command, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
            })?;
        if planted!("queue_count_leak") {
            self.depth.fetch_add(1, Ordering::Relaxed);
            let answer = answer.await;
            self.depth.fetch_sub(1, Ordering::Relaxed);
            return answer.map_err(|_| SubmitError::Stopped);
        }
        let _counted = Counted::new(&self.depth);
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    /// Commands that wait for their reply now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }
}

/// One command that waits, counted until it is answered or its sender gives up.
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(crate) fn new(depth: &'a AtomicUsize) -> Self {
        depth.fetch_add(1, Ordering::Relaxed);
        Self(depth)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
