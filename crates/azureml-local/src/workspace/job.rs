//! Jobs: submission, changes, cancellation and lists.

use super::asset::check_name;
use super::caller::Caller;
use super::output;
use super::queue::Waiting;
use super::resubmission;
use super::uri::{DATASTORE, path_in_datastore};
use super::{Workspace, command, sweep};
use crate::duration;
use crate::error::{Error, Result};
use crate::store::asset::Kind;
use crate::store::job::{self, Job, NewJob};
use crate::store::{experiment, mlflow};
use azureml_wire::Bag;
use azureml_wire::job::{CommandJob, Distribution, Job as WireJob, JobStatus};
use serde::Deserialize;
use serde_json::{Value, json};

/// The properties that a PUT may change on an existing job.
const MUTABLE: &[&str] = &["displayName", "description", "isArchived", "properties"];

/// The maximum number of processes of one job.
const MOST_PROCESSES: u64 = 64;

/// The error for a job that does not exist.
pub fn missing(name: &str) -> Error {
    Error::not_found(format!("there is no job {name:?} in this workspace"))
}

/// Reads one job from the store.
pub async fn find(app: &Workspace, name: String) -> Result<Job> {
    app.db(move |store| job::get(store, &name)?.ok_or_else(|| missing(&name)))
        .await
}

/// Finds a run, which need not be a job.
pub async fn find_run(app: &Workspace, name: &str) -> Result<Job> {
    let name = name.to_owned();
    app.db(move |store| job::any(store, &name)?.ok_or_else(|| missing(&name)))
        .await
}

/// Submits a job, or changes the mutable properties of the job that exists under the name. Returns
/// whether the job is new.
pub async fn put(
    app: &Workspace,
    name: String,
    request: WireJob,
    properties: Value,
) -> Result<(bool, Job)> {
    let request = Request::of(request)?;
    let existing = {
        let name = name.clone();
        app.db(move |store| job::get(store, &name)).await?
    };
    let Some(job) = existing else {
        let job = submit(app, name, request, properties).await?;
        return Ok((true, job));
    };
    if let Some(member) = resubmission::difference(&app.url(), &job, &properties) {
        return Err(Error::conflict(format!(
            "job {name:?} exists with another {member}, and a submitted job does not change\n\
             hint: submit it under a new name"
        )));
    }
    let job = change(app, &job, request.tags.unwrap_or_default(), &properties).await?;
    Ok((false, job))
}

/// A job request, with the fields that all kinds of jobs share.
struct Request {
    job: WireJob,
    tags: Option<Bag>,
    display_name: Option<String>,
    experiment: Option<String>,
}

impl Request {
    fn of(job: WireJob) -> Result<Self> {
        let (tags, display_name, experiment) = match &job {
            WireJob::Command(job) => (&job.tags, &job.display_name, &job.experiment_name),
            WireJob::Sweep(job) => (&job.tags, &job.display_name, &job.experiment_name),
            WireJob::Other => return Err(Error::invalid("a job needs a jobType")),
        };
        Ok(Self {
            tags: tags.clone(),
            display_name: display_name.clone(),
            experiment: experiment.clone(),
            job,
        })
    }

    /// Rejects the requests that the service itself rejects at once.
    fn check(&self, name: &str) -> Result<()> {
        match &self.job {
            WireJob::Command(job) => check(name, job),
            WireJob::Sweep(job) => {
                sweep::check(job)?;
                // One trial is enough: the trials differ only in their values, which are validated
                // above.
                let first = sweep::draw::trials(job)?.into_iter().next();
                let trial = sweep::trial(job, &first.unwrap_or_default());
                // The longer name leaves room for the number of a trial.
                check(&format!("{name}_000"), &trial)
            }
            WireJob::Other => Ok(()),
        }
    }
}

