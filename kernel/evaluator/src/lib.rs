//! The seam between the Jupyter layer and whatever compiles and runs cells.
//!
//! The kernel knows [`Evaluator`] and [`Event`]; behind them are an evaluator of its own, which calls `rustc`, and the crate `evcxr`.
//! An evaluator is driven from one thread; [`Interrupter`] and [`Analyst`] are the only parts that other threads touch.

pub mod cache;
mod child;
mod comm;
mod completeness;
mod ending;
mod env;
mod evcxr;
mod folder;
mod interrupt;
mod link;
mod nesting;
mod position;
mod programs;
mod report;
pub mod rust_src;
mod rustc;
mod start;
mod stream;
mod tag;

pub use azureml_kernel_helpers::toolchain;
pub use child::{CellRuntimeError, child_hook};
pub use comm::{CommListener, CommMessage, CommWhat, Comms};
pub use completeness::{Completeness, is_complete};
pub use programs::{adopt_programs, end_programs};
pub use start::{Engine, Options, StartError, start};

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

/// One value in several representations, by MIME type, as Jupyter's `data` member carries it.
///
/// Text types hold a string, `application/json` (and `+json`) any value, images base64 text.
pub type MimeBundle = BTreeMap<String, serde_json::Value>;

/// Something a cell shows while it runs, in the order in which it happened.
#[derive(Debug)]
pub enum Event {
    /// Text written to standard output; may be part of a line.
    Stdout(String),
    /// Text written to standard error; may be part of a line.
    Stderr(String),
    /// `display_data`; with an id it can be updated later.
    Display {
        /// The representations.
        data: MimeBundle,
        /// The `display_id` by which a later [`Event::UpdateDisplay`] finds it.
        id: Option<String>,
    },
    /// `update_display_data`.
    UpdateDisplay {
        /// The representations that replace the earlier ones.
        data: MimeBundle,
        /// The `display_id` of the display to replace.
        id: String,
    },
    /// `clear_output`; with `wait` only once new output arrives.
    ClearOutput {
        /// Whether to keep the old output until there is new output.
        wait: bool,
    },
    /// User code says something on a comm. Only a [`CommListener`] gets it.
    Comm(Box<CommMessage>),
    /// User code reads a line from standard input.
    Input {
        /// What to show beside the input box.
        prompt: String,
        /// Whether to hide what is typed.
        password: bool,
        /// Takes the answer; dropped without one, it is [`InputAnswer::Unavailable`].
        reply: Sender<InputAnswer>,
    },
}

/// What comes of a question to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputAnswer {
    /// A line, without its newline.
    Line(String),
    /// The user ended the input: reading gives nothing, as at the end of a file.
    End,
    /// There is nobody to ask: reading fails, and the reader of the notebook is told why.
    Unavailable,
    /// The cell is being stopped, or is over: reading fails.
    Cancelled,
}

/// Where the events of a running cell go.
pub trait Events: Send + Sync {
    /// Takes the next event. Never blocks on the front end.
    fn emit(&self, event: Event);
}

/// Where events go that come when no cell runs: of threads that cells have started and that go on.
pub trait LateEvents: Send + Sync + std::fmt::Debug {
    /// Takes an event of a thread of the cell with this [count](CellName::count). Never blocks on the front end.
    fn emit(&self, cell: Option<u32>, event: Event);
}

/// Shows nothing.
pub struct Discard;

impl Events for Discard {
    fn emit(&self, _event: Event) {}
}

/// How a cell ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran to its end; a displayed last expression is its value.
    Ok(Option<MimeBundle>),
    /// It did not compile, panicked, left early by `?`, was interrupted, or its process died.
    Error(CellError),
}

/// An error in the form that Jupyter's `error` message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellError {
    /// The kind: `CompileError`, `Panic`, `Error` (a failed `?`), `Interrupted`, `ProcessDied`, `KernelError`.
    pub ename: String,
    /// One line that says what went wrong.
    pub evalue: String,
    /// What the reader sees, a line or a block each; may hold ANSI colours.
    pub traceback: Vec<String>,
}

/// Completions for a cursor position.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// The replacements, best first.
    pub matches: Vec<Completion>,
    /// Where the replaced text starts, in code points from the start of the cell.
    pub start: usize,
    /// Where the replaced text ends, in code points.
    pub end: usize,
}

impl Completions {
    /// Nothing to put at a cursor.
    pub fn none(cursor: usize) -> Self {
        Self {
            matches: Vec::new(),
            start: cursor,
            end: cursor,
        }
    }
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text that replaces `start..end`.
    pub text: String,
    /// What it is, in the words of JupyterLab's completer (`function`, `struct`, …); empty when unknown.
    pub kind: String,
    /// Its type or signature; empty when unknown.
    pub signature: String,
}

/// A variable that lives on between cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type, as Rust code.
    pub type_name: String,
}

/// Stops the running cell from another thread; does nothing when no cell runs.
pub type Interrupter = Arc<dyn Fn() + Send + Sync>;

/// Answers questions about code from any thread, while a cell runs too: as things stand after the last cell that has ended.
///
/// The crate `evcxr` has one state for running and for asking, so its answers are empty while a cell runs.
pub trait Analyst: Send + Sync {
    /// Completes at `cursor`, in code points.
    fn complete(&self, code: &str, cursor: usize) -> Completions;

    /// Describes what stands at `cursor`, in code points; `None` when there is nothing to say.
    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle>;

    /// The variables that live on, by name.
    fn variables(&self) -> Vec<Variable>;
}

impl<T: Analyst> Analyst for Weak<T> {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        self.upgrade().map_or_else(
            || Completions::none(cursor),
            |analyst| analyst.complete(code, cursor),
        )
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        self.upgrade()?.inspect(code, cursor)
    }

    fn variables(&self) -> Vec<Variable> {
        self.upgrade()
            .map(|analyst| analyst.variables())
            .unwrap_or_default()
    }
}

/// What a front end calls a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellName {
    /// The same each time that the cell runs; `None` from front ends that do not tell.
    pub id: Option<String>,
    /// The number that stands beside the cell.
    pub count: Option<u32>,
}

/// Compiles and runs cells, one after the other, and answers questions about code.
pub trait Evaluator: Send {
    /// Says what the cell is called that [`execute`](Self::execute) runs next.
    fn name_cell(&mut self, _name: CellName) {}

    /// Says where events go that come when no cell runs. Without it the next cell shows them.
    fn show_late(&mut self, _late: Arc<dyn LateEvents>) {}

    /// Runs a cell. Every event of the cell has been emitted when this returns.
    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome;

    /// As [`Analyst::complete`].
    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        self.analyst().complete(code, cursor)
    }

    /// As [`Analyst::inspect`].
    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle> {
        self.analyst().inspect(code, cursor)
    }

    /// Does while nobody waits what the first question would have to wait for.
    fn warm_up(&mut self) {}

    /// The variables that live on, by name.
    fn variables(&self) -> Vec<Variable> {
        self.analyst().variables()
    }

    /// What the named variables hold, as their `Debug` shows it, cut after `limit` characters. Runs the user's code; what cannot be shown
    /// is left out.
    fn values(&mut self, _names: &[&str], _limit: usize) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// A handle that answers questions; it does not keep the evaluator alive, without which it knows nothing.
    fn analyst(&self) -> Arc<dyn Analyst>;

    /// A handle that stops the running cell.
    fn interrupter(&self) -> Interrupter;

    /// The comms of user code, for any thread; `None` when this evaluator has none.
    fn comms(&self) -> Option<Comms> {
        None
    }
}
