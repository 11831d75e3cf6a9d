//! How values look: HTML in a notebook, aligned text in a terminal.

mod list;
mod table;

pub use list::{List, Row};
pub use notebook::escape;
pub use table::{Card, Cell, Table};

/// How many columns a terminal gives to a text.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Text filled with spaces to a width.
pub fn pad(text: &str, to: usize, right: bool) -> String {
    let fill = " ".repeat(to.saturating_sub(width(text)));
    if right {
        fill + text
    } else {
        text.to_owned() + &fill
    }
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        // Combining marks and joiners.
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        // Hangul, Chinese, Japanese, full-width forms and emoji.
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0x1F300..=0x1FAFF => 2,
        _ => 1,
    }
}

/// `17 B`, `1.5 KB`, `12.3 MB`.
pub fn bytes(size: u64) -> String {
    let mut value = size as f64;
    if size < 1000 {
        return format!("{size} B");
    }
    let mut unit = "";
    for next in ["KB", "MB", "GB", "TB"] {
        value /= 1000.0;
        unit = next;
        if value < 999.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A number as people read it: six significant digits, no needless zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let digits = if magnitude < 1.0 {
        6
    } else {
        5_usize.saturating_sub(magnitude.log10() as usize)
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_short() {
        let sizes = [0, 999, 1000, 1_500, 999_949, 999_951, 12_345_678].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 B", "999 B", "1.0 KB", "1.5 KB", "999.9 KB", "1.0 MB", "12.3 MB"
            ]
        );
        let numbers = [
            0.0,
            1.0,
            98.54,
            0.034_567_8,
            1e-7,
            60000.0,
            123_456.789,
            -2.5,
            1e12,
            f64::NAN,
        ]
        .map(number);
        assert_eq!(
            numbers,
            [
                "0", "1", "98.54", "0.034568", "1.000e-7", "60000", "123457", "-2.5", "1.000e12",
                "NaN"
            ]
        );
    }

    #[test]
    fn wide_characters_are_two_columns() {
        assert_eq!(width("학습 ok"), 7);
        assert_eq!(pad("학습", 6, false), "학습  ");
        assert_eq!(pad("7", 3, true), "  7");
    }
}
