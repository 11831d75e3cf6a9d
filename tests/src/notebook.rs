//! A notebook without a browser: sends cells to the installed kernel through Jupyter's own client.

use crate::{LocalWorkspace, env, python, root};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The kernelspec that `azureml-kernel install` writes.
pub const KERNEL: &str = "rust-azureml";

/// A running kernel and its client.
pub struct Notebook {
    driver: Child,
    commands: Option<ChildStdin>,
    events: Lines<BufReader<ChildStdout>>,
    kernel: u32,
}

/// The outputs and the status of a cell.
#[derive(Debug, Default)]
pub struct Cell {
    /// `ok`, `error`, or `died` if the kernel is gone.
    pub status: String,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    /// Every display, by MIME type.
    pub displays: Vec<Value>,
    /// The cell's value, by MIME type.
    pub result: Option<Value>,
    /// `ename`, `evalue`, `traceback`.
    pub error: Option<Value>,
}

impl Cell {
    /// The value as plain text.
    pub fn text(&self) -> &str {
        self.result
            .as_ref()
            .and_then(|data| data["text/plain"].as_str())
            .unwrap_or_default()
    }

    /// The traceback as the user sees it, without colours.
    pub fn traceback(&self) -> String {
        let Some(error) = &self.error else {
            return String::new();
        };
        let lines = error["traceback"].as_array().into_iter().flatten();
        let text: Vec<&str> = lines.filter_map(Value::as_str).collect();
        without_colours(&text.join("\n"))
    }
}

/// Text without ANSI escape sequences.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

impl Notebook {
    /// Starts a kernel in `folder`; its cells use `workspace`.
    ///
    /// # Panics
    /// When the kernel does not start.
    pub fn start(folder: &Path, workspace: &LocalWorkspace) -> Self {
        let mut command = Command::new(python(env::PYTHON_LAB));
        workspace.apply(&mut command);
        let mut driver = command
            .arg(root().join("tests/python/notebook_client.py"))
            .arg(KERNEL)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let commands = driver.stdin.take();
        let stdout = driver.stdout.take().expect("stdout is piped");
        let mut this = Self {
            driver,
            commands,
            events: BufReader::new(stdout).lines(),
            kernel: 0,
        };
        this.kernel = this.expect_kernel();
        this
    }

    /// The kernel's process id.
    pub fn kernel(&self) -> u32 {
        self.kernel
    }

    /// Runs a cell to its end.
    pub fn execute(&mut self, code: &str) -> Cell {
        self.execute_watched(code, |_| {})
    }

    /// Runs a cell to its end; calls `watch` with the outputs so far after each event.
    pub fn execute_watched(&mut self, code: &str, mut watch: impl FnMut(&Cell)) -> Cell {
        self.send(&json!({ "execute": code }));
        let mut cell = Cell::default();
        loop {
            let event = self.event();
            if let Some(status) = event["done"].as_str() {
                status.clone_into(&mut cell.status);
                return cell;
            }
            if event.get("died").is_some() {
                "died".clone_into(&mut cell.status);
                return cell;
            }
            let text = event["text"].as_str().unwrap_or_default();
            match event["stream"].as_str() {
                Some("stdout") => cell.stdout.push_str(text),
                Some(_) => cell.stderr.push_str(text),
                None => {}
            }
            if let Some(data) = event.get("display") {
                cell.displays.push(data.clone());
            }
            if let Some(data) = event.get("result") {
                cell.result = Some(data.clone());
            }
            if let Some(error) = event.get("error") {
                cell.error = Some(error.clone());
            }
            watch(&cell);
        }
    }

    /// Runs a cell that must succeed.
    ///
    /// # Panics
    /// With the cell's outputs, when it fails.
    pub fn run(&mut self, code: &str) -> Cell {
        let cell = self.execute(code);
        assert_eq!(cell.status, "ok", "{code}\n{}\n{cell:?}", cell.traceback());
        cell
    }

    /// Completions at `cursor`, a position in code points.
    pub fn complete(&mut self, code: &str, cursor: usize) -> Vec<String> {
        self.send(&json!({ "complete": [code, cursor] }));
        let event = self.event();
        let matches = event["matches"].as_array().cloned().unwrap_or_default();
        let texts = matches.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// Restarts the kernel.
    pub fn restart(&mut self) {
        self.send(&json!({ "restart": true }));
        self.kernel = self.expect_kernel();
    }

    fn send(&mut self, command: &Value) {
        let commands = self.commands.as_mut().expect("open until dropped");
        writeln!(commands, "{command}").expect("the client reads commands");
    }

    fn event(&mut self) -> Value {
        let line = self.events.next().expect("the client runs");
        serde_json::from_str(&line.expect("text")).expect("an event is JSON")
    }

    fn expect_kernel(&mut self) -> u32 {
        let event = self.event();
        let pid = event["kernel"].as_u64().expect("the kernel's process");
        pid as u32
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        // The client shuts its kernel down when its standard input ends.
        drop(self.commands.take());
        let _ = self.driver.wait();
    }
}
