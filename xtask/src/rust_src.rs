//! The sources of Rust's standard library, from which the kernel reads the types of variables.

use crate::error::{Error, Result};
use crate::place;
use crate::process::{self, ask, command, on_path};
use crate::report::Step;
use crate::tools;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The Debian package that carries them without belonging to a toolchain.
const PACKAGE: &str = "rust-web-src";

/// Finds the sources or fetches them. Gives their folder when the kernel would not find them by itself.
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
    let cache = place::cache().join(PACKAGE);
    if let Some(found) = in_folder(&cache.join("usr/src")) {
        return Ok(Some(found));
    }
    fetch(step, &cache)
}

fn fetch(step: &Step, cache: &Path) -> Result<Option<PathBuf>> {
    let mut reasons = Vec::new();
    if on_path("rustup") {
        let mut rustup = command("rustup");
        rustup.args(["component", "add", "rust-src"]);
        match process::run(step, "rust-src-rustup", rustup) {
            Ok(()) if in_toolchain().is_some() => return Ok(None),
            Ok(()) => reasons.push("rustup added it to another toolchain".to_owned()),
            Err(error) => reasons.push(first_line(&error)),
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
            Err(error) => reasons.push(first_line(&error)),
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
            "run `rustup component add rust-src`, or install Debian's package {PACKAGE}, or set RUST_SRC_PATH to a copy of `library`"
        ),
    })
}

/// As root: as any other package.
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

/// As anyone else: lists, package and files in a folder of the user's own.
fn unpack(step: &Step, cache: &Path) -> Result<()> {
    let lists = cache.join("lists/partial");
    let archives = cache.join("archives/partial");
    for folder in [&lists, &archives] {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    for (log, arguments) in [
        ("rust-src-apt-update", &["update"][..]),
        ("rust-src-apt", &["download", PACKAGE]),
    ] {
        let mut apt = command("apt-get");
        apt.arg("-o")
            .arg(format!(
                "Dir::State::Lists={}",
                cache.join("lists").display()
            ))
            .arg("-o")
            .arg(format!("Dir::Cache={}", cache.display()))
            .args(arguments)
            .current_dir(cache);
        process::run(step, log, apt)?;
    }
    let package = fs::read_dir(cache)
        .map_err(Error::io("read", cache))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| Error::Content {
            path: cache.to_owned(),
            reason: format!("apt-get left no {PACKAGE} there"),
        })?;
    let mut dpkg = command("dpkg-deb");
    dpkg.arg("-x").arg(&package).arg(cache);
    process::run(step, "rust-src-unpack", dpkg)?;
    // A few tens of megabytes that nobody needs any more.
    for left in [cache.join("lists"), cache.join("archives")] {
        fs::remove_dir_all(&left).map_err(Error::io("remove", &left))?;
    }
    fs::remove_file(&package).map_err(Error::io("remove", &package))
}

fn in_toolchain() -> Option<PathBuf> {
    let mut rustc = command(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .args(["--print", "sysroot"])
        .current_dir(place::root());
    let library = PathBuf::from(ask(rustc)?).join("lib/rustlib/src/rust/library");
    is_library(&library).then_some(library)
}

/// The newest `rustc-*/library` in `folder`.
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
    found.sort();
    found.pop()
}

fn is_library(folder: &Path) -> bool {
    ["core", "alloc", "std"]
        .iter()
        .all(|name| folder.join(name).join("src/lib.rs").is_file())
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.split(';').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_library_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        for (version, crates) in [
            ("rustc-1.90.0", 3),
            ("rustc-1.96.0", 3),
            ("rustc-1.97.0", 2),
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
        assert_eq!(found, folder.path().join("rustc-1.96.0/library"));
    }
}
