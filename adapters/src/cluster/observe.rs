//! Who is told of what the loop does: metrics, the live feed, readiness and the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::{Alarm, AppendId, ReplicatedHost, Role, StreamSequence};
use a4co_core::row::Row;
use a4co_core::shards::{JournalId, ShardId};
use a4co_core::time::Timestamp;
use a4co_driver::replicated::ports::ReplicaObserver;
use a4co_store::View;

use crate::embedded::MonotonicClock;
use crate::http::{LiveTap, Readiness};
use crate::metrics::EngineMetrics;
use crate::trace::SagaSpans;

/// Until the process has caught up, what it reads is history: it is not counted as news.
pub(super) struct Observers {
    pub(super) metrics: EngineMetrics,
    pub(super) live: LiveTap,
    pub(super) spans: SagaSpans,
    /// The shards whose orders are decided here.
    pub(super) leads_order: BTreeSet<ShardId>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) view: View,
    pub(super) clock: MonotonicClock,
    pub(super) newest: Timestamp,
    pub(super) is_caught_up: bool,
}

impl ReplicaObserver for Observers {
    fn published(&mut self, _: u64, journal: JournalId, _: StreamSequence, rows: &[Row]) {
        if self.is_caught_up {
            self.metrics.shown(rows);
            self.live.committed(rows);
            // One process tells of an order: the one that decides it.
            if self.leads_order.contains(&journal.shard.id) {
                self.spans.committed(rows);
            } else {
                self.spans.passed_over(rows);
            }
            return;
        }
        self.spans.passed_over(rows);
        for row in rows {
            if let Row::Order(order) = row {
                self.newest = self.newest.max(order.created_at);
            }
        }
    }

    fn caught_up(&mut self, host: &ReplicatedHost) {
        self.is_caught_up = true;
        let states = host.shards().iter().map(|shard| {
            (
                shard.order.engine().state(),
                shard.inventory.engine().state(),
                shard.payment.engine().state(),
            )
        });
        let states: Vec<_> = states.collect();
        self.metrics
            .recovered(&states, &self.view, self.clock, self.newest);
        self.readiness.set_ready();
        let at = |journal: &JournalId| host.position(*journal).stream_sequence;
        let at = host
            .journals()
            .iter()
            .map(|it| format!("{it} at {}", at(it)));
        let at: Vec<String> = at.collect();
        tracing::info!(journals = at.join(", "), "caught up with the journals");
    }

    fn role(&mut self, journal: JournalId, role: Role) {
        let leads = matches!(role, Role::Leader { .. });
        self.metrics.leads(journal, leads);
        if journal.participant == ParticipantId::Order {
            let shard = journal.shard.id;
            match leads {
                true => self.leads_order.insert(shard),
                false => self.leads_order.remove(&shard),
            };
        }
        match role {
            Role::Leader { epoch } => tracing::info!(%journal, %epoch, "leading"),
            Role::Follower => tracing::info!(%journal, "following"),
        }
    }

    fn fenced(&mut self, journal: JournalId, by: AppendId) {
        tracing::warn!(%journal, by = %by.host, "another process appended in our place; following it");
        self.metrics.fenced(journal);
    }

    fn halted(&mut self, journal: JournalId, alarm: &Alarm) {
        tracing::error!(
            %journal,
            %alarm,
            "the participant has stopped: its journal is not what it was; see docs/NATS.md, \"The journal is not what it was\""
        );
        self.metrics.halted(journal);
        self.readiness.set_journal_writable(false);
    }
}
