//! Positions in a cell: Jupyter counts code points; the compiler counts bytes.

/// Converts a byte offset to code points. An offset inside a character counts as its start.
pub fn code_points(text: &str, offset: usize) -> usize {
    text.char_indices()
        .take_while(|(start, character)| start + character.len_utf8() <= offset)
        .count()
}

/// Converts code points to a byte offset; beyond the end, returns the length of the text.
pub fn byte_offset(text: &str, code_points: usize) -> usize {
    text.char_indices()
        .nth(code_points)
        .map_or(text.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_code_points() {
        let text = "한글🧑‍🔬x";
        assert_eq!(byte_offset(text, 2), 6);
        // The emoji consists of three code points: person, zero-width joiner, microscope.
        assert_eq!(byte_offset(text, 5), text.len() - 1);
        assert_eq!(code_points(text, text.len() - 1), 5);
        assert_eq!(code_points(text, text.len()), 6);
        assert_eq!(byte_offset(text, 99), text.len());
    }
}
