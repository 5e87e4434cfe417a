//! How this process stands to the journals: who leads, how far they are shown.
//!
//! Written by the loop, read by whoever forwards commands, answers reads and reports. No
//! decision rests on it: a leader that it names may have gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a4co_core::replicated::{Epoch, HostId, StreamSequence};
use a4co_core::shards::{JournalId, ShardCount};
use tokio::sync::Notify;

/// One place for each journal, by [`JournalId::index`].
pub type Positions = Vec<StreamSequence>;

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
#[derive(Debug, Clone)]
pub struct Standings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    count: ShardCount,
    /// By [`JournalId::index`].
    now: Mutex<Vec<Standing>>,
    changed: Notify,
}

impl Standings {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(count: ShardCount) -> Self {
        let now = JournalId::all(count).map(|_| Standing::default());
        Self {
            shared: Arc::new(Shared {
                count,
                now: Mutex::new(now.collect()),
                changed: Notify::new(),
            }),
        }
    }

    /// How many shards each participant has.
    #[must_use]
    pub fn shard_count(&self) -> ShardCount {
        self.shared.count
    }

    /// Every journal, in the order of [`JournalId::index`].
    pub fn journals(&self) -> impl Iterator<Item = JournalId> + use<> {
        JournalId::all(self.shared.count)
    }

    /// How this process stands to a journal.
    #[must_use]
    pub fn of(&self, journal: JournalId) -> Standing {
        self.lock()[journal.index()].clone()
    }

    /// Who leads a journal.
    #[must_use]
    pub fn leader(&self, journal: JournalId) -> Leader {
        self.lock()[journal.index()].leader
    }

    /// How far readers see each journal.
    #[must_use]
    pub fn shown(&self) -> Positions {
        self.lock().iter().map(|standing| standing.shown).collect()
    }

    /// Resolves once readers see all of this, which may be never.
    pub async fn wait_shown(&self, positions: &[StreamSequence]) {
        self.wait(|now| {
            now.iter()
                .zip(positions)
                .all(|(standing, wanted)| standing.shown >= *wanted)
        })
        .await;
    }

    /// Resolves once another than `known` leads a journal, or nobody does any more.
    pub async fn wait_leader(&self, journal: JournalId, known: Leader) {
        self.wait(|now| now[journal.index()].leader != known).await;
    }

    /// Changes what is known, and wakes those who wait where anything did change.
    pub(super) fn update(&self, change: impl FnOnce(&mut Vec<Standing>) -> bool) {
        let has_changed = change(&mut self.lock());
        if has_changed {
            self.shared.changed.notify_waiters();
        }
    }

    async fn wait(&self, is_so: impl Fn(&[Standing]) -> bool) {
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

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        // Nothing in here is left half done by a panic.
        self.shared
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
