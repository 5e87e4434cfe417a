//! `a4co backup`: a consistent copy of a data folder, also while an instance runs on it.
//!
//! The journal is copied up to its last record, and the copy is replayed. The sandbox's
//! books are copied after that, and cut to what that journal had asked for, so that the two
//! fit together however busy the instance was meanwhile. The store is not copied: it is
//! rebuilt. The manifest comes last.

use std::fmt;
use std::path::PathBuf;

use a4co_core::time::Timestamp;
use a4co_journal::{Copied, CopyError, DiskError, OsDisk, Reader};
use serde::Serialize;

use super::folder::{self, FolderError};
use super::manifest::{Contents, Manifest, ManifestError, ManifestJournal};
use super::progress::Progress;
use super::verify::{Checked, Findings, VerifyError, VerifyReport, check_journal, open_journal};
use crate::embedded::journal_dir;
use crate::gateway::sandbox::{SandboxBooks, SandboxError};

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct BackupArgs {
    /// The data folder, of a stopped or a running instance.
    pub data_dir: PathBuf,
    /// The folder to make; where it is there already, it must be empty.
    pub to: PathBuf,
}

/// Why no backup was made. The data folder is as it was; what is in the target is no
/// finished backup, and `a4co restore` refuses it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something in the target.
    #[error("{} is not empty: name a new folder for the backup", to.display())]
    NotEmpty {
        /// The target.
        to: PathBuf,
    },
    /// The target is a file.
    #[error("{} is a file: a backup is a folder, so name one", to.display())]
    NotAFolder {
        /// The target.
        to: PathBuf,
    },
    /// The target is within what is copied.
    #[error("{} is within the journal that is to be copied: name a folder elsewhere", to.display())]
    Inside {
        /// The target.
        to: PathBuf,
    },
    /// The data folder has no journal, or the copy cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The journal could not be copied.
    #[error("the journal was not copied: {0}; empty {} before trying again", to.display())]
    Copy {
        /// The target.
        to: PathBuf,
        /// What went wrong.
        #[source]
        source: CopyError,
    },
    /// The sandbox's books could not be copied.
    #[error("the sandbox's books were not copied: {0}")]
    Books(#[from] SandboxError),
    /// The target cannot be made or written.
    #[error("the backup could not be written: {0}; check the disk's room and permissions")]
    Folder(#[from] FolderError),
    /// The target cannot be made or written.
    #[error("the backup could not be written: {0}; check the disk's room and permissions")]
    Disk(#[from] DiskError),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A backup that was made and checked.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Where it is.
    pub folder: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// What its check found. Its findings are the source's: the copy itself is intact.
    pub report: VerifyReport,
}

/// Copies a data folder and checks the copy. `now` is noted in the manifest.
///
/// # Errors
/// [`BackupError`].
pub fn backup(
    args: &BackupArgs,
    now: Timestamp,
    progress: &dyn Progress,
) -> Result<Backup, BackupError> {
    let from = open_journal(&args.data_dir)?;
    let to = args.to.clone();
    check_target(args)?;
    folder::make(&to)?;
    let disk = OsDisk::create(journal_dir(&to))?;
    progress.begin("copying the journal", None);
    let copied = Reader::open(from)
        .map_err(CopyError::Source)
        .and_then(|reader| reader.copy_to(&disk))
        .map_err(|source| BackupError::Copy {
            to: to.clone(),
            source,
        })?;
    let mut findings = Findings::default();
    let mut checked = check_journal(&disk, u64::MAX, &mut findings, progress)?;
    progress.begin("copying the books", None);
    let mut sandbox_entries = None;
    if let Some(books) = SandboxBooks::read(&args.data_dir)? {
        let mut cut = checked.books_cut();
        sandbox_entries = Some(books.copy_to(&to, |entry| cut.keeps(entry))?);
    }
    let books = checked.compare_books(&to, &mut findings);
    progress.end();
    let store = Checked::NotChecked {
        why: "a backup has none; it is built from the journal".to_owned(),
    };
    let report = checked.report(&to, false, store, books, findings);
    let manifest = manifest(&copied, &report, sandbox_entries, now);
    manifest.write(&to)?;
    Ok(Backup {
        folder: to,
        manifest,
        report,
    })
}

fn check_target(args: &BackupArgs) -> Result<(), BackupError> {
    let to = || args.to.clone();
    if args.to.is_file() {
        return Err(BackupError::NotAFolder { to: to() });
    }
    if !folder::names(&args.to)?.is_empty() {
        return Err(BackupError::NotEmpty { to: to() });
    }
    let absolute = std::path::absolute(&args.to).unwrap_or_else(|_| to());
    let journal = journal_dir(&args.data_dir);
    let journal = std::path::absolute(&journal).unwrap_or(journal);
    if absolute.starts_with(journal) {
        return Err(BackupError::Inside { to: to() });
    }
    Ok(())
}

fn manifest(
    copied: &Copied,
    report: &VerifyReport,
    sandbox_entries: Option<u64>,
    now: Timestamp,
) -> Manifest {
    let orders = report.contents.orders.iter();
    Manifest::new(Contents {
        created_at: now.to_string(),
        journal: ManifestJournal {
            base_sequence: copied.base_sequence,
            last_sequence: copied.last_sequence,
            records: copied.records,
            segments: copied.segments,
            snapshots: copied.snapshots,
            bytes: copied.bytes,
            chain_hash: copied.chain_hash.to_string(),
        },
        last_event_at: report.contents.last_event_at.clone(),
        orders: orders
            .map(|(status, count)| ((*status).to_owned(), *count))
            .collect(),
        products: report.contents.stock.products,
        sandbox_entries,
        findings: report.findings.total,
    })
}

/// A few lines for people.
impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest {
            journal,
            created_at,
            ..
        } = &self.manifest;
        writeln!(f, "backup of {created_at} in {}", self.folder.display())?;
        writeln!(
            f,
            "  records {} to {}, {} bytes, chain hash {}",
            journal.base_sequence + 1,
            journal.last_sequence,
            journal.bytes,
            journal.chain_hash
        )?;
        let at = self.manifest.last_event_at.as_deref().unwrap_or("none");
        write!(
            f,
            "  {} orders, {} products, last event at {at}",
            self.manifest.orders_total(),
            self.manifest.products
        )?;
        if let Some(entries) = self.manifest.sandbox_entries {
            write!(f, "\n  {entries} entries of the sandbox gateway's books")?;
        }
        match self.manifest.findings {
            0 => write!(
                f,
                "\n  the copy was read back and replayed: nothing is wrong"
            ),
            found => {
                write!(
                    f,
                    "\n  the copy is intact, and what was copied has {found} findings:"
                )?;
                for finding in &self.report.findings.listed {
                    write!(f, "\n    {finding}")?;
                }
                Ok(())
            }
        }
    }
}
