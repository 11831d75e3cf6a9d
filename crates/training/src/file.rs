//! Files that are whole under their name, or not there.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// Lets `save` write beside `path` and gives the file its name when it is complete.
pub fn write(path: &Path, save: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let partial = partial(path);
    let done = save(&partial).and_then(|()| {
        let sync = || File::open(&partial)?.sync_all();
        let named = sync().and_then(|()| fs::rename(&partial, path));
        named.map_err(Error::write(path))
    });
    if done.is_err() {
        // A failed removal changes nothing about what went wrong.
        let _ = fs::remove_file(&partial);
    }
    done
}

/// Writes a file of these bytes.
pub fn write_bytes(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    write(path, |partial| {
        fs::write(partial, bytes).map_err(Error::write(path))
    })
}

/// Whether so many bytes have room at `path`, which libtorch does not tell: where the disk is full it ends the whole
/// process.
pub fn try_room(path: &Path, bytes: usize) -> Result<(), Error> {
    let partial = partial(path);
    let tried = File::create(&partial).and_then(|file| reserve(&file, bytes));
    // Of no interest beside the answer.
    let _ = fs::remove_file(&partial);
    tried.map_err(Error::write(path))
}

/// Takes room for so many bytes without writing them, where the file system can do that.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the file is open for as long as it takes.
    #[expect(unsafe_code, reason = "a function of the C library")]
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Beside `path`, hidden, with the same extension, which tells the format.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}"))
}
