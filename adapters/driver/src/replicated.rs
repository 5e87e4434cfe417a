//! The loop around the replicated host: answers, tails and commands in, requests out.
//!
//! ```text
//! What the loop promises
//!  - nothing in it blocks but the reading of a snapshot after a fence;
//!  - rows are published before the replies that speak of them leave, and never older ones
//!    after newer ones;
//!  - every command that was taken is answered, or its sender sees that the loop stopped;
//!  - asked to stop, it hands over what it leads before it ends, if that takes no longer
//!    than a few seconds.
//! ```

mod handle;
pub mod ports;
mod standing;

pub use self::handle::{ReplicaHandle, ReplicaSubmitError, Replied};
pub use self::standing::{Leader, Positions, Standing, Standings};

use std::collections::HashMap;
use std::sync::Arc;

use a4co_core::command::RequestId;
use a4co_core::gateway::GatewayCall;
use a4co_core::replicated::{ReplicaInput, ReplicaOutput, ReplicatedHost, Role, StreamSequence};
use a4co_core::row::{Row, RowKey};
use a4co_core::shards::JournalId;
use a4co_core::time::{Millis, Timestamp};
use tokio::sync::{mpsc, oneshot};

use self::handle::{Answer, Submission};
use self::ports::{Journals, Outlet, ReplicaObserver, Snapshots};
use crate::driver::{Event, Events, may_be_awaited};
use crate::ports::{AnswerSink, Clock, Gateway, GatewayAnswer, RowSink, Rows};
use crate::watch::Watches;

/// Inputs taken at once, at most.
const BATCH_INPUTS_MAX: usize = 4_096;

/// How long a hand-over at the end may take.
const HAND_OVER: Millis = Millis::from_secs(5);

/// How long new work is held back for a snapshot, and how long it is not held back again
/// after it was in vain.
const QUIESCE: Millis = Millis::from_secs(1);
const QUIESCE_REST: Millis = Millis::from_secs(30);

/// What the loop drives.
pub struct ReplicaParts<J, S, R, C, O> {
    /// The host, which was not started.
    pub host: ReplicatedHost,
    /// The streams.
    pub journals: J,
    /// What comes from them.
    pub outlet: Outlet,
    /// Where snapshots are kept.
    pub snapshots: S,
    /// What readers see.
    pub rows: R,
    /// Messages whose rows have been published to `rows` before, over all journals.
    pub published: u64,
    /// The clock.
    pub clock: C,
    /// Who is told.
    pub observer: O,
    /// The payment gateway.
    pub gateway: Arc<dyn Gateway>,
    /// Commands that may wait to be taken.
    pub queue: usize,
}

/// How the outside reaches the loop.
pub struct ReplicaReach {
    /// Sends commands to this process's participants.
    pub handle: ReplicaHandle,
    /// Waits for ends.
    pub watches: Watches,
    /// Takes reports of the gateway that nobody asked for (webhooks). Only the payment
    /// journal's leader has a use for them.
    pub answers: Arc<dyn AnswerSink>,
    /// Who leads, and how far readers see.
    pub standings: Standings,
    /// Hands a journal over.
    pub step_down: mpsc::UnboundedSender<JournalId>,
    /// Ends the loop.
    pub stop: oneshot::Sender<()>,
}

/// What is left when the loop has ended.
#[derive(Debug)]
pub struct ReplicaStopped<S> {
    /// Messages whose rows have been published, over all journals.
    pub published: u64,
    /// The host.
    pub host: ReplicatedHost,
    /// Where snapshots are kept.
    pub snapshots: S,
}

/// The loop.
pub struct ReplicaDriver<J, S, R, C, O> {
    host: ReplicatedHost,
    journals: J,
    outlet: Outlet,
    snapshots: S,
    rows: R,
    clock: C,
    observer: O,
    gateway: Arc<dyn Gateway>,
    watches: Watches,
    standings: Standings,
    submissions: mpsc::Receiver<Submission>,
    events: mpsc::UnboundedReceiver<Event>,
    step_downs: mpsc::UnboundedReceiver<JournalId>,
    row_sink: Arc<dyn RowSink>,
    answer_sink: Arc<dyn AnswerSink>,
    stop: oneshot::Receiver<()>,
    /// Until when a hand-over is waited for, once it was asked to stop.
    stops_by: Option<Timestamp>,
    answers: HashMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    published: u64,
    shown: Positions,
    /// Where each journal ended when it was first looked at.
    targets: Vec<Option<StreamSequence>>,
    is_caught_up: bool,
    /// Lease writes without an answer.
    lease_writes: usize,
    /// New work is held back until then, for a snapshot.
    quiesces_until: Option<Timestamp>,
    quiesce_rests_until: Timestamp,
    calls: Vec<GatewayCall>,
    fetches: Vec<RowKey>,
    halted: Vec<Option<String>>,
}

