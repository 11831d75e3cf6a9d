//! Moves staged files to their final place in the store.

use crate::dir::{Dir, is_absent};
use crate::name::{BlobName, Relative};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io;

/// A path that cannot be placed, and why.
pub type Conflict = String;

/// Moves a staged folder or file to `to` in a container: in one step if nothing exists there, else
/// file by file. A file does not replace a folder, nor a folder a file; returns these conflicts.
pub fn put(
    staging: &Dir,
    from: &BlobName,
    container: &Dir,
    to: &BlobName,
) -> io::Result<Vec<Conflict>> {
    let mut conflicts = Vec::new();
    let mut waiting = vec![(from.clone(), to.clone())];
    while let Some((from, to)) = waiting.pop() {
        let Some(staged) = kind_of(staging, &from)? else {
            continue;
        };
        if let Some(file) = file_above(container, &to)? {
            conflicts.push(conflict(
                &to,
                &format!("{file} is a file in the store already"),
            ));
            continue;
        }
        match (staged, kind_of(container, &to)?) {
            (FileType::Directory, Some(FileType::Directory)) => {
                for entry in staging.dir(&from)?.entries()? {
                    let name = entry.name().unwrap_or_default();
                    // Both paths were checked as blob names during staging.
                    if let (Some(from), Some(to)) = (from.join(name), to.join(name)) {
                        waiting.push((from, to));
                    }
                }
            }
            (FileType::Directory, Some(_)) => {
                conflicts.push(conflict(
                    &to,
                    "it is a folder, and a file in the store already",
                ));
            }
            (_, Some(FileType::Directory)) => {
                conflicts.push(conflict(
                    &to,
                    "it is a file, and a folder in the store already",
                ));
            }
            _ => {
                if let (Some(folder), _) = to.split() {
                    container.make(&folder)?;
                }
                let (folder, name) = staging.parent(&from)?;
                let (target, new) = container.parent(&to)?;
                match rustix::fs::renameat(&folder, name, &target, new) {
                    Ok(()) => {}
                    // Another client has just written there: retry.
                    Err(Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR) => {
                        waiting.push((from, to));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(conflicts)
}

fn conflict(to: &BlobName, why: &str) -> Conflict {
    // Messages omit the common prefix of a run's artifacts.
    let shown = to.as_str();
    let shown = shown
        .strip_prefix("ExperimentRun/")
        .and_then(|rest| rest.split_once('/'))
        .map_or(shown, |(_, path)| path);
    format!("{shown} was not kept: {why}")
}

/// The type of a file; links are not followed.
fn kind_of(folder: &Dir, path: &BlobName) -> io::Result<Option<FileType>> {
    match folder.stat(path) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first path component that is not a folder.
fn file_above(folder: &Dir, path: &BlobName) -> io::Result<Option<BlobName>> {
    let mut above = path.split().0;
    while let Some(here) = above {
        match kind_of(folder, &here)? {
            Some(FileType::Directory) => return Ok(None),
            Some(_) => return Ok(Some(here)),
            None => above = here.split().0,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn name(path: &str) -> BlobName {
        BlobName::parse(path).unwrap()
    }

    #[test]
    fn file_or_folder_conflicts_are_named_and_the_rest_is_kept() {
        let (staged, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, path) in [
            (&staged, "outputs/model/w.txt"),
            (&staged, "outputs/table"),
            (&staged, "outputs/rest/r.txt"),
            (&staged, "outputs/again.txt"),
            (&store, "run/outputs/model"),
            (&store, "run/outputs/table/t.txt"),
            (&store, "run/outputs/again.txt"),
            (&store, "blocked"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content = root.path().display().to_string();
            fs::write(path, content).unwrap();
        }
        let (from, to) = (
            Dir::at(staged.path()).unwrap(),
            Dir::at(store.path()).unwrap(),
        );
        let mut conflicts = put(&from, &name("outputs"), &to, &name("run/outputs")).unwrap();
        conflicts.sort();
        assert_eq!(
            conflicts,
            [
                "run/outputs/model was not kept: it is a folder, and a file in the store already",
                "run/outputs/table was not kept: it is a file, and a folder in the store already",
            ]
        );
        let read = |path: &str| fs::read_to_string(store.path().join(path)).unwrap();
        let ours = staged.path().display().to_string();
        assert_eq!(read("run/outputs/rest/r.txt"), ours);
        assert_eq!(read("run/outputs/again.txt"), ours);
        let theirs = store.path().display().to_string();
        assert_eq!(read("run/outputs/model"), theirs);
        assert_eq!(read("run/outputs/table/t.txt"), theirs);
        let conflicts = put(&from, &name("outputs"), &to, &name("blocked/below/it")).unwrap();
        assert_eq!(
            conflicts,
            ["blocked/below/it was not kept: blocked is a file in the store already"]
        );
    }
}
