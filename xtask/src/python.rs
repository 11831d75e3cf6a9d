//! Python environments under `target/venv`, each from a list of exact versions in `xtask/python`.

use crate::error::{Error, Result};
use crate::report::Step;
use crate::tools::Tools;
use crate::{lock, place, process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An environment; its list has its name.
#[derive(Clone, Copy)]
pub struct Environment {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
}

/// Runs notebooks: Jupyter's client; our kernel is installed there.
pub const LAB: Environment = Environment {
    name: "lab",
    why: "Jupyter's client, which runs notebooks",
};
/// The same for people.
pub const JUPYTERLAB: Environment = Environment {
    name: "jupyterlab",
    why: "JupyterLab, which shows notebooks",
};
/// What people use the kernel with: JupyterLab in a browser, papermill, nbgrader.
pub const FRONT_ENDS: Environment = Environment {
    name: "front-ends",
    why: "JupyterLab in a browser, papermill and nbgrader, judges",
};
/// The judge of metrics; its packages clash with Azure ML's.
pub const MLFLOW: Environment = Environment {
    name: "mlflow",
    why: "MLflow's own client, a judge",
};
/// MLflow's server with its UI: what the local workspace's pages are compared with.
pub const MLFLOW_SERVER: Environment = Environment {
    name: "mlflow-server",
    why: "MLflow's own server, with which our pages are compared",
};
/// The judge of the local workspace.
pub const AZURE_AI_ML: Environment = Environment {
    name: "azure-ai-ml",
    why: "Azure ML's own client, a judge",
};
/// The judge of models.
pub const TORCH: Environment = Environment {
    name: "torch",
    why: "PyTorch itself and what else opens models, judges",
};
/// Starts trainings of several processes; Azure ML's images have it from elsewhere.
pub const MPI: Environment = Environment {
    name: "mpi",
    why: "Open MPI, which starts several processes together",
};

impl Environment {
    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        place::target().join("venv").join(self.name)
    }

    /// A program in it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder().join("bin").join(name)
    }

    /// Makes it as its list says, unless it is so already.
    pub fn provide(&self, step: &Step, tools: &Tools) -> Result<()> {
        let list = place::root().join(format!("xtask/python/{}.txt", self.name));
        make(step, self.name, &self.folder(), &list, tools)
    }
}

/// A list with those that it includes.
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

/// Makes the environment in `folder` from a list, unless it was made from the same one.
fn make(step: &Step, name: &str, folder: &Path, list: &Path, tools: &Tools) -> Result<()> {
    let listed = read(list)?;
    // Links inside the environment lead to the interpreter, and its scripts name the folder.
    let wanted = format!("{}\n{}\n{listed}", tools.python_version, folder.display());
    let stamp = folder.join("made-from.txt");
    let lock = lock::take(&folder.with_extension("lock"), step)?;
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    // Were this process killed, pip would go on writing: so it holds the lock, too.
    let run = |log: &str, mut command: Command| {
        command.stdin(lock.try_clone().map_err(Error::io("lock", folder))?);
        process::run(step, &format!("python-{name}-{log}"), command)
    };
    // Its files cannot be made elsewhere and moved here, because they name the folder. The stamp, which comes last and
    // is cleared first, says that they are complete.
    let mut venv = process::command(&tools.python);
    venv.args(["-m", "venv", "--clear"]).arg(folder);
    run("venv", venv)?;
    let pip = || {
        let mut pip = process::command(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--no-input"])
            .args(["--progress-bar", "off", "--disable-pip-version-check"])
            .args(["--root-user-action", "ignore"])
            .env("PYTHONUNBUFFERED", "1");
        pip
    };
    // Old versions of pip do not understand some of the packages: the list begins with the pip that installs the rest.
    if let Some(newest) = listed.lines().find(|line| line.starts_with("pip==")) {
        let mut itself = pip();
        itself.arg(newest);
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

    /// Stands in for Python: clears and fills the environment, and notes each time that it began and that it came to
    /// its end.
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
        // Another list, another environment: again once.
        assert_eq!(make_all("pip==1\none==2\n"), "begins\nends\n".repeat(2));
        // And when only what it includes has changed.
        let included = home.path().join("included.txt");
        let including = "pip==1\n--requirement included.txt\n";
        for (version, times) in [(1, 3), (2, 4)] {
            fs::write(&included, format!("two=={version}\n")).expect("a list");
            assert_eq!(make_all(including), "begins\nends\n".repeat(times));
        }
    }
}
