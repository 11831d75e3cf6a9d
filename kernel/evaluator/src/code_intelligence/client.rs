//! The client of the code intelligence process.

use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{Kind, ROLE, Reply, Request, Start};
use crate::env;

/// A running code intelligence process; it ends when this is dropped.
pub(crate) struct Client {
    /// Empty only while the client is dropped, as the next one.
    process: Option<Child>,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Client {
    /// Starts the process. The first request waits until it is ready.
    pub(crate) fn start(program: &Path, start: &Start) -> std::io::Result<Self> {
        let mut process = Command::new(program)
            .env(env::ROLE, ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Jupyter interrupts the kernel by a signal to its process group.
            .process_group(0)
            .spawn()?;
        let (Some(requests), Some(replies)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Error::other("the process has no pipes"));
        };
        let mut client = Self {
            process: Some(process),
            requests: Some(requests),
            replies: BufReader::new(replies),
        };
        client.send(start)?;
        Ok(client)
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn request(
        &mut self,
        kind: Kind,
        code: String,
        cursor: usize,
    ) -> std::io::Result<Reply> {
        self.send(&Request { kind, code, cursor })?;
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn send(&mut self, value: &impl serde::Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let requests = self.requests.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        requests.write_all(&line)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The end of its input ends the process, which first removes its files. A thread waits for
        // that, because the process may be loading.
        self.requests = None;
        if let Some(mut process) = self.process.take() {
            std::thread::Builder::new()
                .name("code-intelligence-end".to_owned())
                .spawn(move || process.wait())
                .ok();
        }
    }
}
