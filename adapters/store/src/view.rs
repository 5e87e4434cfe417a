//! The view: what is published and what is read, on whatever thread.

mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use a4co_core::ids::ProductId;
use a4co_core::inventory::Product;
use a4co_core::order::OrderStatus;
use a4co_core::row::Row;
use a4co_core::time::Timestamp;

use crate::apply::Writer;
use crate::disk::Disk;
use crate::error::{Reason, StoreError};
use crate::inspect;
use crate::keys;
use crate::options::{FaultPoint, Options};
use crate::overlay::Overlay;
use crate::prune::{self, Pruned};
use crate::query::{self, OrderQuery, Page};
use crate::record;
use crate::worker;

/// A view that was opened, and where the log has to be published from.
#[derive(Debug)]
pub struct Opened {
    /// The view.
    pub view: View,
    /// The last sequence that need not be published again; 0 where all must be.
    pub applied: u64,
    /// Why the view is empty, where it was not to be trusted.
    pub why_rebuilt: Option<Reason>,
}

/// How the disk part of the view is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Serving,
    /// There is too little room: nothing is written, everything is readable. It goes on by
    /// itself when there is room.
    Paused {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that must be free.
        floor_bytes: u64,
    },
    /// sled failed. What is in memory is readable, and nearly all else while sled is still
    /// open; it is opened again by itself when there is room.
    Degraded {
        /// What failed.
        why: String,
    },
    /// sled lost rows, or has undecodable ones. What is in memory is readable; it takes a
    /// restart, at which the view is rebuilt from the log.
    NeedsRebuild {
        /// What was found.
        why: String,
    },
}

/// Whether there is room in memory for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// There is.
    Normal,
    /// The bound is passed and the disk does not take more at the moment: what was
    /// published is kept, but no new work should be accepted.
    High,
}

/// Figures for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// The last sequence published.
    pub published: u64,
    /// The last sequence in sled.
    pub applied: u64,
    /// Rows in memory that are not yet in sled.
    pub overlay_rows: usize,
    /// Products.
    pub products: usize,
    /// How the disk part is.
    pub health: Health,
}

/// The rows of the engine's state. Clones are the same view; the last one to go stops its
/// thread, without waiting for what is pending ([`View::close`] does).
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
    worker: Arc<WorkerHandle>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("View").field(&self.metrics()).finish()
    }
}

/// What the view's threads share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) disk: Disk,
    overlay: RwLock<Overlay>,
    products: RwLock<BTreeMap<ProductId, Arc<Product>>>,
    /// Held by lists, so that no generation goes while they look.
    pub(crate) gate: RwLock<()>,
    pub(crate) writer: Mutex<Writer>,
    published: AtomicU64,
    applied: AtomicU64,
    pub(crate) pending: AtomicBool,
    pub(crate) over: AtomicBool,
    state: Mutex<State>,
    /// Something for the writer to do.
    pub(crate) work: Condvar,
    /// The writer has done something.
    pub(crate) done: Condvar,
}

pub(crate) struct State {
    pub(crate) health: Health,
    pub(crate) closing: bool,
    /// Somebody waits: gather no longer.
    pub(crate) hurry: bool,
}

struct WorkerHandle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.abandon();
        self.join();
    }
}

