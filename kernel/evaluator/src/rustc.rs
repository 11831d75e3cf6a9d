//! Runs cells with `rustc` directly: one crate per cell, without cargo, and earlier items in a
//! library.
//!
//! The statements of a cell become one function in a small crate. Variables are stored in the
//! [runtime](crate::child), which all cells link to. The function takes the variables that the cell
//! uses and stores them again at its end. The types of new variables are read from the compiler's
//! MIR output, so no separate type inference is needed. Items are compiled in the crate of the cell
//! that defines them, and in the background into a library to which later cells link. The compiler
//! compiles them again only when they change.

mod advice;
mod analysis;
mod brackets;
mod cell;
mod command_list;
mod commands;
mod compiler;
mod completion;
mod dependencies;
mod diagnostics;
mod expansion;
mod export;
mod generated;
mod heading;
mod helpers;
mod hiding;
mod history;
mod html;
mod identity;
mod imports;
mod library;
mod macros;
mod names;
mod native;
mod normalization;
mod paths;
mod places;
mod plan;
mod process;
mod program;
#[cfg(test)]
mod properties;
mod registry;
mod session;
mod source;
mod statics;
mod testing;
mod types;
mod uses;
mod values;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use azureml_kernel_helpers::{Error as HelpersError, Facade, Helpers};

use crate::child::cell_runtime;
use crate::code_intelligence::{self, Start};
use crate::compatibility;
use crate::ending::{CALLBACK_STUCK, evaluator_panicked, interrupted_error, process_died, stopped};
use crate::folder::Folder;
use crate::report::{Diagnostic, Label, Place};
use crate::start::{Options, Parts, StartError, in_folder};
use crate::stream::{Ending, Panic, Pump};
use crate::toolchain::Toolchain;
use crate::{
    CellError, CellName, Comms, Discard, Evaluator, Event, Events, Interrupter, LateEvents,
    MimeBundle, Outcome, Variable, env, interrupt, nesting, report,
};
use analysis::Analyst;
use cell::{Cell, Local};
use compiler::{Compiled, Compiler, Library, Output};
use dependencies::{Dependencies, NO_ROOM};
use diagnostics::Message;
use export::Package;
pub(crate) use heading::rust_start;
use history::{History, Ran, Shown};
use identity::Node;
use imports::{Imports, is_independent_of_imports};
use library::Libraries;
use paths::Modules;
use plan::{Change, Plan, Show};
use process::{Ended, Process, Recipe};
use program::Program;
use session::{Blame, Lost, Outside, Session};
use source::{Cells, Source, line_and_column};
use types::{Paths, VariableType, stored_types};

/// The maximum number of compilations of a cell before its errors are reported.
const MOST_TRIES: usize = 16;

/// The runtime's error text for a cell that ended with `return`.
const LEFT: &str = "\u{1d}";

/// The prefix of the runtime's list of variables whose types do not match.
const LOST: &str = "\u{1c}";

/// Error codes for two definitions with the same name.
const COLLISIONS: [&str; 5] = ["E0252", "E0254", "E0255", "E0260", "E0428"];

/// The number of sources that are kept to locate panics in functions of earlier cells.
const SOURCES_KEPT: usize = 400;

/// The crate name for checking an exported program.
const EXPORTED: &str = "exported";

/// Starts the evaluator, which compiles each cell by `rustc`, and its cell process.
pub fn start(options: Options) -> Result<Box<dyn Evaluator>, StartError> {
    Ok(Box::new(RustcEvaluator::start(options)?))
}

/// Compiles cells with `rustc` and runs them.
pub struct RustcEvaluator {
    // Fields are dropped in this order: the process ends, the pump reads its remaining output, and
    // the folder is removed.
    process: Option<Process>,
    analyst: Arc<Analyst>,
    pump: Pump,
    recipe: Recipe,
    compiler: Compiler,
    toolchain: Toolchain,
    cache: PathBuf,
    session: Session,
    libraries: Libraries,
    imports: Imports,
    dependencies: Dependencies,
    helpers: Result<Helpers, HelpersError>,
    /// The runtime and the helper crates. In [`Compiler::libraries`], the notebook's dependencies
    /// follow them.
    own_libraries: Vec<Library>,
    /// The sources from which the local crates were built, see [`Dependencies::local_sources`].
    built_sources: Vec<(String, String)>,
    show: Show,
    timing: bool,
    /// The code of the last compiler error.
    last_error: Option<String>,
    /// Macros of crates that are known to expand to values.
    values: BTreeSet<String>,
    /// Whether glob imports shadow names of the prelude, by import.
    hiding: BTreeMap<String, bool>,
    /// The variables that the running cell cannot use because it changes their types, with the
    /// reason.
    losing: BTreeMap<String, String>,
    /// The number of the last cell. It is part of the names of the cell's files and function.
    number: u64,
    /// The sources of the newest cells and libraries, by file name.
    sources: VecDeque<(String, Arc<Source>)>,
    cells: Cells,
    history: History,
    /// The front end's name of the next cell.
    next: CellName,
    _folder: Folder,
}

/// A compiled cell that can be run.
struct Runnable {
    library: PathBuf,
    plan: Plan,
    types: BTreeMap<String, VariableType>,
    warnings: Vec<Diagnostic>,
}

