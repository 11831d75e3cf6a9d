//! Contents of blobs: files under `blobs/{container}/`, one for each blob, at the blob's own name.
//!
//! A blob appears whole or not at all: it is written beside, then renamed into its place. The disk has it before an upload is
//! marked as completed, or a version relies on it.

use crate::error::{Error, Result};
use crate::home::Home;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The container of the default datastore.
pub const DEFAULT_CONTAINER: &str = "azureml-blobstore";

/// The folder of a run's artifacts within the default container.
pub fn run_prefix(run: &str) -> String {
    format!("ExperimentRun/dcid.{run}")
}

/// A blob that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its size.
    pub length: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Found {
    fn new(name: String, path: PathBuf, metadata: &fs::Metadata) -> Self {
        Self {
            name,
            path,
            length: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// Changes whenever the content does.
    pub fn etag(&self) -> String {
        let nanoseconds = self
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        format!("\"0x{nanoseconds:X}{:X}\"", self.length)
    }
}

/// Percent-decodes a path.
pub fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            // Two hexadecimal digits make a byte.
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether a name from outside can be a relative path: no way up, no way out, nothing empty.
pub fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1024
        && !name.contains(['\0', '\\'])
        && name
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
}

/// The folder of a container that is there.
pub fn container(home: &Home, name: &str) -> Result<PathBuf> {
    let folder = home.blobs().join(name);
    if is_safe(name) && !name.contains('/') && folder.is_dir() {
        Ok(folder)
    } else {
        Err(Error::NotFound {
            code: "ContainerNotFound",
            message: format!("there is no container {name:?}"),
        })
    }
}

/// Makes a container; whether it is new.
pub fn create_container(home: &Home, name: &str) -> Result<bool> {
    if !is_safe(name) || name.contains('/') {
        return Err(Error::Invalid {
            code: "InvalidResourceName",
            message: format!("{name:?} is no name of a container"),
        });
    }
    match fs::create_dir(home.blobs().join(name)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where a blob lies, or would lie.
pub fn place(home: &Home, container_name: &str, name: &str) -> Result<PathBuf> {
    let folder = container(home, container_name)?;
    if is_safe(name) {
        Ok(folder.join(name))
    } else {
        Err(Error::Invalid {
            code: "InvalidResourceName",
            message: format!("{name:?} is no name of a blob: it has an empty, `.` or `..` part"),
        })
    }
}

/// A blob that is there.
pub fn find(home: &Home, container_name: &str, name: &str) -> Result<Found> {
    let path = place(home, container_name, name)?;
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Found::new(name.to_owned(), path, &metadata)),
        _ => Err(Error::NotFound {
            code: "BlobNotFound",
            message: format!("there is no blob {name:?}"),
        }),
    }
}

/// The blobs of a container whose names begin with `prefix`, by name.
pub fn list(home: &Home, container_name: &str, prefix: &str) -> Result<Vec<Found>> {
    let folder = container(home, container_name)?;
    // Only the folder that the prefix names needs to be walked.
    let start = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    if start.is_empty() || is_safe(start) {
        let root = if start.is_empty() {
            folder.clone()
        } else {
            folder.join(start)
        };
        walk(&root, start, &mut found)?;
    }
    found.retain(|blob| blob.name.starts_with(prefix));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Collects the regular files below `folder`; links are not followed.
pub fn walk(folder: &Path, prefix: &str, found: &mut Vec<Found>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        // A name that is no text was not made through the blob service.
        let Ok(file_name) = entry.file_name().into_string() else {
            continue;
        };
        let name = if prefix.is_empty() {
            file_name
        } else {
            format!("{prefix}/{file_name}")
        };
        // It may have gone meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            walk(&entry.path(), &name, found)?;
        } else if metadata.is_file() {
            found.push(Found::new(name, entry.path(), &metadata));
        }
    }
    Ok(())
}

/// Puts a finished file in a blob's place. [`Home::settle`] brings it to the disk.
pub fn publish(home: &Home, temporary: &Path, container_name: &str, name: &str) -> Result<Found> {
    let path = place(home, container_name, name)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(in_the_way)?;
    }
    fs::rename(temporary, &path).map_err(in_the_way)?;
    home.unsettle(path);
    find(home, container_name, name)
}

/// A file where a folder is needed, or the other way round.
fn in_the_way(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::DirectoryNotEmpty => Error::Conflict {
            code: "PathConflict",
            message: "a blob of that name would be a file and a folder at once".to_owned(),
        },
        _ => error.into(),
    }
}

/// Removes a blob, and the folders that only it was in.
pub fn delete(home: &Home, container_name: &str, name: &str) -> Result<()> {
    let found = find(home, container_name, name)?;
    fs::remove_file(&found.path)?;
    let root = container(home, container_name)?;
    let mut folder = found.path.parent();
    while let Some(empty) = folder.filter(|folder| *folder != root) {
        if fs::remove_dir(empty).is_err() {
            break;
        }
        folder = empty.parent();
    }
    Ok(())
}

/// A path for a file that is being written.
pub fn temporary(home: &Home) -> PathBuf {
    home.temporary().join(uuid::Uuid::new_v4().to_string())
}

/// How long an upload that nothing came of is kept.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// Removes what was uploaded long ago and never registered; `mentioned` says whether anything names a container.
pub fn tidy(home: &Home, mentioned: impl Fn(&str) -> bool) {
    let is_old = |path: &Path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > FORGOTTEN))
    };
    let folders = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    for container in folders(home.blobs()) {
        let name = container.file_name().to_string_lossy().into_owned();
        if name != DEFAULT_CONTAINER && is_old(&container.path()) && !mentioned(&name) {
            // When it cannot be removed now, it is at another start.
            let _ = fs::remove_dir_all(container.path());
        }
    }
    for blocks in folders(home.blocks()) {
        if is_old(&blocks.path()) {
            let _ = fs::remove_dir_all(blocks.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn names_from_outside_stay_inside() {
        for safe in [
            "a",
            "a/b.txt",
            "ExperimentRun/dcid.x/user_logs/std_log.txt",
            "..a",
        ] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_name in [
            "", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\0b", "a\\b",
        ] {
            assert!(!is_safe(unsafe_name), "{unsafe_name}");
        }
    }

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
            create_container(&home, name).unwrap();
            fs::write(home.blobs().join(name).join("a"), "a").unwrap();
            if name != "fresh" {
                let folder = File::open(home.blobs().join(name)).unwrap();
                folder.set_modified(old).unwrap();
            }
        }
        tidy(&home, |name| name == "registered");
        for (name, stays) in [
            (DEFAULT_CONTAINER, true),
            ("forgotten", false),
            ("registered", true),
            ("fresh", true),
        ] {
            assert_eq!(container(&home, name).is_ok(), stays, "{name}");
        }
    }
}
