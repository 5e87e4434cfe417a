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

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ShardCount, ShardId};
use crate::decider::{Fact, Input};
use crate::inventory::{InventoryEvent, ReleaseReason};
use crate::order::{Order, OrderCommand, OrderEvent, OrderState, SagaState, Shortage, decide_step};
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::time::Timestamp;

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
    fn answer(&self, shard: ShardId, event: &InventoryEvent) -> Option<StockAnswer> {
        let is_again = planted!("answer_of_a_shard_counts_again");
        match (self.parts.get(&shard)?, event) {
            (
                StockPart::Answered(StockAnswer::Held),
                InventoryEvent::ReservationExtended { .. },
            ) if is_again => Some(StockAnswer::Held),
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
            | (
                StockPart::Releasing,
                InventoryEvent::InventoryReleased { .. } | InventoryEvent::Returned { .. },
            ) => Some(StockAnswer::Free),
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

/// The decider of one order shard.
#[derive(Debug, Clone, Copy)]
pub struct OrderShard {
    /// How many inventory shards there are.
    pub count: ShardCount,
}

impl OrderShard {
    /// Decides an input: a step of the saga, or what an inventory shard's answer is good for.
    ///
    /// # Errors
    /// As [`crate::decider::Participant::decide`].
    pub fn decide(
        self,
        state: &OrderState,
        settings: &Settings,
        input: Input<'_, OrderCommand>,
        now: Timestamp,
    ) -> Result<Vec<OrderEvent>, Rejection> {
        let input = match input {
            Input::Sharded {
                from,
                fact: Fact::Inventory(event),
                ..
            } => return Ok(self.on_inventory(state, settings, from, event, now)),
            Input::Sharded { fact, .. } => Input::Upstream(fact),
            input => input,
        };
        let events = decide_step(state, settings, input, now)?;
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
    fn on_inventory(
        self,
        state: &OrderState,
        settings: &Settings,
        shard: ShardId,
        event: &InventoryEvent,
        now: Timestamp,
    ) -> Vec<OrderEvent> {
        let known = event.order_id().and_then(|order_id| {
            let progress = state.stock.get(&order_id)?;
            Some((state.order(order_id)?, progress))
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
        let mut events = vec![OrderEvent::StockAnswered {
            order_id,
            shard,
            answer: answer.clone(),
        }];
        match amounts_to(order, &progress, &answer) {
            Some(Together::GiveUp(stock)) => {
                events.push(OrderEvent::StockGivenUp { order_id, stock });
            }
            Some(Together::Tell(together)) => {
                let input = Input::Upstream(Fact::Inventory(&together));
                // Only commands are refused; the trait says so.
                let steps = decide_step(state, settings, input, now).unwrap_or_default();
                let steps = steps.into_iter();
                events.extend(steps.map(|step| self.ask(Some(&progress), step)));
            }
            None => {}
        }
        events
    }

    /// A step of the saga, with the shards that it asks something of.
    fn ask(self, progress: Option<&StockProgress>, mut step: OrderEvent) -> OrderEvent {
        let those = |which: &dyn Fn(&StockPart) -> bool| {
            progress.map_or_else(Vec::new, |progress| progress.shards(which))
        };
        let stock = match &mut step {
            OrderEvent::OrderCreated { order, .. } => {
                self.count.of_lines(order).into_iter().collect()
            }
            OrderEvent::PaymentRequested { .. } | OrderEvent::CommitRequested { .. } => {
                those(&|_| true)
            }
            OrderEvent::CompensationRequested { undo, .. } => {
                let mut having = those(&StockPart::may_have);
                if planted!("undo_forgets_a_shard") && having.len() > 1 {
                    having.pop();
                }
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
        if stock.is_empty() {
            return step;
        }
        let step = Box::new(step);
        OrderEvent::Asked { step, stock }
    }
}

/// What an event changes of where the stock of its order stands; the saga has taken its step
/// already. Nothing without shards.
pub(crate) fn evolve_stock(state: &mut OrderState, event: &OrderEvent) {
    match event {
        OrderEvent::Asked { step, stock } => {
            let part = match step.as_ref() {
                OrderEvent::OrderCreated { .. } => StockPart::Reserving,
                OrderEvent::CommitRequested { .. } => StockPart::Committing,
                OrderEvent::CompensationRequested { .. } => StockPart::Releasing,
                _ => return,
            };
            let known = step.order_id().and_then(|id| state.order(id));
            let Some(order_id) = known.map(|order| order.order_id) else {
                return;
            };
            let progress = state.stock.entry(order_id).or_default();
            progress.commit_asked |= part == StockPart::Committing;
            progress.set(stock, &part);
        }
        OrderEvent::StockAnswered {
            order_id,
            shard,
            answer,
        } => {
            if let Some(progress) = state.stock.get_mut(order_id) {
                progress.set(&[*shard], &StockPart::Answered(answer.clone()));
            }
        }
        OrderEvent::StockGivenUp { order_id, stock } => {
            if let Some(progress) = state.stock.get_mut(order_id) {
                progress.set(stock, &StockPart::Releasing);
            }
        }
        step if !state.stock.is_empty() => {
            let order = step.order_id().and_then(|id| state.order(id));
            let ended = order.filter(|order| order.saga.is_terminal());
            if let Some(order_id) = ended.map(|order| order.order_id) {
                state.stock.remove(&order_id);
            }
        }
        _ => {}
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
        SagaState::Started
            if progress.all(&StockAnswer::Held)
                || (planted!("one_shard_reserves_for_all") && *answer == StockAnswer::Held) =>
        {
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
            _ if progress.all(&StockAnswer::Sold) || planted!("one_shard_commits_for_all") => {
                InventoryEvent::InventoryCommitted {
                    order_id,
                    retaken: false,
                }
            }
            _ => return None,
        },
        SagaState::Compensating if !is_releasing || planted!("one_shard_releases_for_all") => {
            InventoryEvent::InventoryReleased {
                order_id,
                reason: ReleaseReason::NeverHeld,
            }
        }
        _ => return None,
    };
    Some(Together::Tell(together))
}
