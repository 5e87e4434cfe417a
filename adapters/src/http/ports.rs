//! What HTTP needs from the rest of the process: reads, watches, and whether it is ready.
//!
//! ```text
//! What the other side owes HTTP
//!  - a read shows only what is durable;
//!  - a read shows an end no later than the watch for it fires, and a watch that is
//!    registered before a read which does not show the end yet always fires: register
//!    first, then look, and no end is missed;
//!  - no read but a page of orders blocks for longer than one look into the store.
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use a4co_core::command::{Command, Reply};
use a4co_core::ids::{CustomerId, OrderId, ProductId};
use a4co_core::inventory::{Product, Reservation};
use a4co_core::order::{Order, OrderStatus, SagaState};
use a4co_core::payment::Payment;
use a4co_core::time::Timestamp;
use a4co_driver::{EngineHandle, SubmitError, Watches};
use a4co_store::{CursorError, StoreError, View};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::cluster::Member;
use crate::metrics::ParkedPayments;
use crate::nats::DeadLetters;

/// Reads of committed state.
pub trait ReadModel: Send + Sync + 'static {
    /// The order.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn order(&self, order_id: OrderId) -> Result<Option<Arc<Order>>, ReadError>;

    /// The reservation of an order.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn reservation(&self, order_id: OrderId) -> Result<Option<Arc<Reservation>>, ReadError>;

    /// The payment of an order.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn payment(&self, order_id: OrderId) -> Result<Option<Arc<Payment>>, ReadError>;

    /// The product. Asked for each line of each order, so it should come from memory.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn product(&self, product_id: &ProductId) -> Result<Option<Arc<Product>>, ReadError>;

    /// All products, in order of id.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn products(&self) -> Result<Vec<Arc<Product>>, ReadError>;

    /// A page of orders, newest first. May take a while: it is called where blocking is fine.
    ///
    /// # Errors
    /// [`ReadError::BadCursor`] for a cursor that this store did not give out,
    /// [`ReadError::Unavailable`].
    fn orders(&self, query: &OrderQuery) -> Result<OrderPage, ReadError>;
}

/// Which orders are wanted. What is `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderQuery {
    /// Only those with this status.
    pub status: Option<OrderStatus>,
    /// Only those of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only those whose saga is in this state.
    pub saga: Option<SagaState>,
    /// Only those whose saga waits for an operator, or only those whose saga does not.
    pub parked: Option<bool>,
    /// Only those with a line of this product.
    pub product_id: Option<ProductId>,
    /// Only those created then or later.
    pub created_from: Option<Timestamp>,
    /// Only those created then or earlier.
    pub created_to: Option<Timestamp>,
    /// Rows of the page, 1 to 100.
    pub limit: usize,
    /// Where the page before this one ended, as [`OrderPage::next`] had it.
    pub cursor: Option<String>,
}

/// A page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderPage {
    /// The orders, newest first.
    pub orders: Vec<Arc<Order>>,
    /// Leads to the next page; `None` when this is the last.
    pub next: Option<String>,
}

/// Why nothing could be read. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The cursor was not given out by this store. Start again without one.
    #[error("the cursor is not one that this service gave out")]
    BadCursor,
    /// The store could not be read. Trying again may help.
    #[error("the store could not be read: {0}")]
    Unavailable(String),
}

/// Takes commands, wherever they are decided.
pub trait Commands: Send + Sync + 'static {
    /// Hands a command in and waits until its outcome is durable.
    ///
    /// # Errors
    /// [`SubmitError`].
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, SubmitError>>;
}

impl Commands for EngineHandle {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, SubmitError>> {
        Box::pin(Self::submit(self, command))
    }
}

/// Reads that may be behind what a client was told by another process.
pub trait Positioned: Send + Sync + 'static {
    /// A position that is not before anything that this process has answered.
    fn position(&self) -> String;

    /// Waits until reads are as far as a position.
    ///
    /// # Errors
    /// [`PositionError`].
    fn wait<'a>(&'a self, position: &'a str) -> BoxFuture<'a, Result<(), PositionError>>;
}

/// The processes of a cluster.
pub trait Members: Send + Sync + 'static {
    /// This process.
    fn host(&self) -> String;

    /// Every process that answers within a moment.
    fn members(&self) -> BoxFuture<'_, Vec<Member>>;
}

/// Why a read does not show what a position stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// It is not the text of a position.
    #[error("the position is not one that this service gave out")]
    Malformed,
    /// This process has not come as far in time. Try again, or ask another process.
    #[error("this process has not seen that position yet")]
    Behind,
}

