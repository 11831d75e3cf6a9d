//! The documentation names only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of the test functions in a source file.
fn tests_in(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            is_test |= line.ends_with("test]");
            return None;
        }
        let name = line.strip_prefix("async ").unwrap_or(line);
        let name = name.strip_prefix("fn ")?.split(['(', '<']).next()?;
        std::mem::take(&mut is_test).then_some(name)
    })
}

fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            tests.extend(tests_in(&source).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_security_promises_name_exists() {
    let root = end_to_end::root();
    let mut tests = BTreeSet::new();
    for folder in ["crates", "kernel", "tests", "xtask"] {
        collect(&root.join(folder), &mut tests);
    }
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let mut named = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let Some(cell) = line.split(" | ").nth(1).filter(|cell| cell.contains('`')) else {
            continue;
        };
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "SECURITY.md names no test: {name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}
