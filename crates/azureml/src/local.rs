//! The local workspace: finds the running server, or starts it.
//!
//! The server is reached through the Unix socket in its home folder, never through its port. After
//! the server has ended, any process can listen on the port and would receive the token, the code
//! and the variables of jobs. Only the owner of the folder can listen on the socket.

use crate::env as variables;
use crate::error::{Error, Result};
use crate::http;
use azureml_wire::job::JobStatus;
use azureml_wire::local::{self, Server, env};
use azureml_wire::routes::API_VERSION;
use serde_json::Value;
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// The log file of the server in the home folder.
const LOG_FILE: &str = "server.log";
/// The time limit of a start, which normally takes a fraction of a second.
const START: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(25);
/// The pause before another start while another server holds the folder.
const AGAIN: Duration = Duration::from_millis(500);
/// The exit code of a server whose folder is held by another one.
const TAKEN: i32 = 3;
/// The signal of a kill without warning: by a user, or by the system when memory is exhausted.
const KILL: i32 = rustix::process::Signal::KILL.as_raw();
/// The most restarts within one start after the server was killed.
const KILLED: u32 = 3;

/// The local workspace of one home folder.
#[derive(Debug)]
pub struct Local {
    home: PathBuf,
    reached: Mutex<Option<Reached>>,
}

/// A running local workspace.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The address and token that the server has published.
    pub server: Server,
    /// The client for its socket.
    pub http: reqwest::Client,
}

/// The state of the home folder.
enum Found {
    /// A server is running.
    Running(Reached),
    /// An idle server of another version is running.
    Outdated(Reached),
    /// No server is running.
    Nothing,
}

impl Local {
    /// The local workspace of this user, without starting it.
    pub fn new() -> Result<Self> {
        if is_forbidden() {
            return Err(Error::LocalForbidden);
        }
        let home = local::home().ok_or_else(|| {
            unavailable(
                "neither AZUREML_LOCAL_HOME nor HOME says where it lives",
                "set AZUREML_LOCAL_HOME to a folder on a local disk",
            )
        })?;
        Ok(Self {
            home,
            reached: Mutex::new(None),
        })
    }

    /// The running server; starts one if necessary.
    pub async fn reached(&self) -> Result<Reached> {
        let mut reached = self.reached.lock().await;
        match &*reached {
            Some(reached) => Ok(reached.clone()),
            None => Ok(reached.insert(self.find_or_start().await?).clone()),
        }
    }

    /// Searches for the server again after a call to `failed` found no server, or one that refused
    /// its token. Returns whether another server is running now: each start has a separate token,
    /// often at the same address.
    pub async fn replace(&self, failed: &Server) -> Result<bool> {
        let mut reached = self.reached.lock().await;
        if let Some(current) = &*reached
            && current.server.token != failed.token
        {
            // Another call has already found it.
            return Ok(true);
        }
        let found = self.find_or_start().await?;
        let is_new = found.server.token != failed.token;
        *reached = Some(found);
        Ok(is_new)
    }

    async fn find_or_start(&self) -> Result<Reached> {
        match self.look().await? {
            Found::Running(reached) => return Ok(reached),
            Found::Outdated(reached) => self.stop(&reached).await?,
            Found::Nothing => {}
        }
        self.start().await
    }

    async fn look(&self) -> Result<Found> {
        if !is_closed(&self.home)? {
            return Ok(Found::Nothing);
        }
        let Some(server) = self.published() else {
            return Ok(Found::Nothing);
        };
        let http = self.http()?;
        let reached = Reached { server, http };
        if !reached.answers().await {
            return Ok(Found::Nothing);
        }
        // A server of another version keeps running while it has a job: the wire format is the
        // same, and the job has priority.
        if reached.server.version == env!("CARGO_PKG_VERSION") || reached.has_jobs().await {
            Ok(Found::Running(reached))
        } else {
            Ok(Found::Outdated(reached))
        }
    }

