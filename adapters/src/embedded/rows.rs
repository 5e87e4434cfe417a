//! The store as the driver's port.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use a4co_core::row::{Row, RowKey};
use a4co_driver::ports::{RowSink, Rows};
use a4co_store::{Pressure, StoreError, View};
use tokio::runtime::Handle;

use super::DiskState;

/// How long to wait before a row that could not be read is tried again.
const UNREADABLE_RETRY: Duration = Duration::from_millis(100);

/// The view, with the runtime on whose blocking threads rows are fetched.
#[derive(Debug)]
pub(crate) struct ViewRows {
    view: View,
    disk: Arc<DiskState>,
    runtime: Handle,
}

impl ViewRows {
    pub(crate) const fn new(view: View, disk: Arc<DiskState>, runtime: Handle) -> Self {
        Self {
            view,
            disk,
            runtime,
        }
    }
}

impl Rows for ViewRows {
    fn publish(&mut self, sequence: u64, rows: Vec<Row>) {
        let is_behind = self.view.publish(sequence, rows) == Pressure::High;
        self.disk
            .store_is_behind
            .store(is_behind, Ordering::Release);
    }

    fn fetch(&self, keys: Vec<RowKey>, sink: &Arc<dyn RowSink>) {
        let (view, sink) = (self.view.clone(), sink.clone());
        self.runtime.spawn(async move {
            let mut missing = keys;
            while !missing.is_empty() {
                let view = view.clone();
                let looked_up = tokio::task::spawn_blocking(move || look_up(&view, missing)).await;
                // Fails only when the runtime ends, and the engine with it.
                let Ok(looked_up) = looked_up else { return };
                missing = Vec::new();
                for (key, row) in looked_up {
                    match row {
                        Ok(row) => sink.fetched(key, row),
                        Err(error) => {
                            tracing::warn!(?key, %error, "a row could not be read; trying again");
                            missing.push(key);
                        }
                    }
                }
                if !missing.is_empty() {
                    tokio::time::sleep(UNREADABLE_RETRY).await;
                }
            }
        });
    }
}

type LookedUp = (RowKey, Result<Option<Row>, StoreError>);

fn look_up(view: &View, keys: Vec<RowKey>) -> Vec<LookedUp> {
    let look = |key| {
        let row = view.row(&key);
        (key, row)
    };
    keys.into_iter().map(look).collect()
}
