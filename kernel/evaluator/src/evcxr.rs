//! Cells by `evcxr`, driven through its public doors, with a cell process of ours.

mod assembler;
mod folder;
mod interrupt;
mod pump;
mod report;
mod text;

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use ::evcxr::{CommandContext, Error, EvalContext, EvalOutputs};
use azureml_kernel_helpers::{Error as HelpersError, Helpers};

use crate::child::{CellRuntimeError, cell_runtime};
use crate::env;
use crate::rust_src::RustSrc;
use crate::toolchain::{Toolchain, ToolchainError};
use crate::{
    CellError, Completion, Completions, Evaluator, Events, Interrupter, MimeBundle, Outcome,
    Variable,
};
use assembler::PRELUDE;
use folder::Folder;
use pump::{Message, Pump};

/// How cells are optimised unless the user says otherwise with `:opt`.
///
/// At `evcxr`'s own 2 a steady cell takes 0.3 s, at 0 it takes 0.2 s. What is heavy in a cell is in a crate; helper crates are built
/// optimised in any case.
const OPT_LEVEL: &str = "0";

/// How to start an evaluator.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Where finished libraries are; by default [`cache::root`](crate::cache::root).
    pub cache: Option<PathBuf>,
    /// The set of helper crates; by default the one that the environment names.
    pub helpers: Option<PathBuf>,
    /// The binary that calls [`child_hook`](crate::child_hook); by default the one that runs.
    pub program: Option<PathBuf>,
}

/// Why an evaluator could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The kernel's part of the cell process could not be built.
    #[error(transparent)]
    CellRuntime(#[from] CellRuntimeError),
    /// There is no place for the cache.
    #[error(
        "there is no place for finished libraries\nhint: set HOME, or AZUREML_KERNEL_CACHE to a folder"
    )]
    NoCache,
    /// The folder of this kernel could not be set up.
    #[error(
        "cannot set up a folder in {place}: {source}\nhint: make room there, or set TMPDIR to another folder"
    )]
    Folder {
        /// Where it should be.
        place: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `evcxr` could not set itself up.
    #[error("cells cannot be compiled: {0}\nhint: run `azureml-kernel doctor`")]
    Evcxr(String),
}

/// Compiles and runs cells by `evcxr`.
pub struct EvcxrEvaluator {
    // Dropped in this order: evcxr ends the cell process, the pump reads its last words, the folder goes.
    context: CommandContext,
    pump: Pump,
    _folder: Folder,
    helpers: Result<Helpers, HelpersError>,
    rust_src: RustSrc,
}

impl EvcxrEvaluator {
    /// Starts the evaluator and its cell process; takes seconds.
    ///
    /// Sets environment variables of this process, as `evcxr` itself does: call it before other threads use C code that reads them.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let toolchain = Toolchain::find()?;
        let cache = options
            .cache
            .or_else(crate::cache::root)
            .ok_or(StartError::NoCache)?;
        let runtime = cell_runtime(&toolchain, &cache)?;
        let rust_src = RustSrc::find(&toolchain);
        let helpers = match &options.helpers {
            Some(folder) => Helpers::open(folder, &toolchain),
            None => Helpers::current(&toolchain),
        };
        let in_folder = |source| StartError::Folder {
            place: std::env::temp_dir(),
            source,
        };
        let folder = Folder::new().map_err(in_folder)?;
        let pump = Pump::listen(&folder.socket()).map_err(in_folder)?;

        let program = match options.program {
            Some(program) => program,
            None => std::env::current_exe().map_err(in_folder)?,
        };
        let mut command = Command::new(&program);
        command
            .env(env::ROLE, env::ROLE_CELL)
            .env(env::LINK, folder.socket())
            .env(env::CELL_RUNTIME, runtime)
            // Signals to the kernel's group are the kernel's affair.
            .process_group(0);

