//! ISO 8601 durations, the format of ARM.

use std::time::Duration;

/// Parses `P1DT2H3M4.5S` and its parts.
pub fn parse(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    if rest.is_empty() || rest.ends_with('T') {
        return None;
    }
    let date = part(date, &[('W', 604_800.0), ('D', 86_400.0)])?;
    let time = part(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(date + time).ok()
}

/// The seconds of numbers with units; the units must come in the given order.
fn part(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    let mut units = units.iter();
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let (_, scale) = units.find(|(name, _)| *name == unit)?;
        seconds += number * scale;
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("PT5M", 300.0),
            ("PT120S", 120.0),
            ("P1DT2H3M4.5S", 93_784.5),
            ("P30D", 2_592_000.0),
            ("PT0.2S", 0.2),
        ] {
            assert_eq!(
                parse(text),
                Some(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for text in ["", "P", "PT", "5M", "PT5", "PTM", "PT5M3H", "PT-5M", "five"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
