//! An order shard: the saga, over stock that lies in several inventory shards.
//!
//! ```text
//! Reserving ──► Held ──► Committing ──► Sold
//!     │  │        │           │  │        │
//!     │  └►Short  │           │  └►Refused│     one Short: the others release, then FAILED
//!     └──────┬────┴───────────┴───────────┘     one Refused: the others give back, refund
//!            ▼
//!        Releasing ──► Free
//! ```
//! That is one shard's part of one order. The saga is told `reserved` when every part is
//! Held, `committed` when every part is Sold, and `released` when none is Releasing.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::inventory::InventoryShardEvent;
use super::{ShardCount, ShardId};
use crate::decider::{Fact, Input, Participant, Recorded};
use crate::ids::{OrderId, Sequence};
use crate::inventory::{InventoryEvent, ReleaseReason};
use crate::order::{
    Order, OrderCommand, OrderEvent, OrderParticipant, OrderState, SagaState, Shortage,
};
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::time::Timestamp;

/// An event of an order shard's journal. The order of the variants is part of the format
/// at rest: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderShardEvent {
    /// A step of the saga.
    Saga {
        /// The step, which is all that payment reads.
        event: OrderEvent,
        /// The inventory shards that it asks something of, in order of number. Named, so
        /// that the others need not look whether they know the order.
        stock: Vec<ShardId>,
    },
    /// An inventory shard answered, and its part stands elsewhere now.
    StockAnswered {
        /// The order.
        order_id: OrderId,
        /// Whose journal the answer is from.
        shard: ShardId,
        /// What it came to.
        answer: StockAnswer,
    },
    /// A line was short in one shard, so these are asked to hold nothing. The order fails
    /// once they have said so.
    StockGivenUp {
        /// The order.
        order_id: OrderId,
        /// Every shard that holds its part, or may.
        stock: Vec<ShardId>,
    },
}

impl OrderShardEvent {
    /// The order that this event is about; none for a kept answer.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::Saga { event, .. } => event.order_id(),
            Self::StockAnswered { order_id, .. } | Self::StockGivenUp { order_id, .. } => {
                Some(*order_id)
            }
        }
    }

    /// The step of the saga, if it is one.
    #[must_use]
    pub const fn saga(&self) -> Option<&OrderEvent> {
        match self {
            Self::Saga { event, .. } => Some(event),
            Self::StockAnswered { .. } | Self::StockGivenUp { .. } => None,
        }
    }
}

/// What a shard's answer came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockAnswer {
    /// It holds its lines.
    Held,
    /// Lines were short, so that it holds nothing, and never will.
    Short(Vec<Shortage>),
    /// Its lines are sold.
    Sold,
    /// It cannot sell them any more.
    Refused(Vec<Shortage>),
    /// It holds nothing and has sold nothing.
    Free,
}

/// Where one shard's part of an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockPart {
    /// Asked to hold its lines.
    Reserving,
    /// Asked to sell what it holds.
    Committing,
    /// Asked to hold nothing, and to take back what it sold.
    Releasing,
    /// It has answered what it was last asked.
    Answered(StockAnswer),
}

impl StockPart {
    /// Does the shard hold units of the order, or have sold some, as far as can be known?
    #[must_use]
    pub const fn may_have(&self) -> bool {
        !matches!(
            self,
            Self::Answered(StockAnswer::Short(_) | StockAnswer::Refused(_) | StockAnswer::Free)
        )
    }
}

/// Where the stock of one order stands, over all shards that it lies in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockProgress {
    /// Each shard's part.
    pub parts: BTreeMap<ShardId, StockPart>,
    /// Was a commit ever asked for? Then a hold's end is not the end of it: the commit that
    /// comes behind it may take the units again.
    pub commit_asked: bool,
}

impl StockProgress {
    /// What an event of this shard changes for its part; `None`: nothing, as for whatever
    /// comes twice, or after another question was asked.
    fn answer(&self, shard: ShardId, event: &InventoryShardEvent) -> Option<StockAnswer> {
        let part = self.parts.get(&shard)?;
        let event = match event {
            InventoryShardEvent::Stock(event) => event,
            InventoryShardEvent::Returned { .. } => {
                return matches!(part, StockPart::Releasing).then_some(StockAnswer::Free);
            }
        };
        match (part, event) {
            (StockPart::Reserving, InventoryEvent::InventoryReserved { .. }) => {
                Some(StockAnswer::Held)
            }
            (StockPart::Reserving, InventoryEvent::InventoryOutOfStock { shortages, .. }) => {
                Some(StockAnswer::Short(shortages.clone()))
            }
            // Given up for what is short elsewhere; this is short as well, and gets named.
            (StockPart::Releasing, InventoryEvent::InventoryOutOfStock { shortages, .. })
                if !self.shortages().is_empty() =>
            {
                Some(StockAnswer::Short(shortages.clone()))
            }
            (
                StockPart::Reserving | StockPart::Answered(StockAnswer::Held),
                InventoryEvent::InventoryExpired { .. },
            )
            | (StockPart::Releasing, InventoryEvent::InventoryReleased { .. }) => {
                Some(StockAnswer::Free)
            }
            (StockPart::Releasing, InventoryEvent::InventoryExpired { .. })
                if !self.commit_asked =>
            {
                Some(StockAnswer::Free)
            }
            (StockPart::Committing, InventoryEvent::InventoryCommitted { .. }) => {
                Some(StockAnswer::Sold)
            }
            (StockPart::Committing, InventoryEvent::InventoryCommitRefused { shortages, .. }) => {
                Some(StockAnswer::Refused(shortages.clone()))
            }
            _ => None,
        }
    }