async fn submit(
    app: &Workspace,
    name: String,
    request: Request,
    mut properties: Value,
) -> Result<Job> {
    request.check(&name)?;
    let tags = request.tags.unwrap_or_default();
    let display_name = request.display_name.unwrap_or_else(|| name.clone());
    let experiment = request
        .experiment
        .filter(|experiment| !experiment.is_empty())
        .unwrap_or_else(|| experiment::DEFAULT.to_owned());
    if let Some(members) = properties.as_object_mut() {
        // These members are stored elsewhere or are set by the service.
        for member in ["tags", "status", "services", "parameters", "experimentName"] {
            members.remove(member);
        }
        members.retain(|_, value| !value.is_null());
        members.insert("displayName".to_owned(), json!(display_name));
    }
    if let WireJob::Command(_) = &request.job {
        output::resolve_all(&mut properties, &name)?;
    }
    if let WireJob::Sweep(sweep) = &request.job {
        // Serialized again, in the spelling of the service.
        properties["objective"] = json!(sweep.objective);
    }
    if let Some(sampling) = properties.get_mut("samplingAlgorithm")
        && sampling["samplingAlgorithmType"] == "Random"
        && sampling.get("seed").is_none_or(Value::is_null)
    {
        // With a stored seed, a restarted server draws the same values.
        sampling["seed"] = json!(fastrand::u32(..i32::MAX as u32));
    }
    let job = app
        .db({
            let name = name.clone();
            move |store| {
                // Jobs share their names with MLflow runs.
                if mlflow::get_run(store, &name)?.is_some() {
                    return Err(Error::conflict(format!("a run {name:?} exists already")));
                }
                job::insert(
                    store,
                    &NewJob {
                        name: &name,
                        display_name: &display_name,
                        experiment: &experiment,
                        properties: &properties,
                        tags: &tags,
                        parent: None,
                    },
                )?;
                job::get(store, &name)?.ok_or_else(|| Error::Internal("a job got lost".to_owned()))
            }
        })
        .await?;
    tracing::info!(job = name, "submitted");
    if job.is_sweep() {
        app.scheduling.change(|queue| queue.start_sweep(&job.name));
    } else {
        let waiting = Waiting::of(&job);
        app.scheduling.change(|queue| queue.submit(waiting));
    }
    Ok(job)
}

/// Rejects a command job that the service itself would reject.
fn check(job_name: &str, request: &CommandJob) -> Result<()> {
    let fine = job_name.len() <= 200
        && job_name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && job_name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !fine {
        return Err(Error::invalid(format!(
            "{job_name:?} is no name of a job\n\
             hint: use up to 200 letters, digits, `-` and `_`, a letter or digit first"
        )));
    }
    if request.command.trim().is_empty() {
        return Err(Error::invalid("a job needs a command"));
    }
    if request.environment_id.is_empty() {
        return Err(Error::invalid("a job needs an environmentId"));
    }
    if let Some(timeout) = request
        .limits
        .as_ref()
        .and_then(|limits| limits.timeout.as_deref())
        && duration::parse(timeout).is_none()
    {
        return Err(Error::invalid(format!(
            "the timeout {timeout:?} is no duration\nhint: write it as ISO 8601 does, e.g. PT5M"
        )));
    }
    if let Some(Distribution::TensorFlow { .. }) = request.distribution {
        return Err(Error::invalid(
            "the local workspace distributes jobs as PyTorch or Mpi, not as TensorFlow\n\
             hint: submit it to a workspace on Azure",
        ));
    }
    let instances = request
        .resources
        .as_ref()
        .and_then(|resources| resources.instance_count);
    let processes = match &request.distribution {
        Some(Distribution::PyTorch(count) | Distribution::Mpi(count)) => {
            count.process_count_per_instance
        }
        _ => None,
    };
    if instances == Some(0) || processes == Some(0) {
        return Err(Error::invalid(
            "a job needs at least one node and one process",
        ));
    }
    let (nodes, per_node) = (instances.unwrap_or(1), processes.unwrap_or(1));
    if u64::from(nodes) * u64::from(per_node) > MOST_PROCESSES {
        return Err(Error::invalid(format!(
            "the job asks for {nodes} nodes with {per_node} processes on each; \
             the local workspace runs up to {MOST_PROCESSES} processes of a job\n\
             hint: all of them run on this machine; ask for fewer"
        )));
    }
    if nodes > 1 && matches!(request.distribution, Some(Distribution::Mpi(_))) {
        return Err(Error::invalid(format!(
            "the job asks for {nodes} nodes whose processes are joined by MPI, and the local workspace is one machine\n\
             hint: ask for one node with more processes on it, or submit it to a workspace on Azure"
        )));
    }
    let inputs: Vec<&str> = request
        .inputs
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let outputs: Vec<&str> = request
        .outputs
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    for name in inputs.iter().chain(&outputs) {
        // The names become names of folders and of environment variables.
        let fine = name.len() <= 200
            && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !fine {
            return Err(Error::invalid(format!(
                "{name:?} is no name of an input or output\nhint: use letters, digits and `_`"
            )));
        }
    }
    for (name, output) in request.outputs.iter().flatten() {
        let asset = output.asset();
        if let Some(uri) = &asset.uri
            && path_in_datastore(&output::resolve(uri, job_name, name)?).is_none()
        {
            return Err(Error::invalid(format!(
                "the output {name:?} cannot go to {uri:?}: the local workspace has one datastore\n\
                 hint: send it to azureml://datastores/{DATASTORE}/paths/…, or leave the place to the workspace"
            )));
        }
        if let Some(asset_name) = &asset.asset_name {
            check_name(Kind::Data, asset_name, 255)?;
        }
    }
    command::check(&request.command, &inputs, &outputs)
}

