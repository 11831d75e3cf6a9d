//! Macros of the standard library that name their place: in a cell they are to name the cell, its line, and the notebook's folder, not
//! those of the generated file.

use std::path::Path;

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

use super::plan::RUNTIME;
use super::source::{Edit, line_and_column};

/// Macros that show or compare the tokens of their arguments, which must stay as they are.
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

/// The edits of a cell that is shown by this label. `is_own` tells the macros that the notebook itself defines.
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
    let lexed = LexedStr::new(Edition::Edition2024, rust);
    let tokens: Vec<usize> = (0..lexed.len())
        .filter(|at| !lexed.kind(*at).is_trivia())
        .collect();
    let text = |at: usize| tokens.get(at).map_or("", |token| lexed.text(*token));
    let begin = |at: usize| start + lexed.text_start(tokens[at]);
    let mut edits = Vec::new();
    let mut at = 0;
    while at + 2 < tokens.len() {
        let is_call = lexed.kind(tokens[at]) == SyntaxKind::IDENT
            && text(at + 1) == "!"
            && matches!(text(at + 2), "(" | "[" | "{");
        let is_definition = text(at) == "macro_rules";
        let is_path = at > 0 && text(at - 1) == ":";
        if is_definition || is_call && READING.contains(&text(at)) {
            at = end_of_group(&tokens, &lexed, at);
            continue;
        }
        if is_call && !is_path && !is_own(text(at)) {
            let (line, column) = line_and_column(code, begin(at));
            let literal = match text(at) {
                "line" => Some(format!("{line}u32")),
                "column" => Some(format!("{column}u32")),
                "file" => Some(format!("\"cell {label}\"")),
                _ => None,
            };
            if let (Some(literal), ")" | "]" | "}") = (literal, text(at + 3)) {
                let end = begin(at + 3) + 1;
                edits.push((begin(at), end, literal));
            }
            match text(at) {
                "dbg" => {
                    edits.push(insert(begin(at), format!("::{RUNTIME}::")));
                    let place = format!("\"cell {label}:{line}:{column}\"; ");
                    edits.push(insert(begin(at + 2) + 1, place));
                }
                "include_str" | "include_bytes" | "include" => {
                    let path = text(at + 3);
                    let is_relative = path.starts_with('"') && !path.starts_with("\"/");
                    if is_relative {
                        let folder = format!("{}/", folder.display());
                        edits.push(insert(
                            begin(at + 3),
                            format!("::std::concat!({folder:?}, "),
                        ));
                        edits.push(insert(begin(at + 3) + path.len(), ")".to_owned()));
                    }
                }
                _ => {}
            }
        }
        at += 1;
    }
    edits
}

fn insert(at: usize, text: String) -> Edit {
    (at, at, text)
}

/// The token behind the group of brackets that follows a token.
fn end_of_group(tokens: &[usize], lexed: &LexedStr<'_>, from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match lexed.text(*token) {
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
    tokens.len()
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
