//! The two processes around a job's own: one that outlives the supervisor, and one that holds each process back until it
//! is recorded.
//!
//! The guardian (`azureml-local run-job <folder>`) is the parent of the supervisor. When either is killed, the other
//! kills whatever the job has started. Both hold the lock of the supervisor's folder, which the server took before it
//! started the guardian: no server ever sees a job between two states. The guardian also keeps the job's port.

use super::mark::Mark;
use super::processes::{adopt_orphans, end_descendants, reap};
use super::supervisor::{self, shell};
use crate::port;
use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio, id};
use tokio::signal::unix::{SignalKind, signal};

/// The guardian's whole life.
pub async fn run(folder: &Path) -> ExitCode {
    match guard(folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azureml-local run-job: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

async fn guard(folder: &Path) -> io::Result<()> {
    // Signals to the terminal or the session that the server was started from do not reach the job.
    // It fails when the caller made us a leader already, which is as good.
    let _ = setsid();
    // The supervisor answers to these.
    let _ignored = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let mut children = signal(SignalKind::child())?;
    adopt_orphans()?;
    let port = supervisor::spec(folder)?.port;
    let _reserved = port::reserve(port).inspect_err(|error| {
        eprintln!("azureml-local run-job: port {port} is not kept from other users: {error}");
    });
    // The lock, on standard input, goes on to the supervisor.
    let mut supervisor = Command::new(own_program()?)
        .arg0("azureml-local")
        .arg("supervise-job")
        .arg(folder)
        .arg(id().to_string())
        .spawn()?;
    while supervisor.try_wait()?.is_none() {
        // Orphans of a supervisor that was killed are not reaped before it is.
        children.recv().await;
    }
    reap(|_, _| ());
    end_descendants(|_, _| ()).await
}

/// This program; it may have been built anew under its name, and this one is still there.
pub fn own_program() -> io::Result<std::path::PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        Ok(own.to_owned())
    } else {
        std::env::current_exe()
    }
}

/// Lets the kernel send `signal` when the parent, which has this number, ends. Whether it has not ended before.
pub fn end_with_parent(parent: u32, signal: Signal) -> io::Result<bool> {
    set_parent_process_death_signal(Some(signal))?;
    Ok(getppid().is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() == parent))
}

/// Becomes a job's process, once the supervisor says so by a byte on standard input; ends when it cannot say it any more.
pub fn hold(supervisor: u32, command: &str) -> ExitCode {
    let is_released = end_with_parent(supervisor, Signal::KILL).unwrap_or(false)
        && io::stdin().read_exact(&mut [0]).is_ok();
    if !is_released {
        return ExitCode::FAILURE;
    }
    // Where the limit is refused, the job's processes have the mark in their environment alone.
    let _ = Mark::own().map(|mark| mark.set_limit());
    let error = Command::new(shell())
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .exec();
    eprintln!("azureml-local: {} cannot be run: {error}", shell());
    // The shell's own word for a command that cannot be run.
    ExitCode::from(127)
}
