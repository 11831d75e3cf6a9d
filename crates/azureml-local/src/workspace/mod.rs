//! The functions of a local workspace: jobs, assets, computes, artifacts and their URIs.
//!
//! The JSON routes and the pages both call these functions. No file here contains HTTP, pages or
//! processes: a job that is to start or to end is an [`Effect`](queue::Effect) in the queue, and
//! [`crate::scheduler`] executes it.

pub mod artifact;
pub mod asset;
pub mod caller;
pub mod command;
pub mod compute;
pub mod folder;
pub mod job;
pub mod output;
pub mod queue;
pub mod resubmission;
pub mod scheduling;
pub mod source;
pub mod sweep;
pub mod uri;

use crate::error::{Error, Result};
use crate::hold::Hold;
use crate::home::Home;
use crate::machine::Machine;
use crate::signer::Signer;
use crate::store::{Store, compute as computes};
use azureml_wire::local::scope;
use rusqlite::Connection;
use scheduling::Scheduling;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The id of the workspace.
pub const ID: &str = "00000000-0000-0000-0000-000000000001";

/// The region of all resources.
pub const LOCATION: &str = "local";

/// A running local workspace. It has no `Debug` implementation because it contains a key.
pub struct Workspace {
    /// The home folder with its files.
    pub home: Home,
    /// The hold on the home folder, which reports whether the folder still belongs to this server.
    pub hold: Hold,
    /// The database.
    pub store: Arc<Store>,
    /// Signs and verifies SAS tokens.
    pub signer: Signer,
    /// The port that the server listens on, which is part of every URL.
    pub port: u16,
    /// The jobs that wait or run.
    pub scheduling: Arc<Scheduling>,
    /// The machine that the server runs on.
    pub machine: Machine,
    /// Locked while a blob is replaced or changed, so that its preconditions are checked against
    /// the current blob.
    pub blobs: Mutex<()>,
}

/// The reference-counted form that handlers and tasks use.
pub type Shared = Arc<Workspace>;

impl Workspace {
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
        &self,
        call: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        blocking(move || store.transaction(call)).await
    }

    /// Updates the queue after computes were created, changed or removed. Jobs that are submitted
    /// after it are scheduled by the new limits.
    pub async fn refresh_computes(&self) -> Result<()> {
        let scheduling = Arc::clone(&self.scheduling);
        // Within the transaction, so that the latest change is the one that the queue keeps.
        self.db(move |store| {
            let computes = computes::list(store)?;
            scheduling.change(|queue| queue.set_computes(&computes));
            Ok(())
        })
        .await
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
