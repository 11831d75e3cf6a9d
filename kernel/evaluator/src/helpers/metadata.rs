//! What `cargo metadata` says about the helper crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The packages that go into the library.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    resolve: Resolve,
    pub(super) workspace_root: PathBuf,
}

/// A package.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) edition: String,
    /// `None` for a package of the file system.
    pub(super) source: Option<String>,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
}

/// Something that a package compiles to.
#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Vec<String>,
    pub(super) src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    name: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// `None` for an ordinary one.
    kind: Option<String>,
}

impl Package {
    pub(super) fn library(&self) -> Option<&Target> {
        self.targets.iter().find(|target| {
            target
                .kind
                .iter()
                .any(|kind| matches!(kind.as_str(), "lib" | "rlib" | "dylib"))
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    pub(super) fn is_local(&self) -> bool {
        self.source.is_none()
    }
}

impl Target {
    /// The name by which code knows the library.
    pub(super) fn crate_name(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl Metadata {
    pub(super) fn package(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == id)
    }

    /// The package whose manifest is in this folder.
    pub(super) fn in_folder(&self, folder: &Path) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| package.folder() == folder)
    }

    /// The ordinary dependencies of a package that are on the file system, by the name that the code uses.
    pub(super) fn local_dependencies(&self, id: &str) -> BTreeMap<String, &Package> {
        self.node(id)
            .into_iter()
            .flat_map(|node| &node.deps)
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()))
            .filter_map(|dependency| {
                Some((dependency.name.clone(), self.package(&dependency.pkg)?))
            })
            .filter(|(_, package)| package.is_local())
            .collect()
    }

    /// The features with which a package is built.
    pub(super) fn features(&self, id: &str) -> &[String] {
        self.node(id).map_or(&[], |node| &node.features)
    }

    /// These packages and all local ones that they need.
    pub(super) fn with_local_dependencies<'a>(&'a self, roots: &[&'a Package]) -> Vec<&'a Package> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = roots.iter().map(|package| package.id.as_str()).collect();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(
                    self.local_dependencies(id)
                        .values()
                        .map(|package| package.id.as_str()),
                );
            }
        }
        self.packages
            .iter()
            .filter(|package| found.contains(package.id.as_str()))
            .collect()
    }

    fn node(&self, id: &str) -> Option<&Node> {
        self.resolve.nodes.iter().find(|node| node.id == id)
    }
}
