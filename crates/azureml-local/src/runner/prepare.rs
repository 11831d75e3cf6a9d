//! Preparing: copies a job's code and inputs into its folder and describes its processes.

use super::failure::Failure;
use super::input::{self, Bring};
use super::supervisor::{Process, Spec};
use super::{mpi, variables};
use crate::duration;
use crate::error::Error;
use crate::name::{PortName, RunName};
use crate::store::asset::{self, Kind};
use crate::store::compute as computes;
use crate::store::job::{self, Job};
use crate::workspace::asset::{environment, missing};
use crate::workspace::command::{Binding, Bindings, resolve};
use crate::workspace::folder::Folder;
use crate::workspace::source::{self, Source};
use crate::workspace::{Workspace, compute};
use azureml_wire::arm::last_part;
use azureml_wire::compute::Compute;
use azureml_wire::job::{CommandJob, Distribution, JobInput, JobOutput, ProcessCount};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Seconds between SIGTERM and SIGKILL for a job's processes.
const GRACE: f64 = 5.0;

/// The log name of one of several processes; the rank follows in two digits.
const LOG_OF_PROCESS: &str = "std_log_process_";

/// Copies everything into the job's folder; removes the files of an earlier attempt first.
pub fn prepare(app: &Workspace, job: &Job) -> Result<Spec, Failure> {
    let request = job
        .command()
        .ok_or_else(|| Failure::system("the job cannot be read"))?;
    let nodes = job.nodes();
    check_compute(app, request, nodes)?;
    let warning = check_environment(app, &request.environment_id)?;

    let run = RunName::parse(&job.name)?;
    let folder = Folder::of(&app.home, &run);
    folder.make()?;
    if let Some(code) = request.code_id.as_deref() {
        let source = code_source(app, code)?;
        input::bring_folder(app, &source, &folder.work(), Bring::Code)?;
    }
    for name in ["outputs", "logs"] {
        // The code may already contain a file or folder with this name, which is the user's
        // decision.
        if let Err(error) = fs::create_dir(folder.work().join(name))
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(Error::from(error).into());
        }
    }
    let mut bindings = Bindings::new();
    for (name, input) in request.inputs.iter().flatten() {
        let binding = bring_input(app, &folder, name, input)?;
        bindings.insert(format!("inputs.{name}"), binding);
    }
    for (name, output) in request.outputs.iter().flatten() {
        let path = make_output(&folder, name, output)?;
        bindings.insert(format!("outputs.{name}"), Binding::Path(path));
    }
    let processes = processes(app, job, request, nodes)?;
    if let (Some(warning), Some(first)) = (warning, processes.first()) {
        warn(app, job, first, warning)?;
    }
    let mut command = resolve(&request.command, &bindings);
    let mut environment = variables::of_job(app, job, &folder, &bindings);
    if let Some(count) = joined_by_mpi(request) {
        let logs = text(&Folder::logs(&app.home, &run).join(LOG_OF_PROCESS))?;
        command = mpi::launch(count, command, logs, &mut environment)?;
    }
    Ok(Spec {
        command,
        directory: folder.work(),
        environment,
        processes,
        port: app.port,
        timeout: request
            .limits
            .as_ref()
            .and_then(|limits| limits.timeout.as_deref())
            .and_then(duration::parse)
            .map(|timeout| timeout.as_secs_f64()),
        grace: GRACE,
    })
}

