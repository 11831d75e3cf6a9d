//! Completion and documentation lookup, also while a cell runs.
//!
//! Rust code is analysed by the [code intelligence](crate::code_intelligence) process. Commands and
//! paths are completed here, and so are names when that process is not available.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Cell;
use super::completion;
use super::dependencies::Dependencies;
use super::names;
use super::registry::Registry;
use super::session::Session;
use crate::code_intelligence::{Client, Kind, Reply, Start};
use crate::nesting;
use crate::{Completions, MimeBundle, Variable};

/// How often the process is started again after it has ended or failed.
const MOST_FAILURES: u8 = 3;

/// Serves completion and inspection requests.
pub(super) struct Analyst {
    program: PathBuf,
    start: Start,
    /// The session state after the last finished cell.
    known: Mutex<Arc<Known>>,
    process: Mutex<Process>,
}

/// The code intelligence process.
#[derive(Default)]
struct Process {
    client: Option<Client>,
    /// The failures since the last reply.
    failures: u8,
}

#[derive(Default)]
struct Known {
    /// The dependencies, items and variables, as the source of a cell.
    context: String,
    variables: Vec<Variable>,
    /// The names that cells define or import.
    items: Vec<String>,
}

impl Analyst {
    /// The process is started by the first request.
    pub(super) fn new(program: PathBuf, start: Start) -> Self {
        Self {
            program,
            start,
            known: Mutex::default(),
            process: Mutex::default(),
        }
    }

    /// Updates the session state. Does not wait for a request in progress.
    pub(super) fn learn(&self, session: &Session, dependencies: &Dependencies) {
        *lock(&self.known) = Arc::new(Known {
            context: context(session, dependencies),
            variables: session.shown_variables(),
            items: session.names(),
        });
    }

    fn known(&self) -> Arc<Known> {
        lock(&self.known).clone()
    }

    /// Sends a request about a position of a cell, with the session state prepended to the cell.
    /// Returns the reply and two lengths in code points: of the commands at the top of the cell,
    /// which are left out, and of the prepended text.
    fn request(&self, kind: Kind, code: &str, cursor: usize) -> Option<(Reply, usize, usize)> {
        if nesting::is_too_deep(code) {
            return None;
        }
        let known = self.known();
        let (rust, skipped) = without_commands(code, &known);
        let in_rust = cursor.checked_sub(skipped)?;
        let before = known.context.chars().count();
        let cell = format!("{}{rust}", known.context);
        let reply = self.reply(kind, cell, before + in_rust)?;
        Some((reply, skipped, before))
    }

    /// Starts the process if necessary, and returns its reply.
    fn reply(&self, kind: Kind, cell: String, cursor: usize) -> Option<Reply> {
        let mut process = lock(&self.process);
        // The binary may be built after the kernel has started.
        if process.failures >= MOST_FAILURES || !self.program.is_file() {
            return None;
        }
        let client = match process.client.take() {
            Some(client) => Ok(client),
            None => Client::start(&self.program, &self.start),
        };
        let replied = client.and_then(|mut client| {
            let reply = client.request(kind, cell, cursor)?;
            Ok((client, reply))
        });
        match replied {
            Ok((_, Reply::Failed(error))) => {
                tracing::error!(%error, "code cannot be analysed");
                process.failures = MOST_FAILURES;
                None
            }
            Ok((client, reply)) => {
                *process = Process {
                    client: Some(client),
                    failures: 0,
                };
                Some(reply)
            }
            Err(error) => {
                tracing::error!(%error, program = %self.program.display(), "no reply about code");
                process.failures += 1;
                None
            }
        }
    }
}

impl crate::Analyst for Analyst {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let known = self.known();
        let registry = Registry::of_user();
        if let Some(found) = completion::beside_rust(code, cursor, &known.variables, &registry) {
            return found;
        }
        let found = match self.request(Kind::Complete, code, cursor) {
            Some((Reply::Completions(found), skipped, before))
                if !found.matches.is_empty() && found.start >= before =>
            {
                Some(Completions {
                    matches: found.matches,
                    start: found.start - before + skipped,
                    end: found.end - before + skipped,
                })
            }
            _ => None,
        };
        found.unwrap_or_else(|| names::complete(code, cursor, &known.variables, &known.items))
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        match self.request(Kind::Inspect, code, cursor)?.0 {
            Reply::Documentation(found) => found,
            _ => None,
        }
    }

    fn variables(&self) -> Vec<Variable> {
        self.known().variables.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the dependencies, items and variables of earlier cells as the source of a cell.
fn context(session: &Session, dependencies: &Dependencies) -> String {
    let mut context = String::new();
    for (name, specification) in &dependencies.lines {
        // Writing to a string cannot fail.
        let _ = writeln!(context, ":dep {name} = {specification}");
    }
    for (_, import) in &session.imports {
        let _ = writeln!(context, "{}", import.code);
    }
    for item in &session.items {
        let _ = writeln!(context, "{}", item.text);
    }
    for (name, variable) in &session.variables {
        let mutable = if variable.mutable { "mut " } else { "" };
        let _ = writeln!(
            context,
            "let {mutable}{name}: {} = loop {{}};",
            variable.type_name
        );
    }
    context
}

/// Returns the code after the commands at the top of a cell, and the commands' length in code
/// points.
fn without_commands<'a>(code: &'a str, known: &Known) -> (&'a str, usize) {
    let is_variable = |name: &str| known.variables.iter().any(|it| it.name == name);
    let start = Cell::parse_among(code, &is_variable).rust.start;
    (&code[start..], code[..start].chars().count())
}
