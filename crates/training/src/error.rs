//! What can go wrong in a training program, each with a way out.

use std::{
    any::Any,
    io::{self, ErrorKind},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::distributed;

/// An error that ends a training program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no model where one was named.
    #[error("there is no model in {}", path.display())]
    NoModel {
        /// The folder or file.
        path: PathBuf,
    },
    /// The model cannot be opened or used.
    #[error("cannot use the model {}: {problem}", path.display())]
    BadModel {
        /// The file.
        path: PathBuf,
        /// libtorch's reason.
        problem: String,
    },
    /// A checkpoint cannot be read.
    #[error("cannot go on from {}: {problem}", path.display())]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A checkpoint belongs to a training with other settings, so going on would give the numbers of neither.
    #[error("cannot go on from {}: it was written with --{name} {then}, now it is {now}", path.display())]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// The setting's flag.
        name: &'static str,
        /// Its value then.
        then: f64,
        /// Its value now.
        now: f64,
    },
    /// Training went astray.
    #[error("the loss became {loss} in epoch {epoch}: training diverged")]
    Diverged {
        /// The epoch.
        epoch: i64,
        /// The loss: infinite, or not a number.
        loss: f64,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No room is left for an output.
    #[error("cannot write {}: no room is left on the disk ({source})", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Several processes were started, but this one cannot join the others.
    #[error("this is one of {processes} processes, and cannot join the others by MPI: {problem}")]
    NoMpi {
        /// How many were started.
        processes: usize,
        /// The dynamic linker's reason, or MPI's.
        problem: String,
    },
    /// Several processes were started, but not by Open MPI.
    #[error("this is one of {processes} processes that were not started by Open MPI")]
    OtherLauncher {
        /// How many were started.
        processes: usize,
    },
    /// The processes could not exchange what they have.
    #[error("MPI failed: {problem}")]
    Mpi {
        /// Its function and its reason.
        problem: String,
    },
    /// The GPUs of the processes could not exchange what they have.
    #[error("NCCL failed: {problem}")]
    Nccl {
        /// Its function and its reason.
        problem: String,
    },
    /// libtorch failed.
    #[error("libtorch failed: {problem}")]
    Torch {
        /// Its reason.
        problem: String,
    },
}

/// An error with a way out.
pub trait Hint: std::error::Error {
    /// The way out, for the `hint:` line.
    fn hint(&self) -> String;
}

impl Hint for Error {
    fn hint(&self) -> String {
        match self {
            Self::NoModel { .. } => {
                "train one first, or name the folder that holds model.pt with --model".to_owned()
            }
            Self::BadModel { .. } => {
                "it must be a TorchScript file as the training program writes it (outputs/model/model.pt)".to_owned()
            }
            Self::BadCheckpoint { path, .. } => {
                format!("remove {} to begin anew", path.display())
            }
            Self::OtherSettings { name, then, path, .. } => format!(
                "go on with --{name} {then}; or, to begin anew, leave --resume away or remove {}",
                path.display()
            ),
            Self::Diverged { .. } => "try a smaller --lr".to_owned(),
            Self::Read { path, .. } => format!("check that {} can be read", path.display()),
            Self::NoRoom { .. } => {
                "make room, or name a folder on another disk with --output".to_owned()
            }
            Self::Write { .. } => {
                "check that the folder can be written to, or name another one with --output".to_owned()
            }
            Self::NoMpi { .. } => {
                "start it by the mpirun of an Open MPI (3 to 5) that is installed where it runs; or start it alone".to_owned()
            }
            Self::OtherLauncher { .. } => {
                "choose Mpi as the job's distribution (`Distribution::mpi`), or start them by Open MPI's mpirun".to_owned()
            }
            Self::Nccl { .. } => {
                "see whether another process failed first; NCCL_DEBUG=INFO lets it say more".to_owned()
            }
            Self::Mpi { .. } => {
                "see whether another process failed first; a process that is started alone trains without MPI".to_owned()
            }
            Self::Torch { problem } if is_out_of_memory(problem) => {
                "try a smaller --batch-size and --test-batch-size; where it is the GPU's memory, --no-cuda trains without it".to_owned()
            }
            Self::Torch { .. } => "--no-cuda tells whether the GPU is the reason".to_owned(),
        }
    }
}

