//! Facades: what rust-analyzer sees of a helper crate.

use std::fmt::Write as _;
use std::path::Path;

use super::metadata::{Metadata, Package};

/// Writes the facades of these packages under `folder`, each in a folder named like its package.
pub(super) fn write(
    folder: &Path,
    metadata: &Metadata,
    packages: &[&Package],
) -> std::io::Result<()> {
    for package in packages {
        let Some(library) = package.library() else {
            continue;
        };
        let facade = folder.join(&package.name);
        let sources = library.src_path.parent().unwrap_or(package.folder());
        copy_tree(sources, &facade.join("src"))?;
        // Sources may include the package's texts, mostly as documentation: `include_str!("../README.md")`.
        for entry in std::fs::read_dir(package.folder())? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "md")
            {
                std::fs::copy(entry.path(), facade.join(entry.file_name()))?;
            }
        }
        let root = library
            .src_path
            .file_name()
            .map_or_else(|| "lib.rs".into(), std::ffi::OsStr::to_string_lossy);
        std::fs::write(
            facade.join("Cargo.toml"),
            manifest(metadata, package, &library.crate_name(), &root),
        )?;
    }
    Ok(())
}

/// A manifest without foreign dependencies, so that cargo needs neither network nor index for it.
fn manifest(metadata: &Metadata, package: &Package, crate_name: &str, root: &str) -> String {
    let mut text = format!(
        "[package]\nname = {name:?}\nversion = {version:?}\nedition = {edition:?}\nbuild = false\n\n\
         [lib]\nname = {crate_name:?}\npath = \"src/{root}\"\n\n[workspace]\n\n[features]\n",
        name = package.name,
        version = package.version,
        edition = package.edition,
    );
    let features = metadata.features(&package.id);
    let defaults: Vec<_> = features
        .iter()
        .filter(|feature| *feature != "default")
        .collect();
    writeln!(text, "default = {defaults:?}").ok();
    for feature in &defaults {
        writeln!(text, "{feature:?} = []").ok();
    }
    text.push_str("\n[dependencies]\n");
    for (name, dependency) in metadata.local_dependencies(&package.id) {
        writeln!(
            text,
            "{name} = {{ package = {package:?}, path = {path:?} }}",
            package = dependency.name,
            path = format!("../{}", dependency.name),
        )
        .ok();
    }
    text
}

/// Copies the files of a folder, without what is hidden or built.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else {
            std::fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}
