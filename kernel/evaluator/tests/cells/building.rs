//! Checks of cells that build on earlier ones, compiled by the kernel's own evaluator.

use std::path::Path;

use azureml_kernel_evaluator::{Evaluator, Outcome};

use crate::support::{Engine, OwnCheck, Recorder, error, ok, plain, start, value, write};

pub const CHECKS: &[OwnCheck] = &[
    (
        "later_cells_add_to_earlier_items",
        later_cells_add_to_earlier_items,
    ),
    (
        "items_from_the_library_are_as_open_as_their_own",
        items_from_the_library_are_as_open_as_their_own,
    ),
    (
        "items_keep_their_state_between_cells",
        items_keep_their_state_between_cells,
    ),
    ("variables_move_and_stay", variables_move_and_stay),
    (
        "variable_view_knows_what_variables_hold",
        variable_view_knows_what_variables_hold,
    ),
    (
        "completion_inspect_answer_while_a_cell_runs",
        completion_inspect_answer_while_a_cell_runs,
    ),
    (
        "an_early_return_keeps_what_was_there",
        an_early_return_keeps_what_was_there,
    ),
    (
        "macros_and_imports_reach_later_cells",
        macros_and_imports_reach_later_cells,
    ),
    (
        "what_borrows_ends_with_its_cell",
        what_borrows_ends_with_its_cell,
    ),
    (
        "a_warning_is_shown_and_the_cell_runs",
        a_warning_is_shown_and_the_cell_runs,
    ),
    ("futures_are_awaited", futures_are_awaited),
    (
        "futures_are_awaited_by_an_older_tokio",
        futures_are_awaited_by_an_older_tokio,
    ),
    (
        "a_crate_with_macros_is_a_dependency_of_every_kernel",
        a_crate_with_macros_is_a_dependency_of_every_kernel,
    ),
    ("commands_answer", commands_answer),
    ("names_may_be_of_any_script", names_may_be_of_any_script),
    ("a_crash_keeps_items", a_crash_keeps_items),
    (
        "a_cache_that_is_deleted_is_made_again",
        a_cache_that_is_deleted_is_made_again,
    ),
    (
        "two_kernels_want_one_crate_at_once",
        two_kernels_want_one_crate_at_once,
    ),
    (
        "c_code_and_two_versions_of_a_crate",
        c_code_and_two_versions_of_a_crate,
    ),
    (
        "a_cache_that_cannot_be_written_is_an_error",
        a_cache_that_cannot_be_written_is_an_error,
    ),
];

/// Waits until the items of earlier cells are in a compiled library.
fn settle(evaluator: &mut dyn Evaluator) {
    evaluator.warm_up();
}

fn later_cells_add_to_earlier_items(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "#[derive(Debug, Clone, PartialEq)]\nstruct Point { x: f64, y: f64 }",
    );
    value(evaluator, "let p = Point { x: 3.0, y: 4.0 };");
    value(
        evaluator,
        "impl Point { fn norm(&self) -> f64 { self.x.hypot(self.y) } }",
    );
    value(
        evaluator,
        "trait Area { fn area(&self) -> f64; }\nimpl Area for Point { fn area(&self) -> f64 { self.x * self.y } }",
    );
    value(
        evaluator,
        "impl std::ops::Add for Point { type Output = Point; fn add(self, o: Point) -> Point { Point { x: self.x + o.x, y: self.y + o.y } } }",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "(p.norm(), p.area())"), "(5.0, 12.0)");
    assert_eq!(
        value(evaluator, "p.clone() + p.clone()"),
        "Point { x: 6.0, y: 8.0 }"
    );
    // The cell runs again with a changed line.
    value(
        evaluator,
        "impl Point { fn norm(&self) -> f64 { self.x.abs().max(self.y.abs()) } }",
    );
    assert_eq!(value(evaluator, "p.norm()"), "4.0");
    settle(evaluator);
    assert_eq!(value(evaluator, "p.norm()"), "4.0");
    value(evaluator, "fn twice(n: i32) -> i32 { n * 2 }");
    assert_eq!(value(evaluator, "twice(4)"), "8");
    value(evaluator, "fn twice(n: i32) -> i32 { n * 200 }");
    assert_eq!(value(evaluator, "twice(4)"), "800");
    settle(evaluator);
    assert_eq!(value(evaluator, "twice(4)"), "800");
}

