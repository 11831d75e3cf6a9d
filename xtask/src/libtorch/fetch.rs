//! Download of libtorch into the user's cache.
//!
//! libtorch is extracted from PyTorch's wheels with pip, so every user who can install a Python
//! package can build the lab. Only the libraries and headers are kept; this copy is not importable
//! from Python. All slow work is done next to the final folder under a file lock and becomes
//! visible through one rename. Concurrent or killed runs therefore never leave an incomplete
//! libtorch.

use super::VERSION;
use super::folder::{missing, usable};
use crate::cause::Cause;
use crate::error::{Error, Result};
use crate::report::Step;
use crate::{lock, place, process, remove};
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The package lists in `xtask/python`; the second one is for machines with a GPU.
const LISTS: [&str; 2] = ["libtorch.txt", "libtorch-cuda.txt"];

/// One of CUDA's headers, next to `torch`.
const HEADER: &str = "nvidia/cu13/include/crt/host_defines.h";

/// The parts of the `torch` folder that are needed for building and running; the rest is Python
/// code.
const KEPT: [&str; 4] = ["include", "lib", "share", "version.py"];

/// Libraries that need an NVIDIA GPU; they are half of the total size.
const CUDA_LIBRARIES: [&str; 5] = [
    "libc10_cuda.so",
    "libcaffe2_nvrtc.so",
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_nvshmem.so",
];

/// Returns the libtorch in `cache`; downloads it if it is missing or lacks the CUDA libraries for a
/// GPU.
pub fn provide(cache: &Path, python: &Path, gpu: bool, step: &Step) -> Result<PathBuf> {
    let name = |suffix: &str| cache.join(format!("libtorch-{VERSION}{suffix}"));
    let (home, partial, replaced) = (name(""), name(".partial"), name(".replaced"));
    let torch = home.join("torch");
    let whole = || usable(&torch, gpu) && home.join(HEADER).exists();
    if whole() {
        return Ok(torch);
    }
    let lock = lock::take(&name(".lock"), step)?;
    if whole() {
        return Ok(torch);
    }

    // Left by a killed run: while the lock is held, no other process works here.
    remove::folder(&partial, cache)?;
    remove::folder(&replaced, cache)?;
    step.status(&format!("fetching {VERSION} into {}", cache.display()));
    let done = fill(&partial, python, gpu, &lock, step).and_then(|()| {
        if home.exists() {
            fs::rename(&home, &replaced).map_err(Error::io("move", &home))?;
        }
        fs::rename(&partial, &home).map_err(Error::io("create", &home))
    });
    let cleaned = remove::folder(&partial, cache).and_then(|()| remove::folder(&replaced, cache));
    done.and(cleaned)?;
    Ok(torch)
}

/// Fills `partial` with the files for the cache.
fn fill(partial: &Path, python: &Path, gpu: bool, lock: &File, step: &Step) -> Result<()> {
    // pip's temporary files are also there: /tmp may be small, and this folder is removed later.
    let temporary = partial.join("tmp");
    fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    let lists = LISTS.iter().take(if gpu { 2 } else { 1 });
    let lists = lists.map(|list| place::root().join("xtask/python").join(list));
    let mut pip = process::command(python);
    pip.args(["-m", "pip", "install", "--no-input", "--no-cache-dir"])
        .args(["--no-compile", "--progress-bar", "raw", "--no-deps"])
        // The libraries are the same for all Python versions, so an interpreter that torch does not
        // support yet is sufficient.
        .args(["--only-binary=:all:", "--python-version", "3.12"])
        .arg("--target")
        .arg(partial)
        .arg("--require-hashes")
        .args(lists.flat_map(|list| ["--requirement".into(), list.into_os_string()]))
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PYTHONUNBUFFERED", "1")
        .env("TMPDIR", &temporary)
        // pip holds the lock too: if this process is killed, the next one waits until pip has
        // stopped writing.
        .stdin(lock.try_clone().map_err(Error::io("lock", partial))?);
    let mut progress = Progress::default();
    process::follow(step.running(), "libtorch", pip, |line| {
        if let Some(news) = progress.news(line) {
            step.status(&news);
        }
    })
    .map_err(failed)?;

    step.status("keeping what building and running need");
    let torch = partial.join("torch");
    if let Some(missing) = missing(&torch) {
        return Err(Error::Missing {
            what: format!(
                "what pip fetched is no libtorch {VERSION}: {} is missing",
                missing.display()
            ),
            hint: own_one(),
        });
    }
    keep(partial, |name| {
        name == "torch" || name == "nvidia" || is_license(name)
    })?;
    keep(&torch, |name| KEPT.iter().any(|kept| name == *kept))?;
    keep(&torch.join("lib"), |name| {
        name != "libtorch_python.so"
            && (gpu || !CUDA_LIBRARIES.iter().any(|library| name == *library))
    })
}

