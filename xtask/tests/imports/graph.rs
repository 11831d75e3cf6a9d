//! The modules of a crate and the imports between their files.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The limit of a chain of re-exports.
const MOST_STEPS: usize = 8;

/// A path in the code, such as `crate::error::Error`.
type CodePath = Vec<String>;

/// The sources of one crate.
pub struct Crate {
    root: PathBuf,
    modules: Vec<Module>,
    references: Vec<Reference>,
}

/// A module, which is a file or a part of one.
struct Module {
    parent: usize,
    file: PathBuf,
    children: BTreeMap<String, usize>,
    reexports: BTreeMap<String, CodePath>,
}

/// A path that a module contains.
struct Reference {
    from: usize,
    path: CodePath,
    is_reexport: bool,
}

impl Crate {
    /// Reads all files of a crate from its root file.
    pub fn read(root: &Path) -> Self {
        let mut read = Self {
            root: root.to_owned(),
            modules: Vec::new(),
            references: Vec::new(),
        };
        let folder = root.parent().expect("a file is in a folder");
        read.file(0, root, folder);
        read
    }

    /// The files, by their paths below the root file's folder.
    pub fn files(&self) -> BTreeSet<String> {
        let files = self.modules.iter();
        files.map(|module| self.shown(&module.file)).collect()
    }

    /// The imports from file to file, by their paths below the root file's folder.
    pub fn imports(&self) -> BTreeSet<(String, String)> {
        self.references
            .iter()
            .filter_map(|reference| {
                let target = self.resolve(reference.from, &reference.path, 0)?;
                let (from, to) = (&self.modules[reference.from], &self.modules[target]);
                let is_own = reference.is_reexport && self.contains(reference.from, target);
                let names = || (self.shown(&from.file), self.shown(&to.file));
                (from.file != to.file && !is_own).then(names)
            })
            .collect()
    }

    /// The sets of files that import each other, directly or through others.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut imported: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let imports = self.imports();
        for (from, to) in &imports {
            imported.entry(from).or_default().insert(to);
        }
        let reachable = |file: &str| {
            let mut found = BTreeSet::new();
            let mut open = vec![file];
            while let Some(file) = open.pop() {
                for next in imported.get(file).into_iter().flatten() {
                    if found.insert(*next) {
                        open.push(next);
                    }
                }
            }
            found
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> = imported
            .keys()
            .map(|file| (*file, reachable(file)))
            .collect();
        let circles: BTreeSet<Vec<String>> = reached
            .iter()
            .filter(|(file, others)| others.contains(*file))
            .map(|(file, others)| {
                others
                    .iter()
                    .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
                    .map(|other| (*other).to_owned())
                    .collect()
            })
            .collect();
        circles.into_iter().collect()
    }

    fn file(&mut self, parent: usize, file: &Path, folder: &Path) -> usize {
        let text = fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{} cannot be parsed: {error}", file.display()));
        self.module(parent, file, folder, tokens)
    }

    fn module(&mut self, parent: usize, file: &Path, folder: &Path, tokens: TokenStream) -> usize {
        let module = self.modules.len();
        self.modules.push(Module {
            parent,
            file: file.to_owned(),
            children: BTreeMap::new(),
            reexports: BTreeMap::new(),
        });
        self.scan(module, folder, tokens);
        module
    }

    /// Collects the child modules and the paths of a module.
    fn scan(&mut self, module: usize, folder: &Path, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut at, mut is_public) = (0, false);
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let is_inner = matches!(&trees.get(at + 1), Some(TokenTree::Punct(_)));
                    let attribute = at + 1 + usize::from(is_inner);
                    at = attribute + 1;
                    if trees.get(attribute).is_some_and(is_test) {
                        at = end_of_item(&trees, at) + 1;
                    }
                    continue;
                }
                TokenTree::Ident(ident) if ident == "pub" => {
                    is_public = true;
                    at += 1 + usize::from(is_group(trees.get(at + 1), Delimiter::Parenthesis));
                    continue;
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let mut paths = Vec::new();
                    at = use_tree(&trees, at + 1, &[], &mut paths);
                    for (path, alias) in paths {
                        self.references.push(Reference {
                            from: module,
                            path: path.clone(),
                            is_reexport: is_public,
                        });
                        if is_public {
                            self.modules[module].reexports.insert(alias, path);
                        }
                    }
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    at = self.child(module, folder, &trees, at + 1);
                }
                TokenTree::Ident(_) => {
                    let (path, end) = path(&trees, at);
                    at = end;
                    if path.len() > 1 && matches!(path[0].as_str(), "crate" | "super" | "self") {
                        self.references.push(Reference {
                            from: module,
                            path,
                            is_reexport: false,
                        });
                    }
                }
                TokenTree::Group(group) => {
                    self.scan(module, folder, group.stream());
                    at += 1;
                }
                _ => at += 1,
            }
            is_public = false;
        }
    }

    /// Reads a child module, whose name is at `at`; returns the position after it.
    fn child(&mut self, module: usize, folder: &Path, trees: &[TokenTree], at: usize) -> usize {
        let (Some(TokenTree::Ident(name)), Some(body)) = (trees.get(at), trees.get(at + 1)) else {
            return at;
        };
        let name = name.to_string();
        let below = folder.join(&name);
        let child = if let TokenTree::Group(body) = body {
            let file = self.modules[module].file.clone();
            self.module(module, &file, &below, body.stream())
        } else {
            let file = folder.join(format!("{name}.rs"));
            let file = if file.exists() {
                file
            } else {
                below.join("mod.rs")
            };
            self.file(module, &file, &below)
        };
        self.modules[module].children.insert(name, child);
        at + 2
    }

    /// The innermost module that a path leads to; `None` if it leads to another crate.
    fn resolve(&self, from: usize, path: &[String], steps: usize) -> Option<usize> {
        let mut module = from;
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                module = 0;
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while let Some(("super", below)) = rest.split_first().map(|(a, b)| (a.as_str(), b))
                {
                    module = self.modules[module].parent;
                    rest = below;
                }
            }
            name if !self.modules[from].children.contains_key(name) => return None,
            _ => {}
        }
        while let Some((name, below)) = rest.split_first() {
            let Some(child) = self.modules[module].children.get(name) else {
                let reexport = self.modules[module].reexports.get(name);
                let through = reexport
                    .filter(|_| steps < MOST_STEPS)
                    .and_then(|reexport| {
                        let path: CodePath = reexport.iter().chain(below).cloned().collect();
                        self.resolve(module, &path, steps + 1)
                    });
                return Some(through.unwrap_or(module));
            };
            (module, rest) = (*child, below);
        }
        Some(module)
    }

    /// Whether `inner` is `outer` or a module below it.
    fn contains(&self, outer: usize, inner: usize) -> bool {
        let mut module = inner;
        while module != outer && module != 0 {
            module = self.modules[module].parent;
        }
        module == outer
    }

    fn shown(&self, file: &Path) -> String {
        let folder = self.root.parent().expect("a file is in a folder");
        let file = file.strip_prefix(folder).unwrap_or(file);
        file.display().to_string()
    }
}

