//! Folders as open handles. Paths are resolved below the handle, and symbolic links are not
//! followed.
//!
//! A validated name ([`crate::name`]) cannot lead up, but a job may have created a link to
//! anywhere, and folders may be moved while they are read. The kernel therefore resolves each path,
//! by `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`. If a kernel or a sandbox does not
//! support that call, each segment is opened separately with `O_NOFOLLOW`.

use crate::name::{Fixed, Relative};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open folder. It stays the same folder when it is renamed.
#[derive(Debug, Clone)]
pub struct Dir {
    fd: Arc<OwnedFd>,
}

/// An entry of a folder.
#[derive(Debug, Clone)]
pub struct Entry {
    name: CString,
    /// The type of the entry; links are not followed.
    pub kind: FileType,
}

impl Entry {
    /// The name, if it is valid UTF-8.
    pub fn name(&self) -> Option<&str> {
        self.name.to_str().ok()
    }

    /// The name for use in messages.
    pub fn shown(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    pub(crate) fn raw(&self) -> &CStr {
        &self.name
    }
}

/// The flags for opening a folder.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The flags for opening a file to read: a FIFO must not block, and a terminal must not become the
/// controlling terminal.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the folder at a trusted path; links in the path are followed.
    pub fn at(path: &Path) -> io::Result<Self> {
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Opens a folder below this one.
    pub fn dir(&self, path: &impl Relative) -> io::Result<Self> {
        self.open(path.as_str(), FOLDER)
            .map(|fd| Self { fd: Arc::new(fd) })
    }

    /// Opens a folder below this one; creates it and its parents if necessary.
    pub fn make(&self, path: &impl Relative) -> io::Result<Self> {
        let mut here = self.clone();
        for part in path.as_str().split('/') {
            match rustix::fs::mkdirat(&here, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let fd = open_part(here.as_fd(), part, FOLDER)?;
            here = Self { fd: Arc::new(fd) };
        }
        Ok(here)
    }

    /// Creates a folder below this one; fails if the name exists.
    pub fn make_new(&self, name: &impl Relative) -> io::Result<Self> {
        let (folder, last) = self.parent(name)?;
        rustix::fs::mkdirat(&folder, last, Mode::from_raw_mode(0o777))?;
        let fd = open_part(folder.as_fd(), last, FOLDER)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// The metadata of a regular file, without opening it for reading; `None` for any other type.
    pub fn metadata(&self, path: &impl Relative) -> io::Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let metadata = File::from(self.open(path.as_str(), flags)?).metadata()?;
        Ok(metadata.is_file().then_some(metadata))
    }

    /// Opens a regular file for reading. Any other type, including a link, is reported as not
    /// found.
    pub fn file(&self, path: &impl Relative) -> io::Result<File> {
        let file = File::from(self.open(path.as_str(), FILE)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Writes a new file; fails if the name exists.
    pub fn write_new(&self, path: &impl Relative, content: &[u8]) -> io::Result<()> {
        self.create(path)?.write_all(content)
    }

    /// Creates a file for writing; fails if the name exists.
    pub fn create(&self, path: &impl Relative) -> io::Result<File> {
        let (folder, last) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        Ok(rustix::fs::openat(&folder, last, flags, mode)?.into())
    }

    /// Opens a regular file for appending; creates it if necessary.
    pub fn append(&self, path: &impl Relative) -> io::Result<File> {
        let (folder, last) = self.parent(path)?;
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = File::from(rustix::fs::openat(&folder, last, flags, mode)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Opens a folder for reading, from a handle that was opened with `O_PATH`.
    pub(crate) fn reopen(folder: &OwnedFd) -> io::Result<Self> {
        let fd = rustix::fs::openat(folder, ".", FOLDER, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// The status of an entry; links are not followed.
    pub fn stat(&self, path: &impl Relative) -> io::Result<Stat> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::statat(
            &folder,
            last,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Moves the file at `from`, a trusted path, to `to`.
    pub fn rename_into(&self, from: &Path, to: &impl Relative) -> io::Result<()> {
        let (folder, last) = self.parent(to)?;
        Ok(rustix::fs::renameat(CWD, from, &folder, last)?)
    }

    /// Removes a file.
    pub fn unlink(&self, path: &impl Relative) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&folder, last, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub fn rmdir(&self, path: &impl Relative) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&folder, last, AtFlags::REMOVEDIR)?)
    }

    /// The entries, in no particular order.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                // Some file systems do not return the type.
                match rustix::fs::statat(&self.fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            entries.push(Entry {
                name: entry.file_name().to_owned(),
                kind,
            });
        }
        Ok(entries)
    }

    /// Opens the parent folder of a path; also returns the last segment.
    pub(crate) fn parent<'a>(&self, path: &'a impl Relative) -> io::Result<(Self, &'a str)> {
        match path.as_str().rsplit_once('/') {
            None => Ok((self.clone(), path.as_str())),
            Some((folder, last)) => {
                let fd = self.open(folder, FOLDER)?;
                Ok((Self { fd: Arc::new(fd) }, last))
            }
        }
    }

    /// Opens a validated path.
    fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        static MISSING: AtomicBool = AtomicBool::new(false);
        if !MISSING.load(Ordering::Relaxed) {
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(fd),
                Err(Errno::NOSYS) => MISSING.store(true, Ordering::Relaxed),
                // A sandbox denies the call, or a concurrent rename interfered: falls back to the
                // other method.
                Err(Errno::PERM | Errno::AGAIN) => {}
                Err(error) => return Err(absent_when_a_link(error)),
            }
        }
        open_by_parts(self.as_fd(), path, flags).map_err(absent_when_a_link)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens each segment of a path separately.
fn open_by_parts(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (folders, last) = match path.rsplit_once('/') {
        Some((folders, last)) => (Some(folders), last),
        None => (None, path),
    };
    let mut here: Option<OwnedFd> = None;
    for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
        let at = here.as_ref().map_or(root, AsFd::as_fd);
        here = Some(open_part(at, part, FOLDER)?);
    }
    open_part(here.as_ref().map_or(root, AsFd::as_fd), last, flags)
}

/// Opens one segment of a path; `flags` must not follow links.
fn open_part(at: BorrowedFd<'_>, part: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    // Defense in depth: the type of the path guarantees this already.
    if matches!(part, "" | "." | "..") || part.contains('/') {
        return Err(Errno::INVAL);
    }
    rustix::fs::openat(at, part, flags, Mode::empty())
}

/// Maps the error for a link to "not found".
fn absent_when_a_link(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::XDEV => Errno::NOENT.into(),
        error => error.into(),
    }
}

/// Whether an error means that the path does not exist.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

/// Names of folders that the workspace creates.
pub mod part {
    use super::Fixed;

    /// The outputs of a run.
    pub const OUTPUTS: Fixed = Fixed::new("outputs");
    /// The logs that a job's script writes.
    pub const LOGS: Fixed = Fixed::new("logs");
    /// The logs of a job's processes.
    pub const USER_LOGS: Fixed = Fixed::new("user_logs");
    /// The named outputs of a job.
    pub const NAMED_OUTPUTS: Fixed = Fixed::new("named-outputs");
    /// The inputs of a job.
    pub const INPUTS: Fixed = Fixed::new("inputs");
    /// A job's working directory.
    pub const WORK: Fixed = Fixed::new("wd");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::BlobName;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn name(path: &str) -> BlobName {
        BlobName::parse(path).unwrap()
    }

    #[test]
    fn traversal_links_lead_nowhere_by_either_way_of_opening() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/file"), "file").unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), root.path().join("a/leak")).unwrap();
        symlink("b", root.path().join("a/inside")).unwrap();
        symlink("/proc/self/fd", root.path().join("magic")).unwrap();
        rustix::fs::mknodat(
            CWD,
            root.path().join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let dir = Dir::at(root.path()).unwrap();
        assert!(dir.file(&name("a/b/file")).is_ok());
        assert!(open_by_parts(dir.as_fd(), "a/b/file", FILE).is_ok());
        for path in [
            "out/secret",
            "a/leak",
            "a/inside/file",
            "magic/0",
            "fifo",
            "a",
            "gone",
        ] {
            assert!(dir.file(&name(path)).is_err(), "{path}");
            assert!(dir.make(&name(path)).is_err() || path == "a" || path == "gone");
            let by_parts = open_by_parts(dir.as_fd(), path, FILE).map(File::from);
            assert!(
                by_parts.is_err() || !by_parts.unwrap().metadata().unwrap().is_file(),
                "{path}"
            );
        }
        for path in ["..", "a/../..", "/etc", "a//b", "."] {
            assert!(open_by_parts(dir.as_fd(), path, FOLDER).is_err(), "{path}");
        }
    }
}
