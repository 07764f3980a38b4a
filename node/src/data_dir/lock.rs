//! One process at a time uses a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::error::{DataDirError, io_error};

const LOCK_NAME: &str = "LOCK";

/// The exclusive lock on a directory. The operating system releases it with the file, so it ends
/// with the process however that dies.
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock at once, or not at all.
    pub(crate) fn acquire(path: &Path) -> Result<DirLock, DataDirError> {
        let name = path.join(LOCK_NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(|error| io_error(&name, error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(io_error(&name, error)),
        }
    }
}