        let context = {
            /// Two evaluators of one process must not read each other's variables.
            static ENVIRONMENT: Mutex<()> = Mutex::new(());
            let _turn = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
            prepare_environment(&folder, &rust_src, &mut command).map_err(in_folder)?;
            EvalContext::with_subprocess_command(command)
                .map_err(|error| StartError::Evcxr(error.to_string()))?
                .0
        };
        let mut evaluator = Self {
            context: CommandContext::with_eval_context(configure(
                context,
                &program,
                helpers.as_ref().ok(),
            )?),
            pump,
            _folder: folder,
            helpers,
            rust_src,
        };
        // As evcxr_jupyter does: dependencies and items of the user's own configuration.
        if let Err(error) = evaluator.context.execute(":load_config --quiet") {
            tracing::warn!(%error, "the configuration of evcxr was not loaded");
        }
        Ok(evaluator)
    }

    /// The helper crates that cells can use, or why there are none.
    pub fn helpers(&self) -> Result<&Helpers, &HelpersError> {
        self.helpers.as_ref()
    }

    /// Where the standard library's sources are.
    pub fn rust_src(&self) -> &RustSrc {
        &self.rust_src
    }

    /// Runs a cell and says how it ended.
    fn run(&mut self, code: &str) -> Outcome {
        let variables_before = self.variables();
        let gone_before = self.pump.shared.lock().processes_gone;
        let result = self.context.execute(code);
        if matches!(result, Err(Error::SubprocessTerminated(_))) {
            self.pump.shared.wait_for_last_words(gone_before);
        }
        let (end, load_error, interrupted) = {
            let mut state = self.pump.shared.lock();
            (
                std::mem::take(&mut state.end),
                state.load_error.take(),
                state.interrupted,
            )
        };
        let outcome = match result {
            Ok(outputs) => {
                if let Some(panic) = &end.panic {
                    let source = self.context.last_source().unwrap_or_default();
                    Err(report::panic(code, &source, panic))
                } else if let Some(error) = &end.error {
                    Err(report::message("Error", error))
                } else {
                    Ok(value(outputs, end.value))
                }
            }
            Err(Error::CompilationErrors(errors)) => {
                Err(self.with_hint(report::compile_errors(code, &errors), &errors))
            }
            Err(Error::SubprocessTerminated(how)) => {
                Err(process_died(&how, load_error.as_deref(), &variables_before))
            }
            Err(error) => {
                let error = report::message("CompileError", &error.to_string());
                Err(self.with_hint(error, &[]))
            }
        };
        if let Err(error) = &outcome
            && interrupted
        {
            return Outcome::Error(interrupted_error(error, &variables_before));
        }
        match outcome {
            Ok(value) => Outcome::Ok(value),
            Err(error) => Outcome::Error(error),
        }
    }

    /// Adds to an error about an unknown crate why helper crates are missing, when they are.
    fn with_hint(&self, mut error: CellError, errors: &[::evcxr::CompilationError]) -> CellError {
        let about_a_crate = errors
            .iter()
            .any(|error| matches!(error.code(), Some("E0432" | "E0433" | "E0463")));
        if let Err(reason) = &self.helpers
            && about_a_crate
        {
            error.traceback.push(format!("note: {reason}"));
        }
        if self.rust_src == RustSrc::Missing && error.evalue.contains("determine type of variable")
        {
            error.traceback.push(format!(
                "note: the sources of Rust's standard library are missing, from which types are known\n{}",
                crate::rust_src::HINT
            ));
        }
        error
    }
}

