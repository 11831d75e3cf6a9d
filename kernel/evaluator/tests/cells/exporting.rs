//! Checks of `:export`: cargo builds the exported package, and it behaves like the cells.

use std::path::Path;
use std::process::Command;

use azureml_kernel_evaluator::toolchain::Toolchain;
use azureml_kernel_evaluator::{CellName, Evaluator};
use azureml_kernel_helpers::build_in;

use crate::support::{
    Engine, OwnCheck, error, ok, ok_bundle, plain, start, start_with, value, write,
};

pub const CHECKS: &[OwnCheck] = &[
    (
        "an_export_does_what_the_cells_did",
        an_export_does_what_the_cells_did,
    ),
    (
        "an_export_takes_helper_crates_with_it",
        an_export_takes_helper_crates_with_it,
    ),
    (
        "an_export_writes_over_nothing_else",
        an_export_writes_over_nothing_else,
    ),
];

/// Runs cargo on a package, without network access; returns its output.
fn cargo(command: &str, folder: &Path) -> String {
    let output = Command::new("cargo")
        .args([command, "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .expect("cargo is there");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        std::fs::read_to_string(folder.join("src/main.rs")).unwrap_or_default()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Exports to a folder, which must succeed without warnings; returns the program.
fn export(evaluator: &mut dyn Evaluator, folder: &Path) -> String {
    let (_, answer) = ok(evaluator, &format!(":export {}", folder.display()));
    let answer = answer.expect("it answers");
    assert!(
        answer.starts_with("Wrote ") && !answer.contains("warning"),
        "{answer}"
    );
    std::fs::read_to_string(folder.join("src/main.rs")).expect("it is written")
}

fn an_export_does_what_the_cells_did(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    let root = tempfile::tempdir().expect("a temporary folder");
    let (_, nothing) = error(evaluator, ":export");
    assert!(plain(&nothing).contains("hint: "), "{}", plain(&nothing));
    write(
        root.path(),
        "made-here/Cargo.toml",
        "[package]\nname = \"made-here\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    write(
        root.path(),
        "made-here/src/lib.rs",
        "pub fn answer() -> &'static str { \"마흔둘\" }",
    );
    let dependency = root.path().join("made-here");
    ok(evaluator, &format!(":dep {}", dependency.display()));

    let mut printed = String::new();
    for (place, (id, code)) in (1..).zip([
        ("a", "use std::collections::BTreeMap;\n/// 점 하나\n#[derive(Debug)]\nstruct 점 { 값: i32 }"),
        ("b", "fn twice(n: i32) -> i32 { n * 2 }"),
        ("c", "fn twice(n: i32) -> i32 { n * 200 }"),
        ("d", "// 첫 번째\nlet 이름 = 점 { 값: 7 };\nlet mut counts = BTreeMap::new();\ncounts.insert(\"가\", 1);"),
        ("e", "counts.insert(\"나\", twice(이름.값));\ncounts"),
        ("f", "let n: i32 = \"21\".parse()?;\nn * 2"),
        ("g", "async fn later(n: i32) -> Result<i32, String> { Ok(n) }\nlet mut waited = later(n).await?;\nwaited + 1"),
        ("h", "waited += 1;\nlet n = format!(\"{n}개\");"),
        ("i", "println!(\"{n} {waited} {}\", made_here::answer());"),
        ("j", "if n.is_empty() { println!(\"never\") }"),
        ("k", "!cd ."),
        ("l", "이름"),
    ]) {
        evaluator.name_cell(CellName { id: Some(id.to_owned()), count: Some(place) });
        let (seen, shown) = ok(evaluator, code);
        let out = seen.iter().filter_map(|entry| entry.strip_prefix("out:"));
        printed.extend(out);
        if let Some(shown) = shown {
            printed += &(shown + "\n");
        }
    }
    error(evaluator, "let broken = no_such_thing;");
    ok(
        evaluator,
        "%test\n#[test]\nfn doubles() { assert_eq!(twice(1), 200); }\n#[test]\n#[should_panic]\nfn panics() { panic!() }",
    );
    let folder = root.path().join("실습-export");
    let program = export(evaluator, &folder);
    assert!(
        !program.contains("broken") && !program.contains("n * 2 }"),
        "{program}"
    );
    assert!(program.contains("// In the notebook: !cd ."), "{program}");
    assert!(program.contains("// cell 4\n"), "{program}");
    assert_eq!(cargo("run", &folder), printed);
    let tested = cargo("test", &folder);
    assert!(tested.contains("2 passed; 0 failed"), "{tested}");

    // A cell that runs again appears once, at its original position.
    evaluator.name_cell(CellName {
        id: Some("d".to_owned()),
        count: Some(20),
    });
    ok(
        evaluator,
        "let mut counts = BTreeMap::from([(\"다\", 3)]);\nlet 이름 = 점 { 값: 8 };",
    );
    let program = export(evaluator, &folder);
    assert!(!program.contains("점 { 값: 7 }"), "{program}");
    assert!(cargo("run", &folder).starts_with("{\"나\": 1600, \"다\": 3}\n"));

    // Crates that `:dep` has added are completed.
    let found = evaluator.complete("use made_h", 10);
    let texts: Vec<_> = found.matches.iter().map(|one| one.text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("made_here")),
        "{texts:?}"
    );
}

fn an_export_takes_helper_crates_with_it(engine: Engine, cache: &Path) {
    let toolchain = Toolchain::find().expect("Rust is installed");
    let notebook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/notebook");
    let helpers =
        build_in(&cache.join("own"), &toolchain, &[notebook], &|_| {}).expect("the crate compiles");
    let mut evaluator = start_with(engine, cache, Some(&helpers));
    let evaluator = &mut *evaluator;
    let root = tempfile::tempdir().expect("a temporary folder");
    let bundle = "notebook::MimeBundle::new().text(\"글\").html(\"<b>글</b>\")";
    ok_bundle(evaluator, &format!("notebook::display(&{bundle});"));
    ok_bundle(evaluator, bundle);
    // A type that implements neither `Debug` nor the crate's traits, and an error type that does
    // not implement `std::error::Error`.
    value(
        evaluator,
        "struct Own;\nimpl Own { fn evcxr_display(&self) { println!(\"EVCXR_BEGIN_CONTENT text/plain\\n제 것\\nEVCXR_END_CONTENT\"); } }",
    );
    ok_bundle(evaluator, "Own");
    value(
        evaluator,
        "struct Odd;\nimpl std::fmt::Display for Odd { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(\"odd\") } }",
    );
    assert_eq!(value(evaluator, "Ok::<i32, Odd>(2)? + 1"), "3");
    let folder = root.path().join("notebook");
    let program = export(evaluator, &folder);
    assert!(program.contains("struct Failed(String);"), "{program}");
    let printed = cargo("run", &folder);
    assert!(printed.starts_with("글\n글\n"), "{printed}");
    assert!(
        printed.contains("제 것\n") && printed.ends_with("3\n"),
        "{printed}"
    );
    let found = evaluator.complete("use noteb", 9);
    let texts: Vec<_> = found.matches.iter().map(|one| one.text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("notebook")),
        "{texts:?}"
    );
}

fn an_export_writes_over_nothing_else(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let evaluator = &mut *evaluator;
    let root = tempfile::tempdir().expect("a temporary folder");
    let root = root.path();
    value(evaluator, "let answer = 42;");
    write(root, "mine/notes.txt", "mine");
    write(root, "file", "mine");
    let mut refused = |name: &str| {
        let code = format!(":export {}", root.join(name).display());
        let (_, refused) = error(evaluator, &code);
        assert!(
            plain(&refused).contains("hint: name another folder"),
            "{}",
            plain(&refused)
        );
    };
    refused("mine");
    refused("file");
    let entries = || std::fs::read_dir(root).expect("it is there").count();
    assert_eq!(entries(), 2);

    let folder = root.join("new");
    export(evaluator, &folder);
    // Other files in the package are kept, and so are files that the user has changed.
    write(&folder, "src/more.rs", "mine");
    value(evaluator, "answer + 1");
    assert!(export(evaluator, &folder).contains("answer + 1"));
    assert!(folder.join("src/more.rs").is_file());
    write(&folder, "src/main.rs", "fn main() { /* mine */ }");
    let (_, edited) = error(evaluator, &format!(":export {}", folder.display()));
    assert!(
        plain(&edited).contains("has been changed"),
        "{}",
        plain(&edited)
    );
    let kept = std::fs::read_to_string(folder.join("src/main.rs")).expect("it is there");
    assert_eq!(kept, "fn main() { /* mine */ }");
    assert_eq!(entries(), 3);

    // The order of the cells makes this program invalid. It is still written, with a warning.
    for (id, code) in [
        ("one", "let one = 1;"),
        ("two", "let two = one;"),
        ("one", "let other = 1;"),
    ] {
        evaluator.name_cell(CellName {
            id: Some(id.to_owned()),
            count: None,
        });
        value(evaluator, code);
    }
    let answer = value(
        evaluator,
        &format!(":export {}", root.join("broken").display()),
    );
    assert!(
        answer.contains("warning: the program does not compile yet: E0425"),
        "{answer}"
    );
}
