//! Files and folders that are the user's own: nobody else can have put into them what is loaded, locked
//! or removed later.
//!
//! What is below a folder of ours is opened through handles, without following links and without waiting
//! for the other end of a FIFO. Only folders with [`MARK`] in them are ever removed with what they hold.

mod removal;

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

pub use removal::remove;

/// The file that says that a folder is the kernel's, to be removed by it with all it holds.
pub const MARK: &str = ".azureml-kernel";

/// Makes a folder, and those above it that are missing, and checks that it is the user's own.
///
/// # Errors
/// When it cannot be made, or when somebody else owns it or may write into it.
pub fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)?;
    // The folder may be a link that the user has made; what matters is where it leads.
    check_one(path, &fs::metadata(path)?)
}

/// Makes a folder with a random name that nobody else may look into, with [`MARK`] in it.
///
/// # Errors
/// When the folder cannot be made.
pub fn staging(prefix: &str, parent: &Path) -> io::Result<tempfile::TempDir> {
    let made = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)?;
    mark(made.path())?;
    Ok(made)
}

/// Marks a folder that was just made as one that may be removed.
///
/// # Errors
/// When the mark cannot be written.
pub fn mark(folder: &Path) -> io::Result<()> {
    options(true).open(folder.join(MARK)).map(drop)
}

/// Makes a folder of a known name that may be removed, or takes the one that is there.
///
/// # Errors
/// As [`folder`], and when it is a link.
pub fn marked_folder(path: &Path, root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            folder(path)?;
            mark(path)?;
        }
        // Made by cargo for a kernel that left no marks.
        Ok(_) if path.join(".rustc_info.json").is_file() => {
            check(path, root)?;
            mark(path)?;
        }
        _ => {}
    }
    check(path, root)
}

/// Checks that a path and all folders above it, up to `root`, are the user's own and no links. What is
/// in a folder that others cannot even enter may have any mode.
///
/// # Errors
/// Names the first one, from above, that is not.
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

/// Opens a file of the user's own for reading.
///
/// # Errors
/// When there is none, and when it is a link, no regular file, or somebody else's.
pub fn open(path: &Path) -> io::Result<File> {
    regular(path, options(false).open(path)?)
}

/// Opens a file of the user's own for reading and writing, or makes it; what it holds stays.
///
/// # Errors
/// As [`open`].
pub fn create(path: &Path) -> io::Result<File> {
    regular(path, options(true).open(path)?)
}

/// Opens a file of the user's own for writing at its end and for reading, or makes it.
///
/// # Errors
/// As [`open`].
pub fn append(path: &Path) -> io::Result<File> {
    regular(path, options(true).append(true).open(path)?)
}

/// Reads a file of the user's own.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How files are opened here. Without `NONBLOCK`, opening a FIFO waits for somebody at its other end.
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

/// Checks that nobody but the user, or root, can have written it.
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

/// Checks that a folder for temporary files can be shared with other users: they cannot rename what
/// is in it.
///
/// # Errors
/// When they can.
pub fn check_temporary(path: &Path) -> io::Result<()> {
    let about = fs::metadata(path)?;
    // In a sticky folder, only its owner and the owner of an entry can rename that.
    let sticky = about.mode() & 0o1000 != 0;
    let owner = about.uid();
    if sticky && (owner == 0 || owner == geteuid().as_raw()) {
        return Ok(());
    }
    check_one(path, &about)
}

/// The steps in which something is published; a seam for the test of their order.
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

/// Gives a finished file or folder its name, at once and whole, even if the power fails: all of it is
/// on the disk before it has the name, and the name is before this returns.
///
/// # Errors
/// When that fails; `to` is then what it was, or whole.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    publish_on(&mut RealDisk, from, to)
}

fn publish_on(disk: &mut impl Disk, from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        // While it was made, nobody else might look into it.
        fs::set_permissions(from, fs::Permissions::from_mode(0o755))?;
    }
    sync_tree(disk, from)?;
    disk.rename(from, to)?;
    disk.sync(to.parent().unwrap_or(Path::new(".")))
}

/// Brings a file, or a folder with all it holds, to the disk, and takes from others the right to write
/// into it that the user's umask may have given them.
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

/// Whether a name is one of the kernel's own marks in a folder.
fn is_mark(name: &OsStr) -> bool {
    name == MARK || name == crate::set::MANIFEST
}

#[cfg(test)]
mod tests;
