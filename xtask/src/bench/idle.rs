//! Detection of load from other processes, which would invalidate measurements.

use crate::error::{Error, Result};
use crate::report::Step;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Maximum number of processors that other processes may keep busy.
pub const ALLOWED: f64 = 0.2;
/// Duration of one check.
const WATCHED: Duration = Duration::from_secs(1);

/// Processor time of all processors since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    busy: u64,
    all: u64,
    processors: u32,
}

/// Measures the load of all processes from its start on.
pub struct Watch {
    ticks: Ticks,
    since: Instant,
}

impl Watch {
    /// Starts the measurement.
    pub fn start() -> Result<Self> {
        Ok(Self {
            ticks: now()?,
            since: Instant::now(),
        })
    }

    /// Returns the number of processors that were busy since the start, without `own` seconds of
    /// processor time.
    pub fn others(&self, own: f64) -> Result<f64> {
        let busy = busy(self.ticks, now()?);
        let own = own / self.since.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        Ok((busy - own).max(0.0))
    }
}

/// Waits for other processes to be idle, at most for `patience`, which is reduced by the time
/// waited. Returns the number of processors that other processes keep busy.
pub fn wait(step: &Step, patience: &mut Duration) -> Result<f64> {
    loop {
        let watch = Watch::start()?;
        thread::sleep(WATCHED);
        let others = watch.others(0.0)?;
        if others < ALLOWED || patience.is_zero() {
            return Ok(others);
        }
        *patience = patience.saturating_sub(WATCHED);
        step.status(&format!(
            "waiting until other processes use less than {ALLOWED} processors, now {others:.1}; for another {} s at most",
            patience.as_secs()
        ));
    }
}

fn now() -> Result<Ticks> {
    let path = Path::new("/proc/stat");
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    parse(&text).ok_or_else(|| Error::Content {
        path: path.to_owned(),
        reason: "it does not begin with the processors' times".to_owned(),
    })
}

/// Parses `/proc/stat`: the first line contains the times of all processors: user, nice, system,
/// idle, iowait and others.
fn parse(text: &str) -> Option<Ticks> {
    let mut lines = text.lines();
    let times: Vec<u64> = lines
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        // The guest times are already included in user and nice.
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let all: u64 = times.iter().sum();
    let idle = times.get(3)? + times.get(4)?;
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    Some(Ticks {
        busy: all - idle,
        all,
        processors: u32::try_from(processors).ok()?,
    })
}

/// Returns the number of processors that were busy between two samples.
fn busy(from: Ticks, to: Ticks) -> f64 {
    let all = to.all.saturating_sub(from.all).max(1);
    let busy = to.busy.saturating_sub(from.busy);
    busy as f64 / all as f64 * f64::from(to.processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_processors_are_counted_from_their_times() {
        let parsed = |text: &str| parse(text).expect("the format of /proc/stat");
        let from = parsed(
            "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\ncpu of no processor\n",
        );
        assert_eq!(
            from,
            Ticks {
                busy: 150,
                all: 1000,
                processors: 2
            }
        );
        let to = parsed("cpu  120 5 60 940 60 0 0 15 9 9\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n");
        // 50 of 200 ticks of two processors.
        assert!((busy(from, to) - 0.5).abs() < 1e-9);
        assert_eq!(parse("intr 5\n"), None);
    }

    #[test]
    fn this_machine_tells_its_times() {
        let watch = Watch::start().expect("/proc/stat");
        let others = watch.others(0.0).expect("/proc/stat");
        assert!((0.0..=1024.0).contains(&others));
        // The result is zero when all load was this program's.
        let none = watch.others(1e9).expect("/proc/stat");
        assert!(none.abs() < f64::EPSILON);
    }
}
