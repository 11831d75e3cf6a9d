//! Unbalanced delimiters and unterminated comments and literals, in the coordinates of the cell.
//!
//! The compiler sees a cell as the body of a function. An unclosed delimiter would include the end
//! of that function, and an extra closing delimiter would end the function early.

use std::ops::Range;

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

/// An unbalanced delimiter or an unterminated token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unbalanced {
    pub(super) message: String,
    /// The range of the error.
    pub(super) place: Range<usize>,
    pub(super) label: &'static str,
    /// The range of the related delimiter, with its label.
    pub(super) other: Option<(Range<usize>, &'static str)>,
}

impl Unbalanced {
    /// Shifts the ranges to a text in which the code begins at `start`.
    pub(super) fn moved(mut self, start: usize) -> Self {
        let moved = |place: Range<usize>| place.start + start..place.end + start;
        self.place = moved(self.place);
        self.other = self.other.map(|(place, label)| (moved(place), label));
        self
    }
}

/// Returns the first unbalanced delimiter or unterminated token in the code.
pub(super) fn unbalanced(code: &str) -> Option<Unbalanced> {
    let lexed = LexedStr::new(Edition::Edition2024, code);
    let mut open: Vec<(SyntaxKind, Range<usize>)> = Vec::new();
    for index in 0..lexed.len() {
        let place = lexed.text_range(index);
        if let Some(message) = unterminated(&lexed, index) {
            return Some(Unbalanced {
                message: message.to_owned(),
                place: place.start..place.start + first_line(&code[place]).len(),
                label: "nothing in this cell ends it",
                other: None,
            });
        }
        let kind = lexed.kind(index);
        if closing(kind).is_some() {
            open.push((kind, place));
        } else if is_closing(kind) {
            let sign = &code[place.clone()];
            match open.pop() {
                None => {
                    return Some(Unbalanced {
                        message: format!("unexpected closing delimiter: `{sign}`"),
                        place,
                        label: "nothing in this cell opens it",
                        other: None,
                    });
                }
                Some((opened, at)) if closing(opened) != Some(kind) => {
                    return Some(Unbalanced {
                        message: format!("mismatched closing delimiter: `{sign}`"),
                        place,
                        label: "mismatched closing delimiter",
                        other: Some((at, "unclosed delimiter")),
                    });
                }
                Some(_) => {}
            }
        }
    }
    let (_, place) = open.pop()?;
    Some(Unbalanced {
        message: "unclosed delimiter".to_owned(),
        place,
        label: "nothing in this cell closes it",
        other: None,
    })
}

fn closing(kind: SyntaxKind) -> Option<SyntaxKind> {
    match kind {
        SyntaxKind::L_CURLY => Some(SyntaxKind::R_CURLY),
        SyntaxKind::L_BRACK => Some(SyntaxKind::R_BRACK),
        SyntaxKind::L_PAREN => Some(SyntaxKind::R_PAREN),
        _ => None,
    }
}

fn is_closing(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::R_CURLY | SyntaxKind::R_BRACK | SyntaxKind::R_PAREN
    )
}

/// Returns rustc's message for an unterminated token, which extends to the end of the code.
fn unterminated(lexed: &LexedStr<'_>, index: usize) -> Option<&'static str> {
    let text = lexed.text(index);
    let error = lexed.error(index)?;
    let is_open =
        error.contains("trailing") || error.contains("terminat") || error.contains("nclosed");
    match lexed.kind(index) {
        SyntaxKind::COMMENT if text.starts_with("/*") => Some("unterminated block comment"),
        SyntaxKind::STRING if text.starts_with('r') => Some("unterminated raw string"),
        SyntaxKind::STRING if is_open => Some("unterminated double quote string"),
        SyntaxKind::BYTE_STRING if is_open => Some("unterminated double quote byte string"),
        SyntaxKind::C_STRING if is_open => Some("unterminated C string"),
        _ => None,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_found() {
        for (code, message, at) in [
            (
                "f();\n}\nfn g() {",
                "unexpected closing delimiter: `}`",
                "}",
            ),
            ("f(1, (2, 3)", "unclosed delimiter", "(1"),
            ("vec![1, (2, 3];", "mismatched closing delimiter: `]`", "];"),
            ("if a {\n  b();\n", "unclosed delimiter", "{"),
            ("f(); /* open\ng();", "unterminated block comment", "/*"),
            (
                "let s = \"open;\n",
                "unterminated double quote string",
                "\"open",
            ),
            ("let s = r#\"open\";", "unterminated raw string", "r#"),
            (
                "let s = b\"open;",
                "unterminated double quote byte string",
                "b\"",
            ),
        ] {
            let found = unbalanced(code).unwrap_or_else(|| panic!("{code}"));
            assert_eq!(found.message, message, "{code}");
            assert!(
                code[found.place.start..].starts_with(at),
                "{code}: {found:?}"
            );
        }
        for code in [
            "f([1], \"(\", '(', /* ( */ { 1 }); // (",
            "'a: loop { break 'a }",
        ] {
            assert_eq!(unbalanced(code), None, "{code}");
        }
    }
}
