//! The process that runs cells: takes libraries from `evcxr`, runs them, reports to the kernel.
//!
//! `evcxr` writes `LOAD_AND_RUN <library> <function>` to the standard input that it gave this process, and waits for
//! `EVCXR_EXECUTION_COMPLETE` on the standard output that it gave. That pair of pipes is put aside first of all; user code gets
//! streams of its own.

// Loading a library and calling a function in it, and the descriptors under the standard streams: each use says why it is sound.
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
use crate::link::{self, Frame};
use crate::tag::Tag;
use crate::{env, programs, tag};

/// Says to `evcxr` that the function has returned.
const EXECUTION_COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";

/// Says to `evcxr` that the function has ended by a panic, so the variables that it defines do not exist.
const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";

/// The exit code when this process cannot do its work.
const BROKEN: i32 = 99;

/// Runs cells until the kernel closes the pipe. Never returns.
pub(super) fn run() -> ! {
    let mut diagnostics = std::io::stderr();
    let Err(error) = serve();
    // Lost when the streams belong to user code already; then the kernel has learned it by a frame.
    writeln!(diagnostics, "the cell process cannot go on: {error}").ok();
    exit(BROKEN)
}

/// Leaves without running what user code registered to run at exit: variables are not dropped either.
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
    // Without a kernel behind the socket, it has been killed meanwhile.
    let streams = connect(&socket).inspect_err(|_| programs::end(true, &tags(&socket)))?;
    watch_kernel(streams, socket.clone());
    // This thread may see before the other one that the kernel is gone: a cell that prints does.
    run_cells(commands, &mut completions, streams, &socket)
        .inspect_err(|_| programs::end(true, &tags(&socket)))?;
    end_with_kernel(&socket)
}

/// Runs one cell after the other, until the kernel closes the pipe.
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
                // The loader's own words are in the source.
                let reason = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                interpose::send(Frame::LoadError, reason.as_bytes())?;
                exit(BROKEN);
            }
        }
        stop::end();
        runtime.set_running(false);
        runtime.flush();
        // SAFETY: null asks for all streams of C's standard library.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        interpose::send(Frame::Finish, &[])?;
        // The first byte only makes sure that an answer is never an empty packet, which would mean the end.
        if let Some((_, lines)) = hear(streams, &mut answer)?.split_first() {
            completions.write_all(lines)?;
        }
        writeln!(completions, "{EXECUTION_COMPLETE}")?;
    }
    Ok(())
}

/// What this kernel's cells and lines have started.
fn tags(socket: &Path) -> [Tag; 2] {
    [Tag::of_cells(socket), Tag::of_lines(socket)]
}

/// Ends this process because the kernel is gone, with all programs that cells have started, wherever those
/// have gone.
fn end_with_kernel(socket: &Path) -> ! {
    programs::end(true, &tags(socket));
    rustix::process::kill_current_process_group(Signal::KILL).ok();
    exit(BROKEN)
}

/// Checks that nobody else can have made a library: up to the kernel's folder, where the socket is.
fn check_library(library: &Path, socket: &Path) -> std::io::Result<()> {
    let folder = socket.parent().filter(|folder| library.starts_with(folder));
    own::check(library, folder.or(library.parent()).unwrap_or(library))
}

/// What the kernel answers to a frame that asks for an answer.
fn hear<'a>(streams: &Streams, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (length, _) = retry(|| rustix::net::recv(&streams.link, &mut *buffer, RecvFlags::empty()))?;
    Ok(&buffer[..length])
}

/// Runs a function of a library on the variables that live on; gives where they are now.
fn load_and_run(
    library: &str,
    function: &str,
    store: *mut c_void,
) -> Result<*mut c_void, libloading::Error> {
    // SAFETY: the library is a cell that was just compiled; running it is what this process is for. It is never unloaded: threads,
    // thread-local destructors and statics of it may outlive the call.
    let library = std::mem::ManuallyDrop::new(unsafe { libloading::Library::new(library) }?);
    // SAFETY: `evcxr` generates each function with this signature.
    let function = unsafe {
        library.get::<unsafe extern "C" fn(*mut c_void) -> *mut c_void>(function.as_bytes())
    }?;
    // SAFETY: the store is what the function before this one gave, or null for the first.
    Ok(unsafe { function(store) })
}

/// Moves a standard stream out of user code's reach: to a number above the standard ones, closed in programs that cells start.
fn put_aside(stream: impl AsFd) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(stream, 3)
}

/// Gives user code its own standard streams and connects them to the kernel.
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
    // Whatever bypasses `interpose` finds the end of the input instead of waiting for ever.
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
    let hello = link::head(Frame::Hello, 0, 0);
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
    // SAFETY: there is one thread so far; `child_hook` is the first thing in `main`.
    unsafe {
        std::env::set_var(env::DISPLAY_FD, display_number.to_string());
        std::env::set_var(env::STOP_FD, stop_number.to_string());
        std::env::set_var(env::DISPLAY_PID, std::process::id().to_string());
        std::env::set_var(env::COMM_FD, comms.as_raw_fd().to_string());
        // What cells start is no cell process.
        for variable in [
            env::ROLE,
            env::LINK,
            env::EVCXR_IS_RUNTIME,
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

/// Ends this process when the kernel is gone, also in the middle of a cell.
fn watch_kernel(streams: &'static Streams, socket: PathBuf) {
    let watch = move || {
        loop {
            // No event is asked for: hanging up is always reported.
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
