//! C library functions in which a cell or a callback blocks. They fail with `ECANCELED` after an
//! [interrupt](super::stop).
//!
//! As in [`interpose`](super::interpose), a definition in the executable overrides that of the C
//! library. On threads of user code and in other roles, the functions behave like the originals.
//!
//! Waits for locks, channels and parked threads (`SYS_futex`) cannot be interrupted. A waiting
//! thread is registered with other threads, which would then access freed memory. The standard
//! library treats every early return as a spurious wake-up and waits again. Unwinding out of a C
//! function is undefined behaviour.

// The C library's interface consists of raw pointers and numbers; each use has a `SAFETY` comment.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::stop;

/// Returns the C library's definition of a function; looks it up once.
pub(super) fn next(name: &CStr, known: &AtomicPtr<c_void>) -> *mut c_void {
    let mut function = known.load(Ordering::Relaxed);
    if function.is_null() {
        // SAFETY: the name is a C string.
        function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        known.store(function, Ordering::Relaxed);
    }
    function
}

fn cancelled<T: From<i8>>() -> T {
    // SAFETY: `errno` of the calling thread is always valid.
    unsafe { *libc::__errno_location() = libc::ECANCELED };
    (-1).into()
}

/// Whether the call failed, for instance because a signal interrupted it.
fn failed<T: From<i8> + PartialOrd>(result: &T) -> bool {
    *result < 0.into()
}

/// Always true. The signal also stops a program that the cell has started, so the wait for it
/// succeeds.
fn always<T>(_: &T) -> bool {
    true
}

/// Defines overrides of functions that return -1 and set `errno`.
macro_rules! waits {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, fails if $overruled:ident;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the C library.")]
            ///
            /// # Safety
            /// Same as for the C function.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
                if stop::asked_here() {
                    return cancelled();
                }
                let name = CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes());
                let function = next(name.unwrap_or_default(), &NEXT);
                if function.is_null() {
                    return cancelled();
                }
                // SAFETY: the C library's function of that name has this type; the caller upholds
                // its contract.
                let result = unsafe {
                    let function: unsafe extern "C" fn($($type),*) -> $result = std::mem::transmute(function);
                    function($($argument),*)
                };
                if $overruled(&result) && stop::asked_here() {
                    return cancelled();
                }
                result
            }
        )*

        fn most() -> Vec<*const c_void> {
            vec![$($name as *const c_void),*]
        }
    };
}

waits! {
    nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> c_int, fails if failed;
    usleep(microseconds: u32) -> c_int, fails if failed;
    waitpid(process: libc::pid_t, status: *mut c_int, options: c_int) -> c_int, fails if always;
    waitid(kind: libc::idtype_t, id: libc::id_t, info: *mut libc::siginfo_t, options: c_int) -> c_int, fails if always;
    poll(sources: *mut libc::pollfd, count: libc::nfds_t, limit: c_int) -> c_int, fails if failed;
    epoll_wait(epoll: c_int, events: *mut libc::epoll_event, count: c_int, limit: c_int) -> c_int, fails if failed;
    accept4(socket: c_int, address: *mut libc::sockaddr, length: *mut libc::socklen_t, flags: c_int) -> c_int, fails if failed;
    connect(socket: c_int, address: *const libc::sockaddr, length: libc::socklen_t) -> c_int, fails if failed;
    recv(socket: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize, fails if failed;
}

/// `clock_nanosleep` of the C library, which returns its error and leaves `errno` unchanged.
///
/// # Safety
/// Same as for the C function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    type Sleep = unsafe extern "C" fn(
        libc::clockid_t,
        c_int,
        *const libc::timespec,
        *mut libc::timespec,
    ) -> c_int;
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

    if stop::asked_here() {
        return libc::ECANCELED;
    }
    let function = next(c"clock_nanosleep", &NEXT);
    if function.is_null() {
        return libc::ENOSYS;
    }
    // SAFETY: the C library's function of that name has this type; the caller upholds its contract.
    let result =
        unsafe { std::mem::transmute::<*mut c_void, Sleep>(function)(clock, flags, time, left) };
    if stop::asked_here() {
        return libc::ECANCELED;
    }
    result
}

/// `pthread_join`, made interruptible by joining in time slices: the C library's function does not
/// return when a signal arrives.
///
/// # Safety
/// Same as for the C function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_join(thread: libc::pthread_t, value: *mut *mut c_void) -> c_int {
    type Join = unsafe extern "C" fn(libc::pthread_t, *mut *mut c_void) -> c_int;
    type TimedJoin =
        unsafe extern "C" fn(libc::pthread_t, *mut *mut c_void, *const libc::timespec) -> c_int;
    static JOIN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    static TIMED: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    const SLICE: i64 = 50_000_000;

    let timed = next(c"pthread_timedjoin_np", &TIMED);
    if !(stop::on_cell_thread() || stop::on_comm_thread()) || timed.is_null() {
        let join = next(c"pthread_join", &JOIN);
        if join.is_null() {
            return libc::ENOSYS;
        }
        // SAFETY: the C library's function of that name has this type; the caller upholds its
        // contract.
        return unsafe { std::mem::transmute::<*mut c_void, Join>(join)(thread, value) };
    }
    // SAFETY: as above.
    let timed = unsafe { std::mem::transmute::<*mut c_void, TimedJoin>(timed) };
    loop {
        if stop::asked_here() {
            return libc::ECANCELED;
        }
        let mut end = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the structures live during the calls; the caller upholds the contract of
        // `pthread_join`.
        let result = unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut end);
            end.tv_nsec += SLICE;
            if end.tv_nsec >= 1_000_000_000 {
                end.tv_nsec -= 1_000_000_000;
                end.tv_sec += 1;
            }
            timed(thread, value, &raw const end)
        };
        if result != libc::ETIMEDOUT {
            return result;
        }
    }
}

/// Keeps the functions above linked into every executable that can become a cell process.
pub(super) fn keep_linked() {
    std::hint::black_box((
        most(),
        clock_nanosleep as *const c_void,
        pthread_join as *const c_void,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result of a function, and the `errno` after it.
    fn with_errno(function: impl FnOnce() -> c_int) -> (c_int, c_int) {
        // SAFETY: `errno` of the calling thread is always valid.
        unsafe {
            *libc::__errno_location() = libc::ENOTTY;
            (function(), *libc::__errno_location())
        }
    }

    #[test]
    fn functions_that_return_their_error_leave_errno_unchanged() {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: -1,
        };
        let sleep = |time: libc::timespec| {
            // SAFETY: the structure lives during the call.
            with_errno(|| unsafe {
                clock_nanosleep(
                    libc::CLOCK_MONOTONIC,
                    0,
                    &raw const time,
                    std::ptr::null_mut(),
                )
            })
        };
        assert_eq!(sleep(time), (libc::EINVAL, libc::ENOTTY));
        time.tv_nsec = 1;
        assert_eq!(sleep(time), (0, libc::ENOTTY));
        // SAFETY: a thread that joins itself gets an error.
        let joined =
            with_errno(|| unsafe { pthread_join(libc::pthread_self(), std::ptr::null_mut()) });
        assert_eq!(joined, (libc::EDEADLK, libc::ENOTTY));
        // The other functions return -1 and set `errno`.
        // SAFETY: the structure lives during the call.
        time.tv_nsec = -1;
        let failed = with_errno(|| unsafe { nanosleep(&raw const time, std::ptr::null_mut()) });
        assert_eq!(failed, (-1, libc::EINVAL));
    }
}
