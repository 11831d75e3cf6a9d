//! Edits calls of location macros of the standard library, so that they return the cell, its line
//! and the notebook's folder instead of those of the generated file.

use std::path::Path;

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

use super::generated::RUNTIME;
use super::source::{Edit, line_and_column};

/// Macros that print or compare the tokens of their arguments, which must not be edited.
const READING: [&str; 9] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "stringify",
    "macro_rules",
    "matches",
];

/// Returns the edits for a cell that is shown with this label. `is_own` returns whether the
/// notebook itself defines a macro.
pub(super) fn edits(
    code: &str,
    start: usize,
    label: u64,
    folder: &Path,
    is_own: &dyn Fn(&str) -> bool,
) -> Vec<Edit> {
    let rust = &code[start..];
    let names = ["dbg!", "line!", "column!", "file!", "include"];
    if !names.iter().any(|name| rust.contains(name)) {
        return Vec::new();
    }
    let tokens = Tokens::new(code, start);
    let mut edits = Vec::new();
    let mut at = 0;
    while at + 2 < tokens.places.len() {
        let name = tokens.text(at);
        let is_call = tokens.is_call(at);
        if name == "macro_rules" || is_call && READING.contains(&name) {
            at = tokens.end_of_group(at);
            continue;
        }
        let is_path = at > 0 && tokens.text(at - 1) == ":";
        if is_call && !is_path && !is_own(name) {
            match name {
                "line" | "column" | "file" => edits.extend(tokens.place(at, label)),
                "dbg" => edits.extend(tokens.dbg(at, label)),
                "include_str" | "include_bytes" | "include" => {
                    edits.extend(tokens.include(at, folder).into_iter().flatten());
                }
                _ => {}
            }
        }
        at += 1;
    }
    edits
}

/// The tokens of a cell's Rust code, without white space and comments.
struct Tokens<'a> {
    code: &'a str,
    start: usize,
    lexed: LexedStr<'a>,
    places: Vec<usize>,
}

impl<'a> Tokens<'a> {
    fn new(code: &'a str, start: usize) -> Self {
        let lexed = LexedStr::new(Edition::Edition2024, &code[start..]);
        let places = (0..lexed.len())
            .filter(|at| !lexed.kind(*at).is_trivia())
            .collect();
        Self {
            code,
            start,
            lexed,
            places,
        }
    }

    /// Returns the text of a token, or an empty string after the last one.
    fn text(&self, at: usize) -> &str {
        let place = self.places.get(at);
        place.map_or("", |place| self.lexed.text(*place))
    }

    /// Returns the byte offset of a token in the cell.
    fn begin(&self, at: usize) -> usize {
        self.start + self.lexed.text_start(self.places[at])
    }

    /// Returns whether a macro call begins at a token.
    fn is_call(&self, at: usize) -> bool {
        self.lexed.kind(self.places[at]) == SyntaxKind::IDENT
            && self.text(at + 1) == "!"
            && matches!(self.text(at + 2), "(" | "[" | "{")
    }

    /// Returns the edit of `line!()`, `column!()` or `file!()`.
    fn place(&self, at: usize, label: u64) -> Option<Edit> {
        let (line, column) = line_and_column(self.code, self.begin(at));
        let literal = match self.text(at) {
            "line" => format!("{line}u32"),
            "column" => format!("{column}u32"),
            _ => format!("\"cell {label}\""),
        };
        let is_empty = matches!(self.text(at + 3), ")" | "]" | "}");
        is_empty.then(|| (self.begin(at), self.begin(at + 3) + 1, literal))
    }

    /// Returns the edits of `dbg!(…)`.
    fn dbg(&self, at: usize, label: u64) -> [Edit; 2] {
        let (line, column) = line_and_column(self.code, self.begin(at));
        let place = format!("\"cell {label}:{line}:{column}\"; ");
        [
            insert(self.begin(at), format!("::{RUNTIME}::")),
            insert(self.begin(at + 2) + 1, place),
        ]
    }

    /// Returns the edits of `include_str!("…")` and similar macros with a relative path.
    fn include(&self, at: usize, folder: &Path) -> Option<[Edit; 2]> {
        let path = self.text(at + 3);
        if !path.starts_with('"') || path.starts_with("\"/") {
            return None;
        }
        let folder = format!("{}/", folder.display());
        let begin = self.begin(at + 3);
        Some([
            insert(begin, format!("::std::concat!({folder:?}, ")),
            insert(begin + path.len(), ")".to_owned()),
        ])
    }

    /// Returns the index of the token after the bracketed group that follows a token.
    fn end_of_group(&self, from: usize) -> usize {
        let mut depth = 0;
        for at in from..self.places.len() {
            match self.text(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth -= 1;
                    if depth <= 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.places.len()
    }
}

fn insert(at: usize, text: String) -> Edit {
    (at, at, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(code: &str) -> String {
        let mut seen = code.to_owned();
        let edits = edits(code, 0, 7, Path::new("/data"), &|name| name == "column");
        for (from, to, text) in edits.into_iter().rev() {
            seen.replace_range(from..to, &text);
        }
        seen
    }

    #[test]
    fn macros_name_the_place_in_the_cell() {
        for (code, expected) in [
            (
                "let a = 1;\nprintln!(\"{}\", line!());",
                "let a = 1;\nprintln!(\"{}\", 2u32);",
            ),
            ("(file!(), column!())", "(\"cell 7\", column!())"),
            (
                "dbg!(a, dbg!(b))",
                "::__azk_runtime::dbg!(\"cell 7:1:1\"; a, ::__azk_runtime::dbg!(\"cell 7:1:9\"; b))",
            ),
            (
                "include_str!(\"a.txt\")",
                "include_str!(::std::concat!(\"/data/\", \"a.txt\"))",
            ),
        ] {
            assert_eq!(edited(code), expected);
        }
        for code in [
            "include_str!(\"/a.txt\")",
            "include_str!(NAME)",
            "assert!(dbg!(a) > 1)",
            "std::dbg!(a)",
            "macro_rules! m { () => { line!() } }",
            "let line = 1; line",
            "\"line!()\"",
        ] {
            assert_eq!(edited(code), code);
        }
    }
}
