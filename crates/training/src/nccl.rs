//! Gradient exchange between the GPUs of several processes through NVIDIA's NCCL. The data does not
//! pass through the processor's memory, and a recorded step can repeat the exchange.
//!
//! PyTorch's CUDA library is linked against NCCL, so NCCL is available wherever that library was
//! loaded. Programs are not linked against it.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use tch::{Kind, Tensor};

use crate::{
    error::Error,
    graph,
    library::{function, said},
};

/// The library. Its ABI has had this number since version 2.
const LIBRARY: &str = "libnccl.so.2";

/// Size of NCCL's unique id, in bytes.
const ID: usize = 128;

// Constants from `nccl.h`.
const SUCCESS: c_int = 0;
const FLOAT: c_int = 7;
const SUM: c_int = 0;

/// NCCL's unique id: one process creates it, all others need it to join.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Id(pub [u8; ID]);

/// The functions of NCCL for joining.
pub struct Nccl {
    make_id: unsafe extern "C" fn(*mut Id) -> c_int,
    join: unsafe extern "C" fn(*mut *mut c_void, c_int, Id, c_int) -> c_int,
    all_reduce: AllReduce,
    error_string: ErrorString,
}

type AllReduce = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    *mut c_void,
    *mut c_void,
) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int) -> *const c_char;

/// The joined GPUs. Only used by the thread that trains.
#[derive(Debug)]
pub struct Gpus {
    all_reduce: AllReduce,
    error_string: ErrorString,
    communicator: *mut c_void,
}

impl Nccl {
    /// Opens the library.
    pub fn open() -> Result<Self, String> {
        // SAFETY: it is already loaded as a dependency of PyTorch, so its initialisers have run.
        #[expect(unsafe_code, reason = "loading a library may run its initialisers")]
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| said(&error))?;
        // SAFETY: the types match those in `nccl.h`.
        #[expect(unsafe_code, reason = "symbols of a library have no types")]
        let nccl = unsafe {
            Self {
                make_id: function(&library, c"ncclGetUniqueId")?,
                join: function(&library, c"ncclCommInitRank")?,
                all_reduce: function(&library, c"ncclAllReduce")?,
                error_string: function(&library, c"ncclGetErrorString")?,
            }
        };
        // Leaked, because its functions are called until the process ends.
        std::mem::forget(library);
        Ok(nccl)
    }

    /// Creates the unique id; called by the first process only.
    pub fn make_id(&self) -> Result<Id, String> {
        let mut id = Id([0; ID]);
        // SAFETY: it writes an id.
        #[expect(unsafe_code, reason = "a call of C")]
        let code = unsafe { (self.make_id)(&raw mut id) };
        check(self.error_string, "ncclGetUniqueId", code)?;
        Ok(id)
    }

    /// Joins with this thread's current GPU as rank `rank` of `size`; blocks until all processes
    /// have joined.
    pub fn join(&self, id: Id, rank: usize, size: usize) -> Result<Gpus, String> {
        let mut communicator = ptr::null_mut();
        // SAFETY: it writes a pointer.
        #[expect(unsafe_code, reason = "a call of C")]
        let code = unsafe { (self.join)(&raw mut communicator, size as c_int, id, rank as c_int) };
        check(self.error_string, "ncclCommInitRank", code)?;
        Ok(Gpus {
            all_reduce: self.all_reduce,
            error_string: self.error_string,
            communicator,
        })
    }
}

impl Gpus {
    /// Replaces each element by its sum over all processes, asynchronously on the GPU's stream. The
    /// values must be contiguous 32-bit floats on this process's GPU.
    ///
    /// # Panics
    /// If they are not.
    pub fn add(&self, values: &Tensor) -> Result<(), Error> {
        assert!(
            values.kind() == Kind::Float && values.device().is_cuda() && values.is_contiguous(),
            "what is exchanged by NCCL"
        );
        let failed = |problem| Error::Nccl { problem };
        let stream = graph::stream().map_err(failed)?;
        let address = values.data_ptr();
        // SAFETY: the tensor has this number of floats, and the stream is the one that this thread
        // uses for all launches.
        #[expect(unsafe_code, reason = "a call of C")]
        let code = unsafe {
            (self.all_reduce)(
                address,
                address,
                values.numel(),
                FLOAT,
                SUM,
                self.communicator,
                stream,
            )
        };
        check(self.error_string, "ncclAllReduce", code).map_err(failed)
    }
}

fn check(error_string: ErrorString, function: &str, code: c_int) -> Result<(), String> {
    if code == SUCCESS {
        return Ok(());
    }
    // SAFETY: the function returns a constant string for every number.
    #[expect(unsafe_code, reason = "a call of C, and its string")]
    let text = unsafe { CStr::from_ptr(error_string(code)) };
    Err(format!("{function}: {} ({code})", text.to_string_lossy()))
}
