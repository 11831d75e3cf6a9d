//! Parses the lines before the Rust code of a cell: commands of the evaluator (`:dep …`), shell
//! commands (`!ls`), and comments between them.

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind};

/// A line that begins with `:`, `!` or `%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// `:dep`, `%time`, or `!`.
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) line: usize,
}

/// A predicate that returns whether a name is a value of the notebook.
pub(super) type Known<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Returns the commands at the top of a cell, and the byte offset at which the Rust code begins.
pub(super) fn commands(code: &str, known: Known<'_>) -> (Vec<Command>, usize) {
    let mut commands = Vec::new();
    let mut start = 0;
    while start < code.len() {
        let rest = &code[start..];
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        let text = line.trim();
        let mut length = line.len();
        let number = code[..start].matches('\n').count() + 1;
        let mut add = |name: &str, arguments: &str| {
            commands.push(Command {
                name: name.to_owned(),
                arguments: arguments.trim().to_owned(),
                line: number,
            });
        };
        if let Some(shell) = line.strip_prefix('!') {
            if is_negation(&rest[1..], known) {
                break;
            }
            add("!", shell);
        } else if text.starts_with('%') || text.starts_with(':') && !text.starts_with("::") {
            let (name, arguments) = text.split_once(' ').unwrap_or((text, ""));
            match name {
                "%test" => add(":test", arguments),
                ":dep" => {
                    let found = dependency(rest);
                    length = found.length;
                    add(name, found.text.trim_start().trim_start_matches(":dep"));
                }
                _ => add(name, arguments),
            }
        } else if text.starts_with("/*") {
            match comment(rest) {
                Some(taken) => length = taken,
                None => break,
            }
        } else if !text.is_empty() && !text.starts_with("//") {
            break;
        }
        start += length;
    }
    (commands, start)
}

/// Returns the byte offset at which the Rust code of a cell begins; `None` while a `:dep` at the top
/// has open braces or brackets, so that its next line is part of it.
pub(crate) fn rust_start(code: &str) -> Option<usize> {
    let (commands, start) = commands(code, &|_| false);
    let last = commands.last().filter(|_| start == code.len());
    let is_open =
        last.is_some_and(|last| last.name == ":dep" && dependency(&last.arguments).is_open);
    (!is_open).then_some(start)
}

/// Returns whether a line that begins with `!` is a Rust negation and not a shell command. The text
/// after the `!` must begin with a value of the notebook or with an expression that is not a
/// program name, and the rest of the cell must parse as Rust.
fn is_negation(rest: &str, known: Known<'_>) -> bool {
    let lexed = LexedStr::new(Edition::Edition2024, rest);
    let first = (0..lexed.len()).find(|at| !matches!(lexed.text(*at), "(" | "!" | "*" | "&" | "-"));
    let Some(first) = first else { return false };
    let text = |ahead: usize| (first + ahead < lexed.len()).then(|| lexed.text(first + ahead));
    let begins = match lexed.kind(first) {
        SyntaxKind::TRUE_KW | SyntaxKind::FALSE_KW | SyntaxKind::SELF_KW => true,
        kind if kind.is_literal() => true,
        SyntaxKind::IDENT => match (text(1), text(2)) {
            _ if known(lexed.text(first)) => true,
            (Some("(" | "::"), _) | (Some(":"), Some(":")) | (Some("!"), Some("(")) => true,
            (Some("."), Some(_)) => text(3) == Some("("),
            _ => false,
        },
        _ => false,
    };
    begins && {
        let parsed = SourceFile::parse(&format!("fn cell() {{ !{rest}\n}}"), Edition::Edition2024);
        parsed.errors().is_empty()
    }
}

/// A `:dep` command.
struct Dependency {
    /// The command on one line, without the comments at the end of its lines.
    text: String,
    /// The length in bytes.
    length: usize,
    /// Whether a brace or bracket is open at the end of the cell.
    is_open: bool,
}

