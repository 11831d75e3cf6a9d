//! Blob contents: one file for each blob, at `blobs/{container}/{name}`.
//!
//! Blobs are published atomically: the content is written to a temporary file, which is then
//! renamed. It is durable before an upload is marked as complete or a version relies on it.

use crate::dir::{Dir, is_absent};
use crate::durable;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::name::{BlobName, ContainerName, DEFAULT_CONTAINER, Relative};
use crate::remove;
use rustix::fs::FileType;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A blob with its metadata.
#[derive(Debug, Clone)]
pub struct Found {
    /// The name of the blob, or its path in the listed folder.
    pub name: String,
    /// The size in bytes.
    pub length: u64,
    /// The time of the last write.
    pub modified: SystemTime,
    inode: u64,
    /// The folder from which `path` is opened.
    dir: Dir,
    path: BlobName,
}

/// An open blob. Its content stays the same even if the blob is replaced.
#[derive(Debug)]
pub struct Opened {
    /// The open file.
    pub file: File,
    /// The metadata of the open content.
    pub found: Found,
}

impl Opened {
    /// Opens the file at `path` in a folder.
    pub fn at(dir: &Dir, path: BlobName, name: String) -> io::Result<Self> {
        let file = dir.file(&path)?;
        let found = Found::new(name, dir.clone(), path, &file.metadata()?);
        Ok(Self { file, found })
    }
}

impl Found {
    fn new(name: String, dir: Dir, path: BlobName, metadata: &Metadata) -> Self {
        Self {
            name,
            length: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            inode: metadata.ino(),
            dir,
            path,
        }
    }

    /// Opens the current content of the blob, which may be newer than this metadata.
    pub fn open(&self) -> Result<Opened> {
        Opened::at(&self.dir, self.path.clone(), self.name.clone())
            .map_err(|error| missing_or(error, &self.name))
    }

    /// Sets the modification time, because a change of properties or metadata changes the `ETag`.
    pub fn touch(&self, modified: SystemTime) -> Result<Self> {
        let Opened { file, found } = self.open()?;
        file.set_modified(modified)?;
        let metadata = file.metadata()?;
        Ok(Self::new(found.name, found.dir, found.path, &metadata))
    }

    /// The metadata as it will be after [`Found::touch`].
    #[must_use]
    pub fn touched(&self, modified: SystemTime) -> Self {
        Self {
            modified,
            ..self.clone()
        }
    }

    /// The `ETag`. It changes with the content, because each new content is another file.
    pub fn etag(&self) -> String {
        etag(self.modified, self.inode, self.length)
    }
}

fn etag(modified: SystemTime, inode: u64, length: u64) -> String {
    let nanoseconds = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("\"0x{nanoseconds:X}{inode:X}{length:X}\"")
}

/// The `ETag` that a temporary file will have as a blob.
pub fn etag_of(temporary: &Path) -> Result<String> {
    let metadata = fs::symlink_metadata(temporary)?;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(etag(modified, metadata.ino(), metadata.len()))
}

/// Percent-decodes a path.
pub fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            // Two hexadecimal digits fit into a byte.
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Opens the folder of a container.
pub fn container(home: &Home, name: &ContainerName) -> Result<Dir> {
    let opened = Dir::at(&home.blobs()).and_then(|blobs| blobs.dir(name));
    opened.map_err(|error| {
        if is_absent(&error) {
            Error::NotFound {
                code: "ContainerNotFound",
                message: format!("there is no container {:?}", name.as_str()),
            }
        } else {
            error.into()
        }
    })
}

