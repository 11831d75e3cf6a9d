//! The stop button, for code that waits by itself.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use crate::comm;

/// The environment variable that names the descriptor of a file whose first byte is 1 when the cell is to stop, and its second when the
/// callback of a comm is. Where there is more than one copy of this crate in the process, they share it.
const STOP_FD: &str = "NOTEBOOK_STOP_FD";

/// Where the file says it of the cell.
const CELL: u64 = 0;

/// Where the file says it of the callback.
const CALLBACK: u64 = 1;

/// Where a copy of this crate notes that it listens to comms, which only one can.
const LISTENER: u64 = 2;

/// Whether the reader has pressed the stop button and the running cell should end soon; variables stay then. In a callback of a widget or
/// comm it is that callback which should end: the button stops it when no cell runs.
///
/// Sleeping, printing and reading end by themselves. Code that waits in another way or computes for long asks this now
/// and then; after three seconds the cell is killed, with all variables. Never true outside a notebook.
pub fn interrupted() -> bool {
    is_set(if comm::in_callback() { CALLBACK } else { CELL })
}

/// Whether this copy of the crate may listen to comms, because no other does.
pub(crate) fn claim_comms() -> bool {
    if is_set(LISTENER) {
        return false;
    }
    set(LISTENER, 1);
    true
}

/// A callback begins: forgets that an earlier one was to stop.
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
        // It is memory: there is no reason to fail.
        file.write_at(&[byte], place).ok();
    }
}

fn file() -> Option<ManuallyDrop<File>> {
    static FD: OnceLock<Option<RawFd>> = OnceLock::new();
    let fd = (*FD.get_or_init(|| crate::channel::descriptor(STOP_FD)))?;
    // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop` leaves it open here.
    #[allow(unsafe_code)]
    let file = unsafe { File::from_raw_fd(fd) };
    Some(ManuallyDrop::new(file))
}
