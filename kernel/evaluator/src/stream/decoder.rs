//! Incremental UTF-8 decoding across read boundaries.

/// Decodes UTF-8 that arrives in pieces.
///
/// A character split between two pieces is returned whole with the second piece. Invalid bytes
/// become U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The first bytes of an incomplete character; at most three.
    started: Vec<u8>,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.started.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.started), bytes.to_vec()].concat();
            &joined[..]
        };
        let mut text = String::with_capacity(rest.len());
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            if let Some(invalid) = error.error_len() {
                text.push('\u{fffd}');
                rest = &after[invalid..];
            } else {
                self.started = after.to_vec();
                return text;
            }
        }
    }

    /// Returns the incomplete rest at the end of the stream.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.started)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_cut_in_two_come_whole() {
        let bytes = "가🧑‍🔬!".as_bytes();
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let text = decoder.push(&bytes[..cut]) + &decoder.push(&bytes[cut..]);
            assert_eq!(text, "가🧑‍🔬!", "cut at {cut}");
            assert_eq!(decoder.finish(), "");
        }
    }

    #[test]
    fn what_is_no_utf8_is_marked() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xffb\xe3\x81"), "a\u{fffd}b");
        assert_eq!(decoder.push(b"c"), "\u{fffd}c");
        assert_eq!(decoder.push(b"\xe3"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