    fn set(&mut self, shards: &[ShardId], part: &StockPart) {
        for shard in shards {
            self.parts.insert(*shard, part.clone());
        }
    }

    fn all(&self, answer: &StockAnswer) -> bool {
        self.parts
            .values()
            .all(|part| matches!(part, StockPart::Answered(given) if given == answer))
    }

    fn shards(&self, which: impl Fn(&StockPart) -> bool) -> Vec<ShardId> {
        let parts = self.parts.iter().filter(|(_, part)| which(part));
        parts.map(|(shard, _)| *shard).collect()
    }

    /// Every line that was short, over all shards.
    fn shortages(&self) -> Vec<Shortage> {
        let short = self.parts.values().filter_map(|part| match part {
            StockPart::Answered(StockAnswer::Short(shortages)) => Some(shortages),
            _ => None,
        });
        let mut shortages: Vec<Shortage> = short.flatten().cloned().collect();
        shortages.sort_by(|a, b| a.product_id.cmp(&b.product_id));
        shortages
    }
}

/// The fold of an order shard's journal, less what has ended and left memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderShardState {
    /// The orders with their sagas.
    pub saga: OrderState,
    /// The stock of every order whose saga has not ended.
    pub stock: BTreeMap<OrderId, StockProgress>,
}

/// The decider of one order shard.
#[derive(Debug, Clone, Copy)]
pub struct OrderShard {
    /// How many inventory shards there are.
    pub count: ShardCount,
}

impl OrderShard {
    /// Decides a command, a payment's event, or a deadline that the state named. What
    /// inventory said comes through [`Self::on_inventory`].
    ///
    /// # Errors
    /// As [`Participant::decide`].
    pub fn decide(
        self,
        state: &OrderShardState,
        settings: &Settings,
        input: Input<'_, OrderCommand>,
        now: Timestamp,
    ) -> Result<Vec<OrderShardEvent>, Rejection> {
        if let Input::Upstream(Fact::Inventory(_)) = input {
            return Ok(Vec::new());
        }
        let events = OrderParticipant::decide(&state.saga, settings, input, now)?;
        let asks = |event: OrderEvent| {
            let progress = event
                .order_id()
                .and_then(|order_id| state.stock.get(&order_id));
            self.ask(progress, event)
        };
        Ok(events.into_iter().map(asks).collect())
    }

    /// Decides what an inventory shard's event means; `shard` is the one whose journal it is
    /// from.
    #[must_use]
    pub fn on_inventory(
        self,
        state: &OrderShardState,
        settings: &Settings,
        shard: ShardId,
        event: &InventoryShardEvent,
        now: Timestamp,
    ) -> Vec<OrderShardEvent> {
        let known = event.order_id().and_then(|order_id| {
            let progress = state.stock.get(&order_id)?;
            Some((state.saga.order(order_id)?, progress))
        });
        let Some((order, progress)) = known else {
            return Vec::new();
        };
        let Some(answer) = progress.answer(shard, event) else {
            return Vec::new();
        };
        let mut progress = progress.clone();
        progress.set(&[shard], &StockPart::Answered(answer.clone()));
        let order_id = order.order_id;
        let mut events = vec![OrderShardEvent::StockAnswered {
            order_id,
            shard,
            answer: answer.clone(),
        }];
        match amounts_to(order, &progress, &answer) {
            Some(Together::GiveUp(stock)) => {
                events.push(OrderShardEvent::StockGivenUp { order_id, stock });
            }
            Some(Together::Tell(together)) => {
                let input = Input::Upstream(Fact::Inventory(&together));
                // Only commands are refused; the trait says so.
                let steps = OrderParticipant::decide(&state.saga, settings, input, now);
                let steps = steps.unwrap_or_default().into_iter();
                events.extend(steps.map(|step| self.ask(Some(&progress), step)));
            }
            None => {}
        }
        events
    }

