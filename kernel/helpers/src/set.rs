//! A finished set of helper crates, and where sets are kept.

use crate::error::{Error, io};
use crate::facade::{self, BESIDE, BUILD_SCRIPT, REAL_MANIFEST};
use crate::toolchain::Toolchain;
use crate::{UMBRELLA, env, own};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in a set's folder that says what is in it; written last.
pub(crate) const MANIFEST: &str = "set.json";

/// A finished set of helper crates. It is not removed as long as a process holds this.
#[derive(Debug, Clone)]
pub struct Helpers {
    folder: PathBuf,
    facades: Vec<Facade>,
    /// The manifest, locked: see [`crate::prune`].
    _in_use: Arc<File>,
}

/// A helper crate, as a cell's crate depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facade {
    /// The package's name.
    pub name: String,
    /// The name that code uses.
    pub crate_name: String,
    /// The folder of its Cargo.toml.
    pub path: PathBuf,
}

/// What [`MANIFEST`] holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The label of the compiler that built the set.
    pub(crate) rustc: String,
    /// The crates that were asked for; what they depend on by path has a facade, too, but is not named to cells.
    pub(crate) crates: Vec<Named>,
}

/// A helper crate by its names.
#[derive(Serialize, Deserialize)]
pub(crate) struct Named {
    /// The package's.
    pub(crate) package: String,
    /// The one that code uses.
    pub(crate) library: String,
}

impl Helpers {
    /// The set that the environment names ([`env::HELPERS`]), when `toolchain` can use it.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Stale`], each with the way out.
    pub fn current(toolchain: &Toolchain) -> Result<Self, Error> {
        match std::env::var_os(env::HELPERS) {
            Some(folder) if !folder.is_empty() => Self::open(Path::new(&folder), toolchain),
            _ => Err(Error::Missing { folder: None }),
        }
    }

    /// The set in `folder`, when `toolchain` can use it.
    ///
    /// # Errors
    /// As [`Helpers::current`].
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
            // It is being removed. Any other error: a file system without locks, where nothing is removed.
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
        // All of it is loaded into cells and into the compiler.
        let root = root_of(folder).or_else(|| folder.parent().map(Path::to_owned));
        let root = root.as_deref().unwrap_or(folder);
        for loaded in [library(folder), path] {
            own::check(&loaded, root).map_err(|source| match source.kind() {
                std::io::ErrorKind::PermissionDenied => Error::NotOwn(source),
                _ => missing(),
            })?;
        }
        let facade = |named: Named| Facade {
            path: facades_folder(folder).join(&named.package),
            name: named.package,
            crate_name: named.library,
        };
        Ok(Self {
            folder: folder.to_owned(),
            facades: manifest.crates.into_iter().map(facade).collect(),
            _in_use: Arc::new(file),
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

    /// Writes the sources of these packages, and of those that they need by path, as packages that build: a folder each below `folder`.
    ///
    /// # Errors
    /// [`Error::NoSources`] when the set is an older kernel's; when a file cannot be written.
    pub fn write_sources(&self, packages: &[&str], folder: &Path) -> Result<(), Error> {
        let mut wanted: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        let mut written = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !written.insert(name.clone()) {
                continue;
            }
            let from = facades_folder(&self.folder).join(&name);
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

    /// The Cargo.lock that the set was built with.
    pub fn lock(&self) -> PathBuf {
        lock(&self.folder)
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

/// The Cargo.lock of a set.
pub(crate) fn lock(set: &Path) -> PathBuf {
    set.join("Cargo.lock")
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

/// The folder of everything that kernels share: [`env::CACHE`], or `azureml-kernel` in the user's cache.
///
/// `None` when the environment names neither a cache nor a home; a relative path names none.
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

/// The folder of everything that kernels share, where a folder is below it.
pub(crate) fn root_of(folder: &Path) -> Option<PathBuf> {
    cache_root().filter(|root| folder != root && folder.starts_with(root))
}

/// The folder that all sets are kept in.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    let root = cache_root().ok_or(Error::NoCache)?;
    Ok(root.join("helpers"))
}
