//! Statics, which exist once though their items are compiled again and again.
//!
//! The crate of the cell that defines a static exports it by a symbol; that library is its home. Every other crate declares it as
//! foreign and is linked to the home, so all of them mean one value.

use std::path::PathBuf;
use std::sync::Arc;

use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile};

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
        type_name: item.ty()?.syntax().text().to_string(),
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
            "unsafe extern \"C\" { #[link_name = \"s\"] pub safe static A: &str; }"
        );
    }
}
