//! Durations: ISO 8601 for the wire, a short text for the user.

use std::time::Duration;

/// `PT1H30M5S`.
pub fn iso(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = "PT".to_owned();
    for (count, unit) in [(hours, 'H'), (minutes, 'M'), (seconds, 'S')] {
        if count > 0 {
            text.push_str(&count.to_string());
            text.push(unit);
        }
    }
    if text == "PT" {
        "PT0S".to_owned()
    } else {
        text
    }
}

/// `7 s`, `1 min 5 s`, `2 h 3 min`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_both_ways() {
        for (seconds, wire, people) in [
            (0, "PT0S", "0 s"),
            (59, "PT59S", "59 s"),
            (60, "PT1M", "1 min 0 s"),
            (300, "PT5M", "5 min 0 s"),
            (5405, "PT1H30M5S", "1 h 30 min"),
            (2_592_000, "PT720H", "720 h 0 min"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(
                (iso(duration).as_str(), short(duration).as_str()),
                (wire, people)
            );
        }
    }
}
