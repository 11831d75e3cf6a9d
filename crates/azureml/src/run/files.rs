//! The files of a run: outputs and logs.

use crate::show::{self, escape, pad, width};
use notebook::{Display, MimeBundle};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::Deref;

/// One file of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFile {
    /// The path in the run, e.g. `outputs/model/model.pt`.
    pub path: String,
    /// The size in bytes, if the service reports it.
    pub size: Option<u64>,
}

impl fmt::Display for RunFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl AsRef<str> for RunFile {
    fn as_ref(&self) -> &str {
        &self.path
    }
}

/// The files of a run, sorted by path; displayed as the tree *Outputs + logs*.
#[derive(Debug, Clone, Default)]
pub struct FileList(Vec<RunFile>);

impl From<Vec<RunFile>> for FileList {
    fn from(mut files: Vec<RunFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self(files)
    }
}

impl Deref for FileList {
    type Target = [RunFile];

    fn deref(&self) -> &[RunFile] {
        &self.0
    }
}

impl IntoIterator for FileList {
    type Item = RunFile;
    type IntoIter = std::vec::IntoIter<RunFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a FileList {
    type Item = &'a RunFile;
    type IntoIter = std::slice::Iter<'a, RunFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A folder of the tree.
#[derive(Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Folder<'a>>,
    files: Vec<(&'a str, Option<u64>)>,
}

/// A line of the tree: the depth, the name, and the size of a file.
type Line<'a> = (usize, String, Option<u64>);

impl<'a> Folder<'a> {
    fn of(files: &'a [RunFile]) -> Self {
        let mut root = Self::default();
        for file in files {
            let mut folder = &mut root;
            let mut parts = file.path.split('/').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_some() {
                    folder = folder.folders.entry(part).or_default();
                } else {
                    folder.files.push((part, file.size));
                }
            }
        }
        root
    }

    fn lines(&self, depth: usize, lines: &mut Vec<Line<'a>>) {
        for (name, folder) in &self.folders {
            lines.push((depth, format!("{name}/"), None));
            folder.lines(depth + 1, lines);
        }
        for (name, size) in &self.files {
            lines.push((depth, (*name).to_owned(), *size));
        }
    }

    fn html(&self, html: &mut String) {
        html.push_str(r#"<ul style="list-style:none;margin:0;padding-left:1.2em">"#);
        for (name, folder) in &self.folders {
            // Writing to a String cannot fail.
            let _ = write!(
                html,
                "<li><details open><summary>{}/</summary>",
                escape(name)
            );
            folder.html(html);
            html.push_str("</details></li>");
        }
        for (name, size) in &self.files {
            let size = size.map_or_else(String::new, |size| {
                format!(r#" <span style="opacity:.6">{}</span>"#, show::bytes(size))
            });
            let _ = write!(html, "<li>{}{size}</li>", escape(name));
        }
        html.push_str("</ul>");
    }
}

impl Display for FileList {
    fn mime_bundle(&self) -> MimeBundle {
        if self.0.is_empty() {
            return MimeBundle::new()
                .text("no files yet")
                .html("<i>no files yet</i>");
        }
        let root = Folder::of(&self.0);
        let mut lines = Vec::new();
        root.lines(0, &mut lines);
        let column = lines
            .iter()
            .map(|(depth, name, _)| 2 * depth + width(name))
            .max()
            .unwrap_or_default();
        let mut text = "Outputs + logs".to_owned();
        for (depth, name, size) in lines {
            let name = format!("{}{name}", "  ".repeat(depth));
            let line = match size {
                Some(size) => format!(
                    "{}  {}",
                    pad(&name, column, false),
                    pad(&show::bytes(size), 9, true)
                ),
                None => name,
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {line}");
        }
        let mut html = String::from(r"<div><b>Outputs + logs</b>");
        root.html(&mut html);
        html.push_str("</div>");
        MimeBundle::new().text(text).html(html)
    }
}

notebook::evcxr_display!(FileList);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_show_as_a_tree() {
        let file = |path: &str, size| RunFile {
            path: path.into(),
            size,
        };
        let files = FileList::from(vec![
            file("user_logs/std_log.txt", Some(2048)),
            file("outputs/model/model.pt", Some(4_800_000)),
            file("outputs/a<b.txt", None),
        ]);
        let bundle = files.mime_bundle();
        insta::assert_snapshot!(bundle.plain_text().unwrap());
        insta::assert_snapshot!(bundle.get("text/html").unwrap().as_str().unwrap());
        assert_eq!(
            FileList::default().mime_bundle().plain_text(),
            Some("no files yet")
        );
    }
}
