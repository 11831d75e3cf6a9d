//! The browser in which tests open JupyterLab: the system's Chromium.

use crate::error::{Error, Result};
use crate::process::{self, command};
use crate::report::Step;
use crate::{apt, tools};
use std::env;
use std::path::{Path, PathBuf};

/// Names of the program in different distributions.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// The Debian package.
const PACKAGE: &str = "chromium";

/// Finds Chromium, or installs the system's package if the user is root.
pub fn provide(step: &Step) -> Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&paths).collect();
    provide_from(&folders, tools::is_root(), step)
}

/// Like [`provide`], with the programs in these folders.
fn provide_from(folders: &[PathBuf], is_root: bool, step: &Step) -> Result<PathBuf> {
    if let Some(found) = first(folders, works) {
        return Ok(found);
    }
    let reason = match apt::install(folders, is_root, &[PACKAGE], step) {
        Ok(()) => "its package holds no such program".to_owned(),
        Err(reason) => reason,
    };
    first(folders, works).ok_or_else(|| Error::Missing {
        what: format!("there is no Chromium on the PATH, which shows JupyterLab ({reason})"),
        hint: "install it (Debian: `apt install chromium`; Fedora: `dnf install chromium`; Ubuntu: Google's package `google-chrome-stable`) and run this command again".to_owned(),
    })
}

/// Returns the first program with one of the names in these folders that works.
fn first(folders: &[PathBuf], works: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file() && works(program))
}

/// Whether the program starts. Ubuntu's `chromium-browser` is only a script that refers to another
/// package.
fn works(program: &Path) -> bool {
    let mut version = command(program);
    version.arg("--version");
    process::ask(version).is_some_and(|said| said.contains("Chrom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use std::fs;
    use tempfile::TempDir;

    /// Writes a program with a child process, because a file that this process has open for writing
    /// cannot be executed.
    fn program(folder: &TempDir, name: &str, script: &str) {
        let mut write = command("sh");
        write
            .args([
                "-c",
                "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod +x \"$1\"",
                "sh",
            ])
            .arg(folder.path().join(name))
            .arg(script);
        assert!(write.status().expect("sh starts").success());
    }

    /// Creates a system whose `apt-get` logs its arguments and then runs `apt`.
    fn system(apt: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            "cd '{}' && echo \"$DEBIAN_FRONTEND: $*\" >>called || exit\n{apt}",
            folder.path().display()
        );
        program(&folder, "apt-get", &script);
        folder
    }

    const MAKES_ONE: &str = "[ \"$1\" = update ] || \
        { printf '#!/bin/sh\\necho Chromium 1.2\\n' >chromium && chmod +x chromium; }";

    fn provide_in(folder: &TempDir, is_root: bool) -> Result<PathBuf> {
        let folders = [folder.path().to_owned()];
        provide_from(&folders, is_root, &Report::new().step("Chromium", ""))
    }

    fn called(folder: &TempDir) -> String {
        fs::read_to_string(folder.path().join("called")).unwrap_or_default()
    }

    /// Returns the reason of the failure; the rest of the message and the hint are constant.
    fn reason(provided: Result<PathBuf>) -> String {
        let error = provided.expect_err("there is none");
        assert!(error.hint().contains("apt install chromium"), "{error}");
        let said = error.to_string();
        said.strip_prefix("there is no Chromium on the PATH, which shows JupyterLab (")
            .and_then(|said| said.strip_suffix(')'))
            .unwrap_or_else(|| panic!("{said}"))
            .to_owned()
    }

    #[test]
    fn a_browser_that_is_there_is_taken_and_nothing_installed() {
        let system = system(MAKES_ONE);
        program(&system, "google-chrome", "echo Google Chrome 1.2");
        let found = provide_in(&system, true).expect("it is there");
        assert_eq!(found, system.path().join("google-chrome"));
        assert_eq!(called(&system), "");
    }

    #[test]
    fn root_gets_the_package() {
        let system = system(MAKES_ONE);
        let found = provide_in(&system, true).expect("apt-get makes it");
        assert_eq!(found, system.path().join("chromium"));
        assert_eq!(
            called(&system),
            "noninteractive: update\nnoninteractive: install -y --no-install-recommends chromium\n"
        );
    }

    #[test]
    fn whoever_cannot_have_it_installed_is_told_why_and_what_to_do() {
        let untouched = system(MAKES_ONE);
        assert_eq!(
            reason(provide_in(&untouched, false)),
            "only root may install it"
        );
        assert_eq!(called(&untouched), "");

        let other = tempfile::tempdir().expect("a folder");
        assert_eq!(reason(provide_in(&other, true)), "apt-get is not here");

        // Ubuntu's package contains a script that refers to another package.
        let empty = system(":");
        assert_eq!(
            reason(provide_in(&empty, true)),
            "its package holds no such program"
        );

        let offline = system("echo 'E: Unable to locate package chromium'; exit 100");
        let said = reason(provide_in(&offline, true));
        assert!(said.contains("Unable to locate package chromium"), "{said}");
        assert_eq!(called(&offline), "noninteractive: update\n");
    }

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
