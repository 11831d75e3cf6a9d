//! An acknowledged job: its behaviour, its command line, and its acknowledged state.

use crate::processes::JOB;
use fastrand::Rng;
use std::path::Path;

/// The behaviour of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes an output.
    Plain,
    /// Leaves detached programs, in separate sessions.
    Detaching,
    /// Runs two processes.
    Pair,
    /// Exits with code 3.
    Failing,
    /// Runs until it is canceled.
    Endless,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Detaching,
        Self::Pair,
        Self::Failing,
        Self::Endless,
    ];

    pub fn ranks(self) -> usize {
        if self == Self::Pair { 2 } else { 1 }
    }
}

/// An acknowledged job.
#[derive(Debug, Clone)]
pub struct Job {
    pub kind: Kind,
    /// The size of its output.
    pub bytes: usize,
    /// Its cancellation was acknowledged.
    pub canceled: bool,
    /// Its final status, once observed.
    pub ended: Option<String>,
}

impl Job {
    pub fn draw(rng: &mut Rng) -> Self {
        let kind = if rng.bool() {
            Kind::Plain
        } else {
            Kind::ALL[rng.usize(..Kind::ALL.len())]
        };
        Self {
            kind,
            bytes: rng.usize(..300_000),
            canceled: false,
            ended: None,
        }
    }

    /// Its command line. Each process appends one line to a file at its start, and one line to
    /// another file at its end.
    pub fn command(&self, rng: &mut Rng, folder: &Path) -> String {
        let folder = folder.display();
        let note = |file: &str| format!("echo \"${JOB}.${{RANK:-0}}\" >> '{folder}/{file}'");
        let pause = format!("sleep 0.{:02}", rng.u32(..40));
        let output = format!(
            "mkdir -p outputs; yes \"${JOB}\" | head -c {} > outputs/o.txt",
            self.bytes
        );
        let work = match self.kind {
            Kind::Plain => format!("{pause}; {output}"),
            Kind::Detaching => format!(
                "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &); \
                 {pause}; {output}"
            ),
            Kind::Pair => pause,
            Kind::Failing => format!("{pause}; exit 3"),
            Kind::Endless => "sleep 1000".to_owned(),
        };
        let (begin, end) = (note("started"), note("ended"));
        format!("{begin}; echo begun; {work}; {end}; echo finished")
    }
}
