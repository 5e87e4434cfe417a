//! The embedded host: three engines in one process, one record of one log for all.
//!
//! ```text
//! One rule for those who drive it
//!  - hand in inputs, then take outputs until there are none;
//!  - `Commit` asks for one durable append; answer it with `Committed` once it is on
//!    disk, before any other `Commit` is asked for. Nothing that rests on it leaves
//!    earlier;
//!  - `Publish` comes before the replies of the same commit, so that whoever got a
//!    reply reads what it says.
//! ```
//! The engines run until none has anything to read, feeding each other what they decide;
//! a whole batch of inputs, and several steps of each saga, become one record.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::command::{Command, Reply, RequestId};
use crate::decider::{Fact, Participant};
use crate::engine::{Engine, EngineOutput, Upstream};
use crate::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use crate::ids::{OrderId, ParticipantId, Sequence};
use crate::inventory::InventoryParticipant;
use crate::order::OrderParticipant;
use crate::payment::PaymentParticipant;
use crate::planted::planted;
use crate::record::{OwnedFact, Record, Snapshot, encode_record};
use crate::rejection::Rejection;
use crate::row::{Row, RowKey};
use crate::settings::Settings;
use crate::time::Timestamp;

/// What the driver hands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostInput {
    /// A command; its reply names the same request.
    Command {
        /// Chosen by the driver, unique among those under way.
        request: RequestId,
        /// What is asked.
        command: Command,
    },
    /// What a gateway call came to, or what the gateway reported unasked.
    Gateway {
        /// Whose payment.
        order_id: OrderId,
        /// What had been called; `None` for a report.
        operation: Option<GatewayOperation>,
        /// What it came to.
        outcome: GatewayOutcome,
    },
    /// The row that was asked for, or that there is none.
    Fetched {
        /// Which row.
        key: RowKey,
        /// The row.
        row: Option<Row>,
    },
    /// Time has passed.
    Time,
    /// The record that was asked for is durable.
    Committed,
    /// Whether the log has room for more. Without it new commands are refused; what is
    /// under way goes on.
    Room(bool),
}

/// What the driver carries out, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutput {
    /// Make these bytes durable, as one record, then say `Committed`.
    Commit(Vec<u8>),
    /// Show these rows to readers: they are durable now.
    Publish(Vec<Row>),
    /// Answer a command.
    Reply {
        /// Which command.
        request: RequestId,
        /// What it came to.
        reply: Reply,
    },
    /// Call the gateway.
    CallGateway(GatewayCall),
    /// Look a row up among those that have left memory.
    Fetch(RowKey),
}

/// A record that does not follow from what was replayed before it: the log is not this
/// host's, or damaged. Nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {participant} journal stands at {have}, but the record continues after {after}")]
pub struct ReplayError {
    /// Whose share of the record.
    pub participant: ParticipantId,
    /// The last sequence that was replayed.
    pub have: Sequence,
    /// What the record expects to come after.
    pub after: Sequence,
}

/// What a commit in flight makes durable.
#[derive(Debug)]
struct InFlight {
    order: Sequence,
    inventory: Sequence,
    payment: Sequence,
    rows: Vec<Row>,
}

/// The embedded host; see the module's page.
#[derive(Debug)]
pub struct EmbeddedHost {
    order: Engine<OrderParticipant>,
    inventory: Engine<InventoryParticipant>,
    payment: Engine<PaymentParticipant>,
    /// Facts that a reader could not take yet, because it waits for a row.
    unread: VecDeque<(ParticipantId, Sequence, OwnedFact)>,
    /// Events of the open frames that the others have been shown.
    shown: [usize; 3],
    in_flight: Option<InFlight>,
    outputs: VecDeque<HostOutput>,
    has_room: bool,
}

