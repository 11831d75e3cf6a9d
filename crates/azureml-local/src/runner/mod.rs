//! Runs one job from the queue to its end.
//!
//! The next server can repeat or resume every step: the store has the status of the job, and the
//! supervisor's folder has the state of its processes.

pub mod collect;
pub mod failure;
pub mod guardian;
pub mod input;
pub mod mark;
pub mod mpi;
pub mod prepare;
pub mod processes;
pub mod register;
pub mod supervision;
pub mod supervisor;
pub mod sweep;
pub mod variables;

use crate::duration;
use crate::error::{Error, Result};
use crate::name::RunName;
use crate::store::job::{self, Job};
use crate::workspace::folder::Folder;
use crate::workspace::{Shared, Workspace, blocking};
use azureml_wire::job::{Distribution, JobStatus};
use azureml_wire::local;
use collect::LeftOut;
use failure::Failure;
use mark::Mark;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Ended;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// The polling interval of a job that is not a child of this process.
const LOOK: Duration = Duration::from_millis(100);

/// How long the end of a job waits for the removal of its files.
const PATIENCE: Duration = Duration::from_secs(10);

/// The result of a job.
enum End {
    Completed,
    Failed(Failure),
    Canceled,
}

/// Runs a job to its end.
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

/// Records the end of a job and retries until it succeeds: after a full disk, the job must not stay
/// in `Running`.
pub async fn end(app: &Workspace, name: &str, status: JobStatus, failure: Option<Failure>) {
    let reason = failure.as_ref().map(tracing::field::display);
    tracing::info!(job = name, %status, reason, "ended");
    let folder = RunName::parse(name).map(|run| Folder::of(&app.home, &run));
    // Removes the files first to free space; the supervisor's records stay until the end is
    // recorded.
    let files = folder.clone();
    let clearing = blocking(move || files?.clear_files().map_err(Error::from));
    let mut clearing = std::pin::pin!(clearing);
    // Removing the files of some jobs takes very long.
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
    app.scheduling.note_end();
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

async fn find(app: &Workspace, name: &str) -> Result<Job, Failure> {
    let name = name.to_owned();
    Ok(app
        .db(move |store| {
            job::get(store, &name)?.ok_or_else(|| Error::Internal("a job got lost".to_owned()))
        })
        .await?)
}

async fn advance(app: &Workspace, name: &str, status: JobStatus) -> Result<(), Failure> {
    let of = name.to_owned();
    app.db(move |store| job::advance(store, &of, status))
        .await?;
    tracing::info!(job = name, %status);
    Ok(())
}

/// Records a status of a job whose processes run or have run. On a full disk, it frees the reserved
/// space and retries once. Further errors are only logged: the processes are more important.
async fn note(app: &Workspace, name: &str, status: JobStatus) {
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

/// Whether the job was canceled.
async fn is_to_end(app: &Workspace, job: &Job) -> bool {
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
                // Supervisor and server were killed before the start was recorded.
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
    app.scheduling.step(|queue| queue.started(name));
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
        // Truncated files must not be taken for results.
        return Ok(End::Failed(failure.clone()));
    }
    // The outputs of a canceled job are kept, too; its status stays `CancelRequested`.
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

/// Reports files that were not kept in the log and as warnings; returns a failure if there are
/// conflicts.
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
            // Warnings from before the start stay.
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

/// The failure of a job's command; `None` if it succeeded.
fn why_it_failed(app: &Workspace, job: &Job, ended: &Ended) -> Option<Failure> {
    let logs = Folder::logs(&app.home, &RunName::parse(&job.name).ok()?);
    let own = |rank: usize| logs.join(format!("std_log_process_{rank:02}.txt"));
    let mut ended = ended.clone();
    if let Some(rank) = mpi::failed_rank(&supervisor::tail(&own(0), 4096))
        && own(rank).exists()
        && let Some(Distribution::Mpi(_)) = job.command().and_then(|job| job.distribution.as_ref())
    {
        ended.rank = rank;
    }
    let own = own(ended.rank);
    let log = if own.exists() {
        own
    } else {
        logs.join("std_log.txt")
    };
    let limits = job.command().and_then(|job| job.limits.as_ref());
    let timeout = limits
        .and_then(|limits| limits.timeout.as_deref())
        .and_then(duration::parse)
        .map(|timeout| timeout.as_secs_f64());
    failure::of_command(&ended, timeout, &log, app.home.root())
}

/// Starts a supervisor and waits until it has started the job's processes.
async fn launch(folder: &Path, spec: &supervisor::Spec) -> Result<Child, Failure> {
    let lock = supervisor::set_up(folder, spec).map_err(Error::from)?;
    let log = File::create(folder.join("supervisor.log")).map_err(Error::from)?;
    let mut child = Command::new(guardian::own_program().map_err(Error::from)?)
        // The name in process lists.
        .arg0("azureml-local")
        .arg("run-job")
        .arg(folder)
        // The guardian has the lock from its start: a later server knows that the job runs, even if
        // this server is killed now.
        .stdin(lock)
        .stdout(Stdio::piped())
        .stderr(log)
        .env_remove(local::env::JOB)
        .spawn()
        .map_err(|error| Failure::system(format!("the job could not be started: {error}")))?;
    if let Some(mut stdout) = child.stdout.take() {
        let mut word = vec![0; supervisor::READY.len()];
        // If the guardian ends before this message, `follow` returns the reason.
        let _ = stdout.read_exact(&mut word).await;
    }
    Ok(child)
}

/// Follows a job's processes to their end; `None` if the supervisor is gone without a record.
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
                // Only now the record is complete and the process is gone.
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

/// Waits for the end of a child, or one polling interval for a process that is not a child.
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
        // The process may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Ends the processes that remain after both the supervisor and its guardian were killed.
async fn clean_up_after_lost(name: &str, folder: Folder) {
    let cleaned = blocking(move || {
        let supervisor = folder.supervisor();
        let Some(started) = supervisor::started(&supervisor) else {
            return Ok(());
        };
        if started.boot != supervisor::boot() {
            return Ok(());
        }
        processes::end_marked(&Mark::of(folder.root()));
        Ok(())
    });
    if let Err(error) = cleaned.await {
        tracing::error!(job = name, %error, "what it ran could not be ended");
    }
}

/// The failure of a job whose supervisor is gone.
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
