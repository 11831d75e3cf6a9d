//! Omits the imports from crates that a cell does not need.
//!
//! Importing a crate makes the compiler read the metadata of all its dependencies and link to them,
//! which doubles the compile time of a small cell. A cell that contains none of the imported names
//! is therefore compiled without these imports. `rustdoc` lists the imported names, including the
//! methods of traits, which may take precedence over those of the standard library. The list is
//! cached for each set of imports; until it exists, no import is omitted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use azureml_kernel_helpers::own;

use super::compiler::{Compiled, Compiler};
use super::session::Session;
use crate::cache::Key;
use crate::env;
use crate::toolchain::Toolchain;

/// The name under which a single import is listed.
const SINGLE: &str = "imported";

/// Roots of paths that do not lead to a crate of the notebook.
const OF_THE_COMPILER: [&str; 7] = [
    "std",
    "core",
    "alloc",
    "proc_macro",
    "crate",
    "self",
    "super",
];

/// The names that the session's imports from crates provide.
#[derive(Debug, Clone, Default)]
pub(super) struct Imports {
    state: Arc<Mutex<State>>,
    ended: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    /// The names by the key of the list of imports, or `None` if `rustdoc` cannot list them.
    known: Option<(String, Option<BTreeSet<String>>)>,
    running: bool,
}

impl Imports {
    /// Returns the session without its imports from crates, if the code in `texts` contains none of
    /// the imported names.
    pub(super) fn without<'a>(
        &self,
        session: &Session,
        compiler: &Compiler,
        toolchain: &Toolchain,
        texts: impl Iterator<Item = &'a str>,
    ) -> Option<Session> {
        let crates: BTreeSet<&str> = crate_names(compiler).collect();
        let foreign = foreign(session, &crates)?;
        let in_use = compiler
            .libraries
            .iter()
            .any(|library| library.umbrella.is_some());
        if foreign.is_empty() && !in_use {
            return None;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let brought = match &state.known {
            _ if foreign.is_empty() => None,
            Some((key, Some(brought))) if *key == key_of(&foreign, compiler, toolchain) => {
                Some(brought)
            }
            _ => return None,
        };
        let concerns = |word: &str| {
            crates.contains(word) || brought.is_some_and(|brought| brought.contains(word))
        };
        if texts.flat_map(words).any(concerns) {
            return None;
        }
        let mut without = session.clone();
        without
            .imports
            .retain(|(_, import)| !foreign.contains(&import.code));
        Some(without)
    }

    /// Lists the names of the imports in a background thread, unless the list is known.
    pub(super) fn prepare(
        &self,
        session: &Session,
        compiler: &Compiler,
        toolchain: &Toolchain,
        cache: &Path,
    ) {
        let Some(foreign) = foreign(session, &crate_names(compiler).collect()) else {
            return;
        };
        if foreign.is_empty() {
            return;
        }
        let key = key_of(&foreign, compiler, toolchain);
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let known = state.known.as_ref().is_some_and(|(known, _)| *known == key);
            // Only one list is made at a time. The next cell retries.
            if known || state.running {
                return;
            }
            let kept = cache.join("imports").join(&key);
            if let Ok(text) = own::read(&kept) {
                let text = String::from_utf8_lossy(&text);
                let brought = text.lines().map(str::to_owned).collect();
                state.known = Some((key, Some(brought)));
                return;
            }
            state.running = true;
        }
        let compiler = compiler.clone();
        let rustdoc = toolchain.sysroot.join("bin/rustdoc");
        let cache = cache.to_owned();
        let state = Arc::clone(&self.state);
        let ended = Arc::clone(&self.ended);
        let ask = move || {
            let brought = brought(&foreign, &compiler, &rustdoc);
            if let Some(brought) = &brought
                && let Err(error) = keep(&cache, &key, brought)
            {
                tracing::debug!(%error, "what imports bring is asked again by the next kernel");
            }
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running = false;
            state.known = Some((key, brought));
            ended.notify_all();
        };
        if std::thread::Builder::new()
            .name("imports".to_owned())
            .spawn(ask)
            .is_err()
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running = false;
        }
    }

    /// Waits until the background thread has finished.
    pub(super) fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.ended
                .wait_while(state, |state| state.running)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Returns whether all errors come from the borrow checker, which runs after name resolution and
