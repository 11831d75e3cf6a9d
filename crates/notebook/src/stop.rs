//! The stop button, for code that waits or computes for long.

use std::cell::Cell;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// The environment variable with the descriptor of a file of flags, one byte each: [`CELL`],
/// [`CALLBACK`] and [`LISTENER`]. All copies of this crate in the process share the file.
const STOP_FD: &str = "NOTEBOOK_STOP_FD";

/// The offset of the byte that is 1 when the running cell should stop.
const CELL: u64 = 0;

/// The offset of the byte that is 1 when the running callback of a comm should stop.
const CALLBACK: u64 = 1;

/// The offset of the byte that is 1 when a copy of this crate reads comm messages; only one copy
/// can.
const LISTENER: u64 = 2;

thread_local! {
    /// Whether this thread calls the callbacks of comms.
    static CALLS: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the user has pressed the stop button and the running cell should end soon, with
/// its variables kept. In a callback of a widget or comm it returns whether that callback should
/// end: the button stops the callback when no cell runs.
///
/// Sleeping, printing and reading end on their own. Code that waits in another way, or that
/// computes for long, must poll this function: after three seconds the cell is killed and all
/// variables are lost. Always `false` outside a notebook.
pub fn interrupted() -> bool {
    is_set(if CALLS.get() { CALLBACK } else { CELL })
}

/// Claims comm messages for this copy of the crate; `false` when another copy has claimed them.
pub(crate) fn claim_comms() -> bool {
    if is_set(LISTENER) {
        return false;
    }
    set(LISTENER, 1);
    true
}

/// Marks the current thread as the one that calls the callbacks.
pub(crate) fn enter_callbacks() {
    CALLS.set(true);
}

/// Resets the flag of an earlier callback before a callback begins.
pub(crate) fn begin_callback() {
    set(CALLBACK, 0);
}

fn is_set(place: u64) -> bool {
    file().is_some_and(|file| {
        let mut byte = [0];
        file.read_at(&mut byte, place)
            .is_ok_and(|length| length == 1)
            && byte == [1]
    })
}

fn set(place: u64, byte: u8) {
    if let Some(file) = file() {
        // The file is in memory, so a write has no reason to fail.
        file.write_at(&[byte], place).ok();
    }
}

fn file() -> Option<ManuallyDrop<File>> {
    static FD: OnceLock<Option<RawFd>> = OnceLock::new();
    let fd = (*FD.get_or_init(|| crate::channel::descriptor(STOP_FD)))?;
    // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop`
    // leaves it open here.
    #[allow(unsafe_code)]
    let file = unsafe { File::from_raw_fd(fd) };
    Some(ManuallyDrop::new(file))
}
