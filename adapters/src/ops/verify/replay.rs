//! The journal replayed record by record, with every invariant asked on the way.
//!
//! What is under way is held whole; of what has ended only its marks remain. So the
//! invariants are asked at each commit, of the orders and products that it touched.

use std::collections::{BTreeSet, HashMap, HashSet};

use a4co_core::embedded::{EmbeddedHost, ReplayError};
use a4co_core::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId};
use a4co_core::invariants::{
    self, Invariant, OrderView, Phase, Subject, Violation, check_order, check_product,
};
use a4co_core::inventory::InventoryEvent;
use a4co_core::limits::IDEMPOTENCY_KEPT_MS_MIN;
use a4co_core::order::OrderEvent;
use a4co_core::payment::{Payment, PaymentEvent};
use a4co_core::record::{Record, Snapshot};
use a4co_core::row::{AnswerRecord, Row};
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;

use super::contents::EventCounts;
use super::findings::Findings;
use super::parts::{AllMarks, Part, Parts, sum_of};
use super::totals::Totals;

/// An order of which something is in memory.
#[derive(Debug, Default)]
struct Open {
    /// Nothing of it was ever let go: what is not here does not exist.
    is_complete: bool,
    /// Rows that have left the host's memory before the others.
    left: Parts,
}

/// A kept answer, as far as it is needed to know it again.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerMark {
    pub(super) sum: u32,
    pub(super) is_seen: bool,
    at: Timestamp,
}

/// Names a kept answer in few bytes.
pub(super) type AnswerName = [u8; 16];

/// The state of the replay between two records.
pub(in crate::ops) struct Replay {
    pub(super) host: EmbeddedHost,
    /// History begins with the first record: what the replay does not know never was.
    pub(super) is_whole: bool,
    open: HashMap<OrderId, Open>,
    pub(super) marks: AllMarks,
    pub(super) answers: HashMap<AnswerName, AnswerMark>,
    pub(super) totals: Totals,
    pub(super) events: EventCounts,
    pub(super) last_sequence: u64,
    pub(super) last_event_at: Timestamp,
    /// Rows of later records may be missing in the store.
    store_applied: u64,
    pub(super) late: Late,
}

/// What was changed after the store's last applied record: there it may be as it was.
#[derive(Debug, Default)]
pub(super) struct Late {
    pub(super) orders: HashSet<OrderId>,
    pub(super) products: BTreeSet<ProductId>,
    pub(super) answers: HashSet<AnswerName>,
}

impl Replay {
    /// From the beginning, or from the base that history begins with.
    pub(super) fn new(base: Option<(u64, Snapshot)>, store_applied: u64) -> Self {
        let is_whole = base.is_none();
        let (sequence, state) = base.unwrap_or_default();
        let mut replay = Self {
            host: EmbeddedHost::new(&Settings::default()),
            is_whole,
            open: HashMap::new(),
            marks: AllMarks::new(),
            answers: HashMap::new(),
            totals: Totals::default(),
            events: EventCounts::default(),
            last_sequence: sequence,
            last_event_at: state.latest(),
            store_applied,
            late: Late::default(),
        };
        for row in state.rows() {
            if sequence > store_applied {
                replay.note_late(&row);
            }
            let order_id = match &row {
                Row::Order(order) => order.order_id,
                Row::Reservation(held) => held.order_id,
                Row::Payment(payment) => payment.order_id,
                Row::Product(_) | Row::Answer(_) | Row::InShard(..) => continue,
            };
            replay.open.entry(order_id).or_default();
            let mut parts = Parts::default();
            parts.put(row);
            replay.totals.add(&parts);
        }
        replay.host = EmbeddedHost::from_snapshot(&Settings::default(), state);
        replay
    }

    /// The state that it has come to.
    pub(in crate::ops) fn state(&self) -> Option<Snapshot> {
        self.host.snapshot()
    }

    /// Applies one record, and asks every invariant of what it touched.
    ///
    /// # Errors
    /// [`ReplayError`]: nothing after this record can be judged.
    pub(super) fn apply(
        &mut self,
        sequence: u64,
        record: &Record,
        findings: &mut Findings,
    ) -> Result<(), ReplayError> {
        let touched = touched_orders(record);
        let mut before: Vec<Parts> = touched.iter().map(|id| self.parts(*id)).collect();
        for row in recalled(record) {
            self.take_back(&touched, &mut before, row, findings);
        }
        let rows = self.host.replay(record, true)?;
        self.last_sequence = sequence;
        self.last_event_at = self.last_event_at.max(record.latest());
        self.events.order += record.order.events.len() as u64;
        self.events.inventory += record.inventory.events.len() as u64;
        self.events.payment += record.payment.events.len() as u64;

        let mut changed: HashMap<OrderId, Parts> = HashMap::new();
        let mut products = BTreeSet::new();
        for row in rows {
            if sequence > self.store_applied {
                self.note_late(&row);
            }
            match row {
                Row::Order(ref order) => changed.entry(order.order_id).or_default().put(row),
                Row::Reservation(ref held) => changed.entry(held.order_id).or_default().put(row),
                Row::Payment(ref payment) => {
                    changed.entry(payment.order_id).or_default().put(row);
                }
                Row::Product(product) => {
                    products.insert(product.product_id);
                }
                Row::Answer(answer) => self.keep_answer(&answer, findings),
                // This is the replay of journals without shards.
                Row::InShard(..) => {}
            }
        }
        for (order_id, before) in touched.into_iter().zip(before) {
            let changed = changed.remove(&order_id).unwrap_or_default();
            for held in [&before.reservation, &changed.reservation]
                .into_iter()
                .flatten()
            {
                products.extend(held.lines.iter().map(|line| line.product_id.clone()));
            }
            self.step(order_id, &before, &changed, record, findings);
        }
        for product_id in products {
            self.check_product(&product_id, findings);
        }
        Ok(())
    }

