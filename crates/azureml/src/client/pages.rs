//! The pages of a list, which come to an end whatever the service answers.

use super::{Call, Client, parse};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::collections::HashSet;

/// More pages than this are an endless list.
const PAGES: usize = 10_000;
/// The most that all pages of a list may hold.
const BYTES: usize = 512 << 20;

/// The pages of one list that have been read.
pub struct Pages<'a> {
    /// What is listed, for errors.
    what: &'a str,
    /// The links or tokens that led to them.
    seen: HashSet<String>,
    bytes: usize,
}

impl<'a> Pages<'a> {
    /// Of a list of which nothing has been read.
    pub fn new(what: &'a str) -> Self {
        Self {
            what,
            seen: HashSet::new(),
            bytes: 0,
        }
    }

    /// Reads a page; `next` is what it says leads to the next one.
    pub async fn read<T: DeserializeOwned>(
        &mut self,
        client: &Client,
        call: Call<'_>,
        next: impl FnOnce(&mut T) -> Option<String>,
    ) -> Result<(T, Option<String>)> {
        let body = client.send(call).await?.body;
        let mut page = parse(self.what, &body)?;
        let next = self.next(body.len(), next(&mut page))?;
        Ok((page, next))
    }

    /// What leads from a page of so many bytes to the next; `None` for the last one.
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
