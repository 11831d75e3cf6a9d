//! Builds a set from two crates and uses it from a crate like a cell's, through cargo, offline.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use azureml_kernel_helpers::toolchain::Toolchain;
use azureml_kernel_helpers::{Error, Helpers, build_in};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Creates two crates: `counter` has a registry dependency, a path dependency and a static.
fn crates(folder: &Path) -> PathBuf {
    write(
        folder,
        "counter/Cargo.toml",
        "[package]\nname = \"counter\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nserde_json = \"1\"\nwire-types = { path = \"../wire-types\" }\n",
    );
    write(
        folder,
        "counter/src/lib.rs",
        "mod inner;\npub use inner::Counter;\npub use wire_types as wire;\n\
         pub fn json() -> String { serde_json::json!({ \"a\": 1 }).to_string() }\n\
         #[macro_export] macro_rules! two { () => { 2 } }\n",
    );
    write(
        folder,
        "counter/src/inner.rs",
        "use std::sync::atomic::{AtomicU32, Ordering};\nstatic COUNT: AtomicU32 = AtomicU32::new(0);\n\
         #[derive(Debug)] pub struct Counter;\n\
         impl Counter { pub fn next(&self) -> wire_types::Count { wire_types::Count(COUNT.fetch_add(1, Ordering::SeqCst)) } }\n",
    );
    write(
        folder,
        "wire-types/Cargo.toml",
        "[package]\nname = \"wire-types\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    write(
        folder,
        "wire-types/src/lib.rs",
        "#[derive(Debug, PartialEq)] pub struct Count(pub u32);\n",
    );
    folder.join("counter")
}

/// Returns the compiler of this machine.
fn toolchain() -> Toolchain {
    Toolchain::find().unwrap()
}

/// Returns the program under test that replaces the compiler.
fn wrapper() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/wrapper")
}

