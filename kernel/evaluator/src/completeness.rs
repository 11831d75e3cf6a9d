//! Checks whether typed code is a complete cell.

use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, TextSize};

use crate::nesting;
use crate::rustc::rust_start;

/// The result for `is_complete_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// The code can be run; it may still not compile.
    Complete,
    /// The code is unfinished: more must follow.
    Incomplete {
        /// The indentation of the next line.
        indent: String,
    },
    /// No continuation can make it valid.
    Invalid,
}

/// One level of indentation, as in rustfmt.
const LEVEL: usize = 4;

/// Text placed before the code so that it can be parsed as statements.
const PRELUDE: &str = "fn cell() {\n";

/// Checks code by syntax alone, without the definitions of earlier cells.
pub fn is_complete(code: &str) -> Completeness {
    if nesting::is_too_deep(code) {
        // Execution then reports the nesting error.
        return Completeness::Complete;
    }
    nesting::with_room(|| judge(code))
}

fn judge(code: &str) -> Completeness {
    let Some(start) = rust_start(code) else {
        return Completeness::Incomplete {
            indent: " ".repeat(last_indent(code) + if ends_with_opening(code) { LEVEL } else { 0 }),
        };
    };
    let rust = &code[start..];
    let wrapped = format!("{PRELUDE}{rust}\n}}");
    let parsed = SourceFile::parse(&wrapped, Edition::Edition2024);

    let mut open = Vec::new();
    let end = PRELUDE.len() + rust.len();
    let tokens = parsed
        .syntax_node()
        .descendants_with_tokens()
        .filter_map(ra_ap_syntax::SyntaxElement::into_token)
        .filter(|token| {
            let start = usize::from(token.text_range().start());
            start >= PRELUDE.len() && start < end
        })
        .collect::<Vec<_>>();
    for token in &tokens {
        match token.kind() {
            SyntaxKind::L_CURLY | SyntaxKind::L_BRACK | SyntaxKind::L_PAREN => {
                open.push(token.kind());
            }
            SyntaxKind::R_CURLY | SyntaxKind::R_BRACK | SyntaxKind::R_PAREN
                if open.pop() != Some(opening(token.kind())) =>
            {
                return Completeness::Invalid;
            }
            kind if is_unterminated(kind, token.text()) => {
                // The next line is part of the literal or comment, so it gets no indentation.
                return Completeness::Incomplete {
                    indent: String::new(),
                };
            }
            _ => {}
        }
    }
    let incomplete = || Completeness::Incomplete {
        indent: " ".repeat(last_indent(code) + if ends_with_opening(rust) { LEVEL } else { 0 }),
    };
    if !open.is_empty() {
        return incomplete();
    }
    // An error before the last token cannot be fixed by more input. The code is then run, because
    // the compiler explains the error better.
    let last = tokens
        .iter()
        .rev()
        .find(|token| !token.kind().is_trivia())
        .map(|token| token.text_range().end());
    let at_end = |offset: TextSize| last.is_some_and(|last| offset >= last);
    match parsed.errors().first() {
        Some(error) if at_end(error.range().start()) => incomplete(),
        _ => Completeness::Complete,
    }
}

fn opening(closing: SyntaxKind) -> SyntaxKind {
    match closing {
        SyntaxKind::R_CURLY => SyntaxKind::L_CURLY,
        SyntaxKind::R_BRACK => SyntaxKind::L_BRACK,
        _ => SyntaxKind::L_PAREN,
    }
}

/// Whether a literal or a comment is unterminated.
fn is_unterminated(kind: SyntaxKind, text: &str) -> bool {
    match kind {
        SyntaxKind::COMMENT => {
            text.starts_with("/*") && text.matches("/*").count() > text.matches("*/").count()
        }
        SyntaxKind::STRING | SyntaxKind::BYTE_STRING | SyntaxKind::C_STRING => {
            let body = text.trim_start_matches(['b', 'c']);
            if let Some(raw) = body.strip_prefix('r') {
                let hashes = raw.len() - raw.trim_start_matches('#').len();
                let closing = format!("\"{}", "#".repeat(hashes));
                return raw.len() < hashes + 1 + closing.len() || !raw.ends_with(&closing);
            }
            let Some(inner) = body
                .strip_prefix('"')
                .and_then(|inner| inner.strip_suffix('"'))
            else {
                return true;
            };
            // After an odd number of backslashes, the last quote is escaped.
            (inner.len() - inner.trim_end_matches('\\').len()) % 2 == 1
        }
        _ => false,
    }
}

fn ends_with_opening(code: &str) -> bool {
    code.trim_end().ends_with(['{', '[', '('])
}

/// Returns the indentation of the last line.
fn last_indent(code: &str) -> usize {
    code.trim_end()
        .lines()
        .last()
        .map_or(0, |line| line.len() - line.trim_start_matches(' ').len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incomplete(indent: usize) -> Completeness {
        Completeness::Incomplete {
            indent: " ".repeat(indent),
        }
    }

    #[test]
    fn whole_cells_are_complete() {
        for code in [
            "",
            "   \n",
            "1 + 1",
            "let x = 1;",
            "fn f() {}\nf()",
            "println!(\"{\")",
            "// a comment with (",
            "/* a /* nested */ one */",
            "r#\"a \" quote\"#",
            "'('",
            ":dep serde = \"1\"\nuse serde::Serialize;",
            "!ls (",
            "struct A { x: i32 }",
            "\"a backslash \\\\\"",
            "let 한글 = \"{\";",
            "let a =\n!b;",
            "let s = \"a\n:b\";\n1",
            "let s = \"a\n!b\";",
            ":dep serde = {\n    version = \"1\",\n}",
            ":dep serde = { version = \"1\" } # {",
            "// first\n:dep serde = \"1\"\n!ls {\nlet x = 1;",
        ] {
            assert_eq!(is_complete(code), Completeness::Complete, "{code}");
        }
    }

    #[test]
    fn what_is_open_asks_for_more() {
        for (code, indent) in [
            ("fn f() {", 4),
            (":dep serde = {", 4),
            (":dep serde = {\n    version = \"1\",", 4),
            (":dep serde = \"1\"\nfn f() {", 4),
            ("fn f() {\n    if true {", 8),
            ("fn f() {\n    let x = 1;", 4),
            ("vec![1,", 0),
            ("foo(", 4),
            ("let s = \"abc", 0),
            ("let s = \"abc \\\"", 0),
            ("let s = r#\"abc\"", 0),
            ("/* comment", 0),
            ("let x =", 0),
            ("1 +", 0),
            ("let x = 1", 0),
            ("#[derive(Debug)]", 0),
        ] {
            assert_eq!(is_complete(code), incomplete(indent), "{code}");
        }
    }

    #[test]
    fn what_closes_too_much_is_invalid() {
        for code in ["}", "foo)", "vec![1)", "fn f() {}}"] {
            assert_eq!(is_complete(code), Completeness::Invalid, "{code}");
        }
    }

    #[test]
    fn what_only_the_compiler_can_explain_is_run() {
        assert_eq!(is_complete("let = 3;\nlet y = 4;"), Completeness::Complete);
    }
}
