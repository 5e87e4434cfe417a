//! The rebuildable store.