    /// Asks the invariants of the whole once more, and leaves marks of what is under way.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        let ids: Vec<OrderId> = self.open.keys().copied().collect();
        for order_id in ids {
            let parts = self.parts(order_id);
            let is_complete = self
                .open
                .get(&order_id)
                .is_some_and(|open| open.is_complete);
            check(order_id, &parts, is_complete, findings);
            self.marks.entry(order_id).or_default().set(&parts);
        }
        let products: Vec<_> = (self.host.inventory().state().products.keys())
            .cloned()
            .collect();
        for product_id in products {
            self.check_product(&product_id, findings);
        }
    }

    /// All that is known of an order that is under way, the payment first of all.
    pub(super) fn parts(&self, order_id: OrderId) -> Parts {
        let parts = Parts::in_memory(&self.host, order_id);
        match self.open.get(&order_id) {
            Some(open) => parts.or(&open.left),
            None => parts,
        }
    }

    /// A payment that still owes something, or whose order has not ended.
    pub(super) fn open_payment(&self, order_id: OrderId) -> Option<&Payment> {
        let open = self.open.get(&order_id)?;
        let in_memory = self.host.payment().state().payments.get(&order_id);
        in_memory.or(open.left.payment.as_ref()).map(AsRef::as_ref)
    }

    /// A row comes back into memory: it must be as it was when it left.
    fn take_back(
        &mut self,
        touched: &[OrderId],
        before: &mut [Parts],
        row: Row,
        findings: &mut Findings,
    ) {
        let (order_id, part, sum) = match &row {
            Row::Order(order) => (order.order_id, Part::Order, sum_of(order)),
            Row::Reservation(held) => (held.order_id, Part::Reservation, sum_of(held)),
            Row::Payment(payment) => (payment.order_id, Part::Payment, sum_of(payment)),
            Row::Product(_) | Row::Answer(_) | Row::InShard(..) => return,
        };
        let Ok(place) = touched.binary_search(&order_id) else {
            return;
        };
        let left = self.open.get(&order_id).and_then(|open| match part {
            Part::Order => open.left.order.as_ref().map(sum_of),
            Part::Reservation => open.left.reservation.as_ref().map(sum_of),
            Part::Payment => open.left.payment.as_ref().map(sum_of),
        });
        let marked = self.marks.get(&order_id).and_then(|marks| marks.sum(part));
        match left.or(marked) {
            Some(known) if known == sum => {}
            Some(_) => findings.violation(Violation {
                invariant: Invariant::ReplayEqualsState,
                subject: Subject::Order(order_id),
                detail: format!(
                    "its {} was read back from the store otherwise than the journal has it",
                    part.name()
                ),
            }),
            None if self.is_whole => findings.violation(Violation {
                invariant: Invariant::ReplayEqualsState,
                subject: Subject::Order(order_id),
                detail: format!(
                    "its {} was read back from the store, and the journal never had one",
                    part.name()
                ),
            }),
            // It ended before the history that is kept begins, and was not counted.
            None => {
                let mut parts = Parts::default();
                parts.put(row.clone());
                self.totals.add(&parts);
            }
        }
        if let Some(before) = before.get_mut(place) {
            before.put(row);
        }
    }

    /// One order goes from one state to the next.
    fn step(
        &mut self,
        order_id: OrderId,
        before: &Parts,
        changed: &Parts,
        record: &Record,
        findings: &mut Findings,
    ) {
        self.totals.remove(&Parts {
            order: before.order.clone().filter(|_| changed.order.is_some()),
            reservation: (before.reservation.clone()).filter(|_| changed.reservation.is_some()),
            payment: before.payment.clone().filter(|_| changed.payment.is_some()),
        });
        self.totals.add(changed);
        let after = changed.clone().or(before);
        let verdict =
            invariants::terminal_is_final(before.order.as_deref(), after.order.as_deref())
                .and_then(|()| {
                    invariants::reservation_is_final(
                        before.reservation.as_deref(),
                        after.reservation.as_deref(),
                    )
                })
                .and_then(|()| {
                    invariants::payment_is_final(
                        before.payment.as_deref(),
                        after.payment.as_deref(),
                    )
                });
        if let Err(detail) = verdict {
            findings.violation(Violation {
                invariant: Invariant::TerminalIsFinal,
                subject: Subject::Order(order_id),
                detail,
            });
        }
        let was_let_go = self.marks.contains_key(&order_id);
        let is_new = !was_let_go && (self.is_whole || creates(record, order_id));
        let open = self.open.entry(order_id).or_insert_with(|| Open {
            is_complete: is_new,
            left: Parts::default(),
        });
        check(order_id, &after, open.is_complete, findings);
        let in_memory = Parts::in_memory(&self.host, order_id);
        if in_memory.is_empty() {
            self.open.remove(&order_id);
            self.marks.entry(order_id).or_default().set(&after);
        } else {
            open.left = Parts {
                order: after.order.filter(|_| in_memory.order.is_none()),
                reservation: (after.reservation).filter(|_| in_memory.reservation.is_none()),
                payment: after.payment.filter(|_| in_memory.payment.is_none()),
            };
        }
    }

    fn check_product(&self, product_id: &ProductId, findings: &mut Findings) {
        let mut found = Vec::new();
        if let Some(product) = self.host.inventory().state().products.get(product_id) {
            let sum = self.totals.stock_of(product_id);
            check_product(product, sum, self.is_whole, &mut found);
        }
        found.into_iter().for_each(|one| findings.violation(one));
    }

    fn keep_answer(&mut self, answer: &AnswerRecord, findings: &mut Findings) {
        let mark = AnswerMark {
            sum: sum_of(answer),
            is_seen: false,
            at: answer.at,
        };
        let name = answer_name(answer.participant, &answer.key);
        let earlier = self.answers.insert(name, mark);
        let Some(earlier) = earlier.filter(|earlier| earlier.sum != mark.sum) else {
            return;
        };
        // A key may be used anew once its answer need not be kept any more.
        if answer.at.saturating_since(earlier.at).get() < IDEMPOTENCY_KEPT_MS_MIN {
            findings.violation(Violation {
                invariant: Invariant::SameKeySameAnswer,
                subject: Subject::Answer(answer.participant, answer.key.clone()),
                detail: format!("answered at {} and otherwise at {}", earlier.at, answer.at),
            });
        }
    }

    fn note_late(&mut self, row: &Row) {
        match row {
            Row::Order(order) => self.late.orders.insert(order.order_id),
            Row::Reservation(held) => self.late.orders.insert(held.order_id),
            Row::Payment(payment) => self.late.orders.insert(payment.order_id),
            Row::Product(product) => self.late.products.insert(product.product_id.clone()),
            Row::Answer(answer) => {
                let name = answer_name(answer.participant, &answer.key);
                self.late.answers.insert(name)
            }
            Row::InShard(..) => false,
        };
    }
}

