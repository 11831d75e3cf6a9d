//! `azureml-kernel serve`: serves one notebook until it ends.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use azureml_kernel_evaluator::{self as evaluator, CellError, is_complete};
use tokio::sync::watch;

use super::{Engine, Failure};
use crate::protocol::connection;
use crate::server::{self, Options, Parent};
use crate::zmtp::{self, Limits};
use crate::{env, logging, toolchain};

/// Set when the process has replaced itself, so that it does so only once.
const COMPLETED: &str = "AZUREML_KERNEL_ENVIRONMENT_COMPLETED";

/// Runs the command until the kernel ends.
pub fn run(engine: Engine, connection_file: &Path) -> Result<ExitCode, Failure> {
    let running = std::env::current_exe()?;
    complete_environment(&running);
    let engine_error = engine.exec_selected(&running);
    let connection = connection::read(connection_file)?;
    if let Err(error) = logging::start() {
        eprintln!("warning: nothing is logged: {error}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        connection_file = %connection_file.display(),
        "the kernel starts"
    );
    zmtp::raise_descriptors();
    evaluator::adopt_programs();
    let options = Options {
        history: Some(env::state_folder().join("history.jsonl")),
        parent: std::env::var(env::PARENT_PID)
            .ok()
            .and_then(|pid| Parent::from_text(&pid)),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(server::serve(
        &connection,
        started_by(engine, engine_error),
        options,
    ));
    // A compiler or a cell that did not stop in time must not keep the process alive.
    runtime.shutdown_background();
    server::terminate_group();
    evaluator::end_programs();
    if let Err(error) = &served {
        tracing::error!(%error, "the kernel could not serve");
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces the process with a new run of the program if PATH lacks cargo or rustc and they can be
/// found.
fn complete_environment(running: &Path) {
    if std::env::var_os(COMPLETED).is_some() {
        return;
    }
    let path = toolchain::completed_path();
    let Some(path) = path else {
        return;
    };
    let error = Command::new(running)
        .args(std::env::args_os().skip(1))
        .env("PATH", path)
        .env(COMPLETED, "1")
        .exec();
    // Not fatal: the kernel starts, and its cells report what is missing.
    eprintln!("warning: cannot complete PATH: {error}");
}

/// The engine for the server; `error` is the reason why the user's selection cannot be used.
fn started_by(engine: Engine, error: Option<String>) -> server::Engine {
    let (version, language_version) = watch::channel(None);
    std::thread::spawn(move || {
        version.send_replace(Some(toolchain::rust_version().unwrap_or_default()));
    });
    server::Engine {
        start: Box::new(move || match error {
            Some(error) => Err(start_error(&error)),
            None => (engine.start)(evaluator::Options::default())
                .map_err(|error| start_error(&error.to_string())),
        }),
        is_complete,
        language_version,
    }
}

/// The error of every cell when the evaluator could not start.
fn start_error(text: &str) -> CellError {
    let mut traceback: Vec<String> = text.lines().map(str::to_owned).collect();
    if !text.contains("hint:") {
        let hint = if toolchain::find("rustc").is_none() || toolchain::find("cargo").is_none() {
            toolchain::RUST_HINT
        } else if toolchain::rust_src().is_none() {
            toolchain::rust_src_hint()
        } else {
            "`azureml-kernel doctor` checks what the kernel needs; restart the kernel afterwards"
        };
        traceback.push(format!("hint: {hint}"));
    }
    CellError {
        ename: "KernelError".to_owned(),
        evalue: text.lines().next().unwrap_or_default().to_owned(),
        traceback,
    }
}
