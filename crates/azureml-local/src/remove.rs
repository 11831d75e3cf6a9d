//! Removing folders with all that is in them: only what this workspace has made, and never by way of a link.
//!
//! A folder that is removed so carries a mark, a file that was written when it was made and that names the workspace. It is
//! emptied through its open handle: a link is removed as a link, another disk's mount is left alone, and however deep a job
//! has nested its folders, no more than three are open at a time: each is moved up to the top before its turn comes.

use crate::dir::{Dir, Entry, is_absent};
use crate::name::{Fixed, Relative};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};
use std::{io, mem};

/// The mark. No blob has this name.
pub const MARK: Fixed = Fixed::hidden(".azureml-local.mark");

/// Why a folder is not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It has no mark, or that of another workspace.
    #[error(
        "{0} was not made by this local workspace, so it is left alone\nhint: move it away yourself"
    )]
    NotOurs(String),
    /// Something in it cannot be removed.
    #[error("{folder} could not be removed: {source}")]
    Io {
        /// Which folder.
        folder: String,
        /// Why.
        source: io::Error,
    },
}

/// Makes a marked folder where nothing is.
pub fn make(parent: &Dir, name: &impl Relative, owner: &str) -> io::Result<Dir> {
    let folder = parent.make_new(name)?;
    mark(&folder, owner)?;
    Ok(folder)
}

/// Puts the mark of a workspace into a folder that it has made.
pub fn mark(folder: &Dir, owner: &str) -> io::Result<()> {
    folder.write_new(&MARK, owner.as_bytes())
}

/// Whether a folder carries the mark of a workspace.
pub fn is_marked(folder: &Dir, owner: &str) -> bool {
    use std::io::Read;
    let mut text = String::new();
    !owner.is_empty()
        && folder
            .file(&MARK)
            .and_then(|file| file.take(256).read_to_string(&mut text))
            .is_ok()
        && text == owner
}

