//! How this process stands to the journals: who leads, how far they are shown.
//!
//! Written by the loop, read by whoever forwards commands, answers reads and reports. No
//! decision rests on it: a leader that it names may have gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::{Epoch, HostId, StreamSequence};
use tokio::sync::Notify;

/// One place for each journal, in the order of [`ParticipantId::ALL`].
pub type Positions = [StreamSequence; 3];

/// Who leads a journal, as far as this process knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leader {
    /// This process, under this epoch.
    Here(Epoch),
    /// Another.
    There(HostId),
    /// Nobody, or nobody knows.
    #[default]
    Nobody,
}

/// How this process stands to one journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who leads.
    pub leader: Leader,
    /// The epoch of the last message that was applied.
    pub epoch: Epoch,
    /// The last message that readers see.
    pub shown: StreamSequence,
    /// Why the participant stopped, if it did.
    pub halted: Option<String>,
}

/// Shared between the loop and those who ask. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Standings {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<[Standing; 3]>,
    changed: Notify,
}

impl Standings {
    /// How this process stands to a journal.
    #[must_use]
    pub fn of(&self, journal: ParticipantId) -> Standing {
        self.lock()[journal.index()].clone()
    }

    /// Who leads a journal.
    #[must_use]
    pub fn leader(&self, journal: ParticipantId) -> Leader {
        self.lock()[journal.index()].leader
    }

    /// How far readers see each journal.
    #[must_use]
    pub fn shown(&self) -> Positions {
        let now = self.lock();
        [now[0].shown, now[1].shown, now[2].shown]
    }

    /// Resolves once readers see all of this, which may be never.
    pub async fn wait_shown(&self, positions: Positions) {
        self.wait(|now| {
            now.iter()
                .zip(positions)
                .all(|(standing, wanted)| standing.shown >= wanted)
        })
        .await;
    }

    /// Resolves once another than `known` leads a journal, or nobody does any more.
    pub async fn wait_leader(&self, journal: ParticipantId, known: Leader) {
        self.wait(|now| now[journal.index()].leader != known).await;
    }

    /// Changes what is known, and wakes those who wait where anything did change.
    pub(super) fn update(&self, change: impl FnOnce(&mut [Standing; 3]) -> bool) {
        let has_changed = change(&mut self.lock());
        if has_changed {
            self.shared.changed.notify_waiters();
        }
    }

    async fn wait(&self, is_so: impl Fn(&[Standing; 3]) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Standing; 3]> {
        // Nothing in here is left half done by a panic.
        self.shared
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