impl EmbeddedHost {
    /// A host without history.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::from_snapshot(settings, Snapshot::default())
    }

    /// A host that stands where the snapshot was taken.
    #[must_use]
    pub fn from_snapshot(settings: &Settings, snapshot: Snapshot) -> Self {
        Self {
            order: Engine::from_part(settings.clone(), snapshot.order),
            inventory: Engine::from_part(settings.clone(), snapshot.inventory),
            payment: Engine::from_part(settings.clone(), snapshot.payment),
            unread: snapshot.unread.into(),
            shown: [0; 3],
            in_flight: None,
            outputs: VecDeque::new(),
            has_room: true,
        }
    }

    /// Applies a record of the log during recovery. Returns the rows that it changed,
    /// where `rows` are wanted.
    ///
    /// # Errors
    /// [`ReplayError`] if the record does not continue what was replayed before; the
    /// host is then of no use.
    pub fn replay(&mut self, record: &Record, rows: bool) -> Result<Vec<Row>, ReplayError> {
        let refused = |participant, have, after| ReplayError {
            participant,
            have,
            after,
        };
        let (order, inventory, payment) = (&record.order, &record.inventory, &record.payment);
        let mut changed = (self.order.replay(order, rows))
            .map_err(|have| refused(ParticipantId::Order, have, order.after))?;
        changed.extend(
            (self.inventory.replay(inventory, rows))
                .map_err(|have| refused(ParticipantId::Inventory, have, inventory.after))?,
        );
        changed.extend(
            (self.payment.replay(payment, rows))
                .map_err(|have| refused(ParticipantId::Payment, have, payment.after))?,
        );
        if !planted!("unread_lost_at_restart") {
            self.note_unread(record);
        }
        Ok(changed)
    }

    /// Begins to work after recovery: reads what had not been read, sets every timer and
    /// makes every gateway call that is owed.
    pub fn start(&mut self, now: Timestamp) {
        self.order.start(now);
        self.inventory.start(now);
        self.payment.start(now);
        self.offer_unread(now);
        self.run(now);
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Timestamp, input: HostInput) {
        match input {
            HostInput::Command { request, .. } if !self.has_room => {
                let reply = Reply {
                    result: Err(Rejection::JournalFull),
                    replayed: false,
                };
                self.outputs.push_back(HostOutput::Reply { request, reply });
            }
            HostInput::Command { request, command } => match command {
                Command::Order(command) => self.order.command(now, request, command),
                Command::Inventory(command) => self.inventory.command(now, request, command),
                Command::Payment(command) => self.payment.command(now, request, command),
            },
            HostInput::Gateway {
                order_id,
                operation,
                outcome,
            } => {
                self.payment.gateway(now, order_id, operation, outcome);
            }
            HostInput::Fetched { key, row } => self.on_fetched(now, &key, row),
            HostInput::Time => {
                self.order.time(now);
                self.inventory.time(now);
                self.payment.time(now);
            }
            HostInput::Committed => self.on_committed(),
            HostInput::Room(has_room) => {
                self.has_room = has_room || planted!("full_disk_takes_orders");
            }
        }
        self.run(now);
    }

    /// Takes the next output. A commit comes last: all inputs at hand go into it.
    pub fn poll_output(&mut self) -> Option<HostOutput> {
        self.outputs
            .pop_front()
            .or_else(|| self.close_record().map(HostOutput::Commit))
    }

    /// Would this record rather be committed before more inputs come?
    #[must_use]
    pub const fn is_saturated(&self) -> bool {
        self.order.is_full() || self.inventory.is_full() || self.payment.is_full()
    }

    /// When [`HostInput::Time`] is wanted next; not before a commit, where the record
    /// [is saturated](Self::is_saturated).
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.is_saturated() {
            return None;
        }
        [
            self.order.wake_at(),
            self.inventory.wake_at(),
            self.payment.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the state is what the log holds: everything decided is durable, and no
    /// fetched row is in use. Then the engines' states can be looked at without a copy.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.order.is_settled() && self.inventory.is_settled() && self.payment.is_settled()
    }

    /// The state as the log holds it; `None` unless it [is settled](Self::is_settled).
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot {
            order: self.order.part()?,
            inventory: self.inventory.part()?,
            payment: self.payment.part()?,
            unread: if planted!("unread_lost_in_snapshot") {
                Vec::new()
            } else {
                self.unread.iter().cloned().collect()
            },
        })
    }

    /// The order participant's engine, to look at.
    #[must_use]
    pub const fn order(&self) -> &Engine<OrderParticipant> {
        &self.order
    }

    /// The inventory participant's engine, to look at.
    #[must_use]
    pub const fn inventory(&self) -> &Engine<InventoryParticipant> {
        &self.inventory
    }

    /// The payment participant's engine, to look at.
    #[must_use]
    pub const fn payment(&self) -> &Engine<PaymentParticipant> {
        &self.payment
    }

    /// Lets the engines read each other until none has anything new.
    fn run(&mut self, now: Timestamp) {
        loop {
            let shown = self.shown;
            self.show_order(now);
            self.show_inventory(now);
            self.show_payment(now);
            if self.shown == shown {
                break;
            }
        }
        self.collect();
    }

    fn show_order(&mut self, now: Timestamp) {
        let after = open_after(&self.order);
        for (index, recorded) in self.order.frame().iter().enumerate().skip(self.shown[0]) {
            let fact = Fact::Order(&recorded.event);
            let sequence = nth_after(after, index);
            show(&mut self.inventory, &mut self.unread, now, sequence, fact);
            show(&mut self.payment, &mut self.unread, now, sequence, fact);
        }
        self.shown[0] = self.order.frame().len();
    }

    fn show_inventory(&mut self, now: Timestamp) {
        let after = open_after(&self.inventory);
        for (index, recorded) in self
            .inventory
            .frame()
            .iter()
            .enumerate()
            .skip(self.shown[1])
        {
            let fact = Fact::Inventory(&recorded.event);
            show(
                &mut self.order,
                &mut self.unread,
                now,
                nth_after(after, index),
                fact,
            );
        }
        self.shown[1] = self.inventory.frame().len();
    }

    fn show_payment(&mut self, now: Timestamp) {
        let after = open_after(&self.payment);
        for (index, recorded) in self.payment.frame().iter().enumerate().skip(self.shown[2]) {
            let fact = Fact::Payment(&recorded.event);
            show(
                &mut self.order,
                &mut self.unread,
                now,
                nth_after(after, index),
                fact,
            );
        }
        self.shown[2] = self.payment.frame().len();
    }

    fn on_fetched(&mut self, now: Timestamp, key: &RowKey, row: Option<Row>) {
        match key.participant() {
            ParticipantId::Order => self.order.fetched(now, key, row),
            ParticipantId::Inventory => self.inventory.fetched(now, key, row),
            ParticipantId::Payment => self.payment.fetched(now, key, row),
        }
        self.offer_unread(now);
        self.order.give_back();
        self.inventory.give_back();
        self.payment.give_back();
    }

    /// Offers again what could not be read. What comes behind a fact that still cannot
    /// be is refused as a gap, and so keeps its place.
    fn offer_unread(&mut self, now: Timestamp) {
        for (reader, sequence, owned) in core::mem::take(&mut self.unread) {
            let fact = owned.as_fact();
            let from = fact.participant().into();
            let upstream = match reader {
                ParticipantId::Order => self.order.upstream(now, from, sequence, fact),
                ParticipantId::Inventory => self.inventory.upstream(now, from, sequence, fact),
                ParticipantId::Payment => self.payment.upstream(now, from, sequence, fact),
            };
            if !is_read(upstream) {
                self.unread.push_back((reader, sequence, owned));
            }
        }
    }

    /// Takes the engines' outputs over.
    fn collect(&mut self) {
        while let Some(output) = self
            .order
            .poll_output()
            .or_else(|| self.inventory.poll_output())
            .or_else(|| self.payment.poll_output())
        {
            self.outputs.push_back(match output {
                EngineOutput::Reply { request, reply } => HostOutput::Reply {
                    request,
                    reply: *reply,
                },
                EngineOutput::CallGateway(call) => HostOutput::CallGateway(*call),
                EngineOutput::Fetch(key) => HostOutput::Fetch(key),
            });
        }
    }

    /// Closes the open record, unless one is in flight or nothing was decided.
    fn close_record(&mut self) -> Option<Vec<u8>> {
        let is_empty = self.order.frame().is_empty()
            && self.inventory.frame().is_empty()
            && self.payment.frame().is_empty();
        if (self.in_flight.is_some() && !planted!("pipelined_appends")) || is_empty {
            return None;
        }
        let (order, mut rows) = self.order.take_frame();
        let (inventory, more) = self.inventory.take_frame();
        rows.extend(more);
        let (payment, more) = self.payment.take_frame();
        rows.extend(more);
        self.shown = [0; 3];
        self.in_flight = Some(InFlight {
            order: self.order.decided(),
            inventory: self.inventory.decided(),
            payment: self.payment.decided(),
            rows,
        });
        Some(encode_record(&order, &inventory, &payment))
    }

    fn on_committed(&mut self) {
        let Some(committed) = self.in_flight.take() else {
            return;
        };
        if !planted!("rows_not_shown_at_all") {
            self.outputs.push_back(HostOutput::Publish(committed.rows));
        }
        if planted!("open_frame_counts_as_durable") {
            self.order.durable(self.order.decided());
        }
        self.order.durable(committed.order);
        self.inventory.durable(committed.inventory);
        self.payment.durable(committed.payment);
    }

    /// During recovery: keeps the facts of a record that their reader had not read when
    /// it was committed, and drops those that it has read since.
    fn note_unread(&mut self, record: &Record) {
        let cursors = [
            self.order.cursors(),
            self.inventory.cursors(),
            self.payment.cursors(),
        ];
        let is_unread = |reader: ParticipantId, from: ParticipantId, sequence: Sequence| {
            sequence > cursors[reader.index()].of(from)
        };
        self.unread.retain(|(reader, sequence, owned)| {
            is_unread(*reader, owned.as_fact().participant(), *sequence)
        });
        let mut note = |reader: ParticipantId, sequence: Sequence, fact: Fact<'_>| {
            if is_unread(reader, fact.participant(), sequence) {
                self.unread.push_back((reader, sequence, fact.into()));
            }
        };
        for (index, recorded) in record.order.events.iter().enumerate() {
            let sequence = nth_after(record.order.after, index);
            note(
                ParticipantId::Inventory,
                sequence,
                Fact::Order(&recorded.event),
            );
            note(
                ParticipantId::Payment,
                sequence,
                Fact::Order(&recorded.event),
            );
        }
        for (index, recorded) in record.inventory.events.iter().enumerate() {
            let sequence = nth_after(record.inventory.after, index);
            note(
                ParticipantId::Order,
                sequence,
                Fact::Inventory(&recorded.event),
            );
        }
        for (index, recorded) in record.payment.events.iter().enumerate() {
            let sequence = nth_after(record.payment.after, index);
            note(
                ParticipantId::Order,
                sequence,
                Fact::Payment(&recorded.event),
            );
        }
    }
}

/// Shows a fact to a reader, and keeps it for later where the reader has to wait for a row.
fn show<R: Participant>(
    reader: &mut Engine<R>,
    unread: &mut VecDeque<(ParticipantId, Sequence, OwnedFact)>,
    now: Timestamp,
    sequence: Sequence,
    fact: Fact<'_>,
) {
    if !is_read(reader.upstream(now, fact.participant().into(), sequence, fact)) {
        unread.push_back((R::ID, sequence, fact.into()));
    }
}

const fn is_read(upstream: Upstream) -> bool {
    matches!(upstream, Upstream::Read | Upstream::Duplicate)
}

/// The sequence that an engine's open frame continues after.
fn open_after<P: Participant>(engine: &Engine<P>) -> Sequence {
    let open = u64::try_from(engine.frame().len()).unwrap_or(u64::MAX);
    Sequence::new(engine.decided().get().saturating_sub(open))
}

fn nth_after(after: Sequence, index: usize) -> Sequence {
    Sequence::new(after.get() + u64::try_from(index).unwrap_or(u64::MAX) + 1)
}
