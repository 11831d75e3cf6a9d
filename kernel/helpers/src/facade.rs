//! Facades: the packages that stand for helper crates in a cell's Cargo.toml.

use crate::error::{Error, io};
use crate::{UMBRELLA, set};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A package, as `cargo metadata` tells it.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    version: String,
    edition: String,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

impl Package {
    /// Whether it lies in a folder of this machine, and is a library that a cell could use.
    pub fn is_local_library(&self) -> bool {
        self.source.is_none() && self.library().is_some()
    }

    /// The name that code uses.
    pub fn crate_name(&self) -> String {
        self.library()
            .map_or(&self.name, |library| &library.name)
            .replace('-', "_")
    }

    /// The folder of its Cargo.toml.
    pub fn folder(&self) -> &Path {
        // A manifest's path ends in Cargo.toml.
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The folder that holds its sources.
    pub fn sources(&self) -> Option<&Path> {
        self.library()?.src_path.parent()
    }

    fn library(&self) -> Option<&Target> {
        self.targets
            .iter()
            .find(|target| target.kind.iter().any(|kind| kind == "lib"))
    }

    /// Writes its facade and its thin stand-in into `set`; `facades` are all packages that get one.
    pub fn write_facade(&self, set: &Path, facades: &[&Package]) -> Result<(), Error> {
        let Some(library) = self.library() else {
            return Ok(());
        };
        let folder = set::facades_folder(set).join(&self.name);
        if let Some(sources) = self.sources() {
            copy(sources, &folder.join("src"))?;
        }
        let root = library.src_path.file_name().unwrap_or_default();
        let mut manifest = format!(
            "[package]\nname = {:?}\nversion = {:?}\nedition = {:?}\nautobins = false\n\n\
             [lib]\nname = {:?}\npath = \"src/{}\"\n\n[workspace]\n\n[dependencies]\n",
            self.name,
            self.version,
            self.edition,
            self.crate_name(),
            root.to_string_lossy()
        );
        for dependency in &self.dependencies {
            let local = dependency.path.is_some() && dependency.kind.is_none();
            if local
                && facades
                    .iter()
                    .any(|package| package.name == dependency.name)
            {
                use std::fmt::Write;
                // Writing to a String cannot fail.
                let _ = writeln!(manifest, "{0} = {{ path = \"../{0}\" }}", dependency.name);
            }
        }
        write(&folder.join("Cargo.toml"), &manifest)?;
        let name = self.crate_name();
        write(
            &set::thin(set, &name),
            &format!("pub use {UMBRELLA}::{name}::*;\n"),
        )
    }
}

/// A dependency by path, as a line of a Cargo.toml.
pub fn dependency(name: &str, folder: &Path) -> String {
    // JSON's strings are TOML's, too.
    let path = serde_json::json!(folder.to_string_lossy());
    format!("{name} = {{ path = {path} }}")
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("create", folder))?;
    }
    fs::write(path, text).map_err(io("write", path))
}

/// Copies a folder of sources.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(io("create", to))?;
    for entry in fs::read_dir(from).map_err(io("read", from))? {
        let entry = entry.map_err(io("read", from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(io("write", &target))?;
        }
    }
    Ok(())
}
