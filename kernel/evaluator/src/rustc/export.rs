//! `:export`: writes the program of a session as a Cargo package.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use azureml_kernel_helpers::{Facade, Helpers};

use super::dependencies::Dependencies;
use crate::cache::Key;

/// The record of the files that `:export` wrote: their hashes, by path.
const RECORD: &str = ".exported.json";

/// The files that the user may edit after an export. Edited files are not overwritten.
const OF_THE_READER: [&str; 2] = ["Cargo.toml", MAIN];

const MAIN: &str = "src/main.rs";

/// Reasons why an export fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No cell with code has run.
    #[error("there is nothing to export: no cell with code has run\nhint: run the cells first")]
    Nothing,
    /// A cell defines `main`, but other cells have statements.
    #[error(
        "a cell defines `main`, where the statements of the other cells should go\nhint: give the function another name, restart the kernel, run the cells again, and export"
    )]
    Main,
    /// The target folder contains files that `:export` did not write.
    #[error(
        "{} is there already, and `:export` did not write it\nhint: name another folder, as in `:export my-program`", .0.display()
    )]
    Foreign(PathBuf),
    /// An exported file was edited after the export.
    #[error(
        "{} has been changed since it was exported\nhint: name another folder, as in `:export my-program`, or delete the file", .0.display()
    )]
    Edited(PathBuf),
    /// The sources of helper crates could not be written.
    #[error(transparent)]
    Helpers(#[from] azureml_kernel_helpers::Error),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}\nhint: check the permissions and the room there, or name another folder, as in `:export my-program`", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

pub(super) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

/// Returns the target folder: the named one, or a folder beside the notebook with the notebook's
/// name and the suffix `-export`.
pub(super) fn folder(named: &str, session: Option<&str>) -> PathBuf {
    let named = named.trim_matches(['"', '\'']);
    if let Some(rest) = named.strip_prefix("~/")
        && let Some(home) = std::env::var_os("HOME")
    {
        return PathBuf::from(home).join(rest);
    }
    if !named.is_empty() {
        return PathBuf::from(named);
    }
    let notebook = session
        .map(Path::new)
        .filter(|path| path.extension().is_some_and(|end| end == "ipynb"))
        .and_then(Path::file_stem);
    let mut name = notebook.unwrap_or("notebook".as_ref()).to_owned();
    name.push("-export");
    PathBuf::from(name)
}

/// Returns the message about a finished export.
pub(super) fn answer(
    folder: &Path,
    count: usize,
    has_tests: bool,
    is_cut: bool,
    complaint: Option<&str>,
) -> String {
    let cells = if count == 1 { "cell" } else { "cells" };
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.display();
    let mut words = format!(
        "Wrote {count} {cells} to {}. To run them: cargo run --manifest-path {manifest}",
        folder.display()
    );
    // Writing to a string cannot fail.
    if has_tests {
        let _ = write!(
            words,
            "\nTo test them: cargo test --manifest-path {manifest}"
        );
    }
    if is_cut {
        words.push_str("\nwarning: so many cells have run that the first of them are forgotten\nhint: restart the kernel, run all cells, and export again");
    }
    if let Some(complaint) = complaint {
        let _ = write!(
            words,
            "\nwarning: the program does not compile yet: {complaint}\nhint: cells that ran in another order than they stand are often why: restart the kernel, run all cells, and export again"
        );
    }
    words
}

/// The contents of the package.
pub(super) struct Package<'a> {
    pub(super) source: String,
    /// The helper crates that the source uses.
    pub(super) helpers: Vec<&'a Facade>,
    pub(super) dependencies: &'a Dependencies,
    /// The path of the `Cargo.lock` of the dependencies.
    pub(super) lock: PathBuf,
    pub(super) set: Option<&'a Helpers>,
    pub(super) rustfmt: PathBuf,
}

