//! An inventory shard: the stock of its own products, for the orders of every order shard.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::order::OrderShardEvent;
use super::{ShardCount, ShardId};
use crate::decider::{Fact, Input, Participant, Recorded};
use crate::ids::{OrderId, Sequence};
use crate::inventory::{
    InventoryCommand, InventoryEvent, InventoryParticipant, InventoryState, ReleaseReason,
    ReservationStatus,
};
use crate::order::{NewOrder, OrderEvent};
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::time::Timestamp;

/// An event of an inventory shard's journal. The order of the variants is part of the
/// format at rest: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryShardEvent {
    /// What one inventory alone would have said, of this shard's products.
    Stock(InventoryEvent),
    /// Units that were sold are on hand again: another shard could not sell its part.
    Returned {
        /// The order.
        order_id: OrderId,
        /// Why.
        reason: ReleaseReason,
    },
}

impl InventoryShardEvent {
    /// The order that this event is about; none for products and kept answers.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::Stock(event) => event.order_id(),
            Self::Returned { order_id, .. } => Some(*order_id),
        }
    }
}

/// The decider of one inventory shard. Its state is that of one inventory alone.
#[derive(Debug, Clone, Copy)]
pub struct InventoryShard {
    /// Which one it is.
    pub shard: ShardId,
    /// Of how many.
    pub count: ShardCount,
}

impl InventoryShard {
    /// Decides a command, or a deadline that the state named. What others said comes
    /// through [`Self::on_order`].
    ///
    /// # Errors
    /// As [`Participant::decide`]; and [`Rejection::ProductNotFound`] for a product of
    /// another shard, whose stock would be in two places.
    pub fn decide(
        self,
        state: &InventoryState,
        settings: &Settings,
        input: Input<'_, InventoryCommand>,
        now: Timestamp,
    ) -> Result<Vec<InventoryShardEvent>, Rejection> {
        match input {
            Input::Command(
                InventoryCommand::Define { product_id, .. }
                | InventoryCommand::Adjust { product_id, .. },
            ) if self.count.of_product(product_id) != self.shard => {
                Err(Rejection::ProductNotFound(product_id.clone()))
            }
            Input::Upstream(_) => Ok(Vec::new()),
            input => InventoryParticipant::decide(state, settings, input, now).map(of_stock),
        }
    }

    /// Decides what an order shard's event means here: nothing, unless it names this shard.
    #[must_use]
    pub fn on_order(
        self,
        state: &InventoryState,
        settings: &Settings,
        event: &OrderShardEvent,
        now: Timestamp,
    ) -> Vec<InventoryShardEvent> {
        let alone = |event: &OrderEvent| {
            let input = Input::Upstream(Fact::Order(event));
            // Only commands are refused; the trait says so.
            of_stock(InventoryParticipant::decide(state, settings, input, now).unwrap_or_default())
        };
        let is_sold = |order_id: OrderId| {
            state
                .reservation(order_id)
                .is_some_and(|known| known.status == ReservationStatus::Confirmed)
        };
        match event {
            OrderShardEvent::Saga { event, stock } if stock.contains(&self.shard) => match event {
                OrderEvent::OrderCreated {
                    order_id,
                    order,
                    deadline_at,
                } => alone(&OrderEvent::OrderCreated {
                    order_id: *order_id,
                    order: self.part_of(order),
                    deadline_at: *deadline_at,
                }),
                OrderEvent::CompensationRequested {
                    order_id, reason, ..
                } if is_sold(*order_id) => vec![InventoryShardEvent::Returned {
                    order_id: *order_id,
                    reason: ReleaseReason::Compensation(reason.clone()),
                }],
                event => alone(event),
            },
            // Asked only of an order that was never paid, so nothing of it is sold.
            OrderShardEvent::StockGivenUp { order_id, stock }
                if stock.contains(&self.shard) && !is_sold(*order_id) =>
            {
                of_stock(vec![InventoryEvent::InventoryReleased {
                    order_id: *order_id,
                    reason: ReleaseReason::ShortElsewhere,
                }])
            }
            _ => Vec::new(),
        }
    }

    /// Applies one event. Total, as [`Participant::evolve`] is.
    pub fn evolve(
        self,
        state: &mut InventoryState,
        recorded: &Recorded<InventoryShardEvent>,
        sequence: Sequence,
    ) {
        let at = recorded.at;
        match &recorded.event {
            InventoryShardEvent::Stock(event) => {
                let event = event.clone();
                InventoryParticipant::evolve(state, &Recorded { at, event }, sequence);
            }
            InventoryShardEvent::Returned { order_id, reason } => {
                give_back(state, *order_id, reason, at, sequence);
            }
        }
    }

    /// The order with the lines that lie here, and no others.
    fn part_of(self, order: &Arc<NewOrder>) -> Arc<NewOrder> {
        let mut part = NewOrder::clone(order);
        let lines = order.lines.iter();
        part.lines = lines
            .filter(|line| self.count.of_product(&line.product_id) == self.shard)
            .cloned()
            .collect();
        Arc::new(part)
    }
}

fn of_stock(events: Vec<InventoryEvent>) -> Vec<InventoryShardEvent> {
    events.into_iter().map(InventoryShardEvent::Stock).collect()
}

/// Puts sold units back on hand. Of what is not sold nothing changes.
fn give_back(
    state: &mut InventoryState,
    order_id: OrderId,
    reason: &ReleaseReason,
    at: Timestamp,
    sequence: Sequence,
) {
    let sold = state
        .reservations
        .get_mut(&order_id)
        .filter(|known| known.status == ReservationStatus::Confirmed);
    let Some(known) = sold.map(Box::as_mut) else {
        return;
    };
    known.status = ReservationStatus::Released;
    known.released_at = Some(at);
    known.release_reason = Some(reason.clone());
    known.version = sequence;
    for line in known.lines.iter() {
        if let Some(product) = state.products.get_mut(&line.product_id) {
            product.on_hand = product.on_hand.saturating_add(line.quantity);
            product.sold = product.sold.saturating_sub(line.quantity);
            product.version = sequence;
        }
    }
}
