//! Data-parallel training: several processes joined by MPI, each with its share of every batch.
//!
//! Programs are not linked against MPI, so that they also run on machines without it. A program
//! that was started by Open MPI's `mpirun` opens MPI's library at run time. If each process has its
//! own GPU, the GPUs exchange gradients through NCCL, otherwise through the processor's memory.

use std::{
    array,
    cell::OnceCell,
    env,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::OnceLock,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use tch::{Device, Kind, Tensor};

use crate::{
    error::Error,
    library::{function, said},
    nccl::{Gpus, Id, Nccl},
    optimizer::{floats_mut, gather},
};

/// Open MPI's library. Its ABI has had this number since version 3.
const LIBRARY: &str = "libmpi.so.40";

/// Maximum number of elements of one call; MPI counts them in a C `int`.
const MOST: usize = 1 << 30;

// Constants from Open MPI's `mpi.h`.
const SUCCESS: c_int = 0;
const THREAD_FUNNELED: c_int = 1;
const MAX_ERROR_STRING: usize = 256;
const IN_PLACE: *const c_void = ptr::without_provenance(1);

/// A communicator, a data type or an operation: the address of an object in the library.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Handle(*mut c_void);

// SAFETY: the objects belong to the library and stay at the same address until the process ends.
#[expect(unsafe_code, reason = "the address of an object that stays")]
unsafe impl Send for Handle {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the address of an object that stays")]
unsafe impl Sync for Handle {}

/// The functions and objects of Open MPI that this module uses. The functions are only called from
/// the thread that joined.
#[derive(Debug)]
struct Mpi {
    all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, c_int, Handle, Handle, Handle) -> c_int,
    broadcast: unsafe extern "C" fn(*mut c_void, c_int, Handle, c_int, Handle) -> c_int,
    error_string: unsafe extern "C" fn(c_int, *mut c_char, *mut c_int) -> c_int,
    finalize: unsafe extern "C" fn() -> c_int,
    abort: unsafe extern "C" fn(Handle, c_int) -> c_int,
    world: Handle,
    float: Handle,
    double: Handle,
    sum: Handle,
}

type Initialise =
    unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int;
type Ask = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type SetErrorHandler = unsafe extern "C" fn(Handle, Handle) -> c_int;

static MPI: OnceLock<Mpi> = OnceLock::new();

/// The processes of this training, often only one.
#[derive(Debug)]
pub struct Processes {
    place: Place,
    /// `None` when there is only one process.
    mpi: Option<&'static Mpi>,
    /// Set when the GPUs exchange gradients directly.
    gpus: OnceCell<Gpus>,
}

/// The position of a process among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Rank of this process, from 0.
    rank: usize,
    /// Number of processes.
    size: usize,
    /// Rank among the processes of the same machine, from 0.
    local_rank: usize,
    /// Number of processes on the same machine.
    local_size: usize,
}

/// A process's share of a batch.
#[derive(Debug)]
pub struct Share {
    /// Indices of its examples, at least one.
    pub examples: Tensor,
    /// Weight of the share: its fraction of the batch.
    weight: f64,
}

impl Processes {
    /// Joins the processes that were started together with this one; with a single process it only
    /// returns. Must be called at most once, from the thread that trains, in a program that is run
    /// by [`error::exit`](crate::error::exit): that function finalizes MPI at the end, or aborts
    /// the other processes when this one fails.
    pub fn join() -> Result<Self, Error> {
        let place = Place::told(|name| env::var(name).ok())?;
        if place.size == 1 {
            return Ok(Self {
                place,
                mpi: None,
                gpus: OnceCell::new(),
            });
        }
        let failed = |problem| Error::NoMpi {
            processes: place.size,
            problem,
        };
        let (mpi, [rank, size]) = open().map_err(failed)?;
        if (rank, size) != (place.rank, place.size) {
            let problem = format!(
                "it knows this one as number {rank} of {size}, the launcher as number {} of {}",
                place.rank, place.size
            );
            return Err(failed(problem));
        }
        Ok(Self {
            place,
            mpi: Some(MPI.get_or_init(|| mpi)),
            gpus: OnceCell::new(),
        })
    }

