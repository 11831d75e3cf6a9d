//! Compiles the items of earlier cells into a library in the background, so that later cells link
//! to it and do not compile them again.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::compiler::{Compiler, Library, Output};
use super::generated;
use super::plan;
use super::session::Session;
use super::source::Source;

/// The newest library, and the state of the background thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Libraries {
    state: Arc<Mutex<State>>,
    ended: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    finished: Option<Finished>,
    /// The version of the session that a thread is compiling.
    running: Option<u64>,
    /// The newest version whose items do not compile as a library. Cells then include the items in
    /// their own crate.
    refused: Option<u64>,
}

/// A compiled library.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    version: u64,
    pub(super) library: Library,
    /// The name of the source file, and the source.
    pub(super) file: String,
    pub(super) source: Arc<Source>,
}

impl Libraries {
    /// Returns the library with the items of this session, if it is finished.
    pub(super) fn of(&self, session: &Session) -> Option<Finished> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .finished
            .clone()
            .filter(|finished| finished.version == session.version)
    }

    /// Compiles the items of a session in a background thread, unless that was done before.
    /// `without` is the session without the imports that its items do not need.
    pub(super) fn prepare(
        &self,
        session: &Session,
        without: Option<&Session>,
        compiler: &Compiler,
        umbrellas: &[String],
    ) {
        let version = session.version;
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let known = state.running == Some(version)
                || state.refused == Some(version)
                || state.finished.as_ref().map(|finished| finished.version) == Some(version);
            // Only one library is compiled at a time. The next cell retries.
            if known || session.items.is_empty() || state.running.is_some() {
                return;
            }
            state.running = Some(version);
        }
        let mut sources = vec![plan::library(version, session, umbrellas)];
        sources.extend(without.map(|session| plan::library(version, session, &[])));
        let homes = Library {
            linked: session.homes(),
            ..Library::default()
        };
        let compiler = compiler.clone();
        let state = Arc::clone(&self.state);
        let ended = Arc::clone(&self.ended);
        let compile = move || {
            let mut made = Made::Nothing;
            while let Some(source) = sources.pop()
                && !matches!(made, Made::Finished(_))
            {
                made = compile(&compiler, version, source, &homes);
            }
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running = None;
            match made {
                Made::Finished(finished) => state.finished = Some(finished),
                Made::Refused => state.refused = Some(version),
                Made::Nothing => {}
            }
            ended.notify_all();
        };
        if std::thread::Builder::new()
            .name("items".to_owned())
            .spawn(compile)
            .is_err()
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running = None;
        }
    }

    /// Waits until the background thread has finished.
    pub(super) fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.ended
                .wait_while(state, |state| state.running.is_some())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// The result of compiling a library.
enum Made {
    Finished(Finished),
    /// The compiler reported errors, so another attempt would fail, too.
    Refused,
    /// The compiler was stopped or the disk is full. The next cell retries.
    Nothing,
}

fn compile(compiler: &Compiler, version: u64, source: Source, homes: &Library) -> Made {
    let name = format!("{}_{version}", generated::WITH_ITEMS);
    let file = format!("{name}.rs");
    let library: PathBuf = compiler.folder().join(format!("lib{name}.so"));
    if std::fs::write(compiler.folder().join(&file), &source.text).is_err() {
        return Made::Nothing;
    }
    let output = Output::Items { library: &library };
    let Ok(answer) = compiler.compile(generated::WITH_ITEMS, &file, &[homes], output) else {
        return Made::Nothing;
    };
    if !answer.success {
        let mut errors = answer
            .messages
            .iter()
            .filter(|message| message.is_error() && !message.code().is_empty());
        let Some(error) = errors.next() else {
            return Made::Nothing;
        };
        tracing::debug!(
            message = error.text(),
            "the items of the cells make no library"
        );
        return Made::Refused;
    }
    Made::Finished(Finished {
        version,
        library: Library {
            crates: vec![(generated::ITEMS.to_owned(), library)],
            folders: vec![compiler.folder().to_owned()],
            ..Library::default()
        },
        file,
        source: Arc::new(source),
    })
}
