//! Limits the nesting depth of code: parsers are recursive, and a stack overflow would abort the
//! process.

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

/// Maximum depth: more than any handwritten code, and less than a parser [can handle](with_room).
const MOST: usize = 2_000;

/// Stack size for parsing [`MOST`] levels. It reserves address space; pages become memory only on
/// use.
const STACK: usize = 64 << 20;

/// Whether code is nested too deeply for a parser.
pub fn is_too_deep(code: &str) -> bool {
    let lexed = LexedStr::new(Edition::Edition2024, code);
    let kinds = (0..lexed.len())
        .map(|index| lexed.kind(index))
        .filter(|kind| !kind.is_trivia());
    let mut open = Vec::new();
    let mut depth = 0_usize;
    // The depth before the block that has just ended. It applies to the following tokens only if
    // they continue the same expression.
    let mut before_block = None;
    for kind in kinds {
        if let Some(before) = before_block.take()
            && (kind == SyntaxKind::ELSE_KW || kind.is_punct() && !begins(kind))
        {
            depth = before;
        }
        match kind {
            SyntaxKind::L_CURLY | SyntaxKind::L_BRACK | SyntaxKind::L_PAREN => {
                open.push(depth);
                depth += 1;
            }
            SyntaxKind::R_CURLY | SyntaxKind::R_BRACK | SyntaxKind::R_PAREN => {
                depth = open.pop().unwrap_or(depth) + 1;
                if kind == SyntaxKind::R_CURLY {
                    before_block = Some(depth);
                    depth = level(&open);
                }
            }
            SyntaxKind::SEMICOLON | SyntaxKind::COMMA => depth = level(&open),
            // Any other token may add a level, such as a prefix operator or a chained assignment.
            _ => depth += 1,
        }
        if depth > MOST {
            return true;
        }
    }
    false
}

/// Whether a punctuation token begins a statement, as opposed to continuing one.
fn begins(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::L_CURLY | SyntaxKind::L_BRACK | SyntaxKind::L_PAREN | SyntaxKind::POUND
    )
}

/// Returns the depth at which a statement or an element begins.
fn level(open: &[usize]) -> usize {
    open.last().map_or(0, |depth| depth + 1)
}

/// Calls a parser on a thread whose stack suffices for [`MOST`] levels.
pub(crate) fn with_room<T: Send>(parse: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, parse);
        match thread {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => panic!("there is no thread to parse in: {error}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_code_is_not_deep() {
        for code in [
            "let a = !b;\n",
            "fn f(a: u8) -> Vec<u8> { vec![1, 2] }\n",
            "if a == (b) { c() } else { d() }\n",
            "x[0] = y[1](2)?.z;\n",
            "{ 1 }\n",
            "#[derive(Debug)] struct S {}\n",
            "// ((((\n",
        ] {
            assert!(!is_too_deep(&code.repeat(10_000)), "{code}");
        }
        assert!(!is_too_deep(&format!("[{}]", "(1, 2),".repeat(10_000))));
        assert!(!is_too_deep(&format!(
            "let text = r\"{}\";",
            "( ".repeat(10_000)
        )));
    }

    #[test]
    fn what_nests_is_counted_with_and_without_brackets() {
        for code in [
            "(",
            "!",
            "a = ",
            "if a {",
            "if a {} else ",
            "- (",
            "x = S {} = ",
            "Vec<",
        ] {
            assert!(is_too_deep(&code.repeat(10_000)), "{code}");
            assert!(!is_too_deep(&code.repeat(200)), "{code}");
        }
    }
}