    /// Joins the GPUs of all processes so that they exchange gradients directly.
    ///
    /// `device` is the device of this process, `prepared` whether steps can be recorded on it,
    /// `has_own` whether no other process uses the same GPU. All processes must call this function
    /// together. Either all of them succeed or all of them fail, each possibly with its own reason.
    /// A single process gets `prepared` back.
    pub(crate) fn join_gpus(
        &self,
        device: Device,
        prepared: Result<(), String>,
        has_own: bool,
    ) -> Result<(), String> {
        if self.is_alone() {
            return prepared;
        }
        let nccl = prepared.and_then(|()| {
            if has_own {
                Nccl::open()
            } else {
                Err("processes share a GPU".to_owned())
            }
        });
        let nccl = self.agree(nccl)?;
        let id = if self.is_first() {
            nccl.make_id()
        } else {
            Ok(Id([0; size_of::<Id>()]))
        };
        let Id(bytes) = self.agree(id)?;
        let mut numbers = bytes.map(f64::from);
        if let Some(mpi) = self.mpi {
            mpi.tell(&mut numbers, mpi.double)
                .map_err(|error| error.to_string())?;
        }
        let id = Id(numbers.map(|number| number as u8));
        let gpus = self.agree(nccl.join(id, self.rank(), self.size()))?;
        // A test exchange, because some failures only show at the first operation.
        let count = Tensor::ones([1], (Kind::Float, device));
        let tried = gpus.add(&count).map_err(|error| error.to_string());
        let tried = tried.and_then(|()| {
            let counted = count.double_value(&[0]) as usize;
            if counted == self.size() {
                Ok(())
            } else {
                Err(format!("{} GPUs were counted as {counted}", self.size()))
            }
        });
        self.agree(tried)?;
        // Cannot fail: this function is called once, so the cell is empty.
        let _ = self.gpus.set(gpus);
        Ok(())
    }

    /// Returns `own` if it is `Ok` in every process.
    fn agree<T>(&self, own: Result<T, String>) -> Result<T, String> {
        let [got] = self
            .sum([f64::from(u8::from(own.is_ok()))])
            .map_err(|error| error.to_string())?;
        let own = own?;
        if got < self.size() as f64 {
            return Err("another process cannot launch on a GPU of its own".to_owned());
        }
        Ok(own)
    }

    /// Rank of this process, from 0.
    pub fn rank(&self) -> usize {
        self.place.rank
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.place.size
    }

    /// Rank of this process among those of its machine, with which it may share GPUs.
    pub fn local_rank(&self) -> usize {
        self.place.local_rank
    }

    /// Number of processes that share this machine's processors.
    pub fn local_size(&self) -> usize {
        self.place.local_size
    }

    /// Whether this is the process that reports and writes files on behalf of all.
    pub fn is_first(&self) -> bool {
        self.place.rank == 0
    }

    /// Whether there is only one process.
    pub fn is_alone(&self) -> bool {
        self.mpi.is_none()
    }

    /// Returns this process's share of a batch, `[n]`. Together, the shares contain each example
    /// once. A process without an example gets one with weight 0, so that every process makes the
    /// same calls.
    pub fn share(&self, batch: &Tensor) -> Share {
        if self.is_alone() {
            return Share {
                examples: batch.shallow_clone(),
                weight: 1.0,
            };
        }
        let count = batch.size()[0];
        let (start, length) = self.place.part(count);
        Share {
            examples: batch.narrow(0, start.min(count - 1), length.max(1)),
            weight: length as f64 / count as f64,
        }
    }

    /// Combines the gradients and the loss of each process's share to those of the whole batch.
    /// They must be 32-bit floats, the loss a mean over examples.
    pub fn average(
        &self,
        share: &Share,
        mut gradients: Vec<Tensor>,
        loss: Tensor,
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        let Some(mpi) = self.mpi else {
            return Ok((gradients, loss));
        };
        gradients.push(loss);
        // As one tensor: each exchange has to wait for the slowest process.
        let mut flat = gather(&gradients);
        if let Some(gpus) = self.gpus.get() {
            let _ = flat.multiply_scalar_(share.weight);
            gpus.add(&flat)?;
        } else {
            flat = flat.to_device(Device::Cpu);
            let _ = flat.multiply_scalar_(share.weight);
            mpi.add(floats_of(&mut flat), mpi.float)?;
        }
        let mut all = parts(&flat, &gradients);
        let loss = all.pop().unwrap_or_default();
        Ok((all, loss))
    }

    /// Copies the first process's values of these tensors to all processes, in place. They must be
    /// 32-bit floats.
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<(), Error> {
        let Some(mpi) = self.mpi else {
            return Ok(());
        };
        let mut flat = gather(tensors).to_device(Device::Cpu);
        mpi.tell(floats_of(&mut flat), mpi.float)?;
        tch::no_grad(|| {
            for (tensor, value) in tensors.iter().zip(parts(&flat, tensors)) {
                tensor.detach().copy_(&value);
            }
        });
        Ok(())
    }

    /// Returns the element-wise sums over all processes; integers stay exact up to 2⁵³.
    pub fn sum<const N: usize>(&self, mut values: [f64; N]) -> Result<[f64; N], Error> {
        if let Some(mpi) = self.mpi {
            mpi.add(&mut values, mpi.double)?;
        }
        Ok(values)
    }

