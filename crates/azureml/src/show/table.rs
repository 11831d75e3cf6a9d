//! Tables and cards.

use super::{escape, pad, width};
use azureml_wire::job::JobStatus;
use notebook::{Display, MimeBundle, Table};
use std::fmt::Write;

/// Colours and lines follow JupyterLab's theme, with fallbacks that are legible on light and dark.
const STYLE: &str =
    "border-collapse:collapse;margin:0;font-size:var(--jp-ui-font-size1,13px);color:inherit";
const EDGE: &str = "1px solid var(--jp-border-color2,rgba(128,128,128,.4))";

/// The content of one cell of a table.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A number, which is right-aligned.
    Number(String),
    /// A name that is copied into code, such as the id of a run.
    Code(String),
    /// A link.
    Link(String),
    /// The status of a job.
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

impl From<Cell> for notebook::table::Cell {
    fn from(cell: Cell) -> Self {
        let text = if cell.is_number() {
            Self::number(cell.plain())
        } else {
            Self::text(cell.plain())
        };
        text.html(cell.html())
    }
}

/// A table of all rows; columns that are empty in every row are omitted.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> Table {
    Table::new(headers.iter().copied(), rows)
        .limit(usize::MAX)
        .without_empty_columns()
}

/// A resource and its properties.
#[derive(Debug, Clone)]
pub struct Card {
    kind: &'static str,
    name: String,
    rows: Vec<(&'static str, Cell)>,
}

impl Card {
    /// A card for a resource with a name; `kind` is its type (`Workspace`).
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

    /// Adds a property if it has a value.
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

    fn sizes() -> Table {
        let row = |name: &str, size: &str| {
            let size = Cell::Number(size.to_owned());
            vec![Cell::text(name), Cell::text(""), size]
        };
        table(
            &["Name", "Empty", "Size"],
            [row("학습", "7"), row("<b>", "1234")],
        )
    }

    #[test]
    fn tables_align_in_a_terminal() {
        insta::assert_snapshot!(sizes().to_text(), @r"
        Name  Size
        학습     7
        <b>   1234
        ");
    }

    #[test]
    fn html_escapes_what_comes_from_outside() {
        let html = sizes().to_html();
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
