//! The display of values: HTML in a notebook, aligned text in a terminal.

mod list;
mod table;

pub use list::{List, Row};
pub use notebook::escape;
pub use notebook::text::{number, pad, width};
pub use table::{Card, Cell, table};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 1_500, 999_949, 999_951, 12_345_678].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 B", "999 B", "1.0 KB", "1.5 KB", "999.9 KB", "1.0 MB", "12.3 MB"
            ]
        );
    }
}
