//! Formats text for users: times, durations, sizes, and the output of jobs.

use chrono::{DateTime, Local, TimeDelta, Utc};

/// A stored time in the local time zone.
pub fn clock(time: &str) -> String {
    DateTime::parse_from_rfc3339(time).map_or_else(
        |_| time.to_owned(),
        |time| {
            time.with_timezone(&Local)
                .format("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

/// The duration between two stored times, `1:02:03` or `0:07`; without the second one, until now.
pub fn between(from: &str, to: Option<&str>) -> String {
    let parse = |text: &str| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.with_timezone(&Utc))
    };
    let Some(from) = parse(from) else {
        return String::new();
    };
    let to = to.and_then(parse).unwrap_or_else(Utc::now);
    let seconds = (to - from).max(TimeDelta::zero()).num_seconds();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A size in bytes.
pub fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            let digits = usize::from(unit != "B" && size < 10.0);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A number in the format of a chart's caption.
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// The output of a job as plain text: invalid UTF-8 is marked; terminal sequences and other control
/// characters are removed.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A control sequence ends with its final letter.
                Some('[') => {
                    while characters
                        .next_if(|next| ('\u{20}'..='\u{3f}').contains(next))
                        .is_some()
                    {}
                    characters.next_if(|next| ('\u{40}'..='\u{7e}').contains(next));
                }
                // An operating system command (a title, a link) ends with BEL or ESC \.
                Some(']') => {
                    while let Some(next) = characters.next_if(|next| !matches!(next, '\n')) {
                        if next == '\u{7}'
                            || next == '\u{1b}' && characters.next_if_eq(&'\\').is_some()
                        {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\n' | '\t' => plain.push(character),
            // A progress line that is overwritten: each state becomes a line.
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    plain.push('\n');
                }
            }
            // Characters that change the text direction could make a line look like another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => plain.push('\u{fffd}'),
            other if other.is_control() => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_become_plain_text() {
        for (bytes, text) in [
            (&b"a\x1b[31mred\x1b[0m b"[..], "ared b"),
            (b"\x1b]0;title\x07x\x1b]8;;http://e\x1b\\y", "xy"),
            (b"1%\r2%\r\n", "1%\n2%\n"),
            (b"\xff<script>", "\u{fffd}<script>"),
            (b"a\x00b\x08", "ab"),
            (b"\x1b[", ""),
            ("x\u{202e}y".as_bytes(), "x\u{fffd}y"),
            ("손실 0.1".as_bytes(), "손실 0.1"),
        ] {
            assert_eq!(plain(bytes), text);
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(4_800_000), "4.8 MB");
        assert_eq!(size(48_000_000), "48 MB");
        assert_eq!(number(0.98), "0.98");
        assert_eq!(number(1e-7), "1.000e-7");
        assert_eq!(number(12.0), "12");
        assert_eq!(
            between("2026-01-01T00:00:00Z", Some("2026-01-01T01:02:03Z")),
            "1:02:03"
        );
        assert_eq!(
            between("2026-01-01T00:00:07Z", Some("2026-01-01T00:00:00Z")),
            "0:00"
        );
    }
}
