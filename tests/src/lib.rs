//! Shared parts of the end-to-end tests: the paths of the programs under test, a private local
//! workspace, and the Python environments of the official clients.
//!
//! `cargo xtask test` builds the programs, creates the environments and sets the variables in
//! [`env`].

pub mod azurite;
pub mod faults;
pub mod impostor;
pub mod notebook;
pub mod schema;

use azureml_wire::local;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Variables that `cargo xtask test` sets for the tests.
pub mod env {
    /// Python with nbclient and the installed kernel.
    pub const PYTHON_LAB: &str = "AZUREML_TEST_PYTHON_LAB";
    /// Python with JupyterLab, playwright, papermill and nbgrader.
    pub const PYTHON_FRONT_ENDS: &str = "AZUREML_TEST_PYTHON_FRONT_ENDS";
    /// The program of Chromium.
    pub const CHROMIUM: &str = "AZUREML_TEST_CHROMIUM";
    /// Python with mlflow.
    pub const PYTHON_MLFLOW: &str = "AZUREML_TEST_PYTHON_MLFLOW";
    /// Python with azure-ai-ml.
    pub const PYTHON_AZURE_AI_ML: &str = "AZUREML_TEST_PYTHON_AZURE_AI_ML";
    /// Python with azureml-core.
    pub const PYTHON_AZUREML_CORE: &str = "AZUREML_TEST_PYTHON_AZUREML_CORE";
    /// Python with azureml-fsspec, mltable and pandas.
    pub const PYTHON_AZUREML_FSSPEC: &str = "AZUREML_TEST_PYTHON_AZUREML_FSSPEC";
    /// Azurite's blob service.
    pub const AZURITE: &str = "AZUREML_TEST_AZURITE";
    /// Python with torch.
    pub const PYTHON_TORCH: &str = "AZUREML_TEST_PYTHON_TORCH";
    /// Python with Open MPI; `mpirun` is in the same folder.
    pub const PYTHON_MPI: &str = "AZUREML_TEST_PYTHON_MPI";
}

/// Whether randomized tests run in their long form: `cargo xtask test --long NAME`.
pub fn is_long() -> bool {
    std::env::var_os("AZUREML_TEST_LONG").is_some()
}

/// The seed of a randomized test: the value of `AZUREML_TEST_SEED`, or a new one. It is printed, so
/// that a failure can be reproduced.
///
/// # Panics
/// When the variable is not a number.
pub fn seed() -> u64 {
    let seed = std::env::var("AZUREML_TEST_SEED").map_or_else(
        |_| RandomState::new().build_hasher().finish(),
        |text| text.parse().expect("AZUREML_TEST_SEED is a number"),
    );
    // Starts with a newline: without capture, the test harness has not ended its line yet.
    println!("\nseed {seed}: AZUREML_TEST_SEED={seed} draws the same again");
    seed
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The path of a program under test, in the target folder of the tests.
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the path of the running test is known");
    // target/release/deps/<test>: programs are one folder up.
    let folder = exe
        .ancestors()
        .nth(2)
        .expect("tests run from target/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built; run the tests by `cargo xtask test`",
        path.display()
    );
    path
}

/// The Python interpreter in one of the variables of [`env`].
///
/// # Panics
/// When the variable is not set: `cargo xtask test` sets it.
pub fn python(variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || panic!("{variable} is not set; run the tests by `cargo xtask test`"),
        PathBuf::from,
    )
}

/// A local workspace in a private folder. On drop, its process is killed and its exchanges are
/// validated.
///
/// Every JSON exchange is recorded and validated against the service's schema.
pub struct LocalWorkspace {
    home: PathBuf,
    /// Removed on drop.
    _folder: Option<TempDir>,
    child: Option<Child>,
}