impl Evaluator for EvcxrEvaluator {
    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome {
        {
            let mut state = self.pump.shared.lock();
            state.busy = true;
            state.interrupted = false;
            state.end = assembler::RunEnd::default();
        }
        let sender = self.pump.sender.clone();
        let messages = Arc::clone(&self.pump.messages);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                let messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
                while let Ok(Message::Event(event)) = messages.recv() {
                    events.emit(event);
                }
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(code)));
            sender.send(Message::CellEnded).ok();
            outcome.unwrap_or_else(|_| Outcome::Error(evaluator_panicked()))
        });
        let clears = code.lines().any(|line| line.trim_end() == ":clear");
        if clears && let Err(error) = self.context.execute(&setup(self.helpers.as_ref().ok())) {
            tracing::warn!(%error, "`:clear` took away what every cell should have");
        }
        self.pump.shared.lock().busy = false;
        outcome
    }

    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        let offset = text::byte_offset(code, cursor);
        match self.context.completions(code, offset) {
            Ok(found) => {
                let matches = found.completions.into_iter().map(|completion| Completion {
                    text: completion.code,
                    kind: completion.kind.to_owned(),
                    signature: completion.label,
                });
                Completions {
                    matches: matches.collect(),
                    start: text::code_points(code, found.start_offset),
                    end: text::code_points(code, found.end_offset),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no completions");
                Completions {
                    matches: Vec::new(),
                    start: cursor,
                    end: cursor,
                }
            }
        }
    }

    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let offset = text::byte_offset(code, cursor);
        // The cursor may stand inside a word; what counts is the word.
        let rest = code[offset..]
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(code.len() - offset);
        let (plain, html) = self
            .context
            .hover_at(code, offset + rest)
            .inspect_err(|error| tracing::debug!(%error, "nothing to say"))
            .ok()?;
        if plain == "No documentation found" {
            return None;
        }
        Some(MimeBundle::from([
            ("text/plain".to_owned(), plain.into()),
            ("text/html".to_owned(), html.into()),
        ]))
    }

    fn variables(&self) -> Vec<Variable> {
        let mut variables: Vec<_> = self
            .context
            .variables_and_types()
            .map(|(name, type_name)| Variable {
                name: name.to_owned(),
                type_name: type_name.to_owned(),
            })
            .collect();
        variables.sort_by(|one, other| one.name.cmp(&other.name));
        variables
    }

    fn interrupter(&self) -> Interrupter {
        interrupt::interrupter(&self.pump.shared)
    }
}

/// Sets what `evcxr` and rust-analyzer read from the environment, and hides from builds what would change them.
fn prepare_environment(
    folder: &Folder,
    rust_src: &RustSrc,
    cell: &mut Command,
) -> std::io::Result<()> {
    let crate_folder = folder.crate_folder();
    std::fs::create_dir_all(&crate_folder)?;
    let sources = if let Some(sources) = rust_src.path() {
        sources.to_owned()
    } else {
        // rust-analyzer would run `rustup component add rust-src` by itself, over the network and without a word. A place that looks
        // like sources keeps it from that.
        let empty = folder.no_sources();
        std::fs::create_dir_all(empty.join("core"))?;
        empty
    };
    let original_sources = std::env::var_os(env::RUST_SRC_PATH);
    match original_sources {
        Some(original) => cell.env(env::RUST_SRC_PATH, original),
        None => cell.env_remove(env::RUST_SRC_PATH),
    };
    cell.env_remove(env::EVCXR_TMPDIR);
    for variable in env::BUILD_SETTINGS {
        if let Some(value) = std::env::var_os(variable) {
            cell.env(variable, value);
        }
    }
    // SAFETY: Rust's own functions lock the environment; `start` asks its callers to keep C code from reading it meanwhile.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(env::EVCXR_TMPDIR, &crate_folder);
        std::env::set_var(env::RUST_SRC_PATH, &sources);
        for variable in env::BUILD_SETTINGS {
            std::env::remove_var(variable);
        }
    }
    Ok(())
}

/// Gives cells the prelude and the helper crates.
fn configure(
    mut context: EvalContext,
    program: &Path,
    helpers: Option<&Helpers>,
) -> Result<EvalContext, StartError> {
    let failed = |error: Error| StartError::Evcxr(error.to_string());
    let mut state = context.state();
    state.set_opt_level(OPT_LEVEL).map_err(failed)?;
    if let Some(helpers) = helpers {
        for (variable, value) in helpers.build_env(program) {
            state.set_build_env(&variable, &value);
        }
        for (name, place) in facades(helpers) {
            state.add_dep(&name, &place).map_err(failed)?;
        }
    }
    context.eval_with_state(PRELUDE, state).map_err(failed)?;
    Ok(context)
}

