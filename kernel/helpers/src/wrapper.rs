//! The rustc wrapper: cargo runs it in place of rustc, with rustc's command line.

use crate::{UMBRELLA, env, layout};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the compilation that cargo requested and never returns, if cargo started this process in
/// place of the compiler (see [`Helpers::build_env`](crate::Helpers::build_env)); otherwise returns
/// at once. `next` is an additional wrapper through which the compiler is called.
///
/// Must be called before anything else in `main`.
pub fn rustc_wrapper_hook(next: Option<&Path>) {
    if std::env::var_os(env::WRAPPER).is_none() {
        return;
    }
    let set = std::env::var_os(env::HELPERS).map(PathBuf::from);
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().unwrap_or_else(|| "rustc".into());
    let arguments = match set {
        Some(set) => rewrite(arguments.collect(), &set, package.as_deref()),
        None => arguments.collect(),
    };
    let mut command = match next {
        Some(next) => {
            let mut command = Command::new(next);
            command.env_remove(env::WRAPPER).arg(&rustc);
            command
        }
        None => Command::new(&rustc),
    };
    let error = command.args(arguments).exec();
    let program = Path::new(command.get_program()).display();
    eprintln!("error: cannot run {program}: {error}");
    std::process::exit(1);
}

/// Returns the compiler's command line with the set's library added and a stub crate's sources
/// replaced by its shim.
fn rewrite(mut arguments: Vec<OsString>, set: &Path, package: Option<&Path>) -> Vec<OsString> {
    let name = arguments
        .iter()
        .position(|argument| argument == "--crate-name")
        .and_then(|at| arguments.get(at + 1));
    let Some(name) = name.and_then(|name| name.to_str()).map(str::to_owned) else {
        // A query about the compiler itself, without a crate to compile.
        return arguments;
    };
    let facade = package.is_some_and(|package| package.starts_with(layout::facades_folder(set)));
    if facade && let Some(root) = arguments.iter_mut().find(|argument| is_source(argument)) {
        *root = layout::thin(set, &name).into();
        arguments.push("--extern".into());
        arguments.push(with(&format!("{UMBRELLA}="), &layout::library(set)));
    }
    arguments.push("-L".into());
    arguments.push(with("dependency=", &layout::deps_folder(set)));
    // The run path of the library; only used when the compiler links.
    arguments.push(with("-Clink-arg=-Wl,-rpath,", &layout::deps_folder(set)));
    arguments
}

fn is_source(argument: &OsStr) -> bool {
    !argument.to_string_lossy().starts_with('-')
        && Path::new(argument).extension() == Some(OsStr::new("rs"))
}

fn with(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], package: &str, expected: &[&str]) {
        let arguments = arguments.iter().map(OsString::from).collect();
        let rewritten = rewrite(arguments, Path::new("/set"), Some(Path::new(package)));
        assert_eq!(rewritten, expected);
    }

    #[test]
    fn a_question_about_the_compiler_stays_as_it_is() {
        check(&["-vV"], "/cell", &["-vV"]);
    }

    #[test]
    fn a_cell_finds_the_library() {
        check(
            &["--crate-name", "ctx", "src/lib.rs"],
            "/cell",
            &[
                "--crate-name",
                "ctx",
                "src/lib.rs",
                "-L",
                "dependency=/set/deps",
                "-Clink-arg=-Wl,-rpath,/set/deps",
            ],
        );
    }

    #[test]
    fn a_facade_is_exchanged_for_its_stand_in() {
        check(
            &["--crate-name", "azureml", "/set/facades/azureml/src/lib.rs"],
            "/set/facades/azureml",
            &[
                "--crate-name",
                "azureml",
                "/set/thin/azureml.rs",
                "--extern",
                "helpers=/set/deps/libhelpers.so",
                "-L",
                "dependency=/set/deps",
                "-Clink-arg=-Wl,-rpath,/set/deps",
            ],
        );
    }
}
