//! The evaluator based on `evcxr`, used through its public API, with the kernel's own cell process.

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use azureml_kernel_evaluator::engine::{
    CALLBACK_STUCK, Ending, Folder, PRELUDE, Parts, Pump, Tag, byte_offset, code_points, env,
    evaluator_panicked, in_folder, interrupted_error, interrupter, is_too_deep, process_died,
    report, stopped,
};
use azureml_kernel_evaluator::rust_src::{self, RustSrc};
use azureml_kernel_evaluator::{
    Analyst, CellError, Comms, Completion, Completions, Evaluator, Events, Interrupter, LateEvents,
    MimeBundle, Options, Outcome, StartError, Variable,
};
use azureml_kernel_helpers::{Error as HelpersError, Helpers};
use evcxr::{CommandContext, Error, EvalContext, EvalOutputs};

use crate::diagnostic;

/// `evcxr`: the folder of its crate and build.
const EVCXR_TMPDIR: &str = "EVCXR_TMPDIR";

/// Default optimisation level of cells; the user can change it with `:opt`.
///
/// A warm cell takes 0.3 s at `evcxr`'s default of 2, and 0.2 s at 0. Expensive code is usually in
/// a crate, and helper crates are always built optimised.
const OPT_LEVEL: &str = "0";

/// Code whose completion requires the standard library to be loaded.
const WARM_UP: &str = "let warm = vec![1]; warm.l";

/// An evaluator that uses `evcxr`.
pub struct EvcxrEvaluator {
    // Drop order matters: evcxr ends the cell process, the pump reads its remaining output, then
    // the folder is removed.
    context: Arc<Context>,
    pump: Pump,
    folder: Folder,
    helpers: Result<Helpers, HelpersError>,
    rust_src: RustSrc,
}

impl EvcxrEvaluator {
    /// Starts the evaluator and its cell process; takes seconds.
    ///
    /// Sets environment variables of this process, as `evcxr` itself does: call it before other
    /// threads run C code that reads them.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let Parts {
            toolchain,
            cache: _,
            runtime,
            helpers,
            folder,
            pump,
            program,
        } = Parts::gather(options)?;
        let rust_src = RustSrc::find(&toolchain);
        let mut command = Command::new(&program);
        command
            .env(env::ROLE, env::ROLE_CELL)
            .env(env::LINK, folder.socket())
            .env(env::CELL_RUNTIME, runtime)
            // Signals sent to the kernel's process group must not reach the cell process.
            .process_group(0);
        Tag::of_cells(&folder.socket()).name_to(&mut command);

        let context = {
            /// Serialises evaluators of one process, which would read each other's environment
            /// variables.
            static ENVIRONMENT: Mutex<()> = Mutex::new(());
            let _turn = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
            prepare_environment(&folder, &rust_src, &mut command).map_err(in_folder)?;
            EvalContext::with_subprocess_command(command)
                .map_err(|error| StartError::Engine(error.to_string()))?
                .0
        };
        let mut evaluator = Self {
            context: Arc::new(Context {
                commands: Mutex::new(CommandContext::with_eval_context(configure(
                    context,
                    &program,
                    helpers.as_ref().ok(),
                )?)),
                runs: AtomicBool::new(false),
                variables: Mutex::default(),
            }),
            pump,
            folder,
            helpers,
            rust_src,
        };
        // Loads dependencies and items of the user's configuration, as `evcxr_jupyter` does.
        if let Err(error) = evaluator.context.commands().execute(":load_config --quiet") {
            tracing::warn!(%error, "the configuration of evcxr was not loaded");
        }
        if !evaluator.has_a_folder_of_its_own() {
            return Err(StartError::SharedFolder);
        }
        Ok(evaluator)
    }

    /// Whether `evcxr` uses the folder that it was given; its configuration can name another one.
    fn has_a_folder_of_its_own(&mut self) -> bool {
        let given = self.folder.crate_folder();
        self.context
            .commands()
            .execute(":last_compile_dir")
            .ok()
            .and_then(|answer| {
                let named = answer.content_by_mime_type.get("text/plain")?;
                Some(named.contains(&*given.to_string_lossy()))
            })
            .unwrap_or(false)
    }

    /// Runs a cell and returns its result.
    fn run(&mut self, code: &str, variables_before: &[Variable]) -> Outcome {
        let gone_before = self.pump.shared.processes_gone();
        let result = self.context.commands().execute(code);
        if matches!(result, Err(Error::SubprocessTerminated(_))) {
            self.pump.shared.wait_for_last_words(gone_before);
        }
        let Ending {
            end,
            load_error,
            interrupted,
            skipped,
        } = self.pump.shared.ending();
        if skipped {
            return Outcome::Error(stopped());
        }
        let outcome = match result {
            Ok(outputs) => {
                if let Some(panic) = &end.panic {
                    let source = self.context.commands().last_source().unwrap_or_default();
                    let place = report::place_in_cell(code, &source, &panic.place);
                    Err(report::panic(panic, place))
                } else if let Some(error) = &end.error {
                    Err(report::message("Error", error))
                } else {
                    Ok(self.value(outputs, end.value))
                }
            }
            Err(Error::CompilationErrors(errors)) => {
                let diagnostics: Vec<_> = errors.iter().map(diagnostic::diagnostic).collect();
                Err(self.with_hint(report::compile_errors(code, &diagnostics), &errors))
            }
            Err(Error::SubprocessTerminated(how)) => {
                let how = how
                    .rsplit("Subprocess terminated with status: ")
                    .next()
                    .unwrap_or(&how)
                    .trim();
                let how = if self.pump.comms.take_killed() {
                    CALLBACK_STUCK
                } else {
                    how
                };
                Err(process_died(
                    how,
                    load_error.as_deref(),
                    variables_before,
                    false,
                ))
            }
            Err(error) => {
                let error = report::message("CompileError", &error.to_string());
                Err(self.with_hint(error, &[]))
            }
        };
        if let Err(error) = &outcome
            && interrupted
        {
            return Outcome::Error(interrupted_error(error, variables_before, false));
        }
        match outcome {
            Ok(value) => Outcome::Ok(value),
            Err(error) => Outcome::Error(error),
        }
    }

    /// Returns the cell's value: the value of its last expression, or the output of a command such
    /// as `:vars`.
    fn value(&self, outputs: EvalOutputs, shown: Option<MimeBundle>) -> Option<MimeBundle> {
        let answered: MimeBundle = outputs
            .content_by_mime_type
            .into_iter()
            .map(|(mime_type, content)| (mime_type, content.trim_end_matches('\n').into()))
            .collect();
        self.pump.value(answered, shown)
    }

    /// Adds the reason why helper crates are missing to an error about an unknown crate.
    fn with_hint(&self, mut error: CellError, errors: &[evcxr::CompilationError]) -> CellError {
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
                rust_src::HINT
            ));
        }
        error
    }
}

