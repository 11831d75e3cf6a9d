//! Completes text that is not Rust: commands, their arguments, and file paths.

use std::path::{Path, PathBuf};

use super::command_list;
use super::registry::Registry;
use crate::position::byte_offset;
use crate::{Completion, Completions, Variable};

/// Commands with the name of a variable as argument.
const OF_VARIABLES: [&str; 2] = [":t", ":type"];

/// The possible arguments of commands.
const CHOICES: &[(&str, &[&str])] = &[
    (":fmt", &["{:?}", "{:#?}", "{}"]),
    (":offline", &["0", "1"]),
    (":opt", &["0", "1", "2", "3", "s", "z"]),
];

/// Completes a command, its argument, or a path. Returns `None` if the cursor is in Rust code.
pub(super) fn beside_rust(
    code: &str,
    cursor: usize,
    variables: &[Variable],
    registry: &Registry,
) -> Option<Completions> {
    let offset = byte_offset(code, cursor);
    let line = code[..offset].rfind('\n').map_or(0, |end| end + 1);
    let typed = code[line..offset].trim_start();
    let found = |word: &str, matches: Vec<Completion>| Completions {
        matches,
        start: cursor - word.chars().count(),
        end: cursor,
    };
    if let Some((word, matches)) = path(typed) {
        return Some(found(word, matches));
    }
    if !typed.starts_with(':') || typed.starts_with("::") {
        return None;
    }
    let Some((command, word)) = typed.split_once(char::is_whitespace) else {
        let matches = command_list::beginning_with(typed)
            .map(|(name, what)| completion(name, "magic", what))
            .collect();
        return Some(found(typed, matches));
    };
    let word = word.trim_start();
    if command == ":dep" {
        let (word, matches) = dependency(word, registry);
        return Some(found(word, matches));
    }
    let mut matches = Vec::new();
    if OF_VARIABLES.contains(&command) {
        let known = variables.iter().filter(|one| one.name.starts_with(word));
        matches.extend(known.map(|one| completion(&one.name, "instance", &one.type_name)));
    }
    if let Some((_, choices)) = CHOICES.iter().find(|(name, _)| *name == command) {
        let fitting = choices.iter().filter(|choice| choice.starts_with(word));
        matches.extend(fitting.map(|choice| completion(choice, "keyword", "")));
    }
    Some(found(word, matches))
}

/// Returns the part of a dependency before the cursor, and its completions: names of crates, or
/// versions of one.
fn dependency<'a>(typed: &'a str, registry: &Registry) -> (&'a str, Vec<Completion>) {
    let list = |found: Vec<String>, kind: &str| {
        let found = found.into_iter();
        found.map(|text| completion(&text, kind, "")).collect()
    };
    let Some((name, rest)) = typed.split_once('=') else {
        return (typed, list(registry.names(typed), "module"));
    };
    // For example `"1`, or `{ version = "1`.
    let version = rest.rsplit_once('"').filter(|(before, _)| {
        let key = before.trim().strip_suffix('=').map(str::trim_end);
        before.trim().is_empty() || key.is_some_and(|key| key.ends_with("version"))
    });
    match version {
        Some((_, version)) => (
            version,
            list(registry.versions(name.trim(), version), "constant"),
        ),
        None => ("", Vec::new()),
    }
}

/// Returns the last component of an unfinished path in quotes, and its completions.
fn path(typed: &str) -> Option<(&str, Vec<Completion>)> {
    let (before, text) = typed.rsplit_once('"')?;
    let is_open = before.matches('"').count() % 2 == 0;
    let (folder, name) = text.rsplit_once('/')?;
    if !is_open || text.contains("://") {
        return None;
    }
    let folder = match folder.strip_prefix('~') {
        Some(rest) => PathBuf::from(std::env::var_os("HOME")?).join(rest.trim_start_matches('/')),
        None => Path::new(&format!("{folder}/")).to_owned(),
    };
    let mut matches: Vec<Completion> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let found = entry.file_name().into_string().ok()?;
            // Hidden files are listed only if the typed name begins with a dot.
            let fits =
                found.starts_with(name) && (!found.starts_with('.') || name.starts_with('.'));
            let slash = if entry.path().is_dir() { "/" } else { "" };
            fits.then(|| completion(&format!("{found}{slash}"), "path", ""))
        })
        .collect();
    matches.sort_by(|one, other| one.text.cmp(&other.text));
    Some((name, matches))
}

/// Creates a completion with a Jupyter type (`kind`) and the type of the value as its signature.
pub(super) fn completion(text: &str, kind: &str, signature: &str) -> Completion {
    Completion {
        text: text.to_owned(),
        kind: kind.to_owned(),
        signature: signature.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rustc::registry::tests::registry;

    #[test]
    fn dependencies_are_completed() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let registry = registry(home.path());
        let complete = |code: &str| {
            let cursor = code.chars().count();
            let found = beside_rust(code, cursor, &[], &registry).expect("it is no Rust");
            let texts: Vec<_> = found.matches.into_iter().map(|one| one.text).collect();
            (texts.join(" "), found.start, found.end)
        };
        let all = |texts: &str, start, end| (texts.to_owned(), start, end);
        // The emoji of a scientist is three code points.
        let line = |text: &str| complete(&format!("// 한글🧑‍🔬\n{text}"));
        assert_eq!(
            line(":dep serde_"),
            all("serde_json serde_yaml serde_test", 14, 20)
        );
        assert_eq!(line(":dep  base"), all("base64ct", 15, 19));
        assert_eq!(
            complete(":dep serde = \"2"),
            all("2.0.0 2.0.0-rc.1", 14, 15)
        );
        assert_eq!(
            complete(":dep serde = { version = \""),
            all("1.0.10 1.0.9 2.0.0 2.0.0-rc.1", 26, 26)
        );
        for nothing in [
            ":dep serde = ",
            ":dep serde = \"1\"",
            ":dep serde = { features = [\"",
            ":dep 한글",
        ] {
            assert_eq!(complete(nothing).0, "", "{nothing}");
        }
    }
}