/// Converts pip's failure to an error with a hint, if the user can solve the problem.
fn failed(error: Error) -> Error {
    let no_wheel = |tail: &[String]| {
        let words = ["No matching distribution found", "is not a supported wheel"];
        tail.iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    let (what, hint) = match (error.cause(), &error) {
        (Some(Cause::NoNetwork), _) => (
            format!("cannot fetch libtorch {VERSION}: pip does not reach its package index"),
            format!(
                "check the network, or pip's index and proxy settings (`pip config list`); without a network, {}",
                own_one()
            ),
        ),
        (Some(Cause::NoRoom), _) => (
            format!("cannot fetch libtorch {VERSION}: the disk is full"),
            "make room (it takes 1.8 GB while it is fetched and 0.6 GB afterwards; with a GPU 8 and 5 GB), or set XDG_CACHE_HOME to a folder on a larger disk".to_owned(),
        ),
        (None, Error::Failed { tail, .. }) if no_wheel(tail) => (
            format!(
                "pip has no torch {VERSION} for this system ({} {})",
                env::consts::OS,
                env::consts::ARCH
            ),
            own_one(),
        ),
        _ => return error,
    };
    Error::Missing { what, hint }
}

fn own_one() -> String {
    format!("set AZUREML_LIBTORCH to the `torch` folder of a PyTorch {VERSION}")
}

/// Whether a folder is the metadata of a wheel, which contains the licences.
fn is_license(name: &OsStr) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "dist-info")
}

