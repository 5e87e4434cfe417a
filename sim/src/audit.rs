//! The auditor: a model of its own of everything that is durable.
//!
//! It reads each record once it is durable and asks three things of it: the core's named
//! invariants, on the rows that the record changed; a ledger of its own ([`ledger`]), event
//! by event, which knows what clients asked for and what the gateway's books say; and
//! engines of its own that only replay, whose rows must be those that the first ones publish.

mod fold;
pub mod ledger;
mod replies;

use std::collections::BTreeMap;
use std::rc::Rc;

use a4co_core::embedded::EmbeddedHost;
use a4co_core::ids::{OrderId, ParticipantId, ProductId, Sequence};
use a4co_core::invariants::{
    self, OrderView, Phase, StockSum, Violation, payment_is_final, reservation_is_final,
    terminal_is_final,
};
use a4co_core::inventory::{InventoryState, Product, Reservation, ReservationStatus};
use a4co_core::order::{Order, OrderState};
use a4co_core::payment::{Payment, PaymentPhase, PaymentState};
use a4co_core::record::{self, Frame, Record, Snapshot};
use a4co_core::replicated::HostSnapshot;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::shards::{JournalId, Shard, ShardCount, ShardId};
use a4co_core::time::Timestamp;

use crate::gateway::Gateway;
use crate::verdict::{Checked, Failure, safety};
use fold::Fold;
use ledger::Ledger;
pub use replies::Asked;

/// Rows by key; a row is shared by all who know it.
pub type Rows = BTreeMap<RowKey, Rc<Row>>;

/// The rows that one record changed, in the order in which engines show them: each key once.
pub type Changed = Vec<(RowKey, Rc<Row>)>;

/// The auditor.
#[derive(Debug)]
pub struct Audit {
    /// Every durable record.
    pub records: Vec<Box<[u8]>>,
    /// The same, decoded: whoever has read the same bytes need not decode them again.
    pub decoded: Vec<Rc<Record>>,
    /// Every row as of the last durable record, those that have left memory too.
    pub rows: Rows,
    /// The model of its own.
    pub ledger: Ledger,
    /// What the engine has still to publish of the last record.
    pub unpublished: Option<Changed>,
    /// Events seen.
    pub events: u64,
    /// Each journal is written by itself, and so hears of the others' events later.
    pub(crate) is_of_cluster: bool,
    /// Every state that each product was in, by version: units on hand, reserved and sold.
    pub stock_history: BTreeMap<ProductId, BTreeMap<u64, [u64; 3]>>,
    /// One for each shard.
    folds: Vec<Fold>,
    count: ShardCount,
    sums: BTreeMap<ProductId, StockSum>,
    replies: replies::Replies,
    /// By [`JournalId::index`].
    heads: Vec<Sequence>,
}

/// The three states, as of which event each, looked at where they are.
#[derive(Debug, Clone, Copy)]
pub struct States<'s> {
    order: (&'s OrderState, Sequence),
    inventory: (&'s InventoryState, Sequence),
    payment: (&'s PaymentState, Sequence),
}

impl<'s> From<&'s EmbeddedHost> for States<'s> {
    /// Of a host that [is settled](EmbeddedHost::is_settled).
    fn from(host: &'s EmbeddedHost) -> Self {
        let (order, inventory, payment) = (host.order(), host.inventory(), host.payment());
        Self {
            order: (order.state(), order.decided()),
            inventory: (inventory.state(), inventory.decided()),
            payment: (payment.state(), payment.decided()),
        }
    }
}

impl<'s> From<&'s Snapshot> for States<'s> {
    fn from(snapshot: &'s Snapshot) -> Self {
        Self {
            order: (&snapshot.order.state, snapshot.order.last),
            inventory: (&snapshot.inventory.state, snapshot.inventory.last),
            payment: (&snapshot.payment.state, snapshot.payment.last),
        }
    }
}

/// Rows with their keys, to be shared by all who know them.
pub(crate) fn shared(rows: Vec<Row>) -> Changed {
    let keyed = |row: Row| (row.key(), Rc::new(row));
    rows.into_iter().map(keyed).collect()
}

/// In what the rows that an engine shows are others than those of the log.
fn publish_differs(expected: &Changed, rows: &[Row]) -> String {
    for row in rows {
        let key = row.key();
        match expected.iter().find(|(known, _)| *known == key) {
            Some((_, known)) if **known == *row => {}
            Some((_, known)) => return format!("published {row:?}, the log says {known:?}"),
            None => return format!("published {row:?}, which the last record did not change"),
        }
    }
    let is_missing = |key: &RowKey| !rows.iter().any(|row| row.key() == *key);
    match expected.iter().find(|(key, _)| is_missing(key)) {
        Some((key, _)) => format!("a record changed {key:?}, which was not published"),
        None => "rows are published twice or in another order than they were changed".into(),
    }
}

