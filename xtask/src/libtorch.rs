//! libtorch, which the training program links to and runs with: found on this machine, or fetched once into the
//! user's cache.
//!
//! It comes out of PyTorch's own wheels, through pip, so whoever can install a Python package can build the lab. Only
//! the libraries and headers are kept; nobody needs to import this copy from Python. Everything slow happens beside the
//! final place, under a file lock, and becomes visible by one rename: two at once, or a run killed half-way, never leave
//! half a libtorch behind.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// The libtorch that tch 0.24 compiles against; it takes no other.
pub const VERSION: &str = "2.11.0";

/// What `libtorch_cpu.so` of the wheel needs to load. PyPI has one build only, the one that can use CUDA.
const WHEELS: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];

/// What `libtorch_cuda.so` needs besides; the versions that torch 2.11.0 asks for.
const CUDA_WHEELS: [&str; 13] = [
    "nvidia-cublas==13.1.0.3",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cudnn-cu13==9.19.0.56",
    "nvidia-cufft==12.0.0.61",
    "nvidia-cufile==1.15.1.6",
    "nvidia-curand==10.4.0.35",
    "nvidia-cusolver==12.0.4.66",
    "nvidia-cusparse==12.6.3.3",
    "nvidia-cusparselt-cu13==0.8.0",
    "nvidia-nccl-cu13==2.28.9",
    "nvidia-nvjitlink==13.0.88",
    "nvidia-nvshmem-cu13==3.4.5",
    "nvidia-nvtx==13.0.85",
];

/// The parts of the `torch` folder that building and running need; the rest is Python.
const KEPT: [&str; 4] = ["include", "lib", "share", "version.py"];

/// Libraries that only a machine with an NVIDIA GPU can use, half of the size.
const CUDA_LIBRARIES: [&str; 5] = [
    "libc10_cuda.so",
    "libcaffe2_nvrtc.so",
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_nvshmem.so",
];

