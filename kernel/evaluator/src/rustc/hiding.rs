//! Detects glob imports from crates that shadow prelude types which items of cells may use.

use std::collections::BTreeSet;

use super::compiler::Compiled;
use super::session::Session;

/// Prelude types that are common as field types.
const NAMES: [&str; 4] = ["Box", "Option", "String", "Vec"];

/// Returns the glob imports from crates.
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

/// Builds the source of a crate that imports each of the names through the glob import.
pub(super) fn source(glob: &str) -> String {
    let single = NAMES.map(|name| format!("use all::{name} as _;\n"));
    format!("mod all {{ pub {glob} }}\n{}", single.concat())
}

/// Returns whether the glob import provides one of the names, according to the compiler's errors.
pub(super) fn hides(compiled: &Compiled) -> bool {
    let errors = compiled.errors();
    let is_missing = |name: &&str| {
        let import = format!("`all::{name}`");
        errors.iter().any(|error| error.text().contains(&import))
    };
    // Errors other than E0432 (unresolved import) are reported for the cell itself.
    errors.iter().all(|error| error.code() == "E0432") && !NAMES.iter().all(is_missing)
}