impl<J: Journals, S: Snapshots, R: Rows, C: Clock, O: ReplicaObserver>
    ReplicaDriver<J, S, R, C, O>
{
    /// A loop around a host that was not started.
    pub fn new(parts: ReplicaParts<J, S, R, C, O>) -> (Self, ReplicaReach) {
        let (submit, submissions) = mpsc::channel(parts.queue);
        let (send, events) = mpsc::unbounded_channel();
        let (step_down, step_downs) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let sink = Arc::new(Events(send));
        let answer_sink: Arc<dyn AnswerSink> = sink.clone();
        let reach = ReplicaReach {
            handle: ReplicaHandle::new(submit),
            watches: Watches::default(),
            answers: answer_sink.clone(),
            standings: Standings::new(parts.host.shard_count()),
            step_down,
            stop,
        };
        let journals = parts.host.journals();
        let driver = Self {
            targets: vec![None; journals.len()],
            halted: vec![None; journals.len()],
            shown: applied(&parts.host),
            host: parts.host,
            journals: parts.journals,
            outlet: parts.outlet,
            snapshots: parts.snapshots,
            rows: parts.rows,
            clock: parts.clock,
            observer: parts.observer,
            gateway: parts.gateway,
            watches: reach.watches.clone(),
            standings: reach.standings.clone(),
            submissions,
            events,
            step_downs,
            row_sink: sink,
            answer_sink,
            stop: stopped,
            stops_by: None,
            answers: HashMap::new(),
            next_request: 0,
            published: parts.published,
            is_caught_up: false,
            lease_writes: 0,
            quiesces_until: None,
            quiesce_rests_until: Timestamp::UNIX_EPOCH,
            calls: Vec::new(),
            fetches: Vec::new(),
        };
        (driver, reach)
    }

    /// The streams, before it runs.
    pub const fn journals(&self) -> &J {
        &self.journals
    }

    /// Runs until it is told to stop and has handed over.
    pub async fn run(mut self) -> ReplicaStopped<S> {
        self.host.handle_input(self.clock.now(), ReplicaInput::Time);
        self.carry_out();
        loop {
            self.wait().await;
            self.take_batch();
            self.carry_out();
            if self.may_end() {
                break;
            }
        }
        ReplicaStopped {
            published: self.published,
            host: self.host,
            snapshots: self.snapshots,
        }
    }

    /// Waits for something to do.
    async fn wait(&mut self) {
        let nap = self.nap();
        let takes_work = self.takes_work();
        tokio::select! {
            // In this order: an end that was asked for comes, answers let what is under way
            // go on, and new work comes last.
            biased;
            _ = &mut self.stop, if self.stops_by.is_none() => self.begin_to_stop(),
            Some(input) = self.outlet.answers.recv() => self.take_answer(input),
            Some(event) = self.events.recv() => self.take_event(event),
            Some(journal) = self.step_downs.recv() => self.step_down(journal),
            Some(entry) = self.outlet.tail.recv(), if self.quiesces_until.is_none() => {
                self.host.handle_input(self.clock.now(), entry);
            }
            Some(submission) = self.submissions.recv(), if takes_work => self.take(submission),
            () = self.clock.sleep(nap) => {}
        }
    }

    fn nap(&self) -> Millis {
        const LONGEST: Millis = Millis::from_secs(1);
        let now = self.clock.now();
        let due = [self.host.wake_at(), self.stops_by, self.quiesces_until];
        let until = due.into_iter().flatten().min();
        until.map_or(LONGEST, |at| at.saturating_since(now).min(LONGEST))
    }

    /// May new commands be taken?
    fn takes_work(&self) -> bool {
        self.quiesces_until.is_none()
            && !self
                .host
                .journals()
                .iter()
                .any(|journal| self.host.is_saturated(*journal))
    }

    fn take_batch(&mut self) {
        for _ in 0..BATCH_INPUTS_MAX {
            if let Ok(input) = self.outlet.answers.try_recv() {
                self.take_answer(input);
            } else if let Ok(event) = self.events.try_recv() {
                self.take_event(event);
            } else if self.quiesces_until.is_none()
                && let Ok(entry) = self.outlet.tail.try_recv()
            {
                self.host.handle_input(self.clock.now(), entry);
            } else if self.takes_work()
                && let Ok(submission) = self.submissions.try_recv()
            {
                self.take(submission);
            } else {
                return;
            }
        }
    }

    fn take_answer(&mut self, input: ReplicaInput) {
        match &input {
            ReplicaInput::StreamState { journal, last, .. } => {
                self.targets[journal.index()].get_or_insert(*last);
            }
            ReplicaInput::LeaseWritten { .. } => {
                self.lease_writes = self.lease_writes.saturating_sub(1);
            }
            _ => {}
        }
        self.host.handle_input(self.clock.now(), input);
    }

    fn take_event(&mut self, event: Event) {
        let input = match event {
            Event::Gateway(GatewayAnswer {
                order_id,
                operation,
                outcome,
            }) => ReplicaInput::Gateway {
                order_id,
                operation,
                outcome,
            },
            Event::Fetched(key, row) => ReplicaInput::Fetched { key, row },
        };
        self.host.handle_input(self.clock.now(), input);
    }

    fn take(&mut self, Submission { command, answer }: Submission) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.answers.insert(request, answer);
        let input = ReplicaInput::Command { request, command };
        self.host.handle_input(self.clock.now(), input);
    }

    fn step_down(&mut self, journal: JournalId) {
        let input = ReplicaInput::StepDown { journal };
        self.host.handle_input(self.clock.now(), input);
    }

    fn begin_to_stop(&mut self) {
        self.stops_by = Some(self.clock.now().saturating_add(HAND_OVER));
        // What waits in the queue is answered: refused, or done.
        self.submissions.close();
        for journal in self.host.journals().to_vec() {
            self.step_down(journal);
        }
    }

    /// Everything is handed over and answered, or that takes too long.
    fn may_end(&self) -> bool {
        let Some(by) = self.stops_by else {
            return false;
        };
        let is_done = self.answers.is_empty()
            && self.submissions.is_empty()
            && self.lease_writes == 0
            && self
                .host
                .journals()
                .iter()
                .all(|journal| self.host.role(*journal) == Role::Follower);
        if !is_done && self.clock.now() >= by {
            tracing::warn!("the end does not wait for a hand-over any longer");
            return true;
        }
        is_done
    }

    /// Carries out what the host asks for, until it asks for nothing more.
    fn carry_out(&mut self) {
        let now = self.clock.now();
        if self.host.wake_at().is_some_and(|at| at <= now) {
            self.host.handle_input(now, ReplicaInput::Time);
        }
        while let Some(output) = self.host.poll_output() {
            self.carry_out_one(output);
        }
        self.update_standings();
        if !self.calls.is_empty() {
            let calls = std::mem::take(&mut self.calls);
            self.gateway.submit(calls, &self.answer_sink);
        }
        if !self.fetches.is_empty() {
            let fetches = std::mem::take(&mut self.fetches);
            self.rows.fetch(fetches, &self.row_sink);
        }
        self.look_for_snapshot();
    }

    fn carry_out_one(&mut self, output: ReplicaOutput) {
        match output {
            ReplicaOutput::Follow { journal, from } => self.journals.follow(journal, from),
            ReplicaOutput::Append {
                journal,
                append_id,
                expected_last,
                payload,
            } => self
                .journals
                .append(journal, append_id, expected_last, payload),
            ReplicaOutput::ReadEntry {
                journal,
                stream_sequence,
            } => self.journals.read_entry(journal, stream_sequence),
            ReplicaOutput::ReadStream { journal, seen } => self.journals.read_stream(journal, seen),
            ReplicaOutput::ReadLease { journal } => self.journals.read_lease(journal),
            ReplicaOutput::WriteLease {
                journal,
                expected_revision,
                value,
            } => {
                self.lease_writes += 1;
                self.journals.write_lease(journal, expected_revision, value);
            }
            ReplicaOutput::Publish {
                journal,
                stream_sequence,
                rows,
                ..
            } => self.publish(journal, stream_sequence, rows),
            ReplicaOutput::Reply { request, reply } => {
                let shown = self.shown.clone();
                self.answer(request, Ok(Replied { reply, shown }));
            }
            ReplicaOutput::Refused { request, refusal } => self.answer(request, Err(refusal)),
            ReplicaOutput::CallGateway(call) => self.calls.push(call),
            ReplicaOutput::Fetch(key) => self.fetches.push(key),
            ReplicaOutput::RoleChanged { journal, role } => self.observer.role(journal, role),
            ReplicaOutput::Rebuild { journal, fenced_by } => {
                self.observer.fenced(journal, fenced_by);
                let newest = self.snapshots.newest();
                self.host.rebuild(self.clock.now(), journal, newest);
            }
            ReplicaOutput::Halted { journal, alarm } => {
                self.observer.halted(journal, &alarm);
                self.halted[journal.index()] = Some(alarm.to_string());
            }
        }
    }

    /// Shows rows. What a rebuilt participant goes through again is shown already.
    fn publish(&mut self, journal: JournalId, at: StreamSequence, rows: Vec<Row>) {
        let shown = &mut self.shown[journal.index()];
        if at <= *shown {
            return;
        }
        *shown = at;
        self.published += 1;
        self.observer.published(self.published, journal, at, &rows);
        // Rows first, and only then a look at who waits: whoever registers meanwhile either
        // reads the end or is told of it.
        let ended: Vec<Row> = rows
            .iter()
            .filter(|row| may_be_awaited(row))
            .cloned()
            .collect();
        self.rows.publish(self.published, rows);
        self.watches.tell(&ended);
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some(sender) = self.answers.remove(&request) {
            // Whoever asked may have gone; the outcome stands all the same.
            let _ = sender.send(answer);
        }
    }

    fn update_standings(&mut self) {
        let host = &self.host;
        let fresh = |journal: JournalId| Standing {
            leader: match (host.role(journal), host.leader(journal)) {
                (Role::Leader { epoch }, _) => Leader::Here(epoch),
                (Role::Follower, Some(host)) => Leader::There(host),
                (Role::Follower, None) => Leader::Nobody,
            },
            epoch: host.position(journal).epoch,
            shown: self.shown[journal.index()],
            halted: self.halted[journal.index()].clone(),
        };
        self.standings.update(|now| {
            let mut has_changed = false;
            for (standing, journal) in now.iter_mut().zip(host.journals()) {
                let fresh = fresh(*journal);
                has_changed |= *standing != fresh;
                *standing = fresh;
            }
            has_changed
        });
        if !self.is_caught_up {
            self.is_caught_up = applied(&self.host)
                .iter()
                .zip(&self.targets)
                .all(|(at, target)| target.is_some_and(|target| *at >= target));
            if self.is_caught_up {
                self.observer.caught_up(&self.host);
            }
        }
    }

    /// A leader under load always has something on its way, so new work is held back for a
    /// moment where a snapshot is due and cannot be had otherwise.
    fn look_for_snapshot(&mut self) {
        if !self.snapshots.is_due() {
            return;
        }
        let now = self.clock.now();
        if let Some(snapshot) = self.host.snapshot() {
            self.quiesces_until = None;
            self.snapshots.keep(self.published, &snapshot);
            return;
        }
        match self.quiesces_until {
            Some(until) if now >= until => {
                self.quiesces_until = None;
                self.quiesce_rests_until = now.saturating_add(QUIESCE_REST);
            }
            None if now >= self.quiesce_rests_until => {
                self.quiesces_until = Some(now.saturating_add(QUIESCE));
            }
            Some(_) | None => {}
        }
    }
}

/// How far the host has applied each journal.
fn applied(host: &ReplicatedHost) -> Positions {
    let journals = host.journals().iter();
    journals
        .map(|journal| host.position(*journal).stream_sequence)
        .collect()
}
