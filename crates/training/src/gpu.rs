//! Utilization of the GPU in use, from NVIDIA's management library (NVML).

use std::{
    env, fmt,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nvml_wrapper::{Device, Nvml, error::NvmlError};

/// The library's name on machines with only the driver installed.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// One of the GPUs visible to CUDA.
#[derive(Clone, Debug)]
pub struct Gpu {
    nvml: Arc<Nvml>,
    /// The index or the UUID.
    which: String,
}

/// Utilization of a GPU at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The model name.
    pub name: String,
    /// Utilization during the last sample period, in percent.
    pub busy: u32,
    /// Memory used by all programs, in bytes.
    pub memory: u64,
    /// Total memory, in bytes.
    pub memory_total: u64,
    /// Power draw in watts, if the GPU reports it.
    pub power: Option<f64>,
}

impl Gpu {
    /// Opens the GPU with CUDA's index `number`, from 0: among the GPUs in `CUDA_VISIBLE_DEVICES`
    /// or, if that is not set, among those of the machine.
    pub fn of_cuda(number: usize) -> Result<Self, NvmlError> {
        let visible = env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
        let gpu = Self {
            nvml: Arc::new(Nvml::builder().lib_path(LIBRARY.as_ref()).init()?),
            which: visible_gpu(&visible, number),
        };
        gpu.device()?;
        Ok(gpu)
    }

    fn device(&self) -> Result<Device<'_>, NvmlError> {
        match self.which.parse() {
            Ok(number) => self.nvml.device_by_index(number),
            Err(_) => self.nvml.device_by_uuid(self.which.as_str()),
        }
    }

    /// Returns the current utilization.
    pub fn usage(&self) -> Result<Usage, NvmlError> {
        let device = self.device()?;
        let memory = device.memory_info()?;
        Ok(Usage {
            name: device.name()?,
            busy: device.utilization_rates()?.gpu,
            memory: memory.used,
            memory_total: memory.total,
            power: device
                .power_usage()
                .ok()
                .map(|milliwatts| f64::from(milliwatts) / 1000.0),
        })
    }

    /// Reports the utilization immediately and then at each interval, until the watch is dropped.
    pub fn watch(self, interval: Duration, report: impl Fn(&Usage) + Send + 'static) -> Watch {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            loop {
                if let Ok(usage) = self.usage() {
                    report(&usage);
                }
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        Watch {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Usage {
    /// Returns the metrics under the names that MLflow uses for system metrics.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let memory = self.memory as f64;
        let mut metrics = vec![
            ("system/gpu_0_utilization_percentage", f64::from(self.busy)),
            ("system/gpu_0_memory_usage_megabytes", memory / 1e6),
            (
                "system/gpu_0_memory_usage_percentage",
                100.0 * memory / self.memory_total as f64,
            ),
        ];
        metrics.extend(
            self.power
                .map(|watts| ("system/gpu_0_power_usage_watts", watts)),
        );
        metrics
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        write!(
            formatter,
            "{}, {} % busy, memory {} of {} MiB in use",
            self.name,
            self.busy,
            self.memory / MIB,
            self.memory_total / MIB
        )
    }
}

/// A reporting thread; dropping the watch ends it.
#[derive(Debug)]
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in a report was already printed.
            let _ = thread.join();
        }
    }
}

/// Returns the entry of a GPU list at an index, or the index if the list has no such entry.
fn visible_gpu(visible: &str, number: usize) -> String {
    match visible.split(',').nth(number).unwrap_or_default().trim() {
        "" => number.to_string(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Usage, visible_gpu};

    #[test]
    fn a_gpu_is_described_by_name_and_memory() {
        let usage = Usage {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            busy: 87,
            memory: 1324 << 20,
            memory_total: 81_559 << 20,
            power: Some(312.5),
        };
        assert_eq!(
            usage.to_string(),
            "NVIDIA H100 80GB HBM3, 87 % busy, memory 1324 of 81559 MiB in use"
        );
        let metrics = usage.metrics();
        assert_eq!(metrics.len(), 4);
        assert_eq!(metrics[0], ("system/gpu_0_utilization_percentage", 87.0));
    }

    #[test]
    fn the_visible_gpus_are_counted() {
        assert_eq!(visible_gpu("", 0), "0");
        assert_eq!(visible_gpu("", 1), "1");
        assert_eq!(visible_gpu("3,1", 0), "3");
        assert_eq!(visible_gpu("GPU-8f2a, 1", 0), "GPU-8f2a");
        assert_eq!(visible_gpu("GPU-8f2a, 1", 1), "1");
    }
}
