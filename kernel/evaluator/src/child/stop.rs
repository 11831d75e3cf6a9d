//! The stop button, as the cell process sees it: `SIGINT`.
//!
//! The handler only takes note of it. From then on, what the cell's thread waits for in the C library fails with `ECANCELED`
//! ([`waits`](super::waits), [`interpose`](super::interpose)). Rust makes an error or a panic of that, which ends the cell like any
//! other, so variables stay; nothing unwinds through C. A cell that comes to no such point is killed by the kernel.

// A signal handler has C's interface; each use says why it is sound.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};

/// No cell runs: there is nothing to stop.
const IDLE: u8 = 0;
/// A cell runs.
const RUNNING: u8 = 1;
/// It was asked to stop and has not seen it.
const ASKED: u8 = 2;
/// It has seen it: what it does on its way out must not fail again, for a panic in a `drop` would end the process.
const ENDING: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// The thread that runs cells, by the number that Linux gives it.
static CELL_THREAD: AtomicI32 = AtomicI32::new(0);

/// The number of the file whose first byte tells the crate `notebook` whether the cell is to stop.
static FLAG: AtomicI32 = AtomicI32::new(-1);

/// The handler that an earlier cell has put in the place of this one.
static EARLIER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Whether that one runs: it may call what was there before it, which is the one here.
static CHAINED: AtomicBool = AtomicBool::new(false);

/// Listens to the stop button from here on; this is the thread that runs cells. Gives the number of the file that the crate
/// `notebook` looks at.
pub(super) fn listen() -> std::io::Result<c_int> {
    /// Keeps the file open.
    static FILE: OnceLock<OwnedFd> = OnceLock::new();

    let flag = rustix::fs::memfd_create("notebook-stop", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&flag, &[0], 0)?;
    let number = FILE.get_or_init(|| flag).as_raw_fd();
    FLAG.store(number, Ordering::Relaxed);
    CELL_THREAD.store(this_thread(), Ordering::Relaxed);
    install();
    Ok(number)
}

/// Puts the handler in place; one of an earlier cell is called by it from then on.
fn install() {
    // SAFETY: all-zero is a valid value of the structures; the handler calls nothing but functions that are safe in signal handlers,
    // and what another cell has put there itself.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler();
        // Without SA_RESTART: what waits comes back.
        action.sa_flags = libc::SA_SIGINFO;
        // With these arguments it does not fail.
        libc::sigaction(libc::SIGINT, &raw const action, &raw mut before);
        if before.sa_sigaction != handler() {
            EARLIER.store(before.sa_sigaction, Ordering::SeqCst);
        }
    }
}

/// A cell begins.
pub(super) fn begin() {
    install();
    STATE.store(RUNNING, Ordering::SeqCst);
    tell_notebook(false);
}

/// The cell is over.
pub(super) fn end() {
    STATE.store(IDLE, Ordering::SeqCst);
    tell_notebook(false);
}

/// Whether this is the cell's thread and the cell is to stop.
pub(super) fn asked_here() -> bool {
    STATE.load(Ordering::SeqCst) == ASKED && on_cell_thread()
}

/// Whether the cell is to stop and has not seen it.
pub(super) fn asked() -> bool {
    STATE.load(Ordering::SeqCst) == ASKED
}

/// The cell panics: it is on its way out.
pub(super) fn ending() {
    let seen = STATE.compare_exchange(ASKED, ENDING, Ordering::SeqCst, Ordering::SeqCst);
    if seen.is_ok() {
        tell_notebook(false);
    }
}

/// Wakes the cell's thread again: it may have begun to wait right after it was woken.
pub(super) fn wake() {
    // SAFETY: the handler is in place, so the signal has no other effect than to interrupt a wait.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            CELL_THREAD.load(Ordering::Relaxed),
            libc::SIGINT,
        );
    }
}

pub(super) fn on_cell_thread() -> bool {
    CELL_THREAD.load(Ordering::Relaxed) == this_thread()
}

fn this_thread() -> libc::pid_t {
    // SAFETY: the call has no preconditions.
    unsafe { libc::gettid() }
}

fn tell_notebook(stop: bool) {
    let byte = u8::from(stop);
    // SAFETY: the byte lives during the call; `pwrite` is safe in signal handlers.
    unsafe {
        libc::pwrite(FLAG.load(Ordering::Relaxed), (&raw const byte).cast(), 1, 0);
    }
}

fn handler() -> libc::sighandler_t {
    on_interrupt as *const () as libc::sighandler_t
}

extern "C" fn on_interrupt(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // Handlers that come later often call the one that was there before them, this one: then user code listens, and stopping is left
    // to it.
    // SAFETY: `sigaction` with a null second argument only reads, and is safe in a signal handler; all-zero is a valid value for it
    // to overwrite; `errno` belongs to the interrupted thread, which must find it as it was; a
    // handler of an earlier cell takes these arguments, or fewer of them.
    unsafe {
        let errno = *libc::__errno_location();
        let mut current: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(signal, std::ptr::null(), &raw mut current) == 0;
        if known && current.sa_sigaction == handler() {
            let asked = STATE.compare_exchange(RUNNING, ASKED, Ordering::SeqCst, Ordering::SeqCst);
            if asked.is_ok() {
                tell_notebook(true);
            }
            if asked.is_ok() && !on_cell_thread() {
                wake();
            }
            let earlier = EARLIER.load(Ordering::SeqCst);
            if asked.is_ok()
                && earlier != libc::SIG_DFL
                && earlier != libc::SIG_IGN
                && !CHAINED.swap(true, Ordering::SeqCst)
            {
                std::mem::transmute::<usize, Handler>(earlier)(signal, info, context);
                CHAINED.store(false, Ordering::SeqCst);
            }
        }
        *libc::__errno_location() = errno;
    }
}
