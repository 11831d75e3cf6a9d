//! Statics, which exist once though their items are compiled again and again.
//!
//! The crate of the cell that defines a static exports it by a symbol; that library is its home. Every other crate declares it as
//! foreign and is linked to the home, so all of them mean one value.

use std::path::PathBuf;
use std::sync::Arc;

use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxNode};

use super::identity::Identity;

/// Attributes that leave a static what it is.
const HARMLESS: [&str; 4] = ["allow", "doc", "expect", "warn"];

/// A static in the text of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Static {
    pub(super) start: usize,
    pub(super) end: usize,
    visibility: String,
    mutable: bool,
    name: String,
    type_name: String,
}

/// Where the statics of an item live.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) library: PathBuf,
    /// The number of the cell whose crate it is.
    pub(super) cell: u64,
    /// What the statics depend on.
    pub(super) identity: Identity,
}

/// The statics in an item, also those in functions.
pub(super) fn statics(text: &str) -> Arc<[Static]> {
    if !text.contains("static ") {
        return Arc::default();
    }
    let file = SourceFile::parse(text, Edition::Edition2024).tree();
    let found = file.syntax().descendants().filter_map(ast::Static::cast);
    found.filter_map(|item| read(&item)).collect()
}

fn read(item: &ast::Static) -> Option<Static> {
    // One without a value is foreign already.
    item.body()?;
    let is_harmless = |attribute: ast::Attr| {
        attribute
            .path()
            .is_some_and(|path| HARMLESS.contains(&path.syntax().text().to_string().as_str()))
    };
    item.attrs().all(is_harmless).then_some(())?;
    let range = item.syntax().text_range();
    Some(Static {
        start: range.start().into(),
        end: range.end().into(),
        visibility: item
            .visibility()
            .map(|it| it.syntax().text().to_string())
            .unwrap_or_default(),
        mutable: item.mut_token().is_some(),
        name: item.name()?.text().to_string(),
        type_name: with_lifetimes(&item.ty()?)?,
    })
}

/// A type with the lifetimes that a static need not write, and a foreign one must. `None` where they may hide in a path.
fn with_lifetimes(written: &ast::Type) -> Option<String> {
    let mut text = written.syntax().text().to_string();
    if text.contains("Cow<") && !text.contains('\'') {
        return None;
    }
    let start = written.syntax().text_range().start();
    let references = written
        .syntax()
        .descendants()
        .filter_map(ast::RefType::cast);
    let mut places: Vec<usize> = references
        .filter(|it| it.lifetime().is_none() && !is_in_signature(it.syntax(), written.syntax()))
        .map(|it| usize::from(it.syntax().text_range().start() - start) + 1)
        .collect();
    places.sort_unstable();
    for place in places.into_iter().rev() {
        text.insert_str(place, "'static ");
    }
    Some(text)
}

/// Whether a part of a type stands among the parameters or the result of a function, where a lifetime is the function's own.
fn is_in_signature(part: &SyntaxNode, whole: &SyntaxNode) -> bool {
    let around = part.ancestors().skip(1).take_while(|node| node != whole);
    around.chain([whole.clone()]).any(|node| {
        matches!(
            node.kind(),
            SyntaxKind::FN_PTR_TYPE | SyntaxKind::PARAM_LIST | SyntaxKind::RET_TYPE
        ) || ast::ParenthesizedArgList::can_cast(node.kind())
    })
}

/// The attribute that makes a static visible to other crates.
pub(super) fn exported(symbol: &str) -> String {
    format!("#[unsafe(export_name = \"{symbol}\")] ")
}

impl Static {
    /// What stands in its place in other crates.
    pub(super) fn declared(&self, symbol: &str, is_open: bool) -> String {
        let visibility = if is_open {
            "pub"
        } else {
            self.visibility.as_str()
        };
        let kind = if self.mutable {
            "static mut"
        } else {
            "safe static"
        };
        format!(
            "unsafe extern \"C\" {{ #[link_name = \"{symbol}\"] {visibility} {kind} {}: {}; }}",
            self.name, self.type_name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statics_are_declared_as_they_stand() {
        let text = "pub fn f() -> u8 { static mut N: [u8; 2] = [1, 2]; static A: &str = \"a\"; #[no_mangle] static B: u8 = 1; 1 }";
        let found = statics(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            &text[found[0].start..found[0].end],
            "static mut N: [u8; 2] = [1, 2];"
        );
        assert_eq!(
            found[1].declared("s", true),
            "unsafe extern \"C\" { #[link_name = \"s\"] pub safe static A: &'static str; }"
        );
        let list = statics("static L: [(&str, fn(&str) -> &str); 1] = [];");
        assert_eq!(list[0].type_name, "[(&'static str, fn(&str) -> &str); 1]");
        assert!(statics("static C: Cow<str> = Cow::Borrowed(\"\");").is_empty());
    }
}
