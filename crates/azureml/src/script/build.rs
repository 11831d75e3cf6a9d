//! Runs `cargo build` for the binary target of a script.

use crate::env;
use crate::error::{Error, Result};
use crate::progress::Progress;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The path of the binary.
    pub binary: PathBuf,
    /// The version of `torch-sys` that the binary links, if any.
    pub torch_sys: Option<String>,
    /// The duration of the build.
    pub duration: Duration,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Target {
    fn is_binary(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }
}

/// The name of the binary target whose source is `script`.
pub async fn find_target(folder: &Path, script: &str) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::invalid(
            format!(
                "{script} is a Rust script, and {} has no Cargo.toml",
                folder.display()
            ),
            "a Rust script is a binary target of the Cargo package in the source directory: `cargo init` there makes one",
        ));
    }
    let output = cargo(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .await
        .map_err(|error| no_cargo(&error))?;
    if !output.status.success() {
        return Err(Error::invalid(
            format!(
                "{} cannot be read by cargo:\n{}",
                manifest.display(),
                String::from_utf8_lossy(&output.stderr).trim_end()
            ),
            "mend the Cargo.toml; `cargo metadata` in that folder shows the same",
        ));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| Error::Answer {
            call: "cargo metadata".to_owned(),
            reason: error.to_string(),
        })?;
    choose(
        &metadata,
        &canonical(&manifest),
        &canonical(&folder.join(script)),
        script,
    )
}

fn choose(metadata: &Metadata, manifest: &Path, source: &Path, script: &str) -> Result<String> {
    let package = metadata
        .packages
        .iter()
        .find(|package| canonical(&package.manifest_path) == manifest);
    let Some(package) = package else {
        return Err(Error::invalid(
            format!("{} has no package", manifest.display()),
            "the source directory holds the package itself, not a workspace of packages",
        ));
    };
    let binaries = || package.targets.iter().filter(|target| target.is_binary());
    if let Some(target) = binaries().find(|target| canonical(&target.src_path) == source) {
        return Ok(target.name.clone());
    }
    let others: Vec<String> = binaries()
        .map(|target| {
            let folder = manifest.parent().unwrap_or(manifest);
            let path = canonical(&target.src_path);
            path.strip_prefix(folder)
                .unwrap_or(&path)
                .display()
                .to_string()
        })
        .collect();
    let listing = if others.is_empty() {
        "none at all".to_owned()
    } else {
        others.join(", ")
    };
    let stem = Path::new(script)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("train");
    Err(Error::invalid(
        format!(
            "{script} is no binary target of package `{}`; there is {listing}",
            package.name
        ),
        format!("add to its Cargo.toml: [[bin]] name = \"{stem}\", path = \"{script}\""),
    ))
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

/// Builds the target.
pub async fn run(folder: &Path, script: &str, target: &str, progress: &Progress) -> Result<Built> {
    let begin = Instant::now();
    let mut child = cargo(folder)
        .args([
            "build",
            "--release",
            "--bin",
            target,
            "--message-format=json-render-diagnostics",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // If the caller drops the submit, the build is stopped.
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| no_cargo(&error))?;
    let messages = read_messages(child.stdout.take());
    let talk = read_talk(child.stderr.take(), script, progress);
    let ((binary, torch_sys), rendered) = tokio::join!(messages, talk);
    let status = child.wait().await.map_err(|error| no_cargo(&error))?;
    match binary {
        Some(binary) if status.success() => Ok(Built {
            binary,
            torch_sys,
            duration: begin.elapsed(),
        }),
        _ => Err(Error::ScriptBuild {
            script: script.to_owned(),
            target: target.to_owned(),
            folder: folder.to_owned(),
            rendered,
        }),
    }
}

/// The built binary and the version of `torch-sys`, from cargo's messages.
async fn read_messages(
    stdout: Option<impl AsyncRead + Unpin>,
) -> (Option<PathBuf>, Option<String>) {
    let (mut binary, mut torch_sys) = (None, None);
    let Some(stdout) = stdout else {
        return (None, None);
    };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Build scripts may print other lines.
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        if let Some(version) = version_of("torch-sys", &message.package_id) {
            torch_sys = Some(version.to_owned());
        }
        if message.target.is_some_and(|target| target.is_binary()) && message.executable.is_some() {
            binary = message.executable;
        }
    }
    (binary, torch_sys)
}

/// The version in a package id such as `registry+https://…#torch-sys@0.24.0`, if the id is of
/// `package`.
fn version_of<'a>(package: &str, id: &'a str) -> Option<&'a str> {
    let (source, spec) = id.rsplit_once('#')?;
    match spec.split_once('@') {
        Some((name, version)) => (name == package).then_some(version),
        // The id omits the name of a package whose folder has the same name.
        None => (source.rsplit('/').next() == Some(package)).then_some(spec),
    }
}

