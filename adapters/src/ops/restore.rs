//! `a4co restore`: a backup into a data folder, checked first.
//!
//! Nothing is deleted. What the data folder holds is moved into a folder within it (which
//! also works where the data folder is a mount), and only when that was asked for. The
//! journal is marked as unfinished while it is copied, so a restore that was interrupted is
//! refused by every command. The store is rebuilt by the next start.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use a4co_core::time::Timestamp;
use a4co_journal::{CopyError, Disk, DiskError, OsDisk, OsLock, Reader};
use serde::Serialize;

use super::folder::{self, FolderError, fail};
use super::manifest::{Manifest, ManifestError};
use super::progress::Progress;
use super::verify::{Checked, Findings, VerifyError, VerifyReport, check_journal, open_journal};
use crate::embedded::journal_dir;
use crate::gateway::sandbox::{SandboxBooks, SandboxError};

/// Folders in which earlier contents stand aside; they do not count as contents.
const ASIDE_PREFIX: &str = "before-restore-";

/// What a file system puts into an empty folder by itself.
const NO_CONTENTS: [&str; 1] = ["lost+found"];

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreArgs {
    /// The backup.
    pub from: PathBuf,
    /// The data folder: new, or empty.
    pub data_dir: PathBuf,
    /// Move aside what the data folder holds.
    pub force: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder is no backup. Nothing was changed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The backup cannot be read. Nothing was changed.
    #[error("the backup cannot be used: {0}")]
    Backup(#[from] VerifyError),
    /// The backup is damaged, or is not what its manifest says. Nothing was changed.
    #[error("the backup in {} is not intact ({why}): use another one", from.display())]
    NotIntact {
        /// The backup.
        from: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is something in the data folder. Nothing was changed.
    #[error(
        "{} is not empty (it has {first}): name another folder, or add --force, which moves what is there aside within it",
        data_dir.display()
    )]
    NotEmpty {
        /// The data folder.
        data_dir: PathBuf,
        /// Something that is in it.
        first: String,
    },
    /// A process runs on the data folder. Nothing was changed.
    #[error("{0}: stop it first")]
    Running(DiskError),
    /// The data folder cannot be made or written.
    #[error("the data folder could not be written: {0}; check its permissions and the disk's room")]
    Folder(#[from] FolderError),
    /// The data folder cannot be made or written.
    #[error("the data folder could not be written: {0}; check its permissions and the disk's room")]
    Disk(#[from] DiskError),
    /// The sandbox's books could not be copied.
    #[error("the sandbox's books were not restored ({0}): try again with --force")]
    Books(#[from] SandboxError),
    /// The journal could not be copied.
    #[error("the journal was not restored ({0}): try again with --force")]
    Copy(#[from] CopyError),
}

/// What was restored.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Where its former contents are.
    pub moved_aside: Option<PathBuf>,
    /// What the backup was made of.
    pub manifest: Manifest,
    /// What its check found.
    pub report: VerifyReport,
}

/// Checks a backup and copies it into a data folder. `now` names the folder that former
/// contents are moved to.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    args: &RestoreArgs,
    now: Timestamp,
    progress: &dyn Progress,
) -> Result<Restored, RestoreError> {
    let manifest = Manifest::read(&args.from)?;
    let report = check_backup(args, &manifest, progress)?;
    folder::make(&args.data_dir)?;
    let moved_aside = clear(args, now)?;
    progress.begin("restoring", None);
    if manifest.sandbox_entries.is_some()
        && let Some(books) = SandboxBooks::read(&args.from)?
    {
        books.copy_to(&args.data_dir, |_| true)?;
    }
    let from = open_journal(&args.from)?;
    let to = OsDisk::create(journal_dir(&args.data_dir))?;
    Reader::open(from)
        .map_err(CopyError::Source)?
        .copy_to(&to)?;
    folder::sync(&args.data_dir)?;
    progress.end();
    Ok(Restored {
        data_dir: args.data_dir.clone(),
        moved_aside,
        manifest,
        report,
    })
}

/// The backup is read, replayed, and compared with its manifest.
fn check_backup(
    args: &RestoreArgs,
    manifest: &Manifest,
    progress: &dyn Progress,
) -> Result<VerifyReport, RestoreError> {
    let disk = open_journal(&args.from)?;
    let mut findings = Findings::default();
    let mut checked = check_journal(&disk, u64::MAX, &mut findings, progress)?;
    let books = checked.compare_books(&args.from, &mut findings);
    progress.end();
    let store = Checked::NotChecked {
        why: "a backup has none; it is built from the journal".to_owned(),
    };
    let report = checked.report(&args.from, false, store, books, findings);
    let not_intact = |why: String| RestoreError::NotIntact {
        from: args.from.clone(),
        why,
    };
    if report.findings.has_damage() {
        let listed = report.findings.listed.first();
        let why = listed.map_or_else(String::new, ToString::to_string);
        return Err(not_intact(why));
    }
    let promised = &manifest.journal;
    let found = (report.journal.last_sequence, &report.journal.chain_hash);
    if found != (promised.last_sequence, &promised.chain_hash) {
        return Err(not_intact(format!(
            "it ends with record {} and chain hash {}, where its manifest says {} and {}",
            found.0, found.1, promised.last_sequence, promised.chain_hash
        )));
    }
    let entries = SandboxBooks::read(&args.from)?.map(|books| books.len());
    // Books without an entry may be no file.
    if entries.unwrap_or_default() != manifest.sandbox_entries.unwrap_or_default() {
        return Err(not_intact(
            "the sandbox's books have another length than its manifest says".to_owned(),
        ));
    }
    Ok(report)
}

/// Leaves the data folder without contents. Says where they are now.
fn clear(args: &RestoreArgs, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
    let data_dir = &args.data_dir;
    let _lock = lock(data_dir)?;
    let mut contents = folder::names(data_dir)?;
    contents
        .retain(|name| !name.starts_with(ASIDE_PREFIX) && !NO_CONTENTS.contains(&name.as_str()));
    let Some(first) = contents.first() else {
        return Ok(None);
    };
    if !args.force {
        return Err(RestoreError::NotEmpty {
            data_dir: data_dir.clone(),
            first: first.clone(),
        });
    }
    let aside = data_dir.join(format!("{ASIDE_PREFIX}{}", now.unix_ms()));
    folder::make(&aside)?;
    // The journal first: without it, nothing starts on what is left.
    contents.sort_by_key(|name| name != "journal");
    for name in contents {
        let from = data_dir.join(&name);
        fs::rename(&from, aside.join(&name)).map_err(fail("move aside", &from))?;
    }
    folder::sync(&aside)?;
    folder::sync(data_dir)?;
    Ok(Some(aside))
}

/// Holds the data folder's journal, where there is one, so that no process runs on it.
fn lock(data_dir: &Path) -> Result<Option<OsLock>, RestoreError> {
    let disk = match OsDisk::open_existing(journal_dir(data_dir)) {
        Ok(disk) => disk,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match disk.lock() {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ DiskError::Locked { .. }) => Err(RestoreError::Running(error)),
        Err(error) => Err(error.into()),
    }
}

/// A few lines for people.
impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = &self.manifest;
        let at = manifest.last_event_at.as_deref().unwrap_or("none");
        writeln!(
            f,
            "restored the backup of {} into {}",
            manifest.created_at,
            self.data_dir.display()
        )?;
        write!(
            f,
            "  the last record is {}; {} orders, {} products, last event at {at}",
            manifest.journal.last_sequence,
            manifest.orders_total(),
            manifest.products
        )?;
        if let Some(aside) = &self.moved_aside {
            write!(f, "\n  what was there is in {}", aside.display())?;
        }
        if !self.report.is_clean() {
            write!(
                f,
                "\n  the backup had {} findings when it was made and checked; `a4co verify` lists \
                 them",
                self.report.findings.total
            )?;
        }
        write!(f, "\n  the store is rebuilt when `a4co serve` starts")
    }
}
