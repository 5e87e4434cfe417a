//! `a4co verify`, `backup` and `restore`: arguments in, a report out.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use a4co_core::time::Timestamp;
use a4co_driver::ports::Clock as _;
use serde::Serialize;

use super::{BackupFlags, DataDirFlag, Exit, RestoreFlags, VerifyFlags, complain, load, show};
use crate::embedded::MonotonicClock;
use crate::ops::{self, BackupArgs, Bar, Progress, RestoreArgs, VerifyArgs};

/// Runs `a4co verify`.
#[must_use]
pub fn run_verify(flags: &VerifyFlags, file: Option<&Path>, as_json: bool) -> Exit {
    with_folder(&flags.data, file, |data_dir, progress| {
        let args = VerifyArgs {
            data_dir,
            url: flags.url.clone(),
        };
        let report = ops::verify(&args, progress)?;
        progress.end();
        print(&report, as_json);
        Ok(if report.is_clean() {
            Exit::Done
        } else {
            Exit::Failed
        })
    })
}

/// Runs `a4co backup`.
#[must_use]
pub fn run_backup(flags: &BackupFlags, file: Option<&Path>, as_json: bool) -> Exit {
    with_folder(&flags.data, file, |data_dir, progress| {
        let args = BackupArgs {
            data_dir,
            to: flags.to.clone(),
        };
        let backup = ops::backup(&args, now(), progress)?;
        progress.end();
        print(&backup, as_json);
        // The copy is intact either way; what it copied may not be.
        Ok(if backup.report.is_clean() {
            Exit::Done
        } else {
            Exit::Failed
        })
    })
}

/// Runs `a4co restore`.
#[must_use]
pub fn run_restore(flags: &RestoreFlags, file: Option<&Path>, as_json: bool) -> Exit {
    with_folder(&flags.data, file, |data_dir, progress| {
        let args = RestoreArgs {
            from: flags.from.clone(),
            data_dir,
            force: flags.force,
        };
        let restored = ops::restore(&args, now(), progress)?;
        progress.end();
        print(&restored, as_json);
        Ok(Exit::Done)
    })
}

fn with_folder(
    flag: &DataDirFlag,
    file: Option<&Path>,
    run: impl FnOnce(PathBuf, &dyn Progress) -> Result<Exit, Box<dyn std::error::Error>>,
) -> Exit {
    let data_dir = match load(&flag.settings(), file) {
        Ok(effective) => effective.config.data_dir,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let progress = Bar::default();
    run(data_dir, &progress).unwrap_or_else(|error| {
        progress.end();
        complain(&format!("a4co: {error}"));
        Exit::Failed
    })
}

fn print(report: &(impl Display + Serialize), as_json: bool) {
    if as_json {
        match serde_json::to_string(report) {
            Ok(text) => show(&format!("{text}\n")),
            Err(error) => complain(&format!("a4co: the report cannot be written: {error}")),
        }
    } else {
        show(&format!("{report}\n"));
    }
}

fn now() -> Timestamp {
    MonotonicClock::not_before(Timestamp::UNIX_EPOCH).now()
}
