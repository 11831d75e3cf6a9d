//! Completion by known names, as a fallback when rust-analyzer returns nothing, for example because
//! the sources of the standard library are missing.

use super::completion::completion;
use crate::position::byte_offset;
use crate::{Completion, Completions, Variable};

/// The modules of the standard library.
const MODULES: [&str; 46] = [
    "alloc",
    "any",
    "arch",
    "array",
    "ascii",
    "backtrace",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "env",
    "error",
    "f32",
    "f64",
    "ffi",
    "fmt",
    "fs",
    "future",
    "hash",
    "hint",
    "io",
    "iter",
    "marker",
    "mem",
    "net",
    "num",
    "ops",
    "option",
    "os",
    "panic",
    "path",
    "pin",
    "process",
    "ptr",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync",
    "time",
];

/// Keywords and macros with which a cell may begin.
const WORDS: [&str; 30] = [
    "assert!",
    "assert_eq!",
    "async",
    "const",
    "dbg!",
    "enum",
    "eprintln!",
    "false",
    "fn",
    "for",
    "format!",
    "if",
    "impl",
    "let",
    "loop",
    "match",
    "mod",
    "move",
    "mut",
    "panic!",
    "print!",
    "println!",
    "return",
    "static",
    "struct",
    "trait",
    "true",
    "use",
    "vec!",
    "while",
];

/// Returns the names that begin with the word before the cursor. `items` are the names that cells
/// define or import.
pub(super) fn complete(
    code: &str,
    cursor: usize,
    variables: &[Variable],
    items: &[String],
) -> Completions {
    let before = &code[..byte_offset(code, cursor)];
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let path = before.trim_end_matches(is_name);
    let word = &before[path.len()..];
    let of = |names: &[&str], kind: &str| -> Vec<Completion> {
        let fitting = names.iter().filter(|name| name.starts_with(word));
        fitting.map(|name| completion(name, kind, "")).collect()
    };
    let matches = if let Some(parent) = path.strip_suffix("::") {
        let is_std = parent.ends_with("std") && !parent[..parent.len() - 3].ends_with(is_name);
        if is_std {
            of(&MODULES, "module")
        } else {
            Vec::new()
        }
    } else if word.is_empty() || path.ends_with('.') {
        Vec::new()
    } else {
        let fitting = variables.iter().filter(|it| it.name.starts_with(word));
        let mut matches: Vec<Completion> = fitting
            .map(|it| completion(&it.name, "instance", &it.type_name))
            .collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        matches.extend(of(&items, ""));
        matches.extend(of(&WORDS, "keyword"));
        matches
    };
    Completions {
        matches,
        start: cursor - word.chars().count(),
        end: cursor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offered_where_one_may_stand() {
        let variables = [Variable {
            name: "price".to_owned(),
            type_name: "f64".to_owned(),
        }];
        let items = ["pricing".to_owned()];
        let complete = |code: &str| {
            let found = complete(code, code.chars().count(), &variables, &items);
            let texts: Vec<_> = found.matches.into_iter().map(|it| it.text).collect();
            (texts.join(" "), found.start)
        };
        assert_eq!(
            complete("값 + pri"),
            ("price pricing print! println!".to_owned(), 4)
        );
        assert_eq!(complete("std::coll"), ("collections".to_owned(), 5));
        assert_eq!(complete("let x = ").0, "");
        assert_eq!(complete("price.ab").0, "");
        assert_eq!(complete("mystd::coll").0, "");
    }
}
