//! The cell process: loads the libraries of cells, runs them, and reports to the kernel.
//!
//! The engine writes `LOAD_AND_RUN <library> <function>` to this process's original standard input,
//! and waits for [`EXECUTION_COMPLETE`] on its original standard output. These two pipes are moved
//! to other descriptors first; user code gets separate standard streams.

// Unsafe code loads a library, calls a function in it, and changes the environment; each use has a
// `SAFETY` comment.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::c_void;
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use azureml_kernel_helpers::own;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use super::interpose::{self, Identity, Streams};
use super::{runtime, stop, threads};
use crate::compatibility::{self, EXECUTION_COMPLETE, PANICKED};
use crate::link::{self, Frame, Head};
use crate::tag::Tag;
use crate::{env, programs, tag};

/// The exit code of a cell process that cannot continue.
const BROKEN: i32 = 99;

/// Runs cells until the kernel closes the pipe. Never returns.
pub(super) fn run() -> ! {
    let mut diagnostics = std::io::stderr();
    let Err(error) = serve();
    // Lost when standard error already belongs to user code; a frame has reported the error in that
    // case.
    writeln!(diagnostics, "the cell process cannot go on: {error}").ok();
    exit(BROKEN)
}

/// Ends the process without `atexit` handlers and without dropping variables.
fn exit(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

fn serve() -> std::io::Result<Infallible> {
    let commands = BufReader::new(File::from(put_aside(std::io::stdin())?));
    let mut completions = File::from(put_aside(std::io::stdout())?);
    let socket = PathBuf::from(std::env::var_os(env::LINK).ok_or(Errno::NOTCONN)?);
    programs::adopt();
    tag::carry();
    // A failed connection means that the kernel was killed in the meantime.
    let streams = connect(&socket).inspect_err(|_| programs::end(true, &tags(&socket)))?;
    watch_kernel(streams, socket.clone());
    // This thread may detect the end of the kernel before the watching thread, for example when a
    // cell prints.
    run_cells(commands, &mut completions, streams, &socket)
        .inspect_err(|_| programs::end(true, &tags(&socket)))?;
    end_with_kernel(&socket)
}

/// Runs one cell after the other until the kernel closes the pipe.
fn run_cells(
    commands: impl BufRead,
    completions: &mut File,
    streams: &Streams,
    socket: &Path,
) -> std::io::Result<()> {
    let runtime = runtime::load();
    let mut store: *mut c_void = std::ptr::null_mut();
    let mut answer = vec![0; link::MAX_INPUT];
    for line in commands.lines() {
        let line = line?;
        let Some((library, function)) = line
            .strip_prefix("LOAD_AND_RUN ")
            .and_then(|arguments| arguments.rsplit_once(' '))
        else {
            return Err(std::io::Error::other(format!("unknown command `{line}`")));
        };
        interpose::send(Frame::Begin, &[])?;
        if let Some((&link::RUN, run)) = hear(streams, &mut answer)?.split_first() {
            threads::belong_to(link::run_in(run));
        } else {
            writeln!(completions, "{PANICKED}\n{EXECUTION_COMPLETE}")?;
            continue;
        }
        if let Err(error) = check_library(Path::new(library), socket) {
            interpose::send(Frame::LoadError, error.to_string().as_bytes())?;
            exit(BROKEN);
        }
        stop::begin();
        runtime.set_running(true);
        match load_and_run(library, function, store) {
            Ok(new_store) => store = new_store,
            Err(error) => {
                // The source contains the loader's message.
                let reason = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                interpose::send(Frame::LoadError, reason.as_bytes())?;
                exit(BROKEN);
            }
        }
        stop::end();
        runtime.set_running(false);
        runtime.flush();
        // SAFETY: null means all streams of the C standard library.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        interpose::send(Frame::Finish, &[])?;
        // The kernel sends one byte before the lines: an empty packet would mean the end of the
        // connection.
        if let Some((_, lines)) = hear(streams, &mut answer)?.split_first() {
            completions.write_all(lines)?;
        }
        writeln!(completions, "{EXECUTION_COMPLETE}")?;
    }
    Ok(())
}

/// The tags of the programs that cells and `!` lines of this kernel have started.
fn tags(socket: &Path) -> [Tag; 2] {
    [Tag::of_cells(socket), Tag::of_lines(socket)]
}

/// Ends this process after the kernel has gone, with all programs that cells have started,
/// including those in other process groups.
fn end_with_kernel(socket: &Path) -> ! {
    programs::end(true, &tags(socket));
    rustix::process::kill_current_process_group(Signal::KILL).ok();
    exit(BROKEN)
}

/// Checks that no other user can have created the library. Checks its folders up to the kernel's
/// folder, which contains the socket.
fn check_library(library: &Path, socket: &Path) -> std::io::Result<()> {
    let folder = socket.parent().filter(|folder| library.starts_with(folder));
    own::check(library, folder.or(library.parent()).unwrap_or(library))
}

/// Waits for the kernel's reply to a frame.
fn hear<'a>(streams: &Streams, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (length, _) = retry(|| rustix::net::recv(&streams.link, &mut *buffer, RecvFlags::empty()))?;
    Ok(&buffer[..length])
}

