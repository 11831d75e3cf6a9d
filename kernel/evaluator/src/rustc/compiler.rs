//! Calling `rustc`, without cargo: one crate a cell.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::diagnostics::Message;
use crate::env;
use crate::toolchain::Toolchain;

/// The edition of cells.
const EDITION: &str = "2024";

/// Begins a name that goes into the identity of every type of a cell, so that it must be the same in all of an epoch.
const METADATA: &str = "-Cmetadata=cells";

/// The compiler with what all cells have in common.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    rustc: PathBuf,
    folder: PathBuf,
    /// Libraries that cells link to.
    pub(super) libraries: Vec<Library>,
    pub(super) opt_level: String,
    /// Whether the compiler would link by lld, which for libraries as small as these takes longer than the system's linker.
    lld_is_default: bool,
    /// Variables for what macros read while compiling (`:build_env`).
    pub(super) environment: Vec<(String, String)>,
    /// See [`Session::epoch`](super::session::Session::epoch).
    pub(super) epoch: u64,
}

/// Crates that cells can use, finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Library {
    /// Names and files.
    pub(super) crates: Vec<(String, PathBuf)>,
    /// Where what they depend on is found, by the compiler and by the loader.
    pub(super) folders: Vec<PathBuf>,
    /// Where what they need of other languages is found, by the linker and by the loader.
    pub(super) native: Vec<PathBuf>,
    /// Libraries that are no crates.
    pub(super) linked: Vec<PathBuf>,
    /// A crate that must be named for its library to be linked.
    pub(super) umbrella: Option<String>,
}

impl Library {
    /// Whether its files are still there.
    pub(super) fn is_there(&self) -> bool {
        // A power loss may have left an empty one.
        let is_whole = |file: &Path| file.metadata().is_ok_and(|about| about.len() > 0);
        self.crates.iter().all(|(_, file)| is_whole(file))
    }
}

/// What the compiler is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output<'a> {
    /// Only whether the code is right.
    Check,
    /// A library that is loaded and run.
    Cell {
        /// Where it goes.
        library: &'a Path,
        /// Where the types of its variables go, when they are wanted.
        types: Option<&'a Path>,
    },
    /// A library that later cells link to.
    Items {
        /// Where it goes.
        library: &'a Path,
    },
}

/// What the compiler has made of a source.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) success: bool,
    pub(super) messages: Vec<Message>,
    /// What it printed besides, such as the word of a crash.
    pub(super) noise: String,
}

impl Compiled {
    /// Its errors.
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

    /// Where sources and libraries of cells are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The arguments by which crates are found, those of `extra` besides the others.
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

    /// A source file of the folder with its macros expanded, as far as the compiler can.
    pub(super) fn expand(&self, file: &str) -> std::io::Result<String> {
        let mut command = Command::new(&self.rustc);
        env::without_build_settings(&mut command);
        let output = command
            .current_dir(&self.folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Released compilers print it, too, when they are asked like this.
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
            // At all levels: what a cell does is not to depend on how well it is optimised.
            .args(["-Coverflow-checks=yes", "-Cdebug-assertions=yes"])
            .args(["-Cdebuginfo=0", "-Ccodegen-units=1"])
            // The compiler's own files: two crates of one name may be compiled at once.
            .arg(format!(
                "-Cextra-filename=-{}",
                file.trim_end_matches(".rs")
            ));
        // The older kind of search path also holds for what the libraries of dependencies need.
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
