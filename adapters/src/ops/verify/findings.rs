//! What a check found: each once, and no more of them than a person can read.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use a4co_core::invariants::Violation;
use serde::Serialize;

/// Findings that are kept; more are only counted.
const FINDINGS_MAX: usize = 1000;

/// Whether files are not what was written, or what was written does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Files are damaged.
    Damage,
    /// Two things that must agree do not, or an invariant does not hold.
    Difference,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what kind.
    pub kind: FindingKind,
    /// What was asked: an invariant's name, or the part that was compared.
    pub check: &'static str,
    /// On what: an order, a product, a file.
    pub subject: String,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.check, self.subject, self.detail)
    }
}

/// All findings of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// How many there are, those that are not listed included.
    pub total: u64,
    /// The first of them.
    pub listed: Vec<Finding>,
    /// Check and subject of each, as a hash.
    #[serde(skip)]
    known: HashSet<u64>,
}

impl Findings {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether files are damaged.
    #[must_use]
    pub fn has_damage(&self) -> bool {
        let mut listed = self.listed.iter();
        listed.any(|one| one.kind == FindingKind::Damage)
    }

    pub(super) fn damage(&mut self, check: &'static str, subject: String, detail: String) {
        self.add(FindingKind::Damage, check, subject, detail);
    }

    pub(super) fn difference(&mut self, check: &'static str, subject: String, detail: String) {
        self.add(FindingKind::Difference, check, subject, detail);
    }

    pub(super) fn violation(&mut self, found: Violation) {
        let subject = found.subject.to_string();
        self.difference(found.invariant.name(), subject, found.detail);
    }

    fn add(&mut self, kind: FindingKind, check: &'static str, subject: String, detail: String) {
        // What is wrong stays wrong at the next commit: said once.
        let mut hasher = DefaultHasher::new();
        (check, &subject).hash(&mut hasher);
        if !self.known.insert(hasher.finish()) {
            return;
        }
        self.total += 1;
        // Damage comes first, however many differences there are.
        let place = match kind {
            FindingKind::Damage => 0,
            FindingKind::Difference => self.listed.len(),
        };
        let finding = Finding {
            kind,
            check,
            subject,
            detail,
        };
        if place < FINDINGS_MAX {
            self.listed.insert(place, finding);
            self.listed.truncate(FINDINGS_MAX);
        }
    }
}
