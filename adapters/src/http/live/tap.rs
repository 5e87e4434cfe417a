//! The engine's end of the feed, on the way of every commit.
//!
//! Apart because of what it must not do: it takes no lock, allocates only for changes that
//! somebody will see, and sends into a channel that nobody sleeps on. Under load the channel
//! is full most of the time, and a change then costs one addition.

use std::sync::atomic::Ordering;

use a4co_core::ids::OrderId;
use a4co_core::order::{Order, OrderStatus, SagaState};
use a4co_core::row::Row;
use a4co_core::time::Timestamp;

use super::Feed;

/// Changes that are collected between two looks of the hub; more are counted only.
pub(super) const CHANGES_MAX: usize = 128;

/// An order that has changed, as little of it as a list needs to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Change {
    pub(in crate::http) order_id: OrderId,
    pub(in crate::http) status: OrderStatus,
    pub(in crate::http) saga: SagaState,
    pub(in crate::http) parked: bool,
    pub(in crate::http) updated_at: Timestamp,
    pub(in crate::http) version: u64,
}

/// What the engine tells the feed. Belongs on the engine's thread.
pub struct LiveTap(Feed);

impl LiveTap {
    pub(super) const fn new(feed: Feed) -> Self {
        Self(feed)
    }

    /// These rows have changed, durably.
    pub fn committed(&self, rows: &[Row]) {
        let feed = &self.0.0;
        let is_heard = self.0.is_heard();
        for row in rows {
            let Row::Order(order) = row else { continue };
            if has_just_ended(order) {
                let took = order.updated_at.saturating_since(order.created_at);
                feed.latencies.record(took.get());
            }
            if is_heard && feed.changes.try_send(change(order)).is_err() {
                feed.omitted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// An order that ended earlier may come back into memory; its last step is then older than
/// its last change.
fn has_just_ended(order: &Order) -> bool {
    let last = order.history.last();
    order.saga.is_terminal() && last.is_some_and(|last| last.sequence == order.version)
}

fn change(order: &Order) -> Change {
    Change {
        order_id: order.order_id,
        status: order.status,
        saga: order.saga,
        parked: order.parked,
        updated_at: order.updated_at,
        version: order.version.get(),
    }
}
