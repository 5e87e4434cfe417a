//! The simulated store: rows that readers see, and what of them a crash leaves.
//!
//! It stands for the embedded view: written after the commit and without a sync of its own,
//! so that after a crash it may be behind the log, or gone.

use std::collections::VecDeque;
use std::rc::Rc;

use a4co_core::row::{Row, RowKey};

use crate::audit::{Changed, Rows};
use crate::scoreboard::stale_reads;

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What readers see now.
    pub(crate) shown: Rows,
    /// What a crash leaves.
    saved: Rows,
    /// The record up to which it is saved.
    pub(crate) saved_applied: u64,
    /// What is shown and not saved. So `shown` is always `saved` with these on top.
    unsaved: VecDeque<(u64, Changed)>,
    /// With the mistake `stale_read` planted: what each row was before its last change.
    before: Rows,
}

impl Store {
    /// Shows the rows of a record, and saves those that are older than `lag` records.
    pub(crate) fn publish(&mut self, record: u64, rows: Changed, lag: u32) {
        if stale_reads() {
            let known = |key| Some((RowKey::clone(key), self.shown.get(key)?.clone()));
            let before: Vec<_> = rows.iter().filter_map(|(key, _)| known(key)).collect();
            self.before.extend(before);
        }
        self.shown.extend(rows.iter().cloned());
        self.unsaved.push_back((record, rows));
        while self.unsaved.len() > usize::try_from(lag).unwrap_or(0) {
            let Some((record, rows)) = self.unsaved.pop_front() else {
                break;
            };
            self.saved.extend(rows);
            self.saved_applied = record;
        }
    }

    /// What a client reads now.
    pub(crate) fn read(&self, key: &RowKey) -> Option<&Rc<Row>> {
        if stale_reads() {
            return self.before.get(key);
        }
        self.shown.get(key)
    }

    /// The process is gone, and with it what was not saved; or all of it.
    pub(crate) fn crash(&mut self, is_lost: bool) {
        if is_lost {
            self.unsaved.clear();
            self.saved.clear();
            self.shown.clear();
            self.saved_applied = 0;
        }
        for (key, _) in self.unsaved.drain(..).flat_map(|(_, rows)| rows) {
            match self.saved.get(&key) {
                Some(row) => self.shown.insert(key, row.clone()),
                None => self.shown.remove(&key),
            };
        }
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

#[cfg(test)]
mod tests {
    use a4co_core::ids::{ProductId, Sequence};
    use a4co_core::inventory::Product;
    use a4co_core::row::{Row, RowKey};

    use super::*;

    fn rows(product: &str, on_hand: u64) -> Changed {
        let product_id = ProductId::parse(product).expect("a valid id");
        let product = Product {
            product_id: product_id.clone(),
            name: None,
            price: None,
            on_hand,
            reserved: 0,
            sold: 0,
            received: 0,
            version: Sequence::new(1),
        };
        vec![(
            RowKey::Product(product_id),
            Row::Product(Box::new(product)).into(),
        )]
    }

    #[test]
    fn a_crash_takes_exactly_what_was_not_saved() {
        let mut store = Store::default();
        store.publish(1, rows("a", 1), 1);
        store.publish(2, rows("b", 1), 1);
        store.publish(3, rows("b", 2), 2);
        store.publish(4, rows("a", 2), 2);
        assert_eq!(store.saved_applied, 2);
        store.crash(false);
        let left: Rows = rows("a", 1).into_iter().chain(rows("b", 1)).collect();
        assert_eq!(store.shown, left);
        store.crash(true);
        assert_eq!(store.shown, Rows::new());
    }
}
