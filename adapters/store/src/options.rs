//! What a view is opened with, and the two hooks by which tests stand in for the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Tells how many bytes are free on the file system of a folder.
pub type FreeSpace = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// Makes a step fail, in tests.
pub type Fault = Arc<dyn Fn(FaultPoint) -> io::Result<()> + Send + Sync>;

/// A step that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultPoint {
    /// Before something is written.
    Write,
    /// Before what was written is flushed.
    Flush,
    /// Before a row is read from sled.
    Read,
    /// Before sled is opened again after a failure.
    Reopen,
}

/// What a view is opened with.
#[derive(Clone)]
pub struct Options {
    /// Bytes of sled's cache.
    pub cache_bytes: u64,
    /// The file that changes with each boot of the machine.
    pub boot_id_path: PathBuf,
    /// For how long rows are gathered before they are written, so that what changes
    /// several times is written once.
    pub apply_every: Duration,
    /// Rows in memory from which on `publish` waits for the writer.
    pub overlay_rows_max: usize,
    /// Bytes in memory, estimated, from which on `publish` waits for the writer.
    pub overlay_bytes_max: usize,
    /// Free bytes below which nothing is written.
    pub free_floor_bytes: u64,
    /// How long to wait before a full or failed disk is tried again.
    pub retry_every: Duration,
    /// How free space is found out.
    pub free_space: FreeSpace,
    /// Faults, in tests.
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 96 << 20,
            boot_id_path: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            apply_every: Duration::from_millis(100),
            overlay_rows_max: 200_000,
            overlay_bytes_max: 128 << 20,
            free_floor_bytes: 64 << 20,
            retry_every: Duration::from_millis(500),
            free_space: Arc::new(free_bytes),
            fault: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self, point: FaultPoint) -> io::Result<()> {
        self.fault.as_ref().map_or(Ok(()), |fault| fault(point))
    }
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
