//! The machine under the local workspace, as far as computes tell about it.

use std::time::Duration;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// How long the GPUs may take to be named.
const PATIENCE: Duration = Duration::from_secs(10);

/// The machine.
#[derive(Debug, Default)]
pub struct Machine {
    gpus: OnceCell<Vec<String>>,
}

impl Machine {
    /// The GPUs, as `nvidia-smi` names them; asked once.
    pub async fn gpus(&self) -> &[String] {
        self.gpus
            .get_or_init(|| async {
                let mut command = Command::new("nvidia-smi");
                command.arg("-L").kill_on_drop(true);
                // A driver that is stuck does not answer.
                let Ok(Ok(output)) = tokio::time::timeout(PATIENCE, command.output()).await else {
                    return Vec::new();
                };
                String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .filter_map(gpu)
                    .collect()
            })
            .await
    }

    /// Cores that a job can use.
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// `GPU 0: NVIDIA H200 (UUID: GPU-…)` → `NVIDIA H200`.
fn gpu(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix("GPU ")?.split_once(": ")?;
    let name = name.split_once(" (UUID").map_or(name, |(name, _)| name);
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn gpus_are_named_as_nvidia_smi_names_them() {
        assert_eq!(
            super::gpu("GPU 0: NVIDIA H200 (UUID: GPU-1b2c)").as_deref(),
            Some("NVIDIA H200")
        );
        assert_eq!(super::gpu("No devices found."), None);
    }
}
