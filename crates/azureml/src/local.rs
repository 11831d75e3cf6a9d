//! The local workspace: found where it runs, started where it does not.
//!
//! It is reached through the Unix socket in its home folder, never through its port: after it has ended, the port belongs to whoever
//! takes it, and the token, the code and the variables of jobs would be sent there. Only the folder's owner can listen on the socket.

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

/// The file in the home folder that its output goes to.
const LOG_FILE: &str = "server.log";
/// How long a start may take; it takes a fraction of a second.
const START: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(25);
/// How long the holder of the folder is given before another start is tried.
const AGAIN: Duration = Duration::from_millis(500);
/// The exit code that says that another one holds the folder.
const TAKEN: i32 = 3;
/// The signal of who kills it without warning: somebody, or a machine without memory.
const KILL: i32 = rustix::process::Signal::KILL.as_raw();
/// How often it is started again in one start after it was killed.
const KILLED: u32 = 3;

/// The local workspace of one home folder.
#[derive(Debug)]
pub struct Local {
    home: PathBuf,
    reached: Mutex<Option<Reached>>,
}

/// A local workspace that answers.
#[derive(Debug, Clone)]
pub struct Reached {
    /// What it says of itself.
    pub server: Server,
    /// The way to it.
    pub http: reqwest::Client,
}

/// What a look at the home folder finds.
enum Found {
    /// It answers.
    Running(Reached),
    /// Another version answers, and it has nothing to do.
    Outdated(Reached),
    /// Nothing answers.
    Nothing,
}

impl Local {
    /// The local workspace of this user; nothing is started yet.
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

    /// Where it answers; starts it when it does not run.
    pub async fn reached(&self) -> Result<Reached> {
        let mut reached = self.reached.lock().await;
        match &*reached {
            Some(reached) => Ok(reached.clone()),
            None => Ok(reached.insert(self.find_or_start().await?).clone()),
        }
    }

    /// Looks for it again after a call to `failed` found nobody, or somebody who did not know its token. Whether another
    /// one answers now: each start has a token of its own, often at the same address.
    pub async fn replace(&self, failed: &Server) -> Result<bool> {
        let mut reached = self.reached.lock().await;
        if let Some(current) = &*reached
            && current.server.token != failed.token
        {
            // Another call has found it already.
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
        // An older one with a job is left to it: the wire is the same, and the job goes before.
        if reached.server.version == env!("CARGO_PKG_VERSION") || reached.has_jobs().await {
            Ok(Found::Running(reached))
        } else {
            Ok(Found::Outdated(reached))
        }
    }

    /// What a server says of itself in a folder that [is closed](is_closed).
    fn published(&self) -> Option<Server> {
        let text = std::fs::read(self.home.join(local::SERVER_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn http(&self) -> Result<reqwest::Client> {
        http::local(&self.home.join(local::SOCKET_FILE))
    }

    /// Asks an outdated one to end, and waits until it has.
    async fn stop(&self, reached: &Reached) -> Result<()> {
        let mut command = Command::new(binary()?);
        // When it refuses, the start below says why.
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
            // The server closes a folder that others may write to before it publishes anything.
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
                // Another one has the folder: the winner of a race, or one that was killed and is not quite gone.
                Some(Ok(Some(status))) if status.code() == Some(TAKEN) => {
                    child = None;
                    next = Instant::now() + AGAIN;
                }
                // Nothing is wrong with it: another start may come through.
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

    /// Starts it so that it outlives this process.
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
            // The signals of a terminal and of a kernel go to their own groups.
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
    /// Whether the server is there; nobody may be, or one that was started since.
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

/// Whether nobody but this user can have made what lies in the home folder; one that is not there is made by the start.
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

/// The program: named by the environment, else beside this one, else on `PATH`.
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

/// Waits for the child in the background for as long as this process lives, so that it never stays as a zombie.
fn reap(mut child: Child) {
    tokio::spawn(async move {
        let _ = child.wait().await;
    });
}

/// What was written to the log since `begin`, at most its last ten lines.
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
