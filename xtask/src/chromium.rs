//! The browser that shows JupyterLab to the tests: the system's Chromium.

use crate::error::{Error, Result};
use crate::process::{self, command};
use crate::report::Step;
use crate::{lock, place, tools};
use std::env;
use std::path::{Path, PathBuf};

/// What it is called, by distribution.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// The Debian package.
const PACKAGE: &str = "chromium";

/// Finds a Chromium, or installs the system's package as root.
pub fn provide(step: &Step) -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let reason = if !process::on_path("apt-get") {
        "apt-get is not here".to_owned()
    } else if !tools::is_root() {
        "only root may install it".to_owned()
    } else {
        let _lock = lock::take(&place::target().join("chromium.lock"), step)?;
        step.print(&format!("installing {PACKAGE} by apt-get"));
        match install(step) {
            Ok(()) => "its package holds no such program".to_owned(),
            Err(error) => error.brief(),
        }
    };
    find().ok_or_else(|| Error::Missing {
        what: format!("there is no Chromium on the PATH, which shows JupyterLab ({reason})"),
        hint: "install it (Debian: `apt install chromium`; Fedora: `dnf install chromium`; Ubuntu: Google's package `google-chrome-stable`) and run this command again".to_owned(),
    })
}

fn install(step: &Step) -> Result<()> {
    for (log, arguments) in [
        ("chromium-apt-update", &["update"][..]),
        (
            "chromium-apt",
            &["install", "-y", "--no-install-recommends", PACKAGE],
        ),
    ] {
        let mut apt = command("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(step, log, apt)?;
    }
    Ok(())
}

fn find() -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&paths).collect();
    first(&folders, works)
}

/// The first of the names that is in one of the folders and works.
fn first(folders: &[PathBuf], works: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file() && works(program))
}

/// Ubuntu's `chromium-browser` is a script that asks for another package.
fn works(program: &Path) -> bool {
    let mut version = command(program);
    version.arg("--version");
    process::ask(version).is_some_and(|said| said.contains("Chrom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_program_that_only_asks_for_another_package_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        for name in ["chromium-browser", "google-chrome"] {
            fs::write(path(name), "").expect("a file");
        }
        let folders = [path("nothing"), folder.path().to_owned()];
        let all = first(&folders, |_| true);
        assert_eq!(all, Some(path("chromium-browser")));
        let working = first(&folders, |program| !program.ends_with("chromium-browser"));
        assert_eq!(working, Some(path("google-chrome")));
        assert_eq!(first(&folders, |_| false), None);
    }
}
