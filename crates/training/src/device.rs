//! Where the network is trained: the first GPU that CUDA offers, or the CPU, with a word on why.

use std::{
    env,
    error::Error,
    process::{Command, Stdio},
};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

/// The library that brings CUDA to libtorch. Programs are not linked to it, so that they run without a GPU too.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The device of this run.
#[derive(Debug)]
pub struct Compute {
    /// What tensors are sent to.
    pub device: Device,
    /// Why it is not a GPU.
    reason: String,
}

impl Compute {
    /// Chooses the device. Must come before anything else is asked of libtorch: without its CUDA library it would decide
    /// once and for all that there is no CUDA.
    pub fn choose(no_cuda: bool) -> Self {
        match find_cuda(no_cuda) {
            Ok(()) => Self {
                device: Device::Cuda(0),
                reason: String::new(),
            },
            Err(reason) => Self {
                device: Device::Cpu,
                reason,
            },
        }
    }

    /// The line to start with.
    pub fn announce(&self) -> String {
        if self.device.is_cuda() {
            format!("Training on the GPU: {}", gpu())
        } else {
            let threads = tch::get_num_threads();
            let plural = if threads == 1 { "" } else { "s" };
            format!(
                "Training on the CPU with {threads} thread{plural}: {}",
                self.reason
            )
        }
    }

    /// The line of each epoch: the GPU and how much of its memory is in use.
    pub fn usage(&self) -> Option<String> {
        self.device.is_cuda().then(|| format!("GPU: {}", gpu()))
    }
}

fn find_cuda(no_cuda: bool) -> Result<(), String> {
    if no_cuda {
        return Err("--no-cuda was given".to_owned());
    }
    // SAFETY: this is PyTorch's own library, whose initialisers only register its kernels with libtorch; Python loads it
    // in the same way. No other thread runs yet.
    #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
    let loaded = unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
    match loaded {
        // Its kernels are registered in libtorch: it must stay until the process ends.
        Ok(library) => std::mem::forget(library),
        Err(error) => {
            let error = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            // Without a GPU the library is usually not installed; that it cannot load is worth telling.
            let missing = error.starts_with(&format!("{CUDA_LIBRARY}: cannot open"));
            return Err(if missing {
                "this libtorch comes without CUDA".to_owned()
            } else {
                format!("CUDA cannot be loaded ({error})")
            });
        }
    }
    if Cuda::is_available() {
        Ok(())
    } else {
        Err("CUDA finds no GPU that it can use".to_owned())
    }
}

/// Name and memory of the GPU in use, from NVIDIA's own tool: libtorch's C++ side tells neither.
fn gpu() -> String {
    let visible = env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let first = visible.split(',').next().unwrap_or_default().trim();
    let output = Command::new("nvidia-smi")
        .arg("--query-gpu=name,memory.used,memory.total")
        .arg("--format=csv,noheader,nounits")
        .arg(format!(
            "--id={}",
            if first.is_empty() { "0" } else { first }
        ))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let line = match &output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout),
        _ => "".into(),
    };
    describe(&line).unwrap_or_else(|| "cuda:0 (nvidia-smi does not tell its name)".to_owned())
}

fn describe(line: &str) -> Option<String> {
    let mut fields = line.lines().next()?.split(',').map(str::trim);
    let (name, used, total) = (fields.next()?, fields.next()?, fields.next()?);
    Some(format!("{name}, memory {used} of {total} MiB in use"))
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn a_gpu_is_described_by_name_and_memory() {
        let line = "NVIDIA H100 80GB HBM3, 1324, 81559\n";
        let described = describe(line).expect("a description");
        assert_eq!(
            described,
            "NVIDIA H100 80GB HBM3, memory 1324 of 81559 MiB in use"
        );
        assert_eq!(describe(""), None);
        assert_eq!(describe("No devices were found"), None);
    }
}
