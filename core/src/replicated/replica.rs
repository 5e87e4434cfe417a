//! One participant of one process: follows its journal, and leads it when it may.
//!
//! ```text
//! Following ──lease held, replayed to the end──► Claiming ──claim stored──► Leading
//!     ▲                                             │                         │
//!     ├──────────────another's entry came first─────┘                         │
//!     ├──────────────handed over, or another's claim with nothing of ours open┤
//!     └──rebuild── Dropped ◄──another's entry where ours should be────────────┘
//! ```
//! What makes a stale leader harmless is the expected sequence of its one append in
//! flight, and nothing else.

mod following;
mod leading;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::alarm::Alarm;
use super::append::{InFlight, Retry};
use super::entry::{AppendId, HostId, StreamSequence};
use super::facts::Facts;
use super::io::{AppendAnswer, LeaseAnswer, ReadAnswer, Refusal, ReplicaOutput, Role};
use super::lease::{LeaseKeeper, LeaseOutput};
use super::snapshot::{Position, ReplicaSnapshot};
use crate::command::Reply;
use crate::command::RequestId;
use crate::decider::Participant;
use crate::engine::{Engine, EngineOutput};
use crate::gateway::{GatewayOperation, GatewayOutcome};
use crate::ids::OrderId;
use crate::limits::GATEWAY_REPORTS_DEFERRED_MAX;
use crate::planted::planted;
use crate::record::{Cursors, Part};
use crate::rejection::Rejection;
use crate::row::{Row, RowKey};
use crate::settings::Settings;
use crate::shards::{JournalId, PerJournal};
use crate::time::{Millis, Timestamp};

/// What a replica is told once.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// This start of this process.
    pub host: HostId,
    /// May it lead?
    pub is_candidate: bool,
    /// The lease's time to live.
    pub lease_ttl_ms: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Following,
    Claiming,
    Leading,
    /// Ran ahead of its journal; waits to be built again.
    Dropped,
    Halted,
}

/// A journal that a replica reads.
#[derive(Debug)]
struct Source {
    journal: JournalId,
    facts: Facts,
}

/// A gateway's word that waits until there is room for what it leads to.
type Deferred = (OrderId, Option<GatewayOperation>, GatewayOutcome);

/// One participant of one process; see the module's page.
#[derive(Debug)]
pub struct Replica<P: Participant> {
    config: ReplicaConfig,
    settings: Settings,
    /// The journal that it follows, and leads.
    journal: JournalId,
    engine: Engine<P>,
    position: Position,
    /// How far the others were read, as the journal's last frame says.
    recorded: Cursors,
    stage: Stage,
    /// Hand over as soon as nothing is under way.
    is_stopping: bool,
    /// The last message of the stream, as it was told last; `None`: to be asked for.
    end: Option<StreamSequence>,
    asking: Retry,
    /// What it has seen of each journal that it reads.
    sources: Vec<Source>,
    /// The journal whose event waits for a row, and whether that row has come.
    blocked: Option<(JournalId, bool)>,
    lease: LeaseKeeper,
    append: Option<InFlight>,
    appends: u64,
    open: BTreeSet<RequestId>,
    deferred: VecDeque<Deferred>,
    outputs: VecDeque<ReplicaOutput>,
}