fn check(order_id: OrderId, parts: &Parts, is_complete: bool, findings: &mut Findings) {
    let view = OrderView {
        order_id,
        order: parts.order.as_deref(),
        reservation: parts.reservation.as_deref(),
        others: Vec::new(),
        payment: parts.payment.as_deref(),
        gateway: None,
        is_complete,
    };
    let mut found = Vec::new();
    check_order(&view, Phase::Commit, &mut found);
    found.into_iter().for_each(|one| findings.violation(one));
}

/// The orders that a record's events are about, sorted, each once.
pub(super) fn touched_orders(record: &Record) -> Vec<OrderId> {
    let order = record.order.events.iter();
    let inventory = record.inventory.events.iter();
    let payment = record.payment.events.iter();
    let mut ids: Vec<OrderId> = order
        .filter_map(|recorded| recorded.event.order_id())
        .chain(inventory.filter_map(|recorded| recorded.event.order_id()))
        .chain(payment.filter_map(|recorded| recorded.event.order_id()))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn recalled(record: &Record) -> Vec<Row> {
    let order = record
        .order
        .events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            OrderEvent::Recalled(order) => Some(Row::Order(order.clone())),
            _ => None,
        });
    let inventory = record
        .inventory
        .events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            InventoryEvent::Recalled(held) => Some(Row::Reservation(held.clone())),
            _ => None,
        });
    let payment = record
        .payment
        .events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            PaymentEvent::Recalled(payment) => Some(Row::Payment(payment.clone())),
            _ => None,
        });
    order.chain(inventory).chain(payment).collect()
}

fn creates(record: &Record, order_id: OrderId) -> bool {
    record.order.events.iter().any(|recorded| {
        matches!(
            &recorded.event,
            OrderEvent::OrderCreated { order_id: created, .. } if *created == order_id
        )
    })
}

pub(super) fn answer_name(participant: ParticipantId, key: &IdempotencyKey) -> AnswerName {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[participant.code()]);
    hasher.update(key.as_str().as_bytes());
    let mut name = AnswerName::default();
    name.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    name
}
