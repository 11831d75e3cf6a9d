//! Tests of the kernel as a process, with the real evaluator.

use std::fmt::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Client, connection_in, soon};
use crate::raw::Channel;

/// A kernel process with all of its files below one folder.
pub struct Process {
    pub connection: ConnectionInfo,
    child: Child,
    folder: Arc<tempfile::TempDir>,
}

impl Process {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"))
    }

    /// Starts a kernel on TCP ports instead of Unix sockets.
    pub fn start_on_tcp() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // These ports were free a moment ago, so other processes are unlikely to use them now.
        let listeners: Vec<_> = (0..5)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port"))
            .collect();
        let port = |index: usize| listeners[index].local_addr().expect("it is bound").port();
        let connection = ConnectionInfo {
            ip: "127.0.0.1".to_owned(),
            transport: Transport::TCP,
            shell_port: port(0),
            iopub_port: port(1),
            stdin_port: port(2),
            control_port: port(3),
            hb_port: port(4),
            ..connection_in(folder.path())
        };
        drop(listeners);
        Self::start_with(folder.into(), connection)
    }

    /// Starts a kernel in a folder whose `tmp` and `state` a test has prepared.
    pub fn start_in(folder: tempfile::TempDir) -> Self {
        let connection = connection_in(folder.path());
        Self::start_with(folder.into(), connection)
    }

    /// The next one of the same user; a killed one leaves its sockets.
    fn start_next(&self) -> Self {
        let sockets = self.folder.path().join("next");
        std::fs::create_dir(&sockets).expect("the folder is ours");
        Self::start_with(Arc::clone(&self.folder), connection_in(&sockets))
    }

    fn start_with(folder: Arc<tempfile::TempDir>, connection: ConnectionInfo) -> Self {
        let file = folder.path().join("connection.json");
        std::fs::write(&file, json!(connection).to_string()).expect("a file");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir_all(&temporary).expect("a folder");
        let child = Command::new("sh")
            // The usual limit on file descriptors.
            .args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_azureml-kernel"))
            .args(["serve", "--connection-file"])
            .arg(&file)
            .env_remove("JPY_PARENT_PID")
            .env("TMPDIR", temporary)
            .env("XDG_STATE_HOME", folder.path().join("state"))
            // The files that kernels share are built once for all tests.
            .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            // In a separate process group, as in Jupyter.
            .process_group(0)
            .spawn()
            .expect("the binary runs");
        Self {
            connection,
            child,
            folder,
        }
    }

    pub async fn connect(&mut self) -> Client {
        soon("the kernel's sockets", async {
            // IOPub is bound last.
            while Channel::Iopub.connect(&self.connection).await.is_err() {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none(), "the kernel has ended");
                tokio::task::yield_now().await;
            }
        })
        .await;
        Client::connect(&self.connection).await
    }

    /// Returns the peak memory of the process, in bytes.
    pub fn most_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a size")
            .trim()
            .parse::<usize>()
            .expect("a number")
            << 10
    }

    /// Returns the content of the log.
    pub fn log(&self) -> String {
        let logs = self.folder.path().join("state/azureml-kernel/logs");
        let files = std::fs::read_dir(logs).expect("a log").flatten();
        files
            .map(|file| std::fs::read(file.path()).expect("a file"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
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
        // Still running only when a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a cell that never ends; returns the id of its process.
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

/// Whether a process is running; a zombie is not.
fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        !state.unwrap_or_default().starts_with(['Z', 'X'])
    })
}

