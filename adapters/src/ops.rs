//! What an operator does with a data folder, or with journals on servers: verify them, back
//! a folder up and restore it, move from the one to the other.
//!
//! ```text
//!  - verify changes nothing that the engine relies on, on a stopped or a running instance;
//!  - backup writes to its target alone, and restore deletes nothing: what was there is
//!    moved aside, and only when that was asked for;
//!  - what a report does not say was checked, was not: it says what was left out, and why.
//! ```
//! Each is a function from plain arguments to a report that can be shown to a person or
//! written as JSON; the command line parses the one and prints the other.

mod backup;
mod cut;
mod folder;
mod manifest;
mod migrate;
mod progress;
mod reconcile;
mod restore;
mod verify;

#[cfg(test)]
mod tests;

pub use self::backup::{Backup, BackupArgs, BackupError, backup};
pub use self::manifest::{MANIFEST_FILE, Manifest, ManifestError, ManifestJournal};
pub use self::migrate::{
    MIGRATION_VERSION, MigrateError, Migrated, Servers, Way, from_nats, to_nats,
};
pub use self::progress::{Bar, Progress, Quiet};
pub use self::reconcile::{Difference, Ours, Reconciliation, compare};
pub use self::restore::{RestoreArgs, RestoreError, Restored, restore};
pub use self::verify::{
    Checked, ClusterReport, Contents, EventCounts, Finding, FindingKind, Findings, JournalCut,
    JournalSummary, MoneySums, SnapshotSummary, StockSummary, VerifyArgs, VerifyError,
    VerifyReport, verify, verify_cluster,
};
