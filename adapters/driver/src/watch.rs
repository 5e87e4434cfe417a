//! Waiting for something to end: a saga, or a refund.
//!
//! Whoever waits registers before it sends its command; the loop tells it when a commit
//! shows the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a4co_core::ids::OrderId;
use a4co_core::order::Order;
use a4co_core::payment::{Payment, RefundStatus};
use a4co_core::row::Row;
use tokio::sync::oneshot;

use crate::planted::planted;

/// Those who wait, by order.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    waiting: Arc<Mutex<Waiting>>,
}

/// Waits until more refunds than this have ended.
type RefundWatch = (usize, oneshot::Sender<Box<Payment>>);

#[derive(Debug, Default)]
struct Waiting {
    orders: HashMap<OrderId, Vec<oneshot::Sender<Box<Order>>>>,
    payments: HashMap<OrderId, Vec<RefundWatch>>,
}

impl Watches {
    /// Resolves with the order as it was when its saga ended, if that is still to come.
    /// It does not tell that the engine has stopped: wait for that as well, and for no
    /// longer than you have time.
    #[must_use]
    pub fn order_end(&self, order_id: OrderId) -> oneshot::Receiver<Box<Order>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let queue = waiting.orders.entry(order_id).or_default();
        queue
            .retain(|sender| !sender.is_closed() && !planted!("second_watcher_replaces_the_first"));
        queue.push(sender);
        receiver
    }

    /// Resolves with the payment once more than `ended` of its refunds have ended.
    #[must_use]
    pub fn refund_end(&self, order_id: OrderId, ended: usize) -> oneshot::Receiver<Box<Payment>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let queue = waiting.payments.entry(order_id).or_default();
        queue.retain(|(_, sender)| !sender.is_closed());
        queue.push((ended, sender));
        receiver
    }

    /// Nobody waits for this order any more.
    pub fn forget(&self, order_id: OrderId) {
        let mut waiting = self.lock();
        if let Some(queue) = waiting.orders.get_mut(&order_id) {
            queue.retain(|sender| !sender.is_closed());
            if queue.is_empty() {
                waiting.orders.remove(&order_id);
            }
        }
        if let Some(queue) = waiting.payments.get_mut(&order_id) {
            queue.retain(|(_, sender)| !sender.is_closed());
            if queue.is_empty() {
                waiting.payments.remove(&order_id);
            }
        }
    }

    /// Does anybody wait for this order's end?
    pub(crate) fn is_awaited(&self, order_id: OrderId) -> bool {
        self.lock().orders.contains_key(&order_id)
    }

    /// Tells those who wait for what these rows show. Readers must see it by now.
    pub(crate) fn tell(&self, rows: &[Row]) {
        let mut waiting = self.lock();
        for row in rows {
            match row {
                Row::Order(order) if order.saga.is_terminal() => {
                    for sender in waiting.orders.remove(&order.order_id).into_iter().flatten() {
                        // Whoever gave up waiting has dropped its end.
                        let _ = sender.send(order.clone());
                    }
                }
                Row::Payment(payment) => waiting.tell_payment(payment),
                _ => {}
            }
        }
    }

    /// The mistake that once was here: who waits is looked up before readers see the rows.
    pub(crate) fn taken_early(&self, rows: &[Row]) -> Self {
        let early = Self::default();
        let (mut from, mut to) = (self.lock(), early.lock());
        for row in rows {
            if let Row::Order(order) = row
                && let Some(waiting) = from.orders.remove(&order.order_id)
            {
                to.orders.insert(order.order_id, waiting);
            }
        }
        drop(to);
        early
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn tell_payment(&mut self, payment: &Payment) {
        let Some(queue) = self.payments.remove(&payment.order_id) else {
            return;
        };
        let is_ended = |status: &RefundStatus| *status != RefundStatus::Pending;
        let ended = payment
            .refunds
            .iter()
            .filter(|refund| is_ended(&refund.status))
            .count();
        let (told, still): (Vec<_>, Vec<_>) =
            queue.into_iter().partition(|(before, _)| ended > *before);
        for (_, sender) in told {
            let _ = sender.send(Box::new(payment.clone()));
        }
        if !still.is_empty() {
            self.payments.insert(payment.order_id, still);
        }
    }
}
