//! The loop that executes the queue's effects: starts jobs and sweeps, passes cancellations on, and
//! records ends.

use crate::dir::Dir;
use crate::error::Result;
use crate::name::RunName;
use crate::runner::failure::Failure;
use crate::runner::{self, sweep};
use crate::store::job;
use crate::workspace::folder::Folder;
use crate::workspace::queue::{Effect, Waiting};
use crate::workspace::{Shared, Workspace, blocking};
use azureml_wire::job::JobStatus;
use futures::FutureExt;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Resumes the jobs that had not ended when the previous server ended.
pub async fn recover(app: &Workspace) -> Result<()> {
    app.refresh_computes().await?;
    let mut jobs = app.db(job::unfinished).await?;
    // Other folders belong to jobs whose end was stored just before the previous server ended.
    let names: HashSet<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let home = app.home.clone();
    let store = Arc::clone(&app.store);
    let left = blocking(move || {
        let mut left = Vec::new();
        for entry in Dir::at(&home.jobs())?.entries()? {
            let Some(run) = entry.name().and_then(|name| RunName::parse(name).ok()) else {
                continue;
            };
            let folder = Folder::of(&home, &run);
            let known = |store: &Connection| job::get(store, run.as_ref());
            if store.transaction(known)?.is_some() {
                // `adopt` does nothing for a folder that has its mark or contains unexpected
                // entries.
                let _ = folder.adopt();
            }
            if !names.contains(run.as_ref()) {
                left.push(folder);
            }
        }
        Ok(left)
    })
    .await?;
    // Not awaited, because the removal may take minutes. The next start tries again after a
    // failure.
    tokio::task::spawn_blocking(move || {
        for folder in left {
            if let Err(error) = folder.clear() {
                tracing::info!(%error, "a folder among the jobs stays");
            }
        }
    });
    // Jobs that have nodes keep them, so they come before the queued ones.
    jobs.sort_by_key(|job| job.status == JobStatus::Queued);
    for job in jobs {
        tracing::info!(job = job.name, status = %job.status, "taken up again");
        if job.is_sweep() {
            app.scheduling.change(|queue| queue.start_sweep(&job.name));
        } else {
            let waiting = Waiting::of(&job);
            app.scheduling.change(|queue| queue.submit(waiting));
        }
    }
    Ok(())
}

/// Executes effects as nodes become free, until the home folder no longer belongs to this server.
pub async fn run(app: Shared) {
    let mut tasks = Tasks {
        app: Arc::clone(&app),
        running: JoinSet::new(),
        cancels: HashMap::new(),
    };
    // If another server has taken over the home folder, it starts the waiting jobs.
    while app.hold.is_kept() {
        let (effects, next) = app.scheduling.step(|queue| queue.schedule(Instant::now()));
        for effect in effects {
            tasks.execute(effect);
        }
        let time = async {
            match next {
                Some(next) => tokio::time::sleep(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = app.scheduling.changed() => {}
            () = time => {}
            Some(Ok(name)) = tasks.running.join_next() => {
                tasks.cancels.remove(&name);
                app.scheduling.step(|queue| queue.ended(&name, Instant::now()));
            }
        }
    }
    // They end with the server, after it has answered the requests in progress.
    tasks.running.detach_all();
}

/// The tasks of running jobs and sweeps. Each returns the name of its job.
struct Tasks {
    app: Shared,
    running: JoinSet<String>,
    /// The senders that become true when a cancellation is requested.
    cancels: HashMap<String, watch::Sender<bool>>,
}

impl Tasks {
    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::StartJob(name) => self.start(name, false),
            Effect::StartSweep(name) => self.start(name, true),
            Effect::Cancel(name) => {
                if let Some(cancel) = self.cancels.get(&name) {
                    cancel.send_replace(true);
                }
            }
            Effect::Discard(name) => {
                let app = Arc::clone(&self.app);
                self.running.spawn(async move {
                    runner::end(&app, &name, JobStatus::Canceled, None).await;
                    name
                });
            }
        }
    }

    fn start(&mut self, name: String, is_sweep: bool) {
        let (cancel, canceled) = watch::channel(false);
        self.cancels.insert(name.clone(), cancel);
        let app = Arc::clone(&self.app);
        self.running.spawn(async move {
            let driven = async {
                if is_sweep {
                    sweep::drive(&app, &name, canceled).await;
                } else {
                    runner::drive(&app, &name, canceled).await;
                }
            };
            if AssertUnwindSafe(driven).catch_unwind().await.is_err() {
                let what = if is_sweep { "sweep" } else { "job" };
                let failure = Failure::system(format!(
                    "the local workspace failed to run the {what}\nhint: see server.log in its folder"
                ));
                runner::end(&app, &name, JobStatus::Failed, Some(failure)).await;
            }
            name
        });
    }
}
