//! Jobs: submits them, follows them to their end, and compares them with the files that they wrote.

use crate::http::Service;
use crate::job::{Job, Kind};
use crate::journal::Journal;
use crate::processes::MARK;
use azureml::prelude::*;
use azureml_wire::local::scope;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The name of the test's cluster.
pub const CLUSTER: &str = "chaos";

/// A job that has not ended after this time hangs.
const FOR_EVER: Duration = Duration::from_mins(2);

/// Creates the cluster.
pub fn make_cluster(service: &Service, journal: &Journal) {
    let scale = json!({ "minNodeCount": 0, "maxNodeCount": 4 });
    let inner = json!({ "vmSize": "STANDARD_DS3_V2", "scaleSettings": scale });
    let properties = json!({ "computeType": "AmlCompute", "properties": inner });
    let body = json!({ "location": "local", "properties": properties });
    let response = service.arm("PUT", &format!("/computes/{CLUSTER}"), &body);
    if !(200..300).contains(&response.status) {
        journal.fault(format!("there is no cluster: {}", response.text()));
    }
}

/// Submits jobs by REST, one after the other, until the journal is over.
pub fn submit(service: &Service, journal: &Journal, client: usize, mut rng: Rng, mark: &str) {
    let folder = std::env::current_dir().expect("the client has a folder");
    for number in 0.. {
        if journal.is_over() {
            return;
        }
        let name = format!("client-{client}-job-{number}");
        let job = Job::draw(&mut rng);
        let compute = if rng.bool() { CLUSTER } else { "cpu-cluster" };
        let mut properties = json!({
            "jobType": "Command",
            "command": job.command(&mut rng, &folder),
            "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
            "computeId": scope().path(["computes", compute]),
            "experimentName": "chaos",
            "environmentVariables": { MARK: mark },
        });
        if job.kind == Kind::Pair {
            let distribution =
                json!({ "distributionType": "PyTorch", "processCountPerInstance": 2 });
            properties["distribution"] = distribution;
        }
        let kind = job.kind;
        put(service, journal, &name, &properties);
        journal.acknowledge(|state| state.jobs.insert(name.clone(), job));
        if rng.u8(..5) == 0 {
            // A retry, as after a lost response.
            put(service, journal, &name, &properties);
        }
        if kind == Kind::Endless {
            thread::sleep(Duration::from_millis(rng.u64(..400)));
            cancel(service, journal, &name);
        }
        follow(service, journal, &name);
    }
}

fn put(service: &Service, journal: &Journal, name: &str, properties: &Value) {
    let body = json!({ "properties": properties });
    let response = service.arm("PUT", &format!("/jobs/{name}"), &body);
    if !matches!(response.status, 200 | 201) {
        journal.fault(format!("{name} is not accepted: {}", response.text()));
    }
}

fn cancel(service: &Service, journal: &Journal, name: &str) {
    let response = service.arm("POST", &format!("/jobs/{name}/cancel"), &Value::Null);
    match response.status {
        202 => journal.acknowledge(|state| {
            if let Some(job) = state.jobs.get_mut(name) {
                job.canceled = true;
            }
        }),
        // The job has already ended.
        409 => journal.acknowledge(|_| {}),
        _ => journal.fault(format!("{name} is not canceled: {}", response.text())),
    }
}

/// Waits for a job's end.
fn follow(service: &Service, journal: &Journal, name: &str) {
    let start = Instant::now();
    loop {
        let details = service.details(name);
        let status = details["status"].as_str().unwrap_or_default();
        if ["Completed", "Failed", "Canceled"].contains(&status) {
            return journal.acknowledge(|state| {
                if let Some(job) = state.jobs.get_mut(name) {
                    job.ended = Some(status.to_owned());
                }
            });
        }
        if start.elapsed() > FOR_EVER {
            return journal.fault(format!("{name} has not ended: {details}"));
        }
        thread::sleep(Duration::from_millis(30));
    }
}

/// Submits jobs with the SDK, which starts a server if none runs.
pub fn submit_by_sdk(journal: &Journal, mut rng: Rng, mark: &str) {
    let folder = std::env::current_dir().expect("the client has a folder");
    let source = folder.join("source");
    std::fs::create_dir(&source).expect("the folder is ours");
    let workspace = match Workspace::from_config() {
        Ok(workspace) => workspace,
        Err(error) => return journal.fault(format!("the SDK found no workspace: {error}")),
    };
    let experiment = Experiment::new(&workspace, "chaos");
    while !journal.is_over() {
        let job = Job {
            kind: Kind::Plain,
            ..Job::draw(&mut rng)
        };
        let script = job.command(&mut rng, &folder);
        std::fs::write(source.join("job.sh"), script).expect("the folder is ours");
        let config = ScriptRunConfig::new(&source)
            .command("bash job.sh")
            .compute_target(CLUSTER)
            .environment("rust-tch-gpu:1")
            .environment_variable(MARK, mark);
        let run = match experiment.submit(&config) {
            Ok(run) => run,
            Err(error) => {
                journal.fault(format!("the SDK did not submit: {error}"));
                continue;
            }
        };
        journal.acknowledge(|state| state.jobs.insert(run.id().to_owned(), job));
        // A job with a killed process fails the wait; only its status matters.
        let _ = run.wait_for_completion(false);
        match run.status() {
            Ok(status) if status.is_terminal() => journal.acknowledge(|state| {
                if let Some(job) = state.jobs.get_mut(run.id()) {
                    job.ended = Some(status.to_string());
                }
            }),
            Ok(status) => journal.fault(format!("the SDK left {} {status}", run.id())),
            Err(error) => journal.fault(format!("the SDK lost sight of {}: {error}", run.id())),
        }
    }
}