/// Reads the `:dep` command at the start of a text. It extends over the lines of its braces and
/// brackets.
fn dependency(rest: &str) -> Dependency {
    let mut whole = String::new();
    let mut length = 0;
    let mut open = 0;
    for line in rest.split_inclusive('\n') {
        let mut quote = None;
        let mut last = '\0';
        let mut end = line.len();
        for (at, character) in line.char_indices() {
            match (quote, character) {
                (None, '"' | '\'') => quote = Some(character),
                // An escaped character. Literal strings have no escapes.
                (Some('"'), _) if last == '\\' => {
                    last = '\0';
                    continue;
                }
                (Some(mark), _) if mark == character => quote = None,
                (None, '{' | '[') => open += 1,
                (None, '}' | ']') => open -= 1,
                (None, '#') if last.is_whitespace() => {
                    end = at;
                    break;
                }
                (None, '/') if last == '/' => {
                    end = at - 1;
                    break;
                }
                _ => {}
            }
            last = character;
        }
        whole.push_str(line[..end].trim());
        length += line.len();
        if open <= 0 {
            break;
        }
        whole.push(' ');
    }
    Dependency {
        text: whole,
        length,
        is_open: open > 0,
    }
}

/// Returns the length of a block comment that stands alone on its lines, with its final line break.
fn comment(rest: &str) -> Option<usize> {
    let is_documentation = ["/**", "/*!"]
        .iter()
        .any(|start| rest.trim_start().starts_with(start));
    let begin = rest.len() - rest.trim_start().len();
    let lexed = LexedStr::new(Edition::Edition2024, &rest[begin..]);
    let is_whole = !lexed.is_empty() && lexed.errors().next().is_none_or(|(at, _)| at > 0);
    if is_documentation || !is_whole || lexed.kind(0) != SyntaxKind::COMMENT {
        return None;
    }
    let end = begin + lexed.text(0).len();
    let line = rest[end..].split_inclusive('\n').next().unwrap_or_default();
    line.trim().is_empty().then_some(end + line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str) -> (Vec<(String, String, usize)>, &str) {
        let (commands, start) = commands(code, &|name| name == "ready");
        let commands = commands.into_iter();
        let seen = commands
            .map(|it| (it.name, it.arguments, it.line))
            .collect();
        (seen, &code[start..])
    }

    #[test]
    fn a_negation_is_no_line_for_the_shell() {
        for code in [
            "!true",
            "!5u8",
            "!ready",
            "!ready && true",
            "!(ready || false)",
            "!!ready",
            "!path.exists()",
            "!is_even(3)",
            "!matches!(1, 2)",
            "!std::path::Path::new(\"x\").exists()",
            "!ready\n    || false",
        ] {
            assert_eq!(read(code), (Vec::new(), code), "{code}");
        }
        for code in [
            "!ls",
            "!ls -l",
            "!echo hi && echo there",
            "!true\n1 + 1",
            "!(cd x && ls)",
            "!./run.sh",
            "!pip install x",
            "! ready=1",
            "!",
        ] {
            assert_eq!(read(code).0[0].0, "!", "{code}");
        }
    }

    #[test]
    fn a_dependency_may_have_several_lines_and_a_comment() {
        let line = |arguments: &str| vec![(":dep".to_owned(), arguments.to_owned(), 1)];
        for (code, arguments, rest) in [
            (
                ":dep a = { version = \"1\",\n    features = [\n \"x\" ] }\n1",
                "a = { version = \"1\", features = [ \"x\" ] }",
                "1",
            ),
            (":dep a = \"1\" // words\n2", "a = \"1\"", "2"),
            (
                ":dep a = { git = \"https://b/c\" }",
                "a = { git = \"https://b/c\" }",
                "",
            ),
            (":dep a", "a", ""),
            (
                ":dep a = { path = 'b//c' } # \"d\"\n1",
                "a = { path = 'b//c' }",
                "1",
            ),
            (
                ":dep a = { # {\n path = \"b\\\\\", # it's\n features = ['\"'] }\n1",
                "a = { path = \"b\\\\\", features = ['\"'] }",
                "1",
            ),
            (":dep ./b#c'd", "./b#c'd", ""),
        ] {
            assert_eq!(read(code), (line(arguments), rest), "{code}");
        }
    }

    #[test]
    fn comments_stand_between_commands() {
        let vars = |line| vec![(":vars".to_owned(), String::new(), line)];
        assert_eq!(read("/* why\n/* how */ */\n:vars\n1"), (vars(3), "1"));
        assert_eq!(read("// why\n\n  :vars\n1"), (vars(3), "1"));
        assert_eq!(read("/* a */ 1"), (Vec::new(), "/* a */ 1"));
        assert_eq!(
            read("/** a */\nfn f() {}"),
            (Vec::new(), "/** a */\nfn f() {}")
        );
        assert_eq!(read("/* never\n:vars").0, Vec::new());
        assert_eq!(
            read("%%time\n1").0,
            [("%%time".to_owned(), String::new(), 1)]
        );
    }
}
