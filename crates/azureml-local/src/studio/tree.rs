//! A list of files as a tree of folders.

use super::language::Language;
use super::text;
use askama::Template;

/// The maximum number of files in a tree.
const MOST: usize = 1000;

/// A tree, rendered alone or within another template.
#[derive(Template)]
#[template(path = "tree.html")]
pub struct Tree {
    l: Language,
    entries: Vec<Entry>,
    /// Whether files were left out.
    more: bool,
}

/// An event in the depth-first traversal of a tree.
#[derive(Debug, PartialEq)]
enum Entry {
    /// A folder, whose entries follow: its name and its path.
    Folder(String, String),
    /// The end of a folder.
    End,
    /// A file.
    File {
        name: String,
        path: String,
        href: String,
        size: String,
    },
}

impl Tree {
    /// The tree of files with their sizes, sorted by path; `address` returns the address of a
    /// file's page.
    pub fn of<'a>(
        l: Language,
        files: impl IntoIterator<Item = (&'a str, u64)>,
        address: impl Fn(&str) -> String,
    ) -> Self {
        let mut files = files.into_iter();
        let mut entries = Vec::new();
        let mut open: Vec<&str> = Vec::new();
        for (path, length) in files.by_ref().take(MOST) {
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or(path);
            let same = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
            entries.extend(open.drain(same..).map(|_| Entry::End));
            for part in &parts[same..] {
                open.push(part);
                entries.push(Entry::Folder(shown(part), shown(&open.join("/"))));
            }
            entries.push(Entry::File {
                name: shown(name),
                path: shown(path),
                href: address(path),
                size: text::size(length),
            });
        }
        entries.extend(open.drain(..).map(|_| Entry::End));
        Self {
            l,
            entries,
            more: files.next().is_some(),
        }
    }
}

/// A name in one line.
fn shown(name: &str) -> String {
    text::plain(name.as_bytes()).replace(['\n', '\t'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(paths: &[&str]) -> String {
        let files = paths.iter().map(|path| (*path, 0));
        let tree = Tree::of(Language::English, files, str::to_owned);
        let words = tree.entries.iter().map(|entry| match entry {
            Entry::Folder(name, _) => format!("{name}("),
            Entry::End => ")".to_owned(),
            Entry::File { name, .. } => format!("{name} "),
        });
        words.collect()
    }

    #[test]
    fn folders_hold_their_files() {
        assert_eq!(shape(&[]), "");
        assert_eq!(shape(&["a", "b"]), "a b ");
        assert_eq!(
            shape(&[
                "outputs/model/MLmodel",
                "outputs/model/model.pt",
                "outputs/x",
                "user_logs/std_log.txt"
            ]),
            "outputs(model(MLmodel model.pt )x )user_logs(std_log.txt )"
        );
        assert_eq!(shape(&["a/b/c/d", "a/c/b/d"]), "a(b(c(d ))c(b(d )))");
    }

    #[test]
    fn a_name_is_one_line_and_a_tree_ends() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}c"), "a\u{fffd}b\u{fffd}c");
        let paths: Vec<String> = (0..=MOST).map(|number| format!("f/{number:05}")).collect();
        let files = paths.iter().map(|path| (path.as_str(), 0));
        let tree = Tree::of(Language::English, files, str::to_owned);
        assert!(tree.more);
        assert_eq!(tree.entries.len(), MOST + 2);
    }
}
