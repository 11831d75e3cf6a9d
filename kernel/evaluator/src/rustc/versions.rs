//! Versions of types: the compiler treats a redefined type as a different type.
//!
//! The compiler identifies a type by its path, so an older value behind `dyn Any` or `dyn Error`
//! would be downcast to the redefined type. A type or trait whose [`Identity`] has changed is
//! therefore defined in a module that is named after its version, and re-exported under its own
//! name. The first version has no module. If an edit is undone, the former version is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ra_ap_syntax::ast::{self, AstNode, HasModuleItem, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxNode, SyntaxToken};

use super::cell::unopened;
use super::generated::RESERVED;
use super::identity::{Identity, changes, makes_items};
use super::source::Edit;

/// A part of an item that may be wrapped in a module for its version: a type, a trait, or a
/// function or `impl` with such definitions in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    start: usize,
    end: usize,
    /// The key that identifies the part across versions.
    key: String,
    /// The types and traits whose identity determines the version.
    names: BTreeSet<String>,
    /// The re-exports of the module, with the visibility of the part.
    exports: Vec<String>,
    /// The edits that adapt relative paths to the additional module.
    edits: Vec<Edit>,
    /// The compiler numbers the `impl`s of a module in the paths of their inner types. Such a part
    /// therefore always has a separate module.
    is_implementation: bool,
}

/// All versions of the types of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    by_key: BTreeMap<String, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    identities: Vec<Arc<Identity>>,
    current: usize,
}

impl Versions {
    /// Updates the identities of the types. Returns whether the version of a type changed.
    pub(super) fn update(&mut self, now: impl Iterator<Item = (String, Identity)>) -> bool {
        let mut changed = false;
        for (key, identity) in now {
            let Some(known) = self.by_key.get_mut(&key) else {
                let identities = vec![Arc::new(identity)];
                self.by_key.insert(
                    key,
                    Known {
                        identities,
                        current: 0,
                    },
                );
                continue;
            };
            let fits = |index: &usize| changes(&known.identities[*index], &identity).is_empty();
            let all = 0..known.identities.len();
            let found = Some(known.current).into_iter().chain(all).find(fits);
            let index = found.unwrap_or(known.identities.len());
            // Stores additions, too, so that later changes to them are detected.
            if index == known.identities.len() {
                known.identities.push(Arc::new(identity));
            } else if *known.identities[index] != identity {
                known.identities[index] = Arc::new(identity);
            }
            changed |= index != known.current;
            known.current = index;
        }
        changed
    }

    /// Returns the edits of a text that define its types in their current versions.
    pub(super) fn edits(&self, typed: &[Typed]) -> Vec<Edit> {
        let mut edits = Vec::new();
        for part in typed {
            let version = self.by_key.get(&part.key).map_or(0, |known| known.current);
            if version > 0 || part.is_implementation {
                part.edit(version, &mut edits);
            }
        }
        edits
    }
}

impl Typed {
    /// Returns the key that identifies the part across versions.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns the types and traits whose identity determines the version.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    fn edit(&self, version: usize, edits: &mut Vec<Edit>) {
        let module = format!("{RESERVED}{version}_{}", self.key);
        let opens = format!("pub mod {module} {{ use super::*; ");
        edits.push((self.start, self.start, opens));
        edits.extend(self.edits.iter().cloned());
        let exports = self.exports.iter().map(|export| {
            let (visibility, name) = export.rsplit_once(' ').unwrap_or(("", export));
            format!(" {visibility} use {module}::{name};")
        });
        let closes = " }".to_owned() + &exports.collect::<String>();
        edits.push((self.end, self.end, closes));
    }
}

/// Returns the parts of an item's text that may be wrapped in modules.
pub(super) fn typed(text: &str) -> Arc<[Typed]> {
    let may_define = |word| text.contains(word);
    if !["struct", "enum", "union", "trait"]
        .into_iter()
        .any(may_define)
    {
        return Arc::default();
    }
    let file = SourceFile::parse(text, Edition::Edition2024).tree();
    let mut found = Vec::new();
    add(&mut file.items(), true, &mut found);
    found.into()
}

fn add(items: &mut dyn Iterator<Item = ast::Item>, is_root: bool, found: &mut Vec<Typed>) {
    for item in items {
        if let ast::Item::Module(module) = &item {
            let list = module.item_list();
            let mut items = list.into_iter().flat_map(|list| list.items());
            add(&mut items, false, found);
        } else {
            found.extend(part(&item, is_root));
        }
    }
}

