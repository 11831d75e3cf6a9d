//! Removal of sets that are no longer used.
//!
//! A set is used while a process holds it, which locks its manifest, and while a kernelspec refers
//! to it. Only the caller knows the kernelspecs.

use crate::build::{LOCK, TARGET, UMBRELLA_FOLDER, UNFINISHED};
use crate::error::{Error, io};
use crate::layout::{self, MANIFEST};
use crate::own;
use crate::set;
use std::fs;
use std::path::Path;

/// Number of newest sets that are kept even if unused, so that switching back to one takes no time.
/// Each has some ten megabytes.
const KEPT: usize = 4;

/// Removes all sets except the newest ones and those in use, and the remains of killed builds. When
/// no set is left, also removes the build folders. `named` returns whether a kernelspec refers to
/// the set in a folder.
///
/// Does nothing during a build. Files that cannot be removed are kept; they only use disk space.
pub fn prune(named: &dyn Fn(&Path) -> bool) {
    if let Ok(cache) = set::cache() {
        prune_in(&cache, named);
    }
}

fn prune_in(cache: &Path, named: &dyn Fn(&Path) -> bool) {
    let lock = own::open(&cache.join(LOCK));
    let Some(_lock) = lock.ok().filter(|lock| lock.try_lock().is_ok()) else {
        return;
    };
    let mut sets = Vec::new();
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let folder = entry.path();
        let name = entry.file_name();
        let unfinished = name.to_string_lossy().starts_with(UNFINISHED);
        if folder.join(MANIFEST).is_file() && !unfinished {
            if let Ok(modified) = entry.metadata().and_then(|data| data.modified()) {
                sets.push((modified, folder));
            }
        } else if unfinished || layout::facades_folder(&folder).is_dir() {
            // Left by a build or a removal that was killed.
            let _ = own::remove(cache, &name);
        }
    }
    sets.sort();
    let surplus = sets.len().saturating_sub(KEPT);
    for (_, folder) in &sets[..surplus] {
        if !named(folder) {
            // Sets that cannot be removed are tried again the next time.
            let _ = remove(folder);
        }
    }
    if sets.is_empty() {
        for folder in [TARGET, UMBRELLA_FOLDER] {
            let _ = own::remove(cache, folder.as_ref());
        }
    }
}

