//! Tables.

use std::fmt::Write as _;

use crate::text::{self, pad, width};
use crate::{Display, MimeBundle, escape};

/// Colours and lines follow JupyterLab's theme, with fallbacks that are legible on light and dark.
const STYLE: &str =
    "border-collapse:collapse;margin:0;font-size:var(--jp-ui-font-size1,13px);color:inherit";
const EDGE: &str = "1px solid var(--jp-border-color2,rgba(128,128,128,.4))";

/// The default of [`Table::limit`].
const LIMIT: usize = 60;

/// Rows under headers: an HTML table, or aligned columns where only text can be shown.
///
/// Numbers are right-aligned; floating-point numbers have six significant digits. When a table has
/// more rows than its [`limit`](Self::limit), the first and the last rows are shown, and a line
/// between them contains the number of omitted rows.
///
/// ```
/// use notebook::{Display, Table};
///
/// let table = Table::new(
///     ["City", "People", "Metro"],
///     [("Seoul", 9_411_000, Some(1974)), ("Jeju", 486_000, None)],
/// );
/// notebook::display(&table);
/// assert_eq!(
///     table.to_text(),
///     "City    People  Metro\n\
///      Seoul  9411000   1974\n\
///      Jeju    486000",
/// );
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
    limit: usize,
    with_empty: bool,
}

impl Table {
    /// Creates a table of rows: tuples, arrays or vectors of text, numbers, `bool`s and options of
    /// them.
    ///
    /// A row that is shorter than the others is filled with empty cells. The extra cells of a
    /// longer row have no header.
    pub fn new<H: Into<String>, R: Row>(
        headers: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            headers: headers.into_iter().map(Into::into).collect(),
            rows: rows.into_iter().map(Row::cells).collect(),
            limit: LIMIT,
            with_empty: true,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl Row) {
        self.rows.push(row.cells());
    }

    /// Sets the maximum number of rows that are shown.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// Omits the columns that are empty in every row.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        self.with_empty = false;
        self
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Formats the table as aligned columns, without a trailing newline.
    pub fn to_text(&self) -> String {
        let columns: Vec<(usize, usize, bool)> = self
            .columns()
            .map(|column| {
                let cells = self.shown().flatten().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| width(&cell.text)).max().unwrap_or(0);
                let widest = widest.max(width(self.header(column)));
                (column, widest, self.is_right(column))
            })
            .collect();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells = columns
                .iter()
                .map(|&(column, width, right)| pad(&cell(column), width, right));
            let line = cells.collect::<Vec<_>>().join("  ");
            line.trim_end().to_owned()
        };
        let mut lines = vec![line(&|column| self.header(column).to_owned())];
        lines.extend(self.shown().map(|row| match row {
            Some(row) => line(&|column| {
                row.get(column)
                    .map_or(String::new(), |cell| cell.text.clone())
            }),
            None => self.left_out(),
        }));
        lines.join("\n")
    }

    /// Formats the table as HTML; the content of cells is escaped.
    pub fn to_html(&self) -> String {
        let columns: Vec<(usize, &str)> = self
            .columns()
            .map(|column| {
                let right = self.is_right(column);
                (column, if right { "right" } else { "left" })
            })
            .collect();
        let mut html = format!(r#"<table style="{STYLE}"><thead><tr>"#);
        for (column, side) in &columns {
            // Writing to a String cannot fail.
            let _ = write!(
                html,
                r#"<th style="text-align:{side};padding:2px 12px 2px 0;border-bottom:{EDGE}">{}</th>"#,
                escape(self.header(*column))
            );
        }
        html.push_str("</tr></thead><tbody>");
        for row in self.shown() {
            html.push_str("<tr>");
            if let Some(row) = row {
                for (column, side) in &columns {
                    let cell = row.get(*column).map(Cell::to_html).unwrap_or_default();
                    let _ = write!(
                        html,
                        r#"<td style="text-align:{side};padding:2px 12px 2px 0">{cell}</td>"#
                    );
                }
            } else {
                let _ = write!(
                    html,
                    r#"<td colspan="{}" style="text-align:left;padding:2px 12px 2px 0;opacity:.7">{}</td>"#,
                    columns.len(),
                    self.left_out()
                );
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table>");
        html
    }

    /// The rows to show; `None` stands for the omitted ones.
    fn shown(&self) -> impl Iterator<Item = Option<&Vec<Cell>>> {
        let count = self.rows.len();
        let (first, last) = if count > self.limit {
            (self.limit.div_ceil(2), count - self.limit / 2)
        } else {
            (count, count)
        };
        let before = self.rows[..first].iter().map(Some);
        let gap = (first < last).then_some(None);
        before.chain(gap).chain(self.rows[last..].iter().map(Some))
    }

    fn left_out(&self) -> String {
        let (count, left) = (self.rows.len(), self.rows.len() - self.limit);
        let are = if left == 1 { "is" } else { "are" };
        format!("… {left} of {count} rows {are} left out")
    }

    fn columns(&self) -> impl Iterator<Item = usize> {
        let widest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let all = self.with_empty || self.rows.is_empty();
        (0..widest.max(self.headers.len())).filter(move |&column| {
            all || self
                .rows
                .iter()
                .any(|row| row.get(column).is_some_and(|cell| !cell.text.is_empty()))
        })
    }

    fn header(&self, column: usize) -> &str {
        self.headers.get(column).map_or("", String::as_str)
    }

    fn is_right(&self, column: usize) -> bool {
        self.rows
            .iter()
            .any(|row| row.get(column).is_some_and(|cell| cell.number))
    }
}

impl Display for Table {
    fn mime_bundle(&self) -> MimeBundle {
        MimeBundle::new().text(self.to_text()).html(self.to_html())
    }
}

crate::evcxr_display!(Table);

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    text: String,
    html: Option<String>,
    number: bool,
}

impl Cell {
    /// A cell of text.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            // A row takes exactly one line.
            text: text.replace('\r', "\\r").replace('\n', "\\n"),
            html: text
                .contains('\n')
                .then(|| escape(&text).replace('\n', "<br>")),
            number: false,
        }
    }

    /// A cell of a formatted number, such as `1.5 KB`, which is right-aligned.
    pub fn number(text: impl Into<String>) -> Self {
        Self {
            number: true,
            ..Self::text(text)
        }
    }

    /// Sets a separate HTML representation. Untrusted text must already be
    /// [escaped](crate::escape).
    #[must_use]
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// The HTML representation.
    pub fn to_html(&self) -> String {
        self.html.clone().unwrap_or_else(|| escape(&self.text))
    }

    /// The text representation, which is one line.
    pub fn to_text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::text(text)
    }
}

