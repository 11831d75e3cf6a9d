//! Assigns threads to cells: output of a thread after its cell has ended is shown below that cell.
//!
//! As in [`interpose`](super::interpose), a definition in the executable overrides that of the C
//! library, so every call of `pthread_create` is intercepted. A new thread belongs to the cell of
//! the thread that starts it.

// The C library's interface consists of raw pointers and numbers; each use has a `SAFETY` comment.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::waits::next;

type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

thread_local! {
    /// The run that has started this thread.
    static RUN: Cell<u32> = const { Cell::new(0) };
}

/// Number of live threads that cells have started.
static LIVING: AtomicUsize = AtomicUsize::new(0);

/// Assigns this thread, and all threads that it starts later, to a run.
pub(super) fn belong_to(run: u32) {
    RUN.set(run);
}

/// The run of this thread; 0 for threads of the kernel's code.
pub(super) fn run() -> u32 {
    RUN.try_with(Cell::get).unwrap_or_default()
}

/// Whether any thread that a cell has started is alive.
pub(super) fn are_there() -> bool {
    LIVING.load(Ordering::Relaxed) > 0
}

/// Start routine and argument of a new thread.
struct Begun {
    start: Start,
    argument: *mut c_void,
    run: u32,
}

/// Returns the key whose destructor decrements [`LIVING`] when a thread ends, or `None` if the
/// process has no keys left.
///
/// The C library also calls the destructor when `pthread_exit` or `pthread_cancel` ends the thread.
/// Then the start routine does not return, and destructors of Rust's thread-local values may have
/// run before.
fn ends() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key is written before the call returns; the destructor is never unloaded.
        let result = unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        (result == 0).then_some(key)
    })
}

unsafe extern "C" fn end(_: *mut c_void) {
    LIVING.fetch_sub(1, Ordering::Relaxed);
}

/// Start routine of all threads of cells: assigns the thread to its run, and counts its end.
unsafe extern "C-unwind" fn begin(begun: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` below allocated it for this thread alone. The function holds no
    // value that must be dropped if `pthread_exit` ends the thread.
    let Begun {
        start,
        argument,
        run,
    } = *unsafe { Box::from_raw(begun.cast::<Begun>()) };
    // SAFETY: the key exists. The C library only calls the destructor if the value is not null.
    let is_set = ends().is_some_and(|key| unsafe {
        libc::pthread_setspecific(key, std::ptr::dangling::<c_void>()) == 0
    });
    belong_to(run);
    // SAFETY: the caller of `pthread_create` guarantees it.
    let value = unsafe { start(argument) };
    if !is_set {
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
    value
}

/// `pthread_create` of the C library.
///
/// # Safety
/// Same as for the C function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    type Create = unsafe extern "C" fn(
        *mut libc::pthread_t,
        *const libc::pthread_attr_t,
        Start,
        *mut c_void,
    ) -> c_int;
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

    let create = next(c"pthread_create", &NEXT);
    if create.is_null() {
        return libc::ENOSYS;
    }
    // SAFETY: the C library's function of that name has this type.
    let create = unsafe { std::mem::transmute::<*mut c_void, Create>(create) };
    let run = run();
    if run == 0 {
        // SAFETY: the caller upholds the contract of the C function.
        return unsafe { create(thread, attributes, start, argument) };
    }
    let begun = Box::into_raw(Box::new(Begun {
        start,
        argument,
        run,
    }));
    LIVING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: as above; the new thread takes ownership of `begun`.
    let result = unsafe { create(thread, attributes, begin, begun.cast()) };
    if result != 0 {
        LIVING.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: no thread was started that would own it.
        drop(unsafe { Box::from_raw(begun) });
    }
    result
}

/// Keeps the function above linked into every executable that can become a cell process.
pub(super) fn keep_linked() {
    std::hint::black_box(pthread_create as *const c_void);
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C-unwind" {
        fn pthread_exit(value: *mut c_void) -> !;
        fn pthread_cancel(thread: libc::pthread_t) -> c_int;
        fn poll(sources: *mut libc::pollfd, count: libc::nfds_t, limit: c_int) -> c_int;
        fn clock_nanosleep(
            clock: libc::clockid_t,
            flags: c_int,
            time: *const libc::timespec,
            left: *mut libc::timespec,
        ) -> c_int;
    }

    unsafe extern "C-unwind" fn returns(_: *mut c_void) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe extern "C-unwind" fn exits(_: *mut c_void) -> *mut c_void {
        // SAFETY: this frame and that of `begin` hold no values to drop.
        unsafe { pthread_exit(std::ptr::null_mut()) }
    }

    unsafe extern "C-unwind" fn polls(_: *mut c_void) -> *mut c_void {
        // SAFETY: as above, when the thread is cancelled.
        unsafe { poll(std::ptr::null_mut(), 0, -1) };
        std::ptr::null_mut()
    }

    unsafe extern "C-unwind" fn sleeps(_: *mut c_void) -> *mut c_void {
        let time = libc::timespec {
            tv_sec: 3600,
            tv_nsec: 0,
        };
        // SAFETY: as above.
        unsafe {
            clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                0,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
        std::ptr::null_mut()
    }

    #[test]
    fn every_way_to_end_a_thread_is_counted() {
        belong_to(1);
        let cases: [(Start, bool); 4] = [
            (returns, false),
            (exits, false),
            (polls, true),
            (sleeps, true),
        ];
        for (start, is_cancelled) in cases {
            // SAFETY: the thread is joined once.
            let result = unsafe {
                let mut thread = std::mem::zeroed();
                pthread_create(
                    &raw mut thread,
                    std::ptr::null(),
                    start,
                    std::ptr::null_mut(),
                );
                if is_cancelled {
                    assert!(are_there());
                    pthread_cancel(thread);
                }
                libc::pthread_join(thread, std::ptr::null_mut())
            };
            assert_eq!(result, 0);
            assert!(!are_there());
        }
    }
}
