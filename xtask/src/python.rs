//! Python environments under `target/venv`, each from a list of exact versions in `xtask/python`.

use crate::error::{Error, Result};
use crate::place;
use crate::process;
use crate::report::Step;
use crate::tools::Tools;
use std::fs;
use std::path::PathBuf;

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
/// The judge of metrics; its packages clash with Azure ML's.
pub const MLFLOW: Environment = Environment {
    name: "mlflow",
    why: "MLflow's own client, a judge",
};
/// The judge of the local workspace.
pub const AZURE_AI_ML: Environment = Environment {
    name: "azure-ai-ml",
    why: "Azure ML's own client, a judge",
};
/// The judge of models.
pub const TORCH: Environment = Environment {
    name: "torch",
    why: "PyTorch itself, a judge",
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
        let wanted = fs::read_to_string(&list).map_err(Error::io("read", &list))?;
        let folder = self.folder();
        // Links inside the environment lead to the interpreter, and its scripts name the folder.
        let wanted = format!("{}\n{}\n{wanted}", tools.python_version, folder.display());
        let stamp = folder.join("made-from.txt");
        if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
            return Ok(());
        }
        let log = format!("python-{}", self.name);
        let mut venv = process::command(&tools.python);
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run(step, &log, venv)?;
        // Old versions of pip do not understand some of the packages: the list begins with the pip that installs the rest.
        for first in [true, false] {
            let mut pip = process::command(self.program("python"));
            pip.args([
                "-m",
                "pip",
                "install",
                "--no-input",
                "--progress-bar",
                "off",
            ])
            .args([
                "--disable-pip-version-check",
                "--root-user-action",
                "ignore",
            ])
            .env("PYTHONUNBUFFERED", "1");
            match wanted
                .lines()
                .find(|line| first && line.starts_with("pip=="))
            {
                Some(newest) => pip.arg(newest),
                None => pip.arg("--requirement").arg(&list),
            };
            process::run(step, &log, pip)?;
        }
        fs::write(&stamp, wanted).map_err(Error::io("write", &stamp))
    }
}
