//! Two helper processes of a job: the guardian survives the supervisor, and the holder delays each
//! process until its start is recorded.
//!
//! The guardian (`azureml-local run-job <folder>`) is the parent of the supervisor. When one of
//! them is killed, the other kills all processes of the job. Both hold the lock of the supervisor's
//! folder, which the server takes before it starts the guardian: so no server ever sees a job
//! without its lock. The guardian also reserves the job's port.

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

/// The guardian's main function.
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
    // The job must not receive signals of the server's terminal or session. The call fails if this
    // process already leads a session, which has the same effect.
    let _ = setsid();
    // The supervisor handles these signals.
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
    // The supervisor inherits the lock through standard input.
    let mut supervisor = Command::new(own_program()?)
        .arg0("azureml-local")
        .arg("supervise-job")
        .arg(folder)
        .arg(id().to_string())
        .spawn()?;
    while supervisor.try_wait()?.is_none() {
        // If the supervisor was killed, its orphans are reaped only after it.
        children.recv().await;
    }
    reap(|_, _| ());
    end_descendants(|_, _| ()).await
}

/// The path of this program. `/proc/self/exe` stays valid if the program is rebuilt under its name.
pub fn own_program() -> io::Result<std::path::PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        Ok(own.to_owned())
    } else {
        std::env::current_exe()
    }
}

/// Requests `signal` from the kernel when the parent with this id ends. Returns false if it has
/// already ended.
pub fn end_with_parent(parent: u32, signal: Signal) -> io::Result<bool> {
    set_parent_process_death_signal(Some(signal))?;
    Ok(getppid().is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() == parent))
}

/// Holds a process of the job: executes the command when the supervisor sends a byte on standard
/// input, and ends if the supervisor has gone.
pub fn hold(supervisor: u32, command: &str) -> ExitCode {
    let is_released = end_with_parent(supervisor, Signal::KILL).unwrap_or(false)
        && io::stdin().read_exact(&mut [0]).is_ok();
    if !is_released {
        return ExitCode::FAILURE;
    }
    // If the limit cannot be set, the mark is in the environment only.
    let _ = Mark::own().map(|mark| mark.set_limit());
    let error = Command::new(shell())
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .exec();
    eprintln!("azureml-local: {} cannot be run: {error}", shell());
    // The shell's exit code for a command that cannot be executed.
    ExitCode::from(127)
}
