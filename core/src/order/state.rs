//! An order with its saga, the table of the saga's steps, and how events change it.

mod at_rest;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::command::NewOrder;
use super::event::{CancelReason, OrderEvent, Shortage, Undo, UndoPart};
use crate::decider::Recorded;
use crate::ids::{IdempotencyKey, OrderId, Sequence};
use crate::limits::HISTORY_ENTRIES_MAX;
use crate::row::AnswerRecord;
use crate::shards::{self, StockProgress};
use crate::time::Timestamp;

/// The saga's state, under the names that clients and dashboards know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SagaState {
    /// The order exists; stock has been asked for.
    Started,
    /// Stock is held. Passed through on the way to payment.
    InventoryReserved,
    /// Payment has been asked for.
    PaymentProcessing,
    /// Paid; the stock's commit has been asked for.
    PaymentSucceeded,
    /// Paid and committed. Final.
    Completed,
    /// Stock was short. Final.
    Failed,
    /// Undoing.
    Compensating,
    /// Everything undone. Final.
    Compensated,
}

/// The order's status, as its customer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Being worked on; nothing held yet.
    Pending,
    /// Stock is held, payment is under way.
    InventoryReserved,
    /// Complete.
    Confirmed,
    /// Could not be fulfilled.
    Failed,
    /// Undone.
    Cancelled,
}

impl SagaState {
    /// All of them, in the order of a saga.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::InventoryReserved,
        Self::PaymentProcessing,
        Self::PaymentSucceeded,
        Self::Completed,
        Self::Failed,
        Self::Compensating,
        Self::Compensated,
    ];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::InventoryReserved => "INVENTORY_RESERVED",
            Self::PaymentProcessing => "PAYMENT_PROCESSING",
            Self::PaymentSucceeded => "PAYMENT_SUCCEEDED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Compensating => "COMPENSATING",
            Self::Compensated => "COMPENSATED",
        }
    }

    /// Has the saga ended?
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Compensated)
    }

    /// The one table of the saga: where a step leads from here.
    ///
    /// # Errors
    /// Every pair that is not in the table, by name. `decide` never produces one.
    pub const fn next(self, step: Step) -> Result<Self, IllegalStep> {
        Ok(match (self, step) {
            (Self::Started, Step::InventoryReserved) => Self::InventoryReserved,
            (Self::Started, Step::OutOfStock) => Self::Failed,
            (Self::InventoryReserved, Step::PaymentRequested) => Self::PaymentProcessing,
            (Self::PaymentProcessing, Step::PaymentSucceeded) => Self::PaymentSucceeded,
            (Self::PaymentSucceeded, Step::Confirmed) => Self::Completed,
            (
                Self::Started | Self::PaymentProcessing | Self::PaymentSucceeded,
                Step::CompensationRequested,
            ) => Self::Compensating,
            (Self::Compensating, Step::StockUndone | Step::PaymentUndone) => Self::Compensating,
            // A charge that cannot be cancelled parks before the saga itself gives up.
            (Self::PaymentProcessing | Self::Compensating, Step::Parked | Step::RetryRequested) => {
                self
            }
            (Self::Compensating, Step::Cancelled) => Self::Compensated,
            _ => return Err(IllegalStep { state: self, step }),
        })
    }
}

impl fmt::Display for SagaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl OrderStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::InventoryReserved,
        Self::Confirmed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InventoryReserved => "INVENTORY_RESERVED",
            Self::Confirmed => "CONFIRMED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step of a saga, as its history shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    /// The order was accepted.
    Created,
    /// All lines are held.
    InventoryReserved,
    /// Payment was asked for.
    PaymentRequested,
    /// The money is captured.
    PaymentSucceeded,
    /// The stock is committed and the order complete.
    Confirmed,
    /// Some line was short.
    OutOfStock,
    /// Everything is to be undone.
    CompensationRequested,
    /// Inventory confirmed that it holds nothing.
    StockUndone,
    /// Payment confirmed that nothing is, or stays, charged.
    PaymentUndone,
    /// A step keeps failing and waits for an operator.
    Parked,
    /// An operator asked for another try.
    RetryRequested,
    /// Every undo is acknowledged.
    Cancelled,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::InventoryReserved,
        Self::PaymentRequested,
        Self::PaymentSucceeded,
        Self::Confirmed,
        Self::OutOfStock,
        Self::CompensationRequested,
        Self::StockUndone,
        Self::PaymentUndone,
        Self::Parked,
        Self::RetryRequested,
        Self::Cancelled,
    ];
}

/// A step that the saga's table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saga has no step {step:?} in state {state}")]
pub struct IllegalStep {
    /// The state that the saga was in.
    pub state: SagaState,
    /// The step that was to be taken.
    pub step: Step,
}