/// The engine, as HTTP sees it. There is none while the process recovers.
#[derive(Clone)]
pub struct Ports {
    /// Takes commands.
    pub engine: Arc<dyn Commands>,
    /// Answers reads.
    pub reads: Arc<dyn ReadModel>,
    /// Tells of ends.
    pub watches: Watches,
    /// How far reads are, where they may be behind commands: in a cluster.
    pub positions: Option<Arc<dyn Positioned>>,
    /// The processes that share the journals: in a cluster.
    pub cluster: Option<Arc<dyn Members>>,
    /// What consumers of the public events gave up on, where these go to NATS.
    pub dead_letters: Option<DeadLetters>,
    /// Which payments wait for an operator.
    pub parked_payments: ParkedPayments,
}

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Replaying what is durable; nothing can be asked yet.
    Recovering = 0,
    /// Serving.
    Ready = 1,
    /// Finishing what is under way before the end.
    Draining = 2,
}

/// What `/health/ready` says, set by whoever runs the engine. Starts out recovering.
#[derive(Debug)]
pub struct Readiness {
    phase: AtomicU8,
    journal_writable: AtomicBool,
    store_degraded: AtomicBool,
    changed: Notify,
}

/// The view of the store is what production reads.
impl ReadModel for View {
    fn order(&self, order_id: OrderId) -> Result<Option<Arc<Order>>, ReadError> {
        Ok(Self::order(self, order_id)?)
    }

    fn reservation(&self, order_id: OrderId) -> Result<Option<Arc<Reservation>>, ReadError> {
        Ok(Self::reservation(self, order_id)?)
    }

    fn payment(&self, order_id: OrderId) -> Result<Option<Arc<Payment>>, ReadError> {
        Ok(Self::payment(self, order_id)?)
    }

    fn product(&self, product_id: &ProductId) -> Result<Option<Arc<Product>>, ReadError> {
        Ok(Self::product(self, product_id))
    }

    fn products(&self) -> Result<Vec<Arc<Product>>, ReadError> {
        Ok(Self::products(self))
    }

    fn orders(&self, query: &OrderQuery) -> Result<OrderPage, ReadError> {
        let cursor = query.cursor.as_deref().map(str::parse).transpose();
        let query = a4co_store::OrderQuery {
            status: query.status,
            customer: query.customer_id.clone(),
            saga: query.saga,
            parked: query.parked,
            product: query.product_id.clone(),
            created_from: query.created_from,
            created_to: query.created_to,
            limit: query.limit,
            cursor: cursor.map_err(|_: CursorError| ReadError::BadCursor)?,
        };
        let page = Self::orders(self, &query)?;
        Ok(OrderPage {
            orders: page.orders,
            next: page.next.map(|cursor| cursor.to_string()),
        })
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Recovering as u8),
            journal_writable: AtomicBool::new(true),
            store_degraded: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl Readiness {
    /// Where the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Recovering,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Recovery has finished.
    pub fn set_ready(&self) {
        self.enter(Phase::Ready);
    }

    /// The end is near: answers that wait for a saga leave now.
    pub fn set_draining(&self) {
        self.enter(Phase::Draining);
    }

    /// Can the journal be appended to?
    pub fn set_journal_writable(&self, writable: bool) {
        self.journal_writable.store(writable, Ordering::Release);
    }

    /// Can the journal be appended to?
    #[must_use]
    pub fn journal_writable(&self) -> bool {
        self.journal_writable.load(Ordering::Acquire)
    }

    /// Is the store behind or being rebuilt? Reads may then be old; commands are not affected.
    pub fn set_store_degraded(&self, degraded: bool) {
        self.store_degraded.store(degraded, Ordering::Release);
    }

    /// Is the store behind or being rebuilt?
    #[must_use]
    pub fn store_degraded(&self) -> bool {
        self.store_degraded.load(Ordering::Acquire)
    }

    /// May new work be sent here?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Ready && self.journal_writable()
    }

    /// Resolves once recovery is over.
    pub async fn recovered(&self) {
        self.until(|phase| phase != Phase::Recovering).await;
    }

    /// Resolves once the process is draining.
    pub async fn drained(&self) {
        self.until(|phase| phase == Phase::Draining).await;
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    async fn until(&self, is_there: impl Fn(Phase) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if is_there(self.phase()) {
                return;
            }
            changed.await;
        }
    }
}