impl Evaluator for EvcxrEvaluator {
    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome {
        if is_too_deep(code) {
            return Outcome::Error(report::too_deep());
        }
        self.pump.shared.begin(None);
        if let Some(stuck) = self.pump.comms.stuck() {
            events.emit(stuck);
        }
        // Taken before the cell runs, because the variables are unknown after the process has died.
        let before = self.context.variables();
        let context = Arc::clone(&self.context);
        let outcome = self.pump.forwarder().forward(events, || {
            catch_unwind(AssertUnwindSafe(|| match refused(code) {
                Some(error) if self.helpers.is_ok() => Outcome::Error(error),
                _ => context.running(|| self.run(code, &before)),
            }))
            .unwrap_or_else(|_| Outcome::Error(evaluator_panicked()))
        });
        let clears = code.lines().any(|line| line.trim() == ":clear");
        if clears
            && let Err(error) = self
                .context
                .commands()
                .execute(&setup(self.helpers.as_ref().ok()))
        {
            tracing::warn!(%error, "`:clear` took away what every cell should have");
        }
        self.pump.end();
        outcome
    }

    fn show_late(&mut self, late: Arc<dyn LateEvents>) {
        // The kernel sets it once; a second call has no effect.
        self.pump.shared.late.set(late).ok();
    }

    fn warm_up(&mut self) {
        self.complete(WARM_UP, WARM_UP.chars().count());
    }

    fn analyst(&self) -> Arc<dyn Analyst> {
        Arc::new(Arc::downgrade(&self.context))
    }

    fn comms(&self) -> Option<Comms> {
        Some(self.pump.comms.clone())
    }

    fn interrupter(&self) -> Interrupter {
        interrupter(&self.pump.shared)
    }
}

/// The `evcxr` context, and the variables to report while it runs a cell.
struct Context {
    commands: Mutex<CommandContext>,
    runs: AtomicBool,
    /// The variables at the last time when no cell was running.
    variables: Mutex<Vec<Variable>>,
}

