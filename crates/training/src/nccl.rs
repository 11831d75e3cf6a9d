//! The GPUs of several processes exchange gradients among themselves, by NVIDIA's NCCL: nothing passes through the
//! processor's memory, and a recorded step repeats it.
//!
//! PyTorch's CUDA library is linked to NCCL, so where that was loaded this is there too. Programs are not linked to it.

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

/// The library. Its binary interface has had this number since version 2.
const LIBRARY: &str = "libnccl.so.2";

/// How long what joins processes is, in bytes.
const ID: usize = 128;

// What `nccl.h` says.
const SUCCESS: c_int = 0;
const FLOAT: c_int = 7;
const SUM: c_int = 0;

/// What one process makes and all others have to know to join it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Id(pub [u8; ID]);

/// NCCL, with what it takes to join.
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

/// The GPUs that have joined. Only the thread that trains calls it.
#[derive(Debug)]
pub struct Gpus {
    all_reduce: AllReduce,
    error_string: ErrorString,
    communicator: *mut c_void,
}

impl Nccl {
    /// Opens the library.
    pub fn open() -> Result<Self, String> {
        // SAFETY: it is loaded already, as a part of PyTorch's; its initialisers have run.
        #[expect(unsafe_code, reason = "loading a library may run its initialisers")]
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| said(&error))?;
        // SAFETY: these are the types that `nccl.h` has.
        #[expect(unsafe_code, reason = "symbols of a library have no types")]
        let nccl = unsafe {
            Self {
                make_id: function(&library, c"ncclGetUniqueId")?,
                join: function(&library, c"ncclCommInitRank")?,
                all_reduce: function(&library, c"ncclAllReduce")?,
                error_string: function(&library, c"ncclGetErrorString")?,
            }
        };
        // Its functions are called until the process ends.
        std::mem::forget(library);
        Ok(nccl)
    }

    /// What the first process makes for all.
    pub fn make_id(&self) -> Result<Id, String> {
        let mut id = Id([0; ID]);
        // SAFETY: it writes an id.
        #[expect(unsafe_code, reason = "a call of C")]
        let code = unsafe { (self.make_id)(&raw mut id) };
        check(self.error_string, "ncclGetUniqueId", code)?;
        Ok(id)
    }

    /// Joins with this thread's current GPU, as number `rank` of `size`; waits until all have.
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
    /// Replaces each element by its sum over all processes, when the GPU comes to it: 32-bit floats in a row in this
    /// process's GPU.
    ///
    /// # Panics
    /// When they are anything else.
    pub fn add(&self, values: &Tensor) -> Result<(), Error> {
        assert!(
            values.kind() == Kind::Float && values.device().is_cuda() && values.is_contiguous(),
            "what is exchanged by NCCL"
        );
        let failed = |problem| Error::Nccl { problem };
        let stream = graph::stream().map_err(failed)?;
        let address = values.data_ptr();
        // SAFETY: so many floats lie there, and the stream is the one that all else of this thread is launched on.
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
    // SAFETY: it gives a constant string for every number.
    #[expect(unsafe_code, reason = "a call of C, and its string")]
    let text = unsafe { CStr::from_ptr(error_string(code)) };
    Err(format!("{function}: {} ({code})", text.to_string_lossy()))
}
