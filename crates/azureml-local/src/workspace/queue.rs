//! Job scheduling: a first-come, first-served queue for each compute, whose nodes scale up and
//! down.
//!
//! Durable state is in the store (a job is `Queued` until it gets its nodes). This module keeps
//! only the state that is valid while the server runs. It is data: every change returns at once,
//! time is a parameter, and the scheduler executes the effects.

use crate::duration;
use crate::store::compute::Compute;
use crate::store::job::Job;
use azureml_wire::compute::{self as wire, NodeStateCounts};
use azureml_wire::job::JobStatus;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

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
            compute: job.compute().unwrap_or(SERVERLESS).to_ascii_lowercase(),
            nodes: job.nodes(),
            resumed: job.status != JobStatus::Queued,
        }
    }
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
    fn scale_down(&mut self, now: Instant) -> Option<Duration> {
        self.nodes.retain(|node| *node != Node::Leaving);
        let mut spare = self.nodes.len().saturating_sub(self.least);
        let mut next = None;
        for node in &mut self.nodes {
            let Node::Idle(since) = *node else { continue };
            if spare == 0 {
                break;
            }
            spare -= 1;
            let wait = self
                .idle
                .saturating_sub(now.saturating_duration_since(since));
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

/// An effect that the scheduler executes, on the job or the sweep of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Starts or resumes a job, which has its nodes.
    StartJob(String),
    /// Starts or resumes a sweep, which needs no nodes.
    StartSweep(String),
    /// Passes a cancellation on to a job or a sweep that runs.
    Cancel(String),
    /// Records the end of a job that was canceled while it waited.
    Discard(String),
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    /// Jobs and sweeps from their start until their end is recorded.
    running: HashSet<String>,
    pools: BTreeMap<String, Pool>,
    /// The scaling limits of each compute, as last read from the store.
    limits: BTreeMap<String, Limits>,
    /// The effects that the scheduler has not executed yet.
    effects: Vec<Effect>,
}

impl Queue {
    /// Appends a job to the queue.
    pub fn submit(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Starts a sweep, which needs no nodes.
    pub fn start_sweep(&mut self, name: &str) {
        self.running.insert(name.to_owned());
        self.effects.push(Effect::StartSweep(name.to_owned()));
    }

    /// Replaces the scaling limits of all computes. Jobs are scheduled by the new limits from the
    /// next call of [`Self::schedule`].
    pub fn set_computes(&mut self, computes: &[Compute]) {
        self.limits = limits(computes);
    }

    /// Cancels a job or a sweep that waits or runs. The store contains the request already.
    pub fn cancel(&mut self, name: &str) {
        if self.running.contains(name) {
            self.effects.push(Effect::Cancel(name.to_owned()));
            return;
        }
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.job != name);
        if before != self.waiting.len() {
            self.running.insert(name.to_owned());
            self.effects.push(Effect::Discard(name.to_owned()));
        }
    }

    /// Whether no job waits or runs.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// The number of nodes of a compute in each state.
    pub fn nodes(&self, compute: &str) -> NodeStateCounts {
        let mut counts = NodeStateCounts::default();
        if let Some(pool) = self.pools.get(&compute.to_ascii_lowercase()) {
            for node in &pool.nodes {
                match node {
                    Node::Preparing(_) => counts.preparing_node_count += 1,
                    Node::Running(_) => counts.running_node_count += 1,
                    Node::Idle(_) => counts.idle_node_count += 1,
                    Node::Leaving => counts.leaving_node_count += 1,
                }
            }
        }
        counts
    }

    /// The jobs that have nodes of a compute, and those that wait for some, in order.
    pub fn jobs(&self, compute: &str) -> (Vec<String>, Vec<String>) {
        let compute = compute.to_ascii_lowercase();
        let nodes = self.pools.get(&compute).map(|pool| &pool.nodes);
        let mut there: Vec<String> = Vec::new();
        for job in nodes.into_iter().flatten().filter_map(Node::job) {
            if !there.iter().any(|known| known == job) {
                there.push(job.to_owned());
            }
        }
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|waiting| waiting.compute == compute);
        (there, waiting.map(|waiting| waiting.job.clone()).collect())
    }

    /// Whether a job runs on a compute or waits for it.
    pub fn uses(&self, compute: &str) -> bool {
        let compute = compute.to_ascii_lowercase();
        self.waiting
            .iter()
            .any(|waiting| waiting.compute == compute)
            || self
                .pools
                .get(&compute)
                .is_some_and(|pool| pool.nodes.iter().any(|node| node.job().is_some()))
    }

    /// Marks the nodes of a job as running its command.
    pub fn started(&mut self, name: &str) {
        for pool in self.pools.values_mut() {
            for node in &mut pool.nodes {
                if node.job() == Some(name) {
                    *node = Node::Running(name.to_owned());
                }
            }
        }
    }

    /// Removes a job or a sweep whose end is recorded, and frees its nodes.
    pub fn ended(&mut self, name: &str, now: Instant) {
        self.running.remove(name);
        for pool in self.pools.values_mut() {
            for node in &mut pool.nodes {
                if node.job() == Some(name) {
                    *node = Node::Idle(now);
                }
            }
        }
    }

    /// Assigns nodes to jobs. Returns the effects to execute, in order, and the time until the next
    /// call.
    pub fn schedule(&mut self, now: Instant) -> (Vec<Effect>, Option<Duration>) {
        let Self {
            waiting,
            running,
            pools,
            limits: computes,
            effects,
        } = self;
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
                pool.nodes.push(Node::Idle(now));
            }
        }
        pools.retain(|name, pool| {
            computes.contains_key(name) || pool.nodes.iter().any(|node| node.job().is_some())
        });
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
            running.insert(job.job.clone());
            effects.push(Effect::StartJob(job.job.clone()));
            false
        });
        let next = pools.values_mut().filter_map(|pool| pool.scale_down(now));
        (mem::take(effects), next.min())
    }
}

