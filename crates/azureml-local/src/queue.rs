//! Job scheduling: a first-come, first-served queue for each compute, whose nodes scale up and
//! down.
//!
//! Durable state is in the store (a job is `Queued` until it gets its nodes). This module keeps
//! only the state that is valid while the server runs.

use crate::app::{Shared, blocking};
use crate::dir::Dir;
use crate::error::Result;
use crate::name::RunName;
use crate::runner;
use crate::runner::duration;
use crate::runner::failure::Failure;
use crate::runner::folder::Folder;
use crate::store::compute::{self, Compute};
use crate::store::job::{self, Job};
use crate::sweep;
use azureml_wire::arm::last_part;
use azureml_wire::job::JobStatus;
use futures::FutureExt;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// The queue of jobs without a compute.
const SERVERLESS: &str = "serverless";

/// The maximum number of nodes of a cluster: all of them are this machine.
pub const MOST_NODES: usize = 100;

/// The default time after which a cluster releases an idle node.
const IDLE: Duration = Duration::from_mins(2);

/// A job that waits for its nodes.
#[derive(Debug, Clone)]
pub struct Waiting {
    job: String,
    compute: String,
    nodes: usize,
    /// Whether it had its nodes before the server ended; such a job is scheduled first.
    resumed: bool,
}

impl Waiting {
    /// The entry for a submitted job.
    pub fn of(job: &Job) -> Self {
        Self {
            job: job.name.clone(),
            compute: job
                .text("computeId")
                .map(last_part)
                .filter(|name| !name.is_empty())
                .unwrap_or(SERVERLESS)
                .to_ascii_lowercase(),
            nodes: job
                .properties
                .pointer("/resources/instanceCount")
                .and_then(Value::as_u64)
                .map_or(1, |count| count.max(1) as usize),
            resumed: job.status != JobStatus::Queued,
        }
    }
}

/// The number of nodes of a compute in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each count is named by its state")]
pub struct NodeCounts {
    pub idle: usize,
    pub running: usize,
    pub preparing: usize,
    pub leaving: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// Prepares the code and the data of a job.
    Preparing(String),
    /// Runs a job's command.
    Running(String),
    /// Has been idle since this time.
    Idle(Instant),
    /// Is being released.
    Leaving,
}

impl Node {
    fn job(&self) -> Option<&str> {
        match self {
            Self::Preparing(job) | Self::Running(job) => Some(job),
            Self::Idle(_) | Self::Leaving => None,
        }
    }
}

/// The nodes of a compute.
#[derive(Debug, Clone)]
struct Pool {
    least: usize,
    most: usize,
    idle: Duration,
    nodes: Vec<Node>,
}

impl Pool {
    /// Assigns nodes to a job if enough are available.
    fn take(&mut self, waiting: &Waiting) -> bool {
        // A node that is being released is reused if a job needs it.
        let idle = |node: &&mut Node| matches!(node, Node::Idle(_) | Node::Leaving);
        let there = self.nodes.len();
        let free = self.nodes.iter_mut().filter(idle).count();
        let may_come = self.most.saturating_sub(there);
        if free + may_come < waiting.nodes {
            return false;
        }
        let state = if waiting.resumed {
            Node::Running(waiting.job.clone())
        } else {
            Node::Preparing(waiting.job.clone())
        };
        let mut missing = waiting.nodes;
        for node in self.nodes.iter_mut().filter(idle).take(waiting.nodes) {
            *node = state.clone();
            missing -= 1;
        }
        self.nodes.extend(std::iter::repeat_n(state, missing));
        true
    }

    /// Removes the nodes that were being released, and releases those that were idle for long
    /// enough. Returns the time until the next call.
    fn scale_down(&mut self) -> Option<Duration> {
        self.nodes.retain(|node| *node != Node::Leaving);
        let mut spare = self.nodes.len().saturating_sub(self.least);
        let mut next = None;
        for node in &mut self.nodes {
            let Node::Idle(since) = *node else { continue };
            if spare == 0 {
                break;
            }
            spare -= 1;
            let wait = self.idle.saturating_sub(since.elapsed());
            let wait = if wait.is_zero() {
                *node = Node::Leaving;
                Duration::from_secs(1)
            } else {
                wait
            };
            next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
        }
        next
    }
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    running: HashMap<String, watch::Sender<bool>>,
    pools: BTreeMap<String, Pool>,
    /// The scaling limits of each compute, as last read from the store.
    limits: BTreeMap<String, Limits>,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Locked while the computes are read, so that an older result never replaces a newer one.
    reading: tokio::sync::Mutex<()>,
    /// The number of jobs that have ended.
    ends: watch::Sender<u64>,
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock is safe to use: no change panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a job to the queue.
    pub fn submit(&self, waiting: Waiting) {
        self.inner().waiting.push_back(waiting);
        self.wake();
    }

    fn wake(&self) {
        self.changed.notify_one();
    }