/// Removes the set in a folder unless a process holds it; returns whether it was removed.
///
/// # Errors
/// If a file cannot be removed.
pub fn remove(folder: &Path) -> Result<bool, Error> {
    let manifest = folder.join(MANIFEST);
    let file = own::open(&manifest).map_err(io("read", &manifest))?;
    if file.try_lock().is_err() {
        return Ok(false);
    }
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Ok(false);
    };
    // The library is removed first: if this process is killed, no kernel uses the incomplete set.
    let library = layout::library(folder);
    match fs::remove_file(&library) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("remove", &library)(error));
        }
        _ => {}
    }
    own::remove(parent, name).map_err(io("remove", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::{Helpers, Manifest};
    use crate::toolchain::Toolchain;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    fn toolchain() -> Toolchain {
        Toolchain {
            rustc: "rustc".into(),
            cargo: "cargo".into(),
            version: "rustc 1.0.0".to_owned(),
            host: "here".to_owned(),
            sysroot: "/".into(),
            libdir: "/".into(),
        }
    }

    /// Creates a cache with this number of sets, the oldest first.
    fn cache_with(count: u64) -> (tempfile::TempDir, Vec<std::path::PathBuf>) {
        let cache = tempfile::tempdir().expect("a folder");
        fs::write(cache.path().join(LOCK), "").expect("a file");
        for folder in [TARGET, UMBRELLA_FOLDER] {
            let folder = cache.path().join(folder);
            fs::create_dir(&folder).expect("a folder");
            own::mark(&folder).expect("the folder is ours");
        }
        let sets = (0..count).map(|number| {
            let folder = cache.path().join(number.to_string());
            fs::create_dir_all(layout::facades_folder(&folder)).expect("a folder");
            own::mark(&folder).expect("the folder is ours");
            fs::create_dir(layout::deps_folder(&folder)).expect("a folder");
            fs::write(layout::library(&folder), "library").expect("the folder is ours");
            let manifest = Manifest {
                rustc: toolchain().label(),
                crates: Vec::new(),
            };
            set::finish(&folder, &manifest).expect("the folder is ours");
            let age = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            let opened = File::open(&folder).expect("it is there");
            opened.set_modified(age).expect("the folder is ours");
            folder
        });
        let sets = sets.collect();
        (cache, sets)
    }

    #[test]
    fn the_newest_sets_and_those_that_are_needed_stay() {
        let (cache, sets) = cache_with(8);
        let held = Helpers::open(&sets[1], &toolchain()).expect("a set");
        prune_in(cache.path(), &|set| set == sets[2]);
        let left = || -> Vec<bool> { sets.iter().map(|set| set.exists()).collect() };
        let expected = [false, true, true, false, true, true, true, true];
        assert_eq!(left(), expected);
        drop(held);
        prune_in(cache.path(), &|set| set == sets[2]);
        let expected = [false, false, true, false, true, true, true, true];
        assert_eq!(left(), expected);
        assert!(cache.path().join(TARGET).exists());
    }

    #[test]
    fn what_killed_builds_left_is_no_set_and_goes() {
        let (cache, sets) = cache_with(4);
        for name in ["unfinished-a", "unfinished-b", "half-removed"] {
            let folder = cache.path().join(name);
            fs::create_dir_all(layout::facades_folder(&folder)).expect("a folder");
            own::mark(&folder).expect("the folder is ours");
        }
        prune_in(cache.path(), &|_| false);
        assert!(sets.iter().all(|set| set.exists()));
        let left = fs::read_dir(cache.path()).expect("a folder").count();
        assert_eq!(left, sets.len() + 3, "the lock and the build's two folders");
    }

    #[test]
    fn nothing_goes_while_something_is_built() {
        let (cache, sets) = cache_with(5);
        let build = File::open(cache.path().join(LOCK)).expect("it is there");
        build.lock().expect("nobody else has it");
        prune_in(cache.path(), &|_| false);
        assert!(sets.iter().all(|set| set.exists()));
    }

    #[test]
    fn the_last_set_takes_the_build_folders_with_it() {
        let (cache, sets) = cache_with(1);
        assert!(remove(&sets[0]).expect("the folder is ours"));
        prune_in(cache.path(), &|_| false);
        assert!(!cache.path().join(TARGET).exists());
        assert!(!cache.path().join(UMBRELLA_FOLDER).exists());
    }

    #[test]
    fn removal_of_sets_spares_what_is_not_marked_or_behind_a_link() {
        let (cache, _) = cache_with(0);
        let scratch = tempfile::tempdir().expect("a folder");
        fs::write(scratch.path().join("precious"), "data").expect("the folder is ours");
        fs::create_dir_all(layout::facades_folder(scratch.path())).expect("a folder");
        for name in ["unfinished-link", "link", TARGET] {
            let link = cache.path().join(name);
            let _ = fs::remove_dir_all(&link);
            std::os::unix::fs::symlink(scratch.path(), link).expect("the folder is ours");
        }
        // A folder of the user with the name of one of the kernel's folders.
        let users = cache.path().join(UMBRELLA_FOLDER);
        fs::remove_file(users.join(own::MARK)).expect("it is there");
        fs::write(users.join("precious"), "data").expect("the folder is ours");
        prune_in(cache.path(), &|_| false);
        assert!(scratch.path().join("precious").exists());
        assert!(users.join("precious").exists());
        assert!(cache.path().join("link").exists());
    }

    #[test]
    fn sets_that_others_can_change_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (cache, sets) = cache_with(1);
        Helpers::open(&sets[0], &toolchain()).expect("a set");
        let library = layout::library(&sets[0]);
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(cache.path(), open).expect("it is ours");
        for changed in [
            cache.path(),
            &sets[0],
            &layout::deps_folder(&sets[0]),
            &library,
        ] {
            let mode = |mode| fs::set_permissions(changed, fs::Permissions::from_mode(mode));
            mode(0o777).expect("it is ours");
            let refused = Helpers::open(&sets[0], &toolchain()).expect_err("others can change it");
            assert!(matches!(refused, Error::NotOwn(_)), "{refused}");
            assert!(refused.to_string().contains("\nhint: "), "{refused}");
            mode(0o755).expect("it is ours");
        }
        Helpers::open(&sets[0], &toolchain()).expect("a set");
    }

    #[test]
    fn a_set_that_a_process_holds_is_not_removed() {
        let (_cache, sets) = cache_with(1);
        let held = Helpers::open(&sets[0], &toolchain()).expect("a set");
        assert!(!remove(&sets[0]).expect("nothing to do"));
        drop(held);
        assert!(remove(&sets[0]).expect("the folder is ours"));
        assert!(!sets[0].exists());
    }
}