impl Package<'_> {
    /// Writes the package. A new folder is created atomically. In a folder of an earlier export the
    /// files are replaced one by one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let is_new = is_new(folder)?;
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(file_error("create", parent))?;
        let staging = tempfile::Builder::new()
            .prefix(".exporting-")
            .tempdir_in(parent)
            .map_err(file_error("create a folder in", parent))?;
        // The temporary folder itself has mode 0700; a folder created inside it has the default
        // mode.
        let staged = staging.path().join("package");
        let locks = self.locks();
        write(&staged.join(MAIN), &self.source)?;
        self.format(&staged.join(MAIN));
        write(&staged.join("Cargo.toml"), &self.manifest(folder, &locks))?;
        if !locks.is_empty() {
            write(&staged.join("Cargo.lock"), &locks)?;
        }
        if let Some(set) = self.set.filter(|_| !self.helpers.is_empty()) {
            let names: Vec<&str> = self
                .helpers
                .iter()
                .map(|facade| facade.name.as_str())
                .collect();
            set.write_sources(&names, &staged.join("crates"))?;
        }
        record(&staged)?;
        if is_new {
            return fs::rename(&staged, folder).map_err(file_error("create", folder));
        }
        let crates = folder.join("crates");
        if fs::symlink_metadata(&crates).is_ok_and(|about| about.is_symlink()) {
            // The target of the link was not written by `:export`.
            return Err(Error::Foreign(crates));
        }
        for file in [MAIN, "Cargo.toml", "Cargo.lock", RECORD] {
            let (from, to) = (staged.join(file), folder.join(file));
            if from.exists() {
                create_above(&to)?;
                fs::rename(&from, &to).map_err(file_error("write", &to))?;
            }
        }
        for entry in fs::read_dir(staged.join("crates"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let to = crates.join(entry.file_name());
            create_above(&to)?;
            if fs::symlink_metadata(&to).is_ok() {
                // The temporary folder is removed at the end with the old files. Removal does not
                // follow symbolic links inside it.
                let old = staging.path().join("old").join(entry.file_name());
                create_above(&old)?;
                fs::rename(&to, &old).map_err(file_error("remove", &to))?;
            }
            fs::rename(entry.path(), &to).map_err(file_error("write", &to))?;
        }
        Ok(())
    }

    fn manifest(&self, folder: &Path, locks: &str) -> String {
        let mut manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n",
            self.name(folder)
        );
        // Writing to a string cannot fail.
        for (name, specification) in &self.dependencies.lines {
            let version = (specification == "\"*\"")
                .then(|| version(locks, name))
                .flatten();
            let _ = match version {
                Some(version) => writeln!(manifest, "{name} = \"{version}\""),
                None => writeln!(manifest, "{name} = {specification}"),
            };
        }
        for Facade { name, .. } in &self.helpers {
            let _ = writeln!(manifest, "{name} = {{ path = \"crates/{name}\" }}");
        }
        // An empty `[workspace]` keeps cargo from using a workspace in a parent folder.
        manifest + "\n[workspace]\n"
    }

    /// Derives the package name from the folder name, restricted to characters that cargo accepts.
    fn name(&self, folder: &Path) -> String {
        let whole = std::path::absolute(folder).unwrap_or_default();
        let name = whole.file_name().unwrap_or_default().to_string_lossy();
        let mut package = String::new();
        for character in name.chars() {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => package.push(character),
                _ if package.is_empty() || package.ends_with('-') => {}
                _ => package.push('-'),
            }
        }
        let package = package.trim_end_matches('-');
        let package = match package.chars().next() {
            Some(first) if first.is_ascii_alphabetic() => package.to_owned(),
            Some(_) => format!("notebook-{package}"),
            None => "notebook-export".to_owned(),
        };
        let same = |name: &str| name.replace('-', "_") == package.replace('-', "_");
        let is_taken = self.dependencies.lines.keys().any(|name| same(name))
            || self
                .set
                .iter()
                .any(|set| set.facades().iter().any(|facade| same(&facade.name)))
            || [
                "test",
                "build",
                "deps",
                "examples",
                "incremental",
                "std",
                "core",
                "alloc",
            ]
            .iter()
            .any(|name| same(name));
        if is_taken {
            package + "-program"
        } else {
            package
        }
    }

    /// Returns the crate versions that the cells used, as the text of a `Cargo.lock`.
    fn locks(&self) -> String {
        let of_dependencies = (!self.dependencies.lines.is_empty()).then(|| self.lock.clone());
        let of_helpers = self
            .set
            .filter(|_| !self.helpers.is_empty())
            .map(Helpers::lock);
        let locks: Vec<String> = of_dependencies
            .into_iter()
            .chain(of_helpers)
            .filter_map(|path| fs::read_to_string(path).ok())
            .collect();
        joined(&locks)
    }

    /// Formats a source file with `rustfmt`, if it is installed.
    fn format(&self, file: &Path) {
        let program = if self.rustfmt.is_file() {
            self.rustfmt.as_path()
        } else {
            Path::new("rustfmt")
        };
        let formatted = Command::new(program)
            .args(["--edition", "2024"])
            .arg(file)
            .stdin(Stdio::null())
            .output();
        match formatted {
            Ok(output) if output.status.success() => {}
            other => tracing::info!(?other, "what is exported is not formatted"),
        }
    }
}

