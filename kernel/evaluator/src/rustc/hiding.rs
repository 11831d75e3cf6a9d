//! Whether an import of all of a crate's module hides names of the prelude that types of cells are made of.

use std::collections::BTreeSet;

use super::compiler::Compiled;
use super::session::Session;

/// Types of the prelude that fields have.
const NAMES: [&str; 4] = ["Box", "Option", "String", "Vec"];

/// The imports of all of a module of a crate.
pub(super) fn globs(session: &Session) -> BTreeSet<String> {
    let codes = session.imports.iter().map(|(_, import)| &import.code);
    let is_foreign = |code: &&String| {
        let Some(path) = code.strip_prefix("use ").filter(|it| it.ends_with("*;")) else {
            return false;
        };
        let root = path.trim_start_matches("::").split(':').next();
        root.is_some_and(|root| session.outside.crates.contains(root))
    };
    codes.filter(is_foreign).cloned().collect()
}

/// A crate that imports the names one by one from what an import brings.
pub(super) fn source(glob: &str) -> String {
    let single = NAMES.map(|name| format!("use all::{name} as _;\n"));
    format!("mod all {{ pub {glob} }}\n{}", single.concat())
}

/// Whether one of the names is there, after what the compiler says about that crate.
pub(super) fn hides(compiled: &Compiled) -> bool {
    let errors = compiled.errors();
    let is_missing = |name: &&str| {
        let import = format!("`all::{name}`");
        errors.iter().any(|error| error.text().contains(&import))
    };
    // Other errors are those of the cell.
    errors.iter().all(|error| error.code() == "E0432") && !NAMES.iter().all(is_missing)
}
