//! The errors of training programs, each with a hint.

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
    /// No model exists at the given path.
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
        /// The reason reported by libtorch.
        problem: String,
    },
    /// A checkpoint cannot be read.
    #[error("cannot go on from {}: {problem}", path.display())]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// The actual and the expected content.
        problem: String,
    },
    /// A checkpoint belongs to a training with other settings. A resumed training would match
    /// neither.
    #[error("cannot go on from {}: it was written with --{name} {then}, now it is {now}", path.display())]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// The setting's flag.
        name: &'static str,
        /// The value in the checkpoint.
        then: f64,
        /// The current value.
        now: f64,
    },
    /// The training diverged.
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
        /// The error of the operating system.
        source: io::Error,
    },
    /// No space is left for an output.
    #[error("cannot write {}: no room is left on the disk ({source})", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Several processes were started, but this one cannot join the others.
    #[error("this is one of {processes} processes, and cannot join the others by MPI: {problem}")]
    NoMpi {
        /// Number of started processes.
        processes: usize,
        /// The reason reported by the dynamic linker or MPI.
        problem: String,
    },
    /// Several processes were started, but not by Open MPI.
    #[error("this is one of {processes} processes that were not started by Open MPI")]
    OtherLauncher {
        /// Number of started processes.
        processes: usize,
    },
    /// An exchange between the processes failed.
    #[error("MPI failed: {problem}")]
    Mpi {
        /// The function and the reason.
        problem: String,
    },
    /// An exchange between the GPUs of the processes failed.
    #[error("NCCL failed: {problem}")]
    Nccl {
        /// The function and the reason.
        problem: String,
    },
    /// libtorch failed.
    #[error("libtorch failed: {problem}")]
    Torch {
        /// The reason.
        problem: String,
    },
}

/// An error with a hint.
pub trait Hint: std::error::Error {
    /// The text of the `hint:` line.
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
    /// Returns a function for `map_err` after reading a file.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Returns a function for `map_err` after writing a file.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                // `FileTooLarge` is the limit on file sizes (`ulimit -f`), which some clusters set.
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

/// Returns libtorch's reason: the first sentence, without advice and C++ stack frames.
pub fn reason(error: &tch::TchError) -> String {
    first_sentence(
        error
            .to_string()
            .trim_start_matches("Internal torch error: "),
    )
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    // A C++ assertion precedes its explanation.
    let line = line.map(|line| match line.strip_prefix("[enforce fail at ") {
        Some(assertion) => assertion
            .split_once(". ")
            .map_or(line, |(_, meaning)| meaning),
        None => line,
    });
    let sentence = line.and_then(|line| line.split(". ").next());
    sentence.unwrap_or("it gave no reason").trim().to_owned()
}

/// Runs a program and returns its exit code. An error is printed to standard error with its hint,
/// and aborts the other [`Processes`](crate::Processes) that were started with this one.
///
/// tch's methods panic when libtorch fails, for example when an operation runs out of memory. This
/// function reports such a panic like any other error. All other panics continue unchanged.
pub fn exit<E: Hint + From<Error>>(program: impl FnOnce() -> Result<(), E>) -> ExitCode {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if torch_problem(panic.payload()).is_none() {
            hook(panic);
        }
    }));
    // Unwind-safe: no state of the program is used after a panic.
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

/// Extracts libtorch's reason from the panic of a tch method, which unwraps a
/// [`tch::TchError::Torch`].
fn torch_problem(payload: &(dyn Any + Send)) -> Option<String> {
    let message = payload.downcast_ref::<String>()?;
    let (_, problem) = message.split_once("on an `Err` value: Torch(\"")?;
    let problem = problem.trim_end_matches("\")");
    // The panic message contains it in `Debug` format, with escaped line ends.
    Some(first_sentence(
        &problem.replace("\\n", "\n").replace("\\\"", "\""),
    ))
}

/// Matches the messages of libtorch for GPU memory and for main memory, and of C++.
fn is_out_of_memory(problem: &str) -> bool {
    ["out of memory", "can't allocate memory", "bad_alloc"]
        .iter()
        .any(|words| problem.contains(words))
}

#[cfg(test)]
mod tests {
    use super::{AssertUnwindSafe, Error, Hint, panic, torch_problem};

    /// The panic message of a tch method when libtorch fails with `words`.
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