/// One line of an order's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// The saga's state after the step.
    pub saga: SagaState,
    /// What happened.
    pub step: Step,
    /// Where in the order journal the event is that says so.
    pub sequence: Sequence,
}

/// What is still owed of a compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoProgress {
    /// What was asked for.
    pub asked: Undo,
    /// Inventory has not yet confirmed.
    pub stock_owed: bool,
    /// Payment has not yet confirmed.
    pub payment_owed: bool,
}

impl UndoProgress {
    /// Would acknowledging `part` leave nothing owed?
    #[must_use]
    pub const fn is_last(&self, part: UndoPart) -> bool {
        match part {
            UndoPart::Stock => !self.payment_owed,
            UndoPart::Payment => !self.stock_owed,
        }
    }
}

/// An order with its saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order.
    pub order_id: OrderId,
    /// What it is about.
    pub order: Arc<NewOrder>,
    /// Where its saga stands.
    pub saga: SagaState,
    /// What its customer sees.
    pub status: OrderStatus,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the saga gives up.
    pub deadline_at: Timestamp,
    /// Was payment ever asked for? If so it has a payment to show.
    pub payment_requested: bool,
    /// What the compensation has to do, once there is one.
    pub undo: Option<UndoProgress>,
    /// Does a step wait for an operator?
    pub parked: bool,
    /// The lines that were short, for a failed order.
    pub shortages: Vec<Shortage>,
    /// Why it was undone, for one that is or will be cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// What happened, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The journal sequence of its last change.
    pub version: Sequence,
}

impl Order {
    fn created(
        order_id: OrderId,
        order: Arc<NewOrder>,
        deadline_at: Timestamp,
        at: Timestamp,
        version: Sequence,
    ) -> Self {
        Self {
            order_id,
            order,
            saga: SagaState::Started,
            status: OrderStatus::Pending,
            created_at: at,
            updated_at: at,
            deadline_at,
            payment_requested: false,
            undo: None,
            parked: false,
            shortages: Vec::new(),
            cancel_reason: None,
            history: alloc::vec![HistoryEntry {
                at,
                saga: SagaState::Started,
                step: Step::Created,
                sequence: version,
            }],
            version,
        }
    }

    /// The order as it was when it was accepted: the first answer that its client got.
    #[must_use]
    pub fn as_created(&self) -> Self {
        let accepted = self.history.first();
        Self::created(
            self.order_id,
            self.order.clone(),
            self.deadline_at,
            self.created_at,
            accepted.map_or(self.version, |accepted| accepted.sequence),
        )
    }

    /// Takes a step of the table, and says whether there is one from here.
    ///
    /// `decide` takes no other (a property test holds it to that); `evolve` is total, so
    /// that an event whose step is not in the table changes nothing.
    #[must_use]
    fn step(&mut self, step: Step, at: Timestamp) -> bool {
        let Ok(next) = self.saga.next(step) else {
            return false;
        };
        self.saga = next;
        self.updated_at = at;
        if self.history.len() < HISTORY_ENTRIES_MAX || next.is_terminal() {
            self.history.push(HistoryEntry {
                at,
                saga: next,
                step,
                sequence: self.version,
            });
        }
        true
    }

    fn apply(&mut self, event: &OrderEvent, at: Timestamp) {
        match event {
            OrderEvent::PaymentRequested { .. } => {
                if self.step(Step::InventoryReserved, at) && self.step(Step::PaymentRequested, at) {
                    self.status = OrderStatus::InventoryReserved;
                    self.payment_requested = true;
                }
            }
            OrderEvent::CommitRequested { .. } => {
                if self.step(Step::PaymentSucceeded, at) {
                    self.parked = false;
                }
            }
            OrderEvent::OrderConfirmed { .. } => {
                if self.step(Step::Confirmed, at) {
                    self.status = OrderStatus::Confirmed;
                }
            }
            OrderEvent::OrderFailed { shortages, .. } => {
                if self.step(Step::OutOfStock, at) {
                    self.status = OrderStatus::Failed;
                    self.shortages.clone_from(shortages);
                }
            }
            OrderEvent::CompensationRequested { reason, undo, .. } => {
                if self.step(Step::CompensationRequested, at) {
                    self.cancel_reason = Some(reason.clone());
                    // Only payment parks. Where nothing is asked of it, nothing is parked.
                    self.parked &= undo.payment;
                    self.undo = Some(UndoProgress {
                        asked: *undo,
                        stock_owed: undo.stock,
                        payment_owed: undo.payment,
                    });
                }
            }
            OrderEvent::UndoAcknowledged { part, .. } => self.acknowledge(*part, at),
            OrderEvent::SagaParked { .. } => {
                if self.step(Step::Parked, at) {
                    self.parked = true;
                }
            }
            OrderEvent::RetryRequested { .. } => {
                if self.step(Step::RetryRequested, at) {
                    self.parked = false;
                }
            }
            OrderEvent::OrderCancelled { .. } => {
                if self.step(Step::Cancelled, at) {
                    self.status = OrderStatus::Cancelled;
                    self.parked = false;
                }
            }
            OrderEvent::OrderCreated { .. }
            | OrderEvent::Answered(_)
            | OrderEvent::Recalled(_)
            | OrderEvent::Asked { .. }
            | OrderEvent::StockAnswered { .. }
            | OrderEvent::StockGivenUp { .. } => {}
        }
    }

