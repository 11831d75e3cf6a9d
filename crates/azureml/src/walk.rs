//! Walks a folder for the files to upload. A file that cannot be uploaded is an error with its
//! name; it is never omitted silently.

use crate::error::{Error, Result};
use crate::progress::say;
use ignore::gitignore::Gitignore;
use std::fs::{self, DirEntry, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The most files of a folder; a larger tree is considered endless, because links can form one.
const MOST: usize = 2_000_000;

const WAY_OUT: &str = "remove it, or list it in .amlignore";

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path relative to the folder, with `/` as the separator.
    pub name: String,
    /// The path on this machine.
    pub path: PathBuf,
    /// The size in bytes.
    pub size: u64,
}

/// A walk over a folder.
pub struct Walk<'a> {
    root: &'a Path,
    rules: Gitignore,
    files: Vec<Entry>,
    /// Folders that are still to be read, with their depth.
    pending: Vec<(PathBuf, usize)>,
    /// The folders from the root to the current one.
    above: Vec<Id>,
}

/// Identifies a folder independently of its path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Id {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl<'a> Walk<'a> {
    /// A walk over `root`, without the files that the rules ignore.
    pub fn new(root: &'a Path, rules: Gitignore) -> Self {
        Self {
            root,
            rules,
            files: Vec::new(),
            pending: vec![(root.to_owned(), 0)],
            above: Vec::new(),
        }
    }

    /// All files.
    pub fn files(mut self) -> Result<Vec<Entry>> {
        // A list instead of recursion: a deep tree uses memory, not the stack.
        while let Some((folder, depth)) = self.pending.pop() {
            let cannot = || Error::io("cannot read", &folder);
            let found = folder.metadata().map_err(cannot())?;
            self.above.truncate(depth);
            self.above.push(Id::from(&found));
            for entry in fs::read_dir(&folder).map_err(cannot())? {
                self.look_at(&entry.map_err(cannot())?, depth)?;
            }
        }
        Ok(self.files)
    }

    fn look_at(&mut self, entry: &DirEntry, depth: usize) -> Result<()> {
        let path = entry.path();
        let found = match path.metadata() {
            Ok(found) => found,
            // The target is unknown, so the path is ignored if a file or a folder of this name
            // would be.
            Err(_) if self.ignores(&path, false) || self.ignores(&path, true) => return Ok(()),
            Err(error) => return Err(unreadable(&path, error)),
        };
        if self.ignores(&path, found.is_dir()) {
            return Ok(());
        }
        if found.is_dir() {
            return self.enter(path, &found, depth);
        }
        if !found.is_file() {
            return Err(not_a_file(&path, found.file_type()));
        }
        if self.files.len() == MOST {
            return Err(Error::invalid(
                format!(
                    "{} holds more than {MOST} files, some perhaps by way of links",
                    self.root.display()
                ),
                "list what is not needed in .amlignore, or give it as several inputs",
            ));
        }
        self.files.push(Entry {
            name: name(self.root, &path)?,
            size: found.len(),
            path,
        });
        Ok(())
    }

    fn enter(&mut self, path: PathBuf, found: &Metadata, depth: usize) -> Result<()> {
        // The repository's `.git` folder is never part of the code.
        if path.file_name().is_some_and(|name| name == ".git") {
            say(&format!(
                "{} is not sent: it is the repository's own",
                path.display()
            ));
            return Ok(());
        }
        if self.above.contains(&Id::from(found)) {
            return Err(Error::invalid(
                format!("{} leads back to a folder that it lies in", path.display()),
                WAY_OUT,
            ));
        }
        self.pending.push((path, depth + 1));
        Ok(())
    }

    fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        self.rules.matched(path, is_dir).is_ignore()
    }
}

/// The name below the folder, as in the store.
fn name(root: &Path, path: &Path) -> Result<String> {
    let wrong = |what: &str| {
        Error::invalid(
            format!("the name of {} {what}", path.display()),
            "rename the file, or list it in .amlignore",
        )
    };
    let name = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_str()
        .ok_or_else(|| wrong("is not UTF-8"))?;
    if name.contains('\\') {
        return Err(wrong("holds a backslash, which ends a folder in a store"));
    }
    Ok(name.to_owned())
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    match fs::read_link(path) {
        Ok(target) => Error::invalid(
            format!(
                "{} leads to {}, which cannot be read: {error}",
                path.display(),
                target.display()
            ),
            "mend the link, remove it, or list it in .amlignore",
        ),
        Err(_) => Error::io("cannot read", path)(error),
    }
}

/// The error of a special file, which has no content to upload.
pub fn not_a_file(path: &Path, kind: FileType) -> Error {
    let kind = if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Error::invalid(
        format!("{} is {kind}, which cannot be sent", path.display()),
        WAY_OUT,
    )
}
