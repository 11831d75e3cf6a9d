//! The stop button, as the cell process sees it: `SIGINT` for the cell, `SIGURG` for the callback of a comm.
//!
//! The handler only takes note of it. From then on, what the cell's thread waits for in the C library fails with `ECANCELED`
//! ([`waits`](super::waits), [`interpose`](super::interpose)). Rust makes an error or a panic of that, which ends the cell like any
//! other, so variables stay; nothing unwinds through C. A cell that comes to no such point is killed by the kernel. The same holds of
//! callbacks on their thread, which the button means when no cell runs. Their signal is one that does nothing in a program that does not
//! expect it, and that never reaches a cell.

// A signal handler has C's interface; each use says why it is sound.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

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

/// The thread that calls the callbacks of comms; 0 until there is one.
static COMM_THREAD: AtomicI32 = AtomicI32::new(0);

/// The memory of the file in which the crate `notebook` reads what is to stop: a byte for the cell, which is 1 or 0, and one for the callback. What follows is the crate's own.
static FLAGS: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// How many bytes that file has.
const FLAGS_LENGTH: usize = 2;

/// No callback is to stop; the crate `notebook`, too, writes this when one begins.
const CALLBACK_GOES_ON: u8 = 0;
/// One was asked to stop and has not seen it.
const CALLBACK_ASKED: u8 = 1;
/// It has seen it; see [`ENDING`].
const CALLBACK_ENDING: u8 = 2;

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
    rustix::io::pwrite(&flag, &[0; FLAGS_LENGTH], 0)?;
    let number = FILE.get_or_init(|| flag).as_raw_fd();
    // SAFETY: new memory, backed by the file; it stays for the life of the process.
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
    // SAFETY: all-zero is a valid value of the structure; the handler calls nothing but functions that are safe in signal handlers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_callback_interrupt as *const () as libc::sighandler_t;
        // With these arguments it does not fail.
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    }
    Ok(number)
}

fn flag(place: usize) -> Option<&'static AtomicU8> {
    let first = FLAGS.load(Ordering::SeqCst);
    // SAFETY: the memory has that many bytes and stays; everybody changes them atomically, or as a whole by `write`.
    (!first.is_null() && place < FLAGS_LENGTH).then(|| unsafe { &*first.add(place) })
}

fn callback_flag() -> Option<&'static AtomicU8> {
    flag(1)
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

/// Whether this is the thread of a cell or callback that is to stop.
pub(super) fn asked_here() -> bool {
    (STATE.load(Ordering::SeqCst) == ASKED && on_cell_thread()) || callback_asked_here()
}

fn callback_asked_here() -> bool {
    callback_flag().is_some_and(|flag| flag.load(Ordering::SeqCst) == CALLBACK_ASKED)
        && on_comm_thread()
}

/// This thread calls the callbacks of comms, and waits for the next message.
pub(super) fn no_callback_runs_here() {
    COMM_THREAD.store(this_thread(), Ordering::Relaxed);
    if let Some(flag) = callback_flag() {
        flag.store(CALLBACK_GOES_ON, Ordering::SeqCst);
    }
}

/// A thread panics: whether it is a callback on its way out because it is to stop.
pub(super) fn callback_ending() -> bool {
    let asked = callback_asked_here();
    if asked && let Some(flag) = callback_flag() {
        flag.store(CALLBACK_ENDING, Ordering::SeqCst);
    }
    asked
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
    wake_thread(&CELL_THREAD, libc::SIGINT);
}

fn wake_thread(thread: &AtomicI32, signal: c_int) {
    // SAFETY: the handler is in place, so the signal has no other effect than to interrupt a wait. A thread that is not there any more, or
    // not yet, is an error that changes nothing.
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

/// Comes again and again until the callback has ended, so one that began to wait right after it was woken is woken again.
extern "C" fn on_callback_interrupt(_: c_int) {
    let Some(flag) = callback_flag() else { return };
    let asked = flag.compare_exchange(
        CALLBACK_GOES_ON,
        CALLBACK_ASKED,
        Ordering::SeqCst,
        Ordering::SeqCst,
    );
    if (asked.is_ok() || asked == Err(CALLBACK_ASKED)) && !on_comm_thread() {
        // SAFETY: `errno` belongs to the interrupted thread, which must find it as it was.
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
