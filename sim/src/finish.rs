//! The end of a run: after all faults have ended, everything comes to its end, and all
//! that must then hold is asked at once, before and after one more restart.

use a4co_core::ids::ParticipantId;
use a4co_core::invariants::Phase;
use a4co_core::inventory::ReservationStatus;
use a4co_core::order::SagaState;
use a4co_core::payment::{PaymentPhase, RefundOrigin};
use a4co_core::settings::Settings;
use a4co_core::shards::{JournalId, Shard, ShardCount, ShardId};
use a4co_core::time::{Millis, Timestamp};

use crate::audit::Audit;
use crate::gateway::{Charge, Gateway};
use crate::trace::Node;
use crate::verdict::{Checked, liveness, safety};
use crate::world::World;

impl World<'_> {
    /// What has not come to its end yet, and what it waits for.
    pub(crate) fn still_open(&self) -> Option<String> {
        if let Some(cluster) = &self.cluster {
            return self.still_open_in(cluster);
        }
        let Some(process) = &self.process else {
            return Some("no process runs".into());
        };
        if let Some(why) = self.probe_is_open() {
            return Some(why);
        }
        if !process.inbox.is_empty() || process.appending.is_some() {
            return Some("the driver is at work".into());
        }
        unended(&self.audit, &self.gateway, &self.settings).map(|why| {
            let (now, timer) = (self.engine_now(), process.host.wake_at());
            format!("{why}; the engine's clock is at {now}, its next timer at {timer:?}")
        })
    }

    /// Once nothing fails any more, no deadline passes unnoticed.
    pub(crate) fn check_timers(&self) -> Checked {
        let knobs = &self.plan.knobs;
        let slack_ms = 5_000 + (8 * knobs.append_us + 4 * knobs.fetch_us) / 1000;
        if let Some(cluster) = &self.cluster {
            return self.check_timers_in(cluster, slack_ms);
        }
        let Some(process) = &self.process else {
            return Ok(());
        };
        if self.now_us < process.started_us + slack_ms * 1000 {
            return Ok(());
        }
        let clocks = [self.engine_now(); 3];
        self.no_deadline_passed(ShardCount::ONE, &clocks, slack_ms)
    }

    /// No deadline lies so far back on the clocks of those who lead.
    pub(crate) fn no_deadline_passed(
        &self,
        count: ShardCount,
        clocks: &[Timestamp],
        slack_ms: u64,
    ) -> Checked {
        let clock = |participant: ParticipantId, id: ShardId| {
            clocks[JournalId::new(participant, Shard { id, count }).index()]
        };
        let late = |now: Timestamp, at: Timestamp| at.saturating_add(Millis::new(slack_ms)) < now;
        for order in self.audit.orders() {
            let order_id = order.order_id;
            let may_time_out = matches!(
                order.saga,
                SagaState::Started | SagaState::PaymentProcessing
            );
            let shard = count.of_order(order_id);
            let now = clock(ParticipantId::Order, shard);
            if may_time_out && late(now, order.deadline_at) {
                let why = format!("order {order_id} is {} at {now}", order.saga);
                return Err(liveness("deadline_is_served", why));
            }
            for (shard, held) in self.audit.reservations(order_id) {
                let now = clock(ParticipantId::Inventory, shard);
                if held.status == ReservationStatus::Active && late(now, held.expires_at) {
                    let why = format!("order {order_id} holds stock at {now}");
                    return Err(safety("no_hold_outlives_its_end", why));
                }
            }
            if let Some(payment) = self.audit.payment(order_id)
                && payment.phase == PaymentPhase::Charging
                && late(clock(ParticipantId::Payment, shard), payment.deadline_at)
            {
                let now = clock(ParticipantId::Payment, shard);
                let why = format!("order {order_id} is still charged at {now}");
                return Err(liveness("deadline_is_served", why));
            }
        }
        Ok(())
    }

    /// Nothing to do here but wait; a wild capture is reported again.
    pub(crate) fn nudge_world(&mut self) {
        let behind: Vec<_> = self
            .gateway
            .books
            .iter()
            .filter(|(order_id, books)| {
                let ours = self.audit.payment(**order_id);
                self.gateway.is_wild(**order_id)
                    && ours.is_none_or(|payment| payment.captured < books.captured)
            })
            .map(|(order_id, _)| *order_id)
            .collect();
        for order_id in behind {
            let outcome = Box::new(self.gateway.captured_report(order_id));
            self.report_once(order_id, outcome);
        }
    }

    /// Everything has come to its end: is it all as it should be?
    pub(crate) fn finish(&mut self) -> Checked {
        self.note(Node::Checker, "at rest", [0, 0], || {
            "everything has ended".into()
        });
        if self.cluster.is_some() {
            return self.check_cluster_at_rest();
        }
        self.check_at_rest()?;
        // Once more, from what is on the disk.
        self.die(true);
        self.on_start()?;
        let Some(process) = &self.process else {
            return Err(safety("journal_opens_after_crash", "at the end"));
        };
        if process.host.payment().calls_under_way() > 0 {
            return Err(safety(
                "restart_owes_nothing",
                "a call is owed after the end",
            ));
        }
        self.check_at_rest()
    }

    fn check_at_rest(&mut self) -> Checked {
        if crate::scoreboard::canary_sings() {
            return Err(safety("canary", "a mistake that every run must see"));
        }
        let now = self.engine_now();
        self.audit
            .at_rest(Phase::Quiescent { now }, &self.gateway)?;
        self.audit.same_rows(&self.store.shown, "the store")?;
        if let Some(host) = self.process.as_ref().map(|it| &it.host)
            && host.is_settled()
        {
            self.audit.same_state(host, "the engine")?;
            let payments = host.payment().state().payments.values();
            let left = host.order().state().orders.len()
                + payments.filter(|it| !it.waits_for_a_person()).count()
                + host.inventory().state().reservations.len();
            if left > 0 {
                let why = format!("{left} rows that have ended are still in memory");
                return Err(safety("ended_leaves_memory", why));
            }
        }
        crate::recovery::check_log(&self.disk, &self.audit)?;
        self.check_clients()
    }
}