fn keep(folder: &Path, kept: impl Fn(&OsStr) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if kept(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            remove::folder(&path, folder)?;
        } else {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Progress of pip.
#[derive(Default)]
struct Progress {
    file: String,
}

impl Progress {
    /// Returns the status for a line of pip's output, if the line is relevant.
    fn news(&mut self, line: &str) -> Option<String> {
        let line = line.trim();
        if line.starts_with("Installing collected packages") {
            return Some("unpacking".to_owned());
        }
        if let Some((done, all)) = line
            .strip_prefix("Progress ")
            .and_then(|rest| rest.split_once(" of "))
        {
            let megabytes = |bytes: &str| Some(bytes.parse::<u64>().ok()? / 1_000_000);
            let (done, all) = (megabytes(done)?, megabytes(all)?);
            return Some(format!("downloading {}: {done} of {all} MB", self.file));
        }
        let (file, size) = line.strip_prefix("Downloading ")?.split_once(' ')?;
        let file = file.rsplit('/').next()?;
        let name: Vec<&str> = file.splitn(3, '-').take(2).collect();
        self.file = name.join(" ");
        Some(format!("downloading {} {size}", self.file))
    }
}

#[cfg(test)]
mod tests {
    //! A shell script replaces Python: these tests check the handling of pip.

    use super::*;
    use crate::libtorch::version;
    use crate::report::Report;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::thread;

    /// Creates the files of the wheels in `$target`.
    const WHEELS: &str = r#"
        while [ "$1" != --target ]; do shift; done
        target=$2
        mkdir -p "$target/torch/include/torch/csrc/api/include/torch" "$target/torch/lib" "$target/torch/nn"
        mkdir -p "$target/nvidia/cu13/include/crt" "$target/torch-2.11.0.dist-info" "$target/functorch"
        touch "$target/torch/include/torch/csrc/api/include/torch/torch.h" "$target/torch/nn/init.py"
        touch "$target/torch/lib/libtorch_cpu.so" "$target/torch/lib/libtorch_cuda.so" "$target/torch/lib/libc10.so"
        touch "$target/nvidia/cu13/include/crt/host_defines.h"
        echo "__version__ = '2.11.0+cu130'" > "$target/torch/version.py"
    "#;

    fn python(folder: &Path, script: &str) -> PathBuf {
        let python = folder.join("python");
        fs::write(&python, format!("#!/bin/sh\n{script}")).expect("a script");
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("its mode");
        python
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
    }

    fn fetch(cache: &Path, python: &Path, gpu: bool) -> Result<PathBuf> {
        provide(cache, python, gpu, &Report::new().step("libtorch", ""))
    }

    #[test]
    fn what_building_and_running_need_is_kept() {
        let home = tempfile::tempdir().expect("a folder");
        let python = python(home.path(), WHEELS);
        let cache = home.path().join("cache");
        let torch = fetch(&cache, &python, false).expect("libtorch");
        assert_eq!(names(&torch), ["include", "lib", "version.py"]);
        assert_eq!(names(&torch.join("lib")), ["libc10.so", "libtorch_cpu.so"]);
        assert_eq!(
            names(&torch.join("..")),
            ["nvidia", "torch", "torch-2.11.0.dist-info"]
        );
        assert_eq!(names(&cache), ["libtorch-2.11.0", "libtorch-2.11.0.lock"]);
        assert_eq!(version(&torch).as_deref(), Some("2.11.0+cu130"));
    }

    #[test]
    fn a_gpu_that_came_later_brings_its_libraries() {
        let home = tempfile::tempdir().expect("a folder");
        let python = python(home.path(), WHEELS);
        let cache = home.path().join("cache");
        fetch(&cache, &python, false).expect("libtorch");
        let torch = fetch(&cache, &python, true).expect("libtorch for the GPU");
        assert!(torch.join("lib/libtorch_cuda.so").exists());
        assert_eq!(names(&cache), ["libtorch-2.11.0", "libtorch-2.11.0.lock"]);
    }

    #[test]
    fn two_at_once_fetch_once() {
        let home = tempfile::tempdir().expect("a folder");
        let calls = home.path().join("calls");
        let python = python(
            home.path(),
            &format!("echo call >> '{}'\n{WHEELS}", calls.display()),
        );
        let cache = home.path().join("cache");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| fetch(&cache, &python, false).expect("libtorch"));
            }
        });
        assert_eq!(fs::read_to_string(calls).expect("the calls"), "call\n");
    }

    #[test]
    fn what_a_killed_run_left_is_no_harm() {
        let home = tempfile::tempdir().expect("a folder");
        let python = python(home.path(), WHEELS);
        let cache = home.path().join("cache");
        let left = cache.join(format!("libtorch-{VERSION}.partial/torch/lib"));
        fs::create_dir_all(&left).expect("a folder");
        fs::write(left.join("libtorch_half.so"), "half").expect("a file");
        let torch = fetch(&cache, &python, false).expect("libtorch");
        assert_eq!(names(&torch.join("lib")), ["libc10.so", "libtorch_cpu.so"]);
        assert_eq!(names(&cache), ["libtorch-2.11.0", "libtorch-2.11.0.lock"]);
    }

    /// The lock is pip's standard input, so that it is held even after the command was killed.
    #[test]
    fn the_next_one_waits_for_an_orphaned_pip() {
        let home = tempfile::tempdir().expect("a folder");
        let cache = home.path().join("cache");
        fs::create_dir_all(&cache).expect("a folder");
        let lock =
            fs::File::create(cache.join(format!("libtorch-{VERSION}.lock"))).expect("a file");
        lock.lock().expect("the lock");

        let gate = home.path().join("gate");
        assert!(
            Command::new("mkfifo")
                .arg(&gate)
                .status()
                .expect("mkfifo")
                .success()
        );
        // A run that does not wait for the orphan does not find the file `last-word`.
        let mut orphan = Command::new("sh")
            .args(["-c", "read line < gate; echo written > last-word"])
            .current_dir(home.path())
            .stdin(lock)
            .spawn()
            .expect("a process");
        let last_word = home.path().join("last-word");
        let script = format!("[ -e '{}' ] || exit 1\n{WHEELS}", last_word.display());
        let python = python(home.path(), &script);
        let report = Report::new();
        let step = report.step("libtorch", "");
        let fetched = thread::scope(|scope| {
            let fetched = scope.spawn(|| provide(&cache, &python, false, &step));
            // Waits until the second run either waits for the lock or has ended.
            while !report
                .statuses()
                .contains(&"waiting for another command that is at it".to_owned())
                && !fetched.is_finished()
            {
                thread::yield_now();
            }
            fs::write(&gate, "go on\n").expect("the gate");
            fetched.join().expect("no panic")
        });
        orphan.wait().expect("its end");
        fetched.expect("libtorch, after the orphan's last word");
    }

    #[test]
    fn failures_of_pip_are_told_apart() {
        let cases = [
            (
                "echo 'WARNING: Retrying after NewConnectionError: x' >&2
                 echo 'ERROR: No matching distribution found for torch==2.11.0' >&2; exit 1",
                "does not reach its package index",
            ),
            (
                "echo 'ERROR: No matching distribution found for torch==2.11.0' >&2; exit 1",
                "for this system",
            ),
            (
                "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2; exit 1",
                "2.11.0: the disk is full",
            ),
            ("echo 'ERROR: it broke' >&2; exit 2", "| ERROR: it broke"),
            ("exit 0", "torch.h is missing"),
        ];
        for (script, expected) in cases {
            let home = tempfile::tempdir().expect("a folder");
            let python = python(home.path(), script);
            let cache = home.path().join("cache");
            let error = fetch(&cache, &python, false).expect_err("an error");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.hint().is_empty());
            assert_eq!(names(&cache), ["libtorch-2.11.0.lock"], "after {error}");
        }
        let home = tempfile::tempdir().expect("a folder");
        let error = fetch(home.path(), Path::new("/no/python"), false);
        assert!(matches!(error, Err(Error::Start { .. })));
    }

    #[test]
    fn progress_names_what_is_fetched() {
        let mut progress = Progress::default();
        let told: Vec<String> = [
            "Collecting torch==2.11.0",
            "  Downloading torch-2.11.0-cp312-x.whl (530.6 MB)",
            "Progress 12345678 of 530612345",
            "Installing collected packages: torch",
        ]
        .into_iter()
        .filter_map(|line| progress.news(line))
        .collect();
        assert_eq!(
            told,
            [
                "downloading torch 2.11.0 (530.6 MB)",
                "downloading torch 2.11.0: 12 of 530 MB",
                "unpacking"
            ]
        );
    }
}
