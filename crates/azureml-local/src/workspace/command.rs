//! Resolves the command line: replaces `${{inputs.name}}`, `${{outputs.name}}` and `$[[ optional
//! parts ]]`.
//!
//! A literal is inserted unchanged, as on Azure. A path is quoted as its position requires: unlike
//! in a container, the folder of the local workspace may contain a space.

use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// The value of a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Text that is inserted unchanged.
    Literal(String),
    /// A path.
    Path(String),
}

impl Binding {
    /// The text, unquoted.
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Path(text) => text,
        }
    }
}

/// The values that a command line can refer to: `inputs.name` or `outputs.name`.
pub type Bindings = BTreeMap<String, Binding>;

/// Rejects a command that refers to inputs or outputs that the job does not have.
pub fn check(command: &str, inputs: &[&str], outputs: &[&str]) -> Result<()> {
    let known = |name: &str| match name.split_once('.') {
        Some(("inputs", name)) => inputs.contains(&name.split('.').next().unwrap_or(name)),
        Some(("outputs", name)) => outputs.contains(&name.split('.').next().unwrap_or(name)),
        _ => false,
    };
    // An optional part may refer to a missing value: it is then left out.
    let required = without_optional(command, &|_| false);
    for (name, _, _) in placeholders(&required) {
        if !known(name) {
            return Err(Error::invalid(format!(
                "the command names ${{{{{name}}}}}, which the job does not have\n\
                 hint: add it to the job's inputs or outputs"
            )));
        }
    }
    Ok(())
}

/// The resolved command line.
pub fn resolve(command: &str, bindings: &Bindings) -> String {
    let command = without_optional(command, &|part| {
        placeholders(part)
            .iter()
            .all(|(name, _, _)| bindings.contains_key(*name))
    });
    let mut resolved = String::with_capacity(command.len());
    let mut quotes = Quotes::default();
    let mut done = 0;
    for (name, start, end) in placeholders(&command) {
        let before = &command[done..start];
        quotes.read(before);
        resolved.push_str(before);
        match bindings.get(name) {
            Some(Binding::Literal(text)) => {
                quotes.read(text);
                resolved.push_str(text);
            }
            Some(Binding::Path(path)) => resolved.push_str(&quotes.quote(path)),
            None => resolved.push_str(&command[start..end]),
        }
        done = end;
    }
    resolved.push_str(&command[done..]);
    resolved
}

/// Replaces the placeholders of one group, `${{group.name}}`, and leaves the others.
pub fn fill(command: &str, group: &str, values: &BTreeMap<String, Value>) -> String {
    let mut filled = String::with_capacity(command.len());
    let mut done = 0;
    for (name, start, end) in placeholders(command) {
        let value = name
            .strip_prefix(group)
            .and_then(|rest| values.get(rest.strip_prefix('.')?));
        if let Some(value) = value {
            filled.push_str(&command[done..start]);
            match value {
                Value::String(text) => filled.push_str(text),
                other => filled.push_str(&other.to_string()),
            }
            done = end;
        }
    }
    filled.push_str(&command[done..]);
    filled
}

/// Every `${{ name }}` with its start and end.
pub(super) fn placeholders(text: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${{").map(|at| from + at) {
        let Some(end) = text[start..].find("}}").map(|at| start + at) else {
            break;
        };
        found.push((text[start + 3..end].trim(), start, end + 2));
        from = end + 2;
    }
    found
}

/// Replaces each `$[[…]]` with a placeholder by its content, or removes it. One without a
/// placeholder is not an optional part and stays unchanged.
fn without_optional(text: &str, keep: &dyn Fn(&str) -> bool) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("$[[") {
        let Some(end) = rest[start..].find("]]").map(|at| start + at) else {
            break;
        };
        result.push_str(&rest[..start]);
        let part = &rest[start + 3..end];
        if placeholders(part).is_empty() {
            result.push_str(&rest[start..end + 2]);
        } else if keep(part) {
            result.push_str(part);
        }
        rest = &rest[end + 2..];
    }
    result.push_str(rest);
    result
}

/// The open quotes at a position in a shell command line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    #[default]
    None,
    Single,
    Double,
}

impl Quotes {
    fn read(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            *self = match (*self, character) {
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') => Self::Double,
                (Self::Single, '\'') | (Self::Double, '"') => Self::None,
                (Self::None | Self::Double, '\\') => {
                    characters.next();
                    *self
                }
                (state, _) => state,
            };
        }
    }

    fn quote(self, path: &str) -> String {
        match self {
            Self::None if path.chars().all(is_plain) => path.to_owned(),
            Self::None => format!("'{}'", path.replace('\'', r"'\''")),
            Self::Single => path.replace('\'', r"'\''"),
            Self::Double => {
                let mut quoted = String::with_capacity(path.len());
                for character in path.chars() {
                    if matches!(character, '"' | '\\' | '$' | '`') {
                        quoted.push('\\');
                    }
                    quoted.push(character);
                }
                quoted
            }
        }
    }
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || "_-./:=@%+,".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings() -> Bindings {
        [
            ("inputs.epochs", Binding::Literal("2".into())),
            ("inputs.flags", Binding::Literal("-a -b".into())),
            ("inputs.data", Binding::Path("/home/a b/data".into())),
            ("outputs.model", Binding::Path("/o/model".into())),
        ]
        .into_iter()
        .map(|(name, binding)| (name.to_owned(), binding))
        .collect()
    }

    #[test]
    fn placeholders_become_what_they_stand_for() {
        for (command, expected) in [
            ("train --epochs ${{inputs.epochs}}", "train --epochs 2"),
            ("train ${{ inputs.flags }}", "train -a -b"),
            (
                "train --data ${{inputs.data}}/x",
                "train --data '/home/a b/data'/x",
            ),
            (
                "train --data \"${{inputs.data}}\"",
                "train --data \"/home/a b/data\"",
            ),
            ("sh -c 'ls ${{inputs.data}}'", "sh -c 'ls /home/a b/data'"),
            ("cp x ${{outputs.model}}", "cp x /o/model"),
            ("train$[[ --lr ${{inputs.lr}}]] x", "train x"),
            (
                "train$[[ --epochs ${{inputs.epochs}}]] x",
                "train --epochs 2 x",
            ),
            ("echo $[[opt]] $[[ 1 ]]", "echo $[[opt]] $[[ 1 ]]"),
            (
                "echo '${HOME}' ${{unfinished",
                "echo '${HOME}' ${{unfinished",
            ),
        ] {
            assert_eq!(resolve(command, &bindings()), expected);
        }
    }

    #[test]
    fn the_values_of_one_group_are_filled_in() {
        let values = [("lr", Value::from(0.5)), ("kind", Value::from("a b"))];
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(
            fill(
                "t ${{inputs.x}} --lr ${{ search_space.lr }} '${{search_space.kind}}' ${{search_space.no}}$[[ x]]",
                "search_space",
                &values
            ),
            "t ${{inputs.x}} --lr 0.5 'a b' ${{search_space.no}}$[[ x]]"
        );
    }

    #[test]
    fn a_command_may_name_what_the_job_has() {
        let names = (&["data"][..], &["model"][..]);
        check(
            "t ${{inputs.data}} ${{outputs.model}} $[[${{inputs.x}}]]",
            names.0,
            names.1,
        )
        .unwrap();
        let error = check("t ${{inputs.dat}}", names.0, names.1).unwrap_err();
        assert!(error.to_string().contains("${{inputs.dat}}"), "{error}");
        assert!(check("t ${{search_space.lr}}", names.0, names.1).is_err());
    }
}
