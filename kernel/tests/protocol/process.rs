//! The kernel as a process, with the evaluator that people use.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use jupyter_protocol::ConnectionInfo;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::client::{Client, connection_in, soon};

/// A kernel process whose files are all below one folder.
struct Process {
    connection: ConnectionInfo,
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = connection_in(folder.path());
        let file = folder.path().join("connection.json");
        std::fs::write(&file, json!(connection).to_string()).expect("a file");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("a folder");
        let child = Command::new(env!("CARGO_BIN_EXE_azureml-kernel"))
            .args(["serve", "--connection-file"])
            .arg(&file)
            .env_remove("JPY_PARENT_PID")
            .env("TMPDIR", temporary)
            .env("XDG_STATE_HOME", folder.path().join("state"))
            // What kernels share is built once for all tests.
            .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            // As Jupyter starts it.
            .process_group(0)
            .spawn()
            .expect("the binary runs");
        Self {
            connection,
            child,
            folder,
        }
    }

    async fn connect(&mut self) -> Client {
        // The last socket that is bound.
        let url = self.connection.iopub_url();
        let socket = Path::new(url.trim_start_matches("ipc://"));
        soon("the kernel's sockets", async {
            while !socket.exists() {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none(), "the kernel has ended");
                tokio::task::yield_now().await;
            }
        })
        .await;
        Client::connect(&self.connection).await
    }

    /// Waits for the end of the process.
    async fn ended(&mut self) -> ExitStatus {
        soon("the end of the kernel", async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a child") {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // When a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a cell that runs for ever; returns the process that it runs in.
async fn run_for_ever(client: &mut Client) -> Pid {
    client
        .send_cell("println!(\"{}\", std::process::id()); loop { std::thread::park() }")
        .await;
    loop {
        let message = client.iopub().await;
        assert_ne!(message.msg_type, "error", "{message:?}");
        if message.msg_type == "stream" {
            let pid = message.text().trim().parse().expect("a number");
            return Pid::from_raw(pid).expect("not zero");
        }
    }
}

async fn wait_until_gone(pid: Pid) {
    soon("the end of the cell", async {
        while test_kill_process(pid).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn cells_run_and_sigterm_leaves_nothing_behind() {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let (reply, shown) = client.run("let x = 20; x + 1").await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_eq!(shown[1].content["data"]["text/plain"], "21");
    let cell = run_for_ever(&mut client).await;
    process.signal(Signal::TERM);
    let status = process.ended().await;
    assert!(status.success(), "{status}");
    wait_until_gone(cell).await;
    let left: Vec<_> = std::fs::read_dir(process.folder.path().join("tmp"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn shutdown_while_a_cell_runs_leaves_no_process_behind() {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let cell = run_for_ever(&mut client).await;
    client
        .send_control("shutdown_request", json!({ "restart": true }))
        .await;
    assert_eq!(client.control_reply().await.content["restart"], true);
    let status = process.ended().await;
    assert!(status.success(), "{status}");
    wait_until_gone(cell).await;
}

#[tokio::test]
async fn the_cell_does_not_outlive_a_killed_kernel() {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let cell = run_for_ever(&mut client).await;
    process.signal(Signal::KILL);
    process.ended().await;
    wait_until_gone(cell).await;
}