impl WorkerHandle {
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = { thread }.take();
        if let Some(thread) = thread {
            // A panic there has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

impl View {
    /// Opens the view in a folder of its own, or makes it anew where it cannot be trusted.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Folder`] or [`StoreError::NoRoom`]. A damaged
    /// sled is no error.
    pub fn open(folder: &Path, options: Options) -> Result<Opened, StoreError> {
        let mut found = Disk::open(folder, &options)?;
        let loaded = match load(&found.disk) {
            Err(StoreError::Degraded { why } | StoreError::Undecodable { key: why, .. })
                if found.why_rebuilt.is_none() =>
            {
                found.disk.start_empty()?;
                found.applied = 0;
                found.why_rebuilt = Some(Reason::Damaged(why));
                None
            }
            loaded => loaded.ok(),
        };
        let (writer, products) = loaded.unwrap_or_default();
        let health = if found.disk.is_up() {
            Health::Serving
        } else {
            Health::Degraded {
                why: "sled could not be opened".to_owned(),
            }
        };
        let shared = Arc::new(Shared {
            options,
            disk: found.disk,
            overlay: RwLock::default(),
            products: RwLock::new(products),
            gate: RwLock::default(),
            writer: Mutex::new(writer),
            published: AtomicU64::new(found.applied),
            applied: AtomicU64::new(found.applied),
            pending: AtomicBool::new(false),
            over: AtomicBool::new(false),
            state: Mutex::new(State {
                health,
                closing: false,
                hurry: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let thread = worker::start(shared.clone()).map_err(|source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let worker = Arc::new(WorkerHandle {
            shared: shared.clone(),
            thread: Mutex::new(Some(thread)),
        });
        Ok(Opened {
            view: Self { shared, worker },
            applied: found.applied,
            why_rebuilt: found.why_rebuilt,
        })
    }

    /// Deletes everything if the view is past the log's end; to be called before anything
    /// is published. All of the log has to be published then.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn discard_if_beyond(&self, log_end: u64) -> Result<Option<Reason>, StoreError> {
        let applied = self.applied();
        if applied <= log_end {
            return Ok(None);
        }
        self.shared.start_over()?;
        Ok(Some(Reason::BeyondLog { applied, log_end }))
    }

    /// Takes in everything that the record `sequence` of the log changed, each row whole.
    /// Readers see it when this returns. Sequences rise; one that is not above the last is
    /// known already, and nothing is done.
    ///
    /// Waits while too much is in memory and the disk takes more; where it does not, it
    /// returns at once with [`Pressure::High`].
    pub fn publish(&self, sequence: u64, rows: Vec<Row>) -> Pressure {
        let shared = &self.shared;
        if sequence <= self.published() {
            return Pressure::Normal;
        }
        let products = rows.iter().filter_map(|row| match row {
            Row::Product(product) => Some(Arc::new((**product).clone())),
            _ => None,
        });
        let products: Vec<_> = products.collect();
        if !products.is_empty() {
            let mut known = shared.products_mut();
            for product in products {
                known.insert(product.product_id.clone(), product);
            }
        }
        let over = {
            let mut overlay = shared.overlay_mut();
            overlay.publish(sequence, rows);
            shared.published.store(sequence, Ordering::Release);
            shared.is_over(&overlay)
        };
        let woken = !shared.pending.swap(true, Ordering::AcqRel);
        if over {
            shared.over.store(true, Ordering::Release);
            return shared.wait_for_room();
        }
        if woken {
            drop(shared.state());
            shared.work.notify_one();
        }
        Pressure::Normal
    }

    /// The last sequence published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Acquire)
    }

    /// The last sequence whose rows, and all earlier ones, are in sled.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.shared.applied.load(Ordering::Acquire)
    }

    /// Sequences that are published and not applied.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.published().saturating_sub(self.applied())
    }

    /// Waits until a sequence is applied, at most for a time. Says whether it is.
    #[must_use]
    pub fn wait_applied(&self, sequence: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = self.shared.state();
        while self.applied() < sequence {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.closing {
                return self.applied() >= sequence;
            }
            state.hurry = true;
            self.shared.work.notify_one();
            let waited = self.shared.done.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Applies everything, and closes sled. Reads fail from then on, except of what is in
    /// memory.
    ///
    /// # Errors
    /// [`StoreError::ClosedBehind`] where the disk does not take it.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.state().closing = true;
        self.shared.work.notify_one();
        self.worker.join();
        self.shared.disk.close();
        let (applied, published) = (self.applied(), self.published());
        if applied < published {
            return Err(StoreError::ClosedBehind { applied, published });
        }
        Ok(())
    }

    /// Shows every row that has been applied, each as it is or as it became meanwhile. A row
    /// that changes during the look may be left out: look only at what is published again,
    /// from the log, to whoever gets these. Lists go on; what is published is applied later.
    ///
    /// # Errors
    /// [`StoreError::Degraded`] or [`StoreError::Undecodable`].
    pub fn each_row(&self, show: impl FnMut(Row)) -> Result<(), StoreError> {
        inspect::rows(&self.shared.disk, show)
    }

    /// How the disk part is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.state().health.clone()
    }

    /// Whether there is room in memory for more.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        if self.shared.is_over(&self.shared.overlay()) {
            Pressure::High
        } else {
            Pressure::Normal
        }
    }

    /// Figures for whoever watches; cheap.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            published: self.published(),
            applied: self.applied(),
            overlay_rows: self.shared.overlay().rows(),
            products: self.shared.products().len(),
            health: self.health(),
        }
    }

    /// Bytes of the view's files. Looks at each of them.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.shared.disk.size_bytes()
    }

    /// A page of orders, newest first: everything published before this call, and perhaps
    /// more.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn orders(&self, query: &OrderQuery) -> Result<Page, StoreError> {
        query::orders(&self.shared, query)
    }

    /// How many orders have ended with each status, in the order of [`OrderStatus::ALL`];
    /// statuses that are not final count 0. Reads the whole index: for a start.
    ///
    /// # Errors
    /// See [`View::row`].
    pub fn count_ended(&self) -> Result<[u64; OrderStatus::ALL.len()], StoreError> {
        query::count_ended(&self.shared)
    }

    /// Lets go of orders that have ended and were created before `before`, with their
    /// reservations and payments, and of answers that are older than that and than a day.
    /// Looks at no more than `limit` of each.
    ///
    /// # Errors
    /// See [`View::row`]; trying again is safe.
    pub fn prune(
        &self,
        now: Timestamp,
        before: Timestamp,
        limit: usize,
    ) -> Result<Pruned, StoreError> {
        prune::prune(&self.shared, now, before, limit)
    }
}

