//! What stands beside a backup's files and says what they are, written last: a folder
//! without it is no finished backup.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{FolderError, fail, write_whole};

/// The file's name in a backup.
pub const MANIFEST_FILE: &str = "backup.json";

const FORMAT: &str = "a4co-backup";
const VERSION: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    format: String,
    version: u32,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// The version of the program that made it.
    pub a4co_version: String,
    /// The log.
    pub journal: ManifestJournal,
    /// The time of the newest event, in RFC 3339.
    pub last_event_at: Option<String>,
    /// Orders, by status.
    pub orders: BTreeMap<String, u64>,
    /// Products.
    pub products: u64,
    /// Entries of the sandbox gateway's books; none: there were no books.
    pub sandbox_entries: Option<u64>,
    /// What was found wrong with the copy: the source has it, too.
    pub findings: u64,
}

/// The log in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestJournal {
    /// The record that its history begins after.
    pub base_sequence: u64,
    /// The last record.
    pub last_sequence: u64,
    /// Records.
    pub records: u64,
    /// Segments.
    pub segments: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// The chain hash after the last record.
    pub chain_hash: String,
}

/// Why a folder is not taken for a backup. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no manifest.
    #[error(
        "{} is no finished backup, because it has no {MANIFEST_FILE}: name a folder that `a4co backup` has finished",
        folder.display()
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is not what `a4co backup` writes.
    #[error("{} is damaged ({source}): use another backup", path.display())]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It was written by another version.
    #[error(
        "{} is of format {format} {version}, and this program reads {FORMAT} {VERSION}: use the version of a4co that made it",
        path.display()
    )]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: String,
        /// Its version.
        version: u64,
    },
}

/// The rest of a [`Manifest`].
pub(super) struct Contents {
    pub(super) created_at: String,
    pub(super) journal: ManifestJournal,
    pub(super) last_event_at: Option<String>,
    pub(super) orders: BTreeMap<String, u64>,
    pub(super) products: u64,
    pub(super) sandbox_entries: Option<u64>,
    pub(super) findings: u64,
}

impl Manifest {
    pub(super) fn new(contents: Contents) -> Self {
        let Contents {
            created_at,
            journal,
            last_event_at,
            orders,
            products,
            sandbox_entries,
            findings,
        } = contents;
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            created_at,
            a4co_version: env!("CARGO_PKG_VERSION").to_owned(),
            journal,
            last_event_at,
            orders,
            products,
            sandbox_entries,
            findings,
        }
    }

    /// Orders in all.
    #[must_use]
    pub fn orders_total(&self) -> u64 {
        self.orders.values().sum()
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ManifestError::Missing {
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(fail("read", &path)(error).into()),
        };
        let malformed = |source| ManifestError::Malformed {
            path: path.clone(),
            source,
        };
        // The version first: what else is there depends on it.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
        let format = value["format"].as_str().unwrap_or_default();
        let version = value["version"].as_u64().unwrap_or_default();
        if (format, version) != (FORMAT, u64::from(VERSION)) {
            return Err(ManifestError::Version {
                format: format.to_owned(),
                version,
                path,
            });
        }
        serde_json::from_value(value).map_err(malformed)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), ManifestError> {
        let path = folder.join(MANIFEST_FILE);
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| ManifestError::Malformed {
                path: path.clone(),
                source,
            })?;
        text.push('\n');
        Ok(write_whole(&path, text.as_bytes())?)
    }
}
