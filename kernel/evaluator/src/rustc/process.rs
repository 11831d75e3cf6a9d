//! The kernel's handle of the process that runs cells.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::compatibility::{EXECUTION_COMPLETE, IS_RUNTIME};
use crate::env;
use crate::tag::Tag;

/// The parameters for starting cell processes.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The binary that calls [`child_hook`](crate::child_hook).
    pub(super) program: PathBuf,
    /// The socket on which the kernel listens.
    pub(super) socket: PathBuf,
    /// The runtime library that cells link to.
    pub(super) runtime: PathBuf,
    /// The environment of the kernel at its start, with the variables that the user has set
    /// (`:env`).
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The process ended. Contains its exit status or the error.
#[derive(Debug)]
pub(super) struct Ended(pub(super) String);

impl Process {
    pub(super) fn start(recipe: &Recipe) -> std::io::Result<Self> {
        let mut command = Command::new(&recipe.program);
        command
            .env_clear()
            .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
            .env(env::ROLE, env::ROLE_CELL)
            .env(IS_RUNTIME, "1")
            .env(env::LINK, &recipe.socket)
            .env(env::CELL_RUNTIME, &recipe.runtime)
            // A separate process group: signals to the kernel's group are handled by the kernel.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let _wide = WideStack::new();
        let mut child = Tag::of_cells(&recipe.socket)
            .name_to(&mut command)
            .spawn()?;
        let missing = || std::io::Error::other("the cell process has no pipes");
        Ok(Self {
            commands: child.stdin.take().ok_or_else(missing)?,
            answers: BufReader::new(child.stdout.take().ok_or_else(missing)?),
            child,
        })
    }

    /// Loads a library and calls a function of it. Blocks until the function returns.
    pub(super) fn run(&mut self, library: &Path, function: &str) -> Result<(), Ended> {
        let command = format!("LOAD_AND_RUN {} {function}\n", library.display());
        if self.commands.write_all(command.as_bytes()).is_err() {
            return Err(self.ended());
        }
        let mut line = String::new();
        loop {
            line.clear();
            match self.answers.read_line(&mut line) {
                Ok(length) if length > 0 => {
                    if line.trim_end() == EXECUTION_COMPLETE {
                        return Ok(());
                    }
                }
                _ => return Err(self.ended()),
            }
        }
    }

    fn ended(&mut self) -> Ended {
        Ended(self.child.wait().map_or_else(
            |error| error.to_string(),
            |status: ExitStatus| status.to_string(),
        ))
    }
}

/// The stack size of the thread that runs cells. Variables are moved into and out of a cell, so a
/// variable that fits a normal 8 MiB stack needs a multiple of its size.
const STACK: u64 = 64 << 20;

/// Raises the stack limit for child processes, until it is dropped.
struct WideStack {
    before: Rlimit,
    // The limit applies to the whole process, so only one thread may change it at a time.
    _turn: MutexGuard<'static, ()>,
}

impl WideStack {
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = getrlimit(Resource::Stack);
        // An unlimited stack stays unlimited.
        let current = before.current.map(|size| {
            let most = before.maximum.unwrap_or(u64::MAX);
            size.max(STACK.min(most))
        });
        let wide = Rlimit {
            current,
            maximum: before.maximum,
        };
        if let Err(error) = setrlimit(Resource::Stack, wide) {
            tracing::warn!(%error, "cells have the stack of this process");
        }
        Self {
            before,
            _turn: turn,
        }
    }
}

impl Drop for WideStack {
    fn drop(&mut self) {
        // Ignores errors: restoring the former limit is always permitted.
        setrlimit(Resource::Stack, self.before).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ignores errors: the process may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
