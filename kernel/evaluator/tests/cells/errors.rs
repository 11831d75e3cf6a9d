//! Checks of failing cells and their error messages.

use std::path::Path;

use azureml_kernel_evaluator::{CellError, Evaluator, Outcome};

use crate::support::{Check, Engine, OwnCheck, Recorder, error, ok, plain, start, value};

pub const CHECKS: &[Check] = &[
    (
        "a_compile_error_is_shown_once_with_its_place",
        a_compile_error_is_shown_once_with_its_place,
    ),
    (
        "a_compile_error_beside_hangul_is_marked",
        a_compile_error_beside_hangul_is_marked,
    ),
    ("an_unknown_type_is_explained", an_unknown_type_is_explained),
    (
        "an_unknown_command_is_explained",
        an_unknown_command_is_explained,
    ),
    ("a_panic_is_an_error", a_panic_is_an_error),
    ("a_panic_keeps_variables", a_panic_keeps_variables),
    (
        "a_panic_is_an_error_whatever_else_is_printed",
        a_panic_is_an_error_whatever_else_is_printed,
    ),
    (
        "a_panic_that_is_caught_is_none",
        a_panic_that_is_caught_is_none,
    ),
    (
        "a_panic_of_another_thread_is_text",
        a_panic_of_another_thread_is_text,
    ),
    (
        "a_failed_question_mark_is_an_error",
        a_failed_question_mark_is_an_error,
    ),
    (
        "an_error_that_is_printed_is_none",
        an_error_that_is_printed_is_none,
    ),
];

fn a_compile_error_is_shown_once_with_its_place(evaluator: &mut dyn Evaluator) {
    let (seen, error) = error(evaluator, "let a = 1;\nlet b: i32 = \"text\";");
    assert_eq!(seen, [""; 0]);
    assert_eq!(error.ename, "CompileError");
    assert_eq!(error.evalue, "mismatched types");
    let text = plain(&error);
    assert!(text.starts_with("error[E0308]: mismatched types"), "{text}");
    assert!(text.contains("2 | let b: i32 = \"text\";"), "{text}");
    assert!(
        text.contains("  |              ^^^^^^ expected `i32`, found `&str`"),
        "{text}"
    );
    assert_eq!(text.matches("mismatched types").count(), 1, "{text}");
}

fn a_compile_error_beside_hangul_is_marked(evaluator: &mut dyn Evaluator) {
    let (_, error) = error(evaluator, "let 이름 = \"가나\"; 없음(이름)");
    let text = plain(&error);
    let lines: Vec<_> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("1 |"))
        .expect("the line is shown");
    // A Hangul syllable is two columns wide, so the unknown name begins in display column 20.
    assert_eq!(lines[at], "1 | let 이름 = \"가나\"; 없음(이름)");
    assert!(
        lines[at + 1].starts_with(&format!("  | {}^^^^ ", " ".repeat(19))),
        "{text}"
    );
}

fn an_unknown_type_is_explained(evaluator: &mut dyn Evaluator) {
    let (_, unknown) = error(evaluator, "let nothing = Vec::new();");
    assert!(plain(&unknown).contains("type"), "{}", plain(&unknown));
}

fn an_unknown_command_is_explained(evaluator: &mut dyn Evaluator) {
    let (_, error) = error(evaluator, ":nonsense");
    assert_eq!(error.evalue, "Unrecognised command :nonsense");
}

fn a_panic_is_an_error(evaluator: &mut dyn Evaluator) {
    let (seen, error) = error(
        evaluator,
        "print!(\"before\");\nlet values = vec![1];\nlet index = 3; let found = values[index];",
    );
    assert_eq!(seen[0], "out:before");
    assert_eq!(error.ename, "Panic");
    assert_eq!(
        error.evalue,
        "index out of bounds: the len is 1 but the index is 3 (line 3, column 34)"
    );
    let text = plain(&error);
    assert!(
        text.contains("3 | let index = 3; let found = values[index];"),
        "{text}"
    );
}

