//! Selection of the training device: a GPU if CUDA provides one, otherwise the CPU, with the
//! reason.

use std::{env, thread};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

use crate::{
    distributed::Processes,
    gpu::{Gpu, Usage},
    graph, library, memory,
    settings::{Precision, Settings},
};

/// The library that adds CUDA to libtorch. Programs are not linked against it, so that they also
/// run on machines without a GPU.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The device of this run.
#[derive(Debug)]
pub struct Compute {
    /// The device that tensors are moved to.
    pub device: Device,
    /// The precision of the network's computations.
    pub precision: Precision,
    /// The reason why the device is not a GPU, or why steps on the GPU are not recorded.
    reason: Option<String>,
    /// The GPU, if one exists and NVML can query it.
    gpu: Option<Gpu>,
}

impl Compute {
    /// Chooses the device: the first GPU or, for several processes on one machine, a separate GPU
    /// for each process while there are enough. On the CPU, the processes share the processors,
    /// unless `OMP_NUM_THREADS` sets the number of threads of each.
    ///
    /// Must be called in the thread that trains, before any other use of libtorch: without its CUDA
    /// library, libtorch would decide permanently that CUDA is not available.
    pub fn choose(settings: &Settings, processes: &Processes) -> Self {
        memory::keep();
        let no_cuda = settings.no_cuda;
        // NVML and CUDA are opened in parallel, because both are slow to open, CUDA especially.
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
                // NCCL cannot join two processes on the same GPU.
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
                // There can be fewer GPUs than processes.
                Device::Cuda(number) => gpu.or_else(|| Gpu::of_cuda(number).ok()),
                _ => None,
            },
        }
    }

    /// The line printed at the start of a training.
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

    /// Whether steps can be recorded. Steps that exchange gradients through the processor's memory
    /// cannot.
    pub(crate) fn records_steps(&self) -> bool {
        self.device.is_cuda() && self.reason.is_none()
    }

    /// Current utilization of the GPU, if there is one.
    pub fn usage(&self) -> Option<Usage> {
        self.gpu.as_ref()?.usage().ok()
    }

    /// The GPU, if one exists and NVML can query it.
    pub fn gpu(&self) -> Option<Gpu> {
        self.gpu.clone()
    }
}

/// Returns the number of GPUs that CUDA provides, at least one, or the reason why there are none.
fn find_cuda(no_cuda: bool) -> Result<usize, String> {
    if no_cuda {
        return Err("--no-cuda was given".to_owned());
    }
    // SAFETY: this is PyTorch's own library, whose initialisers only register its kernels with
    // libtorch; Python loads it in the same way. No other thread uses libtorch yet.
    #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
    let loaded = unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
    match loaded {
        // Its kernels are registered in libtorch, so it must stay loaded until the process ends.
        Ok(cuda) => std::mem::forget(cuda),
        Err(error) => {
            let error = library::said(&error);
            // On machines without a GPU the library is usually not installed. If it exists but
            // cannot be loaded, the reason is reported.
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
