//! The replicated host: the participants of one process, each with its journal on a stream
//! that other processes follow and append to as well; three of them, or three for each
//! shard.
//!
//! ```text
//! One rule for those who drive it
//!  - hand in inputs, then take outputs until there are none;
//!  - every `Append`, `ReadEntry`, `ReadStream`, `ReadLease` and `WriteLease` is answered,
//!    if need be with `Unknown` (the lease's and the stream's reads: asked for again);
//!  - a journal's tail is delivered in order from where `Follow` says; what is delivered
//!    twice does no harm, and a gap is answered with another `Follow`;
//!  - `Publish` comes before the replies that rest on the same entry.
//! ```
//! Every process follows all journals and stays hot; its configuration says which it may
//! lead. A participant reads the others' journals only as the streams hold them,
//! never by a short cut inside the process: where the leaders run makes no difference.

mod alarm;
mod append;
mod entry;
mod facts;
mod io;
mod lease;
mod replica;
mod snapshot;

pub use alarm::Alarm;
pub use entry::{AnyEntry, AppendId, Content, Entry, EntryError, Epoch, HostId, StreamSequence};
pub use io::{AppendAnswer, LeaseAnswer, ReadAnswer, Refusal, ReplicaInput, ReplicaOutput, Role};
pub use lease::Lease;
pub use replica::{Replica, ReplicaConfig};
pub use snapshot::{HostSnapshot, Position, ReplicaSnapshot, ShardSnapshot};

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::command::Command;
use crate::ids::{OrderId, ParticipantId};
use crate::inventory::InventoryParticipant;
use crate::order::OrderParticipant;
use crate::payment::PaymentParticipant;
use crate::planted::planted;
use crate::settings::Settings;
use crate::shards::{JournalId, Shard, ShardCount, ShardId};
use crate::time::{Millis, Timestamp};

/// What a replicated host is told once.
#[derive(Debug, Clone)]
pub struct ReplicatedConfig {
    /// This start of this process; never used again.
    pub host: HostId,
    /// Whose journals it may lead, in the order of [`ParticipantId::ALL`].
    pub candidate_for: [bool; 3],
    /// The leases' time to live.
    pub lease_ttl_ms: Millis,
    /// How many shards each participant has.
    pub shards: ShardCount,
}

/// The tail of one journal.
#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    /// The message that comes next.
    next: StreamSequence,
    /// It was asked for anew: what is delivered until that message comes is of before.
    is_awaited: bool,
    /// The last message ever seen.
    seen: StreamSequence,
    /// The journal's own replica stopped at what comes next: nobody reads on.
    is_broken: bool,
}

/// The replicas of one shard.
#[derive(Debug)]
pub struct ShardReplicas {
    /// The order participant.
    pub order: Replica<OrderParticipant>,
    /// The inventory participant.
    pub inventory: Replica<InventoryParticipant>,
    /// The payment participant.
    pub payment: Replica<PaymentParticipant>,
}

/// The replicated host; see the module's page.
#[derive(Debug)]
pub struct ReplicatedHost {
    count: ShardCount,
    shards: Vec<ShardReplicas>,
    /// By journal, as are the others in here ([`JournalId::index`]).
    tails: Vec<Tail>,
    journals: Vec<JournalId>,
    /// From where each tail is wanted, while that is found out.
    wanted: Vec<Option<StreamSequence>>,
    now: Timestamp,
    outputs: VecDeque<ReplicaOutput>,
}

/// Calls the same for the replica of a journal.
macro_rules! replica {
    ($host:ident, $journal:expr, $replica:ident => $body:expr) => {{
        let journal: JournalId = $journal;
        let shard = &mut $host.shards[usize::from(journal.shard.id.get())];
        match journal.participant {
            ParticipantId::Order => {
                let $replica = &mut shard.order;
                $body
            }
            ParticipantId::Inventory => {
                let $replica = &mut shard.inventory;
                $body
            }
            ParticipantId::Payment => {
                let $replica = &mut shard.payment;
                $body
            }
        }
    }};
}