fn a_panic_keeps_variables(evaluator: &mut dyn Evaluator) {
    value(
        evaluator,
        "let survivor = vec![1, 2]; fn go_wrong() { panic!(\"wrong {}\", 1 + 1) }",
    );
    let (_, error) = error(evaluator, "let lost = 1; go_wrong();");
    assert_eq!(error.evalue, "wrong 2");
    assert!(
        plain(&error)
            .lines()
            .any(|line| line.contains("an earlier cell: ") && line.contains("fn go_wrong()")),
        "{}",
        plain(&error)
    );
    assert_eq!(value(evaluator, "survivor"), "[1, 2]");
}

fn a_panic_is_an_error_whatever_else_is_printed(evaluator: &mut dyn Evaluator) {
    // A thread prints continuously, and a value prints when unwinding drops it.
    let code = r#"
        struct Loud;
        impl Drop for Loud { fn drop(&mut self) { println!("dropped"); } }
        static GO_ON: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
        let printing = std::thread::spawn(|| {
            for line in 0.. {
                println!("tick {line}");
                eprintln!("tock {line}");
                if !GO_ON.load(std::sync::atomic::Ordering::Relaxed) { break; }
            }
        });
        struct Stop(Option<std::thread::JoinHandle<()>>);
        impl Drop for Stop {
            fn drop(&mut self) {
                GO_ON.store(false, std::sync::atomic::Ordering::Relaxed);
                self.0.take().map(std::thread::JoinHandle::join);
            }
        }
        let stop = Stop(Some(printing));
        let _loud = Loud;
        if stop.0.is_some() { panic!("over all of it"); }
    "#;
    let (seen, error) = error(evaluator, code);
    assert_eq!(error.ename, "Panic");
    assert!(
        error.evalue.starts_with("over all of it (line "),
        "{}",
        error.evalue
    );
    assert!(
        seen.iter().any(|shown| shown.contains("dropped")),
        "{seen:?}"
    );
}

fn a_panic_that_is_caught_is_none(evaluator: &mut dyn Evaluator) {
    let (seen, result) = ok(
        evaluator,
        "let caught = std::panic::catch_unwind(|| panic!(\"thrown\")).is_err(); println!(\"on\"); caught",
    );
    assert_eq!(result.as_deref(), Some("true"));
    assert!(
        seen[0].starts_with("err:thread 'main' panicked"),
        "{seen:?}"
    );
    assert!(seen[0].ends_with(":\nthrown\n"), "{seen:?}");
    assert_eq!(seen[1..], ["out:on\n"]);
}

fn a_panic_of_another_thread_is_text(evaluator: &mut dyn Evaluator) {
    let (seen, result) = ok(
        evaluator,
        "std::thread::spawn(|| panic!(\"over there\")).join().is_err()",
    );
    assert_eq!(result.as_deref(), Some("true"));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("thread '<unnamed>' panicked"), "{seen:?}");
    assert!(seen[0].contains("over there"), "{seen:?}");
}

fn a_failed_question_mark_is_an_error(evaluator: &mut dyn Evaluator) {
    let code = "eprintln!(\"mine\");\nlet number: i32 = \"가\".parse::<i32>()?;\nprintln!(\"not reached\");";
    let (seen, error) = error(evaluator, code);
    assert_eq!(seen, ["err:mine\n"]);
    assert_eq!(error.ename, "Error");
    assert_eq!(error.evalue, "invalid digit found in string");

    let (_, two_lines) = self::error(
        evaluator,
        r#"Err::<(), String>("cannot find `x`\nhint: make one".to_string())?;"#,
    );
    assert_eq!(two_lines.evalue, "cannot find `x`");
    assert!(
        plain(&two_lines).contains("hint: make one"),
        "{}",
        plain(&two_lines)
    );
}

fn an_error_that_is_printed_is_none(evaluator: &mut dyn Evaluator) {
    let (seen, _) = ok(
        evaluator,
        r#"let error = "handled"; eprintln!("{}", error); println!("on");"#,
    );
    assert_eq!(seen, ["err:handled\n", "out:on\n"]);
}

