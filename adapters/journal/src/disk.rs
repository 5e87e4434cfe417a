//! The port to the file system: the few blocking calls that the journal makes.
//!
//! It is apart so that the same journal runs on a real folder ([`crate::OsDisk`]) and
//! on a simulated one ([`crate::sim_disk::SimDisk`]) that tears, drops and corrupts.

use std::io;

use thiserror::Error;

use crate::format::is_zero;

/// One data folder. Names are plain file names in it, without `/`. A clone is another
/// handle to the same folder.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held for as long as this process owns the folder; dropping it lets go.
    type Lock: Send + 'static;

    /// Takes the folder for this process alone. Readers need no lock.
    ///
    /// # Errors
    /// [`DiskError::Locked`] when somebody else holds it; nothing has changed.
    fn lock(&self) -> Result<Self::Lock, DiskError>;

    /// Makes a file, open for reading and writing; one that exists is emptied.
    /// The name is durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// See [`DiskError`]; the file may or may not exist afterwards.
    fn create(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] when it does not; nothing has changed.
    fn open(&self, name: &str, write: bool) -> Result<Self::File, DiskError>;

    /// The names of the regular files, sorted.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// Gives a file another name, replacing atomically what had it.
    /// Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// See [`DiskError`]; the file keeps its old name.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// See [`DiskError`]; the file is still there.
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes all names (created, renamed, removed) durable.
    ///
    /// # Errors
    /// See [`DiskError`]; which names are durable is then unknown.
    fn sync_dir(&self) -> Result<(), DiskError>;

    /// The bytes that an ordinary process may still write.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn free_bytes(&self) -> Result<u64, DiskError>;
}

/// [`DiskFile::is_zero`] reads in pieces of this size.
const ZERO_PIECE_BYTES: usize = 16 * 1024;

/// One open file of a [`Disk`].
pub trait DiskFile: Send + 'static {
    /// The length in bytes.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn len(&self) -> Result<u64, DiskError>;

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Reads until the buffer is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Whether all there is from `from` to `to`, or to the file's end, is zeros. A disk
    /// that knows this without reading may say so.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing has changed.
    fn is_zero(&self, from: u64, to: u64) -> Result<bool, DiskError> {
        let mut piece = [0; ZERO_PIECE_BYTES];
        let mut offset = from;
        while offset < to {
            let count = usize::try_from(to - offset).unwrap_or(ZERO_PIECE_BYTES);
            let read = self.read_at(offset, &mut piece[..count.min(ZERO_PIECE_BYTES)])?;
            if read == 0 {
                break;
            }
            if !is_zero(&piece[..read]) {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }

    /// Writes all the bytes. Durable only after [`DiskFile::sync_data`].
    ///
    /// # Errors
    /// See [`DiskError`]; any part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes what was written durable, and the length with it.
    ///
    /// # Errors
    /// After a failure nothing is known about what was written since the last success,
    /// and a second call may succeed without having written it: do not retry.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// See [`DiskError`]; the length is the old one.
    fn set_len(&self, length: u64) -> Result<(), DiskError>;
}

/// What a [`Disk`] can answer instead of doing its work.
#[derive(Debug, Error)]
pub enum DiskError {
    /// No space (or no quota) is left. A write may have been done in part. Try again
    /// when there is room.
    #[error("no space left on the disk while trying to {operation} {name}")]
    Full {
        /// What was being done.
        operation: &'static str,
        /// The file's name.
        name: String,
    },
    /// There is no file of this name. Nothing changed; trying again does not help.
    #[error("{name} does not exist")]
    NotFound {
        /// The file's name.
        name: String,
    },
    /// Another process owns the data folder. Nothing changed; try again when that
    /// process has ended.
    #[error("the data folder {folder} is in use by {}", holder(*pid))]
    Locked {
        /// The data folder.
        folder: String,
        /// The owner, where it could be read.
        pid: Option<u32>,
    },
    /// Anything else. Whether something changed is unknown; trying again is not safe.
    #[error("could not {operation} {name}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file's name.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("the process with pid {pid}"),
    )
}

impl DiskError {
    /// Tells "no space" and "no such file" apart from all other errors.
    #[must_use]
    pub fn from_io(operation: &'static str, name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { operation, name }
            }
            io::ErrorKind::NotFound => Self::NotFound { name },
            _ => Self::Io {
                operation,
                name,
                source,
            },
        }
    }

    /// No space is left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// There is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
