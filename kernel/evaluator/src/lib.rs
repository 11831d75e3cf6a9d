//! Interface between the Jupyter layer and the evaluators that compile and run cells.
//!
//! The kernel depends only on [`Evaluator`] and [`Event`]. The evaluator of this crate calls `rustc`
//! for each cell; another engine can implement the interface from the same [parts](engine). One
//! thread drives an evaluator; only [`Interrupter`], [`Analyst`] and [`Comms`] are used from other
//! threads.

pub mod cache;
mod child;
pub mod code_intelligence;
mod comm;
mod compatibility;
mod completeness;
mod ending;
pub mod engine;
mod env;
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
pub use child::{CellRuntimeError, child_hook, child_hook_before};
pub use comm::{CommListener, CommMessage, CommMessageType, Comms};
pub use completeness::{Completeness, is_complete};
pub use programs::{adopt_programs, end_programs};
pub use rustc::start;
pub use start::{Options, StartError};

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

/// One value in several representations, by MIME type: the `data` member of Jupyter's messages.
///
/// Text types hold a string, `application/json` (and `+json`) any value, images base64 text.
pub type MimeBundle = BTreeMap<String, serde_json::Value>;

/// Output or a request of a running cell; events are emitted in the order in which they occurred.
#[derive(Debug)]
pub enum Event {
    /// Text written to standard output; may be part of a line.
    Stdout(String),
    /// Text written to standard error; may be part of a line.
    Stderr(String),
    /// `display_data`; with an id, the display can be updated later.
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
    /// A comm message of user code. Only a [`CommListener`] receives it.
    Comm(Box<CommMessage>),
    /// An input request: user code reads a line from standard input.
    Input {
        /// The text shown beside the input box.
        prompt: String,
        /// Whether the front end hides the typed text.
        password: bool,
        /// Receives the reply. A sender dropped without a reply means [`InputAnswer::Unavailable`].
        reply: Sender<InputAnswer>,
    },
}

/// The reply to an input request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputAnswer {
    /// A line, without its newline.
    Line(String),
    /// The user ended the input: the read returns nothing, as at the end of a file.
    End,
    /// The front end does not support input: the read fails, and the cell prints a hint.
    Unavailable,
    /// The cell is being interrupted or has ended: the read fails.
    Cancelled,
}

/// Receives the events of a running cell.
pub trait Events: Send + Sync {
    /// Takes the next event. Never blocks on the front end.
    fn emit(&self, event: Event);
}

/// Receives events that arrive while no cell runs: output of threads that outlive their cell.
pub trait LateEvents: Send + Sync + std::fmt::Debug {
    /// Takes an event of a thread that the cell with this execution [count](CellName::count)
    /// started. Never blocks on the front end.
    fn emit(&self, cell: Option<u32>, event: Event);
}

/// Discards all events.
pub struct Discard;

impl Events for Discard {
    fn emit(&self, _event: Event) {}
}

/// The result of a cell.
#[derive(Debug)]
pub enum Outcome {
    /// The cell ran to its end; a displayed last expression is its value.
    Ok(Option<MimeBundle>),
    /// The cell did not compile, panicked, returned early by `?`, was interrupted, or its process
    /// died.
    Error(CellError),
}

/// An error with the members of Jupyter's `error` message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellError {
    /// The kind: `CompileError`, `Panic`, `Error` (a failed `?`), `Interrupted`, `ProcessDied`,
    /// `KernelError`.
    pub ename: String,
    /// A one-line summary of the error.
    pub evalue: String,
    /// The text shown to the user, one line or block per entry; may contain ANSI colours.
    pub traceback: Vec<String>,
}

/// Completions for a cursor position.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// The replacements, best first.
    pub matches: Vec<Completion>,
    /// Start of the replaced text, in code points from the start of the cell.
    pub start: usize,
    /// End of the replaced text, in code points.
    pub end: usize,
}

impl Completions {
    /// Returns an empty list of completions for this cursor.
    pub fn none(cursor: usize) -> Self {
        Self {
            matches: Vec::new(),
            start: cursor,
            end: cursor,
        }
    }
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The text that replaces `start..end`.
    pub text: String,
    /// The kind in JupyterLab's vocabulary (`function`, `struct`, …); empty when unknown.
    pub kind: String,
    /// Its type or signature; empty when unknown.
    pub signature: String,
}

/// A variable that persists between cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// The type, as Rust code.
    pub type_name: String,
}

/// Interrupts the running cell from another thread; does nothing when no cell runs.
pub type Interrupter = Arc<dyn Fn() + Send + Sync>;

/// Completion and inspection of code, callable from any thread, also while a cell runs.
///
/// The results reflect the state after the last cell that has ended. An engine with one context for
/// both execution and analysis returns nothing while a cell runs.
pub trait Analyst: Send + Sync {
    /// Returns the completions at `cursor`, in code points.
    fn complete(&self, code: &str, cursor: usize) -> Completions;

    /// Describes the item at `cursor`, in code points; `None` when no description exists.
    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle>;

    /// The persistent variables, sorted by name.
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

/// The identifiers that a front end assigns to a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellName {
    /// The cell id, stable over executions of the cell; `None` when the front end sends none.
    pub id: Option<String>,
    /// The execution count shown beside the cell.
    pub count: Option<u32>,
}

/// Compiles and runs cells one after the other, and analyses code.
pub trait Evaluator: Send {
    /// Sets the name of the cell that [`execute`](Self::execute) runs next.
    fn name_cell(&mut self, _name: CellName) {}

    /// Sets the receiver of events that arrive between cells. Without one, the next cell shows
    /// them.
    fn show_late(&mut self, _late: Arc<dyn LateEvents>) {}

    /// Runs a cell. All events of the cell have been emitted when this returns.
    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome;

    /// Same as [`Analyst::complete`].
    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        self.analyst().complete(code, cursor)
    }

    /// Same as [`Analyst::inspect`].
    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle> {
        self.analyst().inspect(code, cursor)
    }

    /// Loads in idle time the data that the first completion or inspection would otherwise wait
    /// for.
    fn warm_up(&mut self) {}

    /// The persistent variables, sorted by name.
    fn variables(&self) -> Vec<Variable> {
        self.analyst().variables()
    }

    /// Returns the values of the named variables in `Debug` format, cut after `limit` characters.
    ///
    /// This runs user code. Variables that cannot be formatted are omitted.
    fn values(&mut self, _names: &[&str], _limit: usize) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Returns a handle for analysis. It does not keep the evaluator alive; without the evaluator
    /// its results are empty.
    fn analyst(&self) -> Arc<dyn Analyst>;

    /// Returns a handle that interrupts the running cell.
    fn interrupter(&self) -> Interrupter;

    /// The comms of user code, usable from any thread; `None` when the evaluator does not support
    /// comms.
    fn comms(&self) -> Option<Comms> {
        None
    }
}
