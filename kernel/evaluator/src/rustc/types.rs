//! Reads the types of new variables from the compiler's MIR output.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::Modules;
use super::versions::without_versions;

/// The type of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VariableType {
    /// The type can be written in source code, so a later cell can use the variable.
    Named(String),
    /// The type cannot be written: a closure, a future, or another type without a name. Contains
    /// the compiler's description.
    Unnamed(String),
}

/// The context for resolving paths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths<'a> {
    /// The crate of the items of cells, if it is not the cell's crate.
    pub(super) of_crate: Option<&'a str>,
    pub(super) modules: &'a Modules,
    /// The names of the crates that cells can use.
    pub(super) crates: &'a BTreeSet<String>,
}

/// Returns the types of the variables that a cell stores, by name, from `--emit=mir`.
///
/// The call that stores a variable returns a `Stored<T>`. MIR declares local variables with their
/// full types: `let _31: cell_runtime::Stored<std::vec::Vec<i32>>;` and `_31 =
/// store::<Vec<i32>>(const "v", move _34)`.
pub(super) fn stored_types(mir: &str, paths: Paths<'_>) -> BTreeMap<String, VariableType> {
    let mut declared = BTreeMap::new();
    let mut types = BTreeMap::new();
    for line in mir.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("let ") {
            let rest = rest.strip_prefix("mut ").unwrap_or(rest);
            if let Some((local, type_name)) = rest.split_once(": cell_runtime::Stored<")
                && let Some(type_name) = type_name.strip_suffix(">;")
            {
                declared.insert(local.to_owned(), type_name.to_owned());
            }
        } else if line.starts_with("fn ") {
            // The numbering of local variables restarts in each function.
            declared.clear();
        } else if let Some((local, call)) = line.split_once(" = ")
            && let Some(type_name) = declared.get(local)
            && call.starts_with("cell_runtime::store") | call.starts_with("store::<")
            && let Some((_, rest)) = call.split_once("(const \"")
            && let Some((name, _)) = rest.split_once('"')
        {
            types.insert(name.to_owned(), nameable(type_name, paths));
        }
    }
    types
}

/// Converts a type to source code for later cells. Stored variables borrow nothing, so every
/// lifetime is `'static`.
fn nameable(type_name: &str, paths: Paths<'_>) -> VariableType {
    // For example `{closure@…}`, `{async block@…}`, or `fn(i32) -> i32 {name}`.
    if type_name.contains('{') || type_name.contains("impl ") {
        return VariableType::Unnamed(type_name.to_owned());
    }
    let mut named = String::with_capacity(type_name.len());
    let mut rest = type_name;
    while let Some(sign) = rest.chars().next() {
        let length = if is_word(sign) {
            let length_of_path = path_length(rest);
            let path = &rest[..length_of_path];
            let Some(path) = written(path, paths) else {
                return VariableType::Unnamed(type_name.to_owned());
            };
            named.push_str(&path);
            length_of_path
        } else if sign == '\'' {
            let length = quoted_length(rest);
            let lifetime = &rest[..length];
            named.push_str(if lifetime == "'_" {
                "'static"
            } else {
                lifetime
            });
            length
        } else {
            named.push(sign);
            if sign == '&' && !rest[1..].starts_with('\'') {
                named.push_str("'static ");
            }
            sign.len_utf8()
        };
        rest = &rest[length..];
    }
    VariableType::Named(with_parentheses(&named))
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_' || sign == '#'
}

/// Returns the length of the path at the start of a text: `std::vec::Vec` in `std::vec::Vec<u8>`.
fn path_length(text: &str) -> usize {
    let mut length = 0;
    loop {
        let rest = &text[length..];
        length += rest.find(|sign| !is_word(sign)).unwrap_or(rest.len());
        let further = text[length..].strip_prefix("::");
        if !further.is_some_and(|text| text.starts_with(is_word)) {
            return length;
        }
        length += 2;
    }
}

/// Returns the length of the lifetime or character literal at the start of a text.
fn quoted_length(text: &str) -> usize {
    let inside = &text[1..];
    let word = inside.find(|sign| !is_word(sign)).unwrap_or(inside.len());
    if word > 0 && !inside[word..].starts_with('\'') {
        return 1 + word;
    }
    let skipped = if inside.starts_with('\\') { 2 } else { 0 };
    let first = inside[skipped..].chars().next().map_or(0, char::len_utf8);
    let from = skipped + if skipped == 0 { first } else { 0 };
    inside[from..]
        .find('\'')
        .map_or(text.len(), |end| 1 + from + end + 1)
}

