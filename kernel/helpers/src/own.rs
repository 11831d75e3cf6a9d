//! Files and folders that only the user can write: no other user can have changed the files that
//! are loaded, locked or removed later.
//!
//! Files below the kernel's folders are opened through handles, without following symbolic links
//! and without blocking on a FIFO. Only folders that contain [`MARK`] are ever removed recursively.

mod removal;

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

pub use removal::remove;

/// The file that marks a folder as the kernel's; the kernel may remove such a folder recursively.
pub const MARK: &str = ".azureml-kernel";

/// Creates a folder and its missing parents, and checks that the folder belongs to the user.
///
/// # Errors
/// If it cannot be created, or if another user owns it or can write to it.
pub fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)?;
    // The folder may be a symbolic link of the user; its target is checked.
    check_one(path, &fs::metadata(path)?)
}

/// Creates a folder with a random name that no other user can read, with [`MARK`] in it.
///
/// # Errors
/// If the folder cannot be created.
pub fn staging(prefix: &str, parent: &Path) -> io::Result<tempfile::TempDir> {
    let made = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)?;
    mark(made.path())?;
    Ok(made)
}

/// Marks a new folder as removable.
///
/// # Errors
/// If the mark cannot be written.
pub fn mark(folder: &Path) -> io::Result<()> {
    options(true).open(folder.join(MARK)).map(drop)
}

/// Creates a removable folder with a known name, or uses the existing one.
///
/// # Errors
/// The same as for [`folder`], and if the path is a symbolic link.
pub fn marked_folder(path: &Path, root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            folder(path)?;
            mark(path)?;
        }
        // Created by cargo for an older kernel that did not write marks.
        Ok(_) if path.join(".rustc_info.json").is_file() => {
            check(path, root)?;
            mark(path)?;
        }
        _ => {}
    }
    check(path, root)
}

/// Checks that a path and all folders above it, up to `root`, belong to the user and are not
/// symbolic links. The mode of files in a folder that other users cannot enter does not matter.
///
/// # Errors
/// Names the first path, from the top, that fails the check.
pub fn check(path: &Path, root: &Path) -> io::Result<()> {
    let mut chain: Vec<&Path> = path
        .ancestors()
        .take_while(|above| *above != root)
        .collect();
    chain.reverse();
    let about = fs::metadata(root)?;
    check_one(root, &about)?;
    let mut closed = is_closed(&about);
    for below in chain {
        let about = fs::symlink_metadata(below)?;
        if about.is_symlink() {
            return Err(refused(below, "is a link, which is not followed"));
        }
        check_owner(below, &about)?;
        if !closed {
            check_mode(below, &about)?;
            closed = is_closed(&about);
        }
    }
    Ok(())
}

fn is_closed(about: &Metadata) -> bool {
    let others = about.mode() & 0o077;
    about.is_dir() && others == 0
}

/// Opens a file of the user for reading.
///
/// # Errors
/// If the file does not exist, is a symbolic link, is not a regular file, or belongs to another
/// user.
pub fn open(path: &Path) -> io::Result<File> {
    regular(path, options(false).open(path)?)
}

/// Opens a file of the user for reading and writing, or creates it; the existing content is kept.
///
/// # Errors
/// The same as for [`open`].
pub fn create(path: &Path) -> io::Result<File> {
    regular(path, options(true).open(path)?)
}

/// Opens a file of the user for appending and reading, or creates it.
///
/// # Errors
/// The same as for [`open`].
pub fn append(path: &Path) -> io::Result<File> {
    regular(path, options(true).append(true).open(path)?)
}

/// Reads a file of the user.
///
/// # Errors
/// The same as for [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Options for opening files. Without `NONBLOCK`, opening a FIFO blocks until another process opens
/// it.
fn options(write: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .read(true)
        .write(write)
        .create(write)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed());
    options
}

fn regular(path: &Path, file: File) -> io::Result<File> {
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(refused(path, "is no regular file"));
    }
    check_one(path, &about)?;
    Ok(file)
}

/// Checks that only the user or root can have written the file.
fn check_one(path: &Path, about: &Metadata) -> io::Result<()> {
    check_owner(path, about)?;
    check_mode(path, about)
}

fn check_owner(path: &Path, about: &Metadata) -> io::Result<()> {
    let owner = about.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        return Err(refused(
            path,
            &format!("belongs to another user ({owner}): remove it, or choose another folder"),
        ));
    }
    Ok(())
}

fn check_mode(path: &Path, about: &Metadata) -> io::Result<()> {
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(refused(
            path,
            &format!("can be changed by other users (mode {mode:o}): `chmod go-w` ends that"),
        ));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("{} {why}", path.display()),
    )
}

/// Checks that other users cannot rename files in a folder for temporary files.
///
/// # Errors
/// If they can.
pub fn check_temporary(path: &Path) -> io::Result<()> {
    let about = fs::metadata(path)?;
    // In a sticky folder, only the owners of the folder and of an entry can rename the entry.
    let sticky = about.mode() & 0o1000 != 0;
    let owner = about.uid();
    if sticky && (owner == 0 || owner == geteuid().as_raw()) {
        return Ok(());
    }
    check_one(path, &about)
}

/// The file operations of publishing; a trait, so that a test can check their order.
trait Disk {
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

struct RealDisk;

impl Disk for RealDisk {
    fn sync(&mut self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
}

/// Renames a finished file or folder to its final name, atomically and durably, even on a power
/// failure: all content is fsynced before the rename, and the rename is durable before this
/// function returns.
///
/// # Errors
/// If a step fails; `to` is then either unchanged or complete.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    publish_on(&mut RealDisk, from, to)
}

fn publish_on(disk: &mut impl Disk, from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        // Until now, other users could not read the folder.
        fs::set_permissions(from, fs::Permissions::from_mode(0o755))?;
    }
    sync_tree(disk, from)?;
    disk.rename(from, to)?;
    disk.sync(to.parent().unwrap_or(Path::new(".")))
}

/// Fsyncs a file or a folder with all its content, and removes the write permission of other users
/// that the user's umask may have granted.
fn sync_tree(disk: &mut impl Disk, path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if about.is_dir() {
        let mut entries = fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        for entry in entries {
            sync_tree(disk, &entry)?;
        }
    } else if !about.is_file() {
        return Ok(());
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o022))?;
    }
    disk.sync(path)
}

/// Whether a file name is one of the kernel's marks in a folder.
fn is_mark(name: &OsStr) -> bool {
    name == MARK || name == crate::layout::MANIFEST
}

#[cfg(test)]
mod tests;