pub const OF_RUSTC: &[OwnCheck] = &[
    (
        "an_error_of_the_store_is_omitted_if_it_follows",
        an_error_of_the_store_is_omitted_if_it_follows,
    ),
    ("teaching_runs_tests", teaching_runs_tests),
    (
        "teaching_runs_tests_in_nested_modules",
        teaching_runs_tests_in_nested_modules,
    ),
    (
        "teaching_explains_an_error_by_its_code",
        teaching_explains_an_error_by_its_code,
    ),
    (
        "diagnostics_are_one_block_with_a_link",
        diagnostics_are_one_block_with_a_link,
    ),
    ("diagnostics_read_well", diagnostics_read_well),
];

fn teaching_runs_tests(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(
        evaluator,
        "fn twice(n: i32) -> i32 { n * 2 }\nlet kept = 3;\n#[test]\nfn of_an_earlier_cell() { assert_eq!(twice(2), 4); }",
    );
    let (_, passed) = ok(
        evaluator,
        "%test\n#[test]\n#[should_panic(expected = \"zero\")]\nfn panics() { panic!(\"not zero\") }",
    );
    assert_eq!(
        passed.as_deref(),
        Some("test of_an_earlier_cell ... ok\ntest panics ... ok")
    );
    let code = "%test mine\n#[cfg(test)]\nmod mine {\n    use super::*;\n    #[test]\n    fn right() -> Result<(), String> { Ok(()) }\n    #[test]\n    fn wrong() { assert_eq!(twice(2), 5); }\n    #[test]\n    #[ignore]\n    fn slow() {}\n    #[test]\n    fn err() -> Result<(), String> { Err(\"no\".into()) }\n}";
    let (seen, error) = error(evaluator, code);
    assert_eq!(error.ename, "TestsFailed");
    assert_eq!(
        error.evalue,
        "2 of 4 tests failed: `mine::wrong`, `mine::err`"
    );
    for expected in [
        "test mine::right ... ok",
        "test mine::wrong ... FAILED (line 8, column 18)",
        "left: 4",
        "test mine::slow ... ignored",
        "Error: \\\"no\\\"",
    ] {
        assert!(seen.join("\n").contains(expected), "{expected}: {seen:?}");
    }
    // State is kept, and tests are not part of other cells.
    assert_eq!(value(evaluator, "twice(kept)"), "6");
    let (_, none) = self::error(evaluator, ":test nowhere");
    assert!(plain(&none).contains("hint: "), "{}", plain(&none));
}

fn teaching_runs_tests_in_nested_modules(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(
        evaluator,
        r#"mod shop {
    pub struct Item(pub i32);
    mod tests {
        use super::Item;
        #[derive(Debug)] struct Failure;
        #[test]
        fn a() -> Result<(), Failure> { if Item(1).0 == 1 { Ok(()) } else { Err(Failure) } }
        #[cfg(test)]
        mod inner {
            pub(super) mod deep {
                #[test]
                #[should_panic(expected = "a \"b\"\n")]
                fn b() { panic!("a \"b\"\n") }
                #[test]
                #[should_panic(expected = r"a \")]
                fn c() { panic!("a \\") }
            }
        }
    }
}
let item = shop::Item(2);"#,
    );
    let (seen, passed) = ok(evaluator, "%test shop");
    assert_eq!(
        passed.as_deref(),
        Some(
            "test shop::tests::a ... ok\ntest shop::tests::inner::deep::b ... ok\ntest shop::tests::inner::deep::c ... ok"
        )
    );
    assert_eq!(seen, [""; 0]);
    assert_eq!(value(evaluator, "item.0"), "2");
    let (seen, _) = error(
        evaluator,
        "%test basket\nmod basket { mod tests { #[test] #[allow(unused)] fn a() { panic!(\"no\") } } }",
    );
    let expected = "test basket::tests::a ... FAILED (line 2, column 60)";
    assert!(seen.join("\n").contains(expected), "{seen:?}");
}