/// The scaling limits of a compute.
#[derive(Debug, Clone, Copy)]
struct Limits {
    least: usize,
    most: usize,
    idle: Duration,
}

impl Limits {
    /// The limits of a compute.
    fn of(compute: &wire::Compute) -> Self {
        match compute {
            wire::Compute::ComputeInstance(instance) => {
                let is_stopped = instance.properties.state.as_deref() == Some("Stopped");
                let nodes = usize::from(!is_stopped);
                Self {
                    least: nodes,
                    most: nodes,
                    idle: IDLE,
                }
            }
            wire::Compute::AmlCompute(cluster) => {
                let scale = cluster.properties.scale_settings.as_ref();
                let count = |count: u32| (count as usize).min(MOST_NODES);
                Self {
                    least: count(scale.and_then(|scale| scale.min_node_count).unwrap_or(0)),
                    most: count(scale.map_or(1, |scale| scale.max_node_count)),
                    idle: scale
                        .and_then(|scale| scale.node_idle_time_before_scale_down.as_deref())
                        .and_then(duration::parse)
                        .unwrap_or(IDLE),
                }
            }
            wire::Compute::Other => Self {
                least: 0,
                most: 1,
                idle: IDLE,
            },
        }
    }
}

fn limits(computes: &[Compute]) -> BTreeMap<String, Limits> {
    let named = computes.iter().map(|compute| {
        let limits = Limits::of(&compute.body.properties);
        (compute.name.to_ascii_lowercase(), limits)
    });
    let serverless = Limits {
        least: 0,
        most: 1,
        idle: Duration::ZERO,
    };
    named.chain([(SERVERLESS.to_owned(), serverless)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::compute::Body;
    use serde_json::json;

    fn waiting(job: &str, nodes: usize) -> Waiting {
        Waiting {
            job: job.to_owned(),
            compute: "cluster".to_owned(),
            nodes,
            resumed: false,
        }
    }

    /// A queue for a cluster with up to two nodes, which are released after ten seconds.
    fn queue() -> Queue {
        let mut queue = Queue::default();
        let properties = json!({ "computeType": "AmlCompute", "properties": {
            "scaleSettings": { "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT10S" },
        }});
        queue.set_computes(&[Compute {
            name: "Cluster".to_owned(),
            body: Body {
                properties: serde_json::from_value(properties).unwrap(),
                tags: None,
            },
            created_at: String::new(),
        }]);
        queue
    }

    fn effects(queue: &mut Queue, now: Instant) -> Vec<Effect> {
        queue.schedule(now).0
    }

    #[test]
    fn an_earlier_job_gets_its_nodes_before_a_smaller_one() {
        let (mut queue, now) = (queue(), Instant::now());
        for (job, nodes) in [("first", 1), ("both", 2), ("small", 1)] {
            queue.submit(waiting(job, nodes));
        }
        let started = |name: &str| Effect::StartJob(name.to_owned());
        assert_eq!(effects(&mut queue, now), [started("first")]);
        assert_eq!(queue.jobs("cluster").1, ["both", "small"]);
        assert_eq!(queue.nodes("CLUSTER").preparing_node_count, 1);
        queue.started("first");
        assert_eq!(queue.nodes("cluster").running_node_count, 1);
        queue.ended("first", now);
        assert_eq!(effects(&mut queue, now), [started("both")]);
        queue.ended("both", now);
        assert_eq!(effects(&mut queue, now), [started("small")]);
        assert!(queue.uses("cluster") && !queue.is_empty());
        queue.ended("small", now);
        assert!(queue.is_empty() && !queue.uses("cluster"));
    }

    #[test]
    fn idle_nodes_are_released() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.submit(waiting("job", 2));
        assert_eq!(queue.schedule(now).1, None);
        queue.ended("job", now);
        let (_, next) = queue.schedule(now + Duration::from_secs(4));
        assert_eq!(next, Some(Duration::from_secs(6)));
        queue.schedule(now + Duration::from_secs(10));
        assert_eq!(queue.nodes("cluster").leaving_node_count, 2);
        // A node that is being released is reused.
        queue.submit(waiting("late", 1));
        queue.schedule(now + Duration::from_secs(10));
        assert_eq!(queue.nodes("cluster").preparing_node_count, 1);
        queue.schedule(now + Duration::from_secs(11));
        assert_eq!(queue.nodes("cluster").leaving_node_count, 0);
    }

    #[test]
    fn a_cancellation_reaches_a_job_in_every_state() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.submit(waiting("runs", 2));
        queue.submit(waiting("waits", 1));
        effects(&mut queue, now);
        queue.start_sweep("sweep");
        for name in ["runs", "waits", "sweep", "unknown"] {
            queue.cancel(name);
        }
        assert_eq!(
            effects(&mut queue, now),
            [
                Effect::StartSweep("sweep".to_owned()),
                Effect::Cancel("runs".to_owned()),
                Effect::Discard("waits".to_owned()),
                Effect::Cancel("sweep".to_owned()),
            ]
        );
        // Its end is not recorded yet.
        assert!(!queue.is_empty());
        for name in ["runs", "waits", "sweep"] {
            queue.ended(name, now);
        }
        assert!(queue.is_empty());
    }
}