fn items_from_the_library_are_as_open_as_their_own(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "mod deep { pub struct Inner { pub open: u8, hidden: u8 } impl Inner { pub fn new() -> Self { Inner { open: 1, hidden: 2 } } pub fn sum(&self) -> u8 { self.open + self.hidden } } }\n\
         enum Shape { Circle(f64), Square { side: f64 } }\nstruct Pair(i32, i32);\nconst LIMIT: usize = 3;\nstatic NAME: &str = \"n\";\n\
         type Row = [u8; LIMIT];\nfn generic<T: Default + std::fmt::Debug>() -> String { format!(\"{:?}\", T::default()) }",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "deep::Inner::new().sum()"), "3");
    assert_eq!(
        value(evaluator, "let pair = Pair(1, 2); pair.0 + pair.1"),
        "3"
    );
    assert_eq!(
        value(
            evaluator,
            "match (Shape::Square { side: 2.0 }) { Shape::Circle(r) => r, Shape::Square { side } => side }"
        ),
        "2.0"
    );
    assert_eq!(
        value(
            evaluator,
            "let row: Row = [7; LIMIT]; (row.len(), NAME, generic::<u8>())"
        ),
        "(3, \"n\", \"0\")"
    );
    assert_eq!(value(evaluator, "(pair.1, row)"), "(2, [7, 7, 7])");
    // Private items of a module stay private.
    let (_, hidden) = error(evaluator, "deep::Inner::new().hidden");
    assert!(plain(&hidden).contains("E0616"), "{}", plain(&hidden));
}

fn items_keep_their_state_between_cells(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "use std::sync::atomic::{AtomicUsize, Ordering};\nstatic CALLS: AtomicUsize = AtomicUsize::new(0);\nfn count() -> usize { CALLS.fetch_add(1, Ordering::Relaxed) + 1 }",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "count()"), "1");
    assert_eq!(value(evaluator, "count()"), "2");
    assert_eq!(value(evaluator, "let three = count(); three"), "3");
}

fn variable_view_knows_what_variables_hold(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    ok(
        evaluator,
        r#":fmt {:#?}
struct Hidden;
let text = "한 \"quoted\" \\글\n".to_owned();
let mut many = vec![7_u8; 1_000_000];
let hidden = Hidden;
let boxed: Box<dyn Fn()> = Box::new(|| ());"#,
    );
    let names = ["text", "many", "hidden", "boxed"];
    let values = evaluator.values(&names, 20);
    assert_eq!(values["text"], "\"한 \\\"quoted\\\" \\\\글\\n\"");
    assert_eq!(values["many"], "[7, 7, 7, 7, 7, 7, 7…");
    assert_eq!(values.len(), 2, "{values:?}");
    // The variables are still in their storage.
    assert_eq!(value(evaluator, "many.len() + text.len()"), "1000018");
    assert!(evaluator.values(&["unknown"], 20).is_empty());
}

fn completion_inspect_answer_while_a_cell_runs(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    ok(evaluator, "let completed = vec![1];");
    let analyst = evaluator.analyst();
    let interrupter = evaluator.interrupter();
    let recorder = Recorder::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            recorder.wait_for("started");
            let code = "한.len(); completed.is_em";
            let found = analyst.complete(code, code.chars().count());
            let described = analyst.inspect("Vec::<u8>::new()", 11);
            let variables = analyst.variables();
            // The cell is interrupted first, because a panic of this thread waits for the end of
            // the cell.
            interrupter();
            assert!(
                found
                    .matches
                    .iter()
                    .any(|one| one.text.starts_with("is_empty"))
            );
            let described = described.expect("it is documented");
            assert!(described.contains_key("text/plain") && described.contains_key("text/html"));
            assert_eq!(variables.len(), 1);
        });
        let code = r#"let later = 1; println!("started"); loop { std::thread::park(); }"#;
        let outcome = evaluator.execute(code, &recorder);
        assert!(matches!(outcome, Outcome::Error(_)));
    });
}