/// Runs a function of a library with the pointer to the persistent variables; returns the new
/// pointer.
fn load_and_run(
    library: &str,
    function: &str,
    store: *mut c_void,
) -> Result<*mut c_void, libloading::Error> {
    // SAFETY: the library is a cell that was just compiled; this process exists to run it. It is
    // never unloaded: threads, thread-local destructors and statics of it may outlive the call.
    let library = std::mem::ManuallyDrop::new(unsafe { libloading::Library::new(library) }?);
    // SAFETY: the evaluator generates each function with this signature.
    let function = unsafe {
        library.get::<unsafe extern "C" fn(*mut c_void) -> *mut c_void>(function.as_bytes())
    }?;
    // SAFETY: the store is the return value of the previous function, or null for the first.
    Ok(unsafe { function(store) })
}

/// Moves a standard stream to a descriptor above the standard ones. It is closed in programs that
/// cells start.
fn put_aside(stream: impl AsFd) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(stream, 3)
}

/// Creates the standard streams of user code and connects them to the kernel.
fn connect(path: &Path) -> std::io::Result<&'static Streams> {
    let link = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&link, &SocketAddrUnix::new(path)?)?;

    let (out_read, out_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (err_read, err_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (input, input_kernel) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (comms, comms_kernel) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // Code that bypasses `interpose` reads the end of the file instead of blocking for ever.
    let nothing = File::open("/dev/null")?;
    let display = rustix::fs::memfd_create("notebook-display", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&out_write)?;
    rustix::stdio::dup2_stderr(&err_write)?;

    let passed = [
        out_read.as_fd(),
        err_read.as_fd(),
        input_kernel.as_fd(),
        comms_kernel.as_fd(),
    ];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(link::PASSED_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&passed));
    let hello = Head::of(Frame::Hello).to_bytes();
    rustix::net::sendmsg(
        &link,
        &[IoSlice::new(&hello)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;

    let identity = |fd: BorrowedFd<'_>| Identity::of(fd).ok_or(Errno::BADF);
    let originals = [
        identity(nothing.as_fd())?,
        identity(out_write.as_fd())?,
        identity(err_write.as_fd())?,
        identity(display.as_fd())?,
    ];
    let display_number = display.as_raw_fd();
    let stop_number = stop::listen()?;
    // SAFETY: the process has one thread so far; `child_hook` is called first in `main`.
    unsafe {
        std::env::set_var(env::DISPLAY_FD, display_number.to_string());
        std::env::set_var(env::STOP_FD, stop_number.to_string());
        std::env::set_var(env::DISPLAY_PID, std::process::id().to_string());
        std::env::set_var(env::COMM_FD, comms.as_raw_fd().to_string());
        // Programs that cells start must not take the role of the cell process.
        for variable in [
            env::ROLE,
            env::LINK,
            compatibility::IS_RUNTIME,
            "RUST_BACKTRACE",
        ] {
            std::env::remove_var(variable);
        }
    }
    Ok(interpose::activate(Streams {
        link,
        input,
        pipes: [out_write, err_write],
        _display: display,
        originals,
        display_number,
        comms,
    }))
}

/// Ends this process when the kernel has gone, also during a cell.
fn watch_kernel(streams: &'static Streams, socket: PathBuf) {
    let watch = move || {
        loop {
            // An empty event mask suffices: `POLLHUP` and `POLLERR` are always reported.
            let mut hung_up = [PollFd::new(&streams.link, PollFlags::empty())];
            match rustix::event::poll(&mut hung_up, None) {
                Ok(_)
                    if hung_up[0]
                        .revents()
                        .intersects(PollFlags::HUP | PollFlags::ERR) =>
                {
                    end_with_kernel(&socket);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("kernel-watch".to_owned())
        .spawn(watch)
        .ok();
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
