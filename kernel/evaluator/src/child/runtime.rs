//! Building and loading the library that shares the cells' standard library: `cell_runtime.rs`.

// Functions of a loaded library; each use says why it is sound.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use azureml_kernel_helpers::own;

use super::{interpose, stop, threads};
use crate::cache::Key;
use crate::env;
use crate::link::{Frame, MAX_PAYLOAD};
use crate::toolchain::Toolchain;

const SOURCE: &str = include_str!("cell_runtime.rs");

/// What a callback says that the stop button has ended.
const CALLBACK_STOPPED: &[u8] = b"Interrupted: the callback was stopped\n";

/// How often text without a newline is looked for while a cell runs.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// The same while only threads run that cells have started.
const LATE_FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Why the library could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CellRuntimeError {
    /// A file could not be written.
    #[error(
        "cannot write {path}: {source}\nhint: make room, or name a folder of your own in AZUREML_KERNEL_CACHE"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler could not be run.
    #[error("cannot run {rustc}: {source}")]
    Run {
        /// The compiler.
        rustc: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler refused it.
    #[error(
        "cannot compile the kernel's part of the cell process:\n{0}\nhint: cells need a C linker (`cc`), as any Rust program does"
    )]
    Compile(String),
}

/// The library's name as a crate.
pub(crate) const CRATE: &str = "cell_runtime";

/// The path of the library for this toolchain; builds it in the cache when it is not there yet.
pub(crate) fn cell_runtime(
    toolchain: &Toolchain,
    cache: &Path,
) -> Result<PathBuf, CellRuntimeError> {
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| CellRuntimeError::Write { path, source }
    };
    own::folder(cache).map_err(written(cache))?;
    let parent = cache.join("cell-runtime");
    own::folder(&parent).map_err(written(&parent))?;
    let name = Key::new()
        .add(&toolchain.version)
        .add(toolchain.libdir.as_os_str().as_encoded_bytes())
        .add(SOURCE)
        .finish();
    // Cells link to it by its name, so it has a folder for each toolchain instead of a name.
    let folder = parent.join(name);
    let file = format!("lib{CRATE}.so");
    let library = folder.join(&file);
    if is_whole(&library) {
        own::check(&library, cache).map_err(written(&library))?;
        return Ok(library);
    }
    let staging = own::staging("unfinished-", &parent).map_err(written(&parent))?;
    let source = staging.path().join("cell_runtime.rs");
    let built = staging.path().join(&file);
    std::fs::write(&source, SOURCE).map_err(written(&source))?;
    let mut rustc = Command::new(&toolchain.rustc);
    env::without_build_settings(&mut rustc);
    let output = rustc
        .args([
            "--crate-type=dylib",
            "--crate-name",
            CRATE,
            "--edition=2021",
            "-O",
            "-Cprefer-dynamic",
            "-Cstrip=debuginfo",
        ])
        .arg(format!(
            "-Clink-arg=-Wl,-rpath,{}",
            toolchain.libdir.display()
        ))
        .arg("-o")
        .arg(&built)
        .arg(&source)
        .output()
        .map_err(|source| CellRuntimeError::Run {
            rustc: toolchain.rustc.clone(),
            source,
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(CellRuntimeError::Compile(said));
    }
    if let Err(error) = own::publish(staging.path(), &folder)
        // Another kernel may have been faster.
        && !is_whole(&library)
    {
        return Err(written(&folder)(error));
    }
    own::check(&library, cache).map_err(written(&library))?;
    Ok(library)
}

/// Whether there is a library that a power loss has not emptied.
fn is_whole(library: &Path) -> bool {
    library
        .metadata()
        .is_ok_and(|about| about.is_file() && about.len() > 0)
}

/// The library in the cell process.
pub(super) struct Runtime {
    flush: Option<extern "C" fn()>,
    running: Arc<(Mutex<bool>, Condvar)>,
}

