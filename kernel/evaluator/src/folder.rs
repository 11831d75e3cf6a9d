//! The temporary folder of one kernel: the cells' crate, its build, and the socket. Kernels never
//! share a folder.
//!
//! A killed kernel leaves its folder behind, and also its programs if the cell process was killed
//! with it. The next kernel ends these programs and removes the folder.

use std::fs::File;
use std::path::{Path, PathBuf};

use azureml_kernel_helpers::own;

use crate::programs;

const PREFIX: &str = "azureml-kernel-";
const LOCK: &str = "lock";
const SOCKET: &str = "cell.sock";

/// The folder; removed on drop by the process that created it.
#[derive(Debug)]
pub struct Folder {
    folder: tempfile::TempDir,
    /// Held while the kernel lives; a folder whose lock is free belongs to a kernel that was
    /// killed.
    // Never read; the lock is held until the folder is dropped.
    #[allow(dead_code)]
    lock: File,
}

impl Folder {
    /// Creates a folder, and removes the folders of killed kernels.
    pub fn new() -> std::io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> std::io::Result<Self> {
        // In a folder writable by others, they could rename its entries.
        own::check_temporary(parent)?;
        // Tags contain the path of the socket, so it must not depend on symbolic links.
        let parent = &parent.canonicalize()?;
        remove_stale(parent);
        // The name is unpredictable, and the folder is private to this user.
        let folder = own::staging(PREFIX, parent)?;
        // The file is locked before the rename, so that under its final name it is always locked.
        let unnamed = folder.path().join("lock.new");
        let lock = own::create(&unnamed)?;
        lock.lock()?;
        std::fs::rename(&unnamed, folder.path().join(LOCK))?;
        Ok(Self { folder, lock })
    }

    /// The folder for the sources and libraries of cells.
    pub(crate) fn cells(&self) -> PathBuf {
        self.folder.path().join("cells")
    }

    /// The folder of the crate of an engine that builds one.
    pub fn crate_folder(&self) -> PathBuf {
        self.folder.path().join("crate")
    }

    /// The socket on which the kernel listens for the cell process.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// A folder that stands for missing standard library sources.
    pub fn no_sources(&self) -> PathBuf {
        self.folder.path().join("no-rust-src")
    }
}

fn remove_stale(parent: &Path) {
    let names = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(PREFIX));
    for name in names {
        // Folders of other users may match the prefix and contain anything.
        let folder = parent.join(&name);
        let stale = own::check(&folder, &folder).is_ok()
            && own::open(&folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if !stale {
            continue;
        }
        // The programs are identified by the folder's path, so it is removed after them.
        programs::end_left(&folder.join(SOCKET));
        if let Err(error) = own::remove(parent, &name) {
            tracing::debug!(%error, folder = %folder.display(), "a killed kernel's folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_others_stop_no_kernel_and_are_left_alone() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::os::unix::fs::{chown, symlink};
        let parent = tempfile::tempdir().expect("a temporary folder");
        let scratch = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(scratch.path().join("precious"), "").expect("the folder is ours");
        std::fs::write(scratch.path().join(LOCK), "").expect("the folder is ours");
        own::mark(scratch.path()).expect("the folder is ours");
        let named = |name: &str| parent.path().join(format!("{PREFIX}{name}"));
        for name in ["fifo", "link", "socket", "theirs"] {
            std::fs::create_dir(named(name)).expect("the folder is ours");
            own::mark(&named(name)).expect("the folder is ours");
        }
        mknodat(CWD, named("fifo").join(LOCK), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        symlink(scratch.path().join(LOCK), named("link").join(LOCK)).expect("a link");
        mknodat(
            CWD,
            named("socket").join(LOCK),
            FileType::Socket,
            Mode::RWXU,
            0,
        )
        .expect("it");
        symlink(scratch.path(), named("linked")).expect("a link");
        std::fs::write(named("theirs").join(LOCK), "").expect("the folder is ours");
        if chown(named("theirs"), Some(65534), None).is_err() {
            eprintln!("not tried: a folder of another user (this test is not run by root)");
            std::fs::remove_dir_all(named("theirs")).expect("it is ours");
        }
        let before = std::fs::read_dir(parent.path()).expect("a folder").count();
        let folder = Folder::new_in(parent.path()).expect("nothing blocks");
        drop(folder);
        let after = std::fs::read_dir(parent.path()).expect("a folder").count();
        assert_eq!(before, after);
        assert!(scratch.path().join("precious").exists());
    }

    #[test]
    fn the_folder_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().expect("a temporary folder");
        let mode = |mode| {
            std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(mode))
                .expect("it is ours");
        };
        mode(0o1777);
        let folder = Folder::new_in(parent.path()).expect("a folder");
        let about = folder.folder.path().metadata().expect("it is there");
        assert_eq!(about.permissions().mode() & 0o7777, 0o700);
        mode(0o777);
        let refused = Folder::new_in(parent.path()).expect_err("others can rename it");
        assert!(refused.to_string().contains("other users"), "{refused}");
    }

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