impl LocalWorkspace {
    /// An empty home folder. A client starts the local workspace there on demand.
    pub fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("azureml-local-")
            .tempdir()
            .expect("a temporary folder can be made");
        Self {
            home: home.path().to_owned(),
            _folder: Some(home),
            child: None,
        }
    }

    /// Like [`LocalWorkspace::new`], in a folder that the test owns.
    pub fn at(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            _folder: None,
            child: None,
        }
    }

    /// A running local workspace.
    pub fn start() -> Self {
        let mut this = Self::new();
        let mut command = Command::new(binary("azureml-local"));
        this.apply(&mut command);
        let child = command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("azureml-local starts");
        this.child = Some(child);
        wait_for("server.json", || this.server());
        this
    }

    /// Its home folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file that records the exchanges.
    pub fn trace(&self) -> PathBuf {
        self.home().join("trace.jsonl")
    }

    /// Makes `command` and its children use this local workspace.
    pub fn apply(&self, command: &mut Command) {
        command
            .env(local::env::HOME, self.home())
            .env(local::env::TRACE, self.trace())
            .env(local::env::BIN, binary("azureml-local"))
            .env_remove(local::env::SWITCH);
    }

    /// The server's address and token, once it has started.
    pub fn server(&self) -> Option<local::Server> {
        let text = fs::read(self.home().join(local::SERVER_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Kills the server with SIGKILL and waits until the process is gone.
    ///
    /// # Panics
    /// When no server runs.
    pub fn kill(&mut self) {
        let server = self.server().expect("a local workspace is running");
        kill(server.pid);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        wait_for("the end of the killed process", || {
            (!alive(server.pid)).then_some(())
        });
    }

    /// Validates every recorded exchange against the service's schema and returns their number.
    ///
    /// # Panics
    /// When an exchange is invalid.
    pub fn validate_trace(&self) -> usize {
        let Ok(text) = fs::read_to_string(self.trace()) else {
            return 0;
        };
        let mut count = 0;
        for line in text.lines() {
            let exchange: serde_json::Value =
                serde_json::from_str(line).expect("the trace holds a JSON object a line");
            if let Err(reason) = schema::validate(&exchange) {
                panic!("an exchange does not follow the service's schema: {reason}\n{line}");
            }
            count += 1;
        }
        count
    }
}

impl Default for LocalWorkspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LocalWorkspace {
    fn drop(&mut self) {
        if let Some(server) = self.server() {
            kill(server.pid);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            self.validate_trace();
        }
    }
}

/// Runs the script of an official client in `tests/python` on a running local workspace and returns
/// the JSON that it prints.
///
/// # Panics
/// When no local workspace runs, or the client fails.
pub fn run_client(variable: &str, script: &str, workspace: &LocalWorkspace) -> serde_json::Value {
    run_client_in(variable, script, workspace, &root())
}

/// Like [`run_client`], with `folder` as the script's working directory.
///
/// # Panics
/// When no local workspace runs, or the client fails.
pub fn run_client_in(
    variable: &str,
    script: &str,
    workspace: &LocalWorkspace,
    folder: &Path,
) -> serde_json::Value {
    let server = workspace.server().expect("it runs");
    let output = Command::new(python(variable))
        .arg(root().join("tests/python").join(script))
        .args([&server.url, &server.token])
        .current_dir(folder)
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// Variable that makes a test's second process the client.
const INSIDE: &str = "AZUREML_TEST_INSIDE";

/// Runs a test again as a client, in a separate process and an empty folder; `configure` sets its
/// environment. Returns the client's output. In the client's process, returns `None`: there the
/// test continues as the client.
///
/// # Panics
/// When the client fails.
pub fn as_client(test: &str, configure: impl FnOnce(&mut Command)) -> Option<String> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut command = client_of(test);
    command.current_dir(folder.path());
    configure(&mut command);
    let output = command.output().expect("the test starts again");
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let printed = printed.concat();
    // Indented, so that `cargo xtask test` does not include the client's test results in the total.
    let indented = printed.replace('\n', "\n  ");
    assert!(output.status.success(), "the client failed:\n  {indented}");
    Some(printed)
}

/// A command that runs this program as the client of one test.
///
/// # Panics
/// When the path of the running program is unknown.
pub fn client_of(test: &str) -> Command {
    let this = std::env::current_exe().expect("the path of the running test is known");
    let mut command = Command::new(this);
    command
        .args([test, "--exact", "--include-ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .env(INSIDE, test);
    command
}

/// Waits until `poll` returns a value.
///
/// # Panics
/// After two minutes without one.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "{what} did not come within two minutes"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a sixth of MNIST's images into a new folder, in MNIST's format: enough to train on within
/// seconds.
///
/// # Panics
/// When it cannot.
pub fn sixth_of_mnist(folder: &Path) {
    let whole = root().join("notebooks/02-train-model/data");
    fs::create_dir(folder).expect("a folder");
    for (name, count, head, size) in [
        ("train-images-idx3-ubyte", 10_000, 16, 784),
        ("train-labels-idx1-ubyte", 10_000, 8, 1),
        ("t10k-images-idx3-ubyte", 1000, 16, 784),
        ("t10k-labels-idx1-ubyte", 1000, 8, 1),
    ] {
        let unpacked = Command::new("gzip")
            .arg("-dc")
            .arg(whole.join(format!("{name}.gz")))
            .output()
            .expect("gzip starts");
        let bytes = &unpacked.stdout;
        // The second number of the header is the number of items.
        let parts = [
            &bytes[..4],
            &u32::to_be_bytes(count),
            &bytes[8..head + count as usize * size],
        ];
        fs::write(folder.join(name), parts.concat()).expect("room on the disk");
    }
}

/// Kills a process with SIGKILL.
pub fn kill(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        // The process may have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            let state = stat.rsplit_once(") ")?.1.chars().next()?;
            Some(state != 'Z' && state != 'X')
        })
        .unwrap_or(false)
}
