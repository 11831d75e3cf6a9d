//! The hardware of this machine that computes report.

use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

/// The timeout of `nvidia-smi`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The maximum age of cached GPU usage.
const FRESH: Duration = Duration::from_secs(2);

/// The properties that are queried for each GPU.
const QUERY: &str = "--query-gpu=name,utilization.gpu,memory.used,memory.total";

/// The machine.
#[derive(Debug, Default)]
pub struct Machine {
    gpus: OnceCell<Vec<String>>,
    /// The cached GPU usage and its time.
    uses: Mutex<Option<(Instant, Vec<GpuUse>)>>,
}

/// The usage of a GPU; values that the driver does not report are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuUse {
    /// The name of the GPU.
    pub name: String,
    /// The utilization in percent.
    pub busy: Option<u64>,
    /// The memory in use, in bytes.
    pub used: Option<u64>,
    /// The total memory, in bytes.
    pub memory: Option<u64>,
}

impl Machine {
    /// The names of the GPUs as reported by `nvidia-smi`, queried once.
    pub async fn gpus(&self) -> &[String] {
        self.gpus
            .get_or_init(|| async { ask(&["-L"]).await.lines().filter_map(gpu).collect() })
            .await
    }

    /// The current usage of the GPUs, cached for up to two seconds.
    pub async fn gpu_uses(&self) -> Vec<GpuUse> {
        if self.gpus().await.is_empty() {
            return Vec::new();
        }
        // Concurrent callers wait here and share one result.
        let mut known = self.uses.lock().await;
        if let Some((when, uses)) = &*known
            && when.elapsed() < FRESH
        {
            return uses.clone();
        }
        let said = ask(&[QUERY, "--format=csv,noheader,nounits"]).await;
        let uses: Vec<GpuUse> = said.lines().filter_map(gpu_use).collect();
        *known = Some((Instant::now(), uses.clone()));
        uses
    }

    /// The number of cores that a job can use.
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// The output of `nvidia-smi`; empty if it is missing, fails or times out, for example because a
/// driver hangs.
async fn ask(arguments: &[&str]) -> String {
    let mut command = Command::new("nvidia-smi");
    command.args(arguments).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => String::new(),
    }
}

/// `GPU 0: NVIDIA H200 (UUID: GPU-…)` → `NVIDIA H200`.
fn gpu(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix("GPU ")?.split_once(": ")?;
    let name = name.split_once(" (UUID").map_or(name, |(name, _)| name);
    Some(name.to_owned())
}

/// `NVIDIA H200, 34, 1024, 143771`: percent and MiB; `[N/A]` for values that the driver does not
/// report.
fn gpu_use(line: &str) -> Option<GpuUse> {
    let mut fields = line.rsplitn(4, ", ");
    let mut number = || fields.next().map(|field| field.trim().parse::<u64>().ok());
    let (memory, used, busy) = (number()?, number()?, number()?);
    let bytes = |mebibytes: u64| mebibytes << 20;
    Some(GpuUse {
        busy,
        used: used.map(bytes),
        memory: memory.map(bytes),
        name: fields.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_named_as_nvidia_smi_names_them() {
        assert_eq!(
            gpu("GPU 0: NVIDIA H200 (UUID: GPU-1b2c)").as_deref(),
            Some("NVIDIA H200")
        );
        assert_eq!(gpu("No devices found."), None);
    }

    #[test]
    fn what_gpus_do_is_read_from_nvidia_smi() {
        let h200 = GpuUse {
            name: "NVIDIA H200".to_owned(),
            busy: Some(34),
            used: Some(1 << 30),
            memory: Some(143_771 << 20),
        };
        assert_eq!(gpu_use("NVIDIA H200, 34, 1024, 143771"), Some(h200));
        let silent = gpu_use("Tesla, old, [N/A], [N/A], 16384").expect("a GPU");
        assert_eq!(
            (silent.name.as_str(), silent.busy, silent.used),
            ("Tesla, old", None, None)
        );
        assert_eq!(gpu_use("No devices were found"), None);
    }
}
