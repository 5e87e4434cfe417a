//! The engine: hosts one participant, without I/O.
//!
//! ```text
//! One rule for those who drive it
//!  - hand in one input, then take every output before the next wait;
//!  - what the engine decided is in its frame until the host takes it; the host reports
//!    with `durable` how far the journal holds it;
//!  - a reply or a gateway call leaves only when the journal holds all that had been
//!    decided up to it, and is lost with the engine if that never happens.
//! ```
//! It decides on a state that runs ahead of the journal. When the journal refuses for
//! good, the host drops the engine and builds another from the journal.

mod deciding;
mod timers;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::command::{Reply, RequestId};
use crate::decider::{Fact, Input, Participant, Recorded};
use crate::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use crate::ids::{OrderId, Sequence};
use crate::limits::DEADLINES_PER_INPUT_MAX;
use crate::planted::planted;
use crate::record::{Cursors, EncodedFrame, Frame, Part, encode_into};
use crate::row::{Row, RowKey};
use crate::settings::Settings;
use crate::shards::JournalId;
use crate::time::Timestamp;
use timers::Timers;

/// What an engine wants done. All of it rests on what is durable already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineOutput {
    /// The reply to a command.
    Reply {
        /// Which command.
        request: RequestId,
        /// What it came to.
        reply: Box<Reply>,
    },
    /// Call the gateway; hand the answer in as [`Engine::gateway`].
    CallGateway(Box<GatewayCall>),
    /// Look this row up outside memory; hand the answer in as [`Engine::fetched`].
    Fetch(RowKey),
}

/// What became of another participant's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// Read; the cursor stands behind it.
    Read,
    /// Read before: dropped.
    Duplicate,
    /// A row has to be fetched first. Offer the same event again after
    /// [`Engine::fetched`].
    Blocked,
    /// Events in between are missing. Offer the one after `have` first.
    Gap {
        /// The last sequence read.
        have: Sequence,
    },
}

/// An input that waits for a row.
#[derive(Debug, Clone)]
enum Waiting<C> {
    Command {
        request: RequestId,
        command: C,
    },
    Gateway {
        order_id: OrderId,
        operation: Option<GatewayOperation>,
        outcome: GatewayOutcome,
    },
    Upstream,
}

/// Inputs by the row that they wait for, each with the rows that it has already been told
/// do not exist.
type WaitingInputs<C> = BTreeMap<RowKey, Vec<(Waiting<C>, BTreeSet<RowKey>)>>;

/// One participant with everything that is not in its journal: timers, calls under way,
/// inputs that wait for a row, and outputs that wait for the journal.
#[derive(Debug)]
pub struct Engine<P: Participant> {
    settings: Settings,
    state: P::State,
    now: Timestamp,
    /// When the last event was decided.
    decided_at: Timestamp,
    durable: Sequence,
    decided: Sequence,
    cursors: Cursors,
    frame: Vec<Recorded<P::Event>>,
    /// The frame's events as they go into the journal, one after the other.
    encoded: Vec<u8>,
    touched: BTreeSet<RowKey>,
    leaving: VecDeque<(Sequence, RowKey)>,
    held: VecDeque<(Sequence, EngineOutput)>,
    ready: VecDeque<EngineOutput>,
    deadlines: Timers,
    calls_due: Timers,
    calling: BTreeMap<OrderId, GatewayOperation>,
    waiting: WaitingInputs<P::Command>,
    /// Rows in memory that came from outside it and that no event has changed since.
    borrowed: BTreeSet<RowKey>,
    /// Known not to exist, for the one upstream event that waits.
    absent_upstream: BTreeSet<RowKey>,
    scratch: Vec<RowKey>,
}

