//! The processes with the test's mark in their environment: all processes that the test started,
//! and their children.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The mark: every process of one test has this variable with the same value.
pub const MARK: &str = "AZUREML_TEST_CHAOS";

/// The variable with the job's name, in the processes of a job.
pub const JOB: &str = "AZUREML_RUN_ID";

/// The role of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The supervisor of this job, or the supervisor's guardian.
    Supervisor(String),
    /// A process of this job.
    Job(String),
    /// The cell process of a kernel.
    Cell,
    /// The driver of a kernel: Jupyter's own client.
    Driver,
    /// Any other process.
    Other,
}

impl Role {
    fn of(environment: &[String], command: &[String]) -> Self {
        let set = |name: &str| {
            let mut values = environment.iter().filter_map(|set| set.split_once('='));
            values
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let is = |name: &str| command.iter().any(|part| part.ends_with(name));
        match (command, set(JOB)) {
            (_, Some(job)) => Self::Job(job.to_owned()),
            ([_, run, folder, ..], None)
                if ["run-job", "supervise-job"].contains(&run.as_str()) =>
            {
                Self::Supervisor(job_of(folder))
            }
            _ if is("azureml-kernel") && set("AZUREML_KERNEL_ROLE") == Some("cell") => Self::Cell,
            _ if is("notebook_client.py") => Self::Driver,
            _ => Self::Other,
        }
    }
}

/// A process with the mark. The handle (pidfd) never refers to another process with the same reused
/// id.
pub struct Process {
    pub pid: u32,
    pub role: Role,
    pub command: Vec<String>,
    handle: OwnedFd,
}

impl Process {
    /// Kills the process with SIGKILL.
    pub fn kill(&self) {
        // The process may have ended already.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// A description for the report of a process that should not exist.
    pub fn describe(&self) -> String {
        format!("{} ({:?}, {})", self.pid, self.role, self.command.join(" "))
    }

    fn find(pid: u32, mark: &str) -> Option<Self> {
        // Most processes do not belong to the test: the filter comes before a handle is opened.
        of_mark(pid, mark)?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let handle = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        let environment = of_mark(pid, mark)?;
        let command = strings(&fs::read(format!("/proc/{pid}/cmdline")).ok()?);
        Some(Self {
            pid,
            role: Role::of(&environment, &command),
            command,
            handle,
        })
    }
}

/// The environment of a process, if it contains the mark.
fn of_mark(pid: u32, mark: &str) -> Option<Vec<String>> {
    let environment = strings(&fs::read(format!("/proc/{pid}/environ")).ok()?);
    let set = format!("{MARK}={mark}");
    environment.contains(&set).then_some(environment)
}

fn strings(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// The job of a supervisor's folder, `jobs/{name}/supervisor`.
fn job_of(folder: &str) -> String {
    let job = Path::new(folder).parent().and_then(Path::file_name);
    job.unwrap_or_default().to_string_lossy().into_owned()
}

/// Every process with the mark except this one.
pub fn marked(mark: &str) -> Vec<Process> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| Process::find(pid, mark))
        .collect()
}
