//! The auditor's own model, event by event: what each event claims is compared with what
//! clients asked for, what the gateway's books say, and what was claimed before.
//!
//! It calls no decider and folds no state of the core's. What one journal claims of
//! another is asked at the end of the record, since a record does not tell the order
//! between its three journals.

mod money;
mod stock;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use a4co_core::decider::Recorded;
use a4co_core::ids::{OrderId, ParticipantId, ProductId};
use a4co_core::order::{CancelReason, NewOrder, OrderEvent, Undo, UndoPart};
use a4co_core::payment::RefundOrigin;
use a4co_core::record::Record;
use a4co_core::row::Row;
use a4co_core::settings::Settings;
use a4co_core::shards::{JournalId, Shard, ShardCount, ShardId, StockAnswer};
use a4co_core::time::Timestamp;

use self::money::{answered, order_cell, recalled};
use super::Rows;
use crate::coverage::{Cells, Strike};
use crate::gateway::Gateway;
use crate::verdict::{Checked, Failure, safety};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Created,
    Paying,
    Paid,
    Confirmed,
    Failed,
    Undoing,
    Undone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    None,
    Active,
    Sold,
    Gone,
    Expired,
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefundState {
    Owed,
    Done,
    Refused,
}

/// What the ledger knows of one order's stock in one shard.
#[derive(Debug)]
struct Part {
    hold: Hold,
    was_held: bool,
    held: BTreeMap<ProductId, u64>,
    hold_ms: u64,
    expires_at: Timestamp,
    commit_refused: bool,
}

impl Part {
    const fn new() -> Self {
        Self {
            hold: Hold::None,
            was_held: false,
            held: BTreeMap::new(),
            hold_ms: 0,
            expires_at: Timestamp::UNIX_EPOCH,
            commit_refused: false,
        }
    }

    const fn has(&self) -> bool {
        matches!(self.hold, Hold::Active | Hold::Sold)
    }
}

/// What the ledger knows of one order.
#[derive(Debug)]
struct Case {
    body: Option<Arc<NewOrder>>,
    stage: Stage,
    created_at: Timestamp,
    /// One for each shard that its lines lie in.
    parts: BTreeMap<ShardId, Part>,
    /// What inventory shards are said to have answered, the newest of each.
    answered: BTreeMap<ShardId, StockAnswer>,
    given_up: bool,
    payment_asked: Option<i64>,
    payment_deadline: Timestamp,
    payment_known: bool,
    payment_failed: bool,
    payment_cancelled: bool,
    authorised: bool,
    /// The gateway did not give what it had set aside.
    not_taken: bool,
    written_off: bool,
    commit_asked: bool,
    undo: Option<Undo>,
    stock_undone: bool,
    payment_undone: bool,
    captured: i64,
    refunds: Vec<(i64, RefundState, RefundOrigin)>,
}

impl Case {
    fn new() -> Self {
        Self {
            body: None,
            stage: Stage::Created,
            created_at: Timestamp::UNIX_EPOCH,
            parts: BTreeMap::new(),
            answered: BTreeMap::new(),
            given_up: false,
            payment_asked: None,
            payment_deadline: Timestamp::UNIX_EPOCH,
            payment_known: false,
            payment_failed: false,
            payment_cancelled: false,
            authorised: false,
            not_taken: false,
            written_off: false,
            commit_asked: false,
            undo: None,
            stock_undone: false,
            payment_undone: false,
            captured: 0,
            refunds: Vec::new(),
        }
    }

