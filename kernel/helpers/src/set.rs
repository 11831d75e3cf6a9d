//! A finished set of helper crates, and where sets are kept.

use crate::error::{Error, io};
use crate::{UMBRELLA, env};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file in a set's folder that says what is in it; written last.
const MANIFEST: &str = "set.json";

/// A finished set of helper crates.
#[derive(Debug, Clone)]
pub struct Helpers {
    folder: PathBuf,
    facades: Vec<Facade>,
}

/// A helper crate, as a cell's crate depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facade {
    /// The package's name.
    pub name: String,
    /// The folder of its Cargo.toml.
    pub path: PathBuf,
}

/// What [`MANIFEST`] holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The first line of `rustc --version --verbose` and its commit, of the compiler that built the set.
    pub(crate) rustc: String,
    /// The crates that were asked for; what they depend on by path has a facade, too, but is not named to cells.
    pub(crate) crates: Vec<String>,
}

impl Helpers {
    /// The set that the environment names ([`env::HELPERS`]), when the compiler of today can use it.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Stale`], each with the way out.
    pub fn current() -> Result<Self, Error> {
        match std::env::var_os(env::HELPERS) {
            Some(folder) if !folder.is_empty() => Self::open(Path::new(&folder)),
            _ => Err(Error::Missing { folder: None }),
        }
    }

    /// The set in `folder`, when the compiler of today can use it.
    ///
    /// # Errors
    /// As [`Helpers::current`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let missing = || Error::Missing {
            folder: Some(folder.to_owned()),
        };
        let manifest = fs::read(folder.join(MANIFEST)).map_err(|_| missing())?;
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| missing())?;
        let current = rustc_version()?;
        if manifest.rustc != current {
            return Err(Error::Stale {
                built_by: manifest.rustc,
                current,
            });
        }
        let facade = |name: String| Facade {
            path: facades_folder(folder).join(&name),
            name,
        };
        Ok(Self {
            folder: folder.to_owned(),
            facades: manifest.crates.into_iter().map(facade).collect(),
        })
    }

    /// Where the set is; what [`env::HELPERS`] names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The crates that cells use, each as a path dependency.
    pub fn facades(&self) -> &[Facade] {
        &self.facades
    }

    /// The name of the crate that holds all helper crates, and its library.
    pub fn library(&self) -> (&'static str, PathBuf) {
        (UMBRELLA, library(&self.folder))
    }

    /// Where the library is, and the metadata that the compiler reads when a cell uses it.
    pub fn library_folder(&self) -> PathBuf {
        deps_folder(&self.folder)
    }

    /// A crate root that passes on what the library holds of a helper crate.
    pub fn stand_in(&self, crate_name: &str) -> PathBuf {
        thin(&self.folder, crate_name)
    }

    /// The environment in which cargo builds cells: `wrapper`, a program that calls [`rustc_wrapper_hook`]
    /// first, stands in for the compiler.
    ///
    /// [`rustc_wrapper_hook`]: crate::rustc_wrapper_hook
    pub fn build_env(&self, wrapper: &Path) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("RUSTC_WRAPPER".to_owned(), text(wrapper)),
            (env::WRAPPER.to_owned(), "1".to_owned()),
            (env::HELPERS.to_owned(), text(&self.folder)),
        ]
    }
}

/// Where a set's finished library and metadata are.
pub(crate) fn deps_folder(set: &Path) -> PathBuf {
    set.join("deps")
}

/// The finished library of a set.
pub(crate) fn library(set: &Path) -> PathBuf {
    deps_folder(set).join(format!("lib{UMBRELLA}.so"))
}

/// Where a set's facades are, a folder each.
pub(crate) fn facades_folder(set: &Path) -> PathBuf {
    set.join("facades")
}

/// What the compiler is given in the place of a facade.
pub(crate) fn thin(set: &Path, crate_name: &str) -> PathBuf {
    set.join("thin").join(format!("{crate_name}.rs"))
}

/// Writes the manifest, which makes a folder a set.
pub(crate) fn finish(set: &Path, manifest: &Manifest) -> Result<(), Error> {
    let path = set.join(MANIFEST);
    // A struct of strings always serializes.
    let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    fs::write(&path, text).map_err(io("write", &path))
}

/// The folder that all sets are kept in.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set(env::CACHE)
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("azureml-kernel")))
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache/azureml-kernel")))
        .map(|cache| cache.join("helpers"))
        .ok_or(Error::NoCache)
}

/// Which compiler this is: two that differ here do not understand each other's libraries.
pub(crate) fn rustc_version() -> Result<String, Error> {
    let output = Command::new("rustc")
        .arg("--version")
        .arg("--verbose")
        .output()
        .map_err(|source| Error::Toolchain {
            program: "rustc",
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default();
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    Ok(format!("{version} {host}"))
}
