//! Text widths and number formats for terminals.

use unicode_width::UnicodeWidthStr;

/// The number of columns that a text takes in a terminal; a Hangul syllable takes two.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Pads a text with spaces to a width, on its left side when it is aligned `right`.
pub fn pad(text: &str, to: usize, right: bool) -> String {
    let fill = " ".repeat(to.saturating_sub(width(text)));
    if right {
        fill + text
    } else {
        text.to_owned() + &fill
    }
}

/// Formats a number with at most six significant digits and without trailing zeros.
///
/// ```
/// assert_eq!(notebook::text::number(0.1 + 0.2), "0.3");
/// assert_eq!(notebook::text::number(1.0e-7), "1.000e-7");
/// ```
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

/// Shortens a text to at most `to` columns, with `…` in place of the rest.
pub(crate) fn shortened(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if width(&short) + 1 > to {
            short.pop();
            break;
        }
    }
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
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
        assert_eq!(width("🧑‍🔬"), 2);
        assert_eq!(pad("학습", 6, false), "학습  ");
        assert_eq!(pad("7", 3, true), "  7");
        assert_eq!(shortened("학습 데이터", 6), "학습 …");
        assert_eq!(shortened("학습", 4), "학습");
    }
}
