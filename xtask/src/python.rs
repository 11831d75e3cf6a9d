//! Python environments in `target/venv`, each from a list of pinned versions in `xtask/python`. The
//! list contains the hashes of each version's files (written by `xtask/python/pin_hashes.py`), and
//! pip rejects all other files.

use crate::error::{Error, Result};
use crate::report::Step;
use crate::tools::Tools;
use crate::{lock, place, process, remove};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python environment; its package list has the same name.
#[derive(Clone, Copy)]
pub struct Environment {
    /// The name.
    pub name: &'static str,
    /// The purpose.
    pub why: &'static str,
}

/// Runs notebooks with Jupyter's client; the kernel is installed there.
pub const LAB: Environment = Environment {
    name: "lab",
    why: "Jupyter's client, which runs notebooks",
};
/// JupyterLab for users.
pub const JUPYTERLAB: Environment = Environment {
    name: "jupyterlab",
    why: "JupyterLab, which shows notebooks",
};
/// Front ends of the kernel: JupyterLab in a browser, papermill, nbgrader.
pub const FRONT_ENDS: Environment = Environment {
    name: "front-ends",
    why: "JupyterLab in a browser, papermill and nbgrader",
};
/// The reference client for metrics; its packages conflict with those of Azure ML.
pub const MLFLOW: Environment = Environment {
    name: "mlflow",
    why: "MLflow's client, as a reference",
};
/// MLflow's server with its UI, with which the local workspace's pages are compared.
pub const MLFLOW_SERVER: Environment = Environment {
    name: "mlflow-server",
    why: "MLflow's own server, with which our pages are compared",
};
/// The reference client of the local workspace.
pub const AZURE_AI_ML: Environment = Environment {
    name: "azure-ai-ml",
    why: "Azure ML's client, as a reference",
};
/// The SDK v1, whose scripts run in jobs.
pub const AZUREML_CORE: Environment = Environment {
    name: "azureml-core",
    why: "Azure ML's SDK v1, which training scripts use",
};
/// Packages with which training scripts read data.
pub const AZUREML_FSSPEC: Environment = Environment {
    name: "azureml-fsspec",
    why: "Azure ML's file system and tables of data, which training scripts use",
};
/// The reference implementation for models.
pub const TORCH: Environment = Environment {
    name: "torch",
    why: "PyTorch and other programs that open models, as references",
};
/// Open MPI, which starts distributed trainings. Azure ML's images contain another build of it.
pub const MPI: Environment = Environment {
    name: "mpi",
    why: "Open MPI, which starts several processes together",
};

impl Environment {
    /// Returns the folder of the environment.
    pub fn folder(&self) -> PathBuf {
        place::target().join("venv").join(self.name)
    }

    /// Whether its packages have files for this Python.
    pub fn is_for(&self, tools: &Tools) -> bool {
        // `Python 3.12.1`
        let minor = tools.python_version.split('.').nth(1);
        let minor = minor.and_then(|minor| minor.parse::<u32>().ok());
        self.name != AZUREML_FSSPEC.name || minor.is_none_or(|minor| minor < 14)
    }

    /// Returns the path of a program in the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder().join("bin").join(name)
    }

    /// Installs the environment from its list, unless it is up to date.
    pub fn provide(&self, step: &Step, tools: &Tools) -> Result<()> {
        let list = place::root().join(format!("xtask/python/{}.txt", self.name));
        make(step, self.name, &self.folder(), &list, tools)
    }
}

/// Reads a list and the lists that it includes.
fn read(list: &Path) -> Result<String> {
    let mut text = fs::read_to_string(list).map_err(Error::io("read", list))?;
    let included: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("--requirement "))
        .map(|name| read(&list.with_file_name(name)))
        .collect::<Result<_>>()?;
    text.extend(included);
    Ok(text)
}

