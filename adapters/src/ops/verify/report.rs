//! What a check of a data folder comes to, for people and for scripts.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::contents::Contents;
use super::findings::{FindingKind, Findings};

/// Findings that a person is shown.
const SHOWN_MAX: usize = 50;

/// What to do about findings.
const ADVICE: &str = "Keep a copy of the data folder. `a4co restore` puts a backup in its place; a store that \
                      differs is rebuilt when its folder is moved away.";

/// What a check found, and what it did not look at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Whether a process was running on it.
    pub is_running: bool,
    /// The log's files.
    pub journal: JournalSummary,
    /// What it replays to.
    #[serde(flatten)]
    pub contents: Contents,
    /// The store against the replay.
    pub store: Checked,
    /// The sandbox gateway's books against the payments.
    pub gateway_books: Checked,
    /// Everything that is wrong.
    pub findings: Findings,
}

/// The log's files.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalSummary {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Records replayed: those after the base.
    pub records_replayed: u64,
    /// Bytes of the records' payloads.
    pub payload_bytes: u64,
    /// The last record that was replayed; of a damaged log, the last one that is intact.
    pub last_sequence: u64,
    /// The record that the kept history begins after; 0: it is all there.
    pub base_sequence: u64,
    /// The chain hash after that record.
    pub chain_hash: String,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotSummary>,
    /// An unfinished record at the end, which was never acknowledged.
    pub torn_tail: Option<String>,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSummary {
    /// The record that it stands at.
    pub sequence: u64,
    /// Whether history before it was let go.
    pub is_base: bool,
    /// Whether the replay came to the same state; none where it was not compared: the base
    /// is what the replay begins with, and a snapshot may go while it is looked for.
    pub equals_replay: Option<bool>,
}

/// Whether a part was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Checked {
    /// It was; what differs is among the findings.
    Compared {
        /// Rows, or orders, that were looked at.
        items: u64,
        /// Of those, how many are older than the history that is kept, so that there was
        /// nothing to compare them with.
        without_history: u64,
    },
    /// It was not.
    NotChecked {
        /// Why not.
        why: String,
    },
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A table for people.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = if self.is_running {
            "a process is running on it"
        } else {
            "stopped"
        };
        line(
            f,
            "data folder",
            format_args!("{} ({running})", self.data_dir.display()),
        )?;
        self.write_journal(f)?;
        write!(f, "{}", self.contents)?;
        checked(f, "store", "rows", &self.store)?;
        checked(f, "gateway books", "orders", &self.gateway_books)?;
        write_findings(f, &self.findings, ADVICE)
    }
}

impl VerifyReport {
    fn write_journal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = &self.journal;
        let base = match journal.base_sequence {
            0 => String::new(),
            base => format!(", history kept after record {base}"),
        };
        let text = format_args!(
            "{} records in {} segments, {} bytes, the last is {}{base}",
            journal.records, journal.segments, journal.payload_bytes, journal.last_sequence
        );
        line(f, "journal", text)?;
        for one in &journal.snapshots {
            let how = match (one.equals_replay, one.is_base) {
                (Some(true), _) => "equals the replay",
                (Some(false), _) => "DIFFERS from the replay",
                (None, true) => "the replay began with it",
                (None, false) => "not compared",
            };
            line(
                f,
                "snapshot",
                format_args!("at record {}: {how}", one.sequence),
            )?;
        }
        if let Some(torn) = &journal.torn_tail {
            line(f, "unfinished end", format_args!("{torn}"))?;
        }
        Ok(())
    }
}

/// What was found, and what to do about it.
pub(super) fn write_findings(
    f: &mut fmt::Formatter<'_>,
    findings: &Findings,
    advice: &str,
) -> fmt::Result {
    if findings.is_empty() {
        return write!(f, "\nNothing is wrong with what was checked.");
    }
    writeln!(f, "\n{} found:", findings.total)?;
    for finding in findings.listed.iter().take(SHOWN_MAX) {
        let kind = match finding.kind {
            FindingKind::Damage => "damage    ",
            FindingKind::Difference => "difference",
        };
        writeln!(f, "  {kind}  {finding}")?;
    }
    let hidden = findings.total.saturating_sub(SHOWN_MAX as u64);
    if hidden > 0 {
        writeln!(f, "  … and {hidden} more (--json lists up to 1000)")?;
    }
    write!(f, "{advice}")
}

pub(super) fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    text: fmt::Arguments<'_>,
) -> fmt::Result {
    writeln!(f, "{name:<15} {text}")
}

pub(super) fn checked(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: &str,
    checked: &Checked,
) -> fmt::Result {
    match checked {
        Checked::Compared {
            items: count,
            without_history: 0,
        } => line(f, name, format_args!("{count} {items} compared")),
        Checked::Compared {
            items: count,
            without_history,
        } => {
            let text = format_args!(
                "{count} {items} compared, but {without_history} that are older than the history \
                 kept"
            );
            line(f, name, text)
        }
        Checked::NotChecked { why } => line(f, name, format_args!("not checked: {why}")),
    }
}
