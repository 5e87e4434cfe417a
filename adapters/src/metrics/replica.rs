//! What a process of a cluster counts beyond the rest.

use a4co_core::ids::ParticipantId;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::{EngineMetrics, PARTICIPANTS, Register};

/// How this process stands to the journals.
#[derive(Debug)]
pub(super) struct Replicas {
    leaders: [IntGauge; PARTICIPANTS.len()],
    fenced: [IntCounter; PARTICIPANTS.len()],
    halted: [IntGauge; PARTICIPANTS.len()],
    consumed: IntCounter,
}

impl Replicas {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let to = Register(registry);
        Ok(Self {
            leaders: to.gauges(
                (
                    "participant_leader",
                    "1 where this process decides for the participant.",
                ),
                "participant",
                PARTICIPANTS,
            )?,
            fenced: to.counters(
                (
                    "participant_fenced_total",
                    "Times that another process appended where this one meant to.",
                ),
                "participant",
                PARTICIPANTS,
            )?,
            halted: to.gauges(
                (
                    "participant_halted",
                    "1 where the participant has stopped: its journal is not what it was.",
                ),
                "participant",
                PARTICIPANTS,
            )?,
            consumed: to.counter(
                "nats_messages_consumed_total",
                "Messages of the journals on NATS that this process has read.",
            )?,
        })
    }
}

/// Where appends to the journals are counted, and what is read from them.
#[derive(Debug, Clone)]
pub struct AppendMetrics {
    /// Seconds of one durable append.
    pub append_s: Histogram,
    /// Appends that were acknowledged.
    pub appends: IntCounter,
    /// Their bytes.
    pub bytes: IntCounter,
    /// Messages read, those appended here among them.
    pub consumed: IntCounter,
}

impl EngineMetrics {
    /// Where a port that appends counts.
    #[must_use]
    pub fn appends(&self) -> AppendMetrics {
        AppendMetrics {
            append_s: self.append_s.clone(),
            appends: self.commits.clone(),
            bytes: self.commit_bytes.clone(),
            consumed: self.replicas.consumed.clone(),
        }
    }

    /// This process decides for the participant, or does not any more.
    pub fn leads(&self, journal: ParticipantId, leads: bool) {
        self.replicas.leaders[journal.index()].set(i64::from(leads));
    }

    /// Another process appended where this one meant to.
    pub fn fenced(&self, journal: ParticipantId) {
        self.replicas.fenced[journal.index()].inc();
    }

    /// The participant has stopped.
    pub fn halted(&self, journal: ParticipantId) {
        self.replicas.halted[journal.index()].set(1);
    }
}