/// Converts a path to source code for later cells, or returns `None` if it is not accessible.
fn written(path: &str, paths: Paths<'_>) -> Option<String> {
    let path = without_versions(path);
    let path = path.as_str();
    let own = match paths.of_crate {
        Some(name) => path
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix("::")),
        None => Some(path),
    };
    match own {
        Some(own) if paths.modules.hold(own) => paths.modules.public(own),
        // A leading `::` prevents items of cells from shadowing the crate.
        Some(own) if is_of_crate(own, paths) => Some(format!("::{own}")),
        None if is_of_crate(path, paths) => Some(format!("::{path}")),
        Some(own) => Some(own.to_owned()),
        None => Some(path.to_owned()),
    }
}

fn is_of_crate(path: &str, paths: Paths<'_>) -> bool {
    path.split_once("::")
        .is_some_and(|(root, _)| paths.crates.contains(root))
}

/// Adds the parentheses that a trait object with several bounds needs behind a pointer.
fn with_parentheses(type_name: &str) -> String {
    let mut text = String::new();
    let mut rest = type_name;
    while let Some(start) = rest.find("dyn ") {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let is_behind = ["'static ", "&'static mut ", "*const ", "*mut "]
            .iter()
            .any(|pointer| before.ends_with(pointer))
            && !before.ends_with("+ 'static ");
        let end = object_length(from);
        let (object, after) = from.split_at(end);
        // The generic arguments of the object.
        let object = format!("dyn {}", with_parentheses(&object["dyn ".len()..]));
        if is_behind && object.contains(" + ") {
            text.push('(');
            text.push_str(&object);
            text.push(')');
        } else {
            text.push_str(&object);
        }
        rest = after;
    }
    text + rest
}

/// Returns the length of the trait object at the start of a text.
fn object_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (place, sign) in text.char_indices() {
        match sign {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' | ',' | ';' if depth == 0 => return place,
            '>' | ')' | ']' => depth -= 1,
            _ => {}
        }
        before = sign;
    }
    text.len()
}

