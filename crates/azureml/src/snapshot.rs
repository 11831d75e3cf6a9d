//! A folder as the files that are uploaded, and the hash by which an unchanged folder is found again.

use crate::error::{Error, Result};
use crate::show;
use ignore::WalkBuilder;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The limits of the service's snapshots.
const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 300_000_000;

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, with `/` between the parts.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
}

/// The files of a folder that are not ignored, in the order of the hash.
///
/// `.amlignore` of the folder beats its `.gitignore`. Ignored folders are never entered; links that lead out of the folder
/// and broken links are left out.
pub fn files(folder: &Path) -> Result<Vec<Entry>> {
    let root = folder
        .canonicalize()
        .map_err(Error::io("cannot read", folder))?;
    let ignore_file = if root.join(".amlignore").is_file() {
        ".amlignore"
    } else {
        ".gitignore"
    };
    let mut rules = ignore::gitignore::GitignoreBuilder::new(&root);
    if let Some(error) = rules
        .add(root.join(ignore_file))
        .filter(|error| !error.is_io())
    {
        return Err(Error::invalid(
            format!(
                "{} cannot be read: {error}",
                folder.join(ignore_file).display()
            ),
            "its lines are patterns as in .gitignore",
        ));
    }
    let rules = rules
        .build()
        .map_err(|error| Error::invalid(format!("{ignore_file}: {error}"), "mend the pattern"))?;
    let walk = WalkBuilder::new(&root)
        .standard_filters(false)
        .follow_links(true)
        .filter_entry({
            let root = root.clone();
            move |entry| {
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                // The repository's own folder is never part of the code.
                let is_git = is_dir && entry.file_name() == ".git";
                let leads_out = || {
                    entry.path_is_symlink()
                        && !entry
                            .path()
                            .canonicalize()
                            .is_ok_and(|target| target.starts_with(&root))
                };
                entry.depth() == 0
                    || !(is_git || rules.matched(entry.path(), is_dir).is_ignore() || leads_out())
            }
        })
        .build();
    let mut files = Vec::new();
    // Broken links and loops of links come as errors of an entry, not of the walk.
    for entry in walk.flatten() {
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.push(to_entry(&root, entry.path())?);
        }
    }
    files.sort_by(|a, b| (a.name.to_lowercase(), &a.name).cmp(&(b.name.to_lowercase(), &b.name)));
    Ok(files)
}

fn to_entry(root: &Path, path: &Path) -> Result<Entry> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let name = relative.to_str().ok_or_else(|| {
        Error::invalid(
            format!("the name of {} is not UTF-8", path.display()),
            "rename the file, or list it in .amlignore",
        )
    })?;
    let size = path
        .metadata()
        .map_err(Error::io("cannot read", path))?
        .len();
    Ok(Entry {
        name: name.replace('\\', "/"),
        path: path.to_owned(),
        size,
    })
}

/// Refuses a folder of code that the service would refuse, before anything is sent.
pub fn check_size(folder: &Path, files: &[Entry]) -> Result<()> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    if files.len() <= MAX_FILES && total <= MAX_BYTES {
        return Ok(());
    }
    let mut largest: Vec<&Entry> = files.iter().collect();
    largest.sort_by_key(|file| std::cmp::Reverse(file.size));
    let largest: Vec<String> = largest
        .iter()
        .take(3)
        .map(|file| format!("{} ({})", file.name, show::bytes(file.size)))
        .collect();
    Err(Error::invalid(
        format!(
            "{} holds {} with {}; a snapshot takes {MAX_FILES} files and {}. The largest: {}",
            folder.display(),
            show::count(files.len(), "file"),
            show::bytes(total),
            show::bytes(MAX_BYTES),
            largest.join(", ")
        ),
        "list what the job does not need in .amlignore, and give data as an `Input`",
    ))
}