impl<P: Participant> Replica<P> {
    /// A replica that stands where the snapshot was taken.
    #[must_use]
    pub fn new(
        config: ReplicaConfig,
        settings: Settings,
        snapshot: ReplicaSnapshot<P::State>,
    ) -> Self {
        let journal = JournalId::new(P::ID, settings.shard);
        let source = |journal: JournalId| Source {
            journal,
            facts: Facts::after(snapshot.read_after.of(journal)),
        };
        Self {
            sources: journal.sources().into_iter().map(source).collect(),
            journal,
            lease: LeaseKeeper::new(config.host, config.lease_ttl_ms),
            config,
            recorded: snapshot.part.cursors.clone(),
            engine: Engine::from_part(settings.clone(), snapshot.part),
            settings,
            position: snapshot.position,
            stage: Stage::Following,
            is_stopping: false,
            end: None,
            asking: Retry::default(),
            blocked: None,
            append: None,
            appends: 0,
            open: BTreeSet::new(),
            deferred: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Builds a dropped replica again, from a snapshot of an earlier point. What it has
    /// counted and who holds the lease stays.
    pub fn rebuild(&mut self, snapshot: ReplicaSnapshot<P::State>) {
        if self.stage != Stage::Dropped {
            return;
        }
        let mut built = Self::new(self.config.clone(), self.settings.clone(), snapshot);
        core::mem::swap(&mut built.lease, &mut self.lease);
        built.appends = self.appends;
        built.outputs = core::mem::take(&mut self.outputs);
        *self = built;
    }

    /// The engine, to look at.
    #[must_use]
    pub const fn engine(&self) -> &Engine<P> {
        &self.engine
    }

    /// How far its journal has been applied.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// What it is.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.stage {
            Stage::Leading => Role::Leader {
                epoch: self.position.epoch,
            },
            _ => Role::Follower,
        }
    }

    /// Who leads, as far as it is known here; this host itself where it does.
    #[must_use]
    pub fn leader(&self) -> Option<HostId> {
        if self.stage == Stage::Leading {
            return Some(self.config.host);
        }
        let known = self.lease.holder().or(self.position.leader);
        known.filter(|host| *host != self.config.host && *host != HostId::default())
    }