async fn wait_until_gone(pid: Pid) {
    soon("the end of the cell", async {
        while runs(pid) {
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

/// Commands that detach a program from its parent, its process group, its session or its
/// environment.
const DETACHED: [&str; 4] = [
    "setsid sh -c 'PROGRAM' &",
    "(setsid sh -c 'PROGRAM' &)",
    "(setsid setsid sh -c \"PROGRAM\" > /dev/null 2>&1 < /dev/null &)",
    "(env -i PATH=\"$PATH\" setsid sh -c 'PROGRAM' &)",
];

/// Returns a cell that starts detached programs, and the files to which these write their process
/// ids.
fn detaching(folder: &Path) -> (String, Vec<PathBuf>) {
    let mut cell = String::new();
    let mut files = Vec::new();
    for (number, script) in DETACHED.iter().enumerate() {
        let file = folder.join(format!("detached-{number}"));
        // The program ignores SIGHUP, SIGINT and SIGTERM.
        let program = format!(
            "trap : HUP INT TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done",
            file.display()
        );
        let quoted = script.contains('"') && script.contains("\"PROGRAM");
        let program = if quoted {
            program.replace('$', "\\$")
        } else {
            program
        };
        let script = script.replace("PROGRAM", &program);
        let command = "std::process::Command::new(\"sh\").arg(\"-c\")";
        writeln!(cell, "{command}.arg({script:?}).status().unwrap();").expect("a String takes all");
        files.push(file);
    }
    (cell, files)
}

async fn started(files: &[PathBuf]) -> Vec<Pid> {
    let mut pids = Vec::new();
    for file in files {
        let read = async {
            loop {
                if let Ok(text) = std::fs::read_to_string(file) {
                    return Pid::from_raw(text.trim().parse().expect("a number"));
                }
                tokio::task::yield_now().await;
            }
        };
        pids.push(soon("a program", read).await.expect("not zero"));
    }
    pids
}

async fn with_detached_programs() -> (Process, Client, Vec<Pid>) {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let (cell, files) = detaching(process.folder.path());
    let (reply, _) = client.run(&cell).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    let pids = started(&files).await;
    (process, client, pids)
}

#[tokio::test]
async fn detached_programs_of_cells_end_with_a_shutdown() {
    let (mut process, mut client, pids) = with_detached_programs().await;
    client
        .send_control("shutdown_request", json!({ "restart": false }))
        .await;
    let status = process.ended().await;
    assert!(status.success(), "{status}");
    // The kernel has waited for the processes.
    assert!(pids.iter().all(|pid| !runs(*pid)));
}

#[tokio::test]
async fn detached_programs_of_cells_end_with_a_killed_kernel() {
    let (mut process, _client, pids) = with_detached_programs().await;
    process.signal(Signal::KILL);
    process.ended().await;
    for pid in pids {
        wait_until_gone(pid).await;
    }
}

#[tokio::test]
async fn detached_programs_of_cells_end_with_a_killed_cell_process() {
    let (_process, mut client, pids) = with_detached_programs().await;
    let cell = run_for_ever(&mut client).await;
    kill_process(cell, Signal::KILL).expect("it runs");
    assert_eq!(client.reply().await.content["ename"], "ProcessDied");
    for pid in pids {
        wait_until_gone(pid).await;
    }
    client.assert_alive().await;
}

#[tokio::test]
async fn detached_programs_of_cells_end_with_the_next_kernel_when_all_were_killed() {
    let (mut process, mut client, pids) = with_detached_programs().await;
    let cell = run_for_ever(&mut client).await;
    // Neither sees the other's end when both are stopped first.
    for signal in [Signal::STOP, Signal::KILL] {
        kill_process(cell, signal).expect("it runs");
        process.signal(signal);
    }
    process.ended().await;
    wait_until_gone(cell).await;
    assert!(pids.iter().all(|pid| runs(*pid)), "nobody is left for them");
    let mut next = process.start_next();
    let mut client = next.connect().await;
    let (reply, _) = client.run("20 + 1").await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert!(pids.iter().all(|pid| !runs(*pid)));
}

#[tokio::test]
async fn programs_of_shell_lines_end_with_a_killed_kernel() {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let file = process.folder.path().join("detached");
    let line = format!(
        "!(setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' > /dev/null 2>&1 &)",
        file.display()
    );
    let (reply, _) = client.run(&line).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    let pids = started(&[file]).await;
    assert!(runs(pids[0]), "it outlives its line");
    process.signal(Signal::KILL);
    process.ended().await;
    wait_until_gone(pids[0]).await;
}

#[tokio::test]
async fn the_local_workspace_and_its_jobs_outlive_the_kernel() {
    let mut process = Process::start();
    let mut client = process.connect().await;
    let folder = process.folder.path();
    let workspace = folder.join("azureml-local");
    std::fs::copy("/bin/sh", &workspace).expect("a shell");
    let files = [folder.join("workspace"), folder.join("job")];
    let script = format!(
        "sh -c 'echo $$ > {1}.new; mv {1}.new {1}; exec sleep 1000' & \
         echo $$ > {0}.new; mv {0}.new {0}; wait",
        files[0].display(),
        files[1].display()
    );
    let cell = format!(
        "std::process::Command::new(\"setsid\").arg({:?}).arg(\"-c\").arg({script:?}).spawn().unwrap();",
        workspace.display().to_string()
    );
    let (reply, _) = client.run(&cell).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    let pids = started(&files).await;
    process.signal(Signal::TERM);
    process.ended().await;
    let outlived: Vec<bool> = pids.iter().map(|pid| runs(*pid)).collect();
    for pid in pids {
        kill_process(pid, Signal::KILL).ok();
    }
    assert_eq!(outlived, [true, true]);
}

#[tokio::test]
async fn a_fifo_in_the_temporary_folder_stops_no_cell() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = |path: PathBuf| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is ours");
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("the folder is ours");
    };
    for name in ["lock", "cell.sock", "cells"] {
        fifo(
            folder
                .path()
                .join(format!("tmp/azureml-kernel-{name}/{name}")),
        );
    }
    let state = folder.path().join("state/azureml-kernel");
    fifo(state.join("history.lock"));
    fifo(state.join("history.jsonl"));
    let mut process = Process::start_in(folder);
    let mut client = process.connect().await;
    let (reply, shown) = client.run("20 + 1").await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_eq!(shown[1].content["data"]["text/plain"], "21");
}

#[tokio::test]
async fn a_temporary_folder_that_others_can_change_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("the folder is ours");
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o777)).expect("it is");
    let mut process = Process::start_in(folder);
    let mut client = process.connect().await;
    let (reply, _) = client.run("20 + 1").await;
    assert_eq!(reply["status"], "error");
    let traceback = reply["traceback"].to_string();
    assert!(
        traceback.contains("can be changed by other users"),
        "{traceback}"
    );
    assert!(traceback.contains("hint: "), "{traceback}");
}
