//! The folder of one kernel: the cells' crate, its build, and the socket. Two kernels never share one.

use std::fs::File;
use std::path::{Path, PathBuf};

const PREFIX: &str = "azureml-kernel-";
const LOCK: &str = "lock";

/// The folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    /// Held for the life of the kernel; a folder whose lock is free belongs to a kernel that was killed.
    // Nobody reads it; it is held until the folder is dropped.
    #[allow(dead_code)]
    lock: File,
}

impl Folder {
    /// Makes a fresh folder, and removes those of kernels that were killed.
    pub(crate) fn new() -> std::io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> std::io::Result<Self> {
        remove_stale(parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Under its name the lock is only ever seen locked.
        let unnamed = folder.path().join("lock.new");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        std::fs::rename(&unnamed, folder.path().join(LOCK))?;
        Ok(Self { folder, lock })
    }

    /// Where the sources and libraries of cells are.
    pub(crate) fn cells(&self) -> PathBuf {
        self.folder.path().join("cells")
    }

    /// Where `evcxr` works.
    pub(crate) fn crate_folder(&self) -> PathBuf {
        self.folder.path().join("crate")
    }

    /// Where the cell process finds the kernel.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("cell.sock")
    }

    /// A place for sources that holds none.
    pub(crate) fn no_sources(&self) -> PathBuf {
        self.folder.path().join("no-rust-src")
    }
}

fn remove_stale(parent: &Path) {
    let folders = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path());
    for folder in folders {
        let stale = File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if stale && let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::debug!(%error, folder = %folder.display(), "a killed kernel's folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_kernels_go_and_those_of_living_ones_stay() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let living = Folder::new_in(parent.path()).expect("a folder");
        let killed = Folder::new_in(parent.path()).expect("a folder");
        let Folder { folder, lock } = killed;
        let left_behind = folder.keep();
        drop(lock);
        let unrelated = parent.path().join("azureml-kernel-without-a-lock");
        std::fs::create_dir(&unrelated).expect("the folder is ours");

        let newest = Folder::new_in(parent.path()).expect("a folder");
        assert!(!left_behind.exists());
        assert!(living.folder.path().exists());
        assert!(unrelated.exists());
        let path = newest.folder.path().to_owned();
        drop(newest);
        assert!(!path.exists());
    }
}
