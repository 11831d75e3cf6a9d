//! Property tests with arbitrary cell texts. `PROPTEST_CASES` sets the number of texts.

use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::cell::Cell;
use super::completion;
use super::plan;
use super::registry::Registry;
use super::session::Session;
use crate::position::{byte_offset, code_points};
use crate::{Completeness, is_complete};

/// Fragments from which cells are generated.
const PIECES: &[&str] = &[
    ":dep x = \"1\"\n",
    ":vars\n",
    ":",
    "!ls\n",
    "!",
    "?",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\u{feff}",
    "\0",
    "\u{2028}",
    "fn f",
    "fn",
    "()",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    "->",
    "=>",
    "let ",
    "mut ",
    "a",
    "한글",
    "🧑‍🔬",
    "é",
    "r#type",
    "'a",
    "'",
    "\"",
    "\"한\"",
    "b\"",
    "c\"",
    "r\"",
    "r#\"",
    "\"#",
    "\\",
    "//",
    "/*",
    "*/",
    "///",
    "//!",
    "#[a]",
    "#![a]",
    "#",
    "#!",
    "use ",
    "::",
    "std",
    "as ",
    "_",
    ";",
    ",",
    ".",
    "..",
    "..=",
    "...",
    "struct S",
    "enum E",
    "impl ",
    "impl S {",
    "for ",
    "in ",
    "if ",
    "else ",
    "while ",
    "loop ",
    "match ",
    "async ",
    ".await",
    "await",
    "move ",
    "|",
    "||",
    "&",
    "&mut ",
    "*",
    "=",
    "==",
    "!=",
    "+",
    "-",
    "1",
    "0x",
    "1e",
    "1.0",
    "1_u8",
    "pub ",
    "pub(crate) ",
    "mod m {",
    "const N: u8 = 1;",
    "static ",
    "extern crate ",
    "extern \"C\" {",
    "trait T",
    "type X = ",
    "where ",
    "union U",
    "macro_rules! m {",
    "$x:expr",
    "$",
    "@",
    "~",
    "`",
    "unsafe ",
    "return ",
    "break ",
    "continue ",
    "dyn ",
    "crate",
    "self",
    "super",
    "Self",
    "println!(\"{}\", a)",
    "vec![1]",
    "%test",
    "%%",
    "\u{200d}",
];

fn cells() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat()),
        1 => prop::collection::vec(any::<char>(), 0..60).prop_map(|signs| signs.into_iter().collect()),
    ]
}

fn config() -> Config {
    Config {
        failure_persistence: None,
        ..Config::default()
    }
}

fn lies_in(code: &str, range: &Range<usize>) -> bool {
    code.get(range.clone()).is_some()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_text_is_taken_apart(code in cells()) {
        let cell = Cell::parse(&code);
        prop_assert!(lies_in(&code, &cell.rust));
        let items = cell.items.iter().map(|item| &item.range);
        let locals = cell.locals.iter().map(|local| &local.place);
        for range in cell.attributes.iter().chain(&cell.statements).chain(&cell.tail).chain(items).chain(locals) {
            prop_assert!(lies_in(&code, range), "{range:?}");
            prop_assert!(cell.rust.start <= range.start && range.end <= cell.rust.end, "{range:?}");
        }
        for place in cell.items.iter().flat_map(|item| &item.private) {
            prop_assert!(code.is_char_boundary(*place), "{place}");
        }
        prop_assert!(cell.commands.iter().all(|command| (1..=code.lines().count()).contains(&command.line)));
        let mut session = Session::default();
        session.define(1, &code, &cell);
        session.define(2, &code, &cell);
        plan::whole(1, &code, &cell);
        plan::definitions(2, &code, &cell, &session, &[], false);
        plan::Plan::new(2, &code, &cell, &session, false).source(2, &code, &cell, &session, &[], plan::Show::default());
    }

    #[test]
    fn every_text_is_judged_complete_or_not(code in cells()) {
        if let Completeness::Incomplete { indent } = is_complete(&code) {
            prop_assert!(indent.bytes().all(|byte| byte == b' '));
        }
    }

    #[test]
    fn places_lead_back_to_themselves(code in cells(), place in 0_usize..80) {
        let offset = byte_offset(&code, place);
        prop_assert!(code.is_char_boundary(offset));
        prop_assert_eq!(code_points(&code, offset), place.min(code.chars().count()));
        if let Some(found) = completion::beside_rust(&code, code_points(&code, offset), &[], &Registry::default()) {
            prop_assert!(found.start <= found.end && found.end <= code.chars().count());
        }
    }
}

/// The nesting is deeper than in written code and would overflow the stack of a recursive parser.
#[test]
fn deeply_nested_code_is_no_end_of_the_kernel() {
    for opening in [
        "(",
        "[",
        "{",
        "!",
        "&",
        "-",
        "if a {",
        "|| ",
        "match a { _ => ",
        "f(",
        "<",
        "fn f() {",
        "mod m {",
        "use a::{",
        "/*",
        "a = ",
        "return ",
        "Vec<",
        "let Some(",
        "let a: (",
        "impl A for ",
        "#[a(",
        "m!(",
        "else {",
        "1 + (",
        "async {",
    ] {
        let code = opening.repeat(100_000);
        std::thread::Builder::new()
            // The stack size of the server's threads.
            .stack_size(2 << 20)
            .spawn(move || {
                is_complete(&code);
                Cell::parse(&code);
            })
            .expect("a thread")
            .join()
            .expect("no panic");
    }
}
