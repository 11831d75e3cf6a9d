//! Interrupts in the cell process: `SIGINT` for the cell, `SIGURG` for a comm callback.
//!
//! The signal handler only sets a flag. From then on, blocking C library calls of the cell thread
//! fail with `ECANCELED` ([`waits`](super::waits), [`interpose`](super::interpose)). Rust converts
//! this to an error or a panic, which ends the cell like any other, so variables are kept; nothing
//! unwinds through C frames. A cell that reaches no such call is killed by the kernel.
//!
//! Callbacks on the comm thread are interrupted the same way; an interrupt while no cell runs is
//! for the callback. `SIGURG` is ignored by programs that install no handler, and does not affect
//! cells.

// A signal handler uses C's interface; each use has a `SAFETY` comment.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

/// No cell runs.
const IDLE: u8 = 0;
/// A cell runs.
const RUNNING: u8 = 1;
/// The cell was interrupted and has not reacted yet.
const ASKED: u8 = 2;
/// The cell is ending because of the interrupt. Further calls must not fail: a panic in a `drop`
/// during unwinding would abort the process.
const ENDING: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// The Linux thread id of the cell thread.
static CELL_THREAD: AtomicI32 = AtomicI32::new(0);

/// The Linux thread id of the comm thread; 0 until it exists.
static COMM_THREAD: AtomicI32 = AtomicI32::new(0);

/// Mapped memory of the file from which the crate `notebook` reads interrupts. Byte 0 is 1 while
/// the cell is to stop, otherwise 0. Byte 1 holds the state of the callback, one of the constants
/// below. Further bytes of the file are private to the crate.
static FLAGS: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// Number of mapped bytes.
const FLAGS_LENGTH: usize = 2;

/// The callback was not interrupted. The crate `notebook` also writes this value when a callback
/// begins.
const CALLBACK_GOES_ON: u8 = 0;
/// The callback was interrupted and has not reacted yet.
const CALLBACK_ASKED: u8 = 1;
/// The callback is ending because of the interrupt; see [`ENDING`].
const CALLBACK_ENDING: u8 = 2;

/// The handler that an earlier cell had installed.
static EARLIER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Whether that handler is running. It may call its predecessor, which is the handler defined here.
static CHAINED: AtomicBool = AtomicBool::new(false);

/// Installs the signal handlers; must run on the cell thread. Returns the descriptor of the file
/// that the crate `notebook` reads.
pub(super) fn listen() -> std::io::Result<c_int> {
    /// Keeps the file open.
    static FILE: OnceLock<OwnedFd> = OnceLock::new();

    let flag = rustix::fs::memfd_create("notebook-stop", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&flag, &[0; FLAGS_LENGTH], 0)?;
    let number = FILE.get_or_init(|| flag).as_raw_fd();
    // SAFETY: the mapping is new and backed by the file; it lives as long as the process.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            FLAGS_LENGTH,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            number,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    FLAGS.store(memory.cast(), Ordering::SeqCst);
    CELL_THREAD.store(this_thread(), Ordering::Relaxed);
    install();
    // SAFETY: all-zero is a valid value of the structure; the handler calls only async-signal-safe
    // functions.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_callback_interrupt as *const () as libc::sighandler_t;
        // `sigaction` does not fail with these arguments.
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    }
    Ok(number)
}

fn flag(place: usize) -> Option<&'static AtomicU8> {
    let first = FLAGS.load(Ordering::SeqCst);
    // SAFETY: the mapping has that many bytes and is never unmapped; all writers use atomic
    // operations or `write`.
    (!first.is_null() && place < FLAGS_LENGTH).then(|| unsafe { &*first.add(place) })
}

fn callback_flag() -> Option<&'static AtomicU8> {
    flag(1)
}

/// Installs the handler for `SIGINT`. It will call a handler that an earlier cell had installed.
fn install() {
    // SAFETY: all-zero is a valid value of the structures; the handler calls only async-signal-safe
    // functions, and the handler that another cell has installed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler();
        // Without `SA_RESTART`, blocked system calls return.
        action.sa_flags = libc::SA_SIGINFO;
        // `sigaction` does not fail with these arguments.
        libc::sigaction(libc::SIGINT, &raw const action, &raw mut before);
        if before.sa_sigaction != handler() {
            EARLIER.store(before.sa_sigaction, Ordering::SeqCst);
        }
    }
}

