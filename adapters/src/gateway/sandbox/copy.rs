//! Copies of the sandbox's books, for backup and restore.
//!
//! Apart from the file, because a copy goes through both of its sides: it is read as any
//! reader reads, and written as the gateway writes.

use std::path::Path;

use super::books::{BooksFile, SandboxBooks, SandboxError};
use super::record::{BookEntry, RECORD_BYTES};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = RECORD_BYTES * 16 * 1024;

impl SandboxBooks {
    /// Writes those entries that `keep` says to new books in a folder that has none, makes
    /// them durable, and returns how many they are. Damage is not copied: it is an error.
    ///
    /// # Errors
    /// [`SandboxError`], of either side; the new books are then of no use.
    pub fn copy_to(
        &self,
        folder: &Path,
        mut keep: impl FnMut(&BookEntry) -> bool,
    ) -> Result<u64, SandboxError> {
        let (mut copy, _) = BooksFile::open(folder, 0)?;
        let fail = |source| SandboxError::Io {
            path: folder.to_owned(),
            source,
        };
        let mut copied = 0;
        let mut records = Vec::with_capacity(WRITE_BYTES);
        let mut failed = None;
        self.for_each_entry(|entry| {
            if failed.is_some() || !keep(&entry) {
                return;
            }
            records.extend_from_slice(&entry.encode());
            copied += 1;
            if records.len() >= WRITE_BYTES {
                failed = copy.append(&records).err();
                records.clear();
            }
        })?;
        if let Some(error) = failed {
            return Err(fail(error));
        }
        copy.append(&records).map_err(fail)?;
        copy.handle().sync_all().map_err(fail)?;
        Ok(copied)
    }
}

#[cfg(test)]
impl SandboxBooks {
    /// Adds entries to the books of a folder, as if the gateway had decided them.
    pub(crate) fn add_entries(folder: &Path, entries: &[BookEntry]) {
        let (mut file, _) = BooksFile::open(folder, 1).expect("books");
        let records: Vec<u8> = entries.iter().flat_map(BookEntry::encode).collect();
        file.append(&records).expect("written");
    }
}
