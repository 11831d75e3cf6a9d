//! A real blob service, Azurite, and a workspace whose blobs it stores.

use crate::{env, python, root};
use azureml_wire::local;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The storage account.
const ACCOUNT: &str = "judged";
/// The key of the account. All tests share it: the service listens on this machine only.
pub const KEY: &str = "dGhlIGtleSBvZiBhbiBhY2NvdW50IHRoYXQgb25seSB0aGlzIHRlc3Qga25vd3M=";

/// Azurite and, in front of it, the workspace `tests/python/azurite_workspace.py`. Both end on
/// drop.
pub struct Azurite {
    store: Child,
    workspace: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The address of the workspace.
    pub url: String,
    _folder: TempDir,
}

impl Azurite {
    /// Starts both.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let program = std::env::var_os(env::AZURITE).map_or_else(
            || {
                panic!(
                    "{} is not set; run the tests by `cargo xtask test`",
                    env::AZURITE
                )
            },
            PathBuf::from,
        );
        let mut store = Command::new(program)
            .args(["--inMemoryPersistence", "--disableTelemetry", "--silent"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Azurite starts");
        let said = BufReader::new(store.stdout.take().expect("it is piped"));
        let url = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listens on ")?.1.to_owned()))
            .expect("Azurite says where it listens");
        let mut workspace = Command::new(python(env::PYTHON_AZURE_AI_ML))
            .arg(root().join("tests/python/azurite_workspace.py"))
            .args([&url, ACCOUNT, KEY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut answers = BufReader::new(workspace.stdout.take().expect("it is piped"));
        let mut url = String::new();
        answers
            .read_line(&mut url)
            .expect("it says where it answers");
        Self {
            store,
            questions: workspace.stdin.take().expect("it is piped"),
            workspace,
            answers,
            url: url.trim_end().to_owned(),
            _folder: folder,
        }
    }

    /// Makes a client use this workspace, through the environment variables of the local one.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("AZUREML_RESOURCE_MANAGER", &self.url)
            .env_remove(local::env::SWITCH);
    }

    /// Sends a query or a command to the workspace; `ask` in its script lists them.
    ///
    /// # Panics
    /// When it does not reply.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what is asked is made for it"
    )]
    pub fn ask(&mut self, question: Value) -> Value {
        writeln!(self.questions, "{question}").expect("the workspace listens");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the workspace answers");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no answer to {question}"))
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        for child in [&mut self.workspace, &mut self.store] {
            // The process may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