    /// Has it stopped with an alarm?
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.stage == Stage::Halted
    }

    /// Would it rather append before more inputs come?
    #[must_use]
    pub const fn is_saturated(&self) -> bool {
        self.engine.is_full()
    }

    /// The first message that it wants of each journal's tail, if any.
    pub(super) fn wants(&mut self, want: &mut impl FnMut(JournalId, StreamSequence)) {
        if !self.is_alive() {
            return;
        }
        want(self.journal, self.position.stream_sequence.next());
        for Source { journal, facts } in &mut self.sources {
            if let Some(from) = facts.wants_from() {
                want(*journal, from);
            }
        }
    }

    /// What it has seen of a journal, if it reads it.
    fn facts_of(&mut self, journal: JournalId) -> Option<&mut Facts> {
        let mut sources = self.sources.iter_mut();
        let source = sources.find(|source| source.journal == journal);
        source.map(|source| &mut source.facts)
    }

    /// Where it stands, as its journal holds it; `None` while something decided is not
    /// stored, a fetched row is in use, rows of it wait to be published, or it is not in
    /// order. Whoever keeps it keeps at least the rows published before: a start from here
    /// publishes what comes after, and nothing of this again.
    #[must_use]
    pub fn snapshot(&self) -> Option<ReplicaSnapshot<P::State>> {
        if !self.is_alive() || !self.outputs.is_empty() {
            return None;
        }
        let part = self.engine.part()?;
        let mut read_after = PerJournal::default();
        read_after.set(self.journal, self.position.stream_sequence);
        for Source { journal, facts } in &self.sources {
            let restart_after = if planted!("unread_facts_lost_in_snapshot") {
                facts.seen()
            } else {
                facts.restart_after()
            };
            read_after.set(*journal, restart_after);
        }
        Some(ReplicaSnapshot {
            position: self.position,
            part: Part {
                cursors: self.recorded.clone(),
                ..part
            },
            read_after,
        })
    }

    /// When time is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if !self.is_alive() {
            return None;
        }
        let lease = self.lease.wake_at(self.wants_to_lead());
        let append = self.append.as_ref().and_then(InFlight::wake_at);
        let end = self.end.is_none().then(|| self.asking.due_at());
        let is_at_work = self.stage == Stage::Leading && !self.is_stopping && !self.is_saturated();
        let engine = self.engine.wake_at().filter(|_| is_at_work);
        [lease, append, end, engine].into_iter().flatten().min()
    }

    /// Takes the next output. A frame comes last: all inputs at hand go into it.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<ReplicaOutput> {
        if self.outputs.is_empty() {
            self.close_frame(now);
        }
        self.outputs.pop_front()
    }

    /// A command.
    pub fn command(&mut self, now: Timestamp, request: RequestId, command: P::Command) {
        if self.stage != Stage::Leading || self.is_stopping {
            let refusal = Refusal::NotLeader {
                leader: self.leader(),
            };
            self.push(ReplicaOutput::Refused { request, refusal });
        } else if self.is_saturated() {
            let reply = Reply {
                result: Err(Rejection::Overloaded),
                replayed: false,
            };
            self.push(ReplicaOutput::Reply { request, reply });
        } else {
            self.open.insert(request);
            self.engine.command(now, request, command);
        }
    }

    /// What a gateway call came to, or what the gateway reported.
    pub fn gateway(
        &mut self,
        order_id: OrderId,
        operation: Option<GatewayOperation>,
        outcome: GatewayOutcome,
    ) {
        if self.stage != Stage::Leading {
            return; // the leader makes the call again
        }
        // Calls under way are bounded by the active orders; reports are repeated, or asked
        // for, by whoever needs them.
        if operation.is_none() && self.deferred.len() >= GATEWAY_REPORTS_DEFERRED_MAX {
            return;
        }
        self.deferred.push_back((order_id, operation, outcome));
    }

    /// A row that was asked for.
    pub fn fetched(&mut self, now: Timestamp, key: &RowKey, row: Option<Row>) {
        if self.stage != Stage::Leading {
            return;
        }
        self.engine.fetched(now, key, row);
        if let Some((_, has_come)) = &mut self.blocked {
            *has_come = true;
        }
        self.read_facts(now);
        if self.blocked.is_none() {
            self.engine.give_back();
        }
    }

    /// Hand over.
    pub fn step_down(&mut self) {
        self.is_stopping = true;
    }

    /// The lease was seen.
    pub fn lease_seen(&mut self, now: Timestamp, value: Option<&[u8]>, revision: u64) {
        self.lease.seen(now, value, revision);
    }

    /// The lease was written, or not.
    pub fn lease_written(&mut self, now: Timestamp, answer: LeaseAnswer) {
        self.lease.written(now, answer);
    }

    /// What the append came to.
    pub fn appended(&mut self, now: Timestamp, append_id: AppendId, answer: AppendAnswer) {
        let Some(append) = &mut self.append else {
            return;
        };
        if append.append_id != append_id {
            return; // an answer to what was settled by other means
        }
        match answer {
            AppendAnswer::Stored { stream_sequence } => {
                if stream_sequence == append.expected_last.next() {
                    self.committed(now, stream_sequence);
                } else {
                    let expected_last = append.expected_last;
                    self.halt(Alarm::StoredElsewhere {
                        expected_last,
                        stored: stream_sequence,
                    });
                }
            }
            AppendAnswer::WrongLast if planted!("wrong_last_is_fenced") => self.fence(append_id),
            AppendAnswer::WrongLast if planted!("wrong_last_is_stored") => {
                let at = append.expected_last.next();
                self.committed(now, at);
            }
            AppendAnswer::WrongLast => append.read_at(now),
            AppendAnswer::Unknown if planted!("unknown_append_is_refused") => self.fence(append_id),
            AppendAnswer::Unknown => append.resend_later(now),
        }
    }

    /// A read of the message where the append in flight should be. What was found is
    /// handed in as [`Self::entry`]; this is for what was not.
    pub(super) fn not_found(&mut self, now: Timestamp, at: StreamSequence, answer: &ReadAnswer) {
        let Some(append) = &mut self.append else {
            return;
        };
        if at != append.expected_last.next() {
            return;
        }
        match answer {
            ReadAnswer::Found(_) => {}
            // Then either the stream is shorter than it was, or the answer was: ask.
            ReadAnswer::Missing => {
                append.wait_for_end();
                self.end = None;
            }
            ReadAnswer::Unknown => append.read_later(now),
        }
    }

    /// The bounds of a journal's stream. `seen` is the last message that this process had
    /// ever seen of it before it asked.
    pub(super) fn stream_state(
        &mut self,
        now: Timestamp,
        journal: JournalId,
        first: StreamSequence,
        last: StreamSequence,
        seen: StreamSequence,
    ) {
        if !self.is_alive() {
            return;
        }
        if journal != self.journal {
            let needed = self.facts_of(journal).map(|facts| facts.seen().next());
            if let Some(needed) = needed.filter(|needed| first > *needed) {
                self.halt(Alarm::HistoryGone { first, needed });
            }
            return;
        }
        if last < seen && !planted!("shorter_stream_accepted") {
            return self.halt(Alarm::Shorter { seen, last });
        }
        let needed = self.position.stream_sequence.next();
        if first > needed {
            return self.halt(Alarm::HistoryGone { first, needed });
        }
        self.end = Some(last);
        self.asking = Retry::default();
        if let Some(append) = &mut self.append {
            append.end_known(now, last);
        }
    }

    /// Goes on with whatever can go on; after every input.
    pub(super) fn run(&mut self, now: Timestamp) {
        if !self.is_alive() {
            return;
        }
        if self.stage == Stage::Leading && self.lease.is_others() {
            self.is_stopping = true; // it will claim; what is under way may still be in time
        }
        if let Some(append) = &mut self.append
            && let Some(output) = append.due(now, self.journal)
        {
            self.outputs.push_back(output);
        }
        if self.end.is_none() && self.asking.is_due(now) {
            self.asking.next(now);
            self.push(ReplicaOutput::ReadStream {
                journal: self.journal,
                seen: self.position.stream_sequence,
            });
        }
        self.claim();
        if self.stage == Stage::Leading {
            self.work(now);
        }
        self.hand_over(now);
        if let Some(output) = self.lease.tick(now, self.wants_to_lead()) {
            self.push_lease(output);
        }
    }

    const fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Dropped | Stage::Halted)
    }

    fn is_caught_up(&self) -> bool {
        self.end
            .is_some_and(|end| end <= self.position.stream_sequence)
    }

    fn wants_to_lead(&self) -> bool {
        let may = match self.stage {
            Stage::Claiming | Stage::Leading => true,
            Stage::Following => self.is_caught_up() || self.lease.is_mine(),
            Stage::Dropped | Stage::Halted => false,
        };
        may && self.config.is_candidate && !self.is_stopping
    }

    fn halt(&mut self, alarm: Alarm) {
        self.refuse_open(Refusal::OutcomeUnknown);
        self.leave(Stage::Halted);
        self.push(ReplicaOutput::Halted {
            journal: self.journal,
            alarm,
        });
    }

    fn refuse_open(&mut self, refusal: Refusal) {
        for request in core::mem::take(&mut self.open) {
            self.push(ReplicaOutput::Refused { request, refusal });
        }
    }

    fn leave(&mut self, stage: Stage) {
        let was_leading = self.stage == Stage::Leading;
        self.stage = stage;
        self.append = None;
        self.blocked = None;
        self.deferred.clear();
        if was_leading {
            self.push(ReplicaOutput::RoleChanged {
                journal: self.journal,
                role: Role::Follower,
            });
        }
    }

    fn publish(&mut self, rows: Vec<Row>) {
        self.push(ReplicaOutput::Publish {
            journal: self.journal,
            sequence: self.engine.durable_sequence(),
            stream_sequence: self.position.stream_sequence,
            rows,
        });
    }

    fn push_lease(&mut self, output: LeaseOutput) {
        self.push(match output {
            LeaseOutput::Read => ReplicaOutput::ReadLease {
                journal: self.journal,
            },
            LeaseOutput::Write {
                expected_revision,
                value,
            } => ReplicaOutput::WriteLease {
                journal: self.journal,
                expected_revision,
                value: value.encode(),
            },
        });
    }

    fn push(&mut self, output: ReplicaOutput) {
        self.outputs.push_back(output);
    }

    /// Takes the engine's outputs over.
    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            let output = match output {
                EngineOutput::Reply { request, reply } => {
                    if !planted!("answered_and_then_refused") {
                        self.open.remove(&request);
                    }
                    ReplicaOutput::Reply {
                        request,
                        reply: *reply,
                    }
                }
                EngineOutput::CallGateway(call) => ReplicaOutput::CallGateway(*call),
                EngineOutput::Fetch(key) => ReplicaOutput::Fetch(key),
            };
            self.push(output);
        }
    }
}