    /// Returns the number of threads for each process of this machine, given the `threads` that
    /// libtorch would use. libtorch's number is already limited in a process that a launcher has
    /// bound to some processors.
    pub(crate) fn threads(&self, threads: usize) -> usize {
        // SAFETY: it only reads a system value.
        #[expect(unsafe_code, reason = "a function of the C library")]
        let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        let part = usize::try_from(processors).unwrap_or(1) / self.local_size();
        threads.min(part).max(1)
    }
}

impl Place {
    /// Reads the position that the launcher has set in the environment.
    fn told(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let number = |name: &str| variable(name).and_then(|value| value.trim().parse().ok());
        if let Some(size) = number("OMPI_COMM_WORLD_SIZE").filter(|size| *size > 0) {
            return Ok(Self {
                rank: number("OMPI_COMM_WORLD_RANK").unwrap_or(0),
                size,
                local_rank: number("OMPI_COMM_WORLD_LOCAL_RANK").unwrap_or(0),
                local_size: number("OMPI_COMM_WORLD_LOCAL_SIZE").unwrap_or(1).max(1),
            });
        }
        // Set by PyTorch's launcher, which this crate does not support. Each process would train
        // alone and overwrite the files of the others.
        match number("WORLD_SIZE") {
            Some(processes) if processes > 1 => Err(Error::OtherLauncher { processes }),
            _ => Ok(Self {
                rank: 0,
                size: 1,
                local_rank: 0,
                local_size: 1,
            }),
        }
    }

    /// Returns the start and the length of this process's share of `count` examples. The lengths of
    /// any two shares differ by at most one.
    fn part(&self, count: i64) -> (i64, i64) {
        let start = |rank: usize| (i128::from(count) * rank as i128 / self.size as i128) as i64;
        (start(self.rank), start(self.rank + 1) - start(self.rank))
    }
}

/// Leaves MPI when all processes have finished.
pub(crate) fn finalize() {
    if let Some(mpi) = MPI.get() {
        // SAFETY: MPI was initialised, and nothing is called after this.
        #[expect(unsafe_code, reason = "a call of C")]
        let _ = unsafe { (mpi.finalize)() };
    }
}

/// Aborts the other processes, which would otherwise wait for this one, and this one with them.
/// With a single process it does nothing.
pub(crate) fn abort() {
    if let Some(mpi) = MPI.get() {
        // SAFETY: MPI was initialised.
        #[expect(unsafe_code, reason = "a call of C")]
        let _ = unsafe { (mpi.abort)(mpi.world, 1) };
    }
}

/// Opens the library and joins; returns this process's rank and the number of processes.
fn open() -> Result<(Mpi, [usize; 2]), String> {
    // SAFETY: its initialisers do not depend on other running code.
    #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
    let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| said(&error))?;
    // Leaked, because its functions are called until the process ends.
    let library: &Library = Box::leak(Box::new(library));
    let object = |name: &CStr| -> Result<Handle, String> {
        // SAFETY: only its address is used.
        #[expect(unsafe_code, reason = "symbols of a library have no types")]
        let symbol = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) };
        symbol
            .map(|symbol| Handle(symbol.as_raw_ptr()))
            .map_err(|error| said(&error))
    };
    // SAFETY: these are the types of MPI's functions, for Open MPI's handles.
    #[expect(unsafe_code, reason = "symbols of a library have no types")]
    let (mpi, initialise, rank, size, set_error_handler) = unsafe {
        let mpi = Mpi {
            all_reduce: function(library, c"MPI_Allreduce")?,
            broadcast: function(library, c"MPI_Bcast")?,
            error_string: function(library, c"MPI_Error_string")?,
            finalize: function(library, c"MPI_Finalize")?,
            abort: function(library, c"MPI_Abort")?,
            world: object(c"ompi_mpi_comm_world")?,
            float: object(c"ompi_mpi_float")?,
            double: object(c"ompi_mpi_double")?,
            sum: object(c"ompi_mpi_op_sum")?,
        };
        let initialise: Initialise = function(library, c"MPI_Init_thread")?;
        let rank: Ask = function(library, c"MPI_Comm_rank")?;
        let size: Ask = function(library, c"MPI_Comm_size")?;
        let set_error_handler: SetErrorHandler = function(library, c"MPI_Comm_set_errhandler")?;
        (mpi, initialise, rank, size, set_error_handler)
    };
    let errors_return = object(c"ompi_mpi_errors_return")?;
    let mut given = 0;
    let mut place = [0; 2];
    // SAFETY: MPI has not been initialised before; each call writes one number.
    #[expect(unsafe_code, reason = "calls of C")]
    unsafe {
        mpi.check(
            "MPI_Init_thread",
            initialise(
                ptr::null_mut(),
                ptr::null_mut(),
                THREAD_FUNNELED,
                &raw mut given,
            ),
        )?;
        // By default, MPI would end the process itself, with its own message.
        mpi.check(
            "MPI_Comm_set_errhandler",
            set_error_handler(mpi.world, errors_return),
        )?;
        mpi.check("MPI_Comm_rank", rank(mpi.world, &raw mut place[0]))?;
        mpi.check("MPI_Comm_size", size(mpi.world, &raw mut place[1]))?;
    }
    Ok((mpi, place.map(|number| number.max(0) as usize)))
}