    /// Reads the computes again after a change. Jobs submitted afterwards are scheduled by the new
    /// limits.
    pub async fn refresh(&self, app: &Shared) -> Result<()> {
        let _reading = self.reading.lock().await;
        let computes = app.db(compute::list).await?;
        self.inner().limits = limits(computes);
        self.wake();
        Ok(())
    }

    /// Registers a job that needs no nodes; the receiver becomes true when its cancellation is
    /// requested.
    pub fn enter(&self, name: &str) -> watch::Receiver<bool> {
        let (cancel, canceled) = watch::channel(false);
        self.inner().running.insert(name.to_owned(), cancel);
        canceled
    }

    /// Removes a job that needed no nodes.
    pub fn leave(&self, name: &str) {
        self.inner().running.remove(name);
    }

    /// A receiver that changes whenever a job has ended.
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ends.subscribe()
    }

    /// Notifies the receivers of [`Self::ends`] after the end of a job has been stored.
    pub fn tell_end(&self) {
        self.ends.send_modify(|count| *count += 1);
    }

    /// Cancels a job that waits or runs. The store contains the request already.
    pub fn cancel(&self, app: &Shared, name: &str) {
        let waited = {
            let mut inner = self.inner();
            if let Some(cancel) = inner.running.get(name) {
                cancel.send_replace(true);
                return;
            }
            let before = inner.waiting.len();
            inner.waiting.retain(|waiting| waiting.job != name);
            before != inner.waiting.len()
        };
        if waited {
            let app = Arc::clone(app);
            let name = name.to_owned();
            tokio::spawn(async move { runner::end(&app, &name, JobStatus::Canceled, None).await });
        }
    }

    /// Whether no job waits or runs.
    pub fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.waiting.is_empty() && inner.running.is_empty()
    }

    /// The number of nodes of a compute in each state.
    pub fn nodes(&self, compute: &str) -> NodeCounts {
        let mut counts = NodeCounts::default();
        if let Some(pool) = self.inner().pools.get(&compute.to_ascii_lowercase()) {
            for node in &pool.nodes {
                match node {
                    Node::Preparing(_) => counts.preparing += 1,
                    Node::Running(_) => counts.running += 1,
                    Node::Idle(_) => counts.idle += 1,
                    Node::Leaving => counts.leaving += 1,
                }
            }
        }
        counts
    }

    /// The jobs that have nodes of a compute, and those that wait for some, in order.
    pub fn jobs(&self, compute: &str) -> (Vec<String>, Vec<String>) {
        let compute = compute.to_ascii_lowercase();
        let inner = self.inner();
        let nodes = inner.pools.get(&compute).map(|pool| &pool.nodes);
        let mut there: Vec<String> = Vec::new();
        for job in nodes.into_iter().flatten().filter_map(Node::job) {
            if !there.iter().any(|known| known == job) {
                there.push(job.to_owned());
            }
        }
        let waiting = inner.waiting.iter();
        let waiting = waiting.filter(|waiting| waiting.compute == compute);
        (there, waiting.map(|waiting| waiting.job.clone()).collect())
    }

    /// Whether a job runs on a compute or waits for it.
    pub fn uses(&self, compute: &str) -> bool {
        let compute = compute.to_ascii_lowercase();
        let inner = self.inner();
        inner
            .waiting
            .iter()
            .any(|waiting| waiting.compute == compute)
            || inner
                .pools
                .get(&compute)
                .is_some_and(|pool| pool.nodes.iter().any(|node| node.job().is_some()))
    }

    /// Marks the nodes of a job as running its command.
    pub fn started(&self, name: &str) {
        for pool in self.inner().pools.values_mut() {
            for node in &mut pool.nodes {
                if node.job() == Some(name) {
                    *node = Node::Running(name.to_owned());
                }
            }
        }
    }

    /// Frees the nodes of a job that has ended.
    fn ended(&self, name: &str) {
        {
            let mut inner = self.inner();
            inner.running.remove(name);
            for pool in inner.pools.values_mut() {
                for node in &mut pool.nodes {
                    if node.job() == Some(name) {
                        *node = Node::Idle(Instant::now());
                    }
                }
            }
        }
        self.wake();
    }

    /// Assigns nodes to jobs. Returns the jobs to start, and the time until the next call.
    fn schedule(&self) -> (Vec<Started>, Option<Duration>) {
        let mut inner = self.inner();
        let Inner {
            waiting,
            running,
            pools,
            limits: computes,
        } = &mut *inner;
        for (name, limits) in &*computes {
            let pool = pools.entry(name.clone()).or_insert_with(|| Pool {
                least: 0,
                most: 0,
                idle: IDLE,
                nodes: Vec::new(),
            });
            (pool.least, pool.most, pool.idle) = (limits.least, limits.most, limits.idle);
            // The instance was stopped, or the cluster was made smaller.
            let mut spare = pool.nodes.len().saturating_sub(pool.most);
            pool.nodes.retain(|node| {
                let goes = spare > 0 && matches!(node, Node::Idle(_));
                spare -= usize::from(goes);
                !goes
            });
            while pool.nodes.len() < pool.least {
                pool.nodes.push(Node::Idle(Instant::now()));
            }
        }
        pools.retain(|name, pool| {
            computes.contains_key(name) || pool.nodes.iter().any(|node| node.job().is_some())
        });
        let mut started = Vec::new();
        let mut blocked = Vec::new();
        waiting.retain(|job| {
            let starts = match pools.get_mut(&job.compute) {
                // The job already runs, even if its nodes no longer exist.
                Some(pool) if job.resumed => {
                    pool.take(job);
                    true
                }
                // An earlier job gets its nodes first, even if a later job needs fewer.
                Some(_) if blocked.contains(&job.compute) => false,
                // A job that needs more nodes than the compute can have starts, and reports the
                // error itself.
                Some(pool) => job.nodes > pool.most && pool.most > 0 || pool.take(job),
                // The same applies to a compute that does not exist.
                None => true,
            };
            if !starts {
                blocked.push(job.compute.clone());
                return true;
            }
            let (cancel, canceled) = watch::channel(false);
            running.insert(job.job.clone(), cancel);
            started.push((job.job.clone(), canceled));
            false
        });
        let next = pools.values_mut().filter_map(Pool::scale_down).min();
        (started, next)
    }
}

