//! Where the network is trained: a GPU where CUDA offers one, or the CPU, with a word on why.

use std::{env, thread};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

use crate::{
    distributed::Processes,
    gpu::{Gpu, Usage},
    graph, library, memory,
    settings::{Precision, Settings},
};

/// The library that brings CUDA to libtorch. Programs are not linked to it, so that they run without a GPU too.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The device of this run.
#[derive(Debug)]
pub struct Compute {
    /// What tensors are sent to.
    pub device: Device,
    /// What the network computes with.
    pub precision: Precision,
    /// Why it is not a GPU, or why steps on it are not recorded.
    reason: Option<String>,
    /// The GPU, where there is one that can be asked.
    gpu: Option<Gpu>,
}

impl Compute {
    /// Chooses the device: the first GPU or, among several processes of a machine, to each its own as long as there are
    /// enough; on the CPU, they share its processors, unless `OMP_NUM_THREADS` says how many threads each has. Must come before
    /// anything else is asked of libtorch, without its CUDA library it would decide once and for all that there is no CUDA;
    /// and in the thread that trains.
    pub fn choose(settings: &Settings, processes: &Processes) -> Self {
        memory::keep();
        let no_cuda = settings.no_cuda;
        // Both take time to open, CUDA much.
        let number = processes.local_rank();
        let asked = (!no_cuda).then(|| thread::spawn(move || Gpu::of_cuda(number).ok()));
        let found = find_cuda(no_cuda);
        let gpu = asked.and_then(|asked| asked.join().ok().flatten());
        if !processes.is_alone() && env::var_os("OMP_NUM_THREADS").is_none() {
            let threads = tch::get_num_threads().max(1);
            tch::set_num_threads(processes.threads(threads as usize) as i32);
        }
        let (device, prepared, has_own) = match found {
            Ok(gpus) => (
                Device::Cuda(number % gpus),
                graph::prepare(number % gpus),
                // Two processes on one GPU cannot be joined on it.
                processes.local_size() <= gpus,
            ),
            Err(reason) => (Device::Cpu, Err(reason), false),
        };
        let joined = processes.join_gpus(device, prepared, has_own);
        Self {
            device,
            precision: settings
                .precision
                .unwrap_or_else(|| Precision::usual(device)),
            reason: joined.err(),
            gpu: match device {
                // There may be fewer than processes.
                Device::Cuda(number) => gpu.or_else(|| Gpu::of_cuda(number).ok()),
                _ => None,
            },
        }
    }

    /// The line to start with.
    pub fn announce(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default();
        let precision = self.precision;
        if self.device.is_cuda() {
            let gpu = self.usage().map_or_else(
                || format!("{:?} (NVML does not tell its name)", self.device),
                |usage| usage.to_string(),
            );
            if reason.is_empty() {
                format!("Training on the GPU in {precision}: {gpu}")
            } else {
                format!(
                    "Training on the GPU in {precision}, launching each step's kernels one by one ({reason}): {gpu}"
                )
            }
        } else {
            let threads = tch::get_num_threads();
            let plural = if threads == 1 { "" } else { "s" };
            format!("Training on the CPU with {threads} thread{plural} in {precision}: {reason}")
        }
    }

    /// Whether what a step launches can be recorded: not what goes through the processor's memory.
    pub(crate) fn records_steps(&self) -> bool {
        self.device.is_cuda() && self.reason.is_none()
    }

    /// What the GPU is doing, if there is one.
    pub fn usage(&self) -> Option<Usage> {
        self.gpu.as_ref()?.usage().ok()
    }

    /// The GPU, where there is one that can be asked.
    pub fn gpu(&self) -> Option<Gpu> {
        self.gpu.clone()
    }
}

/// How many GPUs CUDA offers: at least one.
fn find_cuda(no_cuda: bool) -> Result<usize, String> {
    if no_cuda {
        return Err("--no-cuda was given".to_owned());
    }
    // SAFETY: this is PyTorch's own library, whose initialisers only register its kernels with libtorch; Python loads it
    // in the same way. No other thread uses libtorch yet.
    #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
    let loaded = unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
    match loaded {
        // Its kernels are registered in libtorch: it must stay until the process ends.
        Ok(cuda) => std::mem::forget(cuda),
        Err(error) => {
            let error = library::said(&error);
            // Without a GPU the library is usually not installed; that it cannot load is worth telling.
            let missing = error.starts_with(&format!("{CUDA_LIBRARY}: cannot open"));
            return Err(if missing {
                "this libtorch comes without CUDA".to_owned()
            } else {
                format!("CUDA cannot be loaded ({error})")
            });
        }
    }
    match Cuda::device_count() {
        gpus if gpus > 0 && Cuda::is_available() => Ok(gpus as usize),
        _ => Err("CUDA finds no GPU that it can use".to_owned()),
    }
}