/// The same, only to look at it.
macro_rules! look_at {
    ($host:ident, $journal:expr, $replica:ident => $body:expr) => {{
        let journal: JournalId = $journal.into();
        let shard = &$host.shards[usize::from(journal.shard.id.get())];
        match journal.participant {
            ParticipantId::Order => {
                let $replica = &shard.order;
                $body
            }
            ParticipantId::Inventory => {
                let $replica = &shard.inventory;
                $body
            }
            ParticipantId::Payment => {
                let $replica = &shard.payment;
                $body
            }
        }
    }};
}

impl ShardReplicas {
    fn new(
        config: &ReplicatedConfig,
        settings: &Settings,
        shard: Shard,
        snapshot: ShardSnapshot,
    ) -> Self {
        let of = |journal: ParticipantId| ReplicaConfig {
            host: config.host,
            is_candidate: config.candidate_for[journal.index()],
            lease_ttl_ms: config.lease_ttl_ms,
        };
        let settings = Settings {
            shard,
            ..settings.clone()
        };
        Self {
            order: Replica::new(of(ParticipantId::Order), settings.clone(), snapshot.order),
            inventory: Replica::new(
                of(ParticipantId::Inventory),
                settings.clone(),
                snapshot.inventory,
            ),
            payment: Replica::new(of(ParticipantId::Payment), settings, snapshot.payment),
        }
    }

