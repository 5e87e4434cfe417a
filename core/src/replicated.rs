//! The replicated host: the three participants of one process, each with its journal on a
//! stream that other processes follow and append to as well.
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
//! Every process follows all three journals and stays hot; its configuration says which
//! it may lead. A participant reads the others' journals only as the streams hold them,
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
pub use snapshot::{HostSnapshot, Position, ReplicaSnapshot};

use alloc::collections::VecDeque;

use crate::command::Command;
use crate::ids::ParticipantId;
use crate::inventory::InventoryParticipant;
use crate::order::OrderParticipant;
use crate::payment::PaymentParticipant;
use crate::planted::planted;
use crate::settings::Settings;
use crate::time::{Millis, Timestamp};

/// What a replicated host is told once.
#[derive(Debug, Clone)]
pub struct ReplicatedConfig {
    /// This start of this process; never used again.
    pub host: HostId,
    /// Which journals it may lead, in the order of [`ParticipantId::ALL`].
    pub candidate_for: [bool; 3],
    /// The leases' time to live.
    pub lease_ttl_ms: Millis,
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

/// The replicated host; see the module's page.
#[derive(Debug)]
pub struct ReplicatedHost {
    order: Replica<OrderParticipant>,
    inventory: Replica<InventoryParticipant>,
    payment: Replica<PaymentParticipant>,
    tails: [Tail; 3],
    now: Timestamp,
    outputs: VecDeque<ReplicaOutput>,
}

/// Calls the same for the replica of a journal.
macro_rules! replica {
    ($host:ident, $journal:expr, $replica:ident => $body:expr) => {
        match $journal {
            ParticipantId::Order => {
                let $replica = &mut $host.order;
                $body
            }
            ParticipantId::Inventory => {
                let $replica = &mut $host.inventory;
                $body
            }
            ParticipantId::Payment => {
                let $replica = &mut $host.payment;
                $body
            }
        }
    };
}

impl ReplicatedHost {
    /// A host that stands where the snapshot was taken; without any, at the beginning.
    ///
    /// `seen` is the last message of each stream that this machine has ever seen (its view
    /// knows): a stream that ends before it has lost what was acknowledged.
    #[must_use]
    pub fn new(
        config: &ReplicatedConfig,
        settings: &Settings,
        snapshot: HostSnapshot,
        seen: [StreamSequence; 3],
    ) -> Self {
        let of = |journal: ParticipantId| ReplicaConfig {
            host: config.host,
            is_candidate: config.candidate_for[journal.index()],
            lease_ttl_ms: config.lease_ttl_ms,
        };
        Self {
            order: Replica::new(of(ParticipantId::Order), settings.clone(), snapshot.order),
            inventory: Replica::new(
                of(ParticipantId::Inventory),
                settings.clone(),
                snapshot.inventory,
            ),
            payment: Replica::new(
                of(ParticipantId::Payment),
                settings.clone(),
                snapshot.payment,
            ),
            tails: seen.map(|seen| Tail {
                next: StreamSequence::new(u64::MAX),
                seen,
                ..Tail::default()
            }),
            now: Timestamp::UNIX_EPOCH,
            outputs: VecDeque::new(),
        }
    }

    /// Builds a participant again after [`ReplicaOutput::Rebuild`], from its share of a
    /// snapshot; then take the outputs.
    pub fn rebuild(&mut self, now: Timestamp, journal: ParticipantId, snapshot: HostSnapshot) {
        match journal {
            ParticipantId::Order => self.order.rebuild(snapshot.order),
            ParticipantId::Inventory => self.inventory.rebuild(snapshot.inventory),
            ParticipantId::Payment => self.payment.rebuild(snapshot.payment),
        }
        self.handle_input(now, ReplicaInput::Time);
    }