/// Formats a type for display, without paths of the standard library and without `'static`.
pub(super) fn short(type_name: &str) -> String {
    let mut text = String::new();
    let mut path = String::new();
    for character in type_name.chars().chain(['\0']) {
        if character.is_alphanumeric() || character == '_' || character == ':' {
            path.push(character);
            continue;
        }
        let of_std = ["std::", "core::", "alloc::"]
            .iter()
            .any(|root| path.starts_with(root));
        let path = std::mem::take(&mut path);
        let path = path.trim_start_matches("::");
        text.push_str(if of_std {
            path.rsplit("::").next().unwrap_or_default()
        } else {
            path
        });
        if character != '\0' {
            text.push(character);
        }
    }
    text.replace("&'static ", "&")
        .replace(" + 'static", "")
        .replace("<'static>", "")
        .replace("<'static, ", "<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        let mir = r#"
fn azk_cell_1::{closure#0}(_1: {closure@cell.rs:5:14: 5:58}) -> Result<(), Failed> {
    let _2: std::collections::HashMap<i32, &str>;
    let _31: cell_runtime::Stored<std::collections::HashMap<i32, &str>>;
    let _33: cell_runtime::Stored<{closure@cell.rs:9:5: 9:9}>;
    let mut _35: cell_runtime::Stored<for<'a> fn(&'a str) -> std::slice::Iter<'_, u8>>;

    bb0: {
        _31 = store::<HashMap<i32, &str>>(const "m", move _32) -> [return: bb21, unwind: bb37];
        _33 = cell_runtime::store::<{closure@cell.rs:9:5: 9:9}>(const "c", move _34) -> [return: bb22, unwind: bb37];
        _35 = store::<for<'a> fn(&'a str) -> Iter<'_, u8>>(const "값", copy _30) -> [return: bb31, unwind: bb37];
"#;
        let modules = Modules::default();
        let types = stored_types(
            mir,
            Paths {
                of_crate: None,
                modules: &modules,
                crates: &BTreeSet::new(),
            },
        );
        let expected = [
            (
                "c",
                VariableType::Unnamed("{closure@cell.rs:9:5: 9:9}".to_owned()),
            ),
            (
                "m",
                VariableType::Named("std::collections::HashMap<i32, &'static str>".to_owned()),
            ),
            (
                "값",
                VariableType::Named(
                    "for<'a> fn(&'a str) -> std::slice::Iter<'static, u8>".to_owned(),
                ),
            ),
        ];
        assert_eq!(
            types,
            expected
                .into_iter()
                .map(|(name, type_name)| (name.to_owned(), type_name))
                .collect()
        );
    }

    #[test]
    fn types_are_written_back() {
        let modules = Modules::of(
            ["mod shop { mod inner { pub struct Item; } pub use inner::Item; } mod session { pub struct Id; }"].into_iter(),
        );
        let crates = BTreeSet::from(["outer".to_owned(), "shop".to_owned()]);
        let own = Paths {
            of_crate: None,
            modules: &modules,
            crates: &crates,
        };
        let library = Paths {
            of_crate: Some("session"),
            modules: &modules,
            crates: &crates,
        };
        for (paths, type_name, expected) in [
            (own, "shop::inner::Item", "shop::Item"),
            (
                own,
                "std::vec::Vec<shop::inner::Item>",
                "std::vec::Vec<shop::Item>",
            ),
            (own, "session::Id", "session::Id"),
            (library, "session::session::Id", "session::Id"),
            (library, "session::shop::Item", "shop::Item"),
            (library, "user_session::User", "user_session::User"),
            (library, "[session::User; 3]", "[User; 3]"),
            (
                library,
                "std::vec::Vec<my::session::User>",
                "std::vec::Vec<my::session::User>",
            ),
            (
                own,
                "&dyn std::ops::Fn(i32) -> i32 + std::marker::Sync",
                "&'static (dyn std::ops::Fn(i32) -> i32 + std::marker::Sync)",
            ),
            (
                own,
                "Option<&mut dyn A<B> + Send>",
                "Option<&'static mut (dyn A<B> + Send)>",
            ),
            (
                own,
                "Vec<outer::Run<&str>>",
                "Vec<::outer::Run<&'static str>>",
            ),
            (library, "dyn outer::Do", "dyn ::outer::Do"),
            (own, "outer", "outer"),
            (own, "&dyn A", "&'static dyn A"),
            (own, "*const dyn A + Send", "*const (dyn A + Send)"),
            (own, "Box<dyn A + Send>", "Box<dyn A + Send>"),
            (
                own,
                "Box<dyn for<'a> Fn(&'a str) -> &'a str>",
                "Box<dyn for<'a> Fn(&'a str) -> &'a str>",
            ),
            (own, "Cow<'_, str>", "Cow<'static, str>"),
            (own, "Tag<'_', 'x', '\\''>", "Tag<'_', 'x', '\\''>"),
        ] {
            assert_eq!(
                nameable(type_name, paths),
                VariableType::Named(expected.to_owned()),
                "{type_name}"
            );
        }
    }

    #[test]
    fn a_type_that_only_its_module_can_name_has_no_name() {
        let modules = Modules::of(["mod bank { mod vault { pub struct Gold; } }"].into_iter());
        for (of_crate, type_name) in [
            (None, "std::vec::Vec<bank::vault::Gold>"),
            (Some("session"), "session::bank::vault::Gold"),
        ] {
            let paths = Paths {
                of_crate,
                modules: &modules,
                crates: &BTreeSet::new(),
            };
            assert_eq!(
                nameable(type_name, paths),
                VariableType::Unnamed(type_name.to_owned())
            );
        }
    }

    #[test]
    fn types_are_short_for_people() {
        assert_eq!(
            short("std::collections::HashMap<std::string::String, near_by::Near>"),
            "HashMap<String, near_by::Near>"
        );
        assert_eq!(
            short("std::boxed::Box<dyn std::ops::Fn(i32) -> &'static str + std::marker::Send>"),
            "Box<dyn Fn(i32) -> &str + Send>"
        );
        assert_eq!(short("std::slice::Iter<'static, u8>"), "Iter<u8>");
        assert_eq!(short("&'static ::near_by::Near"), "&near_by::Near");
    }
}
