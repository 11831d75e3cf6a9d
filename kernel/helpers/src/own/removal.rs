//! Recursive removal of folders.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::is_mark;

/// Maximum depth of a folder; one handle is open per level.
const DEEPEST: usize = 128;

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Removes a folder of the kernel with all its content; returns whether it was removed.
///
/// The folder is kept if it is a symbolic link, belongs to another user, is on another file system
/// than its parent, or does not contain one of the kernel's marks (`MARK`, the manifest of a set):
/// then it may not belong to the kernel. Symbolic links in it are removed, not followed. `parent`
/// must not be a symbolic link either.
///
/// # Errors
/// If an entry cannot be removed. The mark is removed last, so that a later call can continue.
pub fn remove(parent: &Path, name: &OsStr) -> io::Result<bool> {
    let Some(parent) = open(CWD, parent.as_os_str())? else {
        return Ok(false);
    };
    let Some(folder) = open(parent.as_fd(), name)? else {
        return Ok(false);
    };
    let (above, about) = (fstat(&parent)?, fstat(&folder)?);
    if about.st_uid != geteuid().as_raw() || about.st_dev != above.st_dev || !is_marked(&folder)? {
        return Ok(false);
    }
    empty(&folder, &about, DEEPEST)?;
    for mark in names(&folder)? {
        unlinkat(&folder, mark.as_slice(), AtFlags::empty())?;
    }
    unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

/// Opens a folder; `None` if the path is not a folder.
fn open(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match openat(parent, name, FOLDER, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_marked(folder: &OwnedFd) -> io::Result<bool> {
    for name in names(folder)? {
        if is_mark(OsStr::from_bytes(&name)) {
            let about = statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            if is(&about, FileType::RegularFile) && about.st_uid == geteuid().as_raw() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn is(about: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(about.st_mode) == kind
}

fn names(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes the content of a folder; at the top level, all except the marks.
fn empty(folder: &OwnedFd, about: &Stat, levels: usize) -> io::Result<()> {
    for name in names(folder)? {
        let name = OsStr::from_bytes(&name);
        if levels == DEEPEST && is_mark(name) {
            continue;
        }
        let entry = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !is(&entry, FileType::Directory) {
            unlinkat(folder, name, AtFlags::empty())?;
            continue;
        }
        if levels == 0 {
            return Err(io::Error::other("its folders are too deep"));
        }
        let Some(below) = open(folder.as_fd(), name)? else {
            return Err(io::Error::other("somebody else changes it"));
        };
        if fstat(&below)?.st_dev != about.st_dev {
            return Err(io::Error::other("another file system is in it"));
        }
        empty(&below, about, levels - 1)?;
        unlinkat(folder, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}
