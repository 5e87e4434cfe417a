//! The simulated store: rows that readers see, and what of them a crash leaves.
//!
//! It stands for the embedded view: written after the commit and without a sync of its own,
//! so that after a crash it may be behind the log, or gone.

use std::collections::VecDeque;

use crate::audit::Rows;

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What readers see now.
    pub(crate) shown: Rows,
    /// What a crash leaves.
    saved: Rows,
    /// The record up to which it is saved.
    pub(crate) saved_applied: u64,
    unsaved: VecDeque<(u64, Rows)>,
}

impl Store {
    /// Shows the rows of a record, and saves those that are older than `lag` records.
    pub(crate) fn publish(&mut self, record: u64, rows: Rows, lag: u32) {
        for (key, row) in &rows {
            self.shown.insert(key.clone(), row.clone());
        }
        self.unsaved.push_back((record, rows));
        while self.unsaved.len() > usize::try_from(lag).unwrap_or(0) {
            let Some((record, rows)) = self.unsaved.pop_front() else {
                break;
            };
            self.saved.extend(rows);
            self.saved_applied = record;
        }
    }

    /// The process is gone, and with it what was not saved; or all of it.
    pub(crate) fn crash(&mut self, is_lost: bool) {
        self.unsaved.clear();
        if is_lost {
            self.saved.clear();
            self.saved_applied = 0;
        }
        self.shown = self.saved.clone();
    }

    /// Rows brought up to date from the log, up to this record.
    pub(crate) fn catch_up(&mut self, record: u64, rows: Rows) {
        for (key, row) in &rows {
            self.shown.insert(key.clone(), row.clone());
        }
        self.saved.extend(rows);
        self.saved_applied = self.saved_applied.max(record);
    }
}