/// Loads the library that the environment names. Without it, text without a newline comes late and panics are only seen by `evcxr`.
pub(super) fn load() -> Runtime {
    let running = Arc::new((Mutex::new(false), Condvar::new()));
    let Some((flush, wake)) =
        std::env::var_os(env::CELL_RUNTIME).and_then(|path| load_from(Path::new(&path)).ok())
    else {
        return Runtime {
            flush: None,
            running,
        };
    };
    interpose::flush_with(flush);
    std::thread::Builder::new()
        .name("cell-watch".to_owned())
        .spawn({
            let running = Arc::clone(&running);
            move || watch_while_running(flush, wake, &running)
        })
        .ok();
    Runtime {
        flush: Some(flush),
        running,
    }
}

impl Runtime {
    /// Writes out what the cells' standard output holds back.
    pub(super) fn flush(&self) {
        if let Some(flush) = self.flush {
            flush();
        }
    }

    /// Says whether a cell runs, so that partial lines are looked for.
    pub(super) fn set_running(&self, now: bool) {
        let (running, changed) = &*self.running;
        *running.lock().unwrap_or_else(PoisonError::into_inner) = now;
        changed.notify_one();
    }
}

/// Looks again and again for text without a newline, and for the stop button.
fn watch_while_running(
    flush: extern "C" fn(),
    wake: extern "C" fn(),
    running: &(Mutex<bool>, Condvar),
) {
    let (running, changed) = running;
    let mut now = running.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if *now {
            (now, _) = changed
                .wait_timeout(now, FLUSH_INTERVAL)
                .unwrap_or_else(PoisonError::into_inner);
            if *now {
                // The lock is not held here: a cell that holds standard output must not keep the next one from starting.
                drop(now);
                if stop::asked() {
                    stop::wake();
                    wake();
                }
                flush();
                now = running.lock().unwrap_or_else(PoisonError::into_inner);
            }
        } else if threads::are_there() {
            (now, _) = changed
                .wait_timeout(now, LATE_FLUSH_INTERVAL)
                .unwrap_or_else(PoisonError::into_inner);
            if !*now {
                drop(now);
                flush();
                now = running.lock().unwrap_or_else(PoisonError::into_inner);
            }
        } else {
            now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Loads and starts it; gives what flushes standard output and what wakes the future of a cell.
fn load_from(path: &Path) -> Result<(extern "C" fn(), extern "C" fn()), libloading::Error> {
    type Start = extern "C" fn(extern "C" fn(u8, *const c_void, usize), extern "C" fn() -> bool);
    // SAFETY: the library was built from `cell_runtime.rs` by this crate; loading it runs nothing else. It stays loaded.
    let library = std::mem::ManuallyDrop::new(unsafe { libloading::Library::new(path) }?);
    // SAFETY: these are the signatures in `cell_runtime.rs`.
    let (start, flush, wake) = unsafe {
        (
            *library.get::<Start>(b"cell_runtime_start")?,
            *library.get::<extern "C" fn()>(b"cell_runtime_flush")?,
            *library.get::<extern "C" fn()>(b"cell_runtime_stop")?,
        )
    };
    start(take, asked);
    Ok((flush, wake))
}

extern "C" fn asked() -> bool {
    stop::asked()
}

/// Sends to the kernel what the library says; the kinds are those of `cell_runtime.rs`.
extern "C" fn take(kind: u8, text: *const c_void, length: usize) {
    // SAFETY: `cell_runtime.rs` passes the pointer and length of a string that lives during the call.
    let mut text =
        unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length.min(MAX_PAYLOAD)) };
    if kind == 0 {
        stop::ending();
    }
    // Whoever waited has met the error and panics about it, in words of its own.
    if kind == 1
        && stop::callback_ending()
        && String::from_utf8_lossy(text).contains(&libc::ECANCELED.to_string())
    {
        text = CALLBACK_STOPPED;
    }
    let frame = match kind {
        0 => Frame::Panic,
        2 => Frame::Failed,
        3 => Frame::Panicked,
        4 => Frame::Value,
        _ => Frame::Stderr,
    };
    if frame != Frame::Stderr {
        // What the cell has printed came first.
        interpose::flush();
    }
    interpose::send(frame, text).ok();
}
