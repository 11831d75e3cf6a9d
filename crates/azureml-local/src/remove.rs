//! Recursive removal of folders, limited to those that this workspace has created. Links are never
//! followed.
//!
//! A removable folder contains a mark: a file that is written at its creation, with the id of the
//! workspace. The folder is emptied through its open handle. A link is removed as a link, and the
//! mount of another disk is left alone. At most three folders are open at a time, regardless of the
//! nesting depth, because each subfolder is moved to the top level before it is emptied.

use crate::dir::{Dir, Entry, is_absent};
use crate::error::Error;
use crate::name::{MARK, Relative};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};
use std::{io, mem};

/// The reasons why a folder is not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The folder has no mark, or the mark of another workspace.
    #[error(
        "{0} was not made by this local workspace, so it is left alone\nhint: move it away yourself"
    )]
    NotOurs(String),
    /// An entry cannot be removed.
    #[error("{folder} could not be removed: {source}")]
    Io {
        /// The name of the folder.
        folder: String,
        /// The I/O error.
        source: io::Error,
    },
}

impl From<RemoveError> for Error {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::NotOurs(_) => Self::conflict(error.to_string()),
            RemoveError::Io { .. } => Self::Internal(error.to_string()),
        }
    }
}

/// Creates a marked folder; fails if the name exists.
pub fn make(parent: &Dir, name: &impl Relative, owner: &str) -> io::Result<Dir> {
    let folder = parent.make_new(name)?;
    mark(&folder, owner)?;
    Ok(folder)
}

/// Writes the mark of a workspace into a folder that the workspace has created.
pub fn mark(folder: &Dir, owner: &str) -> io::Result<()> {
    folder.write_new(&MARK, owner.as_bytes())
}

/// Whether a folder contains the mark of a workspace.
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

/// Removes a marked folder; succeeds if it does not exist.
pub fn marked(parent: &Dir, name: &impl Relative, owner: &str) -> Result<(), RemoveError> {
    match parent.dir(name) {
        Ok(folder) if is_marked(&folder, owner) => tree(parent, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_gone(parent, name) => Ok(()),
        Ok(_) | Err(_) => Err(RemoveError::NotOurs(name.as_str().to_owned())),
    }
}

/// Whether the name does not exist, not even as a link.
fn is_gone(parent: &Dir, name: &impl Relative) -> bool {
    parent.stat(name).is_err_and(|error| is_absent(&error))
}

/// Removes a folder or a file. The caller must ensure that it is below a marked folder, or that the
/// store lists it as the workspace's own.
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
    // The mark is removed last, so that a removal can be continued after an interruption.
    match folder.unlink(&MARK) {
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    parent.rmdir(name)
}

/// Removes everything in a folder except the mark. Continues after errors, and returns the first
/// one.
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

/// The state of a removal: subfolders are moved up to the top folder.
struct Emptied<'a> {
    top: &'a Dir,
    lifted: u64,
    /// Whether the last pass removed anything: an earlier failure may then succeed.
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

    /// Removes an entry of the top folder; the subfolders of a folder are moved to the top folder.
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
        // `open` makes the folder writable, because a read-only folder cannot be moved.
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

/// Opens a folder on the same mount and gives its owner all permissions, which a job may have
/// removed.
fn open(parent: &Dir, name: &CStr) -> io::Result<Dir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if mount_of(&found)? != mount_of(parent)? {
        return Err(Errno::XDEV.into());
    }
    let stat = rustix::fs::fstat(&found)?;
    if stat.st_mode & 0o700 != 0o700 {
        // By handle, because the name may be a link by now.
        let handle = format!("/proc/self/fd/{}", found.as_raw_fd());
        rustix::fs::chmod(handle, Mode::RWXU)?;
    }
    Dir::reopen(&found)
}

/// The device and the mount of a folder: a mount inside a folder is not part of the folder.
fn mount_of(folder: impl AsFd) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::fstat(&folder)?.st_dev;
    // Linux before 5.8 has no mount ids, and a sandbox may not support the call.
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

    /// A folder with a file that must not be removed.
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
        // A mark in the target of a link does not make the link removable.
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
        // Some disks take milliseconds to remove a folder.
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
