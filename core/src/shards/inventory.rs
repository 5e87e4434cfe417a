//! An inventory shard: the stock of its own products, for the orders of every order shard.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{ShardCount, ShardId};
use crate::decider::{Fact, Input};
use crate::ids::OrderId;
use crate::inventory::{
    InventoryCommand, InventoryEvent, InventoryState, ReleaseReason, ReservationStatus,
    decide_alone,
};
use crate::order::{NewOrder, OrderEvent};
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::time::Timestamp;

/// The decider of one inventory shard. Its state is that of one inventory alone.
#[derive(Debug, Clone, Copy)]
pub struct InventoryShard {
    /// Which one it is.
    pub shard: ShardId,
    /// Of how many.
    pub count: ShardCount,
}

impl InventoryShard {
    /// Decides an input.
    ///
    /// # Errors
    /// As [`crate::decider::Participant::decide`]; and [`Rejection::ProductNotFound`] for a
    /// product of another shard, whose stock would be in two places.
    pub fn decide(
        self,
        state: &InventoryState,
        settings: &Settings,
        input: Input<'_, InventoryCommand>,
        now: Timestamp,
    ) -> Result<Vec<InventoryEvent>, Rejection> {
        match input {
            Input::Command(
                InventoryCommand::Define { product_id, .. }
                | InventoryCommand::Adjust { product_id, .. },
            ) if self.count.of_product(product_id) != self.shard => {
                Err(Rejection::ProductNotFound(product_id.clone()))
            }
            Input::Sharded {
                fact: Fact::Order(event),
                ..
            } => Ok(self.on_order(state, settings, event, now)),
            input => decide_alone(state, settings, input, now),
        }
    }

    /// Decides what an order shard's event means here: nothing, unless it names this shard.
    fn on_order(
        self,
        state: &InventoryState,
        settings: &Settings,
        event: &OrderEvent,
        now: Timestamp,
    ) -> Vec<InventoryEvent> {
        if !event.asks().contains(&self.shard) {
            return Vec::new();
        }
        let alone = |event: &OrderEvent| {
            let input = Input::Upstream(Fact::Order(event));
            // Only commands are refused; the trait says so.
            decide_alone(state, settings, input, now).unwrap_or_default()
        };
        let is_sold = |order_id: OrderId| {
            state
                .reservation(order_id)
                .is_some_and(|known| known.status == ReservationStatus::Confirmed)
        };
        match event.step() {
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
            } if is_sold(*order_id) && planted!("sold_stock_is_not_returned") => {
                vec![InventoryEvent::InventoryReleased {
                    order_id: *order_id,
                    reason: ReleaseReason::Compensation(reason.clone()),
                }]
            }
            OrderEvent::CompensationRequested {
                order_id, reason, ..
            } if is_sold(*order_id) => vec![InventoryEvent::Returned {
                order_id: *order_id,
                reason: ReleaseReason::Compensation(reason.clone()),
            }],
            // Asked only of an order that was never paid, so nothing of it is sold.
            OrderEvent::StockGivenUp { order_id, .. } if !is_sold(*order_id) => {
                vec![InventoryEvent::InventoryReleased {
                    order_id: *order_id,
                    reason: ReleaseReason::ShortElsewhere,
                }]
            }
            OrderEvent::StockGivenUp { .. } => Vec::new(),
            step => alone(step),
        }
    }

    /// The order with the lines that lie here, and no others.
    fn part_of(self, order: &Arc<NewOrder>) -> Arc<NewOrder> {
        let mut part = NewOrder::clone(order);
        let lines = order.lines.iter();
        part.lines = lines
            .filter(|line| {
                self.count.of_product(&line.product_id) == self.shard
                    || planted!("every_shard_takes_every_line")
            })
            .cloned()
            .collect();
        Arc::new(part)
    }
}

/// The order whose reservation has to be known before an inventory shard decides this.
pub(crate) fn asks_of_what_is_known(event: &OrderEvent, shard: ShardId) -> Option<OrderId> {
    // A new order has no reservation yet, and an ended hold is not extended.
    let is_known = matches!(
        event.step(),
        OrderEvent::CommitRequested { .. }
            | OrderEvent::CompensationRequested { .. }
            | OrderEvent::StockGivenUp { .. }
    );
    let is_asked = is_known && event.asks().contains(&shard);
    is_asked.then(|| event.order_id()).flatten()
}