    /// The address and token of the server, in a folder that [is closed](is_closed) to other users.
    fn published(&self) -> Option<Server> {
        let text = std::fs::read(self.home.join(local::SERVER_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn http(&self) -> Result<reqwest::Client> {
        http::local(&self.home.join(local::SOCKET_FILE))
    }

    /// Stops a server of another version and waits until it has ended.
    async fn stop(&self, reached: &Reached) -> Result<()> {
        let mut command = Command::new(binary()?);
        // If the server refuses, the start below reports the reason.
        let _ = command
            .arg("stop")
            .env(env::HOME, &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline && reached.answers().await {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn start(&self) -> Result<Reached> {
        let binary = binary()?;
        make_private_folder(&self.home)?;
        let http = self.http()?;
        let log = self.home.join(LOG_FILE);
        let begin = std::fs::metadata(&log).map_or(0, |log| log.len());
        let failed = |what: String| {
            let reason = what + &last_lines(&log, begin);
            Err(unavailable(reason, format!("its log is {}", log.display())))
        };
        let mut child = Some(self.spawn(&binary, &log)?);
        let deadline = Instant::now() + START;
        let mut next = Instant::now();
        let mut killed = 0;
        while Instant::now() < deadline {
            // The server removes the write permission of others from the folder before it publishes
            // anything.
            if is_closed(&self.home)?
                && let Some(server) = self.published()
            {
                let http = http.clone();
                let reached = Reached { server, http };
                if reached.answers().await {
                    if let Some(child) = child {
                        reap(child);
                    }
                    return Ok(reached);
                }
            }
            match child.as_mut().map(Child::try_wait) {
                // Another server holds the folder: the winner of a race, or a killed one that has
                // not fully ended.
                Some(Ok(Some(status))) if status.code() == Some(TAKEN) => {
                    child = None;
                    next = Instant::now() + AGAIN;
                }
                // The server itself is not at fault: another start may succeed.
                Some(Ok(Some(status))) if status.signal() == Some(KILL) && killed < KILLED => {
                    killed += 1;
                    child = None;
                    next = Instant::now();
                }
                Some(Ok(Some(status))) => {
                    return failed(format!("{} ended with {status}", binary.display()));
                }
                None if Instant::now() > next => child = Some(self.spawn(&binary, &log)?),
                _ => {}
            }
            tokio::time::sleep(POLL).await;
        }
        if let Some(child) = child {
            reap(child);
        }
        failed(format!(
            "{} did not answer within {} s",
            binary.display(),
            START.as_secs()
        ))
    }

    /// Starts the server as a process that outlives this one.
    fn spawn(&self, binary: &Path, log: &Path) -> Result<Child> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io("cannot write", log))?;
        let errors = output.try_clone().map_err(Error::io("cannot write", log))?;
        Command::new(binary)
            .arg("serve")
            .env(env::HOME, &self.home)
            .env_remove(variables::NOTEBOOK_DISPLAY_FD)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A separate process group: signals to the group of a terminal or a kernel do not reach
            // the server.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| {
                unavailable(
                    format!("{} cannot be started: {error}", binary.display()),
                    "build it with `cargo build --release -p azureml-local`, or set AZUREML_LOCAL_BIN to it",
                )
            })
    }
}

/// Whether `AZUREML_LOCAL=off`.
pub fn is_forbidden() -> bool {
    std::env::var(env::SWITCH).is_ok_and(|value| value.eq_ignore_ascii_case("off"))
}

impl Reached {
    /// Whether this server is running: the socket may have no server, or one that was started
    /// later.
    async fn answers(&self) -> bool {
        self.ask(local::scope().to_string()).await.is_some()
    }

    /// Whether the server has jobs that have not ended.
    async fn has_jobs(&self) -> bool {
        let is_active = |job: &Value| {
            job.pointer("/properties/status")
                .and_then(Value::as_str)
                .and_then(|status| status.parse::<JobStatus>().ok())
                .is_some_and(|status| !status.is_terminal())
        };
        let answer = self.ask(local::scope().path(["jobs"])).await;
        let jobs = answer
            .as_ref()
            .and_then(|answer| answer["value"].as_array());
        jobs.is_some_and(|jobs| jobs.iter().any(is_active))
    }

    async fn ask(&self, path: String) -> Option<Value> {
        let answer = self
            .http
            .get(format!("{}{path}", self.server.url.trim_end_matches('/')))
            .query(&[("api-version", API_VERSION)])
            .bearer_auth(&self.server.token)
            .timeout(Duration::from_secs(10))
            .send()
            .await
            .ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = http::read(answer, http::ANSWER).await.ok()?;
        serde_json::from_slice(&body).ok()
    }
}

/// Whether only this user can have created the content of the home folder. A missing folder is
/// created by the start.
fn is_closed(home: &Path) -> Result<bool> {
    let found = match home.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("cannot read", home)(error)),
    };
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(unavailable(
            format!(
                "{} belongs to another user (uid {}), who could read what is sent there",
                home.display(),
                found.uid()
            ),
            "set AZUREML_LOCAL_HOME to a folder of your own",
        ));
    }
    Ok(found.mode() & 0o022 == 0)
}

/// The path of the server: from the environment, else beside this program, else on `PATH`.
fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(env::BIN).filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(unavailable(
                format!(
                    "AZUREML_LOCAL_BIN names {}, which is not there",
                    named.display()
                ),
                "build it with `cargo build --release -p azureml-local`, or unset AZUREML_LOCAL_BIN",
            ))
        };
    }
    let name = format!("azureml-local{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe().ok();
    let beside = beside
        .iter()
        .flat_map(|exe| exe.ancestors().skip(1).take(2));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .map(Path::to_owned)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            unavailable(
                "the program azureml-local is neither beside this program nor on PATH",
                "install it with `cargo install --path crates/azureml-local`, or set AZUREML_LOCAL_BIN to it",
            )
        })
}

fn make_private_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Error::io("cannot make", folder))
}

/// Waits for the child in the background during the lifetime of this process, which prevents a
/// zombie process.
fn reap(mut child: Child) {
    tokio::spawn(async move {
        let _ = child.wait().await;
    });
}

/// The part of the log since `begin`, at most its last ten lines.
fn last_lines(log: &Path, begin: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(begin as usize..).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    let mut tail = String::new();
    for line in &lines[lines.len().saturating_sub(10)..] {
        tail.push_str("\n  ");
        tail.push_str(line);
    }
    tail
}

fn unavailable(reason: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Local {
        reason: reason.into(),
        hint: hint.into(),
    }
}
