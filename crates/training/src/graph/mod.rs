//! A step of training that a GPU repeats by itself.
//!
//! With small pictures, a GPU is done with a batch sooner than its kernels are launched one by one: some seventy of them,
//! forwards, backwards and the optimizer's. CUDA can record what a step launches and replay it all at once.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    sync::OnceLock,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use rustix::{
    fs::{self, MemfdFlags},
    io,
};
use tch::Tensor;

use crate::{device::Compute, error::Error, library::function};

/// `graph.cpp`, compiled; empty where it could not be.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/graph.so"));

/// Steps that run before one is recorded: in the first ones, CUDA's libraries choose their kernels and take memory.
const WARM_UP: u32 = 3;

/// What of `graph.cpp` is called. All of it says what went wrong, or nothing.
#[derive(Debug)]
struct Functions {
    stream: unsafe extern "C" fn(*mut *mut c_void) -> *const c_char,
    begin: unsafe extern "C" fn(*mut *mut c_void) -> *const c_char,
    end: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    replay: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    free: unsafe extern "C" fn(*mut c_void) -> *const c_char,
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Makes recording what is launched on a GPU possible in this thread, which must be the one that trains; or says why it is
/// not. CUDA must be loaded, and no tensor be on the GPU yet.
pub(crate) fn prepare(gpu: usize) -> Result<(), String> {
    if LIBRARY.is_empty() {
        return Err("this program was built without CUDA's headers".to_owned());
    }
    let library = load().map_err(|error| error.to_string())?;
    // SAFETY: these are the types of the functions in `graph.cpp`.
    #[expect(unsafe_code, reason = "symbols of a library have no types")]
    let (enter, functions) = unsafe {
        let enter: unsafe extern "C" fn(c_int) -> *const c_char =
            function(&library, c"training_enter_stream")?;
        let functions = Functions {
            stream: function(&library, c"training_stream")?,
            begin: function(&library, c"training_graph_begin")?,
            end: function(&library, c"training_graph_end")?,
            replay: function(&library, c"training_graph_replay")?,
            free: function(&library, c"training_graph_free")?,
        };
        (enter, functions)
    };
    // Its functions are called until the process ends.
    std::mem::forget(library);
    // SAFETY: it catches what C++ throws.
    #[expect(unsafe_code, reason = "a call of C++")]
    said(unsafe { enter(gpu as c_int) })?;
    FUNCTIONS.get_or_init(|| functions);
    Ok(())
}

/// The CUDA stream that this thread launches on, once [`prepare`] has been called.
pub(crate) fn stream() -> Result<*mut c_void, String> {
    let functions = FUNCTIONS.get().ok_or("no stream was entered")?;
    let mut stream = ptr::null_mut();
    // SAFETY: it writes a pointer.
    #[expect(unsafe_code, reason = "a call of C++")]
    said(unsafe { (functions.stream)(&raw mut stream) })?;
    Ok(stream)
}

/// Links the library to the CUDA that is loaded.
fn load() -> Result<Library, Box<dyn std::error::Error>> {
    // The dynamic linker reads files only; this one has no name, and goes with the process.
    let file = fs::memfd_create("training-graph", MemfdFlags::CLOEXEC)?;
    let mut rest = LIBRARY;
    while !rest.is_empty() {
        rest = &rest[io::write(&file, rest)?..];
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: nothing in it runs before it is called.
    #[expect(unsafe_code, reason = "loading a library may run its initialisers")]
    Ok(unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?)
}

/// What `graph.cpp` said.
fn said(problem: *const c_char) -> Result<(), String> {
    if problem.is_null() {
        return Ok(());
    }
    // SAFETY: it is a string that ends in NUL, and lives until the next call.
    #[expect(unsafe_code, reason = "a string of C++")]
    let text = unsafe { CStr::from_ptr(problem) };
    Err(text.to_string_lossy().into_owned())
}

/// A step's kernels as the GPU repeats them, on the tensors that they were recorded with.
#[derive(Debug)]
struct Graph {
    functions: &'static Functions,
    graph: NonNull<c_void>,
}

impl Graph {
    /// Records what `step` launches, without running it.
    fn record(
        functions: &'static Functions,
        step: impl FnOnce() -> Result<Tensor, Error>,
    ) -> Result<(Self, Tensor), Error> {
        let mut graph = ptr::null_mut();
        // SAFETY: it writes a pointer.
        #[expect(unsafe_code, reason = "a call of C++")]
        let begun = said(unsafe { (functions.begin)(&raw mut graph) });
        let graph = NonNull::new(graph).map(|graph| Self { functions, graph });
        begun.map_err(failed)?;
        let graph = graph.ok_or_else(|| failed("there is no memory for a graph".to_owned()))?;
        let result = step();
        // SAFETY: the graph is being recorded.
        #[expect(unsafe_code, reason = "a call of C++")]
        said(unsafe { (functions.end)(graph.graph.as_ptr()) }).map_err(failed)?;
        Ok((graph, result?))
    }

    fn replay(&self) -> Result<(), String> {
        // SAFETY: the graph was recorded.
        #[expect(unsafe_code, reason = "a call of C++")]
        said(unsafe { (self.functions.replay)(self.graph.as_ptr()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nobody else has this pointer. What goes wrong here concerns nobody any more.
        #[expect(unsafe_code, reason = "a call of C++")]
        let _ = unsafe { (self.functions.free)(self.graph.as_ptr()) };
    }
}

/// A step of training, as PyTorch's graphed callables: launched kernel by kernel at first and for batches of an odd size,
/// replayed otherwise. On the CPU it is just called.
///
/// The step gets the numbers of a batch's examples and returns its loss. All else that it reads must be tensors that stay
/// where they are: whatever changes from step to step (weights, the optimizer's memory, the learning rate) changes in place.
#[derive(Debug)]
pub struct GraphedStep<F> {
    step: F,
    batch_size: i64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It is called each time.
    Called,
    /// So many more steps are called before one is recorded.
    WarmingUp(&'static Functions, u32),
    Recorded {
        graph: Graph,
        /// Where the graph finds the batch.
        chosen: Tensor,
        /// Where it leaves the loss.
        loss: Tensor,
    },
}

impl<F: Fn(&Tensor) -> Result<Tensor, Error>> GraphedStep<F> {
    /// A step for batches that are `batch_size` examples, but for the last of an epoch.
    pub fn new(compute: &Compute, batch_size: i64, step: F) -> Self {
        let state = match FUNCTIONS.get() {
            Some(functions) if compute.records_steps() => State::WarmingUp(functions, WARM_UP),
            _ => State::Called,
        };
        Self {
            step,
            batch_size,
            state,
        }
    }

    /// Does a step with these examples, `[n]`, and returns its loss. On a GPU the loss changes with the next step: copy it
    /// to keep it, read it only when it is needed (reading waits for the GPU).
    pub fn run(&mut self, chosen: &Tensor) -> Result<Tensor, Error> {
        if chosen.size() != [self.batch_size] {
            return (self.step)(chosen);
        }
        if let State::WarmingUp(functions, left) = self.state {
            if left > 0 {
                self.state = State::WarmingUp(functions, left - 1);
                return (self.step)(chosen);
            }
            let chosen = chosen.copy();
            let (graph, loss) = Graph::record(functions, || (self.step)(&chosen))?;
            self.state = State::Recorded {
                graph,
                chosen,
                loss,
            };
        }
        match &mut self.state {
            State::Recorded {
                graph,
                chosen: place,
                loss,
            } => {
                place.copy_(chosen);
                graph.replay().map_err(failed)?;
                Ok(loss.shallow_clone())
            }
            _ => (self.step)(chosen),
        }
    }
}

fn failed(problem: String) -> Error {
    Error::Torch { problem }
}
