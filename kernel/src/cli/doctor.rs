//! `azureml-kernel doctor`: checks the prerequisites of the kernel.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use azureml_kernel_evaluator::code_intelligence::PROGRAM;
use azureml_kernel_helpers::own;
use jupyter_protocol::JupyterKernelspec;

use super::{Engine, engine, helpers, trial};
use crate::kernelspec::{DISPLAY_NAME, NAME, folder, locations};
use crate::{env, logging, toolchain};

/// The result of a check.
enum Finding {
    /// The check passed; describes what was found.
    Good(String),
    /// A prerequisite is missing; the message and the hint.
    Missing(String, String),
}

use Finding::{Good, Missing};

/// A check and its name.
type Check<'a> = (&'static str, &'a dyn Fn() -> Finding);

/// The hint for prerequisites that `install` provides.
const INSTALL: &str = "run `azureml-kernel install`";

/// Prints one line per check; fails when a prerequisite is missing.
pub fn run(engine: Engine) -> ExitCode {
    let colour = std::io::stdout().is_terminal() && std::env::var_os(env::NO_COLOR).is_none();
    let cell = || cell(engine);
    let checks: [Check<'_>; 11] = [
        ("rustc", &rustc),
        ("cargo", &cargo),
        ("linker", &linker),
        ("rust-src", &rust_src),
        ("Jupyter", &jupyter),
        ("kernelspec", &kernelspec),
        ("completion", &completion),
        ("helper crates", &helper_crates),
        ("cache", &cache),
        ("log", &log),
        ("cell", &cell),
    ];
    let mut complete = true;
    for (name, check) in checks {
        let (mark, code, text, hint) = match check() {
            Good(text) => ("✓", 32, text, None),
            Missing(text, hint) => ("✗", 31, text, Some(hint)),
        };
        if colour {
            println!("\u{1b}[{code}m{mark}\u{1b}[0m {name}: {text}");
        } else {
            println!("{mark} {name}: {text}");
        }
        if let Some(hint) = hint {
            complete = false;
            println!("  hint: {hint}");
        }
    }
    if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn rustc() -> Finding {
    program("rustc")
}

fn cargo() -> Finding {
    program("cargo")
}

fn program(name: &str) -> Finding {
    match (toolchain::version_line(name), toolchain::find(name)) {
        (Some(version), Some(path)) => Good(format!("{version} ({})", path.display())),
        (None, Some(path)) => Missing(
            format!("{} does not run", path.display()),
            "run it in a terminal to see why; with rustup, `rustup default stable` chooses a toolchain".to_owned(),
        ),
        _ => Missing("not on PATH".to_owned(), toolchain::RUST_HINT.to_owned()),
    }
}

fn linker() -> Finding {
    if toolchain::find("rustc").is_none() {
        return Missing(
            "cannot be tried without rustc".to_owned(),
            toolchain::RUST_HINT.to_owned(),
        );
    }
    match toolchain::try_linking() {
        Ok(()) => Good("links a dynamic library".to_owned()),
        Err(error) => Missing(error, toolchain::LINKER_HINT.to_owned()),
    }
}

fn rust_src() -> Finding {
    match toolchain::rust_src() {
        Some(path) => Good(path.display().to_string()),
        None => Missing(
            "the sources of the standard library are missing, so completion and documentation do not know it, and the evaluator `evcxr` not the types of variables".to_owned(),
            toolchain::rust_src_hint().to_owned(),
        ),
    }
}

fn jupyter() -> Finding {
    let client = Command::new("python3")
        .args([
            "-c",
            "import jupyter_client; print(jupyter_client.__version__)",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success());
    if let Some(output) = client {
        let version = String::from_utf8_lossy(&output.stdout);
        return Good(format!("jupyter_client {} of python3", version.trim()));
    }
    match toolchain::find("jupyter") {
        Some(path) => Good(path.display().to_string()),
        None => Missing(
            "neither `jupyter` nor Python's jupyter_client was found".to_owned(),
            "run `python3 -m pip install jupyterlab`, or activate the environment that has it"
                .to_owned(),
        ),
    }
}

/// Returns the installed kernelspec that Jupyter uses, and its folder.
fn installed() -> Option<(JupyterKernelspec, PathBuf)> {
    locations::all_kernels_folders()
        .iter()
        .map(|kernels| folder::path(kernels))
        .find_map(|place| Some((folder::read(&place)?, place)))
}

fn kernelspec() -> Finding {
    let Some((spec, place)) = installed() else {
        return Missing(
            format!("\"{DISPLAY_NAME}\" ({NAME}) is not installed"),
            INSTALL.to_owned(),
        );
    };
    let binary = PathBuf::from(spec.argv.first().cloned().unwrap_or_default());
    if toolchain::is_executable(&binary) {
        Good(place.display().to_string())
    } else {
        Missing(
            format!(
                "{} starts {}, which is not there",
                place.display(),
                binary.display()
            ),
            INSTALL.to_owned(),
        )
    }
}

fn completion() -> Finding {
    let kernel = installed()
        .and_then(|(spec, _)| spec.argv.first().map(PathBuf::from))
        .or_else(|| std::env::current_exe().ok())
        .unwrap_or_default();
    let program = engine::beside(&kernel);
    if toolchain::is_executable(&program) {
        return Good(program.display().to_string());
    }
    Missing(
        format!(
            "{} is not there, so names are completed, but no methods and no documentation",
            program.display()
        ),
        format!(
            "in a clone of the project, run `cargo build --release --package {PROGRAM}`, then `azureml-kernel install --only-evcxr`"
        ),
    )
}

fn helper_crates() -> Finding {
    let Some(set) = installed().and_then(|(spec, _)| helpers::set_of(&spec)) else {
        return Missing(
            "none are built, so cells cannot use `azureml` without `:dep`".to_owned(),
            INSTALL.to_owned(),
        );
    };
    match helpers::check(&set) {
        Ok(names) => Good(format!("{} in {}", names.join(", "), set.display())),
        Err(error) => {
            let text = error.to_string();
            let (what, hint) = split_hint(&text);
            Missing(what.to_owned(), hint.unwrap_or(INSTALL).to_owned())
        }
    }
}

fn cache() -> Finding {
    let Some(folder) = azureml_kernel_evaluator::cache::root() else {
        return Missing(
            "there is no home folder".to_owned(),
            format!("set HOME or {}", env::CACHE),
        );
    };
    match writable(&folder) {
        Ok(()) => Good(folder.display().to_string()),
        Err(error) => Missing(
            format!("cannot write to {}: {error}", folder.display()),
            format!(
                "make the folder writable, or set {} to one that is",
                env::CACHE
            ),
        ),
    }
}

fn log() -> Finding {
    let logs = logging::folder();
    match (writable(&logs), logging::files().first()) {
        (Err(error), _) => Missing(
            format!("cannot write to {}: {error}", logs.display()),
            format!(
                "make the folder writable, or set {} to one that is",
                env::XDG_STATE_HOME
            ),
        ),
        (Ok(()), Some(newest)) => Good(format!("the newest is {}", newest.display())),
        (Ok(()), None) => Good(format!("kernels write to {}", logs.display())),
    }
}

fn cell(engine: Engine) -> Finding {
    let started = Instant::now();
    let set = installed().and_then(|(spec, _)| helpers::set_of(&spec));
    match trial::run(engine, set.as_deref()) {
        Ok(()) => Good(format!(
            "`{}` ran {:.1} s after the start",
            trial::CODE,
            started.elapsed().as_secs_f64()
        )),
        Err(error) => {
            let (what, hint) = split_hint(&error);
            let hint = hint.unwrap_or("the lines above may say why");
            Missing(what.to_owned(), hint.to_owned())
        }
    }
}

/// Splits a message into its first line and its hint.
fn split_hint(text: &str) -> (&str, Option<&str>) {
    let what = text.lines().next().unwrap_or_default();
    (
        what,
        text.lines().find_map(|line| line.strip_prefix("hint: ")),
    )
}

fn writable(folder: &Path) -> std::io::Result<()> {
    own::folder(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}
