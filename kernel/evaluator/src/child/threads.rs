//! Which cell has started a thread: what the thread prints when no cell runs any more belongs below that cell.
//!
//! As in [`interpose`](super::interpose), a definition in the executable comes before the C library's, so `pthread_create` is seen
//! whoever calls it. A thread belongs to the cell of the thread that has started it.

// The C library's interface is made of raw pointers and numbers; each use says why it is sound.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::waits::next;

type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

thread_local! {
    /// The number of the run that has started this thread.
    static RUN: Cell<u32> = const { Cell::new(0) };
}

/// How many threads of cells there are.
static LIVING: AtomicUsize = AtomicUsize::new(0);

/// This thread, and those that it starts from now on, belong to this run.
pub(super) fn belong_to(run: u32) {
    RUN.set(run);
}

/// The run that this thread belongs to; 0 for the kernel's own.
pub(super) fn run() -> u32 {
    RUN.try_with(Cell::get).unwrap_or_default()
}

/// Whether there are threads that cells have started.
pub(super) fn are_there() -> bool {
    LIVING.load(Ordering::Relaxed) > 0
}

/// What a new thread is to do.
struct Begun {
    start: Start,
    argument: *mut c_void,
    run: u32,
}

/// What a new thread of a cell does first and last.
unsafe extern "C-unwind" fn begin(begun: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` below has made it for this thread alone. Nothing is left here to drop, should the thread be ended by
    // `pthread_exit`.
    let Begun {
        start,
        argument,
        run,
    } = *unsafe { Box::from_raw(begun.cast::<Begun>()) };
    belong_to(run);
    // SAFETY: as whoever has started the thread promises.
    let value = unsafe { start(argument) };
    LIVING.fetch_sub(1, Ordering::Relaxed);
    value
}

/// `pthread_create` of the C library.
///
/// # Safety
/// As for the C function.
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
        // SAFETY: the caller keeps the conditions of the C function.
        return unsafe { create(thread, attributes, start, argument) };
    }
    let begun = Box::into_raw(Box::new(Begun {
        start,
        argument,
        run,
    }));
    LIVING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the same; the new thread takes what `begun` points to.
    let result = unsafe { create(thread, attributes, begin, begun.cast()) };
    if result != 0 {
        LIVING.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: there is no thread that would take it.
        drop(unsafe { Box::from_raw(begun) });
    }
    result
}

/// Makes sure that the function above is part of every executable that can be a cell process.
pub(super) fn keep_linked() {
    std::hint::black_box(pthread_create as *const c_void);
}
