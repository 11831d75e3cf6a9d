//! Finished sets of helper crates, and their location.

use crate::error::{Error, io};
use crate::facade::{self, BESIDE, BUILD_SCRIPT, REAL_MANIFEST};
use crate::layout::{self, MANIFEST};
use crate::toolchain::Toolchain;
use crate::{UMBRELLA, env, own};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A finished set of helper crates. The set is not removed while a process holds this value.
#[derive(Debug, Clone)]
pub struct Helpers {
    folder: PathBuf,
    facades: Vec<Facade>,
    /// The manifest, locked: see [`crate::prune`].
    _in_use: Arc<File>,
}

/// A stub crate, on which a cell's crate depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facade {
    /// The package name.
    pub name: String,
    /// The crate name used in code.
    pub crate_name: String,
    /// The folder of the Cargo.toml.
    pub path: PathBuf,
}

/// The content of [`MANIFEST`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The label of the compiler that built the set.
    pub(crate) rustc: String,
    /// The requested crates. Their path dependencies have stub crates too, but are not offered to
    /// cells.
    pub(crate) crates: Vec<Named>,
}

/// The names of a helper crate.
#[derive(Serialize, Deserialize)]
pub(crate) struct Named {
    /// The package name.
    pub(crate) package: String,
    /// The crate name used in code.
    pub(crate) library: String,
}

impl Helpers {
    /// Opens the set that the environment variable [`env::HELPERS`] names, if `toolchain` can use
    /// it.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Stale`], each with a hint.
    pub fn current(toolchain: &Toolchain) -> Result<Self, Error> {
        match std::env::var_os(env::HELPERS) {
            Some(folder) if !folder.is_empty() => Self::open(Path::new(&folder), toolchain),
            _ => Err(Error::Missing { folder: None }),
        }
    }

    /// Opens the set in `folder`, if `toolchain` can use it.
    ///
    /// # Errors
    /// The same as for [`Helpers::current`].
    pub fn open(folder: &Path, toolchain: &Toolchain) -> Result<Self, Error> {
        let missing = || Error::Missing {
            folder: Some(folder.to_owned()),
        };
        let path = folder.join(MANIFEST);
        let mut file = match own::open(&path) {
            Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::NotOwn(source));
            }
            opened => opened.map_err(|_| missing())?,
        };
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock_shared() {
            // The set is being removed. Other errors mean a file system without locks, on which no
            // set is removed.
            return Err(missing());
        }
        let mut manifest = String::new();
        file.read_to_string(&mut manifest).map_err(|_| missing())?;
        let manifest: Manifest = serde_json::from_str(&manifest).map_err(|_| missing())?;
        let current = toolchain.label();
        if manifest.rustc != current {
            return Err(Error::Stale {
                built_by: manifest.rustc,
                current,
            });
        }
        // Checked because cells and the compiler load these files.
        let root = root_of(folder).or_else(|| folder.parent().map(Path::to_owned));
        let root = root.as_deref().unwrap_or(folder);
        for loaded in [layout::library(folder), path] {
            own::check(&loaded, root).map_err(|source| match source.kind() {
                std::io::ErrorKind::PermissionDenied => Error::NotOwn(source),
                _ => missing(),
            })?;
        }
        let facade = |named: Named| Facade {
            path: layout::facades_folder(folder).join(&named.package),
            name: named.package,
            crate_name: named.library,
        };
        Ok(Self {
            folder: folder.to_owned(),
            facades: manifest.crates.into_iter().map(facade).collect(),
            _in_use: Arc::new(file),
        })
    }

    /// The folder of the set, which is the value of [`env::HELPERS`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stub crates, which cells use as path dependencies.
    pub fn facades(&self) -> &[Facade] {
        &self.facades
    }

    /// Returns the name of the bundle crate and the path of its library.
    pub fn library(&self) -> (&'static str, PathBuf) {
        (UMBRELLA, layout::library(&self.folder))
    }

    /// Returns the folder of the library and of the metadata that the compiler reads when a cell
    /// uses it.
    pub fn library_folder(&self) -> PathBuf {
        layout::deps_folder(&self.folder)
    }

    /// Returns the path of the shim that re-exports a helper crate from the library.
    pub fn stand_in(&self, crate_name: &str) -> PathBuf {
        layout::thin(&self.folder, crate_name)
    }

    /// Writes the sources of these packages and of their path dependencies as packages that build,
    /// each to a folder below `folder`.
    ///
    /// # Errors
    /// [`Error::NoSources`] if an older kernel built the set; [`Error::Io`] if a file cannot be
    /// written.
    pub fn write_sources(&self, packages: &[&str], folder: &Path) -> Result<(), Error> {
        let mut wanted: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        let mut written = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !written.insert(name.clone()) {
                continue;
            }
            let from = layout::facades_folder(&self.folder).join(&name);
            let to = folder.join(&name);
            let manifest = fs::read_to_string(from.join(REAL_MANIFEST))
                .map_err(|_| Error::NoSources(self.folder.clone()))?;
            facade::copy(&from.join("src"), &to.join("src"))?;
            let script = from.join(BUILD_SCRIPT);
            if script.is_file() {
                let copied = to.join(BUILD_SCRIPT);
                fs::copy(script, &copied).map_err(io("write", &copied))?;
            }
            facade::write(&to.join("Cargo.toml"), &manifest)?;
            let beside = manifest
                .split(BESIDE)
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            wanted.extend(beside.map(str::to_owned));
        }
        Ok(())
    }

    /// Returns the Cargo.lock with which the set was built.
    pub fn lock(&self) -> PathBuf {
        layout::lock(&self.folder)
    }

    /// Returns the environment variables with which cargo builds cells. `wrapper` is a program that
    /// calls [`rustc_wrapper_hook`] first; cargo runs it in place of the compiler.
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

/// Writes the manifest, which marks the set as finished.
pub(crate) fn finish(set: &Path, manifest: &Manifest) -> Result<(), Error> {
    let path = set.join(MANIFEST);
    // Cannot fail: a struct of strings always serializes.
    let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    fs::write(&path, text).map_err(io("write", &path))
}

/// Returns the folder of all files that kernels share: [`env::CACHE`], or `azureml-kernel` in the
/// user's cache.
///
/// `None` when the environment contains neither a cache nor a home folder; relative paths are
/// ignored.
pub fn cache_root() -> Option<PathBuf> {
    let named = |variable| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    named(env::CACHE).or_else(|| {
        let user_cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
        Some(user_cache.join("azureml-kernel"))
    })
}

/// Returns the shared folder if `folder` is below it.
pub(crate) fn root_of(folder: &Path) -> Option<PathBuf> {
    cache_root().filter(|root| folder != root && folder.starts_with(root))
}

/// Returns the folder of all sets.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    let root = cache_root().ok_or(Error::NoCache)?;
    Ok(root.join("helpers"))
}