type Started = (String, watch::Receiver<bool>);

/// The scaling limits of a compute.
#[derive(Debug, Clone, Copy)]
struct Limits {
    least: usize,
    most: usize,
    idle: Duration,
}

fn limits(computes: Vec<Compute>) -> BTreeMap<String, Limits> {
    let mut limits: BTreeMap<String, Limits> = computes
        .into_iter()
        .map(|compute| {
            let inner = &compute.body["properties"]["properties"];
            let count = |pointer: &str, default: usize| {
                inner
                    .pointer(pointer)
                    .and_then(Value::as_u64)
                    .map_or(default, |count| count as usize)
            };
            let limits = if compute.body["properties"]["computeType"] == "ComputeInstance" {
                let nodes = usize::from(inner["state"] != "Stopped");
                Limits {
                    least: nodes,
                    most: nodes,
                    idle: IDLE,
                }
            } else {
                Limits {
                    least: count("/scaleSettings/minNodeCount", 0).min(MOST_NODES),
                    most: count("/scaleSettings/maxNodeCount", 1).min(MOST_NODES),
                    idle: inner
                        .pointer("/scaleSettings/nodeIdleTimeBeforeScaleDown")
                        .and_then(Value::as_str)
                        .and_then(duration::parse)
                        .unwrap_or(IDLE),
                }
            };
            (compute.name.to_ascii_lowercase(), limits)
        })
        .collect();
    limits.insert(
        SERVERLESS.to_owned(),
        Limits {
            least: 0,
            most: 1,
            idle: Duration::ZERO,
        },
    );
    limits
}

/// Resumes the jobs that had not ended when the previous server ended.
pub async fn recover(app: &Shared) -> Result<()> {
    app.queue.refresh(app).await?;
    let mut jobs = app.db(job::unfinished).await?;
    // Other folders belong to jobs whose end was stored just before the previous server ended.
    let names: HashSet<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let home = app.home.clone();
    let store = Arc::clone(app);
    let left = blocking(move || {
        let mut left = Vec::new();
        for entry in Dir::at(&home.jobs())?.entries()? {
            let Some(run) = entry.name().and_then(|name| RunName::parse(name).ok()) else {
                continue;
            };
            let folder = Folder::of(&home, &run);
            let known = |store: &Connection| job::get(store, run.as_ref());
            if store.store.transaction(known)?.is_some() {
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
            sweep::start(app, &job.name);
        } else {
            app.queue.submit(Waiting::of(&job));
        }
    }
    Ok(())
}

/// Starts jobs as nodes become free, until the home folder no longer belongs to this server.
pub async fn run(app: Shared) {
    // If another server has taken over the home folder, it starts the waiting jobs.
    while app.hold.is_kept() {
        let (started, next) = app.queue.schedule();
        for (job, canceled) in started {
            let app = Arc::clone(&app);
            tokio::spawn(async move {
                let driven = AssertUnwindSafe(runner::drive(&app, &job, canceled));
                if driven.catch_unwind().await.is_err() {
                    let failure = Failure::system(
                        "the local workspace failed to run the job\nhint: see server.log in its folder",
                    );
                    runner::end(&app, &job, JobStatus::Failed, Some(failure)).await;
                }
                app.queue.ended(&job);
            });
        }
        let changed = app.queue.changed.notified();
        match next {
            Some(next) => {
                let _ = tokio::time::timeout(next, changed).await;
            }
            None => changed.await,
        }
    }
}