fn part(item: &ast::Item, is_root: bool) -> Option<Typed> {
    let syntax = item.syntax();
    let (name, visibility) = match item {
        ast::Item::Struct(it) => (it.name(), it.visibility()),
        ast::Item::Enum(it) => (it.name(), it.visibility()),
        ast::Item::Union(it) => (it.name(), it.visibility()),
        ast::Item::Trait(it) => (it.name(), it.visibility()),
        ast::Item::Fn(it) => (it.name(), it.visibility()),
        ast::Item::Impl(_) => (None, None),
        _ => return None,
    };
    let is_body = matches!(item, ast::Item::Fn(_) | ast::Item::Impl(_));
    let names: BTreeSet<String> = syntax.descendants().filter_map(defined).collect();
    if names.is_empty() {
        return None;
    }
    let name = name.map(|name| name.text().to_string());
    let visibility = visibility.map(|it| it.syntax().text().to_string());
    let visibility = visibility.unwrap_or_else(|| if is_root { "pub" } else { "" }.to_owned());
    let mut exports: Vec<String> = name
        .iter()
        .map(|name| format!("{visibility} {name}"))
        .collect();
    if ast::HasAttrs::attrs(item).any(|attribute| makes_items(&attribute)) {
        exports.push(format!("{visibility} *"));
    }
    let key = match name {
        Some(name) if is_body => format!("{name}_fn"),
        Some(name) => name,
        None => header(item),
    };
    let range = syntax.text_range();
    Some(Typed {
        start: range.start().into(),
        end: range.end().into(),
        key: key.replace("r#", ""),
        names,
        exports,
        edits: edits(item, is_root),
        is_implementation: matches!(item, ast::Item::Impl(_)),
    })
}

