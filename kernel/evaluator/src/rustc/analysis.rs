//! Completion and documentation, by the rust-analyzer in `evcxr`. It is started when it is first asked for.

use std::fmt::Write as _;
use std::thread::JoinHandle;

use super::commands;
use super::dependencies::Dependencies;
use super::session::Session;
use crate::evcxr::EvcxrEvaluator;
use crate::start::{Options, StartError};
use crate::{Completion, Completions, Evaluator, MimeBundle};

/// Answers questions about code.
pub(super) struct Analyst {
    options: Options,
    state: State,
}

enum State {
    Unasked,
    Starting(JoinHandle<Result<EvcxrEvaluator, StartError>>),
    Ready(Box<EvcxrEvaluator>),
    Unavailable,
}

impl Analyst {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Unasked,
        }
    }

    /// Starts in the background.
    pub(super) fn prepare(&mut self) {
        if let State::Unasked = self.state {
            let options = self.options.clone();
            self.state = std::thread::Builder::new()
                .name("analysis".to_owned())
                .spawn(move || EvcxrEvaluator::start(options))
                .map_or(State::Unavailable, State::Starting);
        }
    }

    fn ready(&mut self) -> Option<&mut EvcxrEvaluator> {
        self.prepare();
        if let State::Starting(_) = self.state
            && let State::Starting(thread) = std::mem::replace(&mut self.state, State::Unavailable)
        {
            match thread.join() {
                Ok(Ok(evaluator)) => self.state = State::Ready(Box::new(evaluator)),
                Ok(Err(error)) => tracing::error!(%error, "code cannot be analysed"),
                Err(_) => tracing::error!("the start of the analysis panicked"),
            }
        }
        match &mut self.state {
            State::Ready(evaluator) => Some(evaluator),
            _ => None,
        }
    }

    /// Completes at a place of a cell, which comes after the `context`.
    pub(super) fn complete(&mut self, context: &str, code: &str, cursor: usize) -> Completions {
        let before = context.chars().count();
        let (rust, skipped) = without_commands(code);
        let none = Completions {
            matches: Vec::new(),
            start: cursor,
            end: cursor,
        };
        let (Some(evaluator), Some(in_rust)) = (self.ready(), cursor.checked_sub(skipped)) else {
            return none;
        };
        let found = evaluator.complete(&format!("{context}{rust}"), before + in_rust);
        if found.matches.is_empty() || found.start < before {
            return none;
        }
        Completions {
            matches: found.matches,
            start: found.start - before + skipped,
            end: found.end - before + skipped,
        }
    }

    /// Describes what stands at a place of a cell, which comes after the `context`.
    pub(super) fn inspect(
        &mut self,
        context: &str,
        code: &str,
        cursor: usize,
    ) -> Option<MimeBundle> {
        let (rust, skipped) = without_commands(code);
        let cursor = cursor.checked_sub(skipped)?;
        let before = context.chars().count();
        self.ready()?
            .inspect(&format!("{context}{rust}"), before + cursor)
    }
}

/// The dependencies, items and variables of earlier cells, as a cell.
pub(super) fn context(session: &Session, dependencies: &Dependencies) -> String {
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

/// A cell without the commands at its top, and how many code points they take.
fn without_commands(code: &str) -> (&str, usize) {
    let start = super::cell::Cell::parse(code).rust.start;
    (&code[start..], code[..start].chars().count())
}

/// Completes a command, when the cursor is in the name of one.
pub(super) fn complete_command(code: &str, cursor: usize) -> Option<Completions> {
    let offset = crate::position::byte_offset(code, cursor);
    let line = code[..offset].rfind('\n').map_or(0, |end| end + 1);
    let typed = code[line..offset].trim_start();
    if !typed.starts_with(':') || typed.contains(char::is_whitespace) || typed.starts_with("::") {
        return None;
    }
    let start = cursor - typed.chars().count();
    let matches = commands::beginning_with(typed).map(|(name, what)| Completion {
        text: name.to_owned(),
        kind: "magic".to_owned(),
        signature: what.to_owned(),
    });
    Some(Completions {
        matches: matches.collect(),
        start,
        end: cursor,
    })
}