/// Creates the environment in `folder` from a list, unless it was created from the same list.
fn make(step: &Step, name: &str, folder: &Path, list: &Path, tools: &Tools) -> Result<()> {
    let listed = read(list)?;
    // Included because the environment has links to the interpreter, and its scripts contain the
    // folder's path.
    let wanted = format!("{}\n{}\n{listed}", tools.python_version, folder.display());
    let stamp = folder.join("made-from.txt");
    let lock = lock::take(&folder.with_extension("lock"), step)?;
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    // pip holds the lock too, because it would continue to write if this process were killed.
    let run = |log: &str, mut command: Command| {
        command.stdin(lock.try_clone().map_err(Error::io("lock", folder))?);
        process::run(step, &format!("python-{name}-{log}"), command)
    };
    // `venv --clear` empties the folder even if it is a symbolic link to another one.
    remove::check(folder, folder.parent().unwrap_or(folder))?;
    // The environment cannot be built elsewhere and moved here, because its files contain the
    // folder's path. The stamp marks it as complete: it is cleared first and written last.
    let mut venv = process::command(&tools.python);
    venv.args(["-m", "venv", "--clear"]).arg(folder);
    run("venv", venv)?;
    let pip = || {
        let mut pip = process::command(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--no-input", "--require-hashes"])
            .args(["--progress-bar", "off", "--disable-pip-version-check"])
            .args(["--root-user-action", "ignore"])
            .env("PYTHONUNBUFFERED", "1");
        pip
    };
    // Old versions of pip do not support some of the packages, so the pinned pip is installed
    // first.
    let newest = list.with_file_name("pip.txt");
    if newest.is_file() {
        let mut itself = pip();
        itself.arg("--requirement").arg(newest);
        run("pip-itself", itself)?;
    }
    let mut packages = pip();
    packages.arg("--requirement").arg(list);
    run("packages", packages)?;
    fs::write(&stamp, wanted).map_err(Error::io("write", &stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    /// Replaces Python: clears and fills the environment, and logs each start and each end.
    const PYTHON: &str = r#"#!/bin/sh
        echo begins >> "$(dirname "$0")/calls"
        while [ $# -gt 1 ]; do shift; done
        rm -rf "$1"
        mkdir -p "$1/bin"
        printf '#!/bin/sh\n[ -e "%s/complete" ] && [ ! -e "%s/made-from.txt" ]\n' "$1" "$1" > "$1/bin/python"
        chmod +x "$1/bin/python"
        touch "$1/complete"
        echo ends >> "$(dirname "$0")/calls"
    "#;

    #[test]
    fn two_at_once_make_one_environment() {
        let home = tempfile::tempdir().expect("a folder");
        let python = home.path().join("python3");
        fs::write(&python, PYTHON).expect("a script");
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("its mode");
        let list = home.path().join("list.txt");
        let tools = Tools {
            python,
            python_version: "Python 3.12.1".to_owned(),
            rustc_version: String::new(),
        };
        let folder = home.path().join("venv/lab");
        let report = Report::new();
        let make_all = |listed: &str| {
            fs::write(&list, listed).expect("a list");
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let step = report.step("environment", "");
                        make(&step, "test", &folder, &list, &tools).expect("an environment");
                    });
                }
            });
            fs::read_to_string(home.path().join("calls")).expect("the calls")
        };
        assert_eq!(make_all("pip==1\none==1\n"), "begins\nends\n");
        // Another list results in another environment, created once.
        assert_eq!(make_all("pip==1\none==2\n"), "begins\nends\n".repeat(2));
        // The same if only an included list has changed.
        let included = home.path().join("included.txt");
        let including = "pip==1\n--requirement included.txt\n";
        for (version, times) in [(1, 3), (2, 4)] {
            fs::write(&included, format!("two=={version}\n")).expect("a list");
            assert_eq!(make_all(including), "begins\nends\n".repeat(times));
        }
    }

    /// Returns the lists of the repository, with each version's line joined with its hashes.
    fn requirements() -> Vec<(String, String)> {
        let folder = place::root().join("xtask/python");
        let mut requirements = Vec::new();
        for entry in fs::read_dir(folder).expect("the lists") {
            let list = entry.expect("an entry").path();
            if list.extension().is_none_or(|extension| extension != "txt") {
                continue;
            }
            let text = fs::read_to_string(&list).expect("a list");
            let name = list.display().to_string();
            let lines = text.replace("\\\n", " ");
            let named = lines.lines().filter(|line| line.contains("=="));
            requirements.extend(named.map(|line| (name.clone(), line.to_owned())));
        }
        requirements
    }

    #[test]
    fn every_pinned_version_has_the_hashes_of_its_files() {
        let requirements = requirements();
        assert!(requirements.len() > 200, "{}", requirements.len());
        for (list, line) in requirements {
            let hash = line.split_once("--hash=sha256:").map(|(_, rest)| rest);
            let digits = hash.map_or(0, |hash| {
                hash.bytes().take_while(u8::is_ascii_hexdigit).count()
            });
            assert_eq!(digits, 64, "{list}: {line}");
        }
    }

    /// Creates an empty wheel and prints its hash.
    const WHEEL: &str = r#"
import hashlib, pathlib, sys, zipfile
wheel = pathlib.Path(sys.argv[1]) / "thing-1-py3-none-any.whl"
with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("thing.py", "")
    archive.writestr("thing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
    archive.writestr("thing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr("thing-1.dist-info/RECORD", "")
print(hashlib.sha256(wheel.read_bytes()).hexdigest())
"#;

    #[test]
    fn a_wheel_with_other_contents_than_pinned_is_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let tools = crate::tools::find().expect("Python");
        let mut build = process::command(&tools.python);
        build.args(["-c", WHEEL]).arg(home.path());
        let hash = process::ask(build).expect("a wheel");
        let report = Report::new();
        let list = home.path().join("list.txt");
        let folder = home.path().join("venv");
        let here = home.path().display();
        for (hash, installed) in [(hash.as_str(), true), (&"0".repeat(64), false)] {
            let listed =
                format!("--no-index\n--find-links {here}\nthing==1 --hash=sha256:{hash}\n");
            fs::write(&list, listed).expect("a list");
            let step = report.step("environment", "");
            let made = make(&step, "test-hashes", &folder, &list, &tools);
            assert_eq!(
                made.is_ok(),
                installed,
                "{:?}",
                made.map_err(|e| e.to_string())
            );
            if let Err(error) = made {
                assert!(error.to_string().contains("HASHES"), "{error}");
            }
        }
    }
}