fn variables_move_and_stay(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "let mut list = vec![1]; let text = \"가\".to_string(); let kept = 5;",
    );
    value(evaluator, "list.push(2);");
    assert_eq!(value(evaluator, "list.push(3); list.len()"), "3");
    assert_eq!(value(evaluator, "let moved = text; moved.len()"), "3");
    let (_, gone) = error(evaluator, "text");
    assert!(plain(&gone).contains("E0425"), "{}", plain(&gone));
    assert_eq!(value(evaluator, "let list = list.len(); list"), "3");
    assert_eq!(value(evaluator, "list as i32 + kept"), "8");
    value(evaluator, "let scratch = vec![1]; drop(scratch);");
    assert!(
        evaluator
            .variables()
            .iter()
            .all(|variable| variable.name != "scratch")
    );
    let handle = "let handle = std::thread::spawn(move || kept + 1); handle.join().unwrap()";
    assert_eq!(value(evaluator, handle), "6");
    assert_eq!(value(evaluator, "kept"), "5");
    let (_, fixed) = error(evaluator, "kept = 6;");
    assert!(plain(&fixed).contains("let mut"), "{}", plain(&fixed));
    assert_eq!(
        value(
            evaluator,
            "let Some(inside) = Some(4) else { panic!() }; inside"
        ),
        "4"
    );
    assert_eq!(
        value(evaluator, "format!(\"{inside} {kept:>3}\")"),
        "\"4   5\""
    );
}

fn an_early_return_keeps_what_was_there(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(evaluator, "let number = 1; let list = vec![1, 2];");
    let (_, failed) = error(
        evaluator,
        "let number = \"x\".parse::<i32>()?; let other = list.len();",
    );
    assert_eq!(failed.ename, "Error");
    assert_eq!(value(evaluator, "list.len()"), "2");
    assert_eq!(value(evaluator, "number"), "1");
    let (_, panicked) = error(evaluator, "let other = list[0]; panic!(\"here\")");
    assert_eq!(panicked.evalue, "here (line 1, column 22)");
    assert_eq!(value(evaluator, "list"), "[1, 2]");
}

fn macros_and_imports_reach_later_cells(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "macro_rules! square { ($x:expr) => { $x * $x }; }\nuse std::collections::{BTreeMap as Map, HashSet};\nuse std::fmt::Write as _;",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "square!(7)"), "49");
    assert_eq!(
        value(evaluator, "let mut m = Map::new(); m.insert(1, 'a'); m"),
        "{1: 'a'}"
    );
    value(
        evaluator,
        "fn squared(n: i32) -> i32 { square!(n) }\nfn words(n: i32) -> String { let mut s = String::new(); write!(s, \"{n}\").unwrap(); s }",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "(squared(3), words(4))"), "(9, \"4\")");
    assert_eq!(
        value(
            evaluator,
            "use std::collections::HashMap as Map; let empty: Map<u8, u8> = Map::new(); empty.len()"
        ),
        "0"
    );
    // The earlier variable keeps its type.
    assert_eq!(value(evaluator, "m.len()"), "1");
}

