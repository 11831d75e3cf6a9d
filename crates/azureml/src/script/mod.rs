//! Rust scripts: built on the submitting machine, uploaded as a binary with a launcher.

mod build;
mod launcher;
mod stage;

use crate::error::Result;
use crate::progress::Progress;
use std::path::Path;
use tempfile::TempDir;

/// A built script, ready for upload.
pub struct Staged {
    /// A temporary folder with the binary, the launcher and the folder's other small files; removed
    /// on drop.
    pub folder: TempDir,
    /// The name of the binary.
    pub program: String,
}

/// Builds the script of the package in `folder` and stages the files of the job.
pub async fn prepare(folder: &Path, script: &str) -> Result<Staged> {
    let target = build::find_target(folder, script).await?;
    let progress = Progress::start(&format!("Building {script}"));
    let built = build::run(folder, script, &target, &progress).await;
    match &built {
        Ok(built) => progress.finish(&format!(
            "Built {script} in {}",
            crate::duration::short(built.duration)
        )),
        Err(_) => progress.finish(&format!("Building {script} failed")),
    }
    let built = built?;
    let folder = stage::stage(folder, &target, &built)?;
    Ok(Staged {
        folder,
        program: target,
    })
}

/// The name of the launcher beside the binary.
pub const LAUNCHER: &str = launcher::NAME;