/// Reads cargo's output, updates the progress, and returns the diagnostics of rustc without cargo's
/// progress lines.
async fn read_talk(
    stderr: Option<impl AsyncRead + Unpin>,
    script: &str,
    progress: &Progress,
) -> String {
    let mut rendered = String::new();
    let mut compiled = 0;
    let Some(stderr) = stderr else {
        return rendered;
    };
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(what) = progress_of(&line) {
            if line.trim_start().starts_with("Compiling") {
                compiled += 1;
            }
            progress.update(&format!("Building {script}: {what} ({compiled} compiled)"));
        } else {
            rendered.push_str(&line);
            rendered.push('\n');
        }
    }
    rendered.trim_matches('\n').to_owned() + "\n"
}

/// A progress line of cargo: a verb that ends in column 12.
fn progress_of(line: &str) -> Option<&str> {
    let verb = line.get(..12)?.trim_start();
    let is_verb = verb.len() > 3
        && verb.chars().all(char::is_alphabetic)
        && verb.starts_with(char::is_uppercase);
    (is_verb && line.get(12..13) == Some(" ") && line.starts_with(' ')).then(|| line.trim_start())
}

/// Prefixes of the variables with which cargo describes a program's own package. Build scripts that
/// depend on them would run again, and with them all dependent builds.
const OF_PACKAGE: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
];

fn cargo(folder: &Path) -> Command {
    let program = env::var(env::CARGO).unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(program);
    command
        // Cargo searches its configuration from this folder upward.
        .current_dir(folder)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never")
        .env_remove(env::NOTEBOOK_DISPLAY_FD)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let is_of_package = |name: &str| OF_PACKAGE.iter().any(|start| name.starts_with(start));
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
    command
}

fn no_cargo(error: &std::io::Error) -> Error {
    Error::invalid(
        format!("cargo cannot be run: {error}"),
        "a Rust script is built where it is submitted; Rust comes with cargo, and it must be on PATH",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_hears_nothing_of_the_package_that_submits_it() {
        // Cargo has started this test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo(Path::new("."));
        let mut removed = command
            .as_std()
            .get_envs()
            .filter(|(_, value)| value.is_none());
        assert!(removed.any(|(name, _)| name == "CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn cargos_progress_is_told_from_rustcs_words() {
        for (line, expected) in [
            ("   Compiling tch v0.24.0", Some("Compiling tch v0.24.0")),
            (
                "    Finished `release` profile [optimized] target(s) in 0.02s",
                Some("Finished `release` profile [optimized] target(s) in 0.02s"),
            ),
            (
                "    Blocking waiting for file lock",
                Some("Blocking waiting for file lock"),
            ),
            ("error[E0308]: mismatched types", None),
            ("  --> train.rs:2:18", None),
            ("   |", None),
            ("2  |     let x: u32 = 1;", None),
            ("           Some text of a note", None),
        ] {
            assert_eq!(progress_of(line), expected, "{line}");
        }
    }

    #[test]
    fn package_ids_tell_the_version() {
        let id = "registry+https://github.com/rust-lang/crates.io-index#torch-sys@0.24.0";
        assert_eq!(version_of("torch-sys", id), Some("0.24.0"));
        assert_eq!(version_of("torch", id), None);
        assert_eq!(
            version_of("torch-sys", "path+file:///x/torch-sys#0.24.0"),
            Some("0.24.0")
        );
        assert_eq!(version_of("torch-sys", "path+file:///x/tch#0.24.0"), None);
    }

    #[test]
    fn a_script_that_is_no_target_lists_those_that_are() {
        let metadata = Metadata {
            packages: vec![Package {
                name: "lab".into(),
                manifest_path: "/lab/Cargo.toml".into(),
                targets: vec![
                    Target {
                        name: "lab".into(),
                        kind: vec!["lib".into()],
                        src_path: "/lab/src/lib.rs".into(),
                    },
                    Target {
                        name: "train".into(),
                        kind: vec!["bin".into()],
                        src_path: "/lab/train.rs".into(),
                    },
                ],
            }],
        };
        let check = |script: &str| {
            choose(
                &metadata,
                Path::new("/lab/Cargo.toml"),
                &Path::new("/lab").join(script),
                script,
            )
        };
        assert_eq!(check("train.rs").unwrap(), "train");
        insta::assert_snapshot!(check("test.rs").unwrap_err(), @r#"
        test.rs is no binary target of package `lab`; there is train.rs
        hint: add to its Cargo.toml: [[bin]] name = "test", path = "test.rs"
        "#);
    }
}