impl Context {
    fn commands(&self) -> MutexGuard<'_, CommandContext> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `evcxr` for code analysis; `None` while it runs a cell, or when the code is nested
    /// too deeply for its parser.
    fn idle(&self, code: &str) -> Option<MutexGuard<'_, CommandContext>> {
        if self.runs.load(Ordering::SeqCst) || is_too_deep(code) {
            return None;
        }
        Some(self.commands())
    }

    /// Runs one cell; analysis requests return immediately in the meantime.
    fn running<T>(&self, run: impl FnOnce() -> T) -> T {
        self.runs.store(true, Ordering::SeqCst);
        let result = run();
        self.runs.store(false, Ordering::SeqCst);
        result
    }
}

impl Analyst for Context {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let offset = byte_offset(code, cursor);
        let Some(mut commands) = self.idle(code) else {
            return Completions::none(cursor);
        };
        match commands.completions(code, offset) {
            Ok(found) => {
                let matches = found.completions.into_iter().map(|completion| Completion {
                    text: completion.code,
                    kind: completion.kind.to_owned(),
                    signature: completion.label,
                });
                Completions {
                    matches: matches.collect(),
                    start: code_points(code, found.start_offset),
                    end: code_points(code, found.end_offset),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no completions");
                Completions::none(cursor)
            }
        }
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let offset = byte_offset(code, cursor);
        // Inside an identifier, the whole identifier is inspected.
        let rest = code[offset..]
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(code.len() - offset);
        let (plain, html) = self
            .idle(code)?
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
        let mut known = self
            .variables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = self.idle("") {
            *known = commands
                .variables_and_types()
                .map(|(name, type_name)| Variable {
                    name: name.to_owned(),
                    type_name: type_name.to_owned(),
                })
                .collect();
            known.sort_by(|one, other| one.name.cmp(&other.name));
        }
        known.clone()
    }
}

/// Sets the environment variables that `evcxr` and rust-analyzer read, and removes those that would
/// change builds.
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
        // rust-analyzer would run `rustup component add rust-src` itself, which downloads silently.
        // A folder that looks like the sources prevents that.
        let empty = folder.no_sources();
        std::fs::create_dir_all(empty.join("core"))?;
        empty
    };
    let original_sources = std::env::var_os(env::RUST_SRC_PATH);
    match original_sources {
        Some(original) => cell.env(env::RUST_SRC_PATH, original),
        None => cell.env_remove(env::RUST_SRC_PATH),
    };
    cell.env_remove(EVCXR_TMPDIR);
    for variable in env::BUILD_SETTINGS {
        if let Some(value) = std::env::var_os(variable) {
            cell.env(variable, value);
        }
    }
    // SAFETY: Rust's own functions lock the environment; `start` requires that no C code reads it
    // concurrently.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(EVCXR_TMPDIR, &crate_folder);
        std::env::set_var(env::RUST_SRC_PATH, &sources);
        for variable in env::BUILD_SETTINGS {
            std::env::remove_var(variable);
        }
    }
    Ok(())
}

/// Adds the prelude and the helper crates to the context.
fn configure(
    mut context: EvalContext,
    program: &Path,
    helpers: Option<&Helpers>,
) -> Result<EvalContext, StartError> {
    let failed = |error: Error| StartError::Engine(error.to_string());
    let mut state = context.state();
    state.set_opt_level(OPT_LEVEL).map_err(failed)?;
    if let Some(helpers) = helpers {
        // sccache would take the place of the compiler wrapper that provides the helper crates.
        state.set_sccache(false).map_err(failed)?;
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

/// Returns the stub crates of the helper crates, as dependencies.
fn facades(helpers: &Helpers) -> impl Iterator<Item = (String, String)> {
    helpers.facades().iter().map(|facade| {
        // A quoted path has the same syntax in JSON and in TOML.
        let path = serde_json::json!(facade.path.to_string_lossy());
        (facade.name.clone(), format!("{{ path = {path} }}"))
    })
}

/// Returns a cell that restores the prelude and the helper crates after `:clear`.
fn setup(helpers: Option<&Helpers>) -> String {
    let mut cell = String::new();
    for (name, place) in helpers.into_iter().flat_map(facades) {
        cell.extend([":dep ", &name, " = ", &place, "\n"]);
    }
    cell + PRELUDE
}

/// Returns an error for a command that would make the helper crates unusable in all later cells.
fn refused(code: &str) -> Option<CellError> {
    let command = code
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with(":sccache") || line.starts_with(":toolchain "))?;
    let mut error = report::message(
        "CompileError",
        &format!("`{command}` does not go together with the crates that were built ahead"),
    );
    error.traceback.push(
        "hint: choose the compiler before Jupyter starts, and install the kernel again".to_owned(),
    );
    Some(error)
}