    /// As people read it, who see it where a check fails.
    fn in_words(&self) -> String {
        let mut words = format!(
            "{:?}, stock {:?}, {} asked for, {} captured, {} given back, {} owed back",
            self.stage,
            self.parts
                .values()
                .map(|part| part.hold)
                .collect::<Vec<_>>(),
            self.payment_asked.unwrap_or(0),
            self.captured,
            self.refunds_in(RefundState::Done),
            self.refunds_in(RefundState::Owed),
        );
        let also = [
            (self.authorised, "set aside"),
            (self.not_taken, "not given when it was to be taken"),
            (self.written_off, "written off"),
            (self.payment_failed, "payment failed"),
            (self.payment_cancelled, "payment cancelled"),
            (self.commit_asked, "commit asked for"),
            (self.anywhere(|part| part.commit_refused), "commit refused"),
            (self.given_up, "given up"),
            (
                self.undo.is_some_and(|undo| undo.stock),
                "stock to be undone",
            ),
            (self.stock_undone, "stock undone"),
            (
                self.undo.is_some_and(|undo| undo.payment),
                "payment to be undone",
            ),
            (self.payment_undone, "payment undone"),
        ];
        for (_, also) in also.into_iter().filter(|(is_so, _)| *is_so) {
            words.push_str(", ");
            words.push_str(also);
        }
        words
    }

    /// The shards that its lines lie in.
    fn shards(&self, count: ShardCount) -> BTreeSet<ShardId> {
        let body = self.body.as_deref();
        body.map_or_else(BTreeSet::new, |body| count.of_lines(body))
    }

    /// Is this so in every shard that its lines lie in?
    fn everywhere(&self, count: ShardCount, is_so: impl Fn(&Part) -> bool) -> bool {
        let mut shards = self.shards(count).into_iter();
        shards.all(|shard| self.parts.get(&shard).is_some_and(&is_so))
    }

    fn anywhere(&self, is_so: impl Fn(&Part) -> bool) -> bool {
        self.parts.values().any(is_so)
    }

    fn refunds_in(&self, state: RefundState) -> i64 {
        let of_state = self.refunds.iter().filter(|refund| refund.1 == state);
        of_state.map(|refund| refund.0).sum()
    }
}

/// Units of one product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Units {
    /// In the house.
    pub on_hand: i128,
    /// Promised.
    pub reserved: i128,
    /// Sold.
    pub sold: i128,
}

/// What must be true by the end of the record.
#[derive(Debug, Clone, Copy)]
enum Needs {
    Reserved,
    ShortOfStock,
    /// Captured, or set aside for us to take.
    Paid,
    Confirmed,
    CommitAsked,
    Committed,
    StockUndone,
    PaymentUndone,
    UndoAsked,
    HoldExpired,
    CommitRefused,
    PaymentEnded,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    settings: Settings,
    count: ShardCount,
    cases: BTreeMap<OrderId, Case>,
    stock: BTreeMap<ProductId, Units>,
    /// Stock right after each change of it by a person, by inventory shard and sequence.
    pub stock_at: BTreeMap<(ShardId, u64), Units>,
    /// What clients have sent, by order.
    pub bodies: BTreeMap<OrderId, Vec<Arc<NewOrder>>>,
    /// Orders that somebody asked to cancel.
    pub cancel_asked: BTreeSet<OrderId>,
    /// Orders whose payment somebody asked to write off.
    pub write_off_asked: BTreeSet<OrderId>,
    /// How often each adjustment was made, by its reason.
    pub adjusted: BTreeMap<Arc<str>, u32>,
    needs: Vec<(OrderId, Needs)>,
    /// By [`JournalId::index`].
    last_at: Vec<Timestamp>,
    /// What has been reached.
    pub cells: Cells,
    last_strike: Strike,
}

