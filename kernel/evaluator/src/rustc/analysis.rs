//! Completion and documentation lookup by the rust-analyzer in `evcxr`. The engine starts with the
//! first request and serves requests while cells run.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Cell;
use super::completion;
use super::dependencies::Dependencies;
use super::names;
use super::registry::Registry;
use super::session::Session;
use crate::evcxr::EvcxrEvaluator;
use crate::nesting;
use crate::start::Options;
use crate::{Completions, Evaluator, MimeBundle, Variable};

/// Serves completion and inspection requests.
pub(super) struct Analyst {
    options: Options,
    /// The session state after the last finished cell.
    known: Mutex<Arc<Known>>,
    engine: Mutex<Engine>,
}

#[derive(Default)]
struct Known {
    /// The dependencies, items and variables, as the source of a cell.
    context: String,
    variables: Vec<Variable>,
    /// The names that cells define or import.
    items: Vec<String>,
}

enum Engine {
    Unasked,
    Ready(Box<EvcxrEvaluator>),
    Unavailable,
}

impl Analyst {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            known: Mutex::default(),
            engine: Mutex::new(Engine::Unasked),
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

    /// Runs a query at a position of a cell, with the session state prepended to the cell.
    fn ask<T>(
        &self,
        code: &str,
        cursor: usize,
        question: impl FnOnce(&mut EvcxrEvaluator, &str, usize, usize) -> Option<T>,
    ) -> Option<T> {
        if nesting::is_too_deep(code) {
            return None;
        }
        let known = self.known();
        let (rust, skipped) = without_commands(code, &known);
        let in_rust = cursor.checked_sub(skipped)?;
        let before = known.context.chars().count();
        let mut engine = lock(&self.engine);
        if let Engine::Unasked = *engine {
            *engine = match EvcxrEvaluator::start(self.options.clone()) {
                Ok(evaluator) => Engine::Ready(Box::new(evaluator)),
                Err(error) => {
                    tracing::error!(%error, "code cannot be analysed");
                    Engine::Unavailable
                }
            };
        }
        let Engine::Ready(evaluator) = &mut *engine else {
            return None;
        };
        let cell = format!("{}{rust}", known.context);
        question(evaluator, &cell, before + in_rust, before)
    }
}

impl crate::Analyst for Analyst {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let known = self.known();
        let registry = Registry::of_user();
        if let Some(found) = completion::beside_rust(code, cursor, &known.variables, &registry) {
            return found;
        }
        let skipped = without_commands(code, &known).1;
        let found = self.ask(code, cursor, |evaluator, cell, place, before| {
            let found = evaluator.complete(cell, place);
            (!found.matches.is_empty() && found.start >= before).then(|| Completions {
                matches: found.matches,
                start: found.start - before + skipped,
                end: found.end - before + skipped,
            })
        });
        found.unwrap_or_else(|| names::complete(code, cursor, &known.variables, &known.items))
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        self.ask(code, cursor, |evaluator, cell, place, _| {
            evaluator.inspect(cell, place)
        })
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