fn check_compute(app: &Workspace, request: &CommandJob, nodes: usize) -> Result<(), Failure> {
    let too_many = |name: &str, most: usize| {
        Error::invalid(format!(
            "the job asks for {nodes} nodes, and {name} has {most} at most\n\
             hint: ask for fewer; on one machine, more processes on a node do as well"
        ))
    };
    let Some(id) = request.compute_id.as_deref().filter(|id| !id.is_empty()) else {
        if nodes > 1 {
            return Err(too_many("serverless compute", 1).into());
        }
        return Ok(());
    };
    let name = last_part(id);
    app.store.transaction(|store| {
        let Some(found) = computes::get(store, name)? else {
            return Err(Error::invalid(format!(
                "{}\nhint: choose one of them as the job's compute target",
                compute::missing(name, &computes::list(store)?)
            )));
        };
        let most = match found.body.properties {
            Compute::AmlCompute(cluster) => cluster
                .properties
                .scale_settings
                .map_or(1, |scale| scale.max_node_count as usize),
            _ => 1,
        };
        if nodes > most {
            return Err(too_many(name, most));
        }
        Ok(())
    })?;
    Ok(())
}

/// Finds an environment by its ARM id, by `azureml:name:version`, by `name@latest` or in a registry
/// on Azure. Returns a warning for one that is not registered here but runs anyway.
fn check_environment(app: &Workspace, id: &str) -> Result<Option<String>, Failure> {
    let short = id
        .rsplit_once("/environments/")
        .map_or(id, |(_, rest)| rest)
        .trim_start_matches("azureml:");
    let (name, version) = if let Some((name, version)) = short.split_once("/versions/") {
        (name, Some(version))
    } else if let Some((name, _label)) = short.split_once('@') {
        (name, None)
    } else if let Some((name, _label)) = short.split_once("/labels/") {
        (name, None)
    } else if let Some((name, version)) = short.rsplit_once(':') {
        (name, Some(version))
    } else {
        (short, None)
    };
    let warning = app.store.transaction(|store| {
        let versions = asset::versions(store, Kind::Environment, name)?;
        let there = version.map_or(!versions.is_empty(), |version| {
            versions.iter().any(|asset| asset.version == version)
        });
        // An environment in a registry is different from one with the same name here.
        if there && !id.starts_with("azureml://registries/") {
            return Ok(None);
        }
        if environment::is_curated(id, name) {
            return Ok(Some(format!(
                "the environment {name:?} is Azure's and not in this workspace: \
                 the job runs on this machine as it is, with its own programs and packages"
            )));
        }
        let error = if versions.is_empty() {
            missing(
                Kind::Environment,
                name,
                None,
                &asset::names(store, Kind::Environment)?,
            )
        } else {
            let numbers: Vec<String> = versions.into_iter().map(|asset| asset.version).collect();
            missing(Kind::Environment, name, version, &numbers)
        };
        Err(Error::invalid(format!(
            "{error}\nhint: choose one of them, or register it first"
        )))
    })?;
    Ok(warning)
}

/// Adds a warning to the job's page and to the start of its log.
fn warn(app: &Workspace, job: &Job, process: &Process, warning: String) -> Result<(), Failure> {
    // An interrupted preparation has already written it.
    if fs::metadata(&process.log).map_or(0, |log| log.len()) == 0 {
        fs::write(&process.log, format!("azureml-local: warning: {warning}\n"))
            .map_err(Error::from)?;
    }
    app.store
        .transaction(|store| job::set_warnings(store, &job.name, &[warning]))?;
    Ok(())
}

fn code_source(app: &Workspace, id: &str) -> Result<Source, Failure> {
    let (name, version) = id
        .rsplit_once("/codes/")
        .map_or(id, |(_, rest)| rest)
        .split_once("/versions/")
        .ok_or_else(|| Failure::user(format!("{id:?} is no id of a code snapshot")))?;
    let found = app
        .store
        .transaction(|store| asset::get(store, Kind::Code, name, version))?
        .ok_or_else(|| {
            Failure::user(format!(
                "there is no code snapshot {name:?}, version {version:?}, in this workspace"
            ))
        })?;
    let uri = found
        .uri()
        .ok_or_else(|| Failure::user(format!("the code snapshot {name:?} has no files")))?;
    Ok(source::source(app, uri)?)
}