/// Returns whether the folder is missing or empty. Returns an error if its contents are not those
/// of an earlier export.
fn is_new(folder: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::Foreign(folder.to_owned()));
        }
        Err(error) => return Err(file_error("read", folder)(error)),
    };
    if entries.count() == 0 {
        return Ok(true);
    }
    let record = fs::read(folder.join(RECORD)).ok();
    let record: Option<BTreeMap<String, String>> =
        record.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(record) = record else {
        return Err(Error::Foreign(folder.to_owned()));
    };
    for file in OF_THE_READER {
        let path = folder.join(file);
        match (hash(&path), record.get(file)) {
            (Some(now), before) if Some(&now) != before => return Err(Error::Edited(path)),
            _ => {}
        }
    }
    Ok(false)
}

/// Writes the record of the exported files.
fn record(folder: &Path) -> Result<(), Error> {
    let hashes: BTreeMap<&str, String> = OF_THE_READER
        .into_iter()
        .filter_map(|file| Some((file, hash(&folder.join(file))?)))
        .collect();
    // A map of strings always serializes.
    let text = serde_json::to_string_pretty(&hashes).unwrap_or_default();
    write(&folder.join(RECORD), &text)
}

fn hash(file: &Path) -> Option<String> {
    Some(Key::new().add(fs::read(file).ok()?).finish())
}

fn create_above(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(file_error("create", folder))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    create_above(path)?;
    fs::write(path, text).map_err(file_error("write", path))
}

/// The first line of a package entry in a `Cargo.lock`.
const ENTRY: &str = "[[package]]\n";

/// Merges several `Cargo.lock` files. Cargo removes unused entries and resolves ambiguous ones.
fn joined(locks: &[String]) -> String {
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    for lock in locks {
        let mut entries = lock.split(ENTRY);
        let head = entries.next().unwrap_or_default();
        if text.is_empty() {
            text.push_str(head);
        }
        for entry in entries {
            // The first two lines of an entry are the name and the version.
            let name = entry.lines().take(2).collect::<Vec<_>>().join("\n");
            // A package without a source is local, such as the bundle crate of a prebuilt set.
            let is_local = !entry.contains("\nsource = ");
            if !is_local && !names.contains(&name) {
                text = text.trim_end().to_owned() + "\n\n" + ENTRY + entry;
                names.push(name);
            }
        }
    }
    text
}

/// Returns the version of a crate in a `Cargo.lock`, the last one of several.
fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let entry = format!("{ENTRY}name = \"{name}\"\nversion = \"");
    let start = lock.rfind(&entry)? + entry.len();
    lock[start..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_for_the_notebook() {
        let of = |named, session| folder(named, session).display().to_string();
        assert_eq!(
            of("", Some("/home/me/labs/실습 02.ipynb")),
            "실습 02-export"
        );
        assert_eq!(of("", Some("console-1")), "notebook-export");
        assert_eq!(of("", None), "notebook-export");
        assert_eq!(of("\"my program\"", None), "my program");
    }

    #[test]
    fn versions_are_joined() {
        let entry = |name: &str, version: &str, rest: &str| {
            format!("{ENTRY}name = \"{name}\"\nversion = \"{version}\"\n{rest}")
        };
        let source = "source = \"registry\"\n";
        let one = "version = 4\n\n".to_owned()
            + &entry("own", "0.0.0", "dependencies = [\n \"serde\",\n]\n")
            + "\n"
            + &entry("serde", "1.0.1", source);
        let other = "version = 4\n\n".to_owned()
            + &entry("serde", "1.0.1", source)
            + "\n"
            + &entry("serde", "1.0.2", source);
        let joined = joined(&[one, other]);
        assert_eq!(
            joined,
            format!(
                "version = 4\n\n{}\n{}",
                entry("serde", "1.0.1", source),
                entry("serde", "1.0.2", source)
            )
        );
        assert_eq!(version(&joined, "serde"), Some("1.0.2"));
        assert_eq!(version(&joined, "own"), None);
    }
}
