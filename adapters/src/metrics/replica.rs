//! What a process of a cluster counts beyond the rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use a4co_core::ids::OrderId;
use a4co_core::inventory::ReservationStatus;
use a4co_core::row::Row;
use a4co_core::shards::{JournalId, ShardId};
use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::{EngineMetrics, PARTICIPANTS, Register};

/// How this process stands to the journals.
#[derive(Debug)]
pub(super) struct Replicas {
    /// With several shards: units that each holds of an order.
    held: HashMap<(OrderId, ShardId), u64>,
    led: Mutex<BTreeSet<JournalId>>,
    leaders: [IntGauge; PARTICIPANTS.len()],
    fenced: [IntCounter; PARTICIPANTS.len()],
    halted: [IntGauge; PARTICIPANTS.len()],
    consumed: IntCounter,
}

impl Replicas {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let to = Register(registry);
        Ok(Self {
            held: HashMap::new(),
            led: Mutex::default(),
            leaders: to.gauges(
                (
                    "participant_leader",
                    "1 where this process decides for the participant; of several shards, for how many.",
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
                    "1 where the participant has stopped: its journal is not what it was; of several shards, how many.",
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

    /// This process decides for the participant's shard, or does not any more.
    pub fn leads(&self, journal: JournalId, leads: bool) {
        let mut led = self
            .replicas
            .led
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match leads {
            true => led.insert(journal),
            false => led.remove(&journal),
        };
        let of_participant = led
            .iter()
            .filter(|it| it.participant == journal.participant);
        let count = i64::try_from(of_participant.count()).unwrap_or(i64::MAX);
        self.replicas.leaders[journal.participant.index()].set(count);
    }

    /// Another process appended where this one meant to.
    pub fn fenced(&self, journal: JournalId) {
        self.replicas.fenced[journal.participant.index()].inc();
    }

    /// A row that several shards have one of: each holds its part of an order.
    pub(super) fn see_in_shard(&mut self, shard: ShardId, row: &Row) {
        let Row::Reservation(held) = row else {
            return;
        };
        let units = || {
            let lines = held.lines.iter();
            lines.fold(0, |sum: u64, line| sum.saturating_add(line.quantity))
        };
        let now = (held.status == ReservationStatus::Active).then(units);
        let key = (held.order_id, shard);
        let before = match now {
            Some(now) => self.replicas.held.insert(key, now),
            None => self.replicas.held.remove(&key),
        };
        self.held_units += i128::from(now.unwrap_or(0)) - i128::from(before.unwrap_or(0));
        self.holds
            .add(i64::from(now.is_some()) - i64::from(before.is_some()));
        if before.is_some() && held.status == ReservationStatus::Expired {
            self.holds_expired.inc();
        }
    }

    /// The participant has stopped, which it does once.
    pub fn halted(&self, journal: JournalId) {
        self.replicas.halted[journal.participant.index()].inc();
    }
}