/// The hash of a folder's files, by the rule of the official client (version 202208).
pub fn hash(files: &[Entry]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(files.len().to_string());
    for file in files {
        hash.update(format!("#{}#{}", file.name, file.size));
    }
    let mut buffer = vec![0; 1 << 16];
    for file in files {
        let mut content = File::open(&file.path).map_err(Error::io("cannot read", &file.path))?;
        loop {
            let read = content
                .read(&mut buffer)
                .map_err(Error::io("cannot read", &file.path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// The name of the code asset with this hash: the same code has the same name, so that it can be found by it.
pub fn asset_name(hash: &str) -> String {
    let bytes: Vec<u8> = (0..16)
        .map(|index| {
            u8::from_str_radix(hash.get(2 * index..2 * index + 2).unwrap_or("00"), 16)
                .unwrap_or_default()
        })
        .collect();
    uuid::Builder::from_slice(&bytes).map_or_else(
        |_| hash.to_owned(),
        |builder| builder.into_uuid().to_string(),
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn names(folder: &TempDir) -> Vec<String> {
        files(folder.path())
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect()
    }

    #[test]
    fn the_hash_is_that_of_the_official_client() {
        let folder = folder(&[
            (".amlignore", "*.tmp\n"),
            ("main.py", "print('hi')\n"),
            ("sub/x.txt", "x"),
            ("a.tmp", "no"),
        ]);
        let files = files(folder.path()).unwrap();
        assert_eq!(
            hash(&files).unwrap(),
            "31c950d86451111e384aaf8a724dcf2692ad30c35cacc49541c3c02159a141ed"
        );
    }

    #[test]
    fn amlignore_beats_gitignore_and_only_the_root_file_counts() {
        let folder = folder(&[
            (".gitignore", "*.log\n"),
            ("a.log", ""),
            ("b.tmp", ""),
            ("sub/.gitignore", "*\n"),
            ("sub/c", ""),
        ]);
        assert_eq!(
            names(&folder),
            [".gitignore", "b.tmp", "sub/.gitignore", "sub/c"]
        );
        std::fs::write(folder.path().join(".amlignore"), "*.tmp\n!keep.tmp\n").unwrap();
        std::fs::write(folder.path().join("keep.tmp"), "").unwrap();
        assert_eq!(
            names(&folder),
            [
                ".amlignore",
                ".gitignore",
                "a.log",
                "keep.tmp",
                "sub/.gitignore",
                "sub/c"
            ]
        );
    }

    #[test]
    fn ignored_folders_are_not_entered_and_git_is_left_out() {
        let folder = folder(&[
            (".gitignore", "data/\n"),
            ("data/x", ""),
            (".git/config", ""),
            ("main.py", ""),
        ]);
        // A folder that may not be read would fail the walk, were it entered.
        symlink("nowhere", folder.path().join("data/broken")).unwrap();
        assert_eq!(names(&folder), [".gitignore", "main.py"]);
    }

    #[test]
    fn links_stay_inside_and_broken_ones_are_left_out() {
        let outside = folder(&[("secret", "s"), ("more/secret", "s")]);
        let folder = folder(&[("a/real", "r")]);
        symlink("real", folder.path().join("a/link")).unwrap();
        symlink(folder.path().join("a"), folder.path().join("b")).unwrap();
        symlink("nowhere", folder.path().join("broken")).unwrap();
        symlink("..", folder.path().join("a/loop")).unwrap();
        symlink(
            outside.path().join("secret"),
            folder.path().join("file_out"),
        )
        .unwrap();
        symlink(
            outside.path().join("more"),
            folder.path().join("folder_out"),
        )
        .unwrap();
        assert_eq!(names(&folder), ["a/link", "a/real", "b/link", "b/real"]);
    }

    #[test]
    fn files_are_in_the_order_of_their_lowercased_names() {
        assert_eq!(
            names(&folder(&[("B", ""), ("a", ""), ("C/x", ""), ("c.txt", "")])),
            ["a", "B", "c.txt", "C/x"]
        );
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_largest_files() {
        let entry = |name: &str, size| Entry {
            name: name.into(),
            path: name.into(),
            size,
        };
        let files = [entry("small", 1), entry("data.bin", 400_000_000)];
        insta::assert_snapshot!(check_size(Path::new("script"), &files).unwrap_err(), @r"
        script holds 2 files with 400.0 MB; a snapshot takes 2000 files and 300.0 MB. The largest: data.bin (400.0 MB), small (1 B)
        hint: list what the job does not need in .amlignore, and give data as an `Input`
        ");
        assert!(check_size(Path::new("script"), &files[..1]).is_ok());
    }
}
