//! The port on a real folder, with an exclusive lock on it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskError, DiskFile};

/// The file whose lock means "this process owns the folder"; it holds the owner's pid.
pub const LOCK_FILE: &str = "a4co.lock";

/// A folder of the operating system.
#[derive(Clone, Debug)]
pub struct OsDisk {
    folder: Arc<Path>,
}

/// A file in an [`OsDisk`].
#[derive(Debug)]
pub struct OsFile {
    file: File,
    name: Arc<str>,
}

/// The folder's lock, let go when dropped (and by the system when the process ends).
#[derive(Debug)]
pub struct OsLock {
    _file: File,
}

impl OsDisk {
    /// The folder, made (and its name made durable) when it is missing.
    ///
    /// # Errors
    /// [`DiskError`] when it cannot be made or is not a folder.
    pub fn create(folder: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let folder = folder.into();
        let shown = folder.display().to_string();
        // Every folder that is made here must have its name synced in the one above it.
        let made: Vec<_> = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(&folder)
            .map_err(|error| DiskError::from_io("make the folder", &shown, error))?;
        for path in made {
            let above = match path.parent() {
                Some(above) if !above.as_os_str().is_empty() => above,
                _ => Path::new("."),
            };
            File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(|error| DiskError::from_io("sync the folder above", &shown, error))?;
        }
        Self::open_existing(folder)
    }

    /// The folder, which must be there: for readers, which make nothing.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] when it is not there.
    pub fn open_existing(folder: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let folder = folder.into();
        let shown = folder.display().to_string();
        fs::read_dir(&folder)
            .map_err(|error| DiskError::from_io("read the folder", &shown, error))?;
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    fn file(
        &self,
        operation: &'static str,
        name: &str,
        options: &OpenOptions,
    ) -> Result<OsFile, DiskError> {
        let file = options
            .open(self.folder.join(name))
            .map_err(|error| DiskError::from_io(operation, name, error))?;
        Ok(OsFile {
            file,
            name: name.into(),
        })
    }

    fn folder_name(&self) -> String {
        self.folder.display().to_string()
    }
}

impl Disk for OsDisk {
    type File = OsFile;
    type Lock = OsLock;

    fn lock(&self) -> Result<OsLock, DiskError> {
        // Never removed: removing a lock file races with whoever has just opened it.
        let OsFile { file, .. } = self.file(
            "open",
            LOCK_FILE,
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false),
        )?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(self.folder.join(LOCK_FILE))
                    .ok()
                    .and_then(|text| text.trim().parse().ok());
                return Err(DiskError::Locked {
                    folder: self.folder_name(),
                    pid,
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(DiskError::from_io("lock", LOCK_FILE, error));
            }
        }
        // The pid only informs, so a full disk must not keep the journal from opening:
        // the lock itself needs no block.
        let pid = format!("{}\n", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all_at(pid.as_bytes(), 0));
        match written.map_err(|error| DiskError::from_io("write", LOCK_FILE, error)) {
            Ok(()) | Err(DiskError::Full { .. }) => Ok(OsLock { _file: file }),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> Result<OsFile, DiskError> {
        self.file(
            "create",
            name,
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true),
        )
    }

    fn open(&self, name: &str, write: bool) -> Result<OsFile, DiskError> {
        self.file("open", name, OpenOptions::new().read(true).write(write))
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let fail = |error| DiskError::from_io("list", &self.folder_name(), error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let is_file = match entry.file_type() {
                Ok(kind) => kind.is_file(),
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(fail(error)),
            };
            if is_file && let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.folder.join(from), self.folder.join(to))
            .map_err(|error| DiskError::from_io("rename", from, error))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.folder.join(name))
            .map_err(|error| DiskError::from_io("remove", name, error))
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| DiskError::from_io("sync the folder", &self.folder_name(), error))
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let stat = rustix::fs::statvfs(&*self.folder).map_err(|errno| {
            DiskError::from_io(
                "ask for the free space of",
                &self.folder_name(),
                errno.into(),
            )
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for OsFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| DiskError::from_io("measure", &self.name, error))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::from_io("read", &self.name, error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| DiskError::from_io("write", &self.name, error))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file
            .sync_data()
            .map_err(|error| DiskError::from_io("sync", &self.name, error))
    }

    fn set_len(&self, length: u64) -> Result<(), DiskError> {
        self.file
            .set_len(length)
            .map_err(|error| DiskError::from_io("resize", &self.name, error))
    }
}