/// type inference, so that the omitted imports cannot change them.
pub(super) fn is_independent_of_imports(compiled: &Compiled) -> bool {
    let errors = compiled.errors();
    let about_borrowing = |code: &str| {
        matches!(
            code,
            "E0381" | "E0382" | "E0499" | "E0502" | "E0503" | "E0505" | "E0506" | "E0597" | "E0716"
        )
    };
    !errors.is_empty() && errors.iter().all(|error| about_borrowing(error.code()))
}

fn crate_names(compiler: &Compiler) -> impl Iterator<Item = &str> {
    compiler
        .libraries
        .iter()
        .flat_map(|library| &library.crates)
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != super::generated::RUNTIME)
}

/// Returns the imports from crates, or `None` if an import cannot be classified.
fn foreign(session: &Session, crates: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let items: BTreeSet<&str> = session
        .items
        .iter()
        .filter_map(|item| item.what.name())
        .collect();
    let mut foreign = BTreeSet::new();
    for (_, import) in &session.imports {
        let path = match import.code.strip_prefix("extern crate ") {
            Some(name) => name,
            // An import with attributes before `use` is not classified.
            None => import.code.strip_prefix("use ")?,
        };
        let root = words(path).next()?;
        match (crates.contains(root), items.contains(root)) {
            (true, false) => {
                foreign.insert(import.code.clone());
            }
            (false, true) => {}
            (false, false) if OF_THE_COMPILER.contains(&root) => {}
            // The root is the name of another import, or the name is ambiguous.
            _ => return None,
        }
    }
    Some(foreign)
}

/// Returns the cache key of a list of imports, which includes the crates they refer to.
fn key_of(foreign: &BTreeSet<String>, compiler: &Compiler, toolchain: &Toolchain) -> String {
    let mut key = Key::new();
    key.add(&toolchain.version);
    for import in foreign {
        key.add(import);
    }
    for (name, file) in compiler
        .libraries
        .iter()
        .flat_map(|library| &library.crates)
    {
        // The folders of these files are named by a hash of their inputs.
        key.add(name).add(file.as_os_str().as_encoded_bytes());
    }
    key.finish()
}

/// Returns the names and methods of imports as listed by `rustdoc`, or `None` if it fails.
fn brought(
    foreign: &BTreeSet<String>,
    compiler: &Compiler,
    rustdoc: &Path,
) -> Option<BTreeSet<String>> {
    let mut brought = BTreeSet::new();
    let mut source = String::new();
    let mut asked = Vec::new();
    for (index, import) in foreign.iter().enumerate() {
        let Some(path) = import.strip_prefix("use ") else {
            // `extern crate a as b` provides both names.
            brought.extend(words(import.strip_prefix("extern crate ")?).map(str::to_owned));
            continue;
        };
        let path = path.trim_end_matches(';');
        let (path, name) = path.split_once(" as ").unwrap_or((path, ""));
        let glob = path.ends_with('*');
        if !glob {
            let last = words(path).last()?;
            brought.insert(if name.is_empty() { last } else { name }.to_owned());
            if words(path).count() == 1 {
                // The import names only a crate.
                continue;
            }
        }
        let name = if glob {
            String::new()
        } else {
            format!(" as {SINGLE}")
        };
        asked.push(index);
        // Writing to a string cannot fail.
        let _ = writeln!(
            source,
            "pub mod import_{index} {{ #[doc(inline)] pub use {path}{name}; }}"
        );
    }
    if asked.is_empty() {
        return Some(brought);
    }
    let folder = tempfile::tempdir_in(compiler.folder()).ok()?;
    let file = folder.path().join("imports.rs");
    fs::write(&file, source).ok()?;
    let mut command = Command::new(rustdoc);
    env::without_build_settings(&mut command);
    let output = command
        .args(["--crate-name", "imports", "--edition", "2024"])
        .args(compiler.crates(&[]))
        .arg("-o")
        .arg(folder.path())
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        tracing::debug!(
            said = %String::from_utf8_lossy(&output.stderr),
            "what imports bring is not known"
        );
        return None;
    }
    for index in asked {
        let listed = folder.path().join(format!("imports/import_{index}"));
        if !read_list(&listed, &mut brought) {
            tracing::debug!(?foreign, index, "what an import brings is not known");
            return None;
        }
    }
    brought.remove(SINGLE);
    Some(brought)
}