/// The number of occurrences of each line in a file that jobs append to.
fn lines(folder: &Path, file: &str) -> HashMap<String, usize> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let mut counts = HashMap::new();
    for line in text.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Compares every job with the lines that it wrote.
pub fn verify(service: &Service, journal: &Journal) {
    let folder = std::env::current_dir().expect("the client has a folder");
    let (started, ended) = (lines(&folder, "started"), lines(&folder, "ended"));
    let (jobs, hit) = {
        let state = journal.state();
        (state.jobs.clone(), state.hit.clone())
    };
    for (name, job) in &jobs {
        let is_hit = hit.contains(name);
        let counts = |of: &HashMap<String, usize>| -> Vec<usize> {
            let rank = |rank| of.get(&format!("{name}.{rank}")).copied().unwrap_or(0);
            (0..job.kind.ranks()).map(rank).collect()
        };
        let seen = Seen {
            details: service.details(name),
            started: counts(&started),
            ended: counts(&ended),
        };
        let verdict = seen
            .of_any(job)
            .and_then(|()| seen.of_kind(job, is_hit))
            .and_then(|()| match seen.status() {
                "Completed" if !is_hit => output(service, name, job, &seen.details),
                _ => Ok(()),
            });
        if let Err(reason) = verdict {
            let hit = if is_hit { "hit" } else { "not hit" };
            journal.fault(format!(
                "{name} ({job:?}, {hit}): {reason}; begun {:?}, finished {:?}: {}",
                seen.started, seen.ended, seen.details
            ));
        }
    }
}

/// The observed state of a job.
struct Seen {
    details: Value,
    /// For each process, the number of its first and of its last lines.
    started: Vec<usize>,
    ended: Vec<usize>,
}

impl Seen {
    fn status(&self) -> &str {
        self.details["status"].as_str().unwrap_or_default()
    }

    /// Checks the invariants of every job, with or without killed processes.
    fn of_any(&self, job: &Job) -> Result<(), String> {
        if self
            .started
            .iter()
            .chain(&self.ended)
            .any(|count| *count > 1)
        {
            return Err("it ran twice".to_owned());
        }
        match &job.ended {
            None => return Err("its end was never seen".to_owned()),
            Some(ended) if ended != self.status() => {
                return Err(format!("it had ended as {ended}"));
            }
            Some(_) => {}
        }
        let history = self.details["properties"]["azureml.status_history"].as_str();
        let history: Vec<Value> =
            serde_json::from_str(history.unwrap_or_default()).unwrap_or_default();
        let mut statuses: Vec<_> = history.iter().map(|step| step["status"].as_str()).collect();
        let all = statuses.len();
        statuses.dedup();
        if all == 0 || statuses.len() < all {
            return Err("its history has a gap or a step twice".to_owned());
        }
        Ok(())
    }

    /// Checks the invariants of its kind.
    fn of_kind(&self, job: &Job, is_hit: bool) -> Result<(), String> {
        let all_of = |counts: &[usize]| counts.iter().all(|count| *count == 1);
        let message = self.details["error"]["error"]["message"].as_str();
        let message = message.unwrap_or_default();
        match (self.status(), job.kind) {
            ("Canceled", _) if job.canceled => Ok(()),
            ("Completed", Kind::Plain | Kind::Detaching | Kind::Pair) => {
                if all_of(&self.started) && all_of(&self.ended) {
                    Ok(())
                } else {
                    Err("it is Completed and was not".to_owned())
                }
            }
            ("Failed", Kind::Failing) if all_of(&self.started) => Ok(()),
            ("Failed", _) if is_hit && message.contains("killed") => Ok(()),
            ("Failed", _) if is_hit && message.contains("SIGKILL") => Ok(()),
            ("Completed", Kind::Endless) if is_hit => Ok(()),
            _ => Err("it ended as it could not".to_owned()),
        }
    }
}

/// Checks the log and the output of a job without killed processes.
fn output(service: &Service, name: &str, job: &Job, details: &Value) -> Result<(), String> {
    let read = |url: &Value| {
        let path = url.as_str().and_then(path_of).unwrap_or_default();
        service.send("GET", path, &[], &[])
    };
    let log = if job.kind == Kind::Pair {
        "user_logs/std_log_process_01.txt"
    } else {
        "user_logs/std_log.txt"
    };
    let text = read(&details["logFiles"][log]).text();
    if text != "begun\nfinished\n" {
        return Err(format!("its log is {text:?}"));
    }
    if job.kind == Kind::Pair {
        return Ok(());
    }
    let path = scope().artifacts("chaos", name, "/contentinfo?path=outputs/o.txt");
    let found = service.json("GET", &path, &Value::Null).json();
    let content = read(&found["contentUri"]).body;
    let line = format!("{name}\n");
    let whole = line.bytes().cycle().take(job.bytes);
    if content.iter().copied().eq(whole) {
        Ok(())
    } else {
        Err(format!("its output has {} bytes", content.len()))
    }
}

/// The path of a URL, with its query.
pub fn path_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    rest.find('/').map(|start| &rest[start..])
}
