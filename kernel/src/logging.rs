//! The log file of a kernel. Nothing is ever logged to the terminal, where a notebook server talks, or into a cell.

mod limit;

use std::path::{Path, PathBuf};

use azureml_kernel_helpers::own;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::env;
use limit::{Limit, Log};

/// The log files that are kept.
const KEPT: usize = 20;

/// What is logged when nobody asks for more. The libraries around the compiler are talkative.
const DEFAULT_FILTER: &str = "warn,azureml_kernel=info,azureml_kernel_evaluator=info";

/// The folder of the log files.
pub fn folder() -> PathBuf {
    env::state_folder().join("logs")
}

/// Starts logging into a file of this process and sends panics there too; returns the file.
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
    // Fails only when logging was started before, which is as good.
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

/// The log files, newest first.
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
        // Another kernel may have done it.
        let _ = std::fs::remove_file(old);
    }
}