/// Removes a marked folder; one that is not there is removed already.
pub fn marked(parent: &Dir, name: &impl Relative, owner: &str) -> Result<(), RemoveError> {
    match parent.dir(name) {
        Ok(folder) if is_marked(&folder, owner) => tree(parent, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_gone(parent, name) => Ok(()),
        Ok(_) | Err(_) => Err(RemoveError::NotOurs(name.as_str().to_owned())),
    }
}

/// Whether nothing has that name, not even a link.
fn is_gone(parent: &Dir, name: &impl Relative) -> bool {
    parent.stat(name).is_err_and(|error| is_absent(&error))
}

/// Removes a folder, or whatever has its name, below one that carries the mark or that the store knows as its own.
pub fn tree(parent: &Dir, name: &impl Relative) -> Result<(), RemoveError> {
    remove(parent, name).map_err(|source| RemoveError::Io {
        folder: name.as_str().to_owned(),
        source,
    })
}

fn remove(parent: &Dir, name: &impl Relative) -> io::Result<()> {
    let kind = match parent.stat(name) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind != FileType::Directory {
        return parent.unlink(name);
    }
    let last = CString::new(name.as_str()).map_err(io::Error::other)?;
    let folder = open(parent, &last)?;
    empty(&folder)?;
    // The mark goes last: what is half removed is still ours.
    match folder.unlink(&MARK) {
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    parent.rmdir(name)
}

/// Removes all that is in a folder but its mark. Goes on after what cannot be removed, and gives the first reason.
fn empty(top: &Dir) -> io::Result<()> {
    let mut emptied = Emptied {
        top,
        lifted: 0,
        progress: true,
        failed: None,
    };
    while mem::take(&mut emptied.progress) {
        emptied.failed = None;
        for entry in top.entries()? {
            if entry.raw().to_bytes() != MARK.as_str().as_bytes() {
                let removed = emptied.remove(&entry);
                emptied.note(removed);
            }
        }
    }
    emptied.failed.map_or(Ok(()), Err)
}

/// A folder that is being emptied; the folders in it are on their way up to it.
struct Emptied<'a> {
    top: &'a Dir,
    lifted: u64,
    /// Whether anything was done: what could not be done before may be possible now.
    progress: bool,
    failed: Option<io::Error>,
}

impl Emptied<'_> {
    fn note(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => self.progress = true,
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// Removes what is in the top folder; the folders in a folder become folders of the top one.
    fn remove(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != FileType::Directory {
            return Ok(rustix::fs::unlinkat(
                self.top,
                entry.raw(),
                AtFlags::empty(),
            )?);
        }
        let folder = open(self.top, entry.raw())?;
        for inner in folder.entries()? {
            let done = if inner.kind == FileType::Directory {
                self.lift(&folder, inner.raw())
            } else {
                rustix::fs::unlinkat(&folder, inner.raw(), AtFlags::empty()).map_err(Into::into)
            };
            self.note(done);
        }
        Ok(rustix::fs::unlinkat(
            self.top,
            entry.raw(),
            AtFlags::REMOVEDIR,
        )?)
    }

    fn lift(&mut self, from: &Dir, name: &CStr) -> io::Result<()> {
        // A folder that may not be written to cannot be moved.
        open(from, name)?;
        loop {
            self.lifted += 1;
            let to = format!(".removed-{}", self.lifted);
            match rustix::fs::renameat(from, name, self.top, &to) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Opens a folder on the same disk and makes it one that its owner may empty: a job may have closed it.
fn open(parent: &Dir, name: &CStr) -> io::Result<Dir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if mount_of(&found)? != mount_of(parent)? {
        return Err(Errno::XDEV.into());
    }
    let stat = rustix::fs::fstat(&found)?;
    if stat.st_mode & 0o700 != 0o700 {
        // By its handle: the name may have become a link meanwhile.
        let handle = format!("/proc/self/fd/{}", found.as_raw_fd());
        rustix::fs::chmod(handle, Mode::RWXU)?;
    }
    Dir::reopen(&found)
}

/// The mount that a folder is in, and the disk: something mounted into a folder is not the folder's.
fn mount_of(folder: impl AsFd) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::fstat(&folder)?.st_dev;
    // Linux before 5.8 knows no mounts by number; a sandbox may not know the call.
    let mount = rustix::fs::statx(&folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .ok()
        .filter(|found| found.stx_mask & StatxFlags::MNT_ID.bits() != 0)
        .map_or(0, |found| found.stx_mnt_id);
    Ok((disk, mount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::BlobName;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    const OWNER: &str = "us";

    fn name(path: &str) -> BlobName {
        BlobName::parse(path).unwrap()
    }

    fn make(root: &Path, path: &str) -> Dir {
        let folder = Dir::at(root).unwrap().make(&name(path)).unwrap();
        mark(&folder, OWNER).unwrap();
        folder
    }

    /// A folder with something in it that must stay.
    fn victim() -> tempfile::TempDir {
        let victim = tempfile::tempdir().unwrap();
        fs::create_dir(victim.path().join("data")).unwrap();
        fs::write(victim.path().join("data/precious"), "precious").unwrap();
        victim
    }

    #[test]
    fn removal_takes_marked_folders_alone() {
        let root = tempfile::tempdir().unwrap();
        let parent = Dir::at(root.path()).unwrap();
        make(root.path(), "ours");
        mark(&parent.make(&name("theirs")).unwrap(), "them").unwrap();
        fs::create_dir(root.path().join("plain")).unwrap();
        fs::write(root.path().join("file"), "file").unwrap();
        assert!(marked(&parent, &name("ours"), OWNER).is_ok());
        assert!(marked(&parent, &name("gone"), OWNER).is_ok());
        for left in ["theirs", "plain", "file"] {
            let refused = marked(&parent, &name(left), OWNER).unwrap_err();
            assert!(matches!(refused, RemoveError::NotOurs(_)), "{refused}");
            assert!(root.path().join(left).exists(), "{left}");
        }
        assert!(!root.path().join("ours").exists());
    }

    #[test]
    fn removal_takes_a_link_as_a_link() {
        let (root, victim) = (tempfile::tempdir().unwrap(), victim());
        let parent = Dir::at(root.path()).unwrap();
        symlink(victim.path(), root.path().join("job")).unwrap();
        // Even a mark in what the link leads to makes it none of ours.
        mark(&Dir::at(victim.path()).unwrap(), OWNER).unwrap();
        assert!(marked(&parent, &name("job"), OWNER).is_err());
        make(root.path(), "ours/deep");
        mark(&parent.dir(&name("ours")).unwrap(), OWNER).unwrap();
        symlink(victim.path(), root.path().join("ours/link")).unwrap();
        symlink(victim.path(), root.path().join("ours/deep/link")).unwrap();
        symlink("..", root.path().join("ours/deep/up")).unwrap();
        assert!(marked(&parent, &name("ours"), OWNER).is_ok());
        assert!(!root.path().join("ours").exists());
        assert!(victim.path().join("data/precious").exists());
    }

    #[test]
    fn removal_needs_no_stack_for_deep_folders_and_opens_closed_ones() {
        // Some disks take milliseconds for each folder that goes.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let root = root.unwrap();
        let parent = Dir::at(root.path()).unwrap();
        let mut here = make(root.path(), "ours");
        for _ in 0..40_000 {
            here = here.make(&name("d")).unwrap();
        }
        here.write_new(&name("leaf"), b"leaf").unwrap();
        let closed = root.path().join("ours/closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        fs::write(closed.join("inner/file"), "file").unwrap();
        for folder in [closed.join("inner"), closed] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
        }
        assert!(marked(&parent, &name("ours"), OWNER).is_ok());
        assert!(!root.path().join("ours").exists());
    }
}