fn is_group(tree: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(tree, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

fn is_punct(tree: Option<&TokenTree>, character: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether the content of an attribute is `cfg(test)`, or `cfg` of more that includes it.
fn is_test(attribute: &TokenTree) -> bool {
    let TokenTree::Group(group) = attribute else {
        return false;
    };
    let text = group.stream().to_string();
    let words: Vec<&str> = text
        .split(|character: char| !character.is_alphanumeric() && character != '_')
        .collect();
    words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not")
}

/// The position of the last token of an item.
fn end_of_item(trees: &[TokenTree], from: usize) -> usize {
    (from..trees.len())
        .find(|at| is_group(trees.get(*at), Delimiter::Brace) || is_punct(trees.get(*at), ';'))
        .unwrap_or(trees.len())
}

/// The names of a path from `at`, and the position after it.
fn path(trees: &[TokenTree], mut at: usize) -> (CodePath, usize) {
    let mut path = CodePath::new();
    while let Some(TokenTree::Ident(name)) = trees.get(at) {
        path.push(name.to_string());
        at += 1;
        let goes_on = is_punct(trees.get(at), ':') && is_punct(trees.get(at + 1), ':');
        if !goes_on || !matches!(trees.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// Adds the paths of a `use` tree with the names that they get; returns the position after it.
fn use_tree(
    trees: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<(CodePath, String)>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(tree) = trees.get(at) {
        match tree {
            TokenTree::Ident(ident) if ident == "as" => {
                if let Some(TokenTree::Ident(alias)) = trees.get(at + 1) {
                    paths.push((path, alias.to_string()));
                }
                return at + 2;
            }
            TokenTree::Ident(name) => path.push(name.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut next = 0;
                while next < inner.len() {
                    // After it there is a comma, or nothing.
                    next = use_tree(&inner, next, &path, paths) + 1;
                }
                return at + 1;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                paths.push((path, "*".to_owned()));
                return at + 1;
            }
            _ => break,
        }
        at += 1;
    }
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        paths.push((path, name));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate with these files.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            fs::write(path, text).expect("space");
        }
        Crate::read(&folder.path().join(files[0].0)).circles()
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "pub struct B; fn b() { vec![super::a::A] }"),
            ("c.rs", "use crate::{a::{self, A}, b as d};"),
        ]);
        assert_eq!(found, [["a.rs", "b.rs"]]);
    }

    #[test]
    fn a_parent_with_children_is_no_circle() {
        let found = circles(&[
            ("lib.rs", "mod a; pub mod error; pub use error::Error;"),
            ("a/mod.rs", "mod b; pub use b::B; use crate::Error;"),
            ("a/b.rs", "use crate::Error; use crate::a::B;"),
            ("error.rs", "pub struct Error;"),
        ]);
        assert_eq!(found, Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_child_that_uses_its_parent_is_a_circle_if_the_parent_imports_it() {
        let found = circles(&[
            ("main.rs", "mod a; use a::b::B; const C: u8 = 1;"),
            ("a.rs", "pub mod b;"),
            ("a/b.rs", "use super::super::C; pub struct B;"),
        ]);
        assert_eq!(found, [["a/b.rs", "main.rs"]]);
    }

    #[test]
    fn tests_do_not_count() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "#[cfg(test)] mod tests { use crate::b; } #[cfg(test)] use crate::b;",
            ),
            ("b.rs", "use crate::a;"),
        ]);
        assert_eq!(found, Vec::<Vec<String>>::new());
    }
}
