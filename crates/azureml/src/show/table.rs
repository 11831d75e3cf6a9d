//! Tables and cards.

use super::{escape, pad, width};
use azureml_wire::job::JobStatus;
use notebook::{Display, MimeBundle};
use std::fmt::Write;

/// The colours and lines follow JupyterLab's theme, with fallbacks that are legible on light and dark.
const STYLE: &str =
    "border-collapse:collapse;margin:0;font-size:var(--jp-ui-font-size1,13px);color:inherit";
const EDGE: &str = "1px solid var(--jp-border-color2,rgba(128,128,128,.4))";

/// The content of one cell of a table.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A number; stands to the right.
    Number(String),
    /// A name that is copied into code, such as a run's id.
    Code(String),
    /// A link.
    Link(String),
    /// Where a job stands.
    Status(JobStatus),
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn plain(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Code(text) | Self::Link(text) => text,
            Self::Status(status) => status.as_str(),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    fn html(&self) -> String {
        let text = escape(self.plain());
        match self {
            Self::Code(_) => format!("<code>{text}</code>"),
            Self::Link(url) if url.starts_with("http://") || url.starts_with("https://") => {
                format!(r#"<a href="{text}" target="_blank" rel="noopener">{text}</a>"#)
            }
            Self::Text(_) | Self::Number(_) | Self::Link(_) => text,
            Self::Status(status) => {
                let colour = match status {
                    JobStatus::Completed => "var(--jp-success-color1,#388e3c)",
                    JobStatus::Failed | JobStatus::NotResponding => {
                        "var(--jp-error-color1,#d32f2f)"
                    }
                    JobStatus::Canceled | JobStatus::CancelRequested | JobStatus::Paused => {
                        "var(--jp-warn-color1,#f57c00)"
                    }
                    _ => "var(--jp-info-color1,#0288d1)",
                };
                format!(r#"<span style="color:{colour}">●</span> {text}"#)
            }
        }
    }
}

/// Rows under headers.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headers: &[&str]) -> Self {
        Self {
            headers: headers.iter().map(|&header| header.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Aligned columns. Columns that are empty in every row are left out.
    pub fn text(&self) -> String {
        let columns: Vec<(usize, usize)> = self
            .columns()
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells
                    .map(|cell| width(cell.plain()))
                    .max()
                    .unwrap_or_default();
                (column, widest.max(width(&self.headers[column])))
            })
            .collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let header = columns
            .iter()
            .map(|&(column, width)| pad(&self.headers[column], width, self.is_right(column)));
        lines.push(header.collect::<Vec<_>>().join("  "));
        for row in &self.rows {
            let cells = columns.iter().map(|&(column, width)| {
                pad(
                    row.get(column).map_or("", Cell::plain),
                    width,
                    self.is_right(column),
                )
            });
            lines.push(cells.collect::<Vec<_>>().join("  "));
        }
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        lines.join("\n")
    }

    /// An HTML table. Columns that are empty in every row are left out.
    pub fn html(&self) -> String {
        let mut html = format!(r#"<table style="{STYLE}"><thead><tr>"#);
        for column in self.columns() {
            let side = self.side(column);
            // Writing to a String cannot fail.
            let _ = write!(
                html,
                r#"<th style="text-align:{side};padding:2px 12px 2px 0;border-bottom:{EDGE}">{}</th>"#,
                escape(&self.headers[column])
            );
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for column in self.columns() {
                let side = self.side(column);
                let cell = row.get(column).map(Cell::html).unwrap_or_default();
                let _ = write!(
                    html,
                    r#"<td style="text-align:{side};padding:2px 12px 2px 0">{cell}</td>"#
                );
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table>");
        html
    }

    fn columns(&self) -> impl Iterator<Item = usize> {
        (0..self.headers.len()).filter(|&column| {
            self.rows.is_empty()
                || self
                    .rows
                    .iter()
                    .any(|row| row.get(column).is_some_and(|cell| !cell.plain().is_empty()))
        })
    }

    fn is_right(&self, column: usize) -> bool {
        self.rows
            .iter()
            .any(|row| row.get(column).is_some_and(Cell::is_number))
    }

    fn side(&self, column: usize) -> &'static str {
        if self.is_right(column) {
            "right"
        } else {
            "left"
        }
    }
}

/// One thing and its properties.
#[derive(Debug, Clone)]
pub struct Card {
    kind: &'static str,
    name: String,
    rows: Vec<(&'static str, Cell)>,
}

impl Card {
    /// A card for a `kind` of thing (`Workspace`) with a name.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a property.
    #[must_use]
    pub fn row(mut self, label: &'static str, cell: Cell) -> Self {
        self.rows.push((label, cell));
        self
    }

    /// Adds a property, if there is a value.
    #[must_use]
    pub fn optional(self, label: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.row(label, Cell::text(text)),
            None => self,
        }
    }
}

impl Display for Card {
    fn mime_bundle(&self) -> MimeBundle {
        let widest = self
            .rows
            .iter()
            .map(|(label, _)| width(label))
            .max()
            .unwrap_or_default();
        let mut text = format!("{} {}", self.kind, self.name).trim_end().to_owned();
        let mut html = format!(
            r#"<div style="display:inline-block;border:{EDGE};border-radius:4px;padding:6px 12px"><div style="margin-bottom:2px">{} <b>{}</b></div><table style="{STYLE}"><tbody>"#,
            escape(self.kind),
            escape(&self.name)
        );
        for (label, cell) in &self.rows {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {}  {}", pad(label, widest, false), cell.plain());
            let _ = write!(
                html,
                r#"<tr><td style="text-align:left;padding:1px 12px 1px 0;opacity:.7">{}</td><td style="text-align:left;padding:1px 0">{}</td></tr>"#,
                escape(label),
                cell.html()
            );
        }
        html.push_str("</tbody></table></div>");
        MimeBundle::new().text(text).html(html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["Name", "Empty", "Size"]);
        table.push(vec![
            Cell::text("학습"),
            Cell::text(""),
            Cell::Number("7".into()),
        ]);
        table.push(vec![
            Cell::text("<b>"),
            Cell::text(""),
            Cell::Number("1234".into()),
        ]);
        table
    }

    #[test]
    fn tables_align_in_a_terminal() {
        insta::assert_snapshot!(table().text(), @r"
        Name  Size
        학습     7
        <b>   1234
        ");
    }

    #[test]
    fn html_escapes_what_comes_from_outside() {
        let html = table().html();
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"));
        let card = Card::new("Workspace", "<script>")
            .row("Link", Cell::Link("javascript:alert(1)".into()));
        let html = card.mime_bundle().get("text/html").unwrap().to_string();
        assert!(!html.contains("<script>") && !html.contains("href"));
    }

    #[test]
    fn a_card_lists_its_properties() {
        let card = Card::new("Run", "r1")
            .row("Status", Cell::Status(JobStatus::Running))
            .optional("Nothing", None::<String>)
            .row(
                "Web view",
                Cell::Link("https://example.com/?a=1&b=2".into()),
            );
        let bundle = card.mime_bundle();
        insta::assert_snapshot!(bundle.plain_text().unwrap(), @r"
        Run r1
          Status    Running
          Web view  https://example.com/?a=1&b=2
        ");
        insta::assert_snapshot!(bundle.get("text/html").unwrap().as_str().unwrap());
    }
}