fn an_error_of_the_store_is_omitted_if_it_follows(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    let code = "let mut total = 0;\nlet h = std::thread::spawn(|| { total += 1; });\nh.join().unwrap();\nprintln!(\"{total}\");";
    let (_, error) = error(evaluator, code);
    let text = plain(&error);
    assert!(text.contains("E0373"), "{text}");
    // `total` is stored after the cell, while it is borrowed.
    assert!(!text.contains("E0503"), "{text}");
}

fn teaching_explains_an_error_by_its_code(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    let recorder = Recorder::default();
    let Outcome::Ok(Some(explained)) = evaluator.execute(":explain E0382", &recorder) else {
        panic!("it is explained");
    };
    let markdown = explained["text/markdown"].as_str().expect("it is text");
    assert!(markdown.starts_with("### E0382\n"), "{markdown}");
    assert!(markdown.contains("```rust\n"), "{markdown}");
    assert!(!markdown.contains("compile_fail"), "{markdown}");
    let (_, error) = error(evaluator, ":explain --version");
    assert!(plain(&error).contains("hint: "), "{}", plain(&error));
}

fn diagnostics_are_one_block_with_a_link(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    let (_, error) = error(
        evaluator,
        "let 값 = String::from(\"a\");\nlet moved = 값;\nprintln!(\"{값}\");",
    );
    let text = plain(&error);
    for expected in [
        "error[E0382]: borrow of moved value: `값`",
        "--> line 3, column 12",
        "2 | let moved = 값;",
        "= explained: https://doc.rust-lang.org/error_codes/E0382.html",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(text.matches("error[").count(), 1, "{text}");
    let (seen, _) = ok(evaluator, "std::fs::read(\"/\");\nprintln!(\"on\");");
    assert!(
        seen[0].contains("unused `Result` that must be used")
            && seen[0].contains("line 1, column 1"),
        "{seen:?}"
    );
    assert_eq!(seen[1], "out:on\n");
}

/// Compares complete error texts with snapshots: the cell, and the text below it.
fn diagnostics_read_well(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(
        evaluator,
        "struct Point { x: i32 }\nlet point = Point { x: 1 };\nlet text = String::from(\"a b\");\nlet count = 5;\nlet name = String::from(\"n\");\nfn add(a: i32, b: i32) -> i32 { a + b }",
    );
    value(evaluator, "let taken = name;");
    for (snapshot, code) in [
        (
            "mismatched_types",
            "let count: i32 = 6;\n\n// 한글\nlet wrong: i32 = \"text\";",
        ),
        ("similar_name", "vec![1].iter().summ()"),
        (
            "moved_in_the_cell",
            "let a = String::new();\nlet b = a;\nprintln!(\"{a}\");",
        ),
        ("moved_by_an_earlier_cell", "println!(\"{name}\");"),
        (
            "borrow_across_cells",
            "let longer;\n{\n    let short = text.clone();\n    longer = short.as_str();\n}\nlonger",
        ),
        ("missing_debug", "point"),
        (
            "missing_crate",
            "use nowhere_to_be_found::Thing;\nlet thing = Thing::new();",
        ),
        ("not_mutable", "count += 1;"),
        ("missing_argument", "add(1)"),
        ("unclosed", "let list = [1, 2;"),
        ("unknown_type", "let nothing = Vec::new();"),
        ("unknown_macro", "pritln!(\"a\");"),
    ] {
        let (_, error) = error(evaluator, code);
        // The note depends on whether helper crates are built.
        let text = plain(&error);
        let text = text
            .split("\nnote: the helper crates")
            .next()
            .expect("a first part");
        shown(snapshot, code, text);
    }
    let code = "std::fs::read(\"/\");\n1 + 1";
    let (seen, _) = ok(evaluator, code);
    let warning = CellError {
        ename: String::new(),
        evalue: String::new(),
        traceback: seen,
    };
    shown("warning", code, &plain(&warning));
}

fn shown(snapshot: &str, code: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(snapshot, format!("{code}\n\n{text}")));
}
