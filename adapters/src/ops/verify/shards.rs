//! The journals of several shards: each read and folded by itself, and all of them judged
//! together at the end.
//!
//! ```text
//! Which cut, while a cluster runs
//!  1. each journal is read to the end that it had;
//!  2. what a journal says that it has read of another must be there: that one is read on to
//!     it, message by message, until no journal rests on what was not read;
//!  3. an event that is missing then was lost.
//! ```
//! Rows are judged as they change, and the whole once, at the end. Every row stays in memory
//! meanwhile, unlike in the check of journals without shards.

use std::collections::BTreeMap;

use a4co_core::decider::Participant;
use a4co_core::engine::Engine;
use a4co_core::ids::{OrderId, Sequence};
use a4co_core::invariants::{
    Invariant, Phase, StockSums, Subject, Violation, World, check_order, check_product,
    payment_is_final, reservation_is_final, same_key_same_answer, terminal_is_final,
};
use a4co_core::inventory::InventoryParticipant;
use a4co_core::order::OrderParticipant;
use a4co_core::payment::{PaymentParticipant, PaymentPhase};
use a4co_core::record::Frame;
use a4co_core::replicated::{AnyEntry, Content};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::shards::{JournalId, Shard, ShardCount};
use a4co_core::time::Timestamp;

use super::cluster::{JournalCut, name};
use super::contents::{Contents, EventCounts};
use super::findings::Findings;
use super::parts::Parts;
use super::totals::Totals;
use super::{Progress, note};
use crate::nats::{Connected, JournalError, JournalReader};

/// One shard's participants, as their journals have them.
struct Fold {
    order: Engine<OrderParticipant>,
    inventory: Engine<InventoryParticipant>,
    payment: Engine<PaymentParticipant>,
}

impl Fold {
    fn new(shard: Shard) -> Self {
        let settings = Settings {
            shard,
            ..Settings::default()
        };
        Self {
            order: Engine::new(settings.clone()),
            inventory: Engine::new(settings.clone()),
            payment: Engine::new(settings),
        }
    }
}

/// All journals, as far as they have been read.
struct Replay<'f> {
    /// By [`JournalId::index`].
    readers: Vec<JournalReader>,
    /// Those that cannot be read on.
    is_over: Vec<bool>,
    folds: Vec<Fold>,
    rows: BTreeMap<RowKey, Row>,
    events: EventCounts,
    last_event_at: Timestamp,
    entries: u64,
    findings: &'f mut Findings,
}

