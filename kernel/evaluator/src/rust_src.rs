//! Locates the standard library's sources, which rust-analyzer needs to infer types of variables.

use std::path::{Path, PathBuf};

use crate::env;
use crate::toolchain::Toolchain;

/// The location of the standard library's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RustSrc {
    /// In the folder that `RUST_SRC_PATH` names.
    Named(PathBuf),
    /// In the toolchain, as the component `rust-src`.
    Component(PathBuf),
    /// In Debian's package `rust-web-src` or `rust-src`.
    Debian(PathBuf),
    /// Not found: only the types of the simplest variables can be inferred.
    Missing,
}

/// The hint for missing sources.
pub const HINT: &str = "hint: `rustup component add rust-src`; on Debian `apt install rust-web-src`; or set RUST_SRC_PATH to the folder `library` of Rust's sources";

impl RustSrc {
    /// Searches for the sources, without installing anything.
    pub fn find(toolchain: &Toolchain) -> Self {
        let named = std::env::var_os(env::RUST_SRC_PATH).map(PathBuf::from);
        Self::find_in(named, &toolchain.sysroot, Path::new("/usr/src"))
    }

    /// The folder that contains `core`, `alloc` and `std`.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Named(path) | Self::Component(path) | Self::Debian(path) => Some(path),
            Self::Missing => None,
        }
    }

    fn find_in(named: Option<PathBuf>, sysroot: &Path, debian: &Path) -> Self {
        if let Some(path) = named.filter(|path| path.is_absolute() && holds_core(path)) {
            return Self::Named(path);
        }
        let component = sysroot.join("lib/rustlib/src/rust/library");
        if holds_core(&component) {
            return Self::Component(component);
        }
        let mut packaged: Vec<PathBuf> = std::fs::read_dir(debian)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("rustc-"))
            .map(|entry| entry.path().join("library"))
            .filter(|path| holds_core(path))
            .collect();
        packaged.sort();
        packaged.pop().map_or(Self::Missing, Self::Debian)
    }
}

fn holds_core(path: &Path) -> bool {
    path.join("core/src/lib.rs").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(root: &Path, place: &str) -> PathBuf {
        let library = root.join(place);
        std::fs::create_dir_all(library.join("core/src")).expect("the folder is ours");
        std::fs::write(library.join("core/src/lib.rs"), "").expect("the folder is ours");
        library
    }

    #[test]
    fn sources_are_looked_for_in_order() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (sysroot, debian) = (root.path().join("sysroot"), root.path().join("src"));
        let find =
            |named: Option<&Path>| RustSrc::find_in(named.map(Path::to_owned), &sysroot, &debian);
        assert_eq!(find(None), RustSrc::Missing);
        library(root.path(), "src/rustc-1.95.0/library");
        let packaged = library(root.path(), "src/rustc-1.96.0/library");
        assert_eq!(find(None), RustSrc::Debian(packaged));
        let component = library(root.path(), "sysroot/lib/rustlib/src/rust/library");
        assert_eq!(find(None), RustSrc::Component(component.clone()));
        let named = library(root.path(), "elsewhere");
        assert_eq!(find(Some(&named)), RustSrc::Named(named.clone()));
        let empty = root.path().join("empty");
        assert_eq!(find(Some(&empty)), RustSrc::Component(component));
    }
}
