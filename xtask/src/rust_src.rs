//! The sources of Rust's standard library, which completion and documentation need.

use crate::error::{Error, Result};
use crate::process::{self, ask, command, on_path};
use crate::report::Step;
use crate::{lock, place, remove, tools};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The Debian package that contains the sources without a toolchain.
const PACKAGE: &str = "rust-web-src";

/// Finds or downloads the sources. Returns their folder if the kernel does not find it without a
/// variable.
pub fn provide(step: &Step) -> Result<Option<PathBuf>> {
    if let Some(given) = env::var_os("RUST_SRC_PATH").map(PathBuf::from) {
        if is_library(&given) {
            return Ok(Some(given));
        }
        return Err(Error::Missing {
            what: format!(
                "RUST_SRC_PATH names {}, which holds no sources of the standard library",
                given.display()
            ),
            hint: "unset it, or set it to the folder that holds `core`, `alloc` and `std`"
                .to_owned(),
        });
    }
    if in_toolchain().is_some() || in_folder(Path::new("/usr/src")).is_some() {
        return Ok(None);
    }
    let cache = place::cache()?.join(PACKAGE);
    let cached = || in_folder(&cache.join("usr/src"));
    if let Some(found) = cached() {
        return Ok(Some(found));
    }
    let _lock = lock::take(&cache.with_extension("lock"), step)?;
    match cached() {
        Some(found) => Ok(Some(found)),
        None => fetch(step, &cache),
    }
}

fn fetch(step: &Step, cache: &Path) -> Result<Option<PathBuf>> {
    let mut reasons = Vec::new();
    if on_path("rustup") {
        let mut rustup = command("rustup");
        rustup.args(["component", "add", "rust-src"]);
        match process::run(step, "rust-src-rustup", rustup) {
            Ok(()) if in_toolchain().is_some() => return Ok(None),
            Ok(()) => reasons.push("rustup added it to another toolchain".to_owned()),
            Err(error) => reasons.push(error.brief()),
        }
    }
    if on_path("apt-get") {
        let installed = if tools::is_root() {
            install(step)
        } else {
            unpack(step, cache)
        };
        match installed {
            Ok(()) => {
                if in_folder(Path::new("/usr/src")).is_some() {
                    return Ok(None);
                }
                if let Some(found) = in_folder(&cache.join("usr/src")) {
                    return Ok(Some(found));
                }
                reasons.push(format!("{PACKAGE} holds no sources here"));
            }
            Err(error) => reasons.push(error.brief()),
        }
    }
    Err(Error::Missing {
        what: format!(
            "the sources of Rust's standard library are missing, and were not to be had ({})",
            if reasons.is_empty() {
                "neither rustup nor apt-get is here".to_owned()
            } else {
                reasons.join("; ")
            }
        ),
        hint: format!(
            "check the network and run this command again; or run `rustup component add rust-src`, or install Debian's package {PACKAGE}, or set RUST_SRC_PATH to a copy of `library`"
        ),
    })
}

/// Installs the package, if the user is root.
fn install(step: &Step) -> Result<()> {
    for (log, arguments) in [
        ("rust-src-apt-update", &["update"][..]),
        (
            "rust-src-apt",
            &["install", "-y", "--no-install-recommends", PACKAGE],
        ),
    ] {
        let mut apt = command("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(step, log, apt)?;
    }
    Ok(())
}

/// Unpacks the package to the user's cache, if the user is not root. The folder is renamed when it
/// is complete.
fn unpack(step: &Step, cache: &Path) -> Result<()> {
    let partial = cache.with_extension("partial");
    remove(&partial)?;
    let unpacked = partial.join("unpacked");
    for folder in ["lists/partial", "archives/partial", "unpacked"] {
        let folder = partial.join(folder);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    }
    let set = |name: &str, folder: PathBuf| format!("{name}={}", folder.display());
    for (log, arguments) in [
        ("rust-src-apt-update", &["update"][..]),
        ("rust-src-apt", &["download", PACKAGE]),
    ] {
        let mut apt = command("apt-get");
        apt.args(["-o", &set("Dir::State::Lists", partial.join("lists"))])
            .args(["-o", &set("Dir::Cache", partial.clone())])
            .args(arguments)
            .current_dir(&partial);
        process::run(step, log, apt)?;
    }
    let package = fs::read_dir(&partial)
        .map_err(Error::io("read", &partial))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| Error::Content {
            path: partial.clone(),
            reason: format!("apt-get left no {PACKAGE} there"),
        })?;
    let mut dpkg = command("dpkg-deb");
    dpkg.arg("-x").arg(&package).arg(&unpacked);
    process::run(step, "rust-src-unpack", dpkg)?;
    remove(cache)?;
    fs::rename(&unpacked, cache).map_err(Error::io("create", cache))?;
    remove(&partial)
}

fn remove(folder: &Path) -> Result<()> {
    remove::folder(folder, folder.parent().unwrap_or(folder))
}

fn in_toolchain() -> Option<PathBuf> {
    let mut rustc = command(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .args(["--print", "sysroot"])
        .current_dir(place::root());
    let library = PathBuf::from(ask(rustc)?).join("lib/rustlib/src/rust/library");
    is_library(&library).then_some(library)
}

/// Returns the newest `rustc-*/library` in `folder`.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("rustc-"))
        })
        .map(|path| path.join("library"))
        .filter(|library| is_library(library))
        .collect();
    found.sort_by_key(|library| version(library));
    found.pop()
}

/// Returns the version numbers of a path such as `…/rustc-1.96.0/library`.
fn version(library: &Path) -> Vec<u32> {
    let name = library.parent().and_then(Path::file_name);
    let name = name.unwrap_or_default().to_string_lossy();
    let numbers = name.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn is_library(folder: &Path) -> bool {
    ["core", "alloc", "std"]
        .iter()
        .all(|name| folder.join(name).join("src/lib.rs").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_library_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        for (version, crates) in [
            ("rustc-1.96.0", 3),
            ("rustc-1.100.0", 3),
            ("rustc-1.101.0", 2),
            ("other", 3),
        ] {
            for name in &["core", "alloc", "std"][..crates] {
                let source = folder
                    .path()
                    .join(version)
                    .join("library")
                    .join(name)
                    .join("src");
                fs::create_dir_all(&source).expect("a folder");
                fs::write(source.join("lib.rs"), "").expect("a file");
            }
        }
        let found = in_folder(folder.path()).expect("a library");
        assert_eq!(found, folder.path().join("rustc-1.100.0/library"));
    }
}
