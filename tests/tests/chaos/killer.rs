//! Kills servers, supervisors and processes of jobs at random, and restarts the server.

use crate::http::Service;
use crate::journal::Journal;
use crate::processes::{Process, Role, marked};
use azureml_wire::local::Server;
use end_to_end::{alive, binary, kill, wait_for};
use fastrand::Rng;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The exit code of a server whose home folder is in use by another one.
const TAKEN: i32 = 3;

pub struct Killer<'a> {
    service: &'a Service,
    journal: &'a Journal,
    mark: &'a str,
    rng: Rng,
    /// The server, if this killer has started it.
    child: Option<Child>,
    /// Processes that were found before.
    seen: HashSet<u32>,
    pub kills: BTreeMap<&'static str, usize>,
}

impl<'a> Killer<'a> {
    pub fn new(service: &'a Service, journal: &'a Journal, mark: &'a str, rng: Rng) -> Self {
        Self {
            service,
            journal,
            mark,
            rng,
            child: None,
            seen: HashSet::new(),
            kills: BTreeMap::new(),
        }
    }

    pub fn total(&self) -> usize {
        self.kills.values().sum()
    }

    /// Kills a process at a random moment after an event.
    pub fn kill(&mut self) {
        match self.rng.u8(..10) {
            0..3 => {
                self.journal.next();
                self.pause(100);
                self.kill_server();
                if self.rng.u8(..3) == 0 {
                    // While no server runs that could observe it.
                    let waits = Duration::from_millis(self.rng.u64(..100));
                    self.kill_of_job(Some(waits));
                }
                self.start();
            }
            _ => {
                self.kill_of_job(None);
            }
        }
    }

    fn pause(&mut self, most: u64) {
        thread::sleep(Duration::from_micros(self.rng.u64(..most * 1000)));
    }

    fn count(&mut self, kind: &'static str) {
        *self.kills.entry(kind).or_default() += 1;
    }

    /// The running server.
    fn server(&self) -> Option<Server> {
        self.service.server().filter(|server| alive(server.pid))
    }

    /// Kills the server with SIGKILL and waits until it is gone.
    pub fn kill_server(&mut self) {
        let Some(pid) = self.server().map(|server| server.pid) else {
            return;
        };
        kill(pid);
        self.count("server");
        if let Some(mut child) = self.child.take_if(|child| child.id() == pid) {
            let _ = child.wait();
        }
        wait_for("the server's end", || (!alive(pid)).then_some(()));
    }

    /// Starts a server; sometimes kills it during its start.
    pub fn start(&mut self) {
        loop {
            if self.server().is_some() {
                return;
            }
            let mut child = spawn();
            if self.rng.u8(..4) == 0 {
                self.pause(60);
                let _ = child.kill();
                let _ = child.wait();
                self.count("starting server");
                continue;
            }
            let pid = child.id();
            let ended = wait_for("a server", || {
                let ended = child.try_wait().expect("it is ours");
                let serves = self.server().is_some_and(|server| server.pid == pid);
                (ended.is_some() || serves).then_some(ended)
            });
            match ended {
                None => self.child = Some(child),
                // The SDK has started one first, which may not respond yet.
                Some(status) if status.code() == Some(TAKEN) => {}
                Some(status) => {
                    let said = std::fs::read_to_string("server.err").unwrap_or_default();
                    self.journal
                        .fault(format!("the server does not start: {status}: {said}"));
                }
            }
        }
    }

    /// Kills a supervisor or a process of a job, often a very recent one.
    fn kill_of_job(&mut self, waits: Option<Duration>) {
        let supervisor = self.rng.bool();
        let young = self.rng.u8(..3) > 0;
        let start = Instant::now();
        let victim = loop {
            if let Some(victim) = self.victim(supervisor, young) {
                break victim;
            }
            if waits.is_some_and(|waits| start.elapsed() > waits) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        };
        let most = [1, 10, 100][self.rng.usize(..3)];
        self.pause(most);
        if let Role::Supervisor(job) | Role::Job(job) = &victim.role {
            self.journal.state().hit.insert(job.clone());
        }
        victim.kill();
        self.count(kind_of(&victim));
        if self.rng.u8(..4) == 0 {
            // Also kills the processes that would clean up after this one.
            for other in marked(self.mark) {
                if other.role == victim.role {
                    other.kill();
                    self.count(kind_of(&other));
                }
            }
        }
    }

    fn victim(&mut self, supervisor: bool, young: bool) -> Option<Process> {
        let mut found = marked(self.mark);
        found.retain(|process| match process.role {
            Role::Supervisor(_) => supervisor,
            Role::Job(_) => !supervisor,
            Role::Cell | Role::Driver | Role::Other => false,
        });
        let before = std::mem::take(&mut self.seen);
        self.seen = found.iter().map(|process| process.pid).collect();
        if young {
            found.retain(|process| !before.contains(&process.pid));
        }
        if found.is_empty() {
            return None;
        }
        Some(found.swap_remove(self.rng.usize(..found.len())))
    }
}

fn spawn() -> Child {
    let said = File::create("server.err").expect("the folder is ours");
    Command::new(binary("azureml-local"))
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .expect("azureml-local starts")
}

fn kind_of(process: &Process) -> &'static str {
    match (&process.role, process.command.get(1).map(String::as_str)) {
        (Role::Supervisor(_), Some("run-job")) => "guardian",
        (Role::Supervisor(_), _) => "supervisor",
        _ => "job",
    }
}

impl Drop for Killer<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