    fn poll_output(&mut self, now: Timestamp) -> Option<ReplicaOutput> {
        self.order
            .poll_output(now)
            .or_else(|| self.inventory.poll_output(now))
            .or_else(|| self.payment.poll_output(now))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        [
            self.order.wake_at(),
            self.inventory.wake_at(),
            self.payment.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn snapshot(&self) -> Option<ShardSnapshot> {
        Some(ShardSnapshot {
            order: self.order.snapshot()?,
            inventory: self.inventory.snapshot()?,
            payment: self.payment.snapshot()?,
        })
    }
}

impl ReplicatedHost {
    /// A host that stands where the snapshot was taken; without any, at the beginning.
    ///
    /// `seen` is the last message of each stream that this machine has ever seen (its view
    /// knows), by [`JournalId::index`]: a stream that ends before it has lost what was
    /// acknowledged.
    #[must_use]
    pub fn new(
        config: &ReplicatedConfig,
        settings: &Settings,
        mut snapshot: HostSnapshot,
        seen: &[StreamSequence],
    ) -> Self {
        let count = config.shards;
        let shards = count.each().map(|shard| {
            let snapshot = snapshot.take(shard.id);
            ShardReplicas::new(config, settings, shard, snapshot)
        });
        let tail = |journal: JournalId| Tail {
            next: StreamSequence::new(u64::MAX),
            seen: seen.get(journal.index()).copied().unwrap_or_default(),
            ..Tail::default()
        };
        Self {
            count,
            shards: shards.collect(),
            tails: JournalId::all(count).map(tail).collect(),
            journals: JournalId::all(count).collect(),
            wanted: JournalId::all(count).map(|_| None).collect(),
            now: Timestamp::UNIX_EPOCH,
            outputs: VecDeque::new(),
        }
    }

    /// Builds a participant again after [`ReplicaOutput::Rebuild`], from its share of a
    /// snapshot; then take the outputs.
    pub fn rebuild(&mut self, now: Timestamp, journal: JournalId, mut snapshot: HostSnapshot) {
        let snapshot = snapshot.take(journal.shard.id);
        let shard = &mut self.shards[usize::from(journal.shard.id.get())];
        match journal.participant {
            ParticipantId::Order => shard.order.rebuild(snapshot.order),
            ParticipantId::Inventory => shard.inventory.rebuild(snapshot.inventory),
            ParticipantId::Payment => shard.payment.rebuild(snapshot.payment),
        }
        self.handle_input(now, ReplicaInput::Time);
    }

    /// Takes one input. The first one, usually [`ReplicaInput::Time`], starts the host.
    pub fn handle_input(&mut self, now: Timestamp, input: ReplicaInput) {
        // A clock that jumps back never takes time back.
        self.now = self.now.max(now);
        let now = self.now;
        match input {
            ReplicaInput::Command { request, command } => {
                let journal = command.journal(self.count);
                let shard = &mut self.shards[usize::from(journal.shard.id.get())];
                match command {
                    Command::Order(command) => shard.order.command(now, request, command),
                    Command::Inventory(command) => shard.inventory.command(now, request, command),
                    Command::Payment(command) => shard.payment.command(now, request, command),
                }
            }
            ReplicaInput::Entry {
                journal,
                stream_sequence,
                bytes,
            } => self.on_tail(journal, stream_sequence, &bytes),
            ReplicaInput::Appended {
                journal,
                append_id,
                answer,
            } => replica!(self, journal, it => it.appended(now, append_id, answer)),
            ReplicaInput::EntryAt {
                journal,
                stream_sequence,
                answer: ReadAnswer::Found(bytes),
            } => self.on_entry(journal, stream_sequence, &bytes, false),
            ReplicaInput::EntryAt {
                journal,
                stream_sequence,
                answer,
            } => replica!(self, journal, it => it.not_found(now, stream_sequence, &answer)),
            ReplicaInput::StreamState {
                journal,
                seen,
                first,
                last,
            } => {
                for shard in &mut self.shards {
                    shard.order.stream_state(now, journal, first, last, seen);
                    shard
                        .inventory
                        .stream_state(now, journal, first, last, seen);
                    shard.payment.stream_state(now, journal, first, last, seen);
                }
            }
            ReplicaInput::LeaseSeen {
                journal,
                value,
                revision,
            } => replica!(self, journal, it => it.lease_seen(now, value.as_deref(), revision)),
            ReplicaInput::LeaseWritten { journal, answer } => {
                replica!(self, journal, it => it.lease_written(now, answer));
            }
            ReplicaInput::Gateway {
                order_id,
                operation,
                outcome,
            } => {
                let shard = usize::from(self.count.of_order(order_id).get());
                let payment = &mut self.shards[shard].payment;
                payment.gateway(order_id, operation, outcome);
            }
            ReplicaInput::Fetched { key, row } => {
                replica!(self, key.journal(self.count), it => it.fetched(now, &key, row));
            }
            ReplicaInput::Time => {}
            ReplicaInput::StepDown { journal } => {
                replica!(self, journal, it => it.step_down());
            }
        }
        self.run();
    }

    /// Takes the next output. Appends come last: all inputs at hand go into them.
    pub fn poll_output(&mut self) -> Option<ReplicaOutput> {
        let now = self.now;
        let mut output = self.outputs.pop_front().or_else(|| {
            let mut shards = self.shards.iter_mut();
            shards.find_map(|shard| shard.poll_output(now))
        });
        match &mut output {
            Some(ReplicaOutput::Publish {
                journal,
                stream_sequence,
                ..
            }) => {
                let seen = &mut self.tails[journal.index()].seen;
                *seen = (*seen).max(*stream_sequence);
            }
            Some(ReplicaOutput::ReadStream { journal, seen }) => {
                *seen = (*seen).max(self.tails[journal.index()].seen);
            }
            _ => {}
        }
        output
    }

    /// How many shards each participant has.
    #[must_use]
    pub const fn shard_count(&self) -> ShardCount {
        self.count
    }

    /// Every journal, in the order of [`JournalId::index`].
    #[must_use]
    pub fn journals(&self) -> &[JournalId] {
        &self.journals
    }

    /// The last message of a journal's stream that was ever seen here.
    #[must_use]
    pub fn seen(&self, journal: impl Into<JournalId>) -> StreamSequence {
        self.tails[journal.into().index()].seen
    }

    /// Would the journal's participant rather append before more commands come?
    #[must_use]
    pub fn is_saturated(&self, journal: impl Into<JournalId>) -> bool {
        look_at!(self, journal, it => it.is_saturated())
    }

    /// When [`ReplicaInput::Time`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let shards = self.shards.iter();
        shards.filter_map(ShardReplicas::wake_at).min()
    }

    /// What this process is for a journal.
    #[must_use]
    pub fn role(&self, journal: impl Into<JournalId>) -> Role {
        look_at!(self, journal, it => it.role())
    }

    /// Who leads a journal, as far as it is known here.
    #[must_use]
    pub fn leader(&self, journal: impl Into<JournalId>) -> Option<HostId> {
        look_at!(self, journal, it => it.leader())
    }

    /// How far the replica of a journal has applied it.
    #[must_use]
    pub fn position(&self, journal: impl Into<JournalId>) -> &Position {
        look_at!(self, journal, it => it.position())
    }

    /// Where all of them stand; `None` while one of them is not to be had. See
    /// [`Replica::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Option<HostSnapshot> {
        let shards = self.shards.iter().map(ShardReplicas::snapshot);
        Some(HostSnapshot {
            shards: shards.collect::<Option<_>>()?,
        })
    }

