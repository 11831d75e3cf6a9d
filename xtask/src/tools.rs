//! Required tools: Rust, a C++ compiler, Python.

use crate::error::{Error, Result};
use crate::process::{ask, command, on_path};
use std::path::PathBuf;

/// Oldest version of Python that the pinned packages support.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// The found tools.
pub struct Tools {
    /// The Python interpreter for the environments.
    pub python: PathBuf,
    /// Its version, e.g. `Python 3.11.7`.
    pub python_version: String,
    /// The version of rustc, e.g. `rustc 1.95.0 (…)`.
    pub rustc_version: String,
}

/// Finds the tools.
pub fn find() -> Result<Tools> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut version = command(rustc);
    version.arg("--version");
    let rustc_version = ask(version).ok_or_else(|| Error::Missing {
        what: "there is no working rustc on the PATH, which compiles the cells".to_owned(),
        hint: "install Rust from https://rustup.rs".to_owned(),
    })?;
    let (python, python_version) = python()?;
    if !["c++", "g++", "clang++"].into_iter().any(on_path) && std::env::var_os("CXX").is_none() {
        return Err(Error::Missing {
            what: "there is no C++ compiler on the PATH, which builds PyTorch's bindings"
                .to_owned(),
            hint:
                "install one (Debian and Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`)"
                    .to_owned(),
        });
    }
    Ok(Tools {
        python,
        python_version,
        rustc_version,
    })
}

/// Whether the user is root.
pub fn is_root() -> bool {
    let mut id = command("id");
    id.arg("-u");
    ask(id).is_some_and(|id| id == "0")
}

fn python() -> Result<(PathBuf, String)> {
    let mut found = None;
    for name in ["python3", "python"] {
        let mut version = command(name);
        version.arg("--version");
        let Some(version) = ask(version) else {
            continue;
        };
        if parse(&version).is_some_and(|version| version >= OLDEST_PYTHON) {
            return with_venv(PathBuf::from(name), version);
        }
        found.get_or_insert(version);
    }
    let (major, minor) = OLDEST_PYTHON;
    Err(Error::Missing {
        what: match found {
            Some(version) => format!(
                "{version} is too old for Jupyter's client; {major}.{minor} or newer is needed"
            ),
            None => "there is no working python3 on the PATH, which runs Jupyter".to_owned(),
        },
        hint: format!(
            "install Python {major}.{minor} or newer (Debian and Ubuntu: `apt install python3 python3-venv`)"
        ),
    })
}

fn with_venv(python: PathBuf, version: String) -> Result<(PathBuf, String)> {
    let mut modules = command(&python);
    modules.args(["-c", "import ensurepip, venv"]);
    if ask(modules).is_none() {
        return Err(Error::Missing {
            what: format!(
                "{version} cannot make virtual environments: its module ensurepip is missing"
            ),
            hint: "install it (Debian and Ubuntu: `apt install python3-venv`)".to_owned(),
        });
    }
    Ok((python, version))
}

/// Returns the first two numbers of e.g. `Python 3.11.7`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse("Python 3.9.18") < Some(OLDEST_PYTHON));
        assert!(parse("Python 3.10.0rc1") >= Some(OLDEST_PYTHON));
        assert!(parse("Python 3.14") >= Some(OLDEST_PYTHON));
        assert_eq!(parse("pypy"), None);
    }
}
