//! Public paths to the items of cells. The compiler names a type by the path of its definition,
//! which may be in a private module that re-exports it under another path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ra_ap_syntax::ast::{self, AstNode, HasModuleItem, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile};

/// The modules of a session.
#[derive(Debug, Default)]
pub(super) struct Modules {
    root: Module,
}

#[derive(Debug, Default)]
struct Module {
    /// The submodules, and whether each is public.
    modules: BTreeMap<String, (bool, Module)>,
    /// The other items by name, and whether each is public.
    items: BTreeMap<String, bool>,
    exports: Vec<Export>,
}

/// A `pub use`.
#[derive(Debug)]
struct Export {
    path: Vec<String>,
    /// The exported name, or `None` for a glob import.
    name: Option<String>,
}

impl Modules {
    /// Collects the modules among these items.
    pub(super) fn of<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        let mut modules = Self::default();
        // Items outside of modules are always visible.
        for text in items.filter(|text| text.contains("mod ")) {
            let file = SourceFile::parse(text, Edition::Edition2024).tree();
            modules.root.add(&mut file.items());
        }
        modules
    }

    /// Returns whether a path leads into one of the modules.
    pub(super) fn hold(&self, path: &str) -> bool {
        path.split_once("::")
            .is_some_and(|(first, _)| self.root.modules.contains_key(first))
    }

    /// Returns a public path to the item that is defined or re-exported at `defined`.
    pub(super) fn public(&self, defined: &str) -> Option<String> {
        let target: Vec<&str> = defined.split("::").collect();
        let mut open: VecDeque<(Vec<String>, Vec<String>)> = VecDeque::from([Default::default()]);
        let mut seen = BTreeSet::new();
        while let Some((place, access)) = open.pop_front() {
            if !seen.insert((place.clone(), access.clone())) || access.len() > 8 {
                continue;
            }
            let Some(module) = self.root.at(&place) else {
                continue;
            };
            let extended = |path: &[String], name: &str| [path, &[name.to_owned()]].concat();
            let is_root = place.is_empty();
            for (name, is_public) in &module.items {
                let path = extended(&access, name);
                if (*is_public || is_root) && (extended(&place, name) == target || path == target) {
                    return Some(path.join("::"));
                }
            }
            for (name, (is_public, _)) in &module.modules {
                if *is_public || is_root {
                    open.push_back((extended(&place, name), extended(&access, name)));
                }
            }
            for export in &module.exports {
                let Some(leads) = self.resolve(&place, &export.path) else {
                    continue;
                };
                match &export.name {
                    Some(name) if leads == target || extended(&access, name) == target => {
                        return Some(extended(&access, name).join("::"));
                    }
                    Some(name) => open.push_back((leads, extended(&access, name))),
                    None => open.push_back((leads, access.clone())),
                }
            }
        }
        None
    }

    /// Resolves a path that is used in the module at `place`.
    fn resolve(&self, place: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut at = place.to_vec();
        let mut rest = path;
        let mut is_relative = false;
        while let Some((first, further)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => {
                    at.pop()?;
                }
                _ => break,
            }
            is_relative = true;
            rest = further;
        }
        if let (false, Some(first)) = (is_relative, rest.first()) {
            let module = self.root.at(&at)?;
            if !module.modules.contains_key(first) && !module.items.contains_key(first) {
                at.clear();
            }
        }
        at.extend(rest.iter().cloned());
        Some(at)
    }
}

impl Module {
    fn at(&self, place: &[String]) -> Option<&Self> {
        place
            .iter()
            .try_fold(self, |module, name| Some(&module.modules.get(name)?.1))
    }

    fn add(&mut self, items: &mut dyn Iterator<Item = ast::Item>) {
        for item in items {
            let named: Option<(Option<ast::Name>, bool)> = match &item {
                ast::Item::Module(it) => {
                    let mut module = Self::default();
                    module.add(&mut it.item_list().into_iter().flat_map(|list| list.items()));
                    if let Some(name) = it.name() {
                        let is_public = it.visibility().is_some();
                        let name = name.text().to_string();
                        self.modules.insert(name, (is_public, module));
                    }
                    None
                }
                ast::Item::Use(it) if it.visibility().is_some() => {
                    if let Some(tree) = it.use_tree() {
                        self.export(&tree, &[]);
                    }
                    None
                }
                ast::Item::Struct(it) => Some((it.name(), it.visibility().is_some())),
                ast::Item::Enum(it) => Some((it.name(), it.visibility().is_some())),
                ast::Item::Union(it) => Some((it.name(), it.visibility().is_some())),
                ast::Item::Trait(it) => Some((it.name(), it.visibility().is_some())),
                ast::Item::TypeAlias(it) => Some((it.name(), it.visibility().is_some())),
                _ => None,
            };
            if let Some((Some(name), is_public)) = named {
                self.items.insert(name.text().to_string(), is_public);
            }
        }
    }

    fn export(&mut self, tree: &ast::UseTree, prefix: &[String]) {
        let path = tree.path().map(|path| path.syntax().text().to_string());
        let mut full = prefix.to_vec();
        full.extend(
            path.iter()
                .flat_map(|path| path.split("::"))
                .map(|name| name.trim().to_owned()),
        );
        if let Some(list) = tree.use_tree_list() {
            for tree in list.use_trees() {
                self.export(&tree, &full);
            }
            return;
        }
        if full.last().is_some_and(|last| last == "self") && full.len() > 1 {
            full.pop();
        }
        let renamed = tree.rename().and_then(|rename| rename.name());
        let name = match renamed {
            _ if tree.star_token().is_some() => None,
            Some(name) => Some(name.text().to_string()),
            None => full.last().cloned(),
        };
        self.exports.push(Export { path: full, name });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_private_module_exports_is_found() {
        let modules = Modules::of(
            [
                "mod a { mod b { pub struct B; pub mod c { pub struct C; } } pub use b::B; pub use b::c as d; pub struct A; struct Hidden; }",
                "mod e { mod f { pub struct F; pub struct G; } mod h { pub enum H {} } pub use self::f::*; pub use { self::h::H as I }; }",
                "mod i { pub mod j { pub use super::super::a::B as K; } }",
            ]
            .into_iter(),
        );
        for (defined, public) in [
            ("a::A", Some("a::A")),
            ("a::B", Some("a::B")),
            ("a::d::C", Some("a::d::C")),
            ("a::b::B", Some("a::B")),
            ("a::b::c::C", Some("a::d::C")),
            ("e::f::G", Some("e::G")),
            ("e::h::H", Some("e::I")),
            ("a::Hidden", None),
            ("a::b::None", None),
        ] {
            assert_eq!(modules.public(defined).as_deref(), public, "{defined}");
        }
    }
}
