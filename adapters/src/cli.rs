//! The command line: what may be typed, and the commands that talk to a running server.
//!
//! ```text
//! Exit codes
//!  0  done
//!  1  refused by the server, failed, or (verify, reconcile) differences were found
//!  2  bad arguments or a bad configuration; nothing was started
//!  3  no server answers, or the answer was lost
//!  4  there is no such order or product
//!  5  the server cannot do it now; the same command may work later
//! ```

use std::io::Write as _;
use std::process::ExitCode;

mod args;
mod client;
mod config;
mod generate;
mod health;
mod nats;
mod ops;
mod order;
mod reconcile;
mod step_down;
mod stock;
mod table;

pub use self::args::{
    BackupFlags, Cli, ClientFlags, Command, ConfigFlags, DataDirFlag, EventsCommand,
    MigrateCommand, MigrateFlags, NatsCommand, NatsFlags, OrderCommand, ReconcileFlags,
    RestoreFlags, ServeFlags, StatusFlags, StepDownFlags, StockCommand, VerifyFlags,
};
pub use self::config::{load, print as print_config};
pub use self::generate::{print_completions, write_manual};
pub use self::health::run as run_health;
pub use self::nats::{run_events, run_nats};
pub use self::ops::{run_backup, run_migrate, run_restore, run_verify};
pub use self::order::run as run_order;
pub use self::reconcile::run as run_reconcile;
pub use self::step_down::run_step_down;
pub use self::stock::run as run_stock;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Refused, failed, or differences were found.
    Failed,
    /// Bad arguments or a bad configuration.
    Usage,
    /// No server answers.
    Unreachable,
    /// There is no such thing.
    NotFound,
    /// Not now.
    TryLater,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::TryLater => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Writes to standard output. Whoever reads it may have stopped: that is no failure of the
/// command.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests;