/// Reads the output of `rustdoc` for a module: a folder for each submodule, and `struct.Name.html`
/// for other items. Returns whether the list is complete.
fn read_list(module: &Path, brought: &mut BTreeSet<String>) -> bool {
    let mut some = false;
    for entry in fs::read_dir(module).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), None, None) => {
                some = true;
                brought.insert(name.to_owned());
            }
            // All imports `as _` of traits share this file.
            (Some("trait"), Some("_"), _) => return false,
            (Some(kind), Some(name), Some("html")) => {
                some = true;
                brought.insert(name.to_owned());
                if kind == "trait" {
                    let Ok(page) = fs::read_to_string(entry.path()) else {
                        return false;
                    };
                    brought.extend(members(&page).map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    some
}

/// Returns the members of a trait by the anchors of its page, such as `id="tymethod.read"`.
fn members(page: &str) -> impl Iterator<Item = &str> {
    page.split("id=\"").skip(1).filter_map(|rest| {
        let (kind, rest) = rest.split_once('.')?;
        kind.bytes()
            .all(|byte| byte.is_ascii_lowercase())
            .then(|| words(rest).next())
            .flatten()
    })
}

fn keep(cache: &Path, key: &str, brought: &BTreeSet<String>) -> std::io::Result<()> {
    let folder = cache.join("imports");
    own::folder(cache)?;
    own::folder(&folder)?;
    let lines: Vec<&str> = brought.iter().map(String::as_str).collect();
    let file: PathBuf = folder.join(key);
    let staging = tempfile::NamedTempFile::new_in(&folder)?;
    fs::write(staging.path(), lines.join("\n"))?;
    staging.persist(file)?;
    Ok(())
}

/// Splits a text into words, including those in comments and strings, because format strings
/// contain names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rustc::cell::Cell;

    fn foreign_of(code: &str) -> Option<Vec<String>> {
        let mut session = Session::default();
        session.define(1, code, &Cell::parse(code));
        foreign(&session, &BTreeSet::from(["azureml", "serde"]))
            .map(|imports| imports.into_iter().collect())
    }

    #[test]
    fn imports_from_crates_are_told_from_others() {
        assert_eq!(
            foreign_of(
                "use azureml::prelude::*; use ::serde::Serialize as S; use std::fmt; mod own {} use own::*;"
            ),
            Some(vec![
                "use ::serde::Serialize as S;".to_owned(),
                "use azureml::prelude::*;".to_owned()
            ])
        );
        assert_eq!(
            foreign_of("extern crate serde;"),
            Some(vec!["extern crate serde;".to_owned()])
        );
        // The root is the name of another import, or an attribute imports all macros of a crate.
        assert_eq!(foreign_of("use azureml::prelude; use prelude::*;"), None);
        assert_eq!(foreign_of("#[macro_use] extern crate serde;"), None);
        assert_eq!(foreign_of("mod serde {} use serde::*;"), None);
    }

    #[test]
    fn members_of_a_trait_are_read_from_its_page() {
        let page = r#"<a id="tymethod.read">x</a><section id="method.take-1" class="x"><h2 id="required-methods">a.b</h2>"#;
        assert_eq!(members(page).collect::<Vec<_>>(), ["read", "take"]);
    }
}
