//! File locks for steps that must not run concurrently.

use crate::error::{Error, Result};
use crate::report::Step;
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// Takes the lock in the file at `path`; waits while another command holds it.
///
/// The lock is held as long as the file or a copy of its handle is open. A child process that has
/// the file as its standard input holds it too: if this command is killed, the next one waits until
/// the child has stopped writing.
pub fn take(path: &Path, step: &Step) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    // Readable, because it is used as a standard input.
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            step.status("waiting for another command that is at it");
            file.lock().map_err(Error::io("lock", path))?;
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
    }
    Ok(file)
}