/// Creates a container; returns whether it is new.
pub fn create_container(home: &Home, name: &ContainerName) -> Result<bool> {
    match remove::make(&Dir::at(&home.blobs())?, name, home.owner()) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a blob.
pub fn open(home: &Home, container_name: &ContainerName, name: &BlobName) -> Result<Opened> {
    let folder = container(home, container_name)?;
    Opened::at(&folder, name.clone(), name.to_string())
        .map_err(|error| missing_or(error, name.as_str()))
}

/// The metadata of a blob.
pub fn find(home: &Home, container_name: &ContainerName, name: &BlobName) -> Result<Found> {
    open(home, container_name, name).map(|opened| opened.found)
}

/// The error for a blob that does not exist.
pub fn missing(name: &str) -> Error {
    Error::NotFound {
        code: "BlobNotFound",
        message: format!("there is no blob {name:?}"),
    }
}

/// Whether the error means that this user lacks the permission.
fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn missing_or(error: io::Error, name: &str) -> Error {
    if is_absent(&error) {
        missing(name)
    } else {
        error.into()
    }
}

/// The blobs of a container whose names start with `prefix`, sorted by name.
pub fn list(home: &Home, container_name: &ContainerName, prefix: &str) -> Result<Vec<Found>> {
    let folder = container(home, container_name)?;
    let mut found = Vec::new();
    // Only the folder in the prefix needs to be walked.
    match prefix.rsplit_once('/') {
        None => walk(&folder, None, &mut found)?,
        Some((start, _)) => {
            if let Some(start) = BlobName::of(start) {
                match folder.dir(&start) {
                    Ok(below) => walk(&below, Some(&start), &mut found)?,
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    found.retain(|blob| blob.name.starts_with(prefix));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Collects the regular files below a folder; `prefix` is prepended to their names. Links are not
/// followed. Unreadable folders and names that are not valid for a blob are skipped. The maximum
/// length of a blob name limits the depth.
pub fn walk(folder: &Dir, prefix: Option<&BlobName>, found: &mut Vec<Found>) -> Result<()> {
    let mut waiting: Vec<Option<BlobName>> = vec![None];
    while let Some(path) = waiting.pop() {
        let opened = match &path {
            None => Ok(folder.clone()),
            Some(path) => folder.dir(path),
        };
        let here = match opened {
            Ok(here) => here,
            // The folder may have been removed meanwhile.
            Err(error) if is_absent(&error) || is_closed(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in here.entries()? {
            // The blob service creates only names that are valid UTF-8.
            let Some(path) = entry
                .name()
                .and_then(|name| BlobName::within(path.as_ref(), name))
            else {
                continue;
            };
            match entry.kind {
                FileType::Directory => waiting.push(Some(path)),
                FileType::RegularFile => {
                    let name = match prefix {
                        Some(prefix) => format!("{prefix}/{path}"),
                        None => path.to_string(),
                    };
                    let last = path.split().1;
                    if let Ok(Some(metadata)) = here.metadata(&last) {
                        found.push(Found::new(name, folder.clone(), path, &metadata));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Publishes a temporary file as a blob. [`Home::settle`] makes it durable.
pub fn publish(
    home: &Home,
    temporary: &Path,
    container_name: &ContainerName,
    name: &BlobName,
) -> Result<Found> {
    let container = container(home, container_name)?;
    // Reads the metadata before the rename, because another upload may replace the blob right after
    // it.
    let metadata = fs::symlink_metadata(temporary)?;
    let root = home.blobs().join(container_name.as_str());
    let place = || durable::publish(temporary, &container, &root, name);
    let file = place()
        .or_else(|error| match error.kind() {
            // A concurrent deletion of the last blob in the folder has removed the folder, too.
            io::ErrorKind::NotFound => place(),
            _ => Err(error),
        })
        .map_err(in_the_way)?;
    home.unsettle(file);
    Ok(Found::new(
        name.to_string(),
        container,
        name.clone(),
        &metadata,
    ))
}

/// The error for a file in the place of a folder, or the reverse.
fn in_the_way(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotFound
        | io::ErrorKind::DirectoryNotEmpty => Error::Conflict {
            code: "PathConflict",
            message: "a blob of that name would be a file and a folder at once".to_owned(),
        },
        _ => error.into(),
    }
}

/// Removes a blob, and the folders that become empty.
pub fn delete(home: &Home, container_name: &ContainerName, name: &BlobName) -> Result<()> {
    let container = container(home, container_name)?;
    // Fails for a folder, which is not a blob.
    Opened::at(&container, name.clone(), name.to_string())
        .and_then(|_| container.unlink(name))
        .map_err(|error| missing_or(error, name.as_str()))?;
    let mut folder = name.split().0;
    while let Some(empty) = folder {
        if container.rmdir(&empty).is_err() {
            break;
        }
        folder = empty.split().0;
    }
    Ok(())
}

/// A unique path for a temporary file.
pub fn temporary(home: &Home) -> PathBuf {
    home.temporary().join(uuid::Uuid::new_v4().to_string())
}

/// The retention time of uploads that are never used.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// Removes old uploads that are not registered; `mentioned` returns whether a record refers to a
/// container.
pub fn tidy(home: &Home, mentioned: impl Fn(&str) -> bool) -> io::Result<()> {
    let is_old = |folder: &Dir| {
        let age = File::from(folder.as_fd().try_clone_to_owned()?)
            .metadata()?
            .modified()?
            .elapsed();
        io::Result::Ok(age.is_ok_and(|age| age > FORGOTTEN))
    };
    let remove_old = |root: PathBuf, goes: &dyn Fn(&str) -> bool| {
        let root = Dir::at(&root)?;
        for entry in root.entries()? {
            let Some(name) = entry.name().and_then(BlobName::of) else {
                continue;
            };
            let old = root.dir(&name).and_then(|folder| is_old(&folder));
            if old.unwrap_or(false) && goes(name.as_str()) {
                // After a failure, the next start tries again. Folders without a mark are never
                // removed.
                let _ = remove::marked(&root, &name, home.owner());
            }
        }
        Ok(())
    };
    remove_old(home.blobs(), &|name| {
        name != DEFAULT_CONTAINER && !mentioned(name)
    })?;
    remove_old(home.blocks(), &|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn paths_are_decoded() {
        assert_eq!(decode("/a%20b/%C3%A9").as_deref(), Some("/a b/é"));
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%FF"), None);
    }

    #[test]
    fn uploads_that_nothing_came_of_go_after_a_while() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(Some(root.path().to_owned())).unwrap();
        let _lock = home.take().unwrap();
        let old = SystemTime::now() - 2 * FORGOTTEN;
        for name in [DEFAULT_CONTAINER, "forgotten", "registered", "fresh"] {
            create_container(&home, &ContainerName::parse(name).unwrap()).unwrap();
            fs::write(home.blobs().join(name).join("a"), "a").unwrap();
            if name != "fresh" {
                let folder = File::open(home.blobs().join(name)).unwrap();
                folder.set_modified(old).unwrap();
            }
        }
        tidy(&home, |name| name == "registered").unwrap();
        for (name, stays) in [
            (DEFAULT_CONTAINER, true),
            ("forgotten", false),
            ("registered", true),
            ("fresh", true),
        ] {
            let there = container(&home, &ContainerName::parse(name).unwrap()).is_ok();
            assert_eq!(there, stays, "{name}");
        }
    }
}