fn what_borrows_ends_with_its_cell(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(evaluator, "let owner = String::from(\"o\");");
    for (code, shown, name) in [
        ("let view = owner.as_str();\nview.len()", "1", "view"),
        (
            "let text = String::from(\"ab\"); let view = &text;\nview.len()",
            "2",
            "view",
        ),
        (
            "let near = |n: usize| n < owner.len();\nnear(0)",
            "true",
            "near",
        ),
        ("let add = |n: i32| n + 1;\nadd(1)", "2", "add"),
        (
            "let lock = std::sync::Mutex::new(3); let guard = lock.lock().unwrap();\n*guard",
            "3",
            "guard",
        ),
    ] {
        let (seen, result) = ok(evaluator, code);
        assert_eq!(result.as_deref(), Some(shown), "{code}");
        assert_eq!(seen.len(), 1, "{code}: {seen:?}");
        assert!(
            seen[0].starts_with(&format!("err:`{name}` ends with its cell: ")),
            "{seen:?}"
        );
        assert!(seen[0].contains("hint: "), "{seen:?}");
        // Values that do not borrow are kept.
        let (_, gone) = error(evaluator, name);
        assert!(
            plain(&gone).contains("ends with its cell"),
            "{}",
            plain(&gone)
        );
    }
    assert_eq!(value(evaluator, "owner"), "\"o\"");
    assert_eq!(value(evaluator, "text"), "\"ab\"");
    assert_eq!(value(evaluator, "*lock.lock().unwrap()"), "3");
    assert_eq!(
        value(evaluator, "{ let view = owner.as_str(); view.len() }"),
        "1"
    );
    assert_eq!(
        value(evaluator, "let literal = \"still\"; literal.len()"),
        "5"
    );
    assert_eq!(value(evaluator, "literal"), "\"still\"");
}

fn a_warning_is_shown_and_the_cell_runs(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    let (seen, shown) = ok(evaluator, "\"1\".parse::<i32>();\nlet unused = 1;\n2");
    assert_eq!(shown.as_deref(), Some("2"));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].contains("unused `Result` that must be used"),
        "{seen:?}"
    );
    assert!(seen[0].contains("line 1, column 1"), "{seen:?}");
}

fn futures_are_awaited(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "async fn later(n: i32) -> Result<i32, String> { if n > 0 { Ok(n) } else { Err(\"not yet\".to_owned()) } }",
    );
    let (_, waited) = ok(evaluator, "let n = later(3).await?; n + 1");
    assert_eq!(waited.as_deref(), Some("4"));
    let (_, failed) = error(evaluator, "later(0).await?;");
    assert_eq!(failed.evalue, "not yet");
    assert_eq!(value(evaluator, "n"), "3");
    assert_eq!(
        value(
            evaluator,
            "let task = tokio::spawn(async move { n * 2 }); task.await.unwrap()"
        ),
        "6"
    );
}

/// The runtime of this version requires mutable access.
fn futures_are_awaited_by_an_older_tokio(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    ok(
        evaluator,
        ":dep tokio = { version = \"0.2\", features = [\"rt-core\"] }",
    );
    let code = "let n = async { Ok::<i32, String>(3) }.await?; n + 1";
    let (_, waited) = ok(evaluator, code);
    assert_eq!(waited.as_deref(), Some("4"));
    assert_eq!(value(evaluator, "n"), "3");
}