/// Returns the header of an `impl` as an identifier.
fn header(item: &ast::Item) -> String {
    let text = item.syntax().text().to_string();
    let head = text.split('{').next().unwrap_or_default();
    let words = head.split(|sign: char| !sign.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

/// Returns the name of the type or trait that a node defines.
fn defined(node: SyntaxNode) -> Option<String> {
    let name = match ast::Item::cast(node)? {
        ast::Item::Struct(it) => it.name(),
        ast::Item::Enum(it) => it.name(),
        ast::Item::Union(it) => it.name(),
        ast::Item::Trait(it) => it.name(),
        _ => None,
    };
    name.map(|name| name.text().to_string())
}

/// Returns the edits that preserve the meaning of an item in an additional module, and that make
/// its private parts visible outside it. In the crate root, the parts are made public anyway.
fn edits(item: &ast::Item, is_root: bool) -> Vec<Edit> {
    let places = if is_root { Vec::new() } else { unopened(item) };
    let mut edits: Vec<Edit> = places
        .into_iter()
        .map(|place| (place, place, "pub(super) ".to_owned()))
        .collect();
    let tokens = item.syntax().descendants_with_tokens();
    let tokens = tokens.filter_map(ra_ap_syntax::SyntaxElement::into_token);
    for token in tokens.filter(|token| !is_in_module(token, item.syntax())) {
        let range = token.text_range();
        let text = match token.kind() {
            SyntaxKind::SUPER_KW if begins_path(&token) => "super::super",
            SyntaxKind::SELF_KW if begins_path(&token) => "super",
            SyntaxKind::SUPER_KW if is_visibility(&token) => "in super::super",
            SyntaxKind::SELF_KW if is_visibility(&token) => "super",
            _ => continue,
        };
        edits.push((range.start().into(), range.end().into(), text.to_owned()));
    }
    edits.sort_by_key(|(start, _, _)| *start);
    edits
}

/// Returns whether a token is in a module inside the item. Its relative paths do not change.
fn is_in_module(token: &SyntaxToken, item: &SyntaxNode) -> bool {
    let mut around = token.parent_ancestors().take_while(|node| node != item);
    around.any(|node| node.kind() == SyntaxKind::MODULE)
}

/// Returns whether a path begins with this token.
fn begins_path(token: &SyntaxToken) -> bool {
    let is_colon =
        |token: &SyntaxToken| matches!(token.kind(), SyntaxKind::COLON2 | SyntaxKind::COLON);
    let neighbours = |next: fn(&SyntaxToken) -> Option<SyntaxToken>| {
        std::iter::successors(next(token), next)
            .filter(|token| !token.kind().is_trivia())
            .take(2)
            .collect::<Vec<_>>()
    };
    let is_path = |tokens: &[SyntaxToken]| match tokens {
        [first, ..] if first.kind() == SyntaxKind::COLON2 => true,
        // In a macro, `::` consists of two tokens.
        [first, second] => is_colon(first) && is_colon(second),
        _ => false,
    };
    is_path(&neighbours(SyntaxToken::next_token)) && !is_path(&neighbours(SyntaxToken::prev_token))
}

/// Returns whether a token is in a visibility such as `pub(super)`.
fn is_visibility(token: &SyntaxToken) -> bool {
    let mut around = token.parent_ancestors();
    around.any(|node| {
        ast::Visibility::cast(node).is_some_and(|it| {
            let text = it.syntax().text().to_string();
            !text.contains("in ")
        })
    })
}

/// Removes the modules of versions from paths in a text.
pub(super) fn without_versions(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(RESERVED) {
        let after = &rest[start + RESERVED.len()..];
        let end = after
            .find(|sign: char| !sign.is_alphanumeric() && sign != '_')
            .unwrap_or(after.len());
        let is_version = after.starts_with(|sign: char| sign.is_ascii_digit());
        let (kept, skipped) = match after[end..].strip_prefix("::") {
            Some(further) if is_version => (&rest[..start], further),
            _ => rest.split_at(start + RESERVED.len() + end),
        };
        shown.push_str(kept);
        rest = skipped;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text with all of its parts in their second version.
    fn second(text: &str) -> String {
        let mut edits = Vec::new();
        for part in typed(text).iter() {
            part.edit(1, &mut edits);
        }
        edits.sort_by_key(|(start, _, _)| *start);
        let mut edited = text.to_owned();
        for (start, end, new) in edits.into_iter().rev() {
            edited.replace_range(start..end, &new);
        }
        edited
    }

    #[test]
    fn a_part_means_the_same_in_a_module_of_its_version() {
        for (text, expected) in [
            ("fn f() {}", "fn f() {}"),
            ("const N: u8 = 1;", "const N: u8 = 1;"),
            (
                "/// Words.\nstruct S(self::T);",
                "pub mod __azk_1_S { use super::*; /// Words.\nstruct S(super::T); } pub use __azk_1_S::S;",
            ),
            (
                "#[derive(Build)] pub(crate) enum E { A }",
                "pub mod __azk_1_E { use super::*; #[derive(Build)] pub(crate) enum E { A } } pub(crate) use __azk_1_E::E; pub(crate) use __azk_1_E::*;",
            ),
            (
                "mod m { struct S { a: super::A, pub(super) b: B, pub(self) c: m!(super::C) } fn f() {} }",
                "mod m { pub mod __azk_1_S { use super::*; pub(super) struct S { pub(super) a: super::super::A, pub(in super::super) b: B, pub(super) c: m!(super::super::C) } }  use __azk_1_S::S; fn f() {} }",
            ),
            (
                "fn f() { struct L; self::g(super::super::h()) }",
                "pub mod __azk_1_f_fn { use super::*; fn f() { struct L; super::g(super::super::super::h()) } } pub use __azk_1_f_fn::f;",
            ),
            (
                "trait T { fn f(&self) { self.g(self) } }",
                "pub mod __azk_1_T { use super::*; trait T { fn f(&self) { self.g(self) } } } pub use __azk_1_T::T;",
            ),
            (
                "impl<X> T for V<X> { fn f() { enum L {} } }",
                "pub mod __azk_1_impl_X_T_for_V_X { use super::*; impl<X> T for V<X> { fn f() { enum L {} } } }",
            ),
        ] {
            assert_eq!(second(text), expected, "{text}");
        }
    }

    #[test]
    fn a_version_that_comes_back_is_the_same_again() {
        let mut versions = Versions::default();
        let parts = typed("struct S;");
        let mut now = |content: &[(&str, u64)]| {
            let identity = content
                .iter()
                .map(|(label, hash)| ((*label).to_owned(), *hash));
            let changed = versions.update([("S".to_owned(), identity.collect())].into_iter());
            let edits = versions.edits(&parts);
            (
                changed,
                edits
                    .first()
                    .map_or("", |edit| edit.2.as_str())
                    .split(' ')
                    .nth(2)
                    .unwrap_or_default()
                    .to_owned(),
            )
        };
        let plain = String::new();
        assert_eq!(now(&[("S", 1)]), (false, plain.clone()));
        assert_eq!(now(&[("S", 2)]), (true, "__azk_1_S".to_owned()));
        assert_eq!(now(&[("S", 1)]), (true, plain.clone()));
        // Additions are recorded, so that later changes to them are detected.
        assert_eq!(now(&[("S", 1), ("impl T for S", 1)]), (false, plain));
        assert_eq!(
            now(&[("S", 1), ("impl T for S", 2)]),
            (true, "__azk_2_S".to_owned())
        );
    }

    #[test]
    fn texts_do_not_show_versions() {
        assert_eq!(
            without_versions("`m::__azk_12_S::S` and `__azk_cell_1`, `__azk_1_S`"),
            "`m::S` and `__azk_cell_1`, `__azk_1_S`"
        );
    }
}