    /// Takes one input. The first one, usually [`ReplicaInput::Time`], starts the host.
    pub fn handle_input(&mut self, now: Timestamp, input: ReplicaInput) {
        // A clock that jumps back never takes time back.
        self.now = self.now.max(now);
        let now = self.now;
        match input {
            ReplicaInput::Command { request, command } => match command {
                Command::Order(command) => self.order.command(now, request, command),
                Command::Inventory(command) => self.inventory.command(now, request, command),
                Command::Payment(command) => self.payment.command(now, request, command),
            },
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
                self.order.stream_state(now, journal, first, last, seen);
                self.inventory.stream_state(now, journal, first, last, seen);
                self.payment.stream_state(now, journal, first, last, seen);
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
            } => self.payment.gateway(order_id, operation, outcome),
            ReplicaInput::Fetched { key, row } => {
                replica!(self, key.participant(), it => it.fetched(now, &key, row));
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
        let mut output = self
            .outputs
            .pop_front()
            .or_else(|| self.order.poll_output(now))
            .or_else(|| self.inventory.poll_output(now))
            .or_else(|| self.payment.poll_output(now));
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

    /// The last message of a journal's stream that was ever seen here.
    #[must_use]
    pub const fn seen(&self, journal: ParticipantId) -> StreamSequence {
        self.tails[journal.index()].seen
    }

    /// Would the journal's participant rather append before more commands come?
    #[must_use]
    pub const fn is_saturated(&self, journal: ParticipantId) -> bool {
        match journal {
            ParticipantId::Order => self.order.is_saturated(),
            ParticipantId::Inventory => self.inventory.is_saturated(),
            ParticipantId::Payment => self.payment.is_saturated(),
        }
    }

    /// When [`ReplicaInput::Time`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        [
            self.order.wake_at(),
            self.inventory.wake_at(),
            self.payment.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What this process is for a journal.
    #[must_use]
    pub const fn role(&self, journal: ParticipantId) -> Role {
        match journal {
            ParticipantId::Order => self.order.role(),
            ParticipantId::Inventory => self.inventory.role(),
            ParticipantId::Payment => self.payment.role(),
        }
    }

    /// Who leads a journal, as far as it is known here.
    #[must_use]
    pub fn leader(&self, journal: ParticipantId) -> Option<HostId> {
        match journal {
            ParticipantId::Order => self.order.leader(),
            ParticipantId::Inventory => self.inventory.leader(),
            ParticipantId::Payment => self.payment.leader(),
        }
    }

    /// Where all three stand; `None` while one of them is not to be had. See
    /// [`Replica::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Option<HostSnapshot> {
        Some(HostSnapshot {
            order: self.order.snapshot()?,
            inventory: self.inventory.snapshot()?,
            payment: self.payment.snapshot()?,
        })
    }

    /// The order participant, to look at.
    #[must_use]
    pub const fn order(&self) -> &Replica<OrderParticipant> {
        &self.order
    }

    /// The inventory participant, to look at.
    #[must_use]
    pub const fn inventory(&self) -> &Replica<InventoryParticipant> {
        &self.inventory
    }

    /// The payment participant, to look at.
    #[must_use]
    pub const fn payment(&self) -> &Replica<PaymentParticipant> {
        &self.payment
    }

    fn on_tail(&mut self, journal: ParticipantId, at: StreamSequence, bytes: &[u8]) {
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
    fn on_entry(
        &mut self,
        journal: ParticipantId,
        at: StreamSequence,
        bytes: &[u8],
        is_tail: bool,
    ) {
        let now = self.now;
        let entry = match AnyEntry::decode(journal, bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.tails[journal.index()].is_broken |= is_tail;
                return replica!(self, journal, it => it.no_entry(at, error));
            }
        };
        match &entry {
            AnyEntry::Order(entry) => self.order.entry(now, at, entry),
            AnyEntry::Inventory(entry) => self.inventory.entry(now, at, entry),
            AnyEntry::Payment(entry) => self.payment.entry(now, at, entry),
        }
        if replica!(self, journal, it => it.is_halted()) {
            self.tails[journal.index()].is_broken = true;
        } else if is_tail {
            self.order.fact(at, &entry);
            self.inventory.fact(at, &entry);
            self.payment.fact(at, &entry);
        }
    }

    fn run(&mut self) {
        self.order.run(self.now);
        self.inventory.run(self.now);
        self.payment.run(self.now);
        for journal in ParticipantId::ALL {
            let wanted = [
                self.order.wants(journal),
                self.inventory.wants(journal),
                self.payment.wants(journal),
            ];
            let tail = &mut self.tails[journal.index()];
            if let Some(from) = wanted.into_iter().flatten().min()
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
