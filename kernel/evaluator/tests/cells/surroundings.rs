//! Checks of changes in the environment: a full disk, another toolchain.
//!
//! Each kernel runs in a separate process, because resource limits and search paths apply to whole
//! processes.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use azureml_kernel_evaluator::Outcome;
use azureml_kernel_evaluator::toolchain::Toolchain;

use crate::building::local_crate;
use crate::support::{Engine, OwnCheck, Recorder, plain, start};

pub const CHECKS: &[OwnCheck] = &[
    (
        "a_full_disk_is_explained_and_leaves_nothing_half_written",
        a_full_disk_is_explained_and_leaves_nothing_half_written,
    ),
    (
        "another_toolchain_builds_its_own_libraries",
        another_toolchain_builds_its_own_libraries,
    ),
    (
        "a_variable_whose_type_is_not_known_is_lost_with_a_word",
        a_variable_whose_type_is_not_known_is_lost_with_a_word,
    ),
];

/// The cache; set in the process that acts as the kernel.
const CACHE: &str = "CELLS_KERNEL_CACHE";

/// The cells; set in the process that acts as the kernel.
const CELLS: &str = "CELLS_KERNEL_CELLS";

/// Separator between cells.
const NEXT: &str = "\n// next cell\n";

/// Acts as a kernel that runs cells and prints their output, if the environment variables are set.
pub fn play_kernel() {
    if let (Some(cache), Ok(cells)) = (std::env::var_os(CACHE), std::env::var(CELLS)) {
        let mut evaluator = start(Engine::Rustc, Path::new(&cache));
        let mut said = String::new();
        for code in cells.split(NEXT) {
            let recorder = Recorder::default();
            let answer = match evaluator.execute(code, &recorder) {
                Outcome::Ok(value) => value.unwrap_or_default()["text/plain"].to_string(),
                Outcome::Error(error) => plain(&error),
            };
            let _ = writeln!(said, "{}\n{answer}", recorder.seen().join("\n"));
        }
        print!("{said}");
        drop(evaluator);
        std::process::exit(0);
    }
}

/// Runs cells in a separate kernel process and returns their output. `shell` prepares the process.
fn kernel(shell: &str, path: Option<&Path>, cache: &Path, cells: &[&str]) -> String {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("{shell} exec \"$0\""))
        .arg(std::env::current_exe().expect("this program has a path"))
        .env(CACHE, cache)
        .env(CELLS, cells.join(NEXT));
    if let Some(path) = path {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(path.to_owned()).chain(std::env::split_paths(&before));
        let folders = std::env::join_paths(folders).expect("no folder's name has a colon");
        command.env("PATH", folders);
    }
    let output = command.output().expect("this program can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cells show text")
}

/// Limits the size of files. A larger write fails as on a full disk.
fn a_full_disk_is_explained_and_leaves_nothing_half_written(_: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let package = tempfile::tempdir().expect("a temporary folder");
    let code = local_crate(package.path());
    // Builds the cell runtime library first, without the limit.
    kernel("", None, cache.path(), &["1 + 1"]);
    let full = "trap '' XFSZ; ulimit -f 160;";
    let said = kernel(full, None, cache.path(), &[&code, "6 * 7"]);
    assert!(
        said.contains("hint: make room on the disk of the cache"),
        "{said}"
    );
    assert!(said.ends_with("\"42\"\n"), "{said}");
    let said = kernel("", None, cache.path(), &[&code]);
    assert!(said.ends_with("\"\\\"42\\\"\"\n"), "{said}");
}

/// Creates a toolchain whose compiler is this script; `$RUSTC` is the real one.
fn tools(script: &str) -> tempfile::TempDir {
    let tools = tempfile::tempdir().expect("a temporary folder");
    let toolchain = Toolchain::find().expect("Rust is installed");
    let write = |name: &str, text: &str| {
        let path = tools.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder is ours");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, executable).expect("the file is ours");
    };
    write("rustup", "exit 1");
    let rustc = toolchain.rustc.display();
    write("rustc", &format!("RUSTC='{rustc}'\n{script}"));
    symlink(&toolchain.cargo, tools.path().join("cargo")).expect("the folder is ours");
    tools
}

fn another_toolchain_builds_its_own_libraries(_: Engine, _: &Path) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let package = tempfile::tempdir().expect("a temporary folder");
    let tools = tools(
        "if [ \"$*\" = -vV ]; then \"$RUSTC\" -vV | sed 's/^\\(rustc\\|release:\\) .*/\\1 1.999.0/'; else exec \"$RUSTC\" \"$@\"; fi",
    );
    let code = local_crate(package.path());
    let built = "Compiling made-here";
    let count = |folder: &str| {
        std::fs::read_dir(cache.path().join(folder))
            .expect("it is there")
            .count()
    };
    let said = kernel("", None, cache.path(), &[&code]);
    assert!(said.contains(built), "{said}");
    assert_eq!(count("cell-runtime"), 1);
    let updated = Some(tools.path());
    let said = kernel("", updated, cache.path(), &[&code, "6 * 7"]);
    assert!(said.contains(built) && said.ends_with("\"42\"\n"), "{said}");
    assert_eq!(count("cell-runtime"), 2);
    assert_eq!(count("dependencies/packages"), 2);
    // Both toolchains can be used again.
    for path in [None, updated] {
        let said = kernel("", path, cache.path(), &[&code]);
        assert_eq!(said, "\n\"\\\"42\\\"\"\n");
    }
}

fn a_variable_whose_type_is_not_known_is_lost_with_a_word(_: Engine, cache: &Path) {
    let tools = tools(
        "for it in \"$@\"; do case \"$it\" in *,mir=*) types=\"${it##*,mir=}\";; esac; done\n\
         \"$RUSTC\" \"$@\" || exit\nif [ -n \"$types\" ]; then : > \"$types\"; fi",
    );
    let cells = ["let number = 1; number + 1", "number"];
    let said = kernel("", Some(tools.path()), cache, &cells);
    assert!(said.contains("The variable number is lost: "), "{said}");
    assert!(
        said.contains(" hint: ") && said.contains("\n\"2\"\n"),
        "{said}"
    );
    assert!(said.contains("cannot find value `number`"), "{said}");
}
