//! What a run comes to.

use std::fmt;

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something happened that must never happen.
    Safety,
    /// Something that must happen did not.
    Liveness,
    /// The code under test panicked.
    Crash,
}

impl Kind {
    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Safety => 1,
            Self::Liveness => 3,
            Self::Crash => 4,
        }
    }
}

/// A failed check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// The check's name: shrinking keeps it.
    pub check: &'static str,
    /// What was found.
    pub detail: String,
    /// Simulated time in microseconds.
    pub at_us: u64,
}

/// What a check comes to.
pub type Checked = Result<(), Failure>;

/// A failed safety check. The event loop fills in the time.
#[must_use]
pub fn safety(check: &'static str, detail: impl Into<String>) -> Failure {
    Failure {
        kind: Kind::Safety,
        check,
        detail: detail.into(),
        at_us: 0,
    }
}

/// A failed liveness check.
#[must_use]
pub fn liveness(check: &'static str, detail: impl Into<String>) -> Failure {
    Failure {
        kind: Kind::Liveness,
        ..safety(check, detail)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Safety => "SAFETY",
            Kind::Liveness => "LIVENESS",
            Kind::Crash => "CRASH",
        };
        let ms = self.at_us / 1000;
        write!(f, "{kind}: {} at {ms} ms: {}", self.check, self.detail)
    }
}