fn broken(violation: &Violation) -> Failure {
    safety(violation.invariant.name(), violation.to_string())
}

impl Audit {
    /// An auditor of an empty log.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::of_shards(settings, ShardCount::ONE)
    }

    /// An auditor of empty journals.
    #[must_use]
    pub fn of_shards(settings: &Settings, count: ShardCount) -> Self {
        Self {
            records: Vec::new(),
            decoded: Vec::new(),
            rows: Rows::new(),
            ledger: Ledger::new(settings, count),
            unpublished: None,
            events: 0,
            is_of_cluster: false,
            stock_history: BTreeMap::new(),
            folds: count.each().map(|it| Fold::new(settings, it)).collect(),
            count,
            sums: BTreeMap::new(),
            replies: replies::Replies::default(),
            heads: JournalId::all(count).map(|_| Sequence::NONE).collect(),
        }
    }

    /// A client is about to ask this: the ledger may find it in the log from now on.
    pub fn expect(&mut self, asked: &Asked) {
        match asked {
            Asked::Create(order_id, body) => {
                let bodies = self.ledger.bodies.entry(*order_id).or_default();
                bodies.push(body.clone());
            }
            Asked::Cancel(order_id) => {
                self.ledger.cancel_asked.insert(*order_id);
            }
            Asked::WriteOff(order_id) => {
                self.ledger.write_off_asked.insert(*order_id);
            }
            Asked::Refund(_)
            | Asked::Nudge(_)
            | Asked::RetryPayment(_)
            | Asked::Report(_)
            | Asked::Product(_) => {}
        }
    }

    /// When the newest event was decided.
    #[must_use]
    pub fn last_event_at(&self) -> Timestamp {
        self.ledger.last_event_at()
    }

    /// A record has become durable.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn on_record(&mut self, bytes: &[u8], gateway: &Gateway) -> Checked {
        let record: Record = record::decode(bytes)
            .map_err(|error| safety("record_decodes", format!("the engine wrote {error}")))?;
        self.take_in(record, bytes, gateway)
    }

    /// A record that continues all three journals of a shard with nothing.
    #[must_use]
    pub fn empty_record(&self, shard: ShardId) -> Record {
        self.fold(shard).empty_record()
    }

    fn fold(&self, shard: ShardId) -> &Fold {
        &self.folds[usize::from(shard.get())]
    }

    /// These events have become durable, in `bytes`.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn take_in(&mut self, record: Record, bytes: &[u8], gateway: &Gateway) -> Checked {
        self.take_in_of(ShardId::FIRST, record, bytes, gateway)
    }

    /// These events of a shard's journals have become durable, in `bytes`.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn take_in_of(
        &mut self,
        shard: ShardId,
        record: Record,
        bytes: &[u8],
        gateway: &Gateway,
    ) -> Checked {
        self.contiguous(ParticipantId::Order, shard, &record.order)?;
        self.contiguous(ParticipantId::Inventory, shard, &record.inventory)?;
        self.contiguous(ParticipantId::Payment, shard, &record.payment)?;
        self.ledger.on_record(shard, &record, gateway, &self.rows)?;
        let rows = self.folds[usize::from(shard.get())].replay(&record)?;
        self.records.push(bytes.into());
        self.decoded.push(Rc::new(record));
        let rows = shared(rows);
        self.check_rows(&rows, gateway)?;
        self.unpublished = Some(rows);
        Ok(())
    }

    fn contiguous<E>(
        &mut self,
        participant: ParticipantId,
        id: ShardId,
        frame: &Frame<E>,
    ) -> Checked {
        let count = self.count;
        let journal = JournalId::new(participant, Shard { id, count });
        let head = &mut self.heads[journal.index()];
        let entries = (1..).map(|nth| Sequence::new(frame.after.get() + nth));
        invariants::journal_contiguous(participant, *head, entries.take(frame.events.len()))
            .map_err(|violation| broken(&violation))?;
        self.events += frame.events.len() as u64;
        *head = Sequence::new(head.get() + frame.events.len() as u64);
        Ok(())
    }

    fn check_rows(&mut self, changed: &Changed, gateway: &Gateway) -> Checked {
        let mut orders: Vec<OrderId> = Vec::new();
        let mut products: Vec<ProductId> = Vec::new();
        for (key, row) in changed {
            let before = self.rows.insert(key.clone(), Rc::clone(row));
            self.check_change(before.as_deref(), row)?;
            match key.in_its_shard() {
                RowKey::Order(id) | RowKey::Reservation(id) | RowKey::Payment(id) => {
                    orders.push(*id);
                }
                RowKey::Product(id) => products.push(id.clone()),
                RowKey::Answer(..) | RowKey::InShard(..) => {}
            }
            if let Row::Payment(payment) = row.as_ref()
                && replies::is_definite(payment)
            {
                let records = self.records.len();
                let definite = &mut self.replies.definite;
                definite.entry(payment.order_id).or_insert(records);
            }
        }
        orders.sort_unstable();
        orders.dedup();
        let mut found = Vec::new();
        for order_id in orders {
            let view = self.view(order_id, gateway);
            invariants::check_order(&view, Phase::Commit, &mut found);
        }
        for product_id in products {
            let sum = self.sums.get(&product_id).copied().unwrap_or_default();
            if let Some(product) = self.product(&product_id) {
                invariants::check_product(product, sum, true, &mut found);
                self.ledger.agrees(product)?;
                let (version, units) = crate::reads::seen(product);
                let history = self.stock_history.entry(product_id).or_default();
                history.insert(version, units);
            }
        }
        found.first().map_or(Ok(()), |first| Err(broken(first)))
    }

    fn check_change(&mut self, before: Option<&Row>, after: &Row) -> Checked {
        let (before, after) = (before.map(Row::in_its_shard), after.in_its_shard());
        let verdict = match (before, after) {
            (Some(Row::Order(before)), Row::Order(after)) => {
                terminal_is_final(Some(before), Some(after))
            }
            (Some(Row::Payment(before)), Row::Payment(after)) => {
                payment_is_final(Some(before), Some(after))
            }
            (before, Row::Reservation(after)) => {
                let before = match before {
                    Some(Row::Reservation(before)) => Some(before.as_ref()),
                    _ => None,
                };
                if let Some(before) = before {
                    self.count(before, false);
                }
                self.count(after, true);
                reservation_is_final(before, Some(after))
            }
            (Some(Row::Answer(before)), Row::Answer(after)) => {
                invariants::same_key_same_answer(before, after)
                    .map_err(|why| safety("same_key_same_answer", why))?;
                Ok(())
            }
            _ => Ok(()),
        };
        verdict.map_err(|why| safety("terminal_is_final", format!("{:?}: {why}", after.key())))
    }

    /// Keeps the sums of all reservations by what changes, and not by adding all up anew.
    fn count(&mut self, reservation: &Reservation, comes: bool) {
        for line in reservation.lines.iter() {
            let sum = match self.sums.get_mut(&line.product_id) {
                Some(sum) => sum,
                None => self.sums.entry(line.product_id.clone()).or_default(),
            };
            let part = match reservation.status {
                ReservationStatus::Active => &mut sum.held,
                ReservationStatus::Confirmed => &mut sum.committed,
                _ => continue,
            };
            let quantity = u128::from(line.quantity);
            *part = if comes {
                *part + quantity
            } else {
                part.saturating_sub(quantity)
            };
        }
    }

    /// All that is durable of one order, beside what the gateway says.
    #[must_use]
    pub fn view<'a>(&'a self, order_id: OrderId, gateway: &Gateway) -> OrderView<'a> {
        let payment = self.payment(order_id);
        // An order that has just been confirmed: that its money is taken next is in a journal
        // that has still to read it. Once everything has ended it must have been taken.
        let is_next = payment.is_some_and(|it| it.phase == PaymentPhase::Authorised);
        let mut reservations = self.reservations(order_id).map(|(_, held)| held);
        OrderView {
            order_id,
            order: self.order(order_id),
            reservation: reservations.next(),
            others: reservations.collect(),
            payment,
            gateway: Some(gateway.account(order_id)),
            is_complete: !(self.is_of_cluster && is_next),
        }
    }

    /// The durable order.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<&Order> {
        match self.rows.get(&RowKey::Order(order_id)).map(AsRef::as_ref) {
            Some(Row::Order(order)) => Some(order),
            _ => None,
        }
    }

    /// The durable reservations, each with the shard that has it.
    pub fn reservations(
        &self,
        order_id: OrderId,
    ) -> impl Iterator<Item = (ShardId, &Reservation)> + '_ {
        self.count.each().filter_map(move |shard| {
            let key = RowKey::Reservation(order_id).of_shard(shard);
            match self.rows.get(&key)?.in_its_shard() {
                Row::Reservation(held) => Some((shard.id, held.as_ref())),
                _ => None,
            }
        })
    }

    /// Where the order's stock stands, for people: in each shard that it lies in.
    #[must_use]
    pub fn stock_of(&self, order_id: OrderId) -> Vec<ReservationStatus> {
        let reservations = self.reservations(order_id);
        reservations.map(|(_, held)| held.status).collect()
    }

    /// The durable payment.
    #[must_use]
    pub fn payment(&self, order_id: OrderId) -> Option<&Payment> {
        match self.rows.get(&RowKey::Payment(order_id)).map(AsRef::as_ref) {
            Some(Row::Payment(payment)) => Some(payment),
            _ => None,
        }
    }

    /// The durable product.
    #[must_use]
    pub fn product(&self, product_id: &ProductId) -> Option<&Product> {
        match self
            .rows
            .get(&RowKey::Product(product_id.clone()))
            .map(AsRef::as_ref)
        {
            Some(Row::Product(product)) => Some(product),
            _ => None,
        }
    }

    /// The orders that are durable.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.rows.values().filter_map(|row| match row.as_ref() {
            Row::Order(order) => Some(order.as_ref()),
            _ => None,
        })
    }

    /// What the engine shows must be what the log says. Gives back the shared rows.
    ///
    /// # Errors
    /// The first row that differs.
    pub fn on_publish(&mut self, rows: Vec<Row>) -> Result<Changed, Failure> {
        let Some(expected) = self.unpublished.take() else {
            return Err(safety(
                "output_after_commit",
                "rows are published that no durable record holds",
            ));
        };
        let is_same = expected.len() == rows.len()
            && (expected.iter().zip(&rows)).all(|((_, known), row)| **known == *row);
        if is_same {
            return Ok(expected);
        }
        Err(safety(
            "replay_equals_state",
            publish_differs(&expected, &rows),
        ))
    }

    /// The state in memory must be the fold of the log.
    ///
    /// # Errors
    /// Which participant's differs.
    pub fn same_state<'s>(&self, live: impl Into<States<'s>>, whose: &str) -> Checked {
        same_state(&self.folds[0], live.into(), whose)
    }

    /// The same, of every shard.
    ///
    /// # Errors
    /// Which participant's differs.
    pub fn same_states(&self, live: HostSnapshot, whose: &str) -> Checked {
        for ((shard, fold), live) in self.count.shards().zip(&self.folds).zip(live.shards) {
            let whose = match self.count {
                ShardCount::ONE => whose.to_owned(),
                _ => format!("{whose}, shard {shard}"),
            };
            same_state(fold, States::from(&live.into_parts()), &whose)?;
        }
        Ok(())
    }

    /// The rows that readers see must be those of the log, none missing.
    ///
    /// # Errors
    /// The first that differs.
    pub fn same_rows(&self, shown: &Rows, whose: &str) -> Checked {
        // Both are in order, so one walk over the two shows whether they are the same.
        let is_same = |((key, row), (other_key, other)): ((&RowKey, &Rc<Row>), _)| {
            key == other_key && (Rc::ptr_eq(row, other) || row == other)
        };
        if self.rows.len() == shown.len() && self.rows.iter().zip(shown).all(is_same) {
            return Ok(());
        }
        for (key, row) in &self.rows {
            let Some(other) = shown.get(key) else {
                let why = format!("{whose} has lost {key:?}");
                return Err(safety("acknowledged_is_found", why));
            };
            if !Rc::ptr_eq(row, other) && row != other {
                let why = format!("{whose} has {other:?}, the log says {row:?}");
                return Err(safety("rows_follow_from_log", why));
            }
        }
        for key in shown.keys() {
            if !self.rows.contains_key(key) {
                let why = format!("{whose} has {key:?}, which is in no record");
                return Err(safety("rows_follow_from_log", why));
            }
        }
        Ok(())
    }

    /// Everything that must hold once nothing is under way any more.
    ///
    /// # Errors
    /// The first invariant that is broken.
    pub fn at_rest(&self, phase: Phase, gateway: &Gateway) -> Checked {
        let mut world = invariants::World::default().complete();
        for row in self.rows.values() {
            world.add_row(row);
        }
        let world = world.with_books(&gateway.books);
        let found = invariants::check_all(&world, phase);
        match found.first() {
            Some(first) if first.invariant == invariants::Invariant::EverySagaEnds => Err(
                crate::verdict::liveness("every_saga_ends", first.to_string()),
            ),
            Some(first) => Err(broken(first)),
            None => self.ledger.at_rest(gateway, &self.rows),
        }
    }
}

fn same_state(fold: &Fold, live: States<'_>, whose: &str) -> Checked {
    let folded = fold.states()?;
    let differs = |participant: &str, live: &dyn std::fmt::Debug, folded: &dyn std::fmt::Debug| {
        let why =
            format!("{whose}: the {participant} state is\n  {live:?}\nthe log says\n  {folded:?}");
        Err(safety("replay_equals_state", why))
    };
    if live.order != folded.order {
        return differs("order", &live.order, &folded.order);
    }
    if live.inventory != folded.inventory {
        return differs("inventory", &live.inventory, &folded.inventory);
    }
    if live.payment != folded.payment {
        return differs("payment", &live.payment, &folded.payment);
    }
    Ok(())
}
