//! Runs `rustc` without cargo, one crate per cell.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::diagnostics::Message;
use crate::env;
use crate::toolchain::Toolchain;

/// The edition of cells.
const EDITION: &str = "2024";

/// The start of the `-Cmetadata` argument. It is part of the identity of every type of a cell, so
/// it must be the same for all crates of an epoch.
const METADATA: &str = "-Cmetadata=cells";

/// The compiler and the settings that all cells share.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    rustc: PathBuf,
    folder: PathBuf,
    /// The libraries that cells link to.
    pub(super) libraries: Vec<Library>,
    pub(super) opt_level: String,
    /// Whether the compiler links with lld by default, which is slower than the system's linker for
    /// libraries of this size.
    lld_is_default: bool,
    /// Environment variables that macros read at compile time (`:build_env`).
    pub(super) environment: Vec<(String, String)>,
    /// See [`Session::epoch`](super::session::Session::epoch).
    pub(super) epoch: u64,
}

/// Compiled crates that cells can use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Library {
    /// The names and files of the crates.
    pub(super) crates: Vec<(String, PathBuf)>,
    /// The folders of their dependencies, for the compiler and the dynamic loader.
    pub(super) folders: Vec<PathBuf>,
    /// The folders of native libraries that they need, for the linker and the dynamic loader.
    pub(super) native: Vec<PathBuf>,
    /// Linked libraries that are not crates.
    pub(super) linked: Vec<PathBuf>,
    /// The bundle crate, which must be named so that its library is linked.
    pub(super) umbrella: Option<String>,
}

impl Library {
    /// Returns whether the files of the crates exist.
    pub(super) fn is_there(&self) -> bool {
        // A power loss may leave empty files.
        let is_whole = |file: &Path| file.metadata().is_ok_and(|about| about.len() > 0);
        self.crates.iter().all(|(_, file)| is_whole(file))
    }
}

/// The requested output of the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output<'a> {
    /// Only errors and warnings.
    Check,
    /// A library that is loaded and run.
    Cell {
        /// The path of the library.
        library: &'a Path,
        /// The path of the MIR output with the types of the variables, if needed.
        types: Option<&'a Path>,
    },
    /// A library that later cells link to.
    Items {
        /// The path of the library.
        library: &'a Path,
    },
}

/// The result of a compilation.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) success: bool,
    pub(super) messages: Vec<Message>,
    /// Output that is not a JSON message, such as the report of a compiler crash.
    pub(super) noise: String,
}

impl Compiled {
    /// Returns the errors.
    pub(super) fn errors(&self) -> Vec<&Message> {
        self.messages
            .iter()
            .filter(|message| message.is_error())
            .collect()
    }
}

impl Compiler {
    pub(super) fn new(toolchain: &Toolchain, folder: PathBuf) -> Self {
        Self {
            rustc: toolchain.rustc.clone(),
            folder,
            libraries: Vec::new(),
            opt_level: "0".to_owned(),
            lld_is_default: toolchain.host == "x86_64-unknown-linux-gnu",
            environment: Vec::new(),
            epoch: 0,
        }
    }

    /// Returns the folder of the sources and libraries of cells.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the arguments that locate crates, including those of `extra`.
    pub(super) fn crates(&self, extra: &[&Library]) -> Vec<OsString> {
        let mut arguments = Vec::new();
        for library in self.libraries.iter().chain(extra.iter().copied()) {
            for (name, file) in &library.crates {
                arguments.push(OsString::from("--extern"));
                arguments.push(with(&format!("{name}="), file));
            }
            let dependencies = library.folders.iter().map(|it| ("-Ldependency=", it));
            let native = library.native.iter().map(|it| ("-Lnative=", it));
            for (kind, folder) in dependencies.chain(native) {
                arguments.push(with(kind, folder));
            }
        }
        arguments
    }

    /// Returns a source file of the folder with its macros expanded, as far as the compiler
    /// succeeds.
    pub(super) fn expand(&self, file: &str) -> std::io::Result<String> {
        let mut command = Command::new(&self.rustc);
        env::without_build_settings(&mut command);
        let output = command
            .current_dir(&self.folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Enables the unstable `-Zunpretty` option in a stable compiler.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["--edition", EDITION, "-Zunpretty=expanded"])
            .args(["--crate-type=rlib", "--crate-name=expanded"])
            .args(self.crates(&[]))
            .arg(file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Compiles a source file of the folder as the crate `name`.
    pub(super) fn compile(
        &self,
        name: &str,
        file: &str,
        extra: &[&Library],
        output: Output<'_>,
    ) -> std::io::Result<Compiled> {
        let mut command = Command::new(&self.rustc);
        env::without_build_settings(&mut command);
        command
            .current_dir(&self.folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(["--crate-name", name, "--edition", EDITION])
            .arg(format!("{METADATA}{}", self.epoch))
            .args([
                "--error-format=json",
                "--json=artifacts",
                "-Cprefer-dynamic",
            ])
            .arg(format!("-Copt-level={}", self.opt_level))
            // Independent of the optimisation level, so that cells behave the same at all levels.
            .args(["-Coverflow-checks=yes", "-Cdebug-assertions=yes"])
            .args(["-Cdebuginfo=0", "-Ccodegen-units=1"])
            // Distinct intermediate files: two crates with the same name may be compiled
            // concurrently.
            .arg(format!(
                "-Cextra-filename=-{}",
                file.trim_end_matches(".rs")
            ));
        // `DT_RPATH`, unlike `DT_RUNPATH`, also applies to the libraries of dependencies.
        command.arg("-Clink-arg=-Wl,--disable-new-dtags");
        if self.lld_is_default {
            command.arg("-Clinker-features=-lld");
        }
        match output {
            Output::Check => {
                command
                    .args(["--crate-type=rlib", "--emit=metadata", "-o"])
                    .arg(self.folder.join(format!("lib{name}-check.rmeta")));
            }
            Output::Cell { library, types } => {
                let mut emit = with("--emit=link=", library);
                if let Some(types) = types {
                    emit.push(with(",mir=", types));
                }
                command.arg("--crate-type=cdylib").arg(emit);
            }
            Output::Items { library } => {
                command
                    .arg("--crate-type=dylib")
                    .arg(with("--emit=link=", library));
            }
        }
        command.args(self.crates(extra));
        for library in self.libraries.iter().chain(extra.iter().copied()) {
            for folder in library.folders.iter().chain(&library.native) {
                command.arg(with("-Clink-arg=-Wl,-rpath,", folder));
            }
            for file in &library.linked {
                command.arg(with("-Clink-arg=", file));
            }
        }
        let mut child = command
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes)?;
            said = String::from_utf8_lossy(&bytes).into_owned();
        }
        let success = child.wait()?.success();
        let noise: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("{\"$message_type\""))
            .collect();
        Ok(Compiled {
            success,
            messages: Message::read(&said),
            noise: noise.join("\n"),
        })
    }
}

fn with(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}
