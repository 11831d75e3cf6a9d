//! CUDA graphs: a recorded training step that the GPU replays.
//!
//! With small images, the GPU finishes a batch before all of its kernels are launched one by one:
//! about seventy for the forward pass, the backward pass and the optimizer. A CUDA graph records
//! the launches of a step and replays them all at once.

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

/// The compiled `graph.cpp`; empty if it could not be compiled.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/graph.so"));

/// Number of steps before one is recorded. During the first steps, CUDA's libraries choose their
/// kernels and allocate memory.
const WARM_UP: u32 = 3;

/// The functions of `graph.cpp`. Each returns an error message or null.
#[derive(Debug)]
struct Functions {
    stream: unsafe extern "C" fn(*mut *mut c_void) -> *const c_char,
    begin: unsafe extern "C" fn(*mut *mut c_void) -> *const c_char,
    end: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    replay: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    free: unsafe extern "C" fn(*mut c_void) -> *const c_char,
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Prepares recording on a GPU in this thread, which must be the one that trains; returns the
/// reason if recording is not possible. CUDA must be loaded, and no tensor may be on the GPU yet.
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
    // Leaked, because its functions are called until the process ends.
    std::mem::forget(library);
    // SAFETY: the function catches C++ exceptions.
    #[expect(unsafe_code, reason = "a call of C++")]
    said(unsafe { enter(gpu as c_int) })?;
    FUNCTIONS.get_or_init(|| functions);
    Ok(())
}

/// Returns the CUDA stream on which this thread launches kernels. [`prepare`] must be called first.
pub(crate) fn stream() -> Result<*mut c_void, String> {
    let functions = FUNCTIONS.get().ok_or("no stream was entered")?;
    let mut stream = ptr::null_mut();
    // SAFETY: it writes a pointer.
    #[expect(unsafe_code, reason = "a call of C++")]
    said(unsafe { (functions.stream)(&raw mut stream) })?;
    Ok(stream)
}

/// Loads the library, which links to the loaded CUDA.
fn load() -> Result<Library, Box<dyn std::error::Error>> {
    // The dynamic linker only reads files. This file has no name and disappears with the process.
    let file = fs::memfd_create("training-graph", MemfdFlags::CLOEXEC)?;
    let mut rest = LIBRARY;
    while !rest.is_empty() {
        rest = &rest[io::write(&file, rest)?..];
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: no code of the library runs before one of its functions is called.
    #[expect(unsafe_code, reason = "loading a library may run its initialisers")]
    Ok(unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?)
}

/// Converts an error message of `graph.cpp` to a result.
fn said(problem: *const c_char) -> Result<(), String> {
    if problem.is_null() {
        return Ok(());
    }
    // SAFETY: the string ends in NUL and is valid until the next call.
    #[expect(unsafe_code, reason = "a string of C++")]
    let text = unsafe { CStr::from_ptr(problem) };
    Err(text.to_string_lossy().into_owned())
}

/// The recorded kernels of a step. They use the tensors with which they were recorded.
#[derive(Debug)]
struct Graph {
    functions: &'static Functions,
    graph: NonNull<c_void>,
}

impl Graph {
    /// Records the kernels that `step` launches, without running them.
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
        // SAFETY: nothing else has this pointer. The error is ignored, because the graph is not
        // used again.
        #[expect(unsafe_code, reason = "a call of C++")]
        let _ = unsafe { (self.functions.free)(self.graph.as_ptr()) };
    }
}

/// A training step with the semantics of PyTorch's graphed callables: the first steps and batches
/// of another size are launched kernel by kernel, all others are replayed. On the CPU, the step is
/// only called.
///
/// The step gets the indices of a batch's examples and returns its loss. All other tensors that it
/// reads must stay at the same address: values that change between steps (weights, the optimizer's
/// state, the learning rate) must change in place.
#[derive(Debug)]
pub struct GraphedStep<F> {
    step: F,
    batch_size: i64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Each run calls the step.
    Called,
    /// The number of steps to call before one is recorded.
    WarmingUp(&'static Functions, u32),
    Recorded {
        graph: Graph,
        /// The tensor from which the graph reads the batch's indices.
        chosen: Tensor,
        /// The tensor to which the graph writes the loss.
        loss: Tensor,
    },
}

impl<F: Fn(&Tensor) -> Result<Tensor, Error>> GraphedStep<F> {
    /// Creates a step for batches of `batch_size` examples; only the last batch of an epoch may
    /// differ.
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

    /// Runs a step with these examples, `[n]`, and returns its loss. On a GPU, the next step
    /// overwrites the loss: copy it to keep it. Reading it waits for the GPU, so read it only when
    /// it is needed.
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
