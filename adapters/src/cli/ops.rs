//! `a4co verify`, `backup` and `restore`: arguments in, a report out.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use a4co_core::time::Timestamp;
use a4co_driver::ports::Clock as _;
use serde::Serialize;

use super::nats::{NAME_THE_SERVERS, failed, on_servers};
use super::{
    BackupFlags, DataDirFlag, Exit, MigrateCommand, RestoreFlags, VerifyFlags, complain, load, show,
};
use crate::embedded::MonotonicClock;
use crate::nats::{self, NatsConfig};
use crate::ops::{self, BackupArgs, Bar, MigrateError, Progress, RestoreArgs, Servers, VerifyArgs};

/// Runs `a4co verify`.
#[must_use]
pub fn run_verify(flags: &VerifyFlags, file: Option<&Path>, as_json: bool) -> Exit {
    let config = match load(&flags.data.settings_with(&flags.nats), file) {
        Ok(effective) => effective.config,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let is_cluster = config.nats.journals.is_some() && flags.data.data_dir.is_none();
    if is_cluster && flags.url.is_some() {
        complain("a4co: --url is about the store of a data folder: name it with --data-dir");
        return Exit::Usage;
    }
    if let Some(servers) = config.nats.any().filter(|_| is_cluster) {
        return verify_on_servers(&servers, as_json);
    }
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

fn verify_on_servers(servers: &NatsConfig, as_json: bool) -> Exit {
    let progress = Bar::default();
    on_servers(servers, |runtime, nats| {
        let report = ops::verify_cluster(runtime, nats, &progress);
        progress.end();
        match report {
            Ok(report) => {
                print(&report, as_json);
                if report.is_clean() {
                    Exit::Done
                } else {
                    Exit::Failed
                }
            }
            Err(error) => failed(&error),
        }
    })
}

/// Runs `a4co migrate`.
#[must_use]
pub fn run_migrate(command: &MigrateCommand, file: Option<&Path>, as_json: bool) -> Exit {
    let (MigrateCommand::ToNats(flags) | MigrateCommand::FromNats(flags)) = command;
    let config = match load(&flags.data.settings_with(&flags.nats), file) {
        Ok(effective) => effective.config,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let Some(servers) = config.nats.any() else {
        complain(NAME_THE_SERVERS);
        return Exit::Usage;
    };
    let progress = Bar::default();
    let data_dir = &config.data_dir;
    let about = Servers {
        replicas: servers.replicas,
        silent: nats::silent_after(config.nats.lease),
    };
    on_servers(&servers, |runtime, nats| {
        let moved = match command {
            MigrateCommand::ToNats(_) => ops::to_nats(runtime, nats, about, data_dir, &progress),
            MigrateCommand::FromNats(_) => {
                let segment_bytes = config.storage.segment_bytes;
                ops::from_nats(runtime, nats, about, data_dir, segment_bytes, &progress)
            }
        };
        progress.end();
        match moved {
            Ok(moved) => {
                print(&moved, as_json);
                Exit::Done
            }
            Err(MigrateError::Journal(error)) => failed(&error),
            Err(error) => {
                complain(&format!("a4co: {error}"));
                Exit::Failed
            }
        }
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
