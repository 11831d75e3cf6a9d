//! Lists that are displayed as tables.

use super::{Cell, table};
use notebook::{Display, MimeBundle};
use std::ops::Deref;
use std::path::PathBuf;

/// A type whose values are rows of a table.
pub trait Row {
    /// The plural noun for the values.
    const NOUN: &'static str;
    /// The column headers.
    const HEADERS: &'static [&'static str];

    /// The cells, in the order of the columns.
    fn cells(&self) -> Vec<Cell>;
}

/// A list that is displayed as a table; otherwise it behaves like a slice.
#[derive(Debug, Clone)]
pub struct List<T>(Vec<T>);

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A downloaded file.
impl Row for PathBuf {
    const NOUN: &'static str = "files";
    const HEADERS: &'static [&'static str] = &["File", "Size"];

    fn cells(&self) -> Vec<Cell> {
        let size = self.metadata().map(|file| super::bytes(file.len()));
        vec![
            Cell::text(self.display().to_string()),
            Cell::Number(size.unwrap_or_default()),
        ]
    }
}

notebook::evcxr_display!(List<PathBuf>);

impl<T: Row> Display for List<T> {
    fn mime_bundle(&self) -> MimeBundle {
        if self.0.is_empty() {
            let text = format!("no {}", T::NOUN);
            return MimeBundle::new().text(&text).html(format!("<i>{text}</i>"));
        }
        table(T::HEADERS, self.0.iter().map(Row::cells)).mime_bundle()
    }
}
