//! `:test`: runs the `#[test]` functions of the cells sequentially.
//!
//! The test attributes are blanked before compilation, so that tests are ordinary functions.
//! `#[should_panic]` and `#[ignore]` are passed to the runtime, which runs the tests.

use std::fmt::Write as _;
use std::ops::Range;

use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasModuleItem, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind};

use super::plan::RUNTIME;
use crate::MimeBundle;

/// The first character of a test report, which distinguishes it from error texts of failed `?`s.
pub(super) const REPORT: &str = "\u{1e}";

/// A test function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// The path from the crate's root, as in `tests::adds`.
    pub(super) path: String,
    ignored: bool,
    /// The text that the panic message must contain, if the test must panic.
    panics: Option<String>,
}

/// Finds the tests of an item and blanks their attributes. Lines and columns do not change.
pub(super) fn find(text: &mut String) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut blanks = Vec::new();
    for item in SourceFile::parse(text, Edition::Edition2024).tree().items() {
        find_in(&item, "", &mut tests, &mut blanks);
    }
    let mut bytes = std::mem::take(text).into_bytes();
    for (range, word) in blanks {
        for byte in &mut bytes[range.clone()] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        bytes[range.start..range.start + word.len()].copy_from_slice(word.as_bytes());
    }
    // Whole attributes were replaced by ASCII, so the text is still valid UTF-8.
    *text = String::from_utf8(bytes).unwrap_or_default();
    tests
}

/// Returns whether an item is a test function outside of modules.
pub(super) fn is_test(text: &str) -> bool {
    let tree = SourceFile::parse(text, Edition::Edition2024).tree();
    tree.items().any(|item| {
        matches!(&item, ast::Item::Fn(function)
            if function.attrs().filter_map(|it| it.path()).any(|path| path.to_string() == "test"))
    })
}

fn find_in(
    item: &ast::Item,
    module: &str,
    tests: &mut Vec<Test>,
    blanks: &mut Vec<(Range<usize>, &'static str)>,
) {
    match item {
        ast::Item::Fn(function) => {
            let Some(name) = function.name() else { return };
            let attributes: Vec<(String, ast::Attr)> = function
                .attrs()
                .filter_map(|attribute| Some((attribute.path()?.to_string(), attribute)))
                .collect();
            let has = |name: &str| attributes.iter().any(|(path, _)| path == name);
            if !has("test") {
                return;
            }
            let of_tests = ["test", "ignore", "should_panic"];
            let panics = attributes
                .iter()
                .find(|(path, _)| path == "should_panic")
                .map(|(_, attribute)| expected(attribute));
            // A test in a module is private; the runner needs `pub` to call it.
            let last = attributes.last().map(|(_, attribute)| attribute.clone());
            for (path, attribute) in &attributes {
                if of_tests.contains(&path.as_str()) {
                    let opens = !module.is_empty()
                        && function.visibility().is_none()
                        && last.as_ref() == Some(attribute);
                    blanks.push((range(attribute), if opens { "pub" } else { "" }));
                }
            }
            tests.push(Test {
                path: format!("{module}{}", name.text()),
                ignored: has("ignore"),
                panics,
            });
        }
        ast::Item::Module(inner) => {
            let Some(name) = inner.name() else { return };
            for attribute in inner.attrs() {
                let text = attribute.syntax().text().to_string();
                if text.split_whitespace().collect::<String>() == "#[cfg(test)]" {
                    blanks.push((range(&attribute), ""));
                }
            }
            let module = format!("{module}{}::", name.text());
            for item in inner.item_list().into_iter().flat_map(|list| list.items()) {
                find_in(&item, &module, tests, blanks);
            }
        }
        _ => {}
    }
}

fn range(attribute: &ast::Attr) -> Range<usize> {
    let range = attribute.syntax().text_range();
    range.start().into()..range.end().into()
}

/// Returns `words` of `#[should_panic(expected = "words")]`.
fn expected(attribute: &ast::Attr) -> String {
    attribute
        .syntax()
        .descendants_with_tokens()
        .filter_map(ra_ap_syntax::SyntaxElement::into_token)
        .find(|token| token.kind() == SyntaxKind::STRING)
        .map(|token| token.text().trim_matches('"').to_owned())
        .unwrap_or_default()
}

/// Returns the statement that runs the tests.
pub(super) fn runner(tests: &[Test]) -> String {
    let mut code = format!("\n;::{RUNTIME}::run_tests(&[\n");
    for test in tests {
        let panics = test.panics.as_ref().map_or_else(
            || "::std::option::Option::None".to_owned(),
            |words| format!("::std::option::Option::Some({words:?})"),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(
            code,
            "({:?}, {}, {panics}, || ::{RUNTIME}::Tested::result(crate::{}())),",
            test.path, test.ignored, test.path
        );
    }
    code + "])?;"
}

/// The result of a test.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) how: String,
    /// The location of the panic as `file:line:column`.
    pub(super) place: String,
    pub(super) message: String,
}

/// Parses the runtime's report, which consists of records with four fields.
pub(super) fn read(report: &str) -> Vec<Verdict> {
    let records = report.split('\u{1e}').filter(|record| !record.is_empty());
    records
        .map(|record| {
            let mut fields = record.split('\u{1f}').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            Verdict {
                name: next(),
                how: next(),
                place: next(),
                message: next(),
            }
        })
        .collect()
}

/// Renders the results as a table with a row for each test.
pub(super) fn table(verdicts: &[Verdict]) -> MimeBundle {
    let escape = super::commands::escaped;
    let mut plain = Vec::new();
    let mut html = String::from("<table><tr><th>Test</th><th>Result</th><th>Message</th></tr>");
    for verdict in verdicts {
        let place = match verdict.place.as_str() {
            "" => String::new(),
            place => format!(" ({place})"),
        };
        let message = verdict.message.trim();
        let mut line = format!("test {} ... {}{place}", verdict.name, verdict.how);
        for text in message.lines() {
            let _ = write!(line, "\n    {text}");
        }
        plain.push(line);
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td style=\"text-align:left\"><pre>{}</pre></td></tr>",
            escape(&verdict.name),
            match verdict.how.as_str() {
                "ok" => "✅ ok".to_owned(),
                "FAILED" => format!("❌ FAILED{}", escape(&place)),
                other => other.to_owned(),
            },
            escape(message),
        );
    }
    html += "</table>";
    MimeBundle::from([
        ("text/plain".to_owned(), plain.join("\n").into()),
        ("text/html".to_owned(), html.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_and_become_functions() {
        let mut text = "#[cfg(test)]\nmod tests {\n #[test]\n #[should_panic(expected = \"no\")]\n fn a() {}\n #[ignore]\n #[test] fn 나() {}\n fn no() {}\n}".to_owned();
        let tests = find(&mut text);
        assert_eq!(tests.len(), 2);
        assert_eq!(tests[0].path, "tests::a");
        assert_eq!(tests[0].panics.as_deref(), Some("no"));
        assert!(tests[1].ignored);
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "mod tests { pub fn a() {} pub fn 나() {} fn no() {} }"
        );
    }
}