    fn acknowledge(&mut self, part: UndoPart, at: Timestamp) {
        let step = match part {
            UndoPart::Stock => Step::StockUndone,
            UndoPart::Payment => Step::PaymentUndone,
        };
        if !self.step(step, at) {
            return;
        }
        // The payment was all that could be parked.
        self.parked &= part == UndoPart::Stock;
        if let Some(undo) = &mut self.undo {
            match part {
                UndoPart::Stock => undo.stock_owed = false,
                UndoPart::Payment => undo.payment_owed = false,
            }
        }
    }
}

/// The fold of the order journal, less what has ended and left memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderState {
    /// Orders in memory.
    pub orders: BTreeMap<OrderId, Box<Order>>,
    /// Kept answers that have not left memory yet.
    pub answers: BTreeMap<IdempotencyKey, Box<AnswerRecord>>,
    /// With several shards: the stock of every order whose saga has not ended.
    pub stock: BTreeMap<OrderId, StockProgress>,
}

impl OrderState {
    /// The order, if it is in memory.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<&Order> {
        self.orders.get(&order_id).map(AsRef::as_ref)
    }

    pub(super) fn evolve(&mut self, recorded: &Recorded<OrderEvent>, sequence: Sequence) {
        self.take_step(recorded.at, recorded.event.step(), sequence);
        shards::evolve_stock(self, &recorded.event);
    }

    fn take_step(&mut self, at: Timestamp, step: &OrderEvent, sequence: Sequence) {
        match step {
            // A step never wraps another, and the others are no steps.
            OrderEvent::Asked { .. }
            | OrderEvent::StockAnswered { .. }
            | OrderEvent::StockGivenUp { .. } => {}
            OrderEvent::OrderCreated {
                order_id,
                order,
                deadline_at,
            } => {
                let created = Order::created(*order_id, order.clone(), *deadline_at, at, sequence);
                self.orders
                    .entry(*order_id)
                    .or_insert_with(|| Box::new(created));
            }
            OrderEvent::Recalled(order) => {
                let mut order = order.clone();
                order.version = sequence;
                self.orders.insert(order.order_id, order);
            }
            OrderEvent::Answered(record) => {
                self.answers.insert(record.key.clone(), record.clone());
            }
            event => {
                let order = event
                    .order_id()
                    .and_then(|order_id| self.orders.get_mut(&order_id));
                if let Some(order) = order {
                    // First, since the history notes it.
                    order.version = sequence;
                    order.apply(event, at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of the table, and no other.
    #[test]
    fn the_saga_table_is_this_one() {
        use SagaState as S;
        use Step as T;
        let legal = [
            (S::Started, T::InventoryReserved, S::InventoryReserved),
            (S::Started, T::OutOfStock, S::Failed),
            (S::Started, T::CompensationRequested, S::Compensating),
            (
                S::InventoryReserved,
                T::PaymentRequested,
                S::PaymentProcessing,
            ),
            (
                S::PaymentProcessing,
                T::PaymentSucceeded,
                S::PaymentSucceeded,
            ),
            (
                S::PaymentProcessing,
                T::CompensationRequested,
                S::Compensating,
            ),
            (S::PaymentProcessing, T::Parked, S::PaymentProcessing),
            (
                S::PaymentProcessing,
                T::RetryRequested,
                S::PaymentProcessing,
            ),
            (S::PaymentSucceeded, T::Confirmed, S::Completed),
            (
                S::PaymentSucceeded,
                T::CompensationRequested,
                S::Compensating,
            ),
            (S::Compensating, T::StockUndone, S::Compensating),
            (S::Compensating, T::PaymentUndone, S::Compensating),
            (S::Compensating, T::Parked, S::Compensating),
            (S::Compensating, T::RetryRequested, S::Compensating),
            (S::Compensating, T::Cancelled, S::Compensated),
        ];
        for state in S::ALL {
            for step in T::ALL {
                let expected = legal
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (state, step))
                    .map_or(Err(IllegalStep { state, step }), |(_, _, to)| Ok(*to));
                assert_eq!(state.next(step), expected, "{state} on {step:?}");
            }
        }
    }

    #[test]
    fn what_has_ended_takes_no_further_step() {
        for state in SagaState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
        {
            for step in Step::ALL {
                assert!(state.next(step).is_err(), "{state} on {step:?}");
            }
        }
    }
}
