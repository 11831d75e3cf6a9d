//! The state that all parts of a running local workspace share.

use crate::error::{Error, Result};
use crate::hold::Hold;
use crate::home::Home;
use crate::machine::Machine;
use crate::queue::Queue;
use crate::server::trace::Trace;
use crate::signer::Signer;
use crate::store::Store;
use crate::studio::access::Tickets;
use crate::studio::live::Watches;
use azureml_wire::local::scope;
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A running local workspace. It has no `Debug` implementation because it contains the token.
pub struct App {
    /// The home folder with its files.
    pub home: Home,
    /// The hold on the home folder, which reports whether the folder still belongs to this server.
    pub hold: Hold,
    /// The database.
    pub store: Store,
    /// Signs and verifies SAS tokens.
    pub signer: Signer,
    /// The bearer token of its owner.
    pub token: String,
    /// The port that the server listens on.
    pub port: u16,
    /// The jobs that wait or run.
    pub queue: Queue,
    /// The machine that the server runs on.
    pub machine: Machine,
    /// Locked while a blob is replaced or changed, so that its preconditions are checked against
    /// the current blob.
    pub blobs: Mutex<()>,
    /// The requests in progress.
    pub activity: Activity,
    /// The log of HTTP exchanges, if enabled.
    pub trace: Option<Trace>,
    /// The one-time tickets in links to pages.
    pub tickets: Tickets,
    /// The job pages that are open in browsers.
    pub watches: Watches,
}

/// The reference-counted form that handlers and tasks use.
pub type Shared = Arc<App>;

impl App {
    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The tracking URI for MLflow clients.
    pub fn tracking_uri(&self) -> String {
        format!("{}/mlflow/v2.0{}", self.url(), scope())
    }

    /// Excludes other replacements and changes of blobs until the result is dropped.
    pub fn alone_with_blobs(&self) -> MutexGuard<'_, ()> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an error if the home folder no longer belongs to this server.
    pub fn check_home(&self) -> Result<()> {
        if self.hold.is_kept() {
            return Ok(());
        }
        Err(Error::Gone(format!(
            "the folder of this local workspace, {}, was removed or replaced while it ran; it ends, and nothing more is kept\n\
             hint: submit again, which starts a new one; put the folder back first if it was moved",
            self.home.root().display()
        )))
    }

    /// Runs `call` as one transaction of the store, on a blocking thread.
    pub async fn db<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let app = Arc::clone(self);
        blocking(move || app.store.transaction(call)).await
    }
}

/// Runs `call` on a blocking thread, so that it does not block the async runtime.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Internal(format!(
                "the local workspace failed: {error}"
            )))
        })
}

/// The number of requests in progress, and the end of the last one.
#[derive(Debug)]
pub struct Activity {
    requests: AtomicUsize,
    last: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
        }
    }
}

impl Activity {
    /// The time since the last request ended; zero while a request is in progress.
    pub fn quiet(&self) -> Duration {
        if self.requests.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    /// Counts a request as in progress until the result is dropped.
    pub fn begin(&self) -> impl Drop + '_ {
        self.requests.fetch_add(1, Ordering::SeqCst);
        Active(self)
    }
}

struct Active<'a>(&'a Activity);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::SeqCst);
    }
}
