//! Imports between the files of each crate: which circles they form, and whether the layers of the
//! local workspace hold.
//!
//! An import is a path of a `use` declaration, or a path in the code that begins with `crate`,
//! `super` or `self`. The declaration of a child module and its re-export are not imports of the
//! child. A name that a module re-exports counts as an import of the file that defines it. Code
//! under `#[cfg(test)]` is ignored.

mod graph;

use graph::Crate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The circles that exist, by the root file of the crate. The list must be exact: a new circle and
/// one that no longer exists both fail the test, so the list only shrinks.
///
/// `job.rs` and `sweep.rs` of the wire are one recursive schema: a sweep is a job and contains a job.
const CIRCLES: &[(&str, &[&[&str]])] = &[
    ("crates/azureml-wire/src/lib.rs", &[&["job.rs", "sweep.rs"]]),
    (
        "crates/training/src/lib.rs",
        &[&[
            "device.rs",
            "distributed.rs",
            "error.rs",
            "graph/mod.rs",
            "nccl.rs",
            "settings.rs",
        ]],
    ),
];

/// The layers of the local workspace from the bottom, by the paths of their files below `src`. A
/// file that is not in the list, such as `error.rs`, is below all of them. Layers in one row do not
/// import each other.
const LAYERS: &[&[&str]] = &[
    &["store"],
    &["seed.rs"],
    &["workspace"],
    &["runner"],
    &["scheduler.rs"],
    FACES,
    &["routes", "studio"],
    &["server"],
    &["serve.rs"],
];

/// The row of the first layer with HTTP: the parts of the server that both faces use.
const FACES: &[&str] = &[
    "server/absent.rs",
    "server/activity.rs",
    "server/address.rs",
    "server/auth.rs",
    "server/body.rs",
    "server/browser.rs",
    "server/error.rs",
    "server/peer.rs",
    "server/seal.rs",
    "server/trace.rs",
    "server/xml.rs",
];

/// The row of a file in [`LAYERS`].
fn row(file: &str) -> Option<usize> {
    let is_in = |layer: &&str| file == *layer || file.starts_with(&format!("{layer}/"));
    LAYERS.iter().position(|row| row.iter().any(is_in))
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let mut found = BTreeMap::new();
    for root in roots() {
        let circles = Crate::read(&root).circles();
        if !circles.is_empty() {
            found.insert(shown(&root), circles);
        }
    }
    let known: BTreeMap<String, Vec<Vec<String>>> = CIRCLES
        .iter()
        .map(|(root, circles)| {
            let owned = |circle: &&[&str]| circle.iter().map(|file| (*file).to_owned()).collect();
            ((*root).to_owned(), circles.iter().map(owned).collect())
        })
        .collect();
    assert!(
        found == known,
        "the circles of imports have changed; remove a new one, or correct `CIRCLES`\n\
         found: {found:#?}\nin the list: {known:#?}"
    );
}

#[test]
fn layers_of_the_local_workspace_import_downwards() {
    let read = Crate::read(&workspace().join("crates/azureml-local/src/lib.rs"));
    let layer = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
    let wrong: Vec<String> = read
        .imports()
        .iter()
        .filter(|(from, to)| {
            let (from_row, to_row) = (row(from), row(to));
            let is_beside = from_row.is_some() && from_row == to_row && layer(from) != layer(to);
            *from != "lib.rs" && (from_row < to_row || is_beside)
        })
        .map(|(from, to)| format!("{from} imports {to}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_workspace_and_its_scheduler_contain_no_http() {
    let source = workspace().join("crates/azureml-local/src");
    let first_face = row(FACES[0]);
    let wrong: Vec<String> = Crate::read(&source.join("lib.rs"))
        .files()
        .into_iter()
        .filter(|file| row(file) < first_face)
        .filter(|file| {
            let text = fs::read_to_string(source.join(file)).expect("a source file");
            text.contains("axum")
        })
        .collect();
    assert!(wrong.is_empty(), "these files name axum: {wrong:?}");
}

/// The root files of all crates in the workspace.
fn roots() -> Vec<PathBuf> {
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo lists packages");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .flat_map(|package| package["targets"].as_array().expect("targets"))
        .map(|target| PathBuf::from(target["src_path"].as_str().expect("a path")))
        .collect()
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is in the workspace")
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(workspace()).unwrap_or(path);
    path.display().to_string()
}
