//! Removal of folders that earlier runs created. Only folders below a given root are removed, and
//! symbolic links are not followed.

use crate::error::{Error, Result};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Removes `folder` with its content. It must be below `root`; a missing folder is not an error.
pub fn folder(folder: &Path, root: &Path) -> Result<()> {
    if !check(folder, root)? {
        return Ok(());
    }
    // `remove_dir_all` does not follow links either.
    fs::remove_dir_all(folder).map_err(Error::io("remove", folder))
}

/// Returns whether the folder exists. Fails for a symbolic link, and for a path that is not below
/// `root` after all links are resolved.
pub fn check(folder: &Path, root: &Path) -> Result<bool> {
    let refused = |reason: &str| Error::Content {
        path: folder.to_owned(),
        reason: format!(
            "{reason}; it is left alone\nhint: move it away and run this command again"
        ),
    };
    let found = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found.map_err(Error::io("find", folder))?,
    };
    if !found.is_dir() {
        return Err(refused("it is a link or a file where a folder should be"));
    }
    let real = |path: &Path| -> io::Result<_> { path.canonicalize() };
    let place = real(folder).map_err(Error::io("find", folder))?;
    let root = real(root).map_err(Error::io("find", root))?;
    if place == root || !place.starts_with(&root) {
        return Err(refused(&format!(
            "it does not lie below {}",
            root.display()
        )));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_folders_below_the_root_are_removed() {
        let home = tempfile::tempdir().expect("a folder");
        let (root, scratch) = (home.path().join("root"), home.path().join("scratch"));
        let kept = scratch.join("made/precious");
        for path in [&root.join("made/deep"), &scratch.join("made")] {
            fs::create_dir_all(path).expect("the folder is ours");
        }
        fs::write(&kept, "").expect("the folder is ours");
        symlink(&scratch, root.join("linked")).expect("a link");
        symlink(&scratch, root.join("made/deep/link")).expect("a link");
        for path in [
            root.join("linked"),
            root.join("linked/made"),
            root.join("../scratch/made"),
            root.clone(),
            kept.clone(),
        ] {
            let refused = folder(&path, &root).expect_err("it is not ours");
            assert!(refused.to_string().contains("\nhint: "), "{refused}");
        }
        folder(&root.join("made"), &root).expect("it is ours");
        folder(&root.join("made"), &root).expect("it has gone already");
        assert!(kept.exists() && root.exists() && !root.join("made").exists());
        // The build folder itself may be a symbolic link.
        symlink(&scratch, home.path().join("target")).expect("a link");
        let target = home.path().join("target");
        folder(&target.join("made"), &target).expect("it is ours");
        assert!(!kept.exists());
    }
}
