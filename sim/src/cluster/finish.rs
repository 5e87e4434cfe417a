//! The end of a run of the replicated host: every saga ends, every process shows the same,
//! and that again after everybody was started anew.

use a4co_core::invariants::Phase;
use a4co_core::replicated::Role;
use a4co_core::shards::JournalId;
use a4co_core::time::Timestamp;

use super::{Cluster, Kept};
use crate::finish::unended;
use crate::trace::Node;
use crate::verdict::{Checked, liveness, safety};
use crate::world::World;

impl Cluster {
    /// Who leads each journal; more than one may believe so.
    fn leaders(&self, journal: JournalId) -> Vec<u32> {
        self.members()
            .filter(|it| matches!(it.host.role(journal), Role::Leader { .. }))
            .map(|it| it.life)
            .collect()
    }

    /// What is not at rest yet.
    fn is_at_work(&self) -> Option<String> {
        for (number, machine) in self.machines.iter().enumerate() {
            let Some(member) = &machine.member else {
                return Some(format!("no process runs on machine {number}"));
            };
            let life = member.life;
            if !member.inbox.is_empty() {
                return Some(format!("process {life} has inputs"));
            }
            if !member.commands.is_empty() {
                return Some(format!("process {life} has commands without an answer"));
            }
            for &journal in &self.journals {
                let (has, last) = (
                    member.published[journal.index()].get(),
                    self.service.stream(journal).last(),
                );
                if has != last {
                    return Some(format!(
                        "process {life} is at message {has} of {last} of the {journal} journal"
                    ));
                }
            }
        }
        for &journal in &self.journals {
            let leaders = self.leaders(journal);
            if leaders.len() != 1 {
                return Some(format!("the {journal} journal is led by {leaders:?}"));
            }
        }
        None
    }
}

impl World<'_> {
    pub(crate) fn still_open_in(&self, cluster: &Cluster) -> Option<String> {
        let why = self
            .probe_is_open()
            .or_else(|| unended(&self.audit, &self.gateway, &self.settings))
            .or_else(|| cluster.is_at_work())?;
        let leaders = cluster.journals.iter();
        let leaders: Vec<_> = leaders.map(|journal| cluster.leaders(*journal)).collect();
        let clocks: Vec<_> = cluster
            .members()
            .map(|it| (it.life, it.now(self.now_us), it.host.wake_at()))
            .collect();
        Some(format!(
            "{why}; leaders {leaders:?}; clocks and timers {clocks:?}"
        ))
    }

    /// How long leaders may take to be there once nothing fails any more: a lease runs out,
    /// perhaps that of a process that died, and perhaps another candidate comes first.
    pub(crate) fn leaders_settle_us(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| {
            let knobs = &cluster.knobs;
            let slowest_ms = knobs.ack_timeout_ms + knobs.service_us / 250;
            let restart_ms = self.plan.knobs.restart_ms;
            (5_000 + 4 * knobs.lease_ttl_ms + 8 * slowest_ms + restart_ms) * 1000
        })
    }

    /// What a healthy order may lose in a cluster: five hops over the service, and clocks
    /// that differ by as much as they may.
    pub(crate) fn slowest_in_cluster_ms(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| {
            let knobs = &cluster.knobs;
            let hop_us = 4 * knobs.service_us + 2 * knobs.tail_us + 4 * self.plan.knobs.linger_us;
            let drift_ms = self.now_us / 1000 * 2 * u64::from(knobs.drift) / 1000;
            8 * hop_us / 1000 + self.plan.knobs.restart_skew_ms * 2 + drift_ms
        })
    }

    pub(crate) fn cluster_bound_ms(&self) -> u64 {
        let knobs = &self.plan.knobs;
        self.cluster.as_ref().map_or(0, |cluster| {
            let drift_ms = self.now_us / 1000 * 2 * u64::from(cluster.knobs.drift) / 1000;
            3 * self.leaders_settle_us() / 1000
                + 4 * knobs.restart_skew_ms
                + 4 * knobs.restart_ms
                + 2 * drift_ms
        })
    }

    /// Once nothing fails any more and the leaders have settled, no deadline passes
    /// unnoticed by their clocks.
    pub(crate) fn check_timers_in(&self, cluster: &Cluster, slack_ms: u64) -> Checked {
        let slack_ms = slack_ms + self.slowest_in_cluster_ms();
        let healed_us = self.plan.knobs.heal_at_ms * 1000;
        if self.now_us < healed_us + self.leaders_settle_us() {
            return Ok(()); // what was lost before is still waited for
        }
        let mut clocks = vec![Timestamp::UNIX_EPOCH; cluster.journals.len()];
        for journal in &cluster.journals {
            for member in cluster.members() {
                let since_us = member.leads_since_us[journal.index()];
                let leads = member.leads[journal.index()];
                if leads && self.now_us > since_us + slack_ms * 1000 {
                    clocks[journal.index()] = member.now(self.now_us);
                }
            }
        }
        self.no_deadline_passed(cluster.shards, &clocks, slack_ms)
    }

    /// Everything has ended for the first time: everybody starts anew, one with nothing.
    pub(crate) fn begins_last_round(&mut self) -> Result<bool, crate::verdict::Failure> {
        if self.cluster.as_ref().is_none_or(|it| it.is_last_round) {
            return Ok(false);
        }
        self.note(Node::Checker, "at rest", [0, 0], || {
            "everything has ended; everybody starts anew".into()
        });
        self.check_cluster_at_rest()?;
        let cluster = self.cluster();
        cluster.is_last_round = true;
        let machines = cluster.machines.len();
        for machine in 0..machines {
            self.kill_member(machine);
        }
        self.cluster().machines[0].kept = Kept::default();
        Ok(true)
    }

    /// Nothing is under way any more: is it all as it should be, and everywhere the same?
    pub(crate) fn check_cluster_at_rest(&mut self) -> Checked {
        if crate::scoreboard::canary_sings() {
            return Err(safety("canary", "a mistake that every run must see"));
        }
        let Some(cluster) = self.cluster.as_deref() else {
            return Ok(());
        };
        let clocks = cluster.members().map(|it| it.now(self.now_us));
        let now = clocks.max().unwrap_or_default();
        self.audit
            .at_rest(Phase::Quiescent { now }, &self.gateway)?;
        self.positions_are_reached()?;
        for member in cluster.members() {
            let whose = format!("process {}", member.life);
            self.audit.same_rows(&member.shown, &whose)?;
            let Some(snapshot) = member.host.snapshot() else {
                let why = format!("{whose} gives no snapshot, and nothing is under way");
                return Err(liveness("at_rest_is_at_rest", why));
            };
            let left = snapshot.shards.iter().map(|shard| {
                let payments = shard.payment.part.state.payments.values();
                shard.order.part.state.orders.len()
                    + shard.order.part.state.stock.len()
                    + payments.filter(|it| !it.waits_for_a_person()).count()
                    + shard.inventory.part.state.reservations.len()
            });
            let left: usize = left.sum();
            self.audit.same_states(snapshot, &whose)?;
            if left > 0 {
                let why = format!("{whose}: {left} rows that have ended are still in memory");
                return Err(safety("ended_leaves_memory", why));
            }
            let mut shards = member.host.shards().iter();
            if shards.any(|shard| shard.payment.engine().calls_under_way() > 0) {
                let why = format!("{whose}: a call is owed after the end");
                return Err(safety("restart_owes_nothing", why));
            }
        }
        self.check_clients()
    }
}
