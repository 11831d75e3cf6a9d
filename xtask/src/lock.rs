//! One command at a time where two would be in each other's way.

use crate::error::{Error, Result};
use crate::report::Step;
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// Takes the lock in the file at `path`, and waits for another command that holds it.
///
/// It is held as long as the file, or a copy of its handle, is open: a program that has it as its standard input holds
/// it, too. Were this command killed, the next one would wait until that program has stopped writing.
pub fn take(path: &Path, step: &Step) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    // Readable too, for it becomes a standard input.
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