/// Builds and runs a program that uses the stub crates.
fn run(cell: &Path, helpers: &Helpers, code: &str) -> String {
    let mut manifest =
        "[package]\nname = \"cell\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n".to_owned();
    for facade in helpers.facades() {
        let path = facade.path.display();
        writeln!(manifest, "{} = {{ path = \"{path}\" }}", facade.name).unwrap();
    }
    write(cell, "Cargo.toml", &manifest);
    write(cell, "src/main.rs", code);
    let output = Command::new("cargo")
        .args(["build", "--offline"])
        .current_dir(cell)
        .env("CARGO_TARGET_DIR", cell.join("target"))
        .env("RUSTFLAGS", "-Cprefer-dynamic")
        .envs(helpers.build_env(&wrapper()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sysroot = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .unwrap();
    let output = Command::new(cell.join("target/debug/cell"))
        .env(
            "LD_LIBRARY_PATH",
            String::from_utf8_lossy(&sysroot.stdout).trim(),
        )
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Builds and runs a program with the set's sources, using only cargo.
fn run_without_the_set(program: &Path, helpers: &Helpers) -> String {
    helpers
        .write_sources(&["counter"], &program.join("crates"))
        .unwrap();
    fs::copy(helpers.lock(), program.join("Cargo.lock")).unwrap();
    write(
        program,
        "Cargo.toml",
        "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\ncounter = { path = \"crates/counter\" }\n",
    );
    write(
        program,
        "src/main.rs",
        "fn main() { println!(\"{} {:?}\", counter::json(), counter::Counter.next()); }",
    );
    let output = Command::new("cargo")
        .args(["run", "--offline", "--quiet"])
        .current_dir(program)
        .env("CARGO_TARGET_DIR", program.join("target"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_cell_uses_helper_crates_without_building_them() {
    let folder = TempDir::new().unwrap();
    let counter = crates(folder.path());
    {
        let cache = folder.path().join("cache");
        let said = Mutex::new(Vec::new());
        let helpers = build_in(
            &cache,
            &toolchain(),
            std::slice::from_ref(&counter),
            &|line| {
                said.lock().unwrap().push(line.to_owned());
            },
        )
        .unwrap();
        assert!(
            said.lock()
                .unwrap()
                .iter()
                .any(|line| line.contains("serde_json"))
        );
        let printed = run(
            &folder.path().join("cell"),
            &helpers,
            "use counter::{Counter, wire::Count};\nfn main() {\n\
             assert_eq!(Counter.next(), Count(0));\nassert_eq!(Counter.next(), Count(1));\n\
             println!(\"{} {} {:?}\", counter::json(), counter::two!(), Counter); }",
        );
        assert_eq!(printed, "{\"a\":1} 2 Counter\n");

        assert_eq!(
            run_without_the_set(&folder.path().join("program"), &helpers),
            "{\"a\":1} Count(0)\n"
        );

        // Nothing has changed: the same set is returned without a build.
        let again = build_in(
            &cache,
            &toolchain(),
            std::slice::from_ref(&counter),
            &|line| panic!("{line}"),
        )
        .unwrap();
        assert_eq!(again.folder(), helpers.folder());

        // A changed source results in another set, and the old one is still complete.
        write(&counter, "src/inner.rs", "pub struct Counter;");
        let changed = build_in(&cache, &toolchain(), &[counter], &|_| {}).unwrap();
        assert_ne!(changed.folder(), helpers.folder());
        assert!(Helpers::open(helpers.folder(), &toolchain()).is_ok());
    }
}

#[test]
fn a_set_is_built_by_the_compiler_that_it_is_labelled_with() {
    let folder = TempDir::new().unwrap();
    let counter = crates(folder.path());
    // A toolchain file above cargo's working directory, which would make rustup select another
    // compiler.
    write(
        folder.path(),
        "rust-toolchain.toml",
        "[toolchain]\nchannel = \"no-such-channel\"\n",
    );
    // A compiler that logs the crates it compiles.
    let mut toolchain = toolchain();
    let log = folder.path().join("compiled.log");
    write(
        folder.path(),
        "bin/rustc",
        &format!(
            "#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n",
            log.display(),
            toolchain.rustc.display()
        ),
    );
    toolchain.rustc = folder.path().join("bin/rustc");
    fs::set_permissions(&toolchain.rustc, fs::Permissions::from_mode(0o755)).unwrap();
    let helpers = build_in(
        &folder.path().join("cache"),
        &toolchain,
        &[counter],
        &|_| {},
    )
    .unwrap();
    let compiled = fs::read_to_string(log).unwrap();
    for name in ["serde_json", "wire_types", "counter", "helpers"] {
        assert!(
            compiled.contains(&format!("--crate-name {name} ")),
            "{name}"
        );
    }
    let manifest = fs::read_to_string(helpers.folder().join("set.json")).unwrap();
    assert!(manifest.contains(&toolchain.label()), "{manifest}");
}

#[test]
fn a_changed_workspace_is_another_set() {
    let folder = TempDir::new().unwrap();
    let workspace = |version: &str| {
        let text = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [\"member\"]\n[workspace.package]\nedition = \"{version}\"\n"
        );
        write(folder.path(), "Cargo.toml", &text);
    };
    write(
        folder.path(),
        "member/Cargo.toml",
        "[package]\nname = \"member\"\nversion = \"0.1.0\"\nedition.workspace = true\n",
    );
    write(folder.path(), "member/src/lib.rs", "");
    let member = folder.path().join("member");
    let cache = folder.path().join("cache");
    workspace("2021");
    let old = build_in(&cache, &toolchain(), std::slice::from_ref(&member), &|_| {}).unwrap();
    workspace("2024");
    let new = build_in(&cache, &toolchain(), &[member], &|_| {}).unwrap();
    assert_ne!(old.folder(), new.folder());
}

#[test]
fn a_crate_that_does_not_build_says_why() {
    let folder = TempDir::new().unwrap();
    let counter = crates(folder.path());
    write(&counter, "src/lib.rs", "pub fn wrong() -> u32 { \"text\" }");
    {
        let cache = folder.path().join("cache");
        let error = build_in(&cache, &toolchain(), &[counter], &|_| {})
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("mismatched types") && error.contains("hint: "),
            "{error}"
        );
    }
}

#[test]
fn a_folder_without_a_crate_is_named() {
    let folder = TempDir::new().unwrap();
    {
        let cache = folder.path().join("cache");
        let error =
            build_in(&cache, &toolchain(), &[folder.path().to_owned()], &|_| {}).unwrap_err();
        assert!(matches!(error, Error::NoPackage(_)), "{error}");
    }
}

#[test]
fn a_set_that_is_gone_or_of_another_compiler_is_not_used() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(
        Helpers::open(folder.path(), &toolchain()).unwrap_err(),
        Error::Missing { .. }
    ));
    write(
        folder.path(),
        "set.json",
        "{\"rustc\": \"rustc 1.0.0\", \"crates\": []}",
    );
    let error = Helpers::open(folder.path(), &toolchain()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("hint: run `azureml-kernel install` again")
    );
}