fn a_crate_with_macros_is_a_dependency_of_every_kernel(engine: Engine, cache: &Path) {
    let code = ":dep serde = { version = \"1\", features = [\"derive\"] }\n:dep serde_json = \"1\"\n\
                #[derive(serde::Serialize, serde::Deserialize, Debug)]\nstruct Row { name: String, n: u8 }\n\
                let row: Row = serde_json::from_str(r#\"{\"name\":\"a\",\"n\":1}\"#)?;\nserde_json::to_string(&row)?";
    let mut first = start(engine, cache);
    let (_, shown) = ok(&mut *first, code);
    assert_eq!(shown.as_deref(), Some(r#""{\"name\":\"a\",\"n\":1}""#));
    settle(&mut *first);
    assert_eq!(value(&mut *first, "row.n"), "1");
    let mut second = start(engine, cache);
    // Nothing is built again: cargo is not called, and it would print output.
    let (seen, _) = ok(&mut *second, code);
    assert_eq!(seen, [""; 0]);
    let (_, no_crate) = error(&mut *second, ":dep no-such-crate-at-all-x = \"1\"");
    assert!(plain(&no_crate).contains("hint: "), "{}", plain(&no_crate));
    assert_eq!(value(&mut *second, "row.name"), "\"a\"");
}

fn names_may_be_of_any_script(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(
        evaluator,
        "struct 점 { 값: i32 }\nlet 이름 = 점 { 값: 7 }; let r#type = \"t\";",
    );
    settle(evaluator);
    assert_eq!(value(evaluator, "이름.값"), "7");
    assert_eq!(
        value(evaluator, "format!(\"{}{}\", r#type, 이름.값)"),
        "\"t7\""
    );
}

fn a_crash_keeps_items(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(evaluator, "fn six() -> i32 { 6 } let gone = 1;");
    let (_, died) = error(evaluator, "std::process::abort()");
    assert_eq!(died.ename, "ProcessDied");
    assert!(plain(&died).contains("`gone`"), "{}", plain(&died));
    assert_eq!(evaluator.variables(), []);
    assert_eq!(value(evaluator, "six()"), "6");
}

/// Creates a local crate with a build script; returns a cell that uses it.
pub fn local_crate(folder: &Path) -> String {
    let write = |name: &str, text: &str| write(folder, name, text);
    write(
        "Cargo.toml",
        "[package]\nname = \"made-here\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    write(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=ANSWER=42\"); }",
    );
    write(
        "src/lib.rs",
        "pub fn answer() -> &'static str { env!(\"ANSWER\") }",
    );
    let path = folder.display();
    format!(":dep made-here = {{ path = \"{path}\" }}\nmade_here::answer()")
}

fn a_cache_that_is_deleted_is_made_again(engine: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let package = tempfile::tempdir().expect("a temporary folder");
    let mut evaluator = start(engine, cache.path());
    let evaluator = &mut *evaluator;
    let (_, answer) = ok(evaluator, &local_crate(package.path()));
    assert_eq!(answer.as_deref(), Some("\"42\""));
    value(evaluator, "let kept = 1;");
    std::fs::remove_dir_all(cache.path()).expect("the folder is ours");
    let (_, answer) = ok(evaluator, "made_here::answer()");
    assert_eq!(answer.as_deref(), Some("\"42\""));
    assert_eq!(value(evaluator, "kept"), "1");
}

fn two_kernels_want_one_crate_at_once(engine: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let package = tempfile::tempdir().expect("a temporary folder");
    let code = local_crate(package.path());
    let answers: Vec<_> = std::thread::scope(|scope| {
        let kernels: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut evaluator = start(engine, cache.path());
                    ok(&mut *evaluator, &code).1
                })
            })
            .collect();
        kernels
            .into_iter()
            .map(|kernel| kernel.join().expect("the cell runs"))
            .collect()
    });
    assert_eq!(
        answers,
        [Some("\"42\"".to_owned()), Some("\"42\"".to_owned())]
    );
}

