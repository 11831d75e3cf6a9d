//! libtorch, which the training program links to and runs with: the user's own, or fetched once into the user's cache.
//!
//! Whichever it is, two links lead to it: one in the build folder, for building, and one in the cache, for jobs. A job
//! gets it from the local workspace, which may have been started long ago and elsewhere: what the environment says here
//! would not reach it.

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

/// The libtorch that tch 0.24 compiles against; it takes no other.
pub const VERSION: &str = "2.11.0";

/// The variables by which users name a libtorch of their own, the first before the second.
pub const VARIABLES: [&str; 2] = ["AZUREML_LIBTORCH", "LIBTORCH"];

/// The link in the user's cache, where the local workspace looks when a job starts.
const FOR_JOBS: &str = "libtorch";

/// Finds libtorch, or fetches it with `python`'s pip, and lets the links lead to it: `target/libtorch/torch`, where
/// `.cargo/config.toml` expects it, and the one that jobs follow. Returns its folder, the one that holds `include` and
/// `lib`.
///
/// In this order: `AZUREML_LIBTORCH`, `LIBTORCH`, the user's cache, pip.
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

/// The libtorch that the user's environment asks for.
fn given(linked: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>> {
    for name in VARIABLES {
        let Some(folder) = variable(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        // `.cargo/config.toml` sets LIBTORCH to our own link for everything that cargo runs: that is nobody's wish.
        if Path::new(&folder) != linked {
            return asked_for(name, Path::new(&folder)).map(Some);
        }
    }
    Ok(None)
}

/// The folder that a variable names, as an absolute path: it is used from other folders than this one.
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

/// Lets `link` lead to `target`, whatever it led to before.
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

    /// A folder that looks like libtorch `version`.
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
        // A relative path is one that leads from here.
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
