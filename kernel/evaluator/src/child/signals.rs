//! The stop button, as the cell process sees it: `SIGINT`.

// A signal handler has C's interface; each use says why it is sound.
#![allow(unsafe_code)]

use std::ffi::c_int;

/// Ends the process on `SIGINT`, unless user code has put a handler of its own in place: then stopping is left to it, for as long
/// as the kernel is willing to wait.
pub(super) fn stop_on_interrupt() {
    // SAFETY: the handler calls nothing but functions that are safe in signal handlers.
    unsafe {
        libc::signal(libc::SIGINT, handler());
    }
}

fn handler() -> libc::sighandler_t {
    on_interrupt as *const () as libc::sighandler_t
}

extern "C" fn on_interrupt(signal: c_int) {
    // Handlers that come later often call the one that was there before them, this one.
    // SAFETY: `sigaction` with a null second argument only reads, and is safe in a signal handler; all-zero is a valid value for it
    // to overwrite; `kill` is safe in a signal handler.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(signal, std::ptr::null(), &raw mut current) == 0;
        if known && current.sa_sigaction == handler() {
            libc::kill(libc::getpid(), libc::SIGKILL);
        }
    }
}