/// Once all faults have ended, the gateway gives back what it has refused late, where a saga
/// owes it. An operator's refund that was refused has had its answer.
pub(crate) fn allow_refunds(audit: &Audit, gateway: &mut Gateway) {
    let failed: Vec<_> = gateway.failed_refunds().collect();
    for (order_id, number) in failed {
        let refund = audit.payment(order_id).and_then(|payment| {
            let index = usize::try_from(number).ok()?.checked_sub(1)?;
            payment.refunds.get(index)
        });
        if refund.is_some_and(|refund| refund.origin == RefundOrigin::Compensation) {
            gateway.allow_refund(order_id, number);
        }
    }
}

/// Which order has not come to its end yet, and what it waits for.
pub(crate) fn unended(audit: &Audit, gateway: &Gateway, settings: &Settings) -> Option<String> {
    if !gateway.pending().is_empty() || gateway.pending_refunds().next().is_some() {
        return Some("a charge or a refund is pending at the gateway".into());
    }
    for order in audit.orders() {
        let order_id = order.order_id;
        let charge = gateway.charge(order_id);
        let payment = audit.payment(order_id);
        if !order.saga.is_terminal() {
            return Some(format!(
                "order {order_id} is {}, undo {:?}, parked {}; payment {:?}, owes {:?} \
                 due {:?} after {:?} tries; reservation {:?}; gateway {charge:?}",
                order.saga,
                order.undo,
                order.parked,
                payment.map(|it| it.phase),
                payment.and_then(|it| it.owed_operation(settings)),
                payment.map(|it| it.due_at),
                payment.map(|it| it.attempts),
                audit.stock_of(order_id),
            ));
        }
        if let Some(payment) = payment {
            let is_behind = charge == Charge::Captured && payment.captured.is_zero();
            let is_open = !payment.is_settled() && !payment.waits_for_a_person();
            if is_open || is_behind {
                return Some(format!(
                    "order {order_id} has ended ({}), its payment is {:?} and owes {:?} \
                     after {} tries; gateway {charge:?}, {:?}",
                    order.saga,
                    payment.phase,
                    payment.owed_operation(settings),
                    payment.attempts,
                    gateway.account(order_id),
                ));
            }
        }
        let mut held = audit.reservations(order_id);
        if held.any(|(_, held)| held.status == ReservationStatus::Active) {
            return Some(format!("order {order_id} has ended and still holds stock"));
        }
    }
    None
}