fn wrong(check: &'static str, order_id: OrderId, why: impl AsRef<str>) -> Failure {
    safety(check, format!("order {order_id}: {}", why.as_ref()))
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(settings: &Settings, count: ShardCount) -> Self {
        Self {
            settings: settings.clone(),
            count,
            cases: BTreeMap::new(),
            stock: BTreeMap::new(),
            stock_at: BTreeMap::new(),
            bodies: BTreeMap::new(),
            cancel_asked: BTreeSet::new(),
            write_off_asked: BTreeSet::new(),
            adjusted: BTreeMap::new(),
            needs: Vec::new(),
            last_at: JournalId::all(count)
                .map(|_| Timestamp::UNIX_EPOCH)
                .collect(),
            cells: Cells::default(),
            last_strike: Strike::Nothing,
        }
    }

    /// Takes in a record of a shard; `rows` are those before it.
    ///
    /// # Errors
    /// The first event that claims what is not so.
    pub fn on_record(
        &mut self,
        id: ShardId,
        record: &Record,
        gateway: &Gateway,
        rows: &Rows,
    ) -> Checked {
        let shard = Shard {
            id,
            count: self.count,
        };
        let journal = |participant| JournalId::new(participant, shard);
        for recorded in &record.order.events {
            self.goes_on(journal(ParticipantId::Order), recorded)?;
            self.on_order(shard, recorded, rows)?;
        }
        for (nth, recorded) in (1..).zip(&record.inventory.events) {
            self.goes_on(journal(ParticipantId::Inventory), recorded)?;
            let sequence = record.inventory.after.get() + nth;
            self.on_inventory(shard, recorded, sequence, rows)?;
        }
        for recorded in &record.payment.events {
            self.goes_on(journal(ParticipantId::Payment), recorded)?;
            self.on_payment(shard, recorded, gateway, rows)?;
        }
        for (order_id, needs) in std::mem::take(&mut self.needs) {
            self.check_needs(order_id, needs, gateway)?;
        }
        Ok(())
    }

    /// Something has gone wrong. Once all faults have ended, nothing does any more.
    pub(crate) fn strike(&mut self, strike: Strike) {
        if self.last_strike != Strike::Healed {
            self.last_strike = strike;
        }
    }

    fn reach(&mut self, stage: Stage, event: u8) {
        self.cells.insert(stage as u8, event, self.last_strike);
    }

    /// When the newest event was decided.
    #[must_use]
    pub fn last_event_at(&self) -> Timestamp {
        self.last_at.iter().copied().max().unwrap_or_default()
    }

    fn goes_on<E: std::fmt::Debug>(
        &mut self,
        journal: JournalId,
        recorded: &Recorded<E>,
    ) -> Checked {
        let journal = journal.index();
        if recorded.at < self.last_at[journal] {
            let why = format!(
                "{:?} was decided at {}, an event before it at {}",
                recorded.event, recorded.at, self.last_at[journal]
            );
            return Err(safety("time_never_goes_back", why));
        }
        self.last_at[journal] = recorded.at;
        Ok(())
    }

    fn case(&mut self, order_id: OrderId) -> &mut Case {
        self.cases.entry(order_id).or_insert_with(Case::new)
    }

    fn part(&mut self, order_id: OrderId, shard: Shard) -> &mut Part {
        let parts = &mut self.case(order_id).parts;
        parts.entry(shard.id).or_insert_with(Part::new)
    }

    fn on_order(&mut self, shard: Shard, recorded: &Recorded<OrderEvent>, rows: &Rows) -> Checked {
        let at = recorded.at;
        let Some(order_id) = recorded.event.order_id() else {
            if let OrderEvent::Answered(record) = &recorded.event {
                return answered(shard, record, rows);
            }
            return Ok(());
        };
        self.in_its_shards(shard, order_id, &recorded.event)?;
        let step = recorded.event.step();
        let is_known = self
            .cases
            .get(&order_id)
            .is_some_and(|case| case.body.is_some());
        if !is_known && !matches!(step, OrderEvent::OrderCreated { .. }) {
            return Err(wrong(
                "model_saga",
                order_id,
                "an event before its creation",
            ));
        }
        let settings = self.settings.clone();
        let stage = self.case(order_id).stage;
        let illegal = |what: &str| wrong("model_saga", order_id, format!("{what} in {stage:?}"));
        self.reach(stage, order_cell(step));
        match step {
            OrderEvent::OrderCreated {
                order, deadline_at, ..
            } => {
                if is_known {
                    return Err(wrong("model_saga", order_id, "created twice"));
                }
                let sent = self.bodies.get(&order_id);
                if !sent.is_some_and(|sent| sent.iter().any(|body| body == order)) {
                    return Err(wrong("model_body", order_id, "nobody sent this order"));
                }
                if *deadline_at != at.saturating_add(settings.saga_timeout_ms) {
                    return Err(wrong("model_time", order_id, "another saga timeout"));
                }
                let case = self.case(order_id);
                case.body = Some(order.clone());
                case.created_at = at;
            }
            OrderEvent::PaymentRequested {
                amount,
                currency,
                deadline_at,
                ..
            } => {
                if stage != Stage::Created {
                    return Err(illegal("payment asked for"));
                }
                if *deadline_at != at.saturating_add(settings.payment_timeout_ms) {
                    return Err(wrong("model_time", order_id, "another payment timeout"));
                }
                let case = self.case(order_id);
                let fits = case
                    .body
                    .as_ref()
                    .is_some_and(|body| body.total == *amount && body.currency == *currency);
                case.payment_asked = Some(amount.minor());
                case.payment_deadline = *deadline_at;
                case.stage = Stage::Paying;
                if !fits {
                    return Err(wrong("model_money", order_id, "another amount is charged"));
                }
                self.needs.push((order_id, Needs::Reserved));
            }
            OrderEvent::CommitRequested { .. } => {
                if stage != Stage::Paying {
                    return Err(illegal("commit asked for"));
                }
                let case = self.case(order_id);
                case.stage = Stage::Paid;
                case.commit_asked = true;
                self.needs.push((order_id, Needs::Paid));
            }
            OrderEvent::OrderConfirmed { .. } => {
                if stage != Stage::Paid {
                    return Err(illegal("confirmed"));
                }
                self.case(order_id).stage = Stage::Confirmed;
                self.needs.push((order_id, Needs::Paid));
                self.needs.push((order_id, Needs::Committed));
            }
            OrderEvent::OrderFailed { .. } => {
                if stage != Stage::Created {
                    return Err(illegal("failed"));
                }
                self.case(order_id).stage = Stage::Failed;
                self.needs.push((order_id, Needs::ShortOfStock));
            }
            OrderEvent::CompensationRequested { reason, undo, .. } => {
                if !matches!(stage, Stage::Created | Stage::Paying | Stage::Paid) {
                    return Err(illegal("undone"));
                }
                let asked = self.cancel_asked.contains(&order_id);
                let case = self.case(order_id);
                let created_at = case.created_at;
                let may_be_paid = case.payment_asked.is_some();
                case.stage = Stage::Undoing;
                case.undo = Some(*undo);
                self.check_reason(order_id, reason, asked, created_at, at)?;
                let ended_there = matches!(
                    reason,
                    CancelReason::PaymentFailed(_) | CancelReason::PaymentTimedOut
                );
                if may_be_paid && !undo.payment && !ended_there {
                    return Err(wrong("model_saga", order_id, "the payment is not undone"));
                }
                let is_gone = matches!(
                    reason,
                    CancelReason::HoldExpired | CancelReason::CommitRefused
                );
                if !undo.stock && !is_gone {
                    return Err(wrong("model_saga", order_id, "the hold is not undone"));
                }
            }
            OrderEvent::UndoAcknowledged { part, .. } => {
                if stage != Stage::Undoing {
                    return Err(illegal("an undo acknowledged"));
                }
                self.needs.push((
                    order_id,
                    match part {
                        UndoPart::Stock => Needs::StockUndone,
                        UndoPart::Payment => Needs::PaymentUndone,
                    },
                ));
                let case = self.case(order_id);
                match part {
                    UndoPart::Stock => case.stock_undone = true,
                    UndoPart::Payment => case.payment_undone = true,
                }
            }
            OrderEvent::OrderCancelled { .. } => {
                let case = self.case(order_id);
                let asked = case.undo.unwrap_or(Undo {
                    stock: true,
                    payment: true,
                });
                let all =
                    (!asked.stock || case.stock_undone) && (!asked.payment || case.payment_undone);
                case.stage = Stage::Undone;
                if stage != Stage::Undoing || !all {
                    return Err(illegal("cancelled with an undo unacknowledged"));
                }
                self.needs.push((order_id, Needs::StockUndone));
                self.needs.push((order_id, Needs::PaymentUndone));
            }
            OrderEvent::SagaParked { .. } | OrderEvent::RetryRequested { .. } => {
                if !matches!(stage, Stage::Paying | Stage::Undoing) {
                    return Err(illegal("parked or nudged"));
                }
            }
            OrderEvent::Recalled(order) => recalled(&Row::Order(order.clone()), rows)?,
            OrderEvent::StockAnswered {
                shard: from,
                answer,
                ..
            } => self.on_answer(order_id, *from, answer)?,
            OrderEvent::StockGivenUp { .. } => {
                let case = self.case(order_id);
                case.given_up = true;
                let is_short = case.anywhere(|part| part.hold == Hold::Short);
                if stage != Stage::Created || !is_short {
                    return Err(illegal("stock given up"));
                }
            }
            OrderEvent::Answered(_) | OrderEvent::Asked { .. } => {}
        }
        Ok(())
    }

    /// An order's events are in its own shard's journal, and ask something only of shards
    /// that its lines lie in: of all of them where all are needed.
    fn in_its_shards(&mut self, shard: Shard, order_id: OrderId, event: &OrderEvent) -> Checked {
        let count = self.count;
        if count.of_order(order_id) != shard.id {
            let why = format!("an event in shard {}", shard.id);
            return Err(wrong("model_shard", order_id, why));
        }
        let lie_in = match event.step() {
            OrderEvent::OrderCreated { order, .. } => count.of_lines(order),
            _ => self.case(order_id).shards(count),
        };
        let asked: BTreeSet<ShardId> = event.asks().iter().copied().collect();
        let needs_all = matches!(
            event.step(),
            OrderEvent::OrderCreated { .. }
                | OrderEvent::PaymentRequested { .. }
                | OrderEvent::CommitRequested { .. }
        );
        let is_right = match count {
            ShardCount::ONE => asked.is_empty(),
            _ if needs_all => asked == lie_in,
            _ => asked.is_subset(&lie_in),
        };
        if !is_right {
            let why = format!("asks {asked:?}, its lines lie in {lie_in:?}: {event:?}");
            return Err(wrong("model_shard", order_id, why));
        }
        Ok(())
    }

    /// What a shard is said to have answered is what its journal says, or said.
    fn on_answer(&mut self, order_id: OrderId, from: ShardId, answer: &StockAnswer) -> Checked {
        let case = self.case(order_id);
        let part = case.parts.get(&from);
        let is_true = part.is_some_and(|part| match answer {
            StockAnswer::Held => part.was_held,
            StockAnswer::Short(_) => part.hold == Hold::Short,
            // Taken back only after this was heard.
            StockAnswer::Sold => part.hold == Hold::Sold,
            StockAnswer::Refused(_) => part.commit_refused,
            StockAnswer::Free => !part.has(),
        });
        let is_again = case.answered.insert(from, answer.clone()) == Some(answer.clone());
        if !is_true || is_again {
            let why = format!("shard {from} is said to have answered {answer:?}: {part:?}");
            let why = if is_again {
                format!("{why}, again")
            } else {
                why
            };
            return Err(wrong("model_shard", order_id, why));
        }
        Ok(())
    }

    fn check_reason(
        &mut self,
        order_id: OrderId,
        reason: &CancelReason,
        asked: bool,
        created_at: Timestamp,
        at: Timestamp,
    ) -> Checked {
        match reason {
            CancelReason::Requested(_) if !asked => {
                return Err(wrong("model_saga", order_id, "cancelled, and nobody asked"));
            }
            CancelReason::SagaTimedOut
                if at < created_at.saturating_add(self.settings.saga_timeout_ms) =>
            {
                return Err(wrong("model_time", order_id, "timed out before its time"));
            }
            CancelReason::HoldExpired => self.needs.push((order_id, Needs::HoldExpired)),
            CancelReason::CommitRefused => self.needs.push((order_id, Needs::CommitRefused)),
            CancelReason::PaymentFailed(_) | CancelReason::PaymentTimedOut => {
                self.needs.push((order_id, Needs::PaymentEnded));
            }
            CancelReason::Requested(_) | CancelReason::SagaTimedOut => {}
        }
        Ok(())
    }
}