fn c_code_and_two_versions_of_a_crate(engine: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let root = tempfile::tempdir().expect("a temporary folder");
    let package = |name: &str, version: &str, dependency: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\n[dependencies]\n{dependency}\n"
        )
    };
    let write = |name: &str, text: &str| write(root.path(), name, text);
    for (version, word) in [("1", "one"), ("2", "two")] {
        write(
            &format!("common{version}/Cargo.toml"),
            &package("common", &format!("{version}.0.0"), ""),
        );
        write(
            &format!("common{version}/src/lib.rs"),
            &format!("pub fn word() -> &'static str {{ \"{word}\" }}"),
        );
        write(
            &format!("user{version}/Cargo.toml"),
            &package(
                &format!("user{version}"),
                "1.0.0",
                &format!("common = {{ path = \"../common{version}\" }}"),
            ),
        );
        write(
            &format!("user{version}/src/lib.rs"),
            "pub use common::word;",
        );
    }
    // A shared C library; the loader must find it in the output folder of the build script.
    write("in-c/Cargo.toml", &package("in-c", "1.0.0", ""));
    write("in-c/seven.c", "int seven(void) { return 7; }");
    write(
        "in-c/build.rs",
        r#"fn main() {
            let out = std::env::var("OUT_DIR").unwrap();
            let library = format!("{out}/libseven.so");
            assert!(std::process::Command::new("cc").args(["-shared", "-fPIC", "-o", &library, "seven.c"]).status().unwrap().success());
            println!("cargo::rustc-link-search=native={out}");
            println!("cargo::rustc-link-lib=dylib=seven");
        }"#,
    );
    write(
        "in-c/src/lib.rs",
        "unsafe extern \"C\" { safe fn seven() -> i32; }\npub fn call() -> i32 { seven() }",
    );
    // A static C library; a function that calls it is inlined into the cell.
    write("static-c/Cargo.toml", &package("static-c", "1.0.0", ""));
    write("static-c/eight.c", "int eight(void) { return 8; }");
    write(
        "static-c/build.rs",
        r#"fn main() {
            let out = std::env::var("OUT_DIR").unwrap();
            let run = |program: &str, arguments: &[&str]| {
                assert!(std::process::Command::new(program).args(arguments).status().unwrap().success());
            };
            run("cc", &["-c", "-fPIC", "-o", &format!("{out}/eight.o"), "eight.c"]);
            run("ar", &["crs", &format!("{out}/libeight.a"), &format!("{out}/eight.o")]);
            println!("cargo::rustc-link-search=native={out}");
            println!("cargo::rustc-link-lib=static=eight");
        }"#,
    );
    write(
        "static-c/src/lib.rs",
        "unsafe extern \"C\" { safe fn eight() -> i32; }\n#[inline(always)]\npub fn call<T>(_: T) -> i32 { eight() }",
    );
    let mut evaluator = start(engine, cache.path());
    let lines: String = ["user1", "user2", "in-c", "static-c"]
        .map(|name| format!(":dep {}\n", root.path().join(name).display()))
        .concat();
    let (_, shown) = ok(
        &mut *evaluator,
        &format!("{lines}(user1::word(), user2::word(), in_c::call(), static_c::call('x'))"),
    );
    assert_eq!(shown.as_deref(), Some("(\"one\", \"two\", 7, 8)"));
    // The compiled set does not depend on its build folder.
    std::fs::remove_dir_all(cache.path().join("dependencies/target")).expect("the folder is ours");
    let mut second = start(engine, cache.path());
    let (_, shown) = ok(&mut *second, &(lines + "in_c::call()"));
    assert_eq!(shown.as_deref(), Some("7"));
}

fn a_cache_that_cannot_be_written_is_an_error(engine: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let package = tempfile::tempdir().expect("a temporary folder");
    let mut evaluator = start(engine, cache.path());
    let in_the_way = cache.path().join("dependencies");
    std::fs::write(&in_the_way, "").expect("the folder is ours");
    let code = local_crate(package.path());
    let (_, error) = error(&mut *evaluator, &code);
    assert!(
        plain(&error).contains("hint: make room"),
        "{}",
        plain(&error)
    );
    assert_eq!(value(&mut *evaluator, "1 + 1"), "2");
    std::fs::remove_file(&in_the_way).expect("the file is ours");
    let (_, answer) = ok(&mut *evaluator, &code);
    assert_eq!(answer.as_deref(), Some("\"42\""));
}

fn commands_answer(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    value(evaluator, "let v = vec![1, 2];");
    assert!(value(evaluator, ":type v").contains("Vec<i32>"));
    assert!(value(evaluator, ":help").contains(":dep"));
    value(evaluator, ":fmt {:#?}");
    assert_eq!(value(evaluator, "v"), "[\n    1,\n    2,\n]");
    value(evaluator, ":fmt {}");
    assert_eq!(value(evaluator, "\"text\""), "text");
    value(evaluator, ":fmt {:?}");
    error(evaluator, "let x: i32 = \"\";");
    assert!(value(evaluator, ":explain").contains("did not match"));
    assert_eq!(value(evaluator, ":restart"), "Child process restarted");
    assert_eq!(evaluator.variables(), []);
    let (_, failed) = error(evaluator, "!exit 3");
    assert!(plain(&failed).contains('3'), "{}", plain(&failed));
    let (_, late) = error(evaluator, "thisisnotthere");
    assert!(plain(&late).contains("E0425"));
}