impl Mpi {
    /// Replaces each element by its sum over all processes.
    fn add<T>(&self, values: &mut [T], kind: Handle) -> Result<(), Error> {
        values.chunks_mut(MOST).try_for_each(|values| {
            // SAFETY: the slice has this number of elements of this type.
            #[expect(unsafe_code, reason = "a call of C")]
            let code = unsafe {
                (self.all_reduce)(
                    IN_PLACE,
                    values.as_mut_ptr().cast(),
                    values.len() as c_int,
                    kind,
                    self.sum,
                    self.world,
                )
            };
            self.check("MPI_Allreduce", code).map_err(failed)
        })
    }

    /// Replaces each element by the first process's value.
    fn tell<T>(&self, values: &mut [T], kind: Handle) -> Result<(), Error> {
        values.chunks_mut(MOST).try_for_each(|values| {
            // SAFETY: the slice has this number of elements of this type.
            #[expect(unsafe_code, reason = "a call of C")]
            let code = unsafe {
                (self.broadcast)(
                    values.as_mut_ptr().cast(),
                    values.len() as c_int,
                    kind,
                    0,
                    self.world,
                )
            };
            self.check("MPI_Bcast", code).map_err(failed)
        })
    }

    fn check(&self, function: &str, code: c_int) -> Result<(), String> {
        if code == SUCCESS {
            return Ok(());
        }
        let mut text: [c_char; MAX_ERROR_STRING + 1] = array::from_fn(|_| 0);
        let mut length = 0;
        // SAFETY: at most `MAX_ERROR_STRING` bytes are written, so the last byte stays NUL.
        #[expect(unsafe_code, reason = "a call of C, and its string")]
        let text = unsafe {
            (self.error_string)(code, text.as_mut_ptr(), &raw mut length);
            CStr::from_ptr(text.as_ptr())
        };
        Err(format!("{function}: {} ({code})", text.to_string_lossy()))
    }
}

fn failed(problem: String) -> Error {
    Error::Mpi { problem }
}

/// The elements of a tensor made by [`gather`].
///
/// # Panics
/// If they are not 32-bit floats.
fn floats_of(flat: &mut Tensor) -> &mut [f32] {
    assert_eq!(flat.kind(), Kind::Float, "the kind of what is exchanged");
    floats_mut(flat)
}

/// Splits a tensor made by [`gather`] into parts with the sizes and on the devices of `like`.
fn parts(flat: &Tensor, like: &[Tensor]) -> Vec<Tensor> {
    let lengths: Vec<i64> = like.iter().map(|tensor| tensor.numel() as i64).collect();
    let parts = flat.split_with_sizes(&lengths, 0).into_iter().zip(like);
    parts
        .map(|(part, like)| part.view(like.size().as_slice()).to_device(like.device()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::error::{Error, Hint};

    fn told(variables: &[(&str, &str)]) -> Result<Place, Error> {
        Place::told(|name| {
            let value = variables.iter().find(|(have, _)| *have == name);
            value.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_launcher_says_which_process_this_is() {
        let alone = told(&[]).expect("a process alone");
        assert_eq!((alone.rank, alone.size, alone.local_size), (0, 1, 1));
        let third = told(&[
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("WORLD_SIZE", "4"),
        ]);
        assert_eq!(
            third.expect("one of four"),
            Place {
                rank: 2,
                size: 4,
                local_rank: 0,
                local_size: 2
            }
        );
        let error = told(&[("WORLD_SIZE", "2"), ("RANK", "1")]).expect_err("another launcher");
        assert!(error.hint().contains("Distribution::mpi"), "{error}");
        assert_eq!(told(&[("WORLD_SIZE", "1")]).expect("one").size, 1);
    }

    #[test]
    fn every_example_is_done_once() {
        for (count, size) in [(64, 1), (64, 2), (33, 2), (1, 3), (31, 4), (2, 5)] {
            let mut next = 0;
            for rank in 0..size {
                let place = Place {
                    rank,
                    size,
                    local_rank: rank,
                    local_size: size,
                };
                let (start, length) = place.part(count);
                assert_eq!(start, next, "{count} examples for {size}");
                assert!((count / size as i64..=count / size as i64 + 1).contains(&length));
                next += length;
            }
            assert_eq!(next, count);
        }
    }
}
