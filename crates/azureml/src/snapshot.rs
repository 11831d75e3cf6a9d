//! A snapshot of a folder: its files for upload, and a hash to find an unchanged folder again.

use crate::error::{Error, Result};
use crate::show;
pub use crate::walk::Entry;
use crate::walk::Walk;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The limits of the service for snapshots.
const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 300_000_000;

/// The files of a folder that are not ignored, in the order of the hash.
///
/// `.amlignore` of the folder replaces its `.gitignore`; ignored folders are never read. A link is
/// replaced by its target, wherever that is, as in the official client. Nothing else is omitted: a
/// file that cannot be sent is an error.
pub fn files(folder: &Path) -> Result<Vec<Entry>> {
    files_without(folder, None)
}

/// Like [`files`], with one more ignore pattern.
pub fn files_without(folder: &Path, pattern: Option<&str>) -> Result<Vec<Entry>> {
    let root = folder
        .canonicalize()
        .map_err(Error::io("cannot read", folder))?;
    let mut files = Walk::new(&root, rules(&root, pattern)?).files()?;
    files.sort_by(|a, b| (a.name.to_lowercase(), &a.name).cmp(&(b.name.to_lowercase(), &b.name)));
    Ok(files)
}

/// The ignore patterns.
fn rules(root: &Path, pattern: Option<&str>) -> Result<Gitignore> {
    let [aml, git] = [".amlignore", ".gitignore"].map(|name| root.join(name));
    // A dangling link is reported as an error by the walk.
    let file = if aml.symlink_metadata().is_ok() {
        aml
    } else {
        git
    };
    let wrong = |error: ignore::Error| {
        Error::invalid(
            format!("{} cannot be read: {error}", file.display()),
            "its lines are patterns as in .gitignore",
        )
    };
    let is_missing = |error: &ignore::Error| {
        error
            .io_error()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let mut rules = GitignoreBuilder::new(root);
    if let Some(error) = rules.add(&file).filter(|error| !is_missing(error)) {
        return Err(wrong(error));
    }
    if let Some(pattern) = pattern {
        rules.add_line(None, pattern).map_err(wrong)?;
    }
    rules.build().map_err(wrong)
}

/// Rejects a folder of code that exceeds the limits of the service, before any request.
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

/// The hash of a folder's files, by the algorithm of the official client (version 202208).
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

/// The name of the code asset with this hash. The same code has the same name, by which it is found
/// again.
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
    use std::ffi::OsStr;
    use std::fs::Permissions;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
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
        // A dangling link would fail the walk if the folder were read.
        symlink("nowhere", folder.path().join("data/broken")).unwrap();
        assert_eq!(names(&folder), [".gitignore", "main.py"]);
    }

    #[test]
    fn links_stand_for_what_they_lead_to_wherever_it_is() {
        let outside = folder(&[("common.py", "c"), ("more/util.py", "u")]);
        let folder = folder(&[("a/real", "r")]);
        symlink("real", folder.path().join("a/link")).unwrap();
        symlink(folder.path().join("a"), folder.path().join("b")).unwrap();
        symlink(
            outside.path().join("common.py"),
            folder.path().join("common.py"),
        )
        .unwrap();
        symlink(outside.path().join("more"), folder.path().join("more")).unwrap();
        assert_eq!(
            names(&folder),
            [
                "a/link",
                "a/real",
                "b/link",
                "b/real",
                "common.py",
                "more/util.py"
            ]
        );
        let found = files(folder.path()).unwrap();
        let common = found.iter().find(|file| file.name == "common.py").unwrap();
        assert_eq!((common.size, hash(&found).unwrap().len()), (1, 64));
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        for target in ["nowhere", "../gone", "broken"] {
            let folder = folder(&[("main.py", "")]);
            symlink(target, folder.path().join("broken")).unwrap();
            let error = files(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("/broken leads to {target}, which cannot be read")),
                "{error}"
            );
            assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
            std::fs::write(folder.path().join(".amlignore"), "broken\n").unwrap();
            assert_eq!(names(&folder), [".amlignore", "main.py"]);
        }
    }

    #[test]
    fn links_that_lead_round_in_a_circle_are_named() {
        for (link, target) in [("loop", "."), ("a/loop", ".."), ("a/b/loop", "../../a")] {
            let folder = folder(&[("a/b/main.py", "")]);
            symlink(target, folder.path().join(link)).unwrap();
            let error = files(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("/{link} leads back to a folder that it lies in")),
                "{error}"
            );
            assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
        }
        // A loop through a folder outside.
        let outside = folder(&[("x", "")]);
        let inside = folder(&[("main.py", "")]);
        symlink(inside.path(), outside.path().join("back")).unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        let error = files(inside.path()).unwrap_err().to_string();
        assert!(error.contains("/out/back leads back"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = folder(&[("main.py", "")]);
        let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
        let error = files(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("/socket is a socket, which cannot be sent"),
            "{error}"
        );
        std::fs::remove_file(folder.path().join("socket")).unwrap();
        symlink("/dev/null", folder.path().join("null")).unwrap();
        let error = files(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/null is a device, which"), "{error}");
        std::fs::remove_file(folder.path().join("null")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join("pipe"))
            .status()
            .unwrap();
        assert!(made.success());
        let error = files(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/pipe is a named pipe, which"), "{error}");
        assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
        std::fs::write(folder.path().join(".amlignore"), "pipe\n").unwrap();
        assert_eq!(names(&folder), [".amlignore", "main.py"]);
    }

    #[test]
    fn names_that_cannot_be_sent_are_named() {
        let folder = folder(&[("main.py", "")]);
        for (name, said) in [
            (OsStr::from_bytes(b"b\xff.txt"), "is not UTF-8"),
            (OsStr::new("a\\b"), "holds a backslash"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            let error = files(folder.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn folders_and_patterns_that_cannot_be_read_are_named() {
        // Root can read everything, so the unreadable pattern file is a folder named `.gitignore`.
        // The folder without permission is tested only if this user cannot read it.
        let folder = folder(&[("main.py", ""), ("closed/x", "")]);
        let closed = folder.path().join("closed");
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        if std::fs::read_dir(&closed).is_err() {
            let error = files(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains("cannot read") && error.contains("/closed"),
                "{error}"
            );
        } else {
            println!("not tried: this user reads folders without permission");
        }
        std::fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        std::fs::create_dir(folder.path().join(".gitignore")).unwrap();
        let error = files(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/.gitignore cannot be read"), "{error}");
    }

    #[test]
    fn a_folder_of_many_folders_is_walked_without_a_stack() {
        let folder = folder(&[("main.py", "")]);
        let deep = folder.path().join("d/".repeat(900));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("x"), "").unwrap();
        assert_eq!(names(&folder).len(), 2);
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