/// Changes the mutable properties of an existing job.
async fn change(app: &Workspace, old: &Job, tags: Bag, sent: &Value) -> Result<Job> {
    let mut properties = old.properties.clone();
    for member in MUTABLE {
        if let Some(value) = sent.get(*member).filter(|value| !value.is_null()) {
            properties[*member] = value.clone();
        }
    }
    let name = old.name.clone();
    app.db(move |store| {
        job::set_properties(store, &name, &properties)?;
        for (key, value) in &tags {
            mlflow::set_tag(store, &name, key, value)?;
        }
        job::get(store, &name)?.ok_or_else(|| missing(&name))
    })
    .await
}

/// The maximum number of jobs that are read from the store at once.
const BATCH: usize = 50;

/// The jobs that were submitted before `before` and are `wanted`, the newest first, at most `most`.
pub async fn list(
    app: &Workspace,
    before: i64,
    most: usize,
    wanted: impl Fn(&Job) -> bool + Send + 'static,
) -> Result<Vec<Job>> {
    app.db(move |store| {
        let mut found: Vec<Job> = Vec::new();
        let mut before = before;
        while found.len() < most {
            let batch = job::list(store, before, BATCH)?;
            let Some(last) = batch.last() else { break };
            before = last.seq;
            found.extend(batch.into_iter().filter(&wanted));
        }
        found.truncate(most);
        Ok(found)
    })
    .await
}

/// Requests the cancellation of a job that has not ended.
pub async fn request_cancel(app: &Workspace, name: String) -> Result<()> {
    let job = find(app, name).await?;
    if job.status.is_terminal() {
        return Err(Error::conflict(format!(
            "job {:?} has ended as {}, there is nothing to cancel",
            job.name, job.status
        )));
    }
    let name = job.name.clone();
    app.db(move |store| job::advance(store, &name, JobStatus::CancelRequested))
        .await?;
    tracing::info!(job = job.name, "cancel requested");
    app.scheduling.change(|queue| queue.cancel(&job.name));
    Ok(())
}

/// The changeable fields of a run; all other fields of the service's model are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Tags to set.
    pub tags: Option<Bag>,
    /// Custom properties to set.
    pub properties: Option<Bag>,
    /// The display name.
    pub display_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// Whether it is archived.
    pub hidden: Option<bool>,
}

/// Changes a job, whose run the caller may use.
pub async fn modify(app: &Workspace, caller: Caller, name: String, change: Change) -> Result<Job> {
    app.db(move |store| {
        caller.may_use(store, &name)?;
        let job = job::get(store, &name)?.ok_or_else(|| missing(&name))?;
        if (change.tags.is_some() || change.display_name.is_some())
            && let Some(run) = mlflow::get_run(store, &name)?
        {
            run.check_active()?;
        }
        let mut properties = job.properties;
        for (member, value) in [
            ("displayName", change.display_name.map(Value::from)),
            ("description", change.description.map(Value::from)),
            ("isArchived", change.hidden.map(Value::from)),
        ] {
            if let Some(value) = value {
                properties[member] = value;
            }
        }
        for (key, value) in change.properties.into_iter().flatten() {
            properties["properties"][key] = value.into();
        }
        job::set_properties(store, &name, &properties)?;
        for (key, value) in change.tags.into_iter().flatten() {
            mlflow::set_tag(store, &name, &key, &value)?;
        }
        job::get(store, &name)?.ok_or_else(|| missing(&name))
    })
    .await
}