impl Error {
    /// For `map_err` where a file is read.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// For `map_err` where a file is written.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                // The last is a limit on the size of files (`ulimit -f`), as some clusters set it.
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Self::NoRoom { path, source }
                }
                _ => Self::Write { path, source },
            }
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch {
            problem: reason(&error),
        }
    }
}

/// libtorch's reason: its first sentence, without advice and C++ frames.
pub fn reason(error: &tch::TchError) -> String {
    first_sentence(
        error
            .to_string()
            .trim_start_matches("Internal torch error: "),
    )
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    // An assertion of C++ comes before what it means.
    let line = line.map(|line| match line.strip_prefix("[enforce fail at ") {
        Some(assertion) => assertion
            .split_once(". ")
            .map_or(line, |(_, meaning)| meaning),
        None => line,
    });
    let sentence = line.and_then(|line| line.split(". ").next());
    sentence.unwrap_or("it gave no reason").trim().to_owned()
}

/// Runs a program to its end: an error goes to standard error with its way out, and ends the other
/// [`Processes`](crate::Processes) that were started with it.
///
/// tch's methods panic where libtorch fails (an operation that finds no memory, for one); here, such a panic is an
/// error like the others. What else panics goes on as it would.
pub fn exit<E: Hint + From<Error>>(program: impl FnOnce() -> Result<(), E>) -> ExitCode {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if torch_problem(panic.payload()).is_none() {
            hook(panic);
        }
    }));
    // The program is not looked at again after a panic, so nothing of it can be seen half-done.
    let result = panic::catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|payload| {
        if let Some(problem) = torch_problem(&*payload) {
            return Err(Error::Torch { problem }.into());
        }
        distributed::abort();
        panic::resume_unwind(payload)
    });
    match result {
        Ok(()) => {
            distributed::finalize();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            distributed::abort();
            ExitCode::FAILURE
        }
    }
}

/// libtorch's reason in the panic of a tch method, which unwraps a [`tch::TchError::Torch`].
fn torch_problem(payload: &(dyn Any + Send)) -> Option<String> {
    let message = payload.downcast_ref::<String>()?;
    let (_, problem) = message.split_once("on an `Err` value: Torch(\"")?;
    let problem = problem.trim_end_matches("\")");
    // It is quoted there, line ends and all.
    Some(first_sentence(
        &problem.replace("\\n", "\n").replace("\\\"", "\""),
    ))
}

/// In libtorch's words for a GPU's memory, for the machine's, and in those of C++.
fn is_out_of_memory(problem: &str) -> bool {
    ["out of memory", "can't allocate memory", "bad_alloc"]
        .iter()
        .any(|words| problem.contains(words))
}

#[cfg(test)]
mod tests {
    use super::{AssertUnwindSafe, Error, Hint, panic, torch_problem};

    /// What a tch method does where libtorch says this.
    fn panics(words: &str) -> Option<String> {
        let fails = |words: &str| Err::<(), _>(tch::TchError::Torch(words.to_owned()));
        let panic =
            panic::catch_unwind(AssertUnwindSafe(|| fails(words).unwrap())).expect_err("a panic");
        torch_problem(&*panic)
    }

    #[test]
    fn too_little_memory_is_told_apart() {
        let words = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has \"79\" GiB.\nException raised from malloc";
        let problem = panics(words).expect("libtorch's reason");
        assert_eq!(problem, "CUDA out of memory");
        let hint = Error::Torch { problem }.hint();
        assert!(hint.contains("--batch-size"), "{hint}");
        let words = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)";
        let problem = panics(words).expect("libtorch's reason");
        assert_eq!(
            problem,
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
        );
        assert!(Error::Torch { problem }.hint().contains("--batch-size"));
        let other =
            panics("The size of tensor a (3) must match\nException raised").expect("a reason");
        assert_eq!(other, "The size of tensor a (3) must match");
        let panic = panic::catch_unwind(|| panic!("{}", words.len())).expect_err("a panic");
        assert_eq!(torch_problem(&*panic), None);
    }
}
