//! The events of the measuring programs in `xtask/python`: one JSON object per line.

use crate::report::Step;
use serde_json::Value;

/// The events of a client.
#[derive(Default)]
pub struct Events {
    /// The samples by name.
    pub samples: Vec<(String, f64)>,
    /// Processor time in seconds of the client and the measured program.
    pub own: f64,
}

impl Events {
    /// Parses a line.
    pub fn read(&mut self, step: &Step, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            // Output of the measured programs and warnings of Python, which are only logged.
            return;
        };
        if let Some(at) = event["at"].as_str() {
            step.status(at);
        } else if let (Some(name), Some(value)) =
            (event["sample"].as_str(), event["value"].as_f64())
        {
            self.samples.push((name.to_owned(), value));
        } else if let Some(seconds) = event["cpu"].as_f64() {
            self.own = seconds;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn events_become_samples() {
        let report = Report::new();
        let step = report.step("cells of ours", "");
        let mut events = Events::default();
        for line in [
            r#"{"at": "statement 1/10"}"#,
            r#"{"sample": "statement", "value": 0.25}"#,
            "Writing /tmp/kernel.json",
            r#"{"sample": "memory", "value": 100}"#,
            r#"{"cpu": 1.5}"#,
        ] {
            events.read(&step, line);
        }
        assert_eq!(report.statuses(), ["statement 1/10"]);
        let expected = [("statement".to_owned(), 0.25), ("memory".to_owned(), 100.0)];
        assert_eq!(events.samples, expected);
        assert!((events.own - 1.5).abs() < f64::EPSILON);
    }
}
