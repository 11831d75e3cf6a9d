//! Azurite, an independent blob service for tests of uploads and downloads. It runs on Node.js and
//! is installed from npm in pinned versions.

use crate::error::{Error, Result};
use crate::process::{self, command};
use crate::report::Step;
use crate::{apt, lock, place, tools};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Oldest version of Node.js that the pinned packages support.
const OLDEST: u32 = 20;

/// Node.js and npm.
struct Node {
    version: String,
    npm: PathBuf,
}

/// Installs Azurite if needed; returns its program. Node.js must exist, unless the user is root and
/// can install the system's.
pub fn azurite(step: &Step) -> Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&paths).collect();
    let node = find(&folders, tools::is_root(), step)?;
    let folder = place::target().join("node");
    packages(step, &node, &place::root().join("xtask/node"), &folder)?;
    Ok(folder.join("node_modules/.bin/azurite-blob"))
}

fn find(folders: &[PathBuf], is_root: bool, step: &Step) -> Result<Node> {
    let reason = match look(folders) {
        Ok(node) => return Ok(node),
        // The system's version may not be newer, so the existing one is kept.
        Err(reason @ Lack::Old(_)) => reason,
        Err(Lack::Missing(_)) => match apt::install(folders, is_root, &["nodejs", "npm"], step) {
            Ok(()) => match look(folders) {
                Ok(node) => return Ok(node),
                Err(reason) => reason,
            },
            Err(reason) => Lack::Missing(reason),
        },
    };
    Err(Error::Missing {
        what: match reason {
            Lack::Old(version) => {
                format!("Node.js {version} is too old for Azurite; {OLDEST} or newer is needed")
            }
            Lack::Missing(why) => format!(
                "there is no Node.js with npm on the PATH, which runs Azurite, the blob service of the tests ({why})"
            ),
        },
        hint: format!(
            "install Node.js {OLDEST} or newer with npm (Debian and Ubuntu: `apt install nodejs npm`) and run this command again"
        ),
    })
}

/// The reason why no usable Node.js exists.
enum Lack {
    Missing(String),
    Old(String),
}

fn look(folders: &[PathBuf]) -> Result<Node, Lack> {
    let on_path = |name: &str| {
        let found = folders.iter().map(|folder| folder.join(name));
        found.into_iter().find(|program| program.is_file())
    };
    let (Some(node), Some(npm)) = (on_path("node"), on_path("npm")) else {
        return Err(Lack::Missing(
            "its package holds no such program".to_owned(),
        ));
    };
    let mut version = command(node);
    version.arg("--version");
    let version = process::ask(version)
        .ok_or_else(|| Lack::Missing("the one that is there does not start".to_owned()))?;
    match major(&version) {
        Some(major) if major >= OLDEST => Ok(Node { version, npm }),
        _ => Err(Lack::Old(version)),
    }
}

/// Returns the first number of e.g. `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Installs the packages of the lists in `lists` into `folder`, unless the folder was built from
/// the same lists.
fn packages(step: &Step, node: &Node, lists: &Path, folder: &Path) -> Result<()> {
    let mut wanted = format!("{}\n", node.version);
    let names = ["package.json", "package-lock.json"];
    for name in names {
        let list = lists.join(name);
        wanted += &fs::read_to_string(&list).map_err(Error::io("read", &list))?;
    }
    let stamp = folder.join("made-from.txt");
    let lock = lock::take(&folder.with_extension("lock"), step)?;
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    // The stamp marks the folder as complete: it is cleared first and written last.
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    fs::write(&stamp, "").map_err(Error::io("write", &stamp))?;
    for name in names {
        let to = folder.join(name);
        fs::copy(lists.join(name), &to).map_err(Error::io("write", &to))?;
    }
    let mut install = command(&node.npm);
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        // npm holds the lock too, because it would continue to write if this process were killed.
        .stdin(lock.try_clone().map_err(Error::io("lock", folder))?);
    process::run(step, "npm", install)?;
    fs::write(&stamp, wanted).map_err(Error::io("write", &stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v18.19.0"), Some(18));
        assert_eq!(major("node"), None);
    }

    #[test]
    fn whoever_has_no_node_is_told_why_and_what_to_do() {
        let report = Report::new();
        let step = report.step("Azurite", "");
        let Err(error) = find(&[], true, &step) else {
            panic!("there is none");
        };
        assert!(
            error.to_string().ends_with("(apt-get is not here)"),
            "{error}"
        );
        assert!(error.hint().contains("apt install nodejs npm"), "{error}");
    }
}
