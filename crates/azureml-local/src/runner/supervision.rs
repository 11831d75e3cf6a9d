//! The supervisor of a job: starts its processes, ends them if necessary, and records how they
//! ended.

use super::guardian::{end_with_parent, own_program};
use super::processes::{adopt_orphans, descendants, end_descendants, reap};
use super::supervisor::{self, Ended, Process, READY, Records, Spec};
use rustix::process::{Pid, Signal, WaitStatus};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitCode, Stdio, id};
use std::time::Duration;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// The interval at which a supervisor checks that its folder exists.
const LOOK: Duration = Duration::from_secs(2);

/// The signal for the end of the guardian; no other process sends it.
const GUARDIAN_ENDED: Signal = Signal::USR2;

/// The supervisor's main function.
pub async fn run(folder: &Path, guardian: u32) -> ExitCode {
    match supervise(folder, guardian).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azureml-local run-job: {}: {error}", folder.display());
            // Without a supervisor, no process of the job may run.
            let _ = end_descendants(|_, _| ()).await;
            ExitCode::FAILURE
        }
    }
}

async fn supervise(folder: &Path, guardian: u32) -> io::Result<()> {
    let mut events = Events::new()?;
    if !end_with_parent(guardian, GUARDIAN_ENDED)? {
        // The guardian was killed before any process ran. The missing record shows that better than
        // an error.
        return Ok(());
    }
    adopt_orphans()?;
    let mut records = Records::open(folder)?;
    let spec = supervisor::spec(folder)?;

    let mut ranks = Vec::new();
    for process in &spec.processes {
        match Rank::hold(&spec, process) {
            Ok(rank) => ranks.push(rank),
            Err(error) => {
                eprintln!("azureml-local run-job: the job's process cannot be started: {error}");
                let failed = outcome(ranks.len(), None);
                drop(ranks);
                end_descendants(|_, _| ()).await?;
                return records.end(&failed);
            }
        }
    }
    // A recorded job is never started again. No process of the job runs before the record.
    records.start(&supervisor::Started {
        supervisor: id(),
        boot: supervisor::boot(),
    })?;
    for rank in &mut ranks {
        rank.release();
    }
    // The server may have been killed.
    let _ = io::stdout()
        .write_all(READY)
        .and_then(|()| io::stdout().flush());

    let mut watch = Watch::new(&spec, ranks);
    if !watch.follow(&mut events, folder).await {
        return end_descendants(|_, _| ()).await;
    }
    // Background processes of the job end with it, as in a container.
    end_descendants(|pid, status| watch.note(pid, status)).await?;
    records.end(&watch.ended())
}

/// The events of a supervisor.
struct Events {
    child: Stream,
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    guardian_ended: Stream,
}

impl Events {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            guardian_ended: signal(SignalKind::from_raw(GUARDIAN_ENDED.as_raw()))?,
        })
    }
}

/// One of a job's processes.
struct Rank {
    pid: Pid,
    /// The pipe that holds it back.
    hold: Option<ChildStdin>,
}

impl Rank {
    /// Starts a process that waits for its release, and ends if the supervisor ends first.
    fn hold(spec: &Spec, process: &Process) -> io::Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&process.log)?;
        #[allow(clippy::zombie_processes, reason = "all children are reaped together")]
        let mut child = Command::new(own_program()?)
            .arg0("azureml-local")
            .args(["hold-process", &id().to_string(), "--", &spec.command])
            .current_dir(&spec.directory)
            .env_clear()
            .envs(&spec.environment)
            .envs(&process.environment)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let hold = child.stdin.take();
        Ok(Self {
            pid: Pid::from_child(&child),
            hold,
        })
    }

    fn release(&mut self) {
        if let Some(mut hold) = self.hold.take() {
            // If the process was killed meanwhile, its exit status is the result.
            let _ = hold.write_all(b"\n");
        }
    }
}

/// The running processes of a job.
struct Watch {
    ranks: Vec<Rank>,
    /// The processes that have not ended, by rank.
    running: Vec<bool>,
    decided: Option<Ended>,
    timeout: Option<Instant>,
    grace: Duration,
    /// The time of the kill, if the processes have not ended after the termination signal.
    kill_at: Option<Instant>,
    timed_out: bool,
    canceled: bool,
}

impl Watch {
    fn new(spec: &Spec, ranks: Vec<Rank>) -> Self {
        Self {
            running: vec![true; ranks.len()],
            ranks,
            decided: None,
            timeout: spec
                .timeout
                .and_then(|timeout| Duration::try_from_secs_f64(timeout).ok())
                .and_then(|timeout| Instant::now().checked_add(timeout)),
            grace: Duration::from_secs_f64(spec.grace),
            kill_at: None,
            timed_out: false,
            canceled: false,
        }
    }

    /// Follows the processes until they have ended or must be killed. Returns false if the guardian
    /// has ended.
    async fn follow(&mut self, events: &mut Events, folder: &Path) -> bool {
        loop {
            let any_left = reap(|pid, status| self.note(pid, status));
            let all_ended = !self.running.contains(&true);
            // After a request to end, all descendants are awaited; otherwise the remaining ones are
            // background processes.
            if all_ended && (self.kill_at.is_none() || !any_left) {
                return true;
            }
            tokio::select! {
                _ = events.child.recv() => {}
                () = at(self.timeout), if self.kill_at.is_none() => {
                    self.timed_out = true;
                    self.ask_to_end();
                }
                () = at(self.kill_at) => return true,
                _ = events.terminate.recv() => self.cancel(),
                _ = events.interrupt.recv() => self.cancel(),
                _ = events.hangup.recv() => self.cancel(),
                _ = events.guardian_ended.recv() => return false,
                () = sleep(LOOK) => {
                    // The folder has been removed, so the results could not be read.
                    if !supervisor::is_there(folder) {
                        self.cancel();
                    }
                }
            }
        }
    }

    fn cancel(&mut self) {
        if self.kill_at.is_none() {
            self.canceled = true;
            self.ask_to_end();
        }
    }

    fn ask_to_end(&mut self) {
        if self.kill_at.is_none() {
            self.kill_at = Some(Instant::now() + self.grace);
            for process in descendants() {
                process.signal(Signal::TERM);
            }
        }
    }

    /// Records the end of a process; the first failure ends the others.
    fn note(&mut self, pid: Pid, status: WaitStatus) {
        let is_it = |rank: &Rank| rank.pid == pid;
        let Some(rank) = self.ranks.iter().position(is_it) else {
            return;
        };
        self.running[rank] = false;
        let this = outcome(rank, Some(status));
        let failed = this.code != Some(0);
        if self
            .decided
            .as_ref()
            .is_none_or(|ended| failed && ended.code == Some(0))
        {
            self.decided = Some(this);
            if failed && self.running.contains(&true) {
                self.ask_to_end();
            }
        }
    }

    fn ended(&self) -> Ended {
        Ended {
            timed_out: self.timed_out,
            canceled: self.canceled,
            ..self.decided.clone().unwrap_or_else(|| outcome(0, None))
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn outcome(rank: usize, status: Option<WaitStatus>) -> Ended {
    Ended {
        rank,
        // 127 is the shell's exit code for a command that cannot be executed.
        code: status.map_or(Some(127), WaitStatus::exit_status),
        signal: status.and_then(WaitStatus::terminating_signal),
        timed_out: false,
        canceled: false,
    }
}
