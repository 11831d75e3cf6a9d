//! Takes one job from its place in the queue to its end.
//!
//! Every step can be taken again by the next server: the store says how far a job came, and the supervisor's folder
//! says what became of its processes.

pub mod collect;
pub mod command;
pub mod duration;
pub mod failure;
pub mod folder;
pub mod guardian;
pub mod input;
pub mod mark;
pub mod mpi;
pub mod output;
pub mod prepare;
pub mod processes;
pub mod register;
pub mod supervision;
pub mod supervisor;
pub mod variables;

use crate::app::{Shared, blocking};
use crate::error::{Error, Result};
use crate::name::RunName;
use crate::store::job::{self, Job};
use azureml_wire::job::JobStatus;
use azureml_wire::local;
use collect::LeftOut;
use failure::Failure;
use folder::Folder;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Ended;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How often a followed job is looked at when nothing else tells.
const LOOK: Duration = Duration::from_millis(100);

/// How long a job's end waits for its files to be removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a job ends.
enum End {
    Completed,
    Failed(Failure),
    Canceled,
}

/// Takes a job to its end.
pub async fn drive(app: &Shared, name: &str, canceled: watch::Receiver<bool>) {
    let end = match run(app, name, canceled).await {
        Ok(end) => end,
        Err(failure) => End::Failed(failure),
    };
    let (status, failure) = match end {
        End::Completed => (JobStatus::Completed, None),
        End::Canceled => (JobStatus::Canceled, None),
        End::Failed(failure) => (JobStatus::Failed, Some(failure)),
    };
    self::end(app, name, status, failure).await;
}

