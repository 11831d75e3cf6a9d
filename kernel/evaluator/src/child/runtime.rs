//! Builds and loads `cell_runtime.rs`, the library that shares the cells' standard library.

// Unsafe code calls functions of a loaded library; each use has a `SAFETY` comment.
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

/// The output of a callback that was interrupted.
const CALLBACK_STOPPED: &[u8] = b"Interrupted: the callback was stopped\n";

/// Interval at which buffered text without a newline is flushed while a cell runs.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// The same interval while only threads of earlier cells run.
const LATE_FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// An error from building the library.
#[derive(Debug, thiserror::Error)]
pub enum CellRuntimeError {
    /// A file could not be written.
    #[error(
        "cannot write {path}: {source}\nhint: make room, or name a folder of your own in AZUREML_KERNEL_CACHE"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The compiler could not be run.
    #[error("cannot run {rustc}: {source}")]
    Run {
        /// The compiler.
        rustc: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The compiler reported errors.
    #[error(
        "cannot compile the kernel's part of the cell process:\n{0}\nhint: cells need a C linker (`cc`), as any Rust program does"
    )]
    Compile(String),
}

/// The crate name of the library.
pub(crate) const CRATE: &str = "cell_runtime";

/// Returns the path of the library for this toolchain; builds it in the cache if it is missing.
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
    // Cells link to the library by its crate name, so the key is in the folder's name instead.
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
        // Another kernel may have published it first.
        && !is_whole(&library)
    {
        return Err(written(&folder)(error));
    }
    own::check(&library, cache).map_err(written(&library))?;
    Ok(library)
}

/// Whether the library exists and is not empty: a power loss can truncate it.
fn is_whole(library: &Path) -> bool {
    library
        .metadata()
        .is_ok_and(|about| about.is_file() && about.len() > 0)
}

/// The library, loaded into the cell process.
pub(super) struct Runtime {
    flush: Option<extern "C" fn()>,
    running: Arc<(Mutex<bool>, Condvar)>,
}

/// Loads the library that the environment names.
///
/// Without it, text without a newline appears late, and only generated code detects panics.
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
    /// Flushes the buffered standard output of cells.
    pub(super) fn flush(&self) {
        if let Some(flush) = self.flush {
            flush();
        }
    }

    /// Sets whether a cell runs, which determines the flush interval.
    pub(super) fn set_running(&self, now: bool) {
        let (running, changed) = &*self.running;
        *running.lock().unwrap_or_else(PoisonError::into_inner) = now;
        changed.notify_one();
    }
}

/// Periodically flushes text without a newline, and repeats the interrupt signal while it is
/// pending.
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
                // The lock is released here: a cell that holds the lock of standard output must not
                // keep the next one from starting.
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

/// Loads and starts the library. Returns its functions that flush standard output and wake the
/// future of a cell.
fn load_from(path: &Path) -> Result<(extern "C" fn(), extern "C" fn()), libloading::Error> {
    type Start = extern "C" fn(extern "C" fn(u8, *const c_void, usize), extern "C" fn() -> bool);
    // SAFETY: this crate built the library from `cell_runtime.rs`; loading it runs no other code.
    // It stays loaded.
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

/// Sends a text of the library to the kernel; the kinds are those of `cell_runtime.rs`.
extern "C" fn take(kind: u8, text: *const c_void, length: usize) {
    // SAFETY: `cell_runtime.rs` passes the pointer and length of a string that lives during the
    // call.
    let mut text =
        unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length.min(MAX_PAYLOAD)) };
    if kind == 0 {
        stop::ending();
    }
    // The code that waited received `ECANCELED` and panicked with its own message.
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
        // Text that the cell has printed earlier must be sent first.
        interpose::flush();
    }
    interpose::send(frame, text).ok();
}