    /// Applies one event. Total, as [`Participant::evolve`] is.
    pub fn evolve(
        self,
        state: &mut OrderShardState,
        recorded: &Recorded<OrderShardEvent>,
        sequence: Sequence,
    ) {
        match &recorded.event {
            OrderShardEvent::Saga { event, stock } => {
                let step = Recorded {
                    at: recorded.at,
                    event: event.clone(),
                };
                OrderParticipant::evolve(&mut state.saga, &step, sequence);
                let Some(order) = event.order_id().and_then(|id| state.saga.order(id)) else {
                    return;
                };
                if order.saga.is_terminal() {
                    state.stock.remove(&order.order_id);
                    return;
                }
                let part = match event {
                    OrderEvent::OrderCreated { .. } => StockPart::Reserving,
                    OrderEvent::CommitRequested { .. } => StockPart::Committing,
                    OrderEvent::CompensationRequested { .. } => StockPart::Releasing,
                    _ => return,
                };
                let progress = state.stock.entry(order.order_id).or_default();
                progress.commit_asked |= part == StockPart::Committing;
                progress.set(stock, &part);
            }
            OrderShardEvent::StockAnswered {
                order_id,
                shard,
                answer,
            } => {
                if let Some(progress) = state.stock.get_mut(order_id) {
                    progress.set(&[*shard], &StockPart::Answered(answer.clone()));
                }
            }
            OrderShardEvent::StockGivenUp { order_id, stock } => {
                if let Some(progress) = state.stock.get_mut(order_id) {
                    progress.set(stock, &StockPart::Releasing);
                }
            }
        }
    }

    /// A step of the saga, with the shards that it asks something of.
    fn ask(self, progress: Option<&StockProgress>, mut event: OrderEvent) -> OrderShardEvent {
        let those = |which: &dyn Fn(&StockPart) -> bool| {
            progress.map_or_else(Vec::new, |progress| progress.shards(which))
        };
        let stock = match &mut event {
            OrderEvent::OrderCreated { order, .. } => {
                self.count.of_lines(order).into_iter().collect()
            }
            OrderEvent::PaymentRequested { .. } | OrderEvent::CommitRequested { .. } => {
                those(&|_| true)
            }
            OrderEvent::CompensationRequested { undo, .. } => {
                let having = those(&StockPart::may_have);
                // The saga knows of one answer, by which nothing is held: elsewhere it may be.
                undo.stock |= !having.is_empty();
                match undo.stock {
                    // Nothing is held anywhere, and the saga wants to hear it said.
                    true if having.is_empty() => those(&|_| true),
                    _ => having,
                }
            }
            _ => Vec::new(),
        };
        OrderShardEvent::Saga { event, stock }
    }
}

/// What the shards' answers amount to.
enum Together {
    /// The one answer that the saga waits for.
    Tell(InventoryEvent),
    /// Some line was short, and these may hold others.
    GiveUp(Vec<ShardId>),
}

/// What all answers amount to, of which `answer` is the newest; `None`: others are still to
/// come.
fn amounts_to(order: &Order, progress: &StockProgress, answer: &StockAnswer) -> Option<Together> {
    let order_id = order.order_id;
    let shortages = progress.shortages();
    let is_releasing = !progress
        .shards(|part| *part == StockPart::Releasing)
        .is_empty();
    let together = match order.saga {
        SagaState::Started if !shortages.is_empty() => {
            let having = progress.shards(|part| part.may_have() && *part != StockPart::Releasing);
            if !having.is_empty() {
                return Some(Together::GiveUp(having));
            }
            if is_releasing {
                return None;
            }
            InventoryEvent::InventoryOutOfStock {
                order_id,
                shortages,
            }
        }
        SagaState::Started if progress.all(&StockAnswer::Held) => {
            // The saga asks only whether. What is held, each shard's journal says.
            InventoryEvent::InventoryReserved {
                order_id,
                lines: [].into(),
                hold_ms: crate::time::Millis::new(0),
                expires_at: order.deadline_at,
            }
        }
        SagaState::Started | SagaState::PaymentProcessing if *answer == StockAnswer::Free => {
            InventoryEvent::InventoryExpired { order_id }
        }
        SagaState::PaymentSucceeded => match answer {
            StockAnswer::Refused(shortages) => InventoryEvent::InventoryCommitRefused {
                order_id,
                shortages: shortages.clone(),
            },
            _ if progress.all(&StockAnswer::Sold) => InventoryEvent::InventoryCommitted {
                order_id,
                retaken: false,
            },
            _ => return None,
        },
        SagaState::Compensating if !is_releasing => InventoryEvent::InventoryReleased {
            order_id,
            reason: ReleaseReason::NeverHeld,
        },
        _ => return None,
    };
    Some(Together::Tell(together))
}
