//! Atomic file writes: a file is either complete or absent.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// Lets `save` write a temporary file beside `path` and renames it when it is complete.
pub fn write(path: &Path, save: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let partial = partial(path);
    let done = save(&partial).and_then(|()| {
        let sync = || File::open(&partial)?.sync_all();
        let named = sync().and_then(|()| fs::rename(&partial, path));
        named.map_err(Error::write(path))
    });
    if done.is_err() {
        // The original error matters more than a failed removal.
        let _ = fs::remove_file(&partial);
    }
    done
}

/// Writes these bytes to a file.
pub fn write_bytes(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    write(path, |partial| {
        fs::write(partial, bytes).map_err(Error::write(path))
    })
}

/// Checks that this many bytes fit at `path`. libtorch does not report a full disk: it aborts the
/// whole process.
pub fn try_room(path: &Path, bytes: usize) -> Result<(), Error> {
    let partial = partial(path);
    let tried = File::create(&partial).and_then(|file| reserve(&file, bytes));
    // The result of the check matters more than a failed removal.
    let _ = fs::remove_file(&partial);
    tried.map_err(Error::write(path))
}

/// Allocates this many bytes without writing them, if the file system supports it.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the file stays open during the call.
    #[expect(unsafe_code, reason = "a function of the C library")]
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Returns a hidden path beside `path` with the same extension, which determines the format.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}"))
}