impl Shared {
    pub(crate) fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn overlay_mut(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn products(&self) -> RwLockReadGuard<'_, BTreeMap<ProductId, Arc<Product>>> {
        self.products.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn products_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<ProductId, Arc<Product>>> {
        self.products
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub(crate) fn set_applied(&self, applied: u64) {
        self.applied.store(applied, Ordering::Release);
    }

    pub(crate) fn is_over(&self, overlay: &Overlay) -> bool {
        overlay.current.rows >= self.options.overlay_rows_max
            || overlay.current.bytes >= self.options.overlay_bytes_max
    }

    /// Waits until the writer takes what is in memory, or cannot.
    fn wait_for_room(&self) -> Pressure {
        let mut state = self.state();
        self.work.notify_one();
        loop {
            if !self.is_over(&self.overlay()) {
                return Pressure::Normal;
            }
            if state.closing || state.health != Health::Serving {
                return Pressure::High;
            }
            state = self
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets what is pending, for a view that nobody uses any more.
    fn abandon(&self) {
        self.pending.store(false, Ordering::Release);
        self.work.notify_one();
    }

    fn start_over(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.start_empty()?;
        *writer = Writer::default();
        self.products_mut().clear();
        *self.overlay_mut() = Overlay::default();
        self.published.store(0, Ordering::Release);
        self.set_applied(0);
        Ok(())
    }
}

type Loaded = (Writer, BTreeMap<ProductId, Arc<Product>>);

fn load(disk: &Disk) -> Result<Loaded, StoreError> {
    let writer = Writer::load(disk)?;
    let mut products = BTreeMap::new();
    disk.with(FaultPoint::Read, |db| {
        for entry in db.scan_prefix([keys::PRODUCT]) {
            let (key, value) = entry?;
            let product = record::decode_product(&key, &value)?;
            products.insert(product.product_id.clone(), Arc::new(product));
        }
        Ok(())
    })?;
    Ok((writer, products))
}