/// Reads and judges everything up to the ends.
pub(super) async fn replay_shards(
    nats: &Connected,
    shards: ShardCount,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(Vec<JournalCut>, Contents), JournalError> {
    progress.begin("replaying the journals", None);
    let mut readers = Vec::new();
    for journal in JournalId::all(shards) {
        readers.push(JournalReader::open(nats, journal).await?);
    }
    let mut replay = Replay {
        is_over: vec![false; readers.len()],
        readers,
        folds: shards.each().map(Fold::new).collect(),
        rows: BTreeMap::new(),
        events: EventCounts::default(),
        last_event_at: Timestamp::UNIX_EPOCH,
        entries: 0,
        findings,
    };
    for journal in JournalId::all(shards) {
        replay.read_on(journal, progress).await?;
    }
    while replay.read_causes(shards, progress).await? {}
    let contents = replay.finish();
    progress.end();
    Ok((
        replay.readers.iter().map(JournalCut::of).collect(),
        contents,
    ))
}

impl Replay<'_> {
    /// Reads a journal to the end that is noted for it.
    async fn read_on(
        &mut self,
        journal: JournalId,
        progress: &dyn Progress,
    ) -> Result<(), JournalError> {
        while !self.is_over[journal.index()] {
            match self.readers[journal.index()].next().await {
                Ok(Some(entry)) => {
                    self.take(journal, &entry);
                    self.entries += 1;
                    note(progress, self.entries);
                }
                Ok(None) => return Ok(()),
                Err(error) => self.note_damage(journal, error)?,
            }
        }
        Ok(())
    }

    /// Reads on what other journals rest on. Says whether there was anything.
    async fn read_causes(
        &mut self,
        shards: ShardCount,
        progress: &dyn Progress,
    ) -> Result<bool, JournalError> {
        let mut has_read = false;
        for journal in JournalId::all(shards) {
            let cursors = self.readers[journal.index()].chain().cursors.clone();
            for source in journal.sources() {
                let place = source.index();
                let wanted = cursors.of(source);
                while !self.is_over[place] && self.readers[place].chain().last < wanted {
                    match self.readers[place].extend().await {
                        Ok(true) => {
                            self.read_on(source, progress).await?;
                            has_read = true;
                        }
                        Ok(false) => self.note_lost(source, wanted, journal),
                        Err(error) => self.note_damage(source, error)?,
                    }
                }
            }
        }
        Ok(has_read)
    }

    /// What is wrong with one journal ends that one; what is wrong on the way ends all.
    fn note_damage(&mut self, journal: JournalId, error: JournalError) -> Result<(), JournalError> {
        if !error.is_damage() {
            return Err(error);
        }
        let (check, subject) = name(&error);
        self.findings.damage(check, subject, error.to_string());
        self.is_over[journal.index()] = true;
        Ok(())
    }

    fn note_lost(&mut self, of: JournalId, event: Sequence, wanted_by: JournalId) {
        self.is_over[of.index()] = true;
        self.findings.damage(
            "journal_contiguous",
            format!("event {event} of the {of} journal"),
            format!(
                "the {wanted_by} journal has read it, and its own journal does not have it: \
                 acknowledged messages are lost"
            ),
        );
    }

    fn take(&mut self, journal: JournalId, entry: &AnyEntry) {
        let fold = &mut self.folds[usize::from(journal.shard.id.get())];
        let (count, replayed) = match entry {
            AnyEntry::Order(entry) => {
                let replayed = replay(&mut fold.order, &entry.content);
                (&mut self.events.order, replayed)
            }
            AnyEntry::Inventory(entry) => {
                let replayed = replay(&mut fold.inventory, &entry.content);
                (&mut self.events.inventory, replayed)
            }
            AnyEntry::Payment(entry) => {
                let replayed = replay(&mut fold.payment, &entry.content);
                (&mut self.events.payment, replayed)
            }
        };
        let (rows, events, at) = match replayed {
            Ok(Some(Taken { rows, events, at })) => (rows, events, at),
            Ok(None) => return,
            Err(have) => {
                self.is_over[journal.index()] = true;
                let detail = format!("the next entry does not go on after event {have}");
                let subject = format!("the {journal} journal");
                return self.findings.damage("journal_contiguous", subject, detail);
            }
        };
        *count += events;
        self.last_event_at = self.last_event_at.max(at);
        for row in rows {
            let key = row.key();
            if let Some(before) = self.rows.get(&key) {
                judge_change(before, &row, self.findings);
            }
            self.rows.insert(key, row);
        }
    }

    /// Asks the invariants of the whole, and sums it up.
    fn finish(&mut self) -> Contents {
        let mut totals = Totals::default();
        let mut world = World::default();
        for row in self.rows.values() {
            let mut parts = Parts::default();
            parts.put(row.in_its_shard().clone());
            totals.add(&parts);
            world.add_row(row);
        }
        let is_whole = !self.is_over.contains(&true);
        if is_whole {
            world = world.complete();
        }
        let mut found = Vec::new();
        let mut sums = StockSums::default();
        for mut view in world.orders() {
            view.reservations().for_each(|held| sums.add(held));
            // That the money of a confirmed order is taken is the payment's next step.
            let is_next = |phase| phase == PaymentPhase::Authorised;
            view.is_complete &= !view.payment.is_some_and(|payment| is_next(payment.phase));
            check_order(&view, Phase::Commit, &mut found);
        }
        for product in world.products() {
            let sum = sums.of(&product.product_id);
            check_product(product, sum, is_whole, &mut found);
        }
        let products = world.products();
        let contents = Contents::sum(self.events, self.last_event_at, &totals, products);
        found
            .into_iter()
            .for_each(|one| self.findings.violation(one));
        contents
    }
}

/// What a frame did.
struct Taken {
    rows: Vec<Row>,
    events: u64,
    at: Timestamp,
}

/// Applies a frame; a claim does nothing. Otherwise the event that the journal is at, which the
/// frame does not go on after.
fn replay<P: Participant>(
    engine: &mut Engine<P>,
    content: &Content<P::Event>,
) -> Result<Option<Taken>, Sequence> {
    let Content::Frame(frame) = content else {
        return Ok(None);
    };
    let frame: &Frame<P::Event> = frame;
    let rows = engine.replay(frame, true)?;
    let at = frame.events.last().map(|recorded| recorded.at);
    Ok(Some(Taken {
        rows,
        events: frame.events.len() as u64,
        at: at.unwrap_or_default(),
    }))
}

/// One row goes from one state to the next.
fn judge_change(before: &Row, after: &Row, findings: &mut Findings) {
    let of_order = |order_id: OrderId| Subject::Order(order_id);
    let (before, after) = (before.in_its_shard(), after.in_its_shard());
    let (invariant, subject, verdict) = match (before, after) {
        (Row::Order(before), Row::Order(after)) => (
            Invariant::TerminalIsFinal,
            of_order(after.order_id),
            terminal_is_final(Some(before), Some(after)),
        ),
        (Row::Reservation(before), Row::Reservation(after)) => (
            Invariant::TerminalIsFinal,
            of_order(after.order_id),
            reservation_is_final(Some(before), Some(after)),
        ),
        (Row::Payment(before), Row::Payment(after)) => (
            Invariant::TerminalIsFinal,
            of_order(after.order_id),
            payment_is_final(Some(before), Some(after)),
        ),
        (Row::Answer(before), Row::Answer(after)) => (
            Invariant::SameKeySameAnswer,
            Subject::Answer(after.participant, after.key.clone()),
            same_key_same_answer(before, after),
        ),
        _ => return,
    };
    if let Err(detail) = verdict {
        findings.violation(Violation {
            invariant,
            subject,
            detail,
        });
    }
}
