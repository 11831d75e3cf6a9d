//! The log file of a kernel. Nothing is logged to the terminal, which belongs to the notebook
//! server, or to a cell.

mod limit;

use std::path::{Path, PathBuf};

use azureml_kernel_helpers::own;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::env;
use limit::{Limit, Log};

/// Number of log files that are kept.
const KEPT: usize = 20;

/// The default log filter. The libraries around the compiler log much at `info`.
const DEFAULT_FILTER: &str = "warn,azureml_kernel=info,azureml_kernel_evaluator=info";

/// Returns the folder of the log files.
pub fn folder() -> PathBuf {
    env::state_folder().join("logs")
}

/// Starts logging to a file of this process, including panics; returns the file.
pub fn start() -> std::io::Result<PathBuf> {
    let folder = folder();
    own::folder(&env::state_folder())?;
    own::folder(&folder)?;
    prune(&folder);
    let path = folder.join(format!("kernel-{}.log", std::process::id()));
    let file = own::append(&path)?;
    let filter =
        EnvFilter::try_from_env(env::LOG).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let log = Log::new(file);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(log.clone());
    // Fails only when logging was already started, which is fine.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(Limit::new(log))
        .with(lines)
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a part of the kernel panicked");
    }));
    Ok(path)
}

/// Returns the log files, newest first.
pub fn files() -> Vec<PathBuf> {
    list(&folder())
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("kernel-") && name.ends_with(".log")
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, path)| path).collect()
}

fn prune(folder: &Path) {
    for old in list(folder).into_iter().skip(KEPT - 1) {
        // Another kernel may have removed it already.
        let _ = std::fs::remove_file(old);
    }
}