impl RustcEvaluator {
    /// Starts the evaluator and its cell process.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let code_intelligence = options.code_intelligence.clone();
        let Parts {
            toolchain,
            cache,
            runtime,
            helpers,
            folder,
            pump,
            program,
        } = Parts::gather(options)?;
        let recipe = Recipe {
            program: program.clone(),
            socket: folder.socket(),
            runtime: runtime.clone(),
            environment: std::env::vars_os().collect(),
        };
        let process = Process::start(&recipe).map_err(in_folder)?;
        let cells = folder.cells();
        std::fs::create_dir_all(&cells).map_err(in_folder)?;
        let own_libraries = own_libraries(&runtime, &toolchain, helpers.as_ref().ok(), &cache);
        let mut compiler = Compiler::new(&toolchain, cells);
        compiler.libraries.clone_from(&own_libraries);
        let mut evaluator = Self {
            process: Some(process),
            analyst: Arc::new(Analyst::new(
                code_intelligence
                    .unwrap_or_else(|| program.with_file_name(code_intelligence::PROGRAM)),
                Start {
                    cache: Some(cache.clone()),
                    helpers: helpers
                        .as_ref()
                        .ok()
                        .map(|helpers| helpers.folder().to_owned()),
                },
            )),
            pump,
            recipe,
            compiler,
            toolchain,
            cache,
            session: Session::default(),
            libraries: Libraries::default(),
            imports: Imports::default(),
            dependencies: Dependencies::default(),
            helpers,
            own_libraries,
            built_sources: Vec::new(),
            show: Show::default(),
            timing: false,
            last_error: None,
            values: BTreeSet::new(),
            hiding: BTreeMap::new(),
            losing: BTreeMap::new(),
            number: 0,
            sources: VecDeque::new(),
            cells: Cells::default(),
            history: History::default(),
            next: CellName::default(),
            _folder: folder,
        };
        evaluator.surround();
        for code in user_configuration() {
            if let Outcome::Error(error) = evaluator.cell(&code) {
                tracing::warn!(
                    error.evalue,
                    "a file of the user's configuration was not run"
                );
            }
        }
        evaluator.publish();
        Ok(evaluator)
    }

    /// Runs a cell: its commands, then its code.
    fn cell(&mut self, code: &str) -> Outcome {
        let begin = Instant::now();
        if nesting::is_too_deep(code) {
            return self.failed(report::too_deep());
        }
        let cell = Cell::parse_among(code, &|name| self.session.is_value(name));
        let mut answered = MimeBundle::new();
        // Several `:dep` lines are one set of crates, which is built once.
        let mut wanted = self.dependencies.clone();
        for command in &cell.commands {
            if command.name == ":replay" {
                match self.replay() {
                    Ok(words) => append(&mut answered, commands::text(&words)),
                    Err(error) => return Outcome::Error(error),
                }
                continue;
            }
            if command.name == ":test" {
                continue;
            }
            let answer = if command.name == ":dep" {
                wanted
                    .add(&command.arguments)
                    .map(|()| MimeBundle::new())
                    .map_err(|error| error.to_string())
            } else {
                commands::run(self, command)
            };
            match answer {
                Ok(answer) => append(&mut answered, answer),
                Err(words) => return self.failed(report::message("CompileError", &words)),
            }
            if command.name == ":clear" {
                wanted = self.dependencies.clone();
            }
            if self.pump.shared.lock().interrupted {
                return Outcome::Error(stopped());
            }
        }
        if cell.commands.iter().any(|command| command.name == ":dep") {
            wanted.offline = self.dependencies.offline;
            if let Err(words) = self.depend_on(wanted) {
                return self.failed(report::message("CompileError", &words));
            }
        }
        let test = cell.commands.iter().find(|command| command.name == ":test");
        let outcome = if let Some(test) = test {
            self.test(code, &cell, &test.arguments)
        } else if cell.is_empty() && !self.session.has_older() {
            self.number += 1;
            self.history.count(self.number);
            self.ran(code, &cell, Ran::default());
            Outcome::Ok(self.pump.value(answered, None))
        } else {
            self.code(code, &cell, answered)
        };
        if self.timing {
            self.pump.show(Event::Stdout(format!(
                "Took {}ms\n",
                begin.elapsed().as_millis()
            )));
        }
        outcome
    }

    /// Assigns a number to a cell and prepares its dependencies.
    fn begin(&mut self, code: &str, cell: &Cell) -> Result<u64, CellError> {
        self.number += 1;
        self.losing.clear();
        let number = self.number;
        self.cells.add(number, code);
        self.history.count(number);
        if cell.broken
            && let Some(error) = self.broken(number, code, cell)
        {
            return Err(error);
        }
        self.restore_libraries()?;
        self.rebuild_edited(code)?;
        self.extern_crates(cell)?;
        Ok(number)
    }

    /// Rebuilds the local crates if their files changed and the cell uses one of them.
    fn rebuild_edited(&mut self, code: &str) -> Result<(), CellError> {
        let sources = self.dependencies.local_sources();
        let uses = |(name, _): &(String, String)| self.session.reaches(code, name);
        if sources == self.built_sources || !sources.iter().any(uses) {
            return Ok(());
        }
        self.depend_on(self.dependencies.clone())
            .map_err(|words| report::message("CompileError", &words))
    }

    /// Compiles and runs the code of a cell.
    fn code(&mut self, code: &str, cell: &Cell, answered: MimeBundle) -> Outcome {
        let cell = &self.settled(code, cell);
        let number = match self.begin(code, cell) {
            Ok(number) => number,
            Err(error) => return self.failed(error),
        };
        let (session, lost, runnable) = match self.defined(number, code, cell) {
            Ok(compiled) => compiled,
            Err(error) => return self.failed(error),
        };
        if self.pump.shared.lock().interrupted {
            return Outcome::Error(stopped());
        }
        self.say_lost(&lost);
        for stale in session.stale.iter().filter(|stale| !stale.is_known) {
            self.pump.show(Event::Stderr(format!("{}\n", stale.words)));
        }
        let outcome = if let Some(runnable) = runnable {
            self.run(number, code, cell, session, &runnable, answered)
        } else {
            if cell.is_program() {
                let words =
                    "`main` is defined; nothing has run. hint: `main()` in a cell runs it\n";
                self.pump.show(Event::Stderr(words.to_owned()));
            }
            self.session = session;
            self.ran(code, cell, Ran::default());
            Outcome::Ok(self.pump.value(answered, None))
        };
        self.prepare();
        outcome
    }

    /// Completes the parsed cell with information that needs the session: names in patterns that
    /// are constants, and macro calls that define items or variables.
    fn settled(&mut self, code: &str, cell: &Cell) -> Cell {
        let text_of = |name: &str| {
            let is_macro = |what: &cell::What| *what == cell::What::Macro(name.to_owned());
            let own = cell.items.iter().rev().find(|item| is_macro(&item.what));
            own.map(|item| code[item.range.clone()].to_owned())
                .or_else(|| {
                    let earlier = self.session.items.iter().find(|item| is_macro(&item.what));
                    earlier.map(|item| item.text.clone())
                })
        };
        let mut values = BTreeSet::new();
        let expand = |name: &str, call: std::ops::Range<usize>| {
            if expansion::is_value(name) || self.values.contains(name) {
                return None;
            }
            let source = expansion::source(&self.session, code, cell, &code[call]);
            let file = "expanded.rs";
            std::fs::write(self.compiler.folder().join(file), source).ok()?;
            let items = expansion::items(&self.compiler.expand(file).ok()?);
            if items.is_none() {
                values.insert(name.to_owned());
            }
            items
        };
        let is_known = |name: &str| self.session.is_value(name);
        let mut settled = cell
            .clone()
            .without_constants(|name| self.session.knows_value(name))
            .with_variables_of_macros(code, text_of, &is_known)
            .with_items_of_macros(text_of, expand)
            .with_macros_in_order();
        self.values.extend(values);
        let folder = std::env::current_dir().unwrap_or_default();
        // The next cell has this number.
        let label = self.history.label_of_next(self.number + 1);
        let is_own = |name: &str| text_of(name).is_some();
        settled.edits = places::edits(code, cell.rust.start, label, &folder, &is_own);
        settled
    }

    /// Adds the definitions of a cell to a copy of the session, and compiles the cell. The result
    /// is [`Runnable`] if the cell has statements.
    fn defined(
        &mut self,
        number: u64,
        code: &str,
        cell: &Cell,
    ) -> Result<(Session, Vec<Lost>, Option<Runnable>), CellError> {
        let runs = !cell.statements.is_empty() || cell.tail.is_some();
        let mut separates = false;
        loop {
            let mut session = self.session.clone();
            let mut lost = session.define(number, code, cell);
            if let Some(glob) = self.changed_glob(&session) {
                lost.extend(session.begin_epoch(glob.trim_end_matches(';')));
            }
            self.losing = lost.iter().map(words_of_losing).collect();
            if separates {
                session.separate_names();
            }
            let compiled = if runs {
                self.compile(number, code, cell, &mut session).map(Some)
            } else {
                self.check_items(number, code, cell, &mut session)
                    .map(|()| None)
            };
            let collide = self
                .last_error
                .as_deref()
                .is_some_and(|code| COLLISIONS.contains(&code));
            match compiled {
                Err(_) if session.shares_names && collide && !separates => separates = true,
                Err(error) => return Err(error),
                Ok(runnable) => {
                    lost.extend(session.lose(&cell.inner));
                    return Ok((session, lost, runnable));
                }
            }
        }
    }

    /// Returns a glob import that was added or removed and that shadows names of the prelude.
    fn changed_glob(&mut self, session: &Session) -> Option<String> {
        if self.session.items.is_empty() && self.session.variables.is_empty() {
            return None;
        }
        let (before, now) = (hiding::globs(&self.session), hiding::globs(session));
        let mut changed = before.symmetric_difference(&now);
        changed.find(|glob| self.hides(glob)).cloned()
    }

    fn hides(&mut self, glob: &str) -> bool {
        if let Some(known) = self.hiding.get(glob) {
            return *known;
        }
        let file = "hiding.rs";
        let path = self.compiler.folder().join(file);
        let hides = std::fs::write(path, hiding::source(glob))
            .and_then(|()| self.compiler.compile("hiding", file, &[], Output::Check))
            .is_ok_and(|compiled| hiding::hides(&compiled));
        self.hiding.insert(glob.to_owned(), hides);
        hides
    }

    /// Reports the lost variables with the reason.
    fn say_lost(&self, lost: &[Lost]) {
        for Lost { name, changes } in lost {
            let changed: Vec<String> = changes.iter().map(|label| format!("`{label}`")).collect();
            self.pump.show(Event::Stderr(format!(
                "The type of the variable {name} was redefined, so was lost. What has changed: {}\n",
                changed.join(", ")
            )));
        }
    }

    /// Updates the session's dependencies outside the cells.
    fn surround(&mut self) {
        let mut nodes: Vec<Node> = self
            .dependencies
            .local_sources()
            .into_iter()
            .map(|(name, sources)| Node::outside(&format!("crate {name}"), &[&name], &sources))
            .collect();
        let environment = &self.compiler.environment;
        nodes.push(Node::outside(
            ":build_env",
            &["env", "option_env"],
            environment,
        ));
        let crates = self
            .compiler
            .libraries
            .iter()
            .flat_map(|library| &library.crates);
        let outside = Outside {
            nodes,
            crates: crates.map(|(name, _)| name.clone()).collect(),
        };
        let lost = self.session.surround(outside);
        self.say_lost(&lost);
    }

    /// Starts background compilations for the next cells.
    fn prepare(&mut self) {
        self.compiler.epoch = self.session.epoch;
        self.imports
            .prepare(&self.session, &self.compiler, &self.toolchain, &self.cache);
        let without = self.without_imports(&self.session, None, &Plan::default(), false);
        self.libraries.prepare(
            &self.session,
            without.as_ref(),
            &self.compiler,
            &self.umbrellas(),
        );
    }

    /// Returns the session without its imports from crates, if neither the code, nor a variable,
    /// nor an item in the crate needs them.
    fn without_imports(
        &self,
        session: &Session,
        code: Option<&str>,
        plan: &Plan,
        from_library: bool,
    ) -> Option<Session> {
        let items = session
            .items
            .iter()
            // The names in an expansion are resolved in the crate of the call, so macros matter
            // even in a library.
            .filter(|item| !from_library || matches!(item.what, cell::What::Macro(_)))
            .map(|item| item.text.as_str());
        let texts = items.chain(code).chain(plan.types());
        (!plan.awaits)
            .then(|| {
                self.imports
                    .without(session, &self.compiler, &self.toolchain, texts)
            })
            .flatten()
    }

    /// Runs the tests of the cell and of earlier cells whose paths contain `filter`.
    fn test(&mut self, code: &str, cell: &Cell, filter: &str) -> Outcome {
        let number = match self.begin(code, cell) {
            Ok(number) => number,
            Err(error) => return self.failed(error),
        };
        let mut session = self.session.clone();
        session.define(number, code, cell);
        let mut tested = session.clone();
        let mut tests: Vec<_> = tested
            .items
            .iter_mut()
            .flat_map(|item| testing::find(&mut item.text, &mut item.edits))
            .collect();
        tests.retain(|test| test.path.contains(filter));
        if tests.is_empty() {
            let which = if filter.is_empty() {
                String::new()
            } else {
                format!(" whose name holds `{filter}`")
            };
            return self.failed(report::message(
                "CompileError",
                &format!("there is no test{which}\nhint: a test is a function with `#[test]` above it, in this cell or an earlier one"),
            ));
        }
        let code = format!("{code}{}", testing::runner(&tests));
        let cell = Cell::parse(&code);
        self.cells.add(number, &code);
        let runnable = match self.compile(number, &code, &cell, &mut tested) {
            Ok(runnable) => runnable,
            Err(error) => return self.failed(error),
        };
        self.run(number, &code, &cell, session, &runnable, MimeBundle::new())
    }

    /// Converts a test report to the result of the cell.
    fn verdicts(&self, report: &str, number: u64, code: &str) -> Outcome {
        let mut verdicts = testing::read(report);
        for verdict in &mut verdicts {
            let panic = Panic {
                place: std::mem::take(&mut verdict.place),
                message: String::new(),
            };
            verdict.place = match self.place(&panic, number, code) {
                Some(Place::Cell { line, column, .. }) => format!("line {line}, column {column}"),
                Some(Place::Earlier { text }) => format!("an earlier cell: {}", text.trim()),
                None => panic.place,
            };
        }
        let table = testing::table(&verdicts);
        let failed: Vec<&String> = verdicts
            .iter()
            .filter(|verdict| verdict.how == "FAILED")
            .map(|verdict| &verdict.name)
            .collect();
        if failed.is_empty() {
            return Outcome::Ok(Some(table));
        }
        self.pump.show(Event::Display {
            data: table,
            id: None,
        });
        let words = format!(
            "{} of {} tests failed: {}",
            failed.len(),
            verdicts.len(),
            list(&failed)
        );
        Outcome::Error(report::message("TestsFailed", &words))
    }

    /// Returns the compiler's errors about code that cannot be parsed, or `None` if it has none.
    fn broken(&mut self, number: u64, code: &str, cell: &Cell) -> Option<CellError> {
        if let Some(found) = &cell.unbalanced {
            return Some(unbalanced(code, found));
        }
        let source = plan::whole(number, code, cell);
        let file = self.write(&format!("cell_{number}"), &source).ok()?;
        let compiled = self
            .compiler
            .compile(generated::WITH_ITEMS, &file, &[], Output::Check)
            .ok()?;
        let syntax: Vec<_> = compiled
            .messages
            .iter()
            // Names of earlier cells are not defined here. Syntax errors have no code.
            .filter(|message| message.is_error() && message.code().is_empty())
            .collect();
        (!syntax.is_empty()).then(|| self.errors(&syntax, &source, &file, number, code))
    }

    /// Checks a cell of items and imports without statements.
    fn check_items(
        &mut self,
        number: u64,
        code: &str,
        cell: &Cell,
        defined: &mut Session,
    ) -> Result<(), CellError> {
        self.compiler.epoch = defined.epoch;
        let rust = &code[cell.rust.clone()];
        let library = self.libraries.of(defined);
        let mut ways = vec![(None, None)];
        if library.is_some() {
            ways.push((library.clone(), None));
        }
        let without =
            self.without_imports(defined, Some(rust), &Plan::default(), library.is_some());
        if without.is_some() {
            ways.push((library, without));
        }
        while let Some((library, without)) = ways.pop() {
            let from_library = library.is_some();
            let (session, umbrellas) = self.around(defined, without.as_ref());
            let source = plan::definitions(number, code, cell, session, &umbrellas, from_library);
            let name = if from_library {
                generated::WITHOUT_ITEMS
            } else {
                generated::WITH_ITEMS
            };
            let homes = homes(session);
            let extra = library
                .iter()
                .map(|finished| &finished.library)
                .chain([&homes]);
            let file = self.write(&format!("cell_{number}"), &source)?;
            let statics = self.compiler.folder().join(format!("cell_{number}.so"));
            // Statics must be defined in a compiled library.
            let output = if session.has_new_statics() {
                Output::Cell {
                    library: &statics,
                    types: None,
                }
            } else {
                Output::Check
            };
            let compiled = self.call(name, &file, &extra.collect::<Vec<_>>(), output)?;
            if compiled.success {
                defined.settle_statics(number, &statics);
                self.remember(&file, &Arc::new(source));
                return Ok(());
            }
            if defined.copy_statics(&foreign_statics(&compiled)) {
                ways.push((None, None));
                continue;
            }
            if ways.is_empty() {
                let blamed = blamed(&compiled, &source, &file);
                if defined.set_aside(number, &blamed) {
                    ways.push((None, None));
                    continue;
                }
                let errors = compiled.errors();
                return Err(self.errors(&errors, &source, &file, number, code));
            }
        }
        Ok(())
    }

    /// Returns the session and the bundle crates with which a crate is compiled. Without imports,
    /// no bundle crate is needed.
    fn around<'a>(
        &self,
        session: &'a Session,
        without: Option<&'a Session>,
    ) -> (&'a Session, Vec<String>) {
        match without {
            Some(without) => (without, Vec::new()),
            None => (session, self.umbrellas()),
        }
    }

    /// Returns the initial plan for a cell.
    fn plan(
        &self,
        number: u64,
        code: &str,
        cell: &Cell,
        session: &Session,
        from_library: bool,
    ) -> Plan {
        let mut plan = Plan::new(number, code, cell, session, from_library);
        plan.enters = self.knows_crate("tokio") && session.reaches(code, "tokio");
        plan
    }

    /// Compiles a cell that runs.
    fn compile(
        &mut self,
        number: u64,
        code: &str,
        cell: &Cell,
        session: &mut Session,
    ) -> Result<Runnable, CellError> {
        self.compiler.epoch = session.epoch;
        let rust = &code[cell.rust.clone()];
        let own_paths = cell::mentions(rust, "crate") || cell::mentions(rust, "self");
        let mut finished = (!own_paths && !cell.broken)
            .then(|| self.libraries.of(session))
            .flatten();
        let mut plan = self.plan(number, code, cell, session, finished.is_some());
        let mut without = self.without_imports(session, Some(rust), &plan, finished.is_some());
        let library = self.compiler.folder().join(format!("cell_{number}.so"));
        let mir = self.compiler.folder().join(format!("cell_{number}.mir"));
        for _ in 0..MOST_TRIES {
            if plan.awaits {
                self.provide_tokio()?;
            }
            let (around, umbrellas) = self.around(&*session, without.as_ref());
            let source = plan.source(number, code, cell, around, &umbrellas, self.show);
            let file = self.write(&format!("cell_{number}"), &source)?;
            let homes = homes(session);
            let extra = finished
                .iter()
                .map(|finished| &finished.library)
                .chain([&homes]);
            let extra: Vec<&Library> = extra.collect();
            let output = Output::Cell {
                library: &library,
                types: (!cell.locals.is_empty()).then_some(mir.as_path()),
            };
            let compiled = self.call(plan.crate_name(), &file, &extra, output)?;
            if compiled.success {
                let types = if cell.locals.is_empty() {
                    BTreeMap::new()
                } else {
                    stored_in(&mir, session, finished.is_some())
                };
                if plan.end_unnamed(&types) {
                    continue;
                }
                self.forget(&plan.unwritable, session);
                if finished.is_none() {
                    session.settle_statics(number, &library);
                }
                let warnings = compiled
                    .messages
                    .iter()
                    .filter(|message| message.is_warning())
                    .map(|message| message.in_cell(&source, &file, &self.cells, number))
                    .filter(|warning| !warning.labels.is_empty());
                let warnings = warnings.collect();
                let source = Arc::new(source);
                self.remember(&file, &source);
                if let Some(finished) = &finished {
                    self.remember(&finished.file, &finished.source);
                }
                return Ok(Runnable {
                    library,
                    plan,
                    types,
                    warnings,
                });
            }
            if self.pump.shared.lock().interrupted {
                return Err(stopped());
            }
            if session.copy_statics(&foreign_statics(&compiled)) {
                finished = None;
                plan = Plan::new(number, code, cell, session, false);
                continue;
            }
            if without.is_some() && !is_independent_of_imports(&compiled) {
                without = None;
                continue;
            }
            if plan.change(&compiled.messages, &source, &file, cell, session) == Change::Again {
                continue;
            }
            if without.take().is_some() {
                continue;
            }
            if finished.take().is_some() {
                // A private item may be inaccessible from another crate and still be used
                // correctly.
                plan = self.plan(number, code, cell, session, false);
                continue;
            }
            if session.set_aside(number, &blamed(&compiled, &source, &file)) {
                continue;
            }
            self.forget(&plan.unwritable, session);
            let errors = compiled.errors();
            if plan.takes() {
                // Without the closure around the statements, the errors refer to the user's code.
                let mut explained = plan.clone();
                explained.explain = true;
                let source = explained.source(number, code, cell, session, &umbrellas, self.show);
                let file = self.write(&format!("cell_{number}"), &source)?;
                let again = self.call(plan.crate_name(), &file, &[], Output::Check)?;
                let clearer = again.errors();
                let in_cell = |message: &&&Message| {
                    !message
                        .in_cell(&source, &file, &self.cells, number)
                        .labels
                        .is_empty()
                };
                if clearer.iter().any(|message| in_cell(&message)) {
                    return Err(self.errors(&clearer, &source, &file, number, code));
                }
            }
            if errors.is_empty() {
                return Err(compiler_failed(&compiled));
            }
            return Err(self.errors(&errors, &source, &file, number, code));
        }
        Err(report::message(
            "CompileError",
            "the cell could not be compiled\nhint: write it differently",
        ))
    }

    /// Runs a compiled cell, and stores its definitions and variables in the session.
    fn run(
        &mut self,
        number: u64,
        code: &str,
        cell: &Cell,
        session: Session,
        runnable: &Runnable,
        answered: MimeBundle,
    ) -> Outcome {
        for warning in &runnable.warnings {
            let text = report::block(code, warning) + "\n";
            self.pump.show(Event::Stderr(text));
        }
        let before = self.variables();
        let gone_before = self.pump.shared.lock().processes_gone;
        let result = match &mut self.process {
            Some(process) => process.run(&runnable.library, runnable.plan.function()),
            None => Err(Ended("it could not be started".to_owned())),
        };
        if result.is_err() {
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
        let failed = |error| {
            Outcome::Error(if interrupted {
                interrupted_error(&error, &before, true)
            } else {
                error
            })
        };
        self.session = session;
        if let Err(Ended(mut how)) = result {
            if self.pump.comms.take_killed() {
                CALLBACK_STUCK.clone_into(&mut how);
            }
            self.lose_variables();
            if let Err(words) = self.start_process() {
                tracing::error!(words, "there is no new cell process");
            }
            let mut error = process_died(&how, load_error.as_deref(), &before, true);
            if let Some(panic) = end.panic.as_ref().filter(|_| how.contains("SIGABRT")) {
                // A panic during a panic, or a panic in a function that must not unwind.
                let panicked = report::panic(panic, self.place(panic, number, code));
                error.traceback.extend(panicked.traceback);
            }
            return failed(error);
        }
        if let Some(names) = end.error.as_ref().and_then(|text| text.strip_prefix(LOST)) {
            let names: Vec<String> = names.lines().map(str::to_owned).collect();
            return Outcome::Error(self.lose(&names));
        }
        for name in runnable.plan.moved() {
            self.session.variables.remove(name);
            self.session.moved.insert(name.clone(), number);
        }
        if let Some(report) = end
            .error
            .as_ref()
            .filter(|text| text.starts_with(testing::REPORT))
        {
            return self.verdicts(report, number, code);
        }
        let left = end.panic.is_none() && end.error.as_deref() == Some(LEFT);
        let error = match (&end.panic, &end.error) {
            (Some(panic), _) => Some(report::panic(panic, self.place(panic, number, code))),
            (None, Some(text)) if !left => Some(report::message("Error", text)),
            (None, _) => None,
        };
        if let Some(error) = error {
            let made = cell.locals_before_end(end.panic.is_none());
            let kept = made.filter(|local| runnable.plan.stores(&local.name));
            self.say_unkept("the cell has ended early", kept);
            return failed(error);
        }
        let makes = if left {
            self.say_unkept("`return` has ended the cell", cell.locals.iter());
            BTreeSet::new()
        } else {
            self.take_over(number, cell, runnable)
        };
        let ran = Ran {
            makes,
            uses: runnable.plan.uses(false),
            changes: runnable.plan.uses(true),
            awaits: runnable.plan.awaits,
            shown: end.value.as_ref().map(|value| Shown {
                format: self.show.format,
                rich: value.keys().any(|form| form != "text/plain"),
            }),
            ..Ran::default()
        };
        self.ran(code, cell, ran);
        Outcome::Ok(self.pump.value(answered, end.value))
    }

    /// Adds the variables of a cell to the session. Returns their names.
    fn take_over(&mut self, number: u64, cell: &Cell, runnable: &Runnable) -> BTreeSet<String> {
        let mut makes = BTreeSet::new();
        for local in &cell.locals {
            let name = &local.name;
            if let Some(words) = runnable.plan.words_of_end(local) {
                // The new variable shadows an earlier one with its name.
                self.session.variables.remove(name);
                self.session.ended.insert(name.clone(), words.clone());
                self.pump.show(Event::Stderr(words + "\n"));
                continue;
            }
            if !runnable.plan.stores(name) {
                self.session.variables.remove(name);
                continue;
            }
            // Variables of unnameable types were excluded during compilation.
            let Some(VariableType::Named(type_name)) = runnable.types.get(name) else {
                tracing::warn!(name, number, "the type of a variable was not written down");
                self.session.variables.remove(name);
                self.pump.show(Event::Stderr(format!(
                    "The variable {name} is lost: the compiler did not say its type. hint: use it in the cell that makes it, or set {}=evcxr before Jupyter starts\n",
                    env::ENGINE
                )));
                continue;
            };
            self.session
                .keep(name, type_name, local.mutable, &cell.inner);
            makes.insert(name.clone());
        }
        makes
    }

    /// Reports the variables that are not stored because the cell ended early.
    fn say_unkept<'a>(&self, why: &str, locals: impl Iterator<Item = &'a Local>) {
        let names: Vec<&String> = locals.map(|local| &local.name).collect();
        if !names.is_empty() {
            self.pump.show(Event::Stderr(format!(
                "{why}, so these variables of it are not kept: {}\n",
                list(&names)
            )));
        }
    }

    /// Removes variables whose types a cell cannot name.
    fn forget(&mut self, names: &BTreeSet<String>, session: &mut Session) {
        for name in names {
            for session in [&mut self.session, &mut *session] {
                session.variables.remove(name);
                let words = format!(
                    "`{name}` is lost: its type is private where it is defined; make it public, and run the cell again that makes `{name}`"
                );
                session.ended.insert(name.clone(), words);
            }
        }
    }

    /// Removes variables whose stored types differ from those that the cell expects.
    fn lose(&mut self, names: &[String]) -> CellError {
        for name in names {
            self.session.variables.remove(name);
        }
        let (what, is, them) = if let [_] = names {
            ("variable", "is", "it")
        } else {
            ("variables", "are", "them")
        };
        report::message(
            "Error",
            &format!(
                "the {what} {} {is} lost: a crate that the type comes from is not what it was\nhint: run the cell again that makes {them}; the name is free",
                list(&names.iter().collect::<Vec<_>>())
            ),
        )
    }

    /// Adds a finished cell to the history.
    fn ran(&mut self, code: &str, cell: &Cell, ran: Ran) {
        self.history.add(Ran {
            number: self.number,
            heading: code[..cell.rust.start].to_owned(),
            code: code[cell.rust.clone()].to_owned(),
            ..ran
        });
    }

    /// Runs the cells again that defined the lost variables. Returns a message about the restored
    /// variables.
    fn replay(&mut self) -> Result<String, CellError> {
        let cells = self.history.replay();
        if cells.is_empty() {
            return Ok("no variables are lost that a cell could make again".to_owned());
        }
        let lost = self.history.lost().clone();
        self.history.pause(true);
        let replayed = self.run_again(cells);
        self.history.pause(false);
        let count = replayed?;
        self.history.forget_lost();
        let (there, gone): (Vec<_>, Vec<_>) = lost
            .iter()
            .partition(|name| self.session.variables.contains_key(*name));
        let cells = if count == 1 { "cell" } else { "cells" };
        let mut words = format!("ran {count} {cells} again; there again: {}", list(&there));
        if !gone.is_empty() {
            words += "; still lost: ";
            words += &list(&gone);
        }
        Ok(words)
    }

    /// Runs cells again. Returns the number of cells.
    fn run_again(&mut self, cells: Vec<Ran>) -> Result<usize, CellError> {
        let count = cells.len();
        for (index, ran) in cells.into_iter().enumerate() {
            self.session.running.clone_from(&ran.name.id);
            match self.cell(&ran.code) {
                Outcome::Ok(None) => {}
                Outcome::Ok(Some(data)) => self.pump.show(Event::Display { data, id: None }),
                Outcome::Error(mut error) => {
                    error.traceback.push(format!(
                        "this is cell {} of {count} that `:replay` runs again\nhint: run the cells after it one by one",
                        index + 1
                    ));
                    return Err(error);
                }
            }
        }
        Ok(count)
    }

    /// Records all variables as lost, because their process ended.
    fn lose_variables(&mut self) {
        let variables = std::mem::take(&mut self.session.variables);
        self.history.lose(variables.into_keys());
    }

    /// Returns the location of a panic, if it is in a cell.
    fn place(&self, panic: &Panic, number: u64, code: &str) -> Option<Place> {
        let mut parts = panic.place.rsplitn(3, ':');
        let column: usize = parts.next()?.parse().ok()?;
        let line: usize = parts.next()?.parse().ok()?;
        let file = parts.next()?;
        let (_, source) = self.sources.iter().find(|(name, _)| name == file)?;
        let mut place = source.place(line, column)?;
        // The location of a value is the parenthesis before it.
        if source.text[place..].starts_with(plan::OPENS_VALUE) {
            place += plan::OPENS_VALUE.len();
        }
        match source.in_cell(place)? {
            (cell, place) if cell == number => {
                let (line, column) = line_and_column(code, place);
                Some(Place::Cell {
                    line,
                    column,
                    text: code.lines().nth(line - 1).unwrap_or_default().to_owned(),
                })
            }
            (cell, place) => Some(Place::Earlier {
                text: self.cells.line(cell, place).to_owned(),
            }),
        }
    }

    /// Writes a source into the folder. Returns the name of the file.
    fn write(&self, name: &str, source: &Source) -> Result<String, CellError> {
        let file = format!("{name}.rs");
        let path = self.compiler.folder().join(&file);
        std::fs::write(&path, &source.text).map_err(|error| {
            report::message(
                "KernelError",
                &format!("cannot write {}: {error}\nhint: make room there, or set TMPDIR to another folder before Jupyter starts", path.display()),
            )
        })?;
        Ok(file)
    }

    fn call(
        &self,
        name: &str,
        file: &str,
        extra: &[&Library],
        output: Output<'_>,
    ) -> Result<Compiled, CellError> {
        self.compiler
            .compile(name, file, extra, output)
            .map_err(|error| {
                report::message(
                    "KernelError",
                    &format!(
                        "cannot run {}: {error}\nhint: `azureml-kernel doctor` checks what the kernel needs",
                        self.toolchain.rustc.display()
                    ),
                )
            })
    }

    /// Converts the compiler's errors to the coordinates of the cell. Errors outside the cell are
    /// omitted unless there are no others.
    fn errors(
        &mut self,
        messages: &[&Message],
        source: &Source,
        file: &str,
        number: u64,
        code: &str,
    ) -> CellError {
        let mut errors: Vec<Diagnostic> = messages
            .iter()
            .map(|message| message.in_cell(source, file, &self.cells, number))
            .collect();
        // The store of a variable after the cell can be an error that follows from another one: its
        // place is in generated code, and it only mentions the cell.
        let is_in_cell = |error: &Diagnostic| error.labels.iter().any(|label| label.primary);
        if errors.iter().any(is_in_cell) {
            errors.retain(is_in_cell);
        } else if errors.iter().any(|error| !error.labels.is_empty()) {
            errors.retain(|error| !error.labels.is_empty());
        }
        let gone = |name: &str, place: (usize, usize)| {
            if let Some(words) = self.hidden(name, place, code) {
                return Some(words);
            }
            if let Some(words) = self.losing.get(name) {
                return Some(words.clone());
            }
            if let Some(words) = self.session.ended.get(name) {
                return Some(words.clone());
            }
            let by = *self.session.moved.get(name)?;
            let mut lines = self.cells.code(by).lines();
            let line = lines.find(|line| cell::mentions(line, name))?.trim();
            Some(format!(
                "an earlier cell moved `{name}` away: `{line}`; use `{name}.clone()` or `&{name}` there, and run the cell again that makes `{name}`"
            ))
        };
        for error in &mut errors {
            advice::advise(error, gone);
        }
        for stale in &self.session.stale {
            let name = stale.definition.label();
            let concerns = |error: &Diagnostic| {
                let quoted: Vec<&str> = error.message.split('`').skip(1).step_by(2).collect();
                quoted.contains(&name.as_str())
                    || error.code.as_deref() == Some("E0599")
                        && quoted
                            .iter()
                            .any(|word| cell::mentions(&stale.definition.text, word))
            };
            for error in errors.iter_mut().filter(|error| concerns(error)) {
                error.notes.push(format!("hint: {}", stale.words));
            }
        }
        self.last_error = errors.iter().find_map(|error| error.code.clone());
        let mut error = report::compile_errors(code, &errors);
        let about_a_crate = errors
            .iter()
            .any(|error| matches!(error.code.as_deref(), Some("E0432" | "E0433" | "E0463")));
        if let Err(reason) = &self.helpers
            && about_a_crate
        {
            error.traceback.push(format!("note: {reason}"));
        }
        if errors
            .iter()
            .any(|error| error.message.starts_with("linker `"))
        {
            error.traceback.push(
                "hint: cells need a C linker, as any Rust program does: install a C compiler, such as Debian's package `gcc`"
                    .to_owned(),
            );
        }
        if errors
            .iter()
            .any(|error| NO_ROOM.iter().any(|words| error.rendered.contains(words)))
        {
            let folder = self.compiler.folder().display();
            error.traceback.push(format!(
                "hint: make room where {folder} is, or set TMPDIR to another folder before Jupyter starts"
            ));
        }
        error
    }

    /// Returns the reason why an item cannot use a name: it is a variable.
    fn hidden(&self, name: &str, place: (usize, usize), code: &str) -> Option<String> {
        let cell = Cell::parse(code);
        let is_variable = self.session.variables.contains_key(name)
            || cell.locals.iter().any(|local| local.name == name);
        let holds = |item: &cell::Item| {
            let ends = [item.range.start, item.range.end].map(|end| line_and_column(code, end));
            (ends[0]..ends[1]).contains(&place)
        };
        (is_variable && cell.items.iter().any(holds)).then(|| {
            format!(
                "`{name}` is a variable, and items such as functions see no variables: hand it over as an argument, or define `{name}` by `const` or `static`"
            )
        })
    }

    /// Returns the error, or the error of an interrupted cell.
    fn failed(&self, error: CellError) -> Outcome {
        Outcome::Error(if self.pump.shared.lock().interrupted {
            stopped()
        } else {
            error
        })
    }

    fn remember(&mut self, file: &str, source: &Arc<Source>) {
        if self.sources.iter().any(|(name, _)| name == file) {
            return;
        }
        self.sources
            .push_back((file.to_owned(), Arc::clone(source)));
        if self.sources.len() > SOURCES_KEPT {
            self.sources.pop_front();
        }
    }

    /// Returns the bundle crates, which must be named so that their libraries are linked.
    fn umbrellas(&self) -> Vec<String> {
        self.compiler
            .libraries
            .iter()
            .filter_map(|library| library.umbrella.clone())
            .collect()
    }

    /// Adds a dependency like `:dep`.
    fn add_dependency(&mut self, arguments: &str) -> Result<(), String> {
        let mut dependencies = self.dependencies.clone();
        dependencies
            .add(arguments)
            .map_err(|error| error.to_string())?;
        self.depend_on(dependencies)
    }

    fn depend_on(&mut self, dependencies: Dependencies) -> Result<(), String> {
        let sources = dependencies.local_sources();
        let library = dependencies
            .provide(&self.toolchain, &self.cache, &|line| {
                self.pump.show(Event::Stderr(format!("{line}\n")));
            })
            .map_err(|error| error.to_string())?;
        self.compiler.libraries.clone_from(&self.own_libraries);
        self.compiler.libraries.push(library);
        self.dependencies = dependencies;
        self.values.clear();
        self.hiding.clear();
        self.built_sources = sources;
        self.surround();
        Ok(())
    }

    /// Rebuilds libraries that were deleted from the cache while the kernel runs.
    fn restore_libraries(&mut self) -> Result<(), CellError> {
        if self.compiler.libraries.iter().all(Library::is_there) {
            return Ok(());
        }
        let failed = |words: String| report::message("KernelError", &words);
        let runtime = cell_runtime(&self.toolchain, &self.cache)
            .map_err(|error| failed(error.to_string()))?;
        let helpers = self.helpers.as_ref().ok();
        self.own_libraries = own_libraries(&runtime, &self.toolchain, helpers, &self.cache);
        self.depend_on(self.dependencies.clone()).map_err(failed)
    }

    /// Adds a dependency on any version of `x` for `extern crate x;`, unless the crate is
    /// available.
    fn extern_crates(&mut self, cell: &Cell) -> Result<(), CellError> {
        for item in &cell.items {
            let cell::What::ExternCrate(name) = &item.what else {
                continue;
            };
            let known = ["std", "core", "alloc", "proc_macro", "test", "self"]
                .contains(&name.as_str())
                || self.knows_crate(name);
            if !known {
                self.add_dependency(name)
                    .map_err(|words| report::message("CompileError", &words))?;
            }
        }
        Ok(())
    }

    /// Adds `tokio`, which provides the runtime for awaiting futures, unless the crate is
    /// available.
    fn provide_tokio(&mut self) -> Result<(), CellError> {
        if self.knows_crate("tokio") {
            return Ok(());
        }
        self.add_dependency("tokio = { version = \"1\", features = [\"rt\", \"rt-multi-thread\"] }")
            .map_err(|words| report::message("CompileError", &words))
    }

    fn knows_crate(&self, name: &str) -> bool {
        self.compiler
            .libraries
            .iter()
            .any(|library| library.crates.iter().any(|(known, _)| known == name))
    }

    /// Writes the history as a Cargo package. Returns a message about the export.
    fn export(&self, folder: &str) -> Result<String, export::Error> {
        let session_name = std::env::var(env::SESSION_NAME).ok();
        let folder = export::folder(folder, session_name.as_deref());
        let mut program = Program::new(&self.session, &self.history)?;
        let helpers: Vec<&Facade> = self
            .helpers
            .iter()
            .flat_map(Helpers::facades)
            .filter(|facade| !self.dependencies.lines.contains_key(&facade.name))
            .collect();
        let complaint = self.fit(&mut program)?;
        let package = Package {
            source: program.source().text,
            helpers: helpers
                .into_iter()
                .filter(|facade| program.mentions(&facade.crate_name))
                .collect(),
            dependencies: &self.dependencies,
            lock: self.dependencies.lock(&self.toolchain, &self.cache),
            set: self.helpers.as_ref().ok(),
            rustfmt: self.toolchain.rustc.with_file_name("rustfmt"),
        };
        package.write(&folder)?;
        Ok(export::answer(
            &folder,
            program.count(),
            program.has_tests(),
            self.history.is_cut(),
            complaint.as_deref(),
        ))
    }

    /// Compiles the program and adapts it to the compiler's errors. Returns the first remaining
    /// error, if any.
    fn fit(&self, program: &mut Program<'_>) -> Result<Option<String>, export::Error> {
        let mut complaint = None;
        for _ in 0..MOST_TRIES {
            let source = program.source();
            let file = format!("{EXPORTED}.rs");
            let path = self.compiler.folder().join(&file);
            std::fs::write(&path, &source.text).map_err(export::file_error("write", &path))?;
            let compiled = self
                .compiler
                .compile(EXPORTED, &file, &[], Output::Check)
                .map_err(export::file_error("run", &self.toolchain.rustc))?;
            if compiled.success {
                return Ok(None);
            }
            complaint = compiled.errors().first().map(|error| {
                let text = error.text();
                match error.code() {
                    "" => text.to_owned(),
                    code => format!("{code}: {text}"),
                }
            });
            if !program.change(&compiled.messages, &source, &file) {
                break;
            }
        }
        Ok(complaint)
    }

    /// Removes all definitions, variables and dependencies.
    fn clear(&mut self) -> Result<(), String> {
        self.session = Session {
            // Names of loaded libraries cannot be reused.
            version: self.session.version + 1,
            ..Session::default()
        };
        self.dependencies = Dependencies {
            offline: self.dependencies.offline,
            ..Dependencies::default()
        };
        self.compiler.libraries.clone_from(&self.own_libraries);
        self.surround();
        self.history.clear();
        self.start_process()
    }

    /// Starts a new cell process. All variables are lost.
    fn restart(&mut self) -> Result<(), String> {
        self.lose_variables();
        self.start_process()
    }

    fn start_process(&mut self) -> Result<(), String> {
        self.process = None;
        let process = Process::start(&self.recipe).map_err(|error| {
            format!("the cell process cannot be started: {error}\nhint: restart the kernel")
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn set_environment(&mut self, name: &str, value: &str) {
        let environment = &mut self.recipe.environment;
        environment.retain(|(known, _)| known != name);
        environment.push((name.into(), value.into()));
    }

    fn documentation(&self, name: &str) -> Option<MimeBundle> {
        self.publish();
        crate::Analyst::inspect(&*self.analyst, name, name.chars().count())
    }

    /// Makes the current session available for completion and inspection.
    fn publish(&self) {
        self.analyst.learn(&self.session, &self.dependencies);
    }
}

impl Evaluator for RustcEvaluator {
    fn name_cell(&mut self, name: CellName) {
        self.next = name;
    }

    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome {
        self.session.running.clone_from(&self.next.id);
        let count = self.next.count;
        self.history.begin(std::mem::take(&mut self.next));
        self.pump.shared.begin(count);
        if let Some(stuck) = self.pump.comms.stuck() {
            events.emit(stuck);
        }
        let outcome = self.pump.forwarder().forward(events, || {
            catch_unwind(AssertUnwindSafe(|| self.cell(code)))
                .unwrap_or_else(|_| Outcome::Error(evaluator_panicked()))
        });
        self.pump.end();
        self.publish();
        outcome
    }

    fn show_late(&mut self, late: Arc<dyn LateEvents>) {
        // The kernel sets it once, so it is not set yet.
        self.pump.shared.late.set(late).ok();
    }

    fn values(&mut self, names: &[&str], limit: usize) -> BTreeMap<String, String> {
        if names.is_empty() {
            return BTreeMap::new();
        }
        let (show, timing) = (self.show, self.timing);
        // The user's display settings would change the result.
        (self.show, self.timing) = (Show::default(), false);
        self.history.pause(true);
        let outcome = self.execute(&values::cell(names, limit), &Discard);
        self.history.pause(false);
        (self.show, self.timing) = (show, timing);
        match outcome {
            Outcome::Ok(Some(value)) => values::read(&value),
            other => {
                tracing::debug!(?other, "the variables could not be shown");
                BTreeMap::new()
            }
        }
    }

    fn warm_up(&mut self) {
        self.prepare();
        self.imports.wait();
        // The library may now be compiled without imports.
        self.prepare();
        self.libraries.wait();
    }

    fn variables(&self) -> Vec<Variable> {
        self.session.shown_variables()
    }

    fn analyst(&self) -> Arc<dyn crate::Analyst> {
        Arc::new(Arc::downgrade(&self.analyst))
    }

    fn comms(&self) -> Option<Comms> {
        Some(self.pump.comms.clone())
    }

    fn interrupter(&self) -> Interrupter {
        interrupt::interrupter(&self.pump.shared)
    }
}

/// Returns the runtime and the helper crates.
fn own_libraries(
    runtime: &Path,
    toolchain: &Toolchain,
    helpers: Option<&Helpers>,
    cache: &Path,
) -> Vec<Library> {
    let mut libraries = vec![Library {
        crates: vec![(generated::RUNTIME.to_owned(), runtime.to_owned())],
        folders: runtime
            .parent()
            .map(Path::to_owned)
            .into_iter()
            .chain([toolchain.libdir.clone()])
            .collect(),
        ..Library::default()
    }];
    if let Some(helpers) = helpers {
        match helpers::library(helpers, toolchain, cache) {
            Ok(library) => libraries.push(library),
            Err(error) => tracing::error!(%error, "cells cannot use the helper crates"),
        }
    }
    libraries
}

/// Returns the user's start code from the [start files](compatibility::START_FILES).
fn user_configuration() -> impl Iterator<Item = String> {
    let folder = std::env::var_os(compatibility::CONFIG_DIR)
        .map(PathBuf::from)
        .or_else(|| {
            let config = std::env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
            Some(config.join(compatibility::CONFIGURATION))
        });
    folder.into_iter().flat_map(|folder| {
        compatibility::START_FILES
            .into_iter()
            .filter_map(move |name| std::fs::read_to_string(folder.join(name)).ok())
    })
}

/// Formats names as a list for messages.
fn list(names: &[&String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Returns a variable that the cell would lose, and the reason why the cell cannot use it.
fn words_of_losing(lost: &Lost) -> (String, String) {
    let name = lost.name.clone();
    let words = format!(
        "this cell changes what `{name}` is made of (`{}`), so it cannot use the older `{name}`; define that in a cell of its own, then run the cell again that makes `{name}`",
        lost.changes.join("`, `")
    );
    (name, words)
}

/// Appends the output of a command to the output of the commands before it.
fn append(answered: &mut MimeBundle, answer: MimeBundle) {
    for (mime_type, content) in answer {
        match (answered.get_mut(&mime_type), content) {
            (Some(serde_json::Value::String(before)), serde_json::Value::String(content)) => {
                before.push('\n');
                before.push_str(&content);
            }
            (_, content) => {
                answered.insert(mime_type, content);
            }
        }
    }
}

/// Returns the libraries that define the session's statics.
fn homes(session: &Session) -> Library {
    Library {
        linked: session.homes(),
        ..Library::default()
    }
}

/// Returns the places in cells at which the compiler reported errors.
fn blamed(compiled: &Compiled, source: &Source, file: &str) -> Vec<Blame> {
    let errors = compiled.errors().into_iter();
    errors
        .flat_map(|error| error.blamed(source, file))
        .collect()
}

/// Returns the statics of other crates that constants read.
fn foreign_statics(compiled: &Compiled) -> Vec<&str> {
    let errors = compiled.errors().into_iter();
    errors.filter_map(Message::foreign_static).collect()
}

/// Returns the types of the variables that a cell stores.
fn stored_in(mir: &Path, session: &Session, from_library: bool) -> BTreeMap<String, VariableType> {
    let text = std::fs::read_to_string(mir).unwrap_or_default();
    std::fs::remove_file(mir).ok();
    let items = session.items.iter().map(|item| item.text.as_str());
    let paths = Paths {
        of_crate: from_library.then_some(generated::WITH_ITEMS),
        modules: &Modules::of(items),
        crates: &session.outside.crates,
    };
    stored_types(&text, paths)
}

/// Returns the error for an unbalanced delimiter or an unterminated token.
fn unbalanced(code: &str, found: &brackets::Unbalanced) -> CellError {
    let label = |place: &std::ops::Range<usize>, text: &str, primary| Label {
        start: line_and_column(code, place.start),
        end: line_and_column(code, place.end),
        text: text.to_owned(),
        primary,
    };
    let mut labels = vec![label(&found.place, found.label, true)];
    labels.extend(
        found
            .other
            .iter()
            .map(|(place, text)| label(place, text, false)),
    );
    let diagnostic = Diagnostic {
        level: "error".to_owned(),
        message: found.message.clone(),
        labels,
        ..Diagnostic::default()
    };
    report::compile_errors(code, &[diagnostic])
}

/// Returns the error for a compiler failure without a compiler error.
fn compiler_failed(compiled: &Compiled) -> CellError {
    let words = compiled.noise.trim();
    report::message(
        "CompileError",
        &format!(
            "the compiler failed on this cell\n{words}\nhint: write it differently; `azureml-kernel doctor` checks the compiler"
        ),
    )
}