impl From<char> for Cell {
    fn from(character: char) -> Self {
        Self::text(character)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::text(value.to_string())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    /// Converts `None` to an empty cell.
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::default, Into::into)
    }
}

macro_rules! numbers {
    ($by:expr; $($type:ty),+) => {
        $(
            impl From<$type> for Cell {
                fn from(value: $type) -> Self {
                    Self::number($by(value))
                }
            }

            impl From<&$type> for Cell {
                fn from(value: &$type) -> Self {
                    (*value).into()
                }
            }
        )+
    };
}

numbers!(|value| format!("{value}"); i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);
numbers!(|value| text::number(f64::from(value)); f32);
numbers!(text::number; f64);

/// A type that can be a row of a table.
pub trait Row {
    /// The cells of the row.
    fn cells(self) -> Vec<Cell>;
}

impl<C: Into<Cell>> Row for Vec<C> {
    fn cells(self) -> Vec<Cell> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<C: Into<Cell>, const N: usize> Row for [C; N] {
    fn cells(self) -> Vec<Cell> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<C: Into<Cell> + Clone> Row for &[C] {
    fn cells(self) -> Vec<Cell> {
        self.iter().cloned().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Into<Cell>),+> Row for ($($name,)+) {
            fn cells(self) -> Vec<Cell> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_at_the_right() {
        let names = ["학습".to_owned(), "<b>".to_owned()];
        let rows = names
            .iter()
            .zip([7_u64, 1234])
            .map(|(name, size)| (name, None::<&str>, size, 1.0 / size as f64, size > 9));
        let table = Table::new(["Name", "Empty", "Size", "Share", "Large"], rows);
        insta::assert_snapshot!(table.to_text(), @r"
        Name  Empty  Size     Share  Large
        학습            7  0.142857  false
        <b>          1234   0.00081  true
        ");
        insta::assert_snapshot!(table.without_empty_columns().to_text(), @r"
        Name  Size     Share  Large
        학습     7  0.142857  false
        <b>   1234   0.00081  true
        ");
    }

    #[test]
    fn a_long_table_says_how_many_rows_are_left_out() {
        let table = Table::new(["n", "square"], (0..1000_i64).map(|n| (n, n * n))).limit(5);
        insta::assert_snapshot!(table.to_text(), @r"
          n  square
          0       0
          1       1
          2       4
        … 995 of 1000 rows are left out
        998  996004
        999  998001
        ");
        let html = table.to_html();
        assert_eq!(html.matches("<tr>").count(), 1 + 5 + 1);
        assert!(
            html.contains(">… 995 of 1000 rows are left out</td>"),
            "{html}"
        );
        assert!(
            Table::new(["n"], (0..61).map(|n| [n]))
                .to_text()
                .contains("… 1 of 61 rows is left out")
        );
        assert!(
            !Table::new(["n"], (0..60).map(|n| [n]))
                .to_text()
                .contains('…')
        );
        assert!(
            Table::new(["n"], (0..9).map(|n| [n]))
                .limit(0)
                .to_text()
                .ends_with("… 9 of 9 rows are left out")
        );
    }

    #[test]
    fn html_is_escaped_and_has_the_colours_of_the_theme() {
        let mut table = Table::new(["<h>", "n"], [("<b>a & b</b>", 1.5)]);
        table.push(["two\nlines", "2"]);
        table.push(vec![Cell::text("code").html("<code>code</code>")]);
        insta::assert_snapshot!(table.to_html().replace("</tr>", "</tr>\n"));
        assert!(table.to_text().contains("two\\nlines"));
    }

    #[test]
    fn rows_of_other_lengths_are_shown_whole() {
        let table = Table::new(["a"], [vec![1, 2], vec![], vec![3]]);
        insta::assert_snapshot!(table.to_text(), @r"
        a
        1  2

        3
        ");
        let none: [(i32, i32); 0] = [];
        assert_eq!(Table::new(["a", "b"], none).to_text(), "a  b");
    }
}
