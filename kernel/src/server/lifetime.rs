//! External reasons for the kernel's end: signals and the death of the process that started it.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, getpgrp, getpid, getppid, kill_process_group, test_kill_process,
};
use tokio::signal::unix::{SignalKind, signal};

use super::kernel::{End, Kernel};

/// Interval between checks of the parent process.
const PARENT_INTERVAL: Duration = Duration::from_secs(1);

/// The process that started the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Parent {
    pid: Pid,
    /// Whether it is the parent process, whose end the system reports more reliably.
    direct: bool,
}

impl Parent {
    /// Parses the process id of the parent as set by Jupyter; `None` if it is not one.
    pub fn from_text(pid: &str) -> Option<Self> {
        let pid = Pid::from_raw(pid.trim().parse().ok()?).filter(|pid| !pid.is_init())?;
        Some(Self {
            pid,
            direct: getppid() == Some(pid),
        })
    }

    fn is_alive(self) -> bool {
        if self.direct {
            getppid() == Some(self.pid)
        } else {
            test_kill_process(self.pid) != Err(rustix::io::Errno::SRCH)
        }
    }
}

/// Resolves when a signal or the parent's death ends the kernel. SIGINT interrupts the running
/// cell.
///
/// Signals are handled from the call on, even before the future is polled.
pub fn ended_from_outside(
    kernel: Arc<Kernel>,
    parent: Option<Parent>,
) -> impl Future<Output = End> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
        signal(SignalKind::interrupt()),
    );
    async move {
        let (Ok(mut terminate), Ok(mut hangup), Ok(mut interrupt)) = signals else {
            tracing::warn!("signals are not handled");
            return wait_for_death(parent).await;
        };
        let death = wait_for_death(parent);
        tokio::pin!(death);
        loop {
            tokio::select! {
                _ = terminate.recv() => return End::Signal,
                _ = hangup.recv() => return End::Signal,
                _ = interrupt.recv() => kernel.interrupt(),
                end = &mut death => return end,
            }
        }
    }
}

async fn wait_for_death(parent: Option<Parent>) -> End {
    let Some(parent) = parent else {
        return std::future::pending().await;
    };
    let mut interval = tokio::time::interval(PARENT_INTERVAL);
    while parent.is_alive() {
        interval.tick().await;
    }
    End::ParentDied
}

/// Terminates the processes that the kernel started, if the kernel leads a separate process group,
/// as Jupyter sets it up.
pub fn terminate_group() {
    if getpgrp() == getpid() {
        // The kernel handles this signal itself, see `ended_from_outside`.
        if let Err(error) = kill_process_group(getpgrp(), Signal::TERM) {
            tracing::warn!(%error, "cannot end the processes that the kernel started");
        }
    }
}
