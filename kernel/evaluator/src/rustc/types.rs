//! The types of new variables, as the compiler wrote them down beside the cell.

use std::collections::BTreeMap;

/// The crate that holds the items of earlier cells; cells see its items without this path.
const OWN_CRATE: &str = "session::";

/// What is known of a variable's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VariableType {
    /// It can be written down, so that a later cell can take the variable.
    Named(String),
    /// It cannot: a closure, a future, or another type without a name. How the compiler calls it.
    Unnamed(String),
}

/// The types of the variables that a cell stores, by name, from the compiler's `--emit=mir`.
///
/// The call that stores a variable has a result of the type `Stored<T>`, and results are declared with their full types:
/// `let _31: cell_runtime::Stored<std::vec::Vec<i32>>;` and `_31 = store::<Vec<i32>>(const "v", move _34)`.
pub(super) fn stored_types(mir: &str) -> BTreeMap<String, VariableType> {
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
            // Numbers of locals begin anew in each function.
            declared.clear();
        } else if let Some((local, call)) = line.split_once(" = ")
            && let Some(type_name) = declared.get(local)
            && call.starts_with("cell_runtime::store") | call.starts_with("store::<")
            && let Some((_, rest)) = call.split_once("(const \"")
            && let Some((name, _)) = rest.split_once('"')
        {
            types.insert(name.to_owned(), nameable(type_name));
        }
    }
    types
}

/// A type as later cells write it: what lives on borrows nothing, so every lifetime is `'static`.
fn nameable(type_name: &str) -> VariableType {
    // `{closure@…}`, `{async block@…}`, `fn(i32) -> i32 {name}`.
    if type_name.contains('{') || type_name.contains("impl ") {
        return VariableType::Unnamed(type_name.to_owned());
    }
    let type_name = type_name.replace(OWN_CRATE, "");
    let mut named = String::with_capacity(type_name.len());
    let mut characters = type_name.chars().peekable();
    while let Some(character) = characters.next() {
        named.push(character);
        if character == '&' && characters.peek() != Some(&'\'') {
            named.push_str("'static ");
        }
        if character == '\'' && characters.peek() == Some(&'_') {
            characters.next();
            named.push_str("static");
        }
    }
    VariableType::Named(named)
}

/// A type for people: without the paths of the standard library, and without `'static`.
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
        text.push_str(if of_std {
            path.rsplit("::").next().unwrap_or_default()
        } else {
            &path
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
        let types = stored_types(mir);
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
    }
}
