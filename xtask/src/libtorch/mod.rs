//! libtorch, which the training program links against and runs with: the user's installation, or a
//! copy that is downloaded once into the user's cache.
//!
//! Two symbolic links point to it in either case: one in the build folder, for building, and one in
//! the cache, for jobs. A job gets libtorch from the local workspace, which may have been started
//! earlier and in another environment, so environment variables of this process would not reach it.

mod fetch;
mod folder;

use crate::error::{Error, Result};
use crate::place;
use crate::report::Step;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

pub use folder::version;

/// The only libtorch version that tch 0.24 supports.
pub const VERSION: &str = "2.11.0";

/// The variables with which users select their own libtorch; the first one has priority.
pub const VARIABLES: [&str; 2] = ["AZUREML_LIBTORCH", "LIBTORCH"];

/// The symbolic link in the user's cache that the local workspace uses when a job starts.
const FOR_JOBS: &str = "libtorch";

/// Finds libtorch or downloads it with `python`'s pip, and updates the symbolic links:
/// `target/libtorch/torch`, where `.cargo/config.toml` expects it, and the link for jobs. Returns
/// its folder, which contains `include` and `lib`.
///
/// The search order is: `AZUREML_LIBTORCH`, `LIBTORCH`, the user's cache, pip.
pub fn provide(step: &Step, python: &Path) -> Result<PathBuf> {
    let for_building = place::root().join("target/libtorch/torch");
    let cache = place::cache()?;
    let libtorch = match given(&for_building, |variable| env::var_os(variable))? {
        Some(given) => given,
        None => fetch::provide(&cache, python, has_gpu(), step)?,
    };
    link(&for_building, &libtorch)?;
    link(&cache.join(FOR_JOBS), &libtorch)?;
    Ok(libtorch)
}

/// Returns the libtorch that the user's environment selects.
fn given(linked: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>> {
    for name in VARIABLES {
        let Some(folder) = variable(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        // `.cargo/config.toml` sets LIBTORCH to the project's link for all programs that cargo
        // runs; this is not a choice of the user.
        if Path::new(&folder) != linked {
            return asked_for(name, Path::new(&folder)).map(Some);
        }
    }
    Ok(None)
}

/// Returns the folder in a variable as an absolute path, because it is also used from other
/// folders.
fn asked_for(variable: &str, folder: &Path) -> Result<PathBuf> {
    let found = version(folder).filter(|_| folder::missing(folder).is_none());
    let held = match found {
        Some(found) if folder::fits(&found) => {
            return fs::canonicalize(folder).map_err(Error::io("read", folder));
        }
        Some(found) => format!("libtorch {found}; {VERSION} is needed"),
        None => "no libtorch".to_owned(),
    };
    Err(Error::Missing {
        what: format!("{variable} names {}, which holds {held}", folder.display()),
        hint: format!(
            "unset {variable} to let this command fetch libtorch {VERSION}, or set it to the `torch` folder of a PyTorch {VERSION}"
        ),
    })
}

fn has_gpu() -> bool {
    Command::new("nvidia-smi")
        .arg("--list-gpus")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// Makes `link` a symbolic link to `target`, replacing an earlier link.
fn link(link: &Path, target: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|led_to| led_to == target) {
        return Ok(());
    }
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let new = link.with_extension(process::id().to_string());
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(Error::io("remove", &new)(error));
    }
    symlink(target, &new).map_err(Error::io("create", &new))?;
    fs::rename(&new, link).map_err(Error::io("create", link))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a folder that looks like libtorch `version`.
    fn libtorch(folder: &Path, version: &str) {
        let include = folder.join("include/torch/csrc/api/include/torch");
        fs::create_dir_all(&include).expect("a folder");
        fs::create_dir_all(folder.join("lib")).expect("a folder");
        fs::write(include.join("torch.h"), "").expect("a file");
        fs::write(folder.join("lib/libtorch_cpu.so"), "").expect("a file");
        fs::write(folder.join("build-version"), version).expect("a file");
    }

    #[test]
    fn a_given_folder_must_hold_the_right_version() {
        let home = tempfile::tempdir().expect("a folder");
        let given = home.path();
        let error = |folder| asked_for("LIBTORCH", folder).expect_err("an error");
        assert!(
            error(given)
                .to_string()
                .ends_with("which holds no libtorch")
        );
        libtorch(given, "2.10.0+cpu\n");
        let text = error(given).to_string();
        assert!(
            text.ends_with("holds libtorch 2.10.0+cpu; 2.11.0 is needed"),
            "{text}"
        );
        libtorch(given, "2.11.0+cpu\n");
        assert!(asked_for("LIBTORCH", given).is_ok());
    }

    #[test]
    fn either_variable_names_it_and_our_own_link_is_nobodys_wish() {
        let home = tempfile::tempdir().expect("a folder");
        let [one, other, linked] = ["one", "other", "linked"].map(|name| home.path().join(name));
        libtorch(&one, "2.11.0");
        libtorch(&other, "2.11.0");
        let found = |first: Option<&Path>, second: Option<&Path>| {
            let value = |name: &str| {
                let value = if name == "LIBTORCH" { second } else { first };
                value.map(|path| path.as_os_str().to_owned())
            };
            given(&linked, value).expect("a libtorch")
        };
        assert_eq!(found(None, None), None);
        assert_eq!(found(None, Some(&linked)), None);
        assert_eq!(found(None, Some(&other)), Some(other.clone()));
        assert_eq!(found(Some(&one), Some(&other)), Some(one.clone()));
        // A relative path is resolved against the current directory.
        let relative = Path::new("../../../../../../../../../../..")
            .join(one.strip_prefix("/").expect("it is absolute"));
        assert_eq!(found(None, Some(&relative)), Some(one));
    }

    #[test]
    fn a_link_follows_what_was_found_last() {
        let home = tempfile::tempdir().expect("a folder");
        let linked = home.path().join("target/libtorch");
        for found in ["one", "one", "two"] {
            link(&linked, &home.path().join(found)).expect("a link");
            let target = fs::read_link(&linked).expect("the link");
            assert_eq!(target, home.path().join(found));
        }
        let left = fs::read_dir(home.path().join("target")).expect("a folder");
        assert_eq!(left.count(), 1);
    }
}
