//! The stop button, for code that waits by itself.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// The environment variable that names the descriptor of a file whose first byte is 1 when the cell is to stop.
const STOP_FD: &str = "NOTEBOOK_STOP_FD";

/// Whether the reader has pressed the stop button and the running cell should end soon; variables stay then.
///
/// Sleeping, printing and reading in a cell end by themselves. Code that waits in another way or computes for long asks this now
/// and then; after three seconds the cell is killed, with all variables. Never true outside a notebook.
pub fn interrupted() -> bool {
    static FD: OnceLock<Option<RawFd>> = OnceLock::new();
    let fd = FD.get_or_init(|| crate::channel::descriptor(STOP_FD));
    fd.is_some_and(|fd| {
        // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop` leaves it open here.
        #[allow(unsafe_code)]
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
        let mut byte = [0];
        file.read_at(&mut byte, 0).is_ok_and(|length| length == 1) && byte == [1]
    })
}
