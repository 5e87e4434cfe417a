//! A process of the cluster: the replicated host, and a driver that hands inputs in and
//! carries outputs out, step by step. Between any two steps the process can die, or stand
//! still for as long as it likes.

use std::rc::Rc;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{OrderId, ParticipantId};
use a4co_core::replicated::{AppendId, ReplicaInput, ReplicaOutput, Role, StreamSequence};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::{JournalId, Shard, ShardCount};

use super::wire::Ask;
use super::{ClusterEvent, Item, Member};
use crate::audit::shared;
use crate::trace::Node;
use crate::verdict::{Checked, Failure, safety};
use crate::world::World;

impl World<'_> {
    /// One step has been taken: does the process die or stand still here?
    fn ends_here(&mut self, life: u32) -> bool {
        let now_us = self.now_us;
        let Some(machine) = self.cluster().machine_of(life) else {
            return true;
        };
        let place = &mut self.cluster().machines[machine];
        place.steps += 1;
        if place.dies_at.is_some_and(|at| place.steps >= at) {
            self.kill_member(machine);
            return true;
        }
        if let Some((at, for_us)) = place.pauses_at
            && place.steps >= at
        {
            self.pause(machine, for_us);
            return true;
        }
        place.is_paused(now_us)
    }

    /// Puts something before a process's driver.
    pub(super) fn put_before(&mut self, life: u32, item: Item) {
        let linger_us = self.plan.knobs.linger_us;
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        member.inbox.push_back(item);
        if !member.drives {
            member.drives = true;
            self.in_cluster(linger_us, ClusterEvent::Drive { life });
        }
    }

    pub(super) fn on_member_wake(&mut self, life: u32) -> Checked {
        let now_us = self.now_us;
        match self.cluster().member(life) {
            Some(member) if member.wakes_at_us == Some(now_us) => {
                member.wakes_at_us = None;
                self.drive_member(life)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn on_member_drive(&mut self, life: u32) -> Checked {
        if let Some(member) = self.cluster().member(life) {
            member.drives = false;
        }
        self.drive_member(life)
    }

    fn drive_member(&mut self, life: u32) -> Checked {
        let (now_us, linger_us) = (self.now_us, self.plan.knobs.linger_us);
        let batch_max = self.plan.knobs.batch_max;
        let Some(machine) = self.cluster().machine_of(life) else {
            return Ok(());
        };
        if self.cluster().machines[machine].is_paused(now_us) {
            return Ok(()); // it goes on when it resumes
        }
        // What was left when it stood still, before anything else is looked at.
        if self.carry_out_all(life)? {
            return Ok(());
        }
        if let Some(member) = self.cluster().member(life) {
            let now = member.now(now_us);
            if member.host.wake_at().is_some_and(|at| at <= now) {
                member.host.handle_input(now, ReplicaInput::Time);
            }
        }
        for _ in 0..batch_max {
            let Some(member) = self.cluster().member(life) else {
                return Ok(());
            };
            let Some(item) = member.inbox.pop_front() else {
                break;
            };
            match item {
                Item::Input(input) => {
                    let now = member.now(now_us);
                    member.note_input(&input);
                    member.host.handle_input(now, input);
                }
                Item::Command(carried) => self.hand_command(life, *carried),
            }
            if self.ends_here(life) {
                return Ok(());
            }
        }
        if self.carry_out_all(life)? {
            return Ok(());
        }
        self.tend_snapshot(life)?;
        self.rearm_member(life);
        if let Some(member) = self.cluster().member(life)
            && !member.inbox.is_empty()
            && !member.drives
        {
            member.drives = true;
            self.in_cluster(linger_us, ClusterEvent::Drive { life });
        }
        Ok(())
    }

    /// Sets the driver's timer to the host's next deadline.
    fn rearm_member(&mut self, life: u32) {
        let now_us = self.now_us;
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let Some(at) = member.host.wake_at() else {
            return;
        };
        let delay_us = member.until_us(now_us, at);
        let at_us = now_us.saturating_add(delay_us);
        let is_sooner = |before: u64| at_us < before || before <= now_us;
        if member.wakes_at_us.is_none_or(is_sooner) {
            member.wakes_at_us = Some(at_us);
            self.in_cluster(delay_us, ClusterEvent::Wake { life });
        }
    }

    /// Carries out what the host asks for. True: the process ended or stopped meanwhile.
    fn carry_out_all(&mut self, life: u32) -> Result<bool, Failure> {
        loop {
            let Some(member) = self.cluster().member(life) else {
                return Ok(true);
            };
            let Some(output) = member.host.poll_output() else {
                return Ok(false);
            };
            self.carry_out(life, output)?;
            if self.ends_here(life) {
                return Ok(true);
            }
        }
    }

    fn carry_out(&mut self, life: u32, output: ReplicaOutput) -> Checked {
        match output {
            ReplicaOutput::Follow { journal, from } => {
                let numbers = [u64::from(life), from.get() << 2 | journal.index() as u64];
                self.note(Node::Engine, "follows", numbers, || {
                    format!("process {life}: the {journal} journal from message {from}")
                });
                self.follow(life, journal, from);
            }
            ReplicaOutput::Append {
                journal,
                append_id,
                expected_last,
                payload,
            } => self.append(life, journal, append_id, expected_last, payload)?,
            ReplicaOutput::ReadEntry {
                journal,
                stream_sequence,
            } => {
                let at = stream_sequence;
                self.ask_service(life, Ask::Entry { journal, at });
            }
            ReplicaOutput::ReadStream { journal, seen } => {
                self.ask_service(life, Ask::Bounds { journal, seen });
            }
            ReplicaOutput::ReadLease { journal } => {
                self.ask_service(life, Ask::Lease { journal });
            }
            ReplicaOutput::WriteLease {
                journal,
                expected_revision,
                value,
            } => {
                let ask = Ask::WriteLease {
                    journal,
                    expected_revision,
                    value,
                };
                self.ask_service(life, ask);
            }
            ReplicaOutput::Publish {
                journal,
                stream_sequence,
                rows,
                ..
            } => self.publish_in(life, journal, stream_sequence, rows)?,
            ReplicaOutput::Reply { request, reply } => {
                self.settle_command(life, request)?;
                if !self.cluster().is_damaged() {
                    self.on_reply(Some(life), request, reply)?;
                }
            }
            ReplicaOutput::Refused { request, refusal } => {
                self.on_refused(life, request, refusal)?;
            }
            ReplicaOutput::CallGateway(call) => self.call_of(life, call)?,
            ReplicaOutput::Fetch(key) => self.fetch_in(life, key),
            ReplicaOutput::RoleChanged { journal, role } => self.on_role(life, journal, role),
            ReplicaOutput::Rebuild { journal, fenced_by } => {
                self.stats.fenced += 1;
                let names = [u64::from(life), journal.index() as u64];
                self.note(Node::Engine, "fenced", names, || {
                    format!("process {life}, the {journal} journal: by {fenced_by}")
                });
                self.rebuild_in(life, journal)?;
            }
            ReplicaOutput::Halted { journal, alarm } => {
                let names = [u64::from(life), journal.index() as u64];
                self.note(Node::Engine, "halts", names, || {
                    format!("process {life}, the {journal} journal: {alarm}")
                });
                if let Some(member) = self.cluster().member(life) {
                    member.halted[journal.index()] = true;
                }
                if !self.cluster().is_damaged() {
                    let why = format!("process {life}, the {journal} journal: {alarm}");
                    return Err(safety("no_alarm_without_cause", why));
                }
            }
        }
        Ok(())
    }

    fn on_role(&mut self, life: u32, journal: JournalId, role: Role) {
        let now_us = self.now_us;
        let leads = matches!(role, Role::Leader { .. });
        let names = [
            u64::from(life) << 1 | u64::from(leads),
            journal.index() as u64,
        ];
        self.note(Node::Engine, "role", names, || {
            format!("process {life}, the {journal} journal: {role:?}")
        });
        let of_before = self
            .calls
            .values()
            .filter(|it| it.process == life && it.is_open);
        let of_before: Vec<OrderId> = of_before.map(|it| it.call.order_id).collect();
        if let Some(member) = self.cluster().member(life) {
            member.leads[journal.index()] = leads;
            member.leads_since_us[journal.index()] = now_us;
            if journal.participant == ParticipantId::Payment {
                let is_its =
                    |order_id: OrderId| journal.shard.count.of_order(order_id) == journal.shard.id;
                member.calling.retain(|order_id, _| !is_its(*order_id));
                let of_before = of_before.into_iter().filter(|it| is_its(*it));
                member.called_before.extend(of_before);
            }
        }
    }

    /// One append in flight; the same one again, unchanged, until its outcome is known.
    fn append(
        &mut self,
        life: u32,
        journal: JournalId,
        append_id: AppendId,
        expected_last: StreamSequence,
        payload: Vec<u8>,
    ) -> Checked {
        let is_damaged = self.cluster().is_damaged();
        let last = self.cluster().service.stream(journal).last();
        let Some(member) = self.cluster().member(life) else {
            return Ok(());
        };
        let flying = &mut member.flying[journal.index()];
        let wrong = match flying {
            Some((id, expected, sent)) if *id == append_id => {
                (*expected != expected_last || *sent != payload).then(|| {
                    (
                        "resent_unchanged",
                        format!("append {append_id} has changed"),
                    )
                })
            }
            // Where something is stored in its place, its outcome is settled.
            Some((id, expected, _)) if last <= expected.get() => {
                let why = format!("append {append_id} is sent, and {id} has no outcome");
                Some(("one_append_in_flight", why))
            }
            _ => None,
        };
        if let Some((check, why)) = wrong.filter(|_| !is_damaged) {
            return Err(safety(check, format!("process {life}, {journal}: {why}")));
        }
        *flying = Some((append_id, expected_last, payload.clone()));
        let ask = Ask::Append {
            journal,
            append_id,
            expected_last,
            payload: payload.into(),
        };
        self.ask_service(life, ask);
        Ok(())
    }

    fn publish_in(
        &mut self,
        life: u32,
        journal: JournalId,
        at: StreamSequence,
        rows: Vec<Row>,
    ) -> Checked {
        let lag = usize::try_from(self.plan.knobs.store_lag).unwrap_or(0);
        let Some(cluster) = self.cluster.as_deref_mut() else {
            return Ok(());
        };
        let rows = if cluster.is_damaged() {
            shared(rows)
        } else {
            cluster
                .entries
                .on_publish(journal, at, rows, &mut self.audit)?
        };
        let is_damaged = cluster.is_damaged();
        let Some(machine) = cluster.machine_of(life) else {
            return Ok(());
        };
        let place = &mut cluster.machines[machine];
        let Some(member) = &mut place.member else {
            return Ok(());
        };
        let index = journal.index();
        if !is_damaged && at != member.published[index].next() {
            let why = format!(
                "process {life} shows message {at} of the {journal} journal after {}",
                member.published[index]
            );
            return Err(safety("shown_in_order", why));
        }
        member.published[index] = at;
        member.since_snapshot += 1;
        // What is built again is shown already.
        if at > member.shown_at[index] {
            member.shown_at[index] = at;
            for (key, row) in &rows {
                member.shown.insert(key.clone(), Rc::clone(row));
            }
            place.kept.unsaved.push_back((journal, at, rows));
            while place.kept.unsaved.len() > lag {
                if let Some((journal, at, rows)) = place.kept.unsaved.pop_front() {
                    place.kept.rows.extend(rows);
                    place.kept.rows_at.set(journal, at);
                }
            }
        }
        Ok(())
    }

    fn call_of(&mut self, life: u32, call: GatewayCall) -> Checked {
        let order_id = call.order_id;
        let Some(cluster) = self.cluster.as_deref_mut() else {
            return Ok(());
        };
        let is_damaged = cluster.is_damaged();
        let journal = payments_of(cluster.shards, order_id);
        let applied = cluster
            .peek(life)
            .map_or(StreamSequence::NONE, |it| it.published[journal.index()]);
        let known = cluster.entries.records_at(journal, applied);
        let Some(member) = cluster.member(life) else {
            return Ok(());
        };
        if !member.leads[journal.index()] {
            let why = format!("process {life} calls and does not lead: {call:?}");
            return Err(safety("only_the_leader_calls", why));
        }
        let number = crate::gateway::operation_number(call.operation);
        let before = member.calling.insert(order_id, number);
        if is_damaged {
            return Ok(());
        }
        if before.is_some() && !member.called_before.contains(&order_id) {
            let why = format!("process {life}: order {order_id} has a call under way");
            return Err(safety("one_call_at_a_time", why));
        }
        self.audit.on_call_of(&call, known)?;
        self.send_call(call, life);
        Ok(())
    }

    /// The gateway's answer reaches the process that asked, if it still runs.
    pub(crate) fn answer_call_of(
        &mut self,
        life: u32,
        order_id: OrderId,
        operation: GatewayOperation,
        outcome: GatewayOutcome,
    ) {
        let input = ReplicaInput::Gateway {
            order_id,
            operation: Some(operation),
            outcome,
        };
        self.put_before(life, Item::Input(input));
    }

    /// The process that a report of the gateway comes to in the end, in a cluster: it
    /// arrives at any, which hands it to the one that leads payments, as far as it knows.
    pub(crate) fn who_hears(&mut self, order_id: OrderId) -> Option<u32> {
        self.cluster.as_ref()?;
        let names = [9, crate::gateway::order_number(order_id), self.stats.events];
        let mut rng = self.chance(&names);
        let cluster = self.cluster();
        let machine = usize::try_from(rng.below(cluster.machines.len() as u64)).unwrap_or(0);
        let first = cluster.machines[machine].member.as_ref()?;
        let journal = payments_of(cluster.shards, order_id);
        let to = match first.host.role(journal) {
            Role::Leader { .. } => first.host_id,
            Role::Follower => first.host.leader(journal)?,
        };
        let member = cluster.members().find(|it| it.host_id == to)?;
        let life = member.life;
        self.is_at(life);
        Some(life)
    }

    pub(crate) fn report_to(&mut self, life: u32, order_id: OrderId, outcome: &GatewayOutcome) {
        let input = ReplicaInput::Gateway {
            order_id,
            operation: None,
            outcome: outcome.clone(),
        };
        self.put_before(life, Item::Input(input));
    }

    fn fetch_in(&mut self, life: u32, key: RowKey) {
        let fetch_us = self.plan.knobs.fetch_us;
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let row = member.shown.get(&key).map(Rc::clone);
        let names = [10, u64::from(life), self.stats.events];
        let delay_us = self.chance(&names).below(fetch_us + 1);
        let is_there = u64::from(row.is_some());
        self.note(Node::Store, "fetches", [is_there, u64::from(life)], || {
            format!("process {life}: {key:?}")
        });
        if let RowKey::Order(id) | RowKey::Reservation(id) | RowKey::Payment(id) =
            key.in_its_shard()
        {
            self.about(*id);
        }
        let key = Box::new(key);
        self.in_cluster(delay_us, ClusterEvent::Fetched { life, key, row });
    }
}

/// The journal that an order's payment is in.
fn payments_of(count: ShardCount, order_id: OrderId) -> JournalId {
    let id = count.of_order(order_id);
    JournalId::new(ParticipantId::Payment, Shard { id, count })
}

impl Member {
    /// What an input settles.
    fn note_input(&mut self, input: &ReplicaInput) {
        if let ReplicaInput::Gateway {
            order_id,
            operation: Some(operation),
            ..
        } = input
        {
            let number = crate::gateway::operation_number(*operation);
            if self.calling.get(order_id) == Some(&number) {
                self.calling.remove(order_id);
            }
        }
    }
}
