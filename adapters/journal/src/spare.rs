//! The spare segment: made off the hot path, so that going on to the next segment writes
//! one header and no megabytes of zeros.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Disk, DiskFile};
use crate::error::PrepareError;
use crate::layout::{SPARE, SPARE_UNFINISHED};
use crate::shared::{Shared, remove_unfinished, write_zeros};

/// Prepares spare segments; meant for a thread of its own.
#[derive(Clone)]
pub struct SparePreparer<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> SparePreparer<D> {
    /// Makes the spare segment unless there is one.
    ///
    /// # Errors
    /// See [`PrepareError`]. The log is never touched; what was half made is removed.
    pub fn prepare(&self) -> Result<(), PrepareError> {
        let _alone = self.shared.spare_work();
        if self.shared.has_spare() {
            return Ok(());
        }
        let disk = &self.shared.disk;
        let made = self.make();
        if made.is_err() {
            remove_unfinished(disk, SPARE_UNFINISHED);
        }
        made?;
        self.shared.spare_is_ready.store(true, Ordering::Release);
        Ok(())
    }

    fn make(&self) -> Result<(), PrepareError> {
        let disk = &self.shared.disk;
        let file = disk.create(SPARE_UNFINISHED)?;
        write_zeros(&file, 0, self.shared.segment_bytes)?;
        file.sync_data()?;
        disk.rename(SPARE_UNFINISHED, SPARE)?;
        disk.sync_dir()?;
        Ok(())
    }
}