impl<P: Participant> Engine<P> {
    /// An engine at the beginning of its journal.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::from_part(settings, Part::default())
    }

    /// An engine that stands where a snapshot was taken.
    #[must_use]
    pub fn from_part(settings: Settings, part: Part<P::State>) -> Self {
        Self {
            settings,
            state: part.state,
            // A clock that is behind that of the process before never takes time back.
            now: if planted!("time_lost_at_restart") {
                Timestamp::UNIX_EPOCH
            } else {
                part.decided_at
            },
            decided_at: part.decided_at,
            durable: part.last,
            decided: part.last,
            cursors: part.cursors,
            frame: Vec::new(),
            encoded: Vec::new(),
            touched: BTreeSet::new(),
            leaving: VecDeque::new(),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            deadlines: Timers::default(),
            calls_due: Timers::default(),
            calling: BTreeMap::new(),
            waiting: BTreeMap::new(),
            borrowed: BTreeSet::new(),
            absent_upstream: BTreeSet::new(),
            scratch: Vec::new(),
        }
    }

    /// The journal that it decides for.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        JournalId::new(P::ID, self.settings.shard)
    }

    /// The state, ahead of the journal by what [`Self::frame`] holds and what is in flight.
    #[must_use]
    pub const fn state(&self) -> &P::State {
        &self.state
    }

    /// How far the others' journals have been read.
    #[must_use]
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// The sequence of the last event decided.
    #[must_use]
    pub const fn decided(&self) -> Sequence {
        self.decided
    }

    /// The sequence of the last event that the journal is known to hold.
    #[must_use]
    pub const fn durable_sequence(&self) -> Sequence {
        self.durable
    }

    /// Events decided and not yet taken.
    #[must_use]
    pub fn frame(&self) -> &[Recorded<P::Event>] {
        &self.frame
    }

    /// Would what was decided rather be committed before more inputs come?
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.encoded.len() >= self.settings.frame_bytes_soft_max
    }

    /// Gateway calls under way.
    #[must_use]
    pub fn calls_under_way(&self) -> usize {
        self.calling.len()
    }

    /// When [`Self::time`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        match (self.deadlines.first(), self.calls_due.first()) {
            (Some(deadline), Some(call)) => Some(deadline.min(call)),
            (deadline, call) => deadline.or(call),
        }
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<EngineOutput> {
        self.ready.pop_front()
    }

    /// Applies a frame that the journal holds, as part of recovery or of following.
    /// Returns the rows that it changed, where `rows` are wanted.
    ///
    /// # Errors
    /// The sequence that the journal stands at, if the frame does not fit there.
    pub fn replay(&mut self, frame: &Frame<P::Event>, rows: bool) -> Result<Vec<Row>, Sequence> {
        if frame.after != self.decided {
            return Err(self.decided);
        }
        for recorded in &frame.events {
            self.now = self.now.max(recorded.at);
            self.apply(recorded);
        }
        self.cursors.clone_from(&frame.cursors);
        let changed = self.take_rows(rows);
        self.durable = self.decided;
        self.leave();
        Ok(changed)
    }

    /// Begins to work after recovery: sets every timer and makes every call that the
    /// state owes.
    pub fn start(&mut self, now: Timestamp) {
        self.observe(now);
        for order_id in P::order_ids(&self.state) {
            if let Some(deadline) = P::deadline(&self.state, order_id)
                && !planted!("timers_lost_at_restart")
            {
                self.deadlines.set(order_id, Some(deadline));
            }
            if !planted!("calls_lost_at_restart") {
                self.owe(order_id);
            }
        }
    }

    /// A command from outside.
    pub fn command(&mut self, now: Timestamp, request: RequestId, command: P::Command) {
        self.observe(now);
        self.on_command(request, command, BTreeSet::new());
    }

    /// The event of another participant's journal that stands there.
    pub fn upstream(
        &mut self,
        now: Timestamp,
        from: JournalId,
        sequence: Sequence,
        fact: Fact<'_>,
    ) -> Upstream {
        self.observe(now);
        let have = self.cursors.of(from);
        if sequence <= have {
            return Upstream::Duplicate;
        }
        if sequence != have.next() {
            return Upstream::Gap { have };
        }
        let input = if self.settings.shard.is_alone() {
            Input::Upstream(fact)
        } else {
            Input::Sharded {
                from: from.shard.id,
                to: self.settings.shard.id,
                fact,
            }
        };
        let absent = core::mem::take(&mut self.absent_upstream);
        if let Some(key) = self.missing(&input, &absent) {
            self.absent_upstream = absent;
            if planted!("cursor_saved_before_commit") {
                self.cursors.set(from, sequence);
            }
            self.wait_for(key, Waiting::Upstream, BTreeSet::new());
            return Upstream::Blocked;
        }
        self.decide(input);
        self.cursors.set(from, sequence);
        if planted!("cursor_of_another_shard_advanced")
            && let Some(other) = from.shard.count.each().find(|it| *it != from.shard)
        {
            let other = JournalId::new(from.participant, other);
            self.cursors.set(other, self.cursors.of(other).next());
        }
        Upstream::Read
    }

    /// What a gateway call came to, or (`operation` is `None`) what the gateway reported.
    pub fn gateway(
        &mut self,
        now: Timestamp,
        order_id: OrderId,
        operation: Option<GatewayOperation>,
        outcome: GatewayOutcome,
    ) {
        self.observe(now);
        if operation.is_some() && self.calling.get(&order_id) == operation.as_ref() {
            self.calling.remove(&order_id);
        }
        self.on_gateway(order_id, operation, outcome, BTreeSet::new());
    }

    /// The row that an output asked for, or that there is none.
    pub fn fetched(&mut self, now: Timestamp, key: &RowKey, row: Option<Row>) {
        self.observe(now);
        let key = key.in_its_shard();
        let Some(waiting) = self.waiting.remove(key) else {
            return;
        };
        let found = row.is_some();
        if let Some(row) = row.map(Row::into_its_shard)
            && !P::holds(&self.state, key)
        {
            P::restore(&mut self.state, row);
            self.borrowed.insert(key.clone());
        }
        for (input, mut absent) in waiting {
            if !found {
                absent.insert(key.clone());
            }
            match input {
                Waiting::Command { request, command } => self.on_command(request, command, absent),
                Waiting::Gateway {
                    order_id,
                    operation,
                    outcome,
                } => {
                    self.on_gateway(order_id, operation, outcome, absent);
                }
                // The host offers the event again; until then the row stays.
                Waiting::Upstream => {
                    self.absent_upstream = absent;
                }
            }
        }
    }

    /// Gives back every fetched row that nothing needed. The host calls it once the
    /// inputs that waited have been offered again.
    pub fn give_back(&mut self) {
        let waiting = &self.waiting;
        for key in self
            .borrowed
            .extract_if(.., |key| !waiting.contains_key(key))
        {
            P::forget(&mut self.state, &key);
        }
    }

    /// Time has passed. Serves a bounded number of deadlines; [`Self::wake_at`] tells
    /// whether more are due.
    pub fn time(&mut self, now: Timestamp) {
        self.observe(now);
        for _ in 0..DEADLINES_PER_INPUT_MAX {
            if self.is_full() {
                break;
            }
            let Some(order_id) = self.deadlines.pop_due(self.now) else {
                break;
            };
            self.decide(Input::Deadline(order_id));
            while planted!("one_timer_loses_the_others")
                && self.deadlines.pop_due(self.now).is_some()
            {}
        }
        while let Some(order_id) = self.calls_due.pop_due(self.now) {
            self.owe(order_id);
        }
    }

    /// Takes what was decided since the last time, with the rows that it changed. The
    /// frame may be empty: it still tells how far the others have been read.
    pub fn take_frame(&mut self) -> (EncodedFrame, Vec<Row>) {
        let events = self.frame.len();
        self.frame.clear();
        let count = u64::try_from(events).unwrap_or(u64::MAX);
        let frame = EncodedFrame {
            after: Sequence::new(self.decided.get().saturating_sub(count)),
            cursors: self.cursors.clone(),
            count: events,
            events: core::mem::take(&mut self.encoded),
        };
        (frame, self.take_rows(true))
    }

    /// The journal holds everything up to `sequence`.
    pub fn durable(&mut self, sequence: Sequence) {
        self.durable = self.durable.max(sequence);
        // Decided otherwise since, as a cancel that came into the same record: what is undone
        // is not charged first.
        let mut withdrawn = Vec::new();
        while let Some((needs, _)) = self.held.front() {
            if *needs > self.durable {
                break;
            }
            match self.held.pop_front() {
                Some((_, EngineOutput::CallGateway(call))) if !self.owes(&call) => {
                    withdrawn.push(call.order_id);
                }
                Some((_, output)) => self.ready.push_back(output),
                None => break,
            }
        }
        for order_id in withdrawn {
            self.calling.remove(&order_id);
            self.owe(order_id);
        }
        self.leave();
    }

    /// Whether the state is what the journal holds: everything decided is durable, and no
    /// fetched row is in use.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.durable == self.decided && self.borrowed.is_empty()
    }

    /// The state as the journal holds it; `None` unless it [is settled](Self::is_settled).
    #[must_use]
    pub fn part(&self) -> Option<Part<P::State>> {
        let is_ahead = planted!("snapshot_ahead_of_its_journal") && self.borrowed.is_empty();
        (self.is_settled() || is_ahead).then(|| Part {
            state: self.state.clone(),
            last: self.decided,
            decided_at: self.decided_at,
            cursors: self.cursors.clone(),
        })
    }

    /// Ends the work: forgets timers, calls and what waits for a row, and gives the state
    /// as the journal holds it. `None`, and nothing has changed, while something decided
    /// is not durable.
    pub fn stop(&mut self) -> Option<Part<P::State>> {
        if self.durable != self.decided {
            return None;
        }
        self.waiting.clear();
        self.give_back();
        self.part()
    }

    fn observe(&mut self, now: Timestamp) {
        // A clock that jumps back never takes a deadline or an event's time back.
        self.now = if planted!("clock_that_jumps_back") {
            now
        } else {
            self.now.max(now)
        };
    }

    fn push(&mut self, event: P::Event) {
        let recorded = Recorded {
            at: self.now,
            event,
        };
        self.apply(&recorded);
        if planted!("state_only_in_memory")
            && !self.frame.is_empty()
            && !P::holds(&self.state, &RowKey::Order(OrderId::from_bytes([0; 16])))
        {
            return;
        }
        self.encoded = encode_into(&recorded, core::mem::take(&mut self.encoded));
        self.frame.push(recorded);
    }

    fn apply(&mut self, recorded: &Recorded<P::Event>) {
        self.decided = self.decided.next();
        self.decided_at = recorded.at;
        P::evolve(&mut self.state, recorded, self.decided);
        let mut keys = core::mem::take(&mut self.scratch);
        P::touched(&recorded.event, &self.state, &mut keys);
        self.touched.extend(keys.drain(..));
        self.scratch = keys;
    }

    /// Makes the gateway call that the order's payment owes: now, or when it is due.
    fn owe(&mut self, order_id: OrderId) {
        if self.calling.contains_key(&order_id) && !planted!("two_calls_at_once") {
            return; // one call at a time: its answer brings us back here
        }
        match P::owed_call(&self.state, &self.settings, order_id) {
            None => self.calls_due.set(order_id, None),
            Some((due_at, _)) if due_at > self.now => self.calls_due.set(order_id, Some(due_at)),
            Some((_, call)) => {
                self.calls_due.set(order_id, None);
                self.calling.insert(order_id, call.operation);
                let call = EngineOutput::CallGateway(Box::new(call));
                if planted!("call_before_fsync") {
                    self.ready.push_back(call);
                } else {
                    self.hold(call);
                }
            }
        }
    }

    /// Is this still the call that is owed?
    fn owes(&self, call: &GatewayCall) -> bool {
        let owed = P::owed_call(&self.state, &self.settings, call.order_id);
        owed.is_some_and(|(_, owed)| owed.operation == call.operation)
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        self.hold(EngineOutput::Reply {
            request,
            reply: Box::new(reply),
        });
    }

    /// Lets an output leave once all that was decided so far is durable.
    fn hold(&mut self, output: EngineOutput) {
        if self.decided <= self.durable || planted!("reply_before_fsync") {
            self.ready.push_back(output);
        } else {
            self.held.push_back((self.decided, output));
        }
    }

    fn take_rows(&mut self, wanted: bool) -> Vec<Row> {
        let touched = core::mem::take(&mut self.touched);
        let mut rows = Vec::with_capacity(if wanted { touched.len() } else { 0 });
        for key in touched {
            if wanted && !(planted!("row_not_shown") && matches!(key, RowKey::Reservation(_))) {
                let row = P::row(&self.state, &key);
                rows.extend(row.map(|row| row.of_shard(self.settings.shard)));
            }
            self.leaving.push_back((self.decided, key));
        }
        rows
    }

    /// Takes what has ended, and whose end is durable, out of memory.
    fn leave(&mut self) {
        while let Some((sequence, _)) = self.leaving.front() {
            if *sequence > self.durable {
                break;
            }
            let Some((_, key)) = self.leaving.pop_front() else {
                break;
            };
            if self.touched.contains(&key) || !P::may_leave(&self.state, &key, self.durable) {
                continue;
            }
            if self.waiting.contains_key(&key) && !planted!("stale_look_up") {
                // It is being looked up, perhaps from before it was there: what is in
                // memory is newer than the answer to come.
                self.borrowed.insert(key);
            } else {
                P::forget(&mut self.state, &key);
            }
        }
    }
}
