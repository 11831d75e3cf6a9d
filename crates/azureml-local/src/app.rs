//! What all parts of a running local workspace share.

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

/// A running local workspace. Has no `Debug`: it holds the token.
pub struct App {
    /// Where its files lie.
    pub home: Home,
    /// That they are still its own.
    pub hold: Hold,
    /// What it remembers.
    pub store: Store,
    /// What it signs with.
    pub signer: Signer,
    /// The bearer token of its owner.
    pub token: String,
    /// The port that it answers on.
    pub port: u16,
    /// Jobs that wait or run.
    pub queue: Queue,
    /// The machine under it.
    pub machine: Machine,
    /// Held while a blob is replaced or changed, so that its conditions are those of the one that is.
    pub blobs: Mutex<()>,
    /// Requests that are being answered.
    pub activity: Activity,
    /// Where exchanges are recorded.
    pub trace: Option<Trace>,
    /// The tickets in links to pages.
    pub tickets: Tickets,
    /// The pages of jobs that somebody looks at.
    pub watches: Watches,
}

/// As handlers and tasks hold it.
pub type Shared = Arc<App>;

impl App {
    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What MLflow clients take as tracking URI.
    pub fn tracking_uri(&self) -> String {
        format!("{}/mlflow/v2.0{}", self.url(), scope())
    }

    /// Lets nobody else replace or change a blob until the result is dropped.
    pub fn alone_with_blobs(&self) -> MutexGuard<'_, ()> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to go on when the home folder is no longer this server's.
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

    /// Runs `call` as one transaction of the store, off the threads that answer requests.
    pub async fn db<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let app = Arc::clone(self);
        blocking(move || app.store.transaction(call)).await
    }
}

/// Runs `call` off the threads that answer requests.
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

/// Requests that are being answered, and when the last one was.
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
    /// How long nothing was asked.
    pub fn quiet(&self) -> Duration {
        if self.requests.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    /// Counts a request until the result is dropped.
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
