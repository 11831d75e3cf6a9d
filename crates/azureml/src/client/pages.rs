//! The pages of a list, with limits against endless lists.

use crate::error::{Error, Result};
use std::collections::HashSet;

/// The most pages of a list; a longer list is considered endless.
const PAGES: usize = 10_000;
/// The most bytes of all pages of a list.
const BYTES: usize = 512 << 20;

/// The pages of one list that have been read.
pub struct Pages<'a> {
    /// The operation, for errors.
    pub(super) what: &'a str,
    /// The links or tokens of the pages so far.
    seen: HashSet<String>,
    bytes: usize,
}

impl<'a> Pages<'a> {
    /// Starts a list.
    pub fn new(what: &'a str) -> Self {
        Self {
            what,
            seen: HashSet::new(),
            bytes: 0,
        }
    }

    /// The link or token after a page of so many bytes; `None` after the last page.
    pub fn next(&mut self, bytes: usize, next: Option<String>) -> Result<Option<String>> {
        let endless = |reason: &str| Error::Answer {
            call: self.what.to_owned(),
            reason: reason.to_owned(),
        };
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > BYTES {
            return Err(endless("the list is too long"));
        }
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            return Ok(None);
        };
        if self.seen.len() == PAGES {
            return Err(endless("the list has no end"));
        }
        if !self.seen.insert(next.clone()) {
            return Err(endless("the list leads back to a page that was read"));
        }
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_never_ends_is_an_error() {
        let mut pages = Pages::new("listing");
        assert_eq!(
            pages.next(1, Some("a".into())).unwrap().as_deref(),
            Some("a")
        );
        let error = pages.next(1, Some("a".into())).unwrap_err().to_string();
        assert!(error.contains("leads back"), "{error}");
        let mut next = (0..).map(|page| pages.next(1, Some(page.to_string())));
        let error = next.find_map(Result::err).unwrap().to_string();
        assert!(error.contains("has no end"), "{error}");
        assert!(Pages::new("listing").next(BYTES + 1, None).is_err());
        assert_eq!(
            Pages::new("listing").next(1, Some(String::new())).unwrap(),
            None
        );
    }
}