/// Writes down how a job ended, however long that takes: a full disk must not leave it running for ever.
pub async fn end(app: &Shared, name: &str, status: JobStatus, failure: Option<Failure>) {
    let reason = failure.as_ref().map(tracing::field::display);
    tracing::info!(job = name, %status, reason, "ended");
    let folder = RunName::parse(name).map(|run| Folder::of(&app.home, &run));
    // Makes room first; what the supervisor wrote stays until the end is written down.
    let files = folder.clone();
    let clearing = blocking(move || files?.clear_files().map_err(Error::from));
    let mut clearing = std::pin::pin!(clearing);
    // Some jobs leave so much that nobody should wait for it.
    let cleared = tokio::time::timeout(PATIENCE, &mut clearing).await;
    loop {
        let written = {
            let (name, failure) = (name.to_owned(), failure.clone());
            app.db(move |store| {
                if let Some(failure) = failure {
                    job::set_error(store, &name, &failure.body())?;
                }
                job::advance(store, &name, status)
            })
            .await
        };
        match written {
            Ok(_) => break,
            Err(Error::DiskFull(_)) if app.home.drop_ballast() => {
                tracing::warn!(job = name, "the disk is full, the reserve is used");
            }
            Err(error) => {
                tracing::error!(job = name, %error, "its end could not be written down");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    app.queue.tell_end();
    let cleared = match cleared {
        Ok(cleared) => cleared,
        Err(_) => clearing.await,
    };
    let home = app.home.clone();
    let gone = blocking(move || {
        home.take_ballast();
        folder?.clear().map_err(Error::from)
    })
    .await;
    if let Err(error) = cleared.and(gone) {
        tracing::warn!(job = name, %error, "its folder could not be removed");
    }
}

async fn find(app: &Shared, name: &str) -> Result<Job, Failure> {
    let name = name.to_owned();
    Ok(app
        .db(move |store| {
            job::get(store, &name)?.ok_or_else(|| Error::Internal("a job got lost".to_owned()))
        })
        .await?)
}

async fn advance(app: &Shared, name: &str, status: JobStatus) -> Result<(), Failure> {
    let of = name.to_owned();
    app.db(move |store| job::advance(store, &of, status))
        .await?;
    tracing::info!(job = name, %status);
    Ok(())
}

/// Takes note of a step of a job whose processes run or have run: they matter more than the note.
async fn note(app: &Shared, name: &str, status: JobStatus) {
    let noted = match advance(app, name, status).await {
        Err(failure) if failure.is_disk_full() && app.home.drop_ballast() => {
            advance(app, name, status).await
        }
        noted => noted,
    };
    if let Err(failure) = noted {
        tracing::error!(job = name, %status, %failure, "could not be written down");
    }
}

/// Whether somebody has asked for a job's end.
async fn is_to_end(app: &Shared, job: &Job) -> bool {
    let status = find(app, &job.name)
        .await
        .map_or(job.status, |job| job.status);
    status == JobStatus::CancelRequested
}

async fn run(
    app: &Shared,
    name: &str,
    mut canceled: watch::Receiver<bool>,
) -> Result<End, Failure> {
    let job = find(app, name).await?;
    let folder = Folder::of(&app.home, &RunName::parse(name)?);
    let mut asked_to_end = job.status == JobStatus::CancelRequested;
    let supervisor = folder.supervisor();
    let runs_already = supervisor::is_alive(&supervisor)
        || supervisor::started(&supervisor).is_some()
        || supervisor::ended(&supervisor).is_some();

    let child = if runs_already {
        None
    } else {
        if asked_to_end || *canceled.borrow() {
            return Ok(End::Canceled);
        }
        if matches!(job.status, JobStatus::Running | JobStatus::Finalizing) {
            if supervisor::is_there(&supervisor) {
                // It was killed before it had recorded anything, and the server after it.
                return Err(lost(&supervisor));
            }
            return Err(Failure::system(
                "the folder in which the job ran is gone\nhint: submit it again",
            ));
        }
        advance(app, name, JobStatus::Preparing).await?;
        let spec = {
            let (app, job) = (Arc::clone(app), job.clone());
            blocking(move || Ok(prepare::prepare(&app, &job))).await??
        };
        if *canceled.borrow() {
            return Ok(End::Canceled);
        }
        Some(launch(&supervisor, &spec).await?)
    };
    app.queue.started(name);
    note(app, name, JobStatus::Running).await;

    asked_to_end |= *canceled.borrow();
    let ended = follow(&supervisor, child, &mut canceled, asked_to_end).await;
    let Some(ended) = ended else {
        clean_up_after_lost(name, folder).await;
        return if is_to_end(app, &job).await {
            Ok(End::Canceled)
        } else {
            Err(lost(&supervisor))
        };
    };

    let failure = why_it_failed(app, &job, &ended);
    if let Some(failure) = failure.as_ref().filter(|failure| failure.is_disk_full()) {
        // Nothing that was cut short may pass for a result.
        return Ok(End::Failed(failure.clone()));
    }
    // A job whose end was asked for goes to its end from there; its outputs are kept as well.
    note(app, name, JobStatus::Finalizing).await;
    let collected = {
        let (app, job) = (Arc::clone(app), job.clone());
        blocking(move || Ok(collect::collect(&app, &job))).await?
    };
    let not_kept = match collected {
        Ok(left_out) => report(app, name, left_out).await,
        Err(failure) => Some(failure),
    };
    if ended.canceled || is_to_end(app, &job).await {
        return Ok(End::Canceled);
    }
    if let Some(failure) = failure.or(not_kept) {
        return Ok(End::Failed(failure));
    }
    app.db(move |store| register::register(store, &job)).await?;
    Ok(End::Completed)
}

/// Says what was not kept of what a job has written, in its log and among its warnings; why it fails, when it does.
async fn report(app: &Shared, name: &str, left_out: LeftOut) -> Option<Failure> {
    let LeftOut {
        mut warnings,
        conflicts,
    } = left_out;
    warnings.extend(conflicts.iter().cloned());
    if warnings.is_empty() {
        return None;
    }
    let of = (Arc::clone(app), name.to_owned());
    let noted = blocking(move || {
        let ((app, name), run) = (&of, RunName::parse(&of.1)?);
        Folder::append_to_log(&app.home, &run, &warnings)?;
        app.store.transaction(|store| {
            // What was said before it ran stays.
            let mut all = job::get(store, name)?.map_or_else(Vec::new, |job| job.warnings);
            for warning in warnings {
                if !all.contains(&warning) {
                    all.push(warning);
                }
            }
            job::set_warnings(store, name, &all)
        })
    })
    .await;
    if let Err(error) = noted {
        tracing::warn!(job = name, %error, "what was not kept could not be written down");
    }
    let first = conflicts.first()?;
    Some(Failure::user(format!(
        "{} of the job's outputs would be a file and a folder at once: {first}\n\
         hint: write it under another name, or remove what is there; the others are kept",
        conflicts.len()
    )))
}

/// Why the command of a job failed, when it did.
fn why_it_failed(app: &Shared, job: &Job, ended: &Ended) -> Option<Failure> {
    let logs = Folder::logs(&app.home, &RunName::parse(&job.name).ok()?);
    let own = |rank: usize| logs.join(format!("std_log_process_{rank:02}.txt"));
    let mut ended = ended.clone();
    if let Some(rank) = mpi::failed_rank(&supervisor::tail(&own(0), 4096))
        && own(rank).exists()
        && job.properties.pointer("/distribution/distributionType") == Some(&"Mpi".into())
    {
        ended.rank = rank;
    }
    let own = own(ended.rank);
    let log = if own.exists() {
        own
    } else {
        logs.join("std_log.txt")
    };
    let timeout = job
        .properties
        .pointer("/limits/timeout")
        .and_then(serde_json::Value::as_str)
        .and_then(duration::parse)
        .map(|timeout| timeout.as_secs_f64());
    failure::of_command(&ended, timeout, &log, app.home.root())
}

/// Starts a supervisor, and waits until it has started the job's processes.
async fn launch(folder: &Path, spec: &supervisor::Spec) -> Result<Child, Failure> {
    let lock = supervisor::set_up(folder, spec).map_err(Error::from)?;
    let log = File::create(folder.join("supervisor.log")).map_err(Error::from)?;
    let mut child = Command::new(guardian::own_program().map_err(Error::from)?)
        // Lists of processes show it.
        .arg0("azureml-local")
        .arg("run-job")
        .arg(folder)
        // It has the lock from its first moment on: a server that is killed now leaves no doubt.
        .stdin(lock)
        .stdout(Stdio::piped())
        .stderr(log)
        .env_remove(local::env::JOB)
        .spawn()
        .map_err(|error| Failure::system(format!("the job could not be started: {error}")))?;
    if let Some(mut stdout) = child.stdout.take() {
        let mut word = vec![0; supervisor::READY.len()];
        // When it ends without a word, following it tells why.
        let _ = stdout.read_exact(&mut word).await;
    }
    Ok(child)
}

/// Follows a job's processes to their end; `None` when nobody is left to say what it was.
async fn follow(
    folder: &Path,
    mut child: Option<Child>,
    canceled: &mut watch::Receiver<bool>,
    mut asked_to_end: bool,
) -> Option<Ended> {
    let mut listening = !asked_to_end;
    let mut told = false;
    loop {
        if asked_to_end && !told && supervisor::is_alive(folder) {
            told = supervisor::started(folder).is_some_and(|started| {
                send(started.supervisor, rustix::process::Signal::TERM);
                true
            });
        }
        tokio::select! {
            () = look(&mut child) => {
                // Only then is its record whole, and its process gone.
                if !supervisor::is_alive(folder) {
                    return supervisor::ended(folder);
                }
                child = None;
            }
            heard = canceled.wait_for(|asked| *asked), if listening => {
                listening = false;
                asked_to_end = heard.is_ok();
            }
        }
    }
}

/// Waits for a child of this process, or for the time to look at another's.
async fn look(child: &mut Option<Child>) {
    match child {
        Some(child) => {
            let _ = child.wait().await;
        }
        None => tokio::time::sleep(LOOK).await,
    }
}

fn send(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Ends what a supervisor and its guardian, killed together, have left running.
async fn clean_up_after_lost(name: &str, folder: Folder) {
    let cleaned = blocking(move || {
        let supervisor = folder.supervisor();
        let Some(started) = supervisor::started(&supervisor) else {
            return Ok(());
        };
        if started.boot != supervisor::boot() {
            return Ok(());
        }
        processes::end_marked(&folder.mark());
        Ok(())
    });
    if let Err(error) = cleaned.await {
        tracing::error!(job = name, %error, "what it ran could not be ended");
    }
}

/// What to say of a job whose supervisor is no more.
fn lost(folder: &Path) -> Failure {
    let restarted = supervisor::started(folder)
        .is_some_and(|started| !started.boot.is_empty() && started.boot != supervisor::boot());
    if restarted {
        return Failure::system(
            "the machine was restarted while the job ran\nhint: submit it again",
        );
    }
    let said = supervisor::tail(&folder.join("supervisor.log"), 1024);
    let said = said.trim();
    if said.is_empty() {
        Failure::system(
            "the process that watched over the job was killed, and the job with it\n\
             hint: submit it again",
        )
    } else {
        Failure::system(format!(
            "the job could not be watched over: {said}\nhint: submit it again"
        ))
    }
}
