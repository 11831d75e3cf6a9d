//! Facades: the stub crates that represent helper crates in a cell's Cargo.toml. Each folder also
//! contains the real manifest, which turns the stub's sources into a package that builds.

use crate::error::{Error, io};
use crate::{UMBRELLA, layout};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A package as reported by `cargo metadata`.
#[derive(Deserialize)]
pub struct Package {
    /// The name.
    pub name: String,
    version: String,
    edition: String,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    features: BTreeMap<String, Vec<String>>,
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
    req: String,
    rename: Option<String>,
    optional: bool,
    uses_default_features: bool,
    features: Vec<String>,
    /// The target platform, e.g. `cfg(unix)`.
    target: Option<String>,
}

/// File name of the real manifest in the folder of a stub crate.
pub(crate) const REAL_MANIFEST: &str = "package.toml";

/// File name of the build script in the folder of a stub crate. Cargo does not detect this name: a
/// stub crate has no build script.
pub(crate) const BUILD_SCRIPT: &str = "build-script.rs";

/// Prefix of a path dependency from one package of a set to another.
pub(crate) const BESIDE: &str = "path = \"../";

impl Package {
    /// Whether the package is a local one with a library that cells can use.
    pub fn is_local_library(&self) -> bool {
        self.source.is_none() && self.library().is_some()
    }

    /// The crate name used in code.
    pub fn crate_name(&self) -> String {
        self.library()
            .map_or(&self.name, |library| &library.name)
            .replace('-', "_")
    }

    /// The folder of the Cargo.toml.
    pub fn folder(&self) -> &Path {
        // The path always has a parent, because it ends in Cargo.toml.
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Returns the folder of the library's sources.
    pub fn sources(&self) -> Option<&Path> {
        self.library()?.src_path.parent()
    }

    fn library(&self) -> Option<&Target> {
        self.targets
            .iter()
            .find(|target| target.kind.iter().any(|kind| kind == "lib"))
    }

    /// Writes the stub crate and the shim to `set`; `facades` are all packages with a stub crate.
    pub fn write_facade(&self, set: &Path, facades: &[&Package]) -> Result<(), Error> {
        let Some(library) = self.library() else {
            return Ok(());
        };
        let folder = layout::facades_folder(set).join(&self.name);
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
                // Writing to a String cannot fail.
                let _ = writeln!(manifest, "{0} = {{ path = \"../{0}\" }}", dependency.name);
            }
        }
        write(&folder.join("Cargo.toml"), &manifest)?;
        let script = self
            .targets
            .iter()
            .find(|target| target.kind.iter().any(|kind| kind == "custom-build"));
        if let Some(script) = script {
            let copied = folder.join(BUILD_SCRIPT);
            fs::copy(&script.src_path, &copied).map_err(io("write", &copied))?;
        }
        let real = self.real_manifest(&root.to_string_lossy(), script.is_some(), facades);
        write(&folder.join(REAL_MANIFEST), &real)?;
        let name = self.crate_name();
        write(
            &layout::thin(set, &name),
            &format!("pub use {UMBRELLA}::{name}::*;\n"),
        )
    }
}

impl Package {
    /// Returns the real manifest without values inherited from a workspace, for a folder next to
    /// those of the other packages.
    fn real_manifest(&self, root: &str, has_script: bool, facades: &[&Package]) -> String {
        let mut manifest = format!(
            "[package]\nname = {:?}\nversion = {:?}\nedition = {:?}\nautobins = false\n",
            self.name, self.version, self.edition
        );
        // Writing to a String cannot fail.
        if has_script {
            let _ = writeln!(manifest, "build = {BUILD_SCRIPT:?}");
        }
        let _ = write!(
            manifest,
            "\n[lib]\nname = {:?}\npath = \"src/{root}\"\n",
            self.crate_name()
        );
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dependency in &self.dependencies {
            let table = match dependency.kind.as_deref() {
                None => "dependencies",
                Some("build") => "build-dependencies",
                Some(_) => continue,
            };
            let table = match &dependency.target {
                Some(target) => format!("target.{}.{table}", json(target)),
                None => table.to_owned(),
            };
            let line = dependency.line(facades);
            tables.entry(table).or_default().push(line);
        }
        for (table, lines) in tables {
            let _ = write!(manifest, "\n[{table}]\n{}", lines.concat());
        }
        if !self.features.is_empty() {
            manifest.push_str("\n[features]\n");
            for (name, of) in &self.features {
                let _ = writeln!(manifest, "{} = {}", json(name), json(of));
            }
        }
        manifest
    }
}

impl Dependency {
    /// Formats the dependency as a line of a manifest.
    fn line(&self, facades: &[&Package]) -> String {
        let mut parts = Vec::new();
        match &self.path {
            Some(_) if facades.iter().any(|package| package.name == self.name) => {
                parts.push(format!("{BESIDE}{}\"", self.name));
            }
            Some(path) => parts.push(format!("path = {}", json(&path.to_string_lossy()))),
            None => parts.push(format!("version = {}", json(&self.req))),
        }
        if self.rename.is_some() {
            parts.push(format!("package = {}", json(&self.name)));
        }
        if !self.uses_default_features {
            parts.push("default-features = false".to_owned());
        }
        if !self.features.is_empty() {
            parts.push(format!("features = {}", json(&self.features)));
        }
        if self.optional {
            parts.push("optional = true".to_owned());
        }
        let name = self.rename.as_ref().unwrap_or(&self.name);
        format!("{name} = {{ {} }}\n", parts.join(", "))
    }
}

/// Serializes strings and lists of strings; their JSON is valid TOML.
fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    // Cannot fail: strings always serialize.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns a path dependency as a line of a Cargo.toml.
pub fn dependency(name: &str, folder: &Path) -> String {
    // A JSON string is valid TOML.
    let path = serde_json::json!(folder.to_string_lossy());
    format!("{name} = {{ path = {path} }}")
}

/// Writes a file and creates its parent folders.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("create", folder))?;
    }
    fs::write(path, text).map_err(io("write", path))
}

/// Copies a source folder recursively.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
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
