//! How deeply code is nested. Parsers call themselves for every level; on too many they end the whole process.

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

/// So many levels are more than anybody writes, and fewer than what a parser has [room](with_room) for.
const MOST: usize = 2_000;

/// Enough of a stack to parse [`MOST`] levels. It is address space; memory it becomes only when it is used.
const STACK: usize = 64 << 20;

/// Whether code is nested more deeply than a parser can follow.
pub(crate) fn is_too_deep(code: &str) -> bool {
    let lexed = LexedStr::new(Edition::Edition2024, code);
    let kinds = (0..lexed.len())
        .map(|index| lexed.kind(index))
        .filter(|kind| !kind.is_trivia());
    let mut open = Vec::new();
    let mut depth = 0_usize;
    // The depth in front of the block that has just ended, which goes on in what follows only if that belongs to the same expression.
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
            // Every other word may be a level: an operator before its operand, an assignment of an assignment.
            _ => depth += 1,
        }
        if depth > MOST {
            return true;
        }
    }
    false
}

/// Whether a sign stands where a statement begins rather than where one goes on.
fn begins(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::L_CURLY | SyntaxKind::L_BRACK | SyntaxKind::L_PAREN | SyntaxKind::POUND
    )
}

/// The depth at which a statement or an element begins.
fn level(open: &[usize]) -> usize {
    open.last().map_or(0, |depth| depth + 1)
}

/// Calls a parser with room for [`MOST`] levels, whatever room the caller has.
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