/// Why there is no libtorch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An environment variable names a folder that holds another version.
    #[error("{variable} names {}, which holds libtorch {found}; {VERSION} is needed", folder.display())]
    WrongVersion {
        /// The environment variable.
        variable: &'static str,
        /// The folder it names.
        folder: PathBuf,
        /// The version found there.
        found: String,
    },
    /// An environment variable names a folder without a libtorch.
    #[error("{variable} names {}, which holds no libtorch", folder.display())]
    NotLibtorch {
        /// The environment variable.
        variable: &'static str,
        /// The folder it names.
        folder: PathBuf,
    },
    /// Python could not be started.
    #[error("cannot start {}: {source}", python.display())]
    NoPython {
        /// The interpreter.
        python: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Python has no pip.
    #[error("{} has no pip, which fetches libtorch", python.display())]
    NoPip {
        /// The interpreter.
        python: PathBuf,
    },
    /// The package index was not reached.
    #[error("cannot fetch libtorch {VERSION}: pip does not reach its package index")]
    NoNetwork,
    /// No wheel for this system.
    #[error(
        "pip has no torch {VERSION} for this system ({} {})",
        env::consts::OS,
        env::consts::ARCH
    )]
    NoWheel,
    /// The disk is full.
    #[error("no room for libtorch on the disk of {}", folder.display())]
    NoRoom {
        /// Where it was to go.
        folder: PathBuf,
    },
    /// pip failed otherwise.
    #[error("pip could not fetch libtorch {VERSION}: {reason}")]
    Pip {
        /// pip's last word.
        reason: String,
    },
    /// The wheels did not hold what they should.
    #[error("what pip fetched is no libtorch {VERSION}: {} is missing", missing.display())]
    Incomplete {
        /// The file that is not there.
        missing: PathBuf,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no folder to cache libtorch in: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The way out, for the `hint:` line.
    pub fn hint(&self) -> String {
        match self {
            Self::WrongVersion { variable, .. } | Self::NotLibtorch { variable, .. } => format!(
                "unset {variable} to let this command fetch libtorch {VERSION}, or set it to the `torch` folder of a PyTorch {VERSION}"
            ),
            Self::NoPython { .. } => "install Python 3 and put `python3` on the PATH".to_owned(),
            Self::NoPip { .. } => "install pip (on Debian and Ubuntu: `apt install python3-pip`)".to_owned(),
            Self::NoNetwork => format!(
                "check the network, or pip's index and proxy settings (`pip config list`); without a network, set AZUREML_LIBTORCH to the `torch` folder of a PyTorch {VERSION}"
            ),
            Self::NoWheel => format!(
                "set AZUREML_LIBTORCH to a libtorch {VERSION} of your own (the folder with `include` and `lib`)"
            ),
            Self::NoRoom { .. } => "make room (fetching takes about 1.8 GB for a moment and leaves 0.6 GB; with a GPU 8 and 5 GB), or set XDG_CACHE_HOME to a folder on a larger disk".to_owned(),
            Self::Pip { .. } | Self::Incomplete { .. } => format!(
                "try `python3 -m pip download --no-deps torch=={VERSION}` to see pip's whole answer, or set AZUREML_LIBTORCH to the `torch` folder of a PyTorch {VERSION}"
            ),
            Self::NoCache => "set XDG_CACHE_HOME to a folder that can be written to".to_owned(),
            Self::Io { path, .. } => format!("check the permissions and the disk of {}", path.display()),
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoRoom { folder: path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

/// Finds libtorch, or fetches it with `python`'s pip, and lets `target/libtorch/torch` below `root` lead to it, where
/// `.cargo/config.toml` expects it. Returns its folder, the one that holds `include` and `lib`.
///
/// In this order: `AZUREML_LIBTORCH`, `LIBTORCH`, the user's cache, the PyTorch that `python` has, pip.
pub fn provide(root: &Path, python: &Path, progress: &dyn Fn(&str)) -> Result<PathBuf, Error> {
    let linked = root.join("target/libtorch");
    let libtorch = if let Some(given) = given(&linked)? {
        given
    } else {
        let cache = cache()?;
        let gpu = has_gpu();
        let home = cache.join(format!("libtorch-{VERSION}"));
        if usable(&home.join("torch"), gpu) {
            home.join("torch")
        } else if let Some(installed) = installed(python).filter(|folder| usable(folder, gpu)) {
            installed
        } else {
            fetch(&cache, python, gpu, progress)?
        }
    };
    link(&linked, &libtorch)?;
    Ok(libtorch)
}

/// The version of the libtorch in `folder`: a PyTorch has it in `version.py`, a libtorch archive in `build-version`.
pub fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

/// The libtorch that the user's environment asks for.
fn given(linked: &Path) -> Result<Option<PathBuf>, Error> {
    for variable in ["AZUREML_LIBTORCH", "LIBTORCH"] {
        let Some(folder) = env::var_os(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let folder = PathBuf::from(folder);
        // `.cargo/config.toml` sets LIBTORCH to our own link for everything that cargo runs: that is nobody's wish.
        if !folder.starts_with(linked) {
            return asked_for(variable, folder).map(Some);
        }
    }
    Ok(None)
}

fn asked_for(variable: &'static str, folder: PathBuf) -> Result<PathBuf, Error> {
    let found = version(&folder).filter(|_| missing(&folder).is_none());
    match found {
        None => Err(Error::NotLibtorch { variable, folder }),
        Some(found) if !fits(&found) => Err(Error::WrongVersion {
            variable,
            folder,
            found,
        }),
        Some(_) => fs::canonicalize(&folder).map_err(Error::io("read", &folder)),
    }
}

fn fits(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

/// The first thing that building or running would miss.
fn missing(folder: &Path) -> Option<PathBuf> {
    [
        "include/torch/csrc/api/include/torch/torch.h",
        &format!(
            "lib/{}torch_cpu{}",
            env::consts::DLL_PREFIX,
            env::consts::DLL_SUFFIX
        ),
    ]
    .into_iter()
    .map(|file| folder.join(file))
    .find(|file| !file.exists())
}

fn usable(folder: &Path, gpu: bool) -> bool {
    version(folder).is_some_and(|found| fits(&found))
        && missing(folder).is_none()
        && (!gpu || folder.join("lib/libtorch_cuda.so").exists())
}

fn cache() -> Result<PathBuf, Error> {
    let absolute = |variable| {
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("azureml"))
        .ok_or(Error::NoCache)
}

fn has_gpu() -> bool {
    Command::new("nvidia-smi")
        .arg("--list-gpus")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// The folder of the PyTorch that `python` would import; looking for it does not load it.
fn installed(python: &Path) -> Option<PathBuf> {
    let output = Command::new(python)
        .args([
            "-c",
            "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

/// Fetches libtorch into `cache`, unless somebody else does so meanwhile.
fn fetch(
    cache: &Path,
    python: &Path,
    gpu: bool,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, Error> {
    fs::create_dir_all(cache).map_err(Error::io("create", cache))?;
    let home = cache.join(format!("libtorch-{VERSION}"));
    let partial = cache.join(format!("libtorch-{VERSION}.partial"));
    let replaced = cache.join(format!("libtorch-{VERSION}.replaced"));

    let lock_path = cache.join(format!("libtorch-{VERSION}.lock"));
    // Readable too, for it becomes a standard input.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&lock_path)
        .map_err(Error::io("open", &lock_path))?;
    if lock.try_lock().is_err() {
        progress("libtorch: waiting for another command that is fetching it");
        lock.lock().map_err(Error::io("lock", &lock_path))?;
    }
    if usable(&home.join("torch"), gpu) {
        return Ok(home.join("torch"));
    }

    // Whatever lies there is of a run that was killed: nobody else works here while we hold the lock.
    remove(&partial)?;
    remove(&replaced)?;
    progress(&format!(
        "libtorch: fetching {VERSION} into {}",
        cache.display()
    ));
    let done = fill(&partial, python, gpu, &lock, progress).and_then(|()| {
        if home.exists() {
            fs::rename(&home, &replaced).map_err(Error::io("move", &home))?;
        }
        fs::rename(&partial, &home).map_err(Error::io("create", &home))
    });
    let cleaned = remove(&partial).and(remove(&replaced));
    done.and(cleaned)?;
    Ok(home.join("torch"))
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Makes `partial` what the cache shall hold.
fn fill(
    partial: &Path,
    python: &Path,
    gpu: bool,
    lock: &File,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    // pip's own temporary files lie there too: /tmp may be small, and here they are removed with the rest.
    let temporary = partial.join("tmp");
    fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    // PyPI's torch for macOS needs none of NVIDIA's packages.
    let mut wheels = WHEELS.to_vec();
    if !cfg!(target_os = "linux") {
        wheels.truncate(1);
    } else if gpu {
        wheels.extend(CUDA_WHEELS);
    }
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--no-input", "--no-cache-dir"])
        .args(["--no-compile", "--progress-bar", "off", "--no-deps"])
        // The libraries are the same for every Python, so an interpreter that torch does not know yet will do.
        .args(["--only-binary=:all:", "--python-version", "3.12"])
        .arg("--target")
        .arg(partial)
        .args(wheels)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PYTHONUNBUFFERED", "1")
        .env("TMPDIR", &temporary)
        // The lock lives as long as pip does: were this process killed, the next one waits until pip stops writing.
        .stdin(lock.try_clone().map_err(Error::io("lock", partial))?);
    run_pip(pip, python, partial, progress)?;

    progress("libtorch: keeping what building and running need");
    let torch = partial.join("torch");
    if let Some(missing) = missing(&torch) {
        return Err(Error::Incomplete { missing });
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

/// A wheel's description, with the licences.
fn is_license(name: &OsStr) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "dist-info")
}

fn keep(folder: &Path, kept: impl Fn(&OsStr) -> bool) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if kept(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            remove(&path)?;
        } else {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn run_pip(
    mut pip: Command,
    python: &Path,
    partial: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let mut child = pip
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::NoPython {
            python: python.to_path_buf(),
            source,
        })?;
    let (sender, lines) = mpsc::channel();
    let readers: Vec<Box<dyn Read + Send>> = [
        child
            .stdout
            .take()
            .map(|out| Box::new(out) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|err| Box::new(err) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .collect();
    for reader in readers {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                // The receiver is gone only when nobody wants to know any more.
                let _ = sender.send(line);
            }
        });
    }
    drop(sender);

    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(3)) {
            Ok(line) => {
                if let Some(news) = news(&line) {
                    progress(&news);
                }
                said.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                progress(&format!(
                    "libtorch: {} MB so far",
                    size(partial) / 1_000_000
                ));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().map_err(Error::io("wait for", python))?;
    if status.success() {
        Ok(())
    } else {
        Err(pip_failed(&said, python, partial))
    }
}

/// What of pip's talk is worth telling.
fn news(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with("Installing collected packages") {
        return Some("libtorch: unpacking".to_owned());
    }
    let (file, size) = line.strip_prefix("Downloading ")?.split_once(' ')?;
    let file = file.rsplit('/').next()?;
    let name: Vec<&str> = file.splitn(3, '-').take(2).collect();
    Some(format!("libtorch: downloading {} {size}", name.join(" ")))
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| {
            if metadata.is_dir() {
                size(&path)
            } else {
                metadata.len()
            }
        })
        .sum()
}

/// The meaning of pip's last words.
fn pip_failed(said: &[String], python: &Path, partial: &Path) -> Error {
    let any = |words: &[&str]| {
        said.iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    if any(&["No module named pip"]) {
        Error::NoPip {
            python: python.to_path_buf(),
        }
    } else if any(&["No space left on device", "Disk quota exceeded"]) {
        Error::NoRoom {
            folder: partial.to_path_buf(),
        }
    } else if any(&[
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeout",
        "ReadTimeout",
        "Max retries exceeded",
        "ProxyError",
        "SSLError",
        "Connection aborted",
        "Network is unreachable",
    ]) {
        Error::NoNetwork
    } else if any(&["No matching distribution found", "is not a supported wheel"]) {
        Error::NoWheel
    } else {
        let reason = said
            .iter()
            .rev()
            .find(|line| line.contains("ERROR"))
            .or(said.last());
        Error::Pip {
            reason: reason
                .map_or("it said nothing", |line| line.trim())
                .to_owned(),
        }
    }
}

/// Lets `linked`/torch lead to `libtorch`.
fn link(linked: &Path, libtorch: &Path) -> Result<(), Error> {
    let torch = linked.join("torch");
    if fs::read_link(&torch).is_ok_and(|target| target == libtorch) {
        return Ok(());
    }
    fs::create_dir_all(linked).map_err(Error::io("create", linked))?;
    let new = linked.join(format!("torch.{}", process::id()));
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(Error::io("remove", &new)(error));
    }
    symlink(libtorch, &new).map_err(Error::io("create", &new))?;
    fs::rename(&new, &torch).map_err(Error::io("create", &torch))
}

#[cfg(test)]
mod tests {
    //! A shell script stands in for Python: what matters here is what happens around pip.

    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        path::{Path, PathBuf},
        process::Command,
        sync::Mutex,
        thread,
    };

    use super::{Error, VERSION, asked_for, fetch, link, news, version};

    /// Lays out what the three wheels hold, in `$target`.
    const WHEELS: &str = r#"
        while [ "$1" != --target ]; do shift; done
        target=$2
        mkdir -p "$target/torch/include/torch/csrc/api/include/torch" "$target/torch/lib" "$target/torch/nn"
        mkdir -p "$target/nvidia/cu13/lib" "$target/torch-2.11.0.dist-info" "$target/functorch"
        touch "$target/torch/include/torch/csrc/api/include/torch/torch.h" "$target/torch/nn/init.py"
        touch "$target/torch/lib/libtorch_cpu.so" "$target/torch/lib/libtorch_cuda.so" "$target/torch/lib/libc10.so"
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

    fn quiet(_: &str) {}

    #[test]
    fn what_building_and_running_need_is_kept() {
        let home = tempfile::tempdir().expect("a folder");
        let python = python(home.path(), WHEELS);
        let cache = home.path().join("cache");
        let torch = fetch(&cache, &python, false, &quiet).expect("libtorch");
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
        fetch(&cache, &python, false, &quiet).expect("libtorch");
        let torch = fetch(&cache, &python, true, &quiet).expect("libtorch for the GPU");
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
                scope.spawn(|| fetch(&cache, &python, false, &quiet).expect("libtorch"));
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
        let torch = fetch(&cache, &python, false, &quiet).expect("libtorch");
        assert_eq!(names(&torch.join("lib")), ["libc10.so", "libtorch_cpu.so"]);
        assert_eq!(names(&cache), ["libtorch-2.11.0", "libtorch-2.11.0.lock"]);
    }

    /// The lock is pip's standard input, so that it outlives a command that was killed.
    #[test]
    fn the_next_one_waits_for_an_orphaned_pip() {
        let home = tempfile::tempdir().expect("a folder");
        let cache = home.path().join("cache");
        fs::create_dir_all(&cache).expect("a folder");
        let lock =
            fs::File::create(cache.join(format!("libtorch-{VERSION}.lock"))).expect("a file");
        lock.lock().expect("the lock");

        // The orphan goes on until the gate opens; ours opens it when it says that it waits.
        let gate = home.path().join("gate");
        assert!(
            Command::new("mkfifo")
                .arg(&gate)
                .status()
                .expect("mkfifo")
                .success()
        );
        let mut orphan = Command::new("sh")
            .args(["-c", "read line < gate; echo written > last-word"])
            .current_dir(home.path())
            .stdin(lock)
            .spawn()
            .expect("a process");
        let open = |line: &str| {
            if line.contains("waiting for another command") {
                fs::write(&gate, "go on\n").expect("the gate");
            }
        };
        let last_word = home.path().join("last-word");
        let script = format!("[ -e '{}' ] || exit 1\n{WHEELS}", last_word.display());
        let fetched = fetch(&cache, &python(home.path(), &script), false, &open);
        // Were it still there, it would wait for ever.
        let _ = orphan.kill();
        orphan.wait().expect("its end");
        fetched.expect("libtorch, after the orphan's last word");
    }

    #[test]
    fn failures_of_pip_are_told_apart() {
        let cases = [
            (
                "echo 'python3: No module named pip' >&2; exit 1",
                "has no pip",
            ),
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
                "no room for libtorch on the disk",
            ),
            (
                "echo 'ERROR: it broke' >&2; exit 2",
                "libtorch 2.11.0: ERROR: it broke",
            ),
            ("exit 0", "torch.h is missing"),
        ];
        for (script, expected) in cases {
            let home = tempfile::tempdir().expect("a folder");
            let python = python(home.path(), script);
            let cache = home.path().join("cache");
            let error = fetch(&cache, &python, false, &quiet).expect_err("an error");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.hint().is_empty());
            assert_eq!(names(&cache), ["libtorch-2.11.0.lock"], "after {error}");
        }
        let home = tempfile::tempdir().expect("a folder");
        let error = fetch(home.path(), Path::new("/no/python"), false, &quiet);
        assert!(matches!(error, Err(Error::NoPython { .. })));
    }

    #[test]
    fn a_given_folder_must_hold_the_right_version() {
        let home = tempfile::tempdir().expect("a folder");
        let given = home.path().to_path_buf();
        let error = asked_for("LIBTORCH", given.clone())
            .expect_err("an error")
            .to_string();
        assert!(error.ends_with("which holds no libtorch"), "{error}");

        fs::create_dir_all(given.join("include/torch/csrc/api/include/torch")).expect("a folder");
        fs::create_dir_all(given.join("lib")).expect("a folder");
        let header = given.join("include/torch/csrc/api/include/torch/torch.h");
        fs::write(header, "").expect("a file");
        fs::write(given.join("lib/libtorch_cpu.so"), "").expect("a file");
        fs::write(given.join("build-version"), "2.10.0+cpu\n").expect("a file");
        let error = asked_for("LIBTORCH", given.clone())
            .expect_err("an error")
            .to_string();
        assert!(
            error.ends_with("holds libtorch 2.10.0+cpu; 2.11.0 is needed"),
            "{error}"
        );

        fs::write(given.join("build-version"), "2.11.0+cpu\n").expect("a file");
        assert!(asked_for("LIBTORCH", given).is_ok());
    }

    #[test]
    fn the_link_follows_what_was_found_last() {
        let home = tempfile::tempdir().expect("a folder");
        let linked = home.path().join("target/libtorch");
        for found in ["one", "one", "two"] {
            link(&linked, &home.path().join(found)).expect("a link");
            let target = fs::read_link(linked.join("torch")).expect("the link");
            assert_eq!(target, home.path().join(found));
        }
        assert_eq!(names(&linked), ["torch"]);
    }

    #[test]
    fn progress_names_what_is_fetched() {
        let said = Mutex::new(Vec::new());
        let home = tempfile::tempdir().expect("a folder");
        let script = format!("echo '  Downloading torch-2.11.0-cp312-x.whl (530.6 MB)'\n{WHEELS}");
        let python = python(home.path(), &script);
        let tell = |line: &str| said.lock().expect("a lock").push(line.to_owned());
        fetch(&home.path().join("cache"), &python, false, &tell).expect("libtorch");
        let said = said.into_inner().expect("a lock");
        assert!(
            said.contains(&"libtorch: downloading torch 2.11.0 (530.6 MB)".to_owned()),
            "{said:?}"
        );
        assert_eq!(news("Collecting torch==2.11.0"), None);
    }
}