fn bring_input(
    app: &Workspace,
    folder: &Folder,
    name: &str,
    input: &JobInput,
) -> Result<Binding, Failure> {
    let (asset, is_file) = match input {
        JobInput::Literal(literal) => return Ok(Binding::Literal(literal.value.clone())),
        JobInput::UriFile(asset) => (asset, true),
        JobInput::UriFolder(asset)
        | JobInput::Mltable(asset)
        | JobInput::CustomModel(asset)
        | JobInput::MlflowModel(asset)
        | JobInput::TritonModel(asset) => (asset, false),
    };
    if asset.mode.as_deref() == Some("Direct") {
        return Ok(Binding::Literal(asset.uri.clone()));
    }
    let source = source::source(app, &asset.uri)?;
    let target = folder.input(&PortName::parse(name)?);
    // A model can be a file or a folder, independent of its type.
    let single = source.blob(app).is_ok();
    let path = if is_file || single {
        if !single {
            return Err(not_there(name, &asset.uri));
        }
        let file_name = source.path.as_ref().map(|path| path.split().1);
        let path = target.join(file_name.as_ref().map_or(name, AsRef::as_ref));
        input::bring_file(app, &source, &path)?;
        path
    } else {
        let brought = input::bring_folder(app, &source, &target, Bring::ReadOnly)?;
        if brought == 0 {
            return Err(not_there(name, &asset.uri));
        }
        target
    };
    text(&path).map(Binding::Path)
}

fn not_there(name: &str, uri: &str) -> Failure {
    Failure::user(format!(
        "there is nothing at {uri:?}, which the input {name:?} names\n\
         hint: upload it first, or correct the path"
    ))
}

fn make_output(folder: &Folder, name: &str, output: &JobOutput) -> Result<String, Failure> {
    let target = folder.output(&PortName::parse(name)?);
    fs::create_dir_all(&target).map_err(Error::from)?;
    let path = if let JobOutput::UriFile(_) = output {
        target.join(name)
    } else {
        target
    };
    text(&path)
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::system(format!(
            "the local workspace lies in a folder whose name is no text: {}\n\
             hint: set AZUREML_LOCAL_HOME to another",
            path.display()
        ))
    })
}

fn processes_per_node(count: &ProcessCount) -> usize {
    count.process_count_per_instance.unwrap_or(1).max(1) as usize
}

/// The number of processes that MPI starts, all on one node; `None` without MPI or for a single
/// process.
fn joined_by_mpi(request: &CommandJob) -> Option<usize> {
    match &request.distribution {
        Some(Distribution::Mpi(count)) => {
            Some(processes_per_node(count)).filter(|count| *count > 1)
        }
        _ => None,
    }
}

fn processes(
    app: &Workspace,
    job: &Job,
    request: &CommandJob,
    nodes: usize,
) -> Result<Vec<Process>, Failure> {
    let logs = Folder::logs(&app.home, &RunName::parse(&job.name)?);
    fs::create_dir_all(&logs).map_err(Error::from)?;
    let log_of = |rank: usize| logs.join(format!("{LOG_OF_PROCESS}{rank:02}.txt"));
    let alone = |log: PathBuf| {
        Ok(vec![Process {
            environment: BTreeMap::new(),
            log,
        }])
    };
    let per_node = match &request.distribution {
        Some(Distribution::PyTorch(count)) => processes_per_node(count),
        // `mpirun`, which starts the others, is one process.
        Some(Distribution::Mpi(_)) if joined_by_mpi(request).is_some() => return alone(log_of(0)),
        Some(Distribution::Mpi(_)) => {
            return Ok(vec![Process {
                environment: mpi::alone(),
                log: logs.join("std_log.txt"),
            }]);
        }
        _ if nodes == 1 => return alone(logs.join("std_log.txt")),
        _ => 1,
    };
    // A free port; the first process listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(Error::from)?
        .port();
    let count = nodes * per_node;
    Ok((0..count)
        .map(|rank| Process {
            environment: variables::of_rank(rank, nodes, per_node, port),
            log: if count == 1 {
                logs.join("std_log.txt")
            } else {
                log_of(rank)
            },
        })
        .collect())
}
