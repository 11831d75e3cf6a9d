//! Provides the helper crates as libraries for the compiler.

use std::path::Path;
use std::process::Command;

use azureml_kernel_helpers::{Helpers, own};

use super::compiler::Library;
use crate::cache::Key;
use crate::env;
use crate::toolchain::Toolchain;

/// Returns the crates of a prebuilt set under their own names. Each is a stub crate that re-exports
/// from the library of the set, and is compiled once per set.
pub(super) fn library(
    helpers: &Helpers,
    toolchain: &Toolchain,
    cache: &Path,
) -> std::io::Result<Library> {
    let key = Key::new()
        .add(&toolchain.version)
        .add(helpers.folder().as_os_str().as_encoded_bytes())
        .finish();
    let folder = cache.join("facades").join(key);
    own::folder(cache)?;
    own::folder(&cache.join("facades"))?;
    own::folder(&folder)?;
    let mut crates = Vec::new();
    for facade in helpers.facades() {
        let name = facade.crate_name.clone();
        let file = folder.join(format!("lib{name}.rlib"));
        if !file.metadata().is_ok_and(|about| about.len() > 0) {
            compile(helpers, toolchain, &name, &file)?;
        }
        own::check(&file, cache)?;
        crates.push((name, file));
    }
    Ok(Library {
        crates,
        folders: vec![helpers.library_folder(), folder],
        ..Library::default()
    })
}

fn compile(
    helpers: &Helpers,
    toolchain: &Toolchain,
    name: &str,
    file: &Path,
) -> std::io::Result<()> {
    let staging = tempfile::tempdir_in(file.parent().unwrap_or(Path::new(".")))?;
    let built = staging.path().join("built.rlib");
    let (umbrella, library) = helpers.library();
    let mut rustc = Command::new(&toolchain.rustc);
    env::without_build_settings(&mut rustc);
    let output = rustc
        .args([
            "--crate-name",
            name,
            "--crate-type=rlib",
            "--edition=2024",
            "-Cprefer-dynamic",
        ])
        .arg("--extern")
        .arg(format!("{umbrella}={}", library.display()))
        .arg(format!(
            "-Ldependency={}",
            helpers.library_folder().display()
        ))
        .arg("-o")
        .arg(&built)
        .arg(helpers.stand_in(name))
        .output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    own::publish(&built, file)
}