    /// The replicas, shard by shard, to look at.
    #[must_use]
    pub fn shards(&self) -> &[ShardReplicas] {
        &self.shards
    }

    /// The replicas of the shard that an order belongs to.
    #[must_use]
    pub fn of_order(&self, order_id: OrderId) -> &ShardReplicas {
        self.of(self.count.of_order(order_id))
    }

    /// The order participant of the first shard, to look at.
    #[must_use]
    pub fn order(&self) -> &Replica<OrderParticipant> {
        &self.of(ShardId::FIRST).order
    }

    /// The inventory participant of the first shard, to look at.
    #[must_use]
    pub fn inventory(&self) -> &Replica<InventoryParticipant> {
        &self.of(ShardId::FIRST).inventory
    }

    /// The payment participant of the first shard, to look at.
    #[must_use]
    pub fn payment(&self) -> &Replica<PaymentParticipant> {
        &self.of(ShardId::FIRST).payment
    }

    fn of(&self, shard: ShardId) -> &ShardReplicas {
        &self.shards[usize::from(shard.get())]
    }

    fn on_tail(&mut self, journal: JournalId, at: StreamSequence, bytes: &[u8]) {
        let tail = &mut self.tails[journal.index()];
        if at != tail.next || tail.is_broken {
            let is_gap = at > tail.next && !planted!("gap_in_a_tail_is_ignored");
            if is_gap && !tail.is_awaited && !tail.is_broken {
                tail.is_awaited = true;
                let from = tail.next;
                self.outputs
                    .push_back(ReplicaOutput::Follow { journal, from });
            }
            return;
        }
        tail.next = at.next();
        tail.is_awaited = false;
        self.on_entry(journal, at, bytes, true);
    }

    /// A message of a journal, for its own replica and, from the tail, for those who read it.
    fn on_entry(&mut self, journal: JournalId, at: StreamSequence, bytes: &[u8], is_tail: bool) {
        let now = self.now;
        let entry = match AnyEntry::decode(journal, bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.tails[journal.index()].is_broken |= is_tail;
                return replica!(self, journal, it => it.no_entry(at, error));
            }
        };
        let own = &mut self.shards[usize::from(journal.shard.id.get())];
        match &entry {
            AnyEntry::Order(entry) => own.order.entry(now, at, entry),
            AnyEntry::Inventory(entry) => own.inventory.entry(now, at, entry),
            AnyEntry::Payment(entry) => own.payment.entry(now, at, entry),
        }
        if replica!(self, journal, it => it.is_halted()) {
            self.tails[journal.index()].is_broken = true;
        } else if is_tail {
            for shard in &mut self.shards {
                shard.order.fact(at, &entry);
                shard.inventory.fact(at, &entry);
                shard.payment.fact(at, &entry);
            }
        }
    }

    fn run(&mut self) {
        for shard in &mut self.shards {
            shard.order.run(self.now);
            shard.inventory.run(self.now);
            shard.payment.run(self.now);
        }
        let wanted = &mut self.wanted;
        wanted.fill(None);
        let mut want = |journal: JournalId, from: StreamSequence| {
            let wanted = &mut wanted[journal.index()];
            *wanted = Some(wanted.map_or(from, |other| from.min(other)));
        };
        for shard in &mut self.shards {
            shard.order.wants(&mut want);
            shard.inventory.wants(&mut want);
            shard.payment.wants(&mut want);
        }
        for journal in &self.journals {
            let journal = *journal;
            let tail = &mut self.tails[journal.index()];
            if let Some(from) = self.wanted[journal.index()]
                && from < tail.next
                && !tail.is_broken
            {
                tail.next = from;
                tail.is_awaited = true;
                self.outputs
                    .push_back(ReplicaOutput::Follow { journal, from });
            }
        }
    }
}