/// Begins a cell.
pub(super) fn begin() {
    install();
    STATE.store(RUNNING, Ordering::SeqCst);
    tell_notebook(false);
}

/// Ends a cell.
pub(super) fn end() {
    STATE.store(IDLE, Ordering::SeqCst);
    tell_notebook(false);
}

/// Whether this thread runs a cell or callback that was interrupted.
pub(super) fn asked_here() -> bool {
    (STATE.load(Ordering::SeqCst) == ASKED && on_cell_thread()) || callback_asked_here()
}

fn callback_asked_here() -> bool {
    callback_flag().is_some_and(|flag| flag.load(Ordering::SeqCst) == CALLBACK_ASKED)
        && on_comm_thread()
}

/// Records this thread as the comm thread, with no callback running.
pub(super) fn no_callback_runs_here() {
    COMM_THREAD.store(this_thread(), Ordering::Relaxed);
    if let Some(flag) = callback_flag() {
        flag.store(CALLBACK_GOES_ON, Ordering::SeqCst);
    }
}

/// Called when a thread panics; returns whether it is an interrupted callback, which is then
/// ending.
pub(super) fn callback_ending() -> bool {
    let asked = callback_asked_here();
    if asked && let Some(flag) = callback_flag() {
        flag.store(CALLBACK_ENDING, Ordering::SeqCst);
    }
    asked
}

/// Whether the cell was interrupted and has not reacted yet.
pub(super) fn asked() -> bool {
    STATE.load(Ordering::SeqCst) == ASKED
}

/// Called when the cell panics: an interrupted cell is now ending.
pub(super) fn ending() {
    let seen = STATE.compare_exchange(ASKED, ENDING, Ordering::SeqCst, Ordering::SeqCst);
    if seen.is_ok() {
        tell_notebook(false);
    }
}

/// Sends the signal to the cell thread again: the thread may have started to block right after the
/// previous signal.
pub(super) fn wake() {
    wake_thread(&CELL_THREAD, libc::SIGINT);
}

fn wake_thread(thread: &AtomicI32, signal: c_int) {
    // SAFETY: the handler is installed, so the signal only interrupts a blocking call. For a thread
    // that has ended or does not exist yet, the call fails without effect.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            thread.load(Ordering::Relaxed),
            signal,
        );
    }
}

pub(super) fn on_cell_thread() -> bool {
    CELL_THREAD.load(Ordering::Relaxed) == this_thread()
}

pub(super) fn on_comm_thread() -> bool {
    COMM_THREAD.load(Ordering::Relaxed) == this_thread()
}

fn this_thread() -> libc::pid_t {
    // SAFETY: the call has no preconditions.
    unsafe { libc::gettid() }
}

fn tell_notebook(stop: bool) {
    if let Some(flag) = flag(0) {
        flag.store(u8::from(stop), Ordering::SeqCst);
    }
}

/// Repeated until the callback has ended: the callback may start to block right after a signal.
extern "C" fn on_callback_interrupt(_: c_int) {
    let Some(flag) = callback_flag() else { return };
    let asked = flag.compare_exchange(
        CALLBACK_GOES_ON,
        CALLBACK_ASKED,
        Ordering::SeqCst,
        Ordering::SeqCst,
    );
    if (asked.is_ok() || asked == Err(CALLBACK_ASKED)) && !on_comm_thread() {
        // SAFETY: `errno` belongs to the interrupted thread and must be preserved.
        unsafe {
            let errno = *libc::__errno_location();
            wake_thread(&COMM_THREAD, libc::SIGURG);
            *libc::__errno_location() = errno;
        }
    }
}

fn handler() -> libc::sighandler_t {
    on_interrupt as *const () as libc::sighandler_t
}

extern "C" fn on_interrupt(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // A handler installed later often calls its predecessor, which is this handler. In that case
    // user code handles interrupts, and this handler must not react.
    // SAFETY: `sigaction` with a null second argument only reads, and is async-signal-safe;
    // all-zero is a valid value to overwrite; `errno` belongs to the interrupted thread and must be
    // preserved; a handler of an earlier cell takes these arguments, or fewer of them.
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