/// The facades of the helper crates, as dependencies.
fn facades(helpers: &Helpers) -> impl Iterator<Item = (String, String)> {
    helpers.facades().iter().map(|facade| {
        // A path in quotes is written the same way in JSON and in TOML.
        let path = serde_json::json!(facade.path.to_string_lossy());
        (facade.name.clone(), format!("{{ path = {path} }}"))
    })
}

/// A cell that gives later cells the prelude and the helper crates again, when the user has cleared everything.
fn setup(helpers: Option<&Helpers>) -> String {
    let mut cell = String::new();
    for (name, place) in helpers.into_iter().flat_map(facades) {
        cell.extend([":dep ", &name, " = ", &place, "\n"]);
    }
    cell + PRELUDE
}

/// The cell's value: what its last expression showed, or what a command such as `:vars` answered.
fn value(outputs: EvalOutputs, shown: Option<MimeBundle>) -> Option<MimeBundle> {
    let answered: MimeBundle = outputs
        .content_by_mime_type
        .into_iter()
        .map(|(mime_type, content)| (mime_type, content.trim_end_matches('\n').into()))
        .collect();
    shown
        .filter(|shown| !is_unit(shown))
        .or_else(|| (!answered.is_empty()).then_some(answered))
}

/// Whether this is `()`: the value of a call that has none.
fn is_unit(value: &MimeBundle) -> bool {
    value.len() == 1 && value.get("text/plain").is_some_and(|text| text == "()")
}

/// evcxr or rust-analyzer has a bug; the kernel lives.
fn evaluator_panicked() -> CellError {
    let mut error = report::message("KernelError", "the evaluator failed on this cell");
    error
        .traceback
        .push("hint: write it differently; if other cells fail too, restart the kernel".to_owned());
    error
}

/// The process that ran the cell is gone, and its variables with it.
fn process_died(how: &str, load_error: Option<&str>, lost: &[Variable]) -> CellError {
    let how = how
        .rsplit("Subprocess terminated with status: ")
        .next()
        .unwrap_or(how)
        .trim();
    let what = match (load_error, how) {
        (Some(reason), _) => format!("the compiled cell could not be loaded: {reason}"),
        (None, "exit status: 0") => "the cell ended its process (exit code 0)".to_owned(),
        (None, how) if how.starts_with("exit status: ") => {
            format!(
                "the cell ended its process with exit code {}",
                &how["exit status: ".len()..]
            )
        }
        (None, how) => format!(
            "the cell's process was ended by {}",
            how.trim_start_matches("signal: ")
        ),
    };
    let mut error = report::message("ProcessDied", &what);
    error.traceback.push(lost_variables(lost));
    error.traceback.push(
        "hint: the kernel goes on with a new process; definitions and dependencies are still there"
            .to_owned(),
    );
    error
}

fn lost_variables(lost: &[Variable]) -> String {
    if lost.is_empty() {
        return "no variables were lost".to_owned();
    }
    let names: Vec<_> = lost
        .iter()
        .map(|variable| format!("`{}`", variable.name))
        .collect();
    format!("variables that were lost: {}", names.join(", "))
}

fn interrupted_error(error: &CellError, variables: &[Variable]) -> CellError {
    let mut interrupted = report::message("Interrupted", "the cell was stopped");
    if error.ename == "ProcessDied" {
        interrupted.traceback.push(lost_variables(variables));
    } else if error.ename == "Error" || error.ename == "Panic" {
        // The cell itself has seen the stop and said so.
        interrupted
            .traceback
            .extend(error.traceback.iter().cloned());
    }
    interrupted
}
