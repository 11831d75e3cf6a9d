//! `:test`: runs the `#[test]` functions of the cells sequentially.
//!
//! The test attributes are blanked before compilation, so that tests are ordinary functions.
//! `#[should_panic]` and `#[ignore]` are passed to the runtime, which runs the tests.

use std::fmt::Write as _;
use std::ops::Range;

use ra_ap_syntax::ast::{self, AstNode, AstToken, HasAttrs, HasModuleItem, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxNode};

use super::generated::{RESERVED, RUNTIME};
use super::html::escaped;
use super::source::Edit;
use crate::MimeBundle;

/// The first character of a test report, which distinguishes it from error texts of failed `?`s.
pub(super) const REPORT: &str = "\u{1e}";

/// A test function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// The path from the crate's root, as in `tests::adds`.
    pub(super) path: String,
    /// An expression for the function that the runner calls.
    caller: String,
    ignored: bool,
    /// The text that the panic message must contain, if the test must panic.
    panics: Option<String>,
}

/// Finds the tests of an item and blanks their attributes. Lines and columns do not change.
///
/// Adds to `edits` what the runner needs to call tests in modules: for each test a public function
/// next to it, which can name private types of the module, and `pub` for the modules.
pub(super) fn find(text: &mut String, edits: &mut Vec<Edit>) -> Vec<Test> {
    let mut found = Found::default();
    for item in SourceFile::parse(text, Edition::Edition2024).tree().items() {
        found.add(&item, "");
    }
    edits.append(&mut found.edits);
    let mut bytes = std::mem::take(text).into_bytes();
    for range in found.attributes {
        for byte in &mut bytes[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    // Whole attributes were replaced by ASCII, so the text is still valid UTF-8.
    *text = String::from_utf8(bytes).unwrap_or_default();
    found.tests
}

/// Returns whether an item is a test function outside of modules.
pub(super) fn is_test(text: &str) -> bool {
    let tree = SourceFile::parse(text, Edition::Edition2024).tree();
    tree.items().any(|item| {
        matches!(&item, ast::Item::Fn(function)
            if function.attrs().filter_map(|it| it.path()).any(|path| path.to_string() == "test"))
    })
}

/// The tests of an item, and the changes of its text that make them ordinary functions.
#[derive(Default)]
struct Found {
    tests: Vec<Test>,
    /// The attributes of tests.
    attributes: Vec<Range<usize>>,
    edits: Vec<Edit>,
}

impl Found {
    fn add(&mut self, item: &ast::Item, module: &str) {
        match item {
            ast::Item::Fn(function) => self.add_function(function, module),
            ast::Item::Module(inner) => self.add_module(inner, module),
            _ => {}
        }
    }

    fn add_function(&mut self, function: &ast::Fn, module: &str) {
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
        for (path, attribute) in &attributes {
            if of_tests.contains(&path.as_str()) {
                self.attributes.push(range(attribute.syntax()));
            }
        }
        let panics = attributes
            .iter()
            .find(|(path, _)| path == "should_panic")
            .map(|(_, attribute)| expected(attribute));
        let name = name.text();
        let end = range(function.syntax()).end;
        let mut caller = format!("|| {}", result(&format!("crate::{name}")));
        if !module.is_empty() {
            let inner = format!("{RESERVED}test_{}", name.trim_start_matches("r#"));
            let code = format!(
                " pub fn {inner}() -> ::std::result::Result<(), ::std::string::String> {{ {} }}",
                result(name)
            );
            self.edits.push((end, end, code));
            caller = format!("crate::{module}{inner}");
        }
        self.tests.push(Test {
            path: format!("{module}{name}"),
            caller,
            ignored: has("ignore"),
            panics,
        });
    }

    fn add_module(&mut self, inner: &ast::Module, module: &str) {
        let Some(name) = inner.name() else { return };
        for attribute in inner.attrs() {
            let text = attribute.syntax().text().to_string();
            if text.split_whitespace().collect::<String>() == "#[cfg(test)]" {
                self.attributes.push(range(attribute.syntax()));
            }
        }
        let path = format!("{module}{}::", name.text());
        let before = self.tests.len();
        for item in inner.item_list().into_iter().flat_map(|list| list.items()) {
            self.add(&item, &path);
        }
        // Modules in the root are visible to the runner.
        if !module.is_empty() && self.tests.len() > before {
            self.open(inner);
        }
    }

    /// Makes a module visible in the crate's root.
    fn open(&mut self, module: &ast::Module) {
        match module.visibility() {
            None => {
                let place = after_attributes(module.syntax());
                self.edits
                    .extend(place.map(|place| (place, place, "pub ".to_owned())));
            }
            Some(visibility) => {
                let Range { start, end } = range(visibility.syntax());
                self.edits.push((start, end, "pub".to_owned()));
            }
        }
    }
}

/// Returns the offset of an item's first token after comments and attributes.
fn after_attributes(item: &SyntaxNode) -> Option<usize> {
    let is_attribute = |node: &SyntaxNode| ast::Attr::can_cast(node.kind());
    item.children_with_tokens()
        .find(|part| !part.kind().is_trivia() && !part.as_node().is_some_and(is_attribute))
        .map(|part| part.text_range().start().into())
}

fn range(node: &SyntaxNode) -> Range<usize> {
    let range = node.text_range();
    range.start().into()..range.end().into()
}

/// Returns `words` of `#[should_panic(expected = "words")]`.
fn expected(attribute: &ast::Attr) -> String {
    attribute
        .syntax()
        .descendants_with_tokens()
        .filter_map(|part| ast::String::cast(part.into_token()?))
        .find_map(|literal| Some(literal.value().ok()?.into_owned()))
        .unwrap_or_default()
}

/// Returns an expression for the result of a test.
fn result(path: &str) -> String {
    format!("::{RUNTIME}::Tested::result({path}())")
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
            "({:?}, {}, {panics}, {}),",
            test.path, test.ignored, test.caller
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
            escaped(&verdict.name),
            match verdict.how.as_str() {
                "ok" => "✅ ok".to_owned(),
                "FAILED" => format!("❌ FAILED{}", escaped(&place)),
                other => other.to_owned(),
            },
            escaped(message),
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
        let (tests, text) = found(
            "#[cfg(test)]\nmod tests {\n #[test]\n #[should_panic(expected = \"no\")]\n fn a() {}\n #[ignore]\n #[test] fn 나() {}\n fn no() {}\n}",
        );
        assert_eq!(tests.len(), 2);
        assert_eq!(tests[0].path, "tests::a");
        assert_eq!(tests[0].panics.as_deref(), Some("no"));
        assert!(tests[1].ignored);
        assert_eq!(
            text,
            "mod tests { fn a() {} pub fn __azk_test_a fn 나() {} pub fn __azk_test_나 fn no() {} }"
        );
    }

    #[test]
    fn expected_messages_are_decoded() {
        for (literal, expected) in [
            (r#""no""#, "no"),
            (r#""a \"b\"\n\u{d55c}\\""#, "a \"b\"\n한\\"),
            ("r#\"\"a\" \\n\"#", "\"a\" \\n"),
            ("\"a \\\n    b\"", "a b"),
            (r#""\"""#, "\""),
        ] {
            for attribute in ["should_panic = {}", "should_panic(expected = {})"] {
                let attribute = attribute.replace("{}", literal);
                let (tests, _) = found(&format!("#[test] #[{attribute}] fn a() {{}}"));
                assert_eq!(tests[0].panics.as_deref(), Some(expected), "{attribute}");
            }
        }
    }

    /// Returns the tests of an item, and its text with each sequence of white space as one space.
    fn found(text: &str) -> (Vec<Test>, String) {
        let mut text = text.to_owned();
        let mut edits = Vec::new();
        let tests = find(&mut text, &mut edits);
        edits.sort_by_key(|(start, _, _)| *start);
        for (start, end, new) in edits.into_iter().rev() {
            let caller = new
                .split_once("() ->")
                .map_or(new.as_str(), |(head, _)| head);
            text.replace_range(start..end, caller);
        }
        (tests, text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_runner_can_call_tests_in_modules_of_any_depth() {
        for (text, path, opened) in [
            (
                "mod shop { mod tests { #[test] fn a() {} } mod none { fn b() {} } }",
                "shop::tests::a",
                "mod shop { pub mod tests { fn a() {} pub fn __azk_test_a } mod none { fn b() {} } }",
            ),
            (
                "mod a { /** b */ #[cfg(test)] mod b { pub(super) mod c { #[test] pub(self) fn r#try() {} } } }",
                "a::b::c::r#try",
                "mod a { /** b */ pub mod b { pub mod c { pub(self) fn r#try() {} pub fn __azk_test_try } } }",
            ),
            (
                "mod a { pub(crate) mod b { pub mod c { #[test] #[allow(unused)] fn d() {} } } }",
                "a::b::c::d",
                "mod a { pub mod b { pub mod c { #[allow(unused)] fn d() {} pub fn __azk_test_d } } }",
            ),
        ] {
            let (tests, text) = found(text);
            assert_eq!(tests[0].path, path);
            assert_eq!(text, opened);
        }
    }
}
