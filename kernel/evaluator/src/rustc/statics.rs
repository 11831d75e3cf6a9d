//! Shares statics between crates, so that each exists once although its item is compiled
//! repeatedly.
//!
//! The crate of the cell that defines a static exports it under a symbol name. The library of this
//! crate is the home of the static. Every other crate declares the static as foreign and links to
//! the home, so that all crates access the same value.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxElement, SyntaxKind, SyntaxNode};

use super::identity::Identity;
use super::source::Edit;

/// The name of the inner static in the expansion of `lazy_static!`.
const LAZY: &str = "__azk_lazy";

/// Attributes that do not affect how a static is exported.
const HARMLESS: [&str; 4] = ["allow", "doc", "expect", "warn"];

/// A static in the text of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Static {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: String,
    /// The code of an equivalent plain static, for its dependencies.
    pub(super) code: String,
    visibility: String,
    mutable: bool,
    type_name: String,
    kind: Kind,
}

/// The form in which a static is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Plain,
    /// In `thread_local!`.
    Thread,
    /// In `lazy_static!`.
    Lazy {
        /// The attributes before `static ref`.
        attributes: String,
        type_place: Range<usize>,
        value_place: Range<usize>,
    },
}

/// The library that defines the statics of an item.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) library: PathBuf,
    /// The number of the cell of which the library is compiled.
    pub(super) cell: u64,
    /// The definitions on which the statics depend.
    pub(super) identity: Identity,
}

/// The statics of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Statics {
    pub(super) all: Arc<[Static]>,
    /// The edits that remove the macros around statics.
    macros: Arc<[Edit]>,
}

impl Statics {
    /// Finds the statics in an item, including those in functions and in supported macros.
    pub(super) fn of(text: &str, knows_lazy_static: bool) -> Self {
        if !text.contains("static ") {
            return Self::default();
        }
        let file = SourceFile::parse(text, Edition::Edition2024).tree();
        let mut all = Vec::new();
        let mut macros = Vec::new();
        for node in file.syntax().descendants() {
            if let Some(item) = ast::Static::cast(node.clone()) {
                all.extend(read(&item));
            } else if let Some(call) = ast::MacroCall::cast(node) {
                let found = in_macro(&call, text, knows_lazy_static);
                if let (Some(first), Some(last)) = (found.first(), found.last()) {
                    let range = call.syntax().text_range();
                    let (start, end) = (range.start().into(), range.end().into());
                    macros.push((start, first.start, String::new()));
                    macros.push((last.end, end, String::new()));
                    all.extend(found);
                }
            }
        }
        Self {
            all: all.into(),
            macros: macros.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the edits that export the statics in their home, or declare them in other crates.
    /// `private` are the byte offsets at which `pub` is missing.
    pub(super) fn edits(
        &self,
        symbol: impl Fn(&Static) -> String,
        is_home: bool,
        private: &[usize],
    ) -> Vec<Edit> {
        let mut edits = Vec::new();
        for it in self.all.iter() {
            let is_open = private
                .iter()
                .any(|place| (it.start..it.end).contains(place));
            it.edit(&symbol(it), is_home, is_open, &mut edits);
        }
        // The end of a macro comes after the end of its last static.
        edits.extend(self.macros.iter().cloned());
        edits
    }
}

/// Returns the statics in a call of a supported macro.
fn in_macro(call: &ast::MacroCall, text: &str, knows_lazy_static: bool) -> Vec<Static> {
    let path = call.path().map(|path| path.syntax().text().to_string());
    let is_lazy = match path.as_deref().unwrap_or_default().trim_start_matches("::") {
        "thread_local" | "std::thread_local" => false,
        "lazy_static" | "lazy_static::lazy_static" if knows_lazy_static => true,
        _ => return Vec::new(),
    };
    let Some(tree) = call.token_tree() else {
        return Vec::new();
    };
    let parts: Vec<SyntaxElement> = tree
        .syntax()
        .children_with_tokens()
        .filter(|part| !part.kind().is_trivia())
        .collect();
    // Removes the outer brackets.
    let parts = parts
        .get(1..parts.len().saturating_sub(1))
        .unwrap_or_default();
    let entries = parts.split_inclusive(|part| part.kind() == SyntaxKind::SEMICOLON);
    let found: Option<Vec<Static>> = entries
        .map(|entry| entry_of(entry, text, is_lazy))
        .collect();
    // A call that cannot be parsed is not edited.
    found.unwrap_or_default()
}

/// Parses a static in a macro: attributes, visibility, `static NAME: Type = value;`.
fn entry_of(parts: &[SyntaxElement], text: &str, is_lazy: bool) -> Option<Static> {
    let place = |range: &[SyntaxElement]| -> Option<Range<usize>> {
        let (first, last) = (range.first()?, range.last()?);
        Some(first.text_range().start().into()..last.text_range().end().into())
    };
    let position = |kind| parts.iter().position(|part| part.kind() == kind);
    let keyword = position(SyntaxKind::STATIC_KW)?;
    let name = keyword + 1 + usize::from(is_lazy);
    if is_lazy && parts.get(keyword + 1)?.kind() != SyntaxKind::REF_KW
        || parts.get(name)?.kind() != SyntaxKind::IDENT
        || parts.get(name + 1)?.kind() != SyntaxKind::COLON
    {
        return None;
    }
    let equals = equals_sign(parts, name + 2)?;
    let value_end = parts.len() - usize::from(parts.last()?.kind() == SyntaxKind::SEMICOLON);
    let whole = place(parts)?;
    let type_place = place(parts.get(name + 2..equals)?)?;
    let value_place = place(parts.get(equals + 1..value_end)?)?;
    // The attributes are everything before the visibility or the keyword.
    let visible = parts[..keyword]
        .iter()
        .position(|part| part.kind() == SyntaxKind::PUB_KW);
    let before = place(&parts[..visible.unwrap_or(keyword)]);
    let visibility = visible.and_then(|at| place(&parts[at..keyword]));
    let attributes = before.map_or("", |range| &text[range]).to_owned();
    let written = &text[type_place.clone()];
    let name = parts[name].to_string();
    let type_name = if is_lazy {
        format!("::std::sync::LazyLock<<{name} as ::std::ops::Deref>::Target>")
    } else {
        let file = SourceFile::parse(&format!("type T = {written};"), Edition::Edition2024).tree();
        let alias = file.syntax().descendants().find_map(ast::TypeAlias::cast);
        let written = with_lifetimes(&alias?.ty()?)?;
        format!("::std::thread::LocalKey<{written}>")
    };
    Some(Static {
        start: whole.start,
        end: whole.end,
        code: format!("static {name}: {written} = {};", &text[value_place.clone()]),
        name,
        visibility: visibility.map_or("", |range| &text[range]).to_owned(),
        mutable: false,
        type_name,
        kind: if is_lazy {
            Kind::Lazy {
                attributes,
                type_place,
                value_place,
            }
        } else {
            Kind::Thread
        },
    })
}

/// Returns the index of the `=` between type and value, ignoring `=` in angle brackets.
fn equals_sign(parts: &[SyntaxElement], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, part) in parts.iter().enumerate().skip(from) {
        match part.kind() {
            SyntaxKind::L_ANGLE => depth += 1,
            // The `>` of `->` closes no bracket.
            SyntaxKind::R_ANGLE if parts[index - 1].kind() == SyntaxKind::MINUS => {}
            SyntaxKind::R_ANGLE => depth = depth.saturating_sub(1),
            SyntaxKind::EQ if depth == 0 => return Some(index),
            _ => {}
        }
    }
    None
}

fn read(item: &ast::Static) -> Option<Static> {
    // A static without a value is already foreign.
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
        code: item.syntax().text().to_string(),
        kind: Kind::Plain,
        visibility: item
            .visibility()
            .map(|it| it.syntax().text().to_string())
            .unwrap_or_default(),
        mutable: item.mut_token().is_some(),
        name: item.name()?.text().to_string(),
        type_name: with_lifetimes(&item.ty()?)?,
    })
}

/// Returns a type with the `'static` lifetimes that a static elides but a foreign static must
/// declare. Returns `None` if a path may contain an elided lifetime.
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

/// Returns whether a part of a type is in a function signature, where an elided lifetime belongs to
/// the function.
fn is_in_signature(part: &SyntaxNode, whole: &SyntaxNode) -> bool {
    let around = part.ancestors().skip(1).take_while(|node| node != whole);
    around.chain([whole.clone()]).any(|node| {
        matches!(
            node.kind(),
            SyntaxKind::FN_PTR_TYPE | SyntaxKind::PARAM_LIST | SyntaxKind::RET_TYPE
        ) || ast::ParenthesizedArgList::can_cast(node.kind())
    })
}

/// Returns the attribute that exports a static under a symbol name.
fn exported(symbol: &str) -> String {
    format!("#[unsafe(export_name = \"{symbol}\")] ")
}

impl Static {
    fn edit(&self, symbol: &str, is_home: bool, is_open: bool, edits: &mut Vec<Edit>) {
        let visibility = if is_open { "pub" } else { &self.visibility };
        let (start, end, name) = (self.start, self.end, &self.name);
        match &self.kind {
            Kind::Plain if is_home => edits.push((start, start, exported(symbol))),
            Kind::Thread if is_home => {
                let begin = format!(
                    "{}{visibility} static {name}: {} = {{ ::std::thread_local! {{ ",
                    exported(symbol),
                    self.type_name
                );
                edits.push((start, start, begin));
                edits.push((end, end, format!(" }} {name} }};")));
            }
            Kind::Plain | Kind::Thread => {
                edits.push((start, end, self.declared(name, symbol, visibility)));
            }
            Kind::Lazy {
                attributes,
                type_place,
                value_place,
            } => {
                // The expansion of `lazy_static!`, with a different inner static.
                let begin = format!(
                    "{attributes} {visibility} struct {name} {{ _private: () }} \
                     {visibility} static {name}: {name} = {name} {{ _private: () }}; \
                     impl ::lazy_static::LazyStatic for {name} {{ fn initialize(lazy: &Self) {{ let _ = &**lazy; }} }} \
                     impl ::std::ops::Deref for {name} {{ type Target = "
                );
                edits.push((start, type_place.start, begin));
                let between = "; fn deref(&self) -> &Self::Target { ";
                if is_home {
                    let begin = format!(
                        "{between}{}static {LAZY}: {} = ::std::sync::LazyLock::new(|| -> <{name} as ::std::ops::Deref>::Target {{ ",
                        exported(symbol),
                        self.type_name
                    );
                    edits.push((type_place.end, value_place.start, begin));
                    edits.push((value_place.end, end, format!(" }}); &{LAZY} }} }}")));
                } else {
                    let declared = self.declared(LAZY, symbol, "");
                    edits.push((
                        type_place.end,
                        end,
                        format!("{between}{declared} &{LAZY} }} }}"),
                    ));
                }
            }
        }
    }

    /// Returns the declaration that replaces the static in other crates.
    fn declared(&self, name: &str, symbol: &str, visibility: &str) -> String {
        let kind = if self.mutable {
            "static mut"
        } else {
            "safe static"
        };
        format!(
            "unsafe extern \"C\" {{ #[link_name = \"{symbol}\"] {visibility} {kind} {name}: {}; }}",
            self.type_name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statics_are_declared_as_they_stand() {
        let declared = |text: &str, private: &[usize], is_home| {
            let statics = Statics::of(text, true);
            let mut edits = statics.edits(|it| it.name.to_lowercase(), is_home, private);
            edits.sort_by_key(|(start, _, _)| *start);
            let mut edited = text.to_owned();
            for (start, end, new) in edits.into_iter().rev() {
                edited.replace_range(start..end, &new);
            }
            edited
        };
        for (text, private, is_home, expected) in [
            (
                "fn f() -> u8 { static mut N: [u8; 2] = [1, 2]; static A: &str = \"a\"; #[no_mangle] static B: u8 = 1; 1 }",
                &[][..],
                false,
                "fn f() -> u8 { unsafe extern \"C\" { #[link_name = \"n\"]  static mut N: [u8; 2]; } unsafe extern \"C\" { #[link_name = \"a\"]  safe static A: &'static str; } #[no_mangle] static B: u8 = 1; 1 }",
            ),
            (
                "static L: [(&str, fn(&str) -> &str); 1] = [];",
                &[0],
                false,
                "unsafe extern \"C\" { #[link_name = \"l\"] pub safe static L: [(&'static str, fn(&str) -> &str); 1]; }",
            ),
            (
                "static C: Cow<str> = Cow::Borrowed(\"\");",
                &[],
                true,
                "static C: Cow<str> = Cow::Borrowed(\"\");",
            ),
            (
                "static C: u8 = 1;",
                &[],
                true,
                "#[unsafe(export_name = \"c\")] static C: u8 = 1;",
            ),
            (
                "thread_local! { #[allow(x)] pub static A: Box<dyn Fn() -> i8> = const { f() }; static B: M<Item = u8> = a == b }",
                &[],
                true,
                "#[unsafe(export_name = \"a\")] pub static A: ::std::thread::LocalKey<Box<dyn Fn() -> i8>> = { ::std::thread_local! { #[allow(x)] pub static A: Box<dyn Fn() -> i8> = const { f() }; } A }; \
                 #[unsafe(export_name = \"b\")]  static B: ::std::thread::LocalKey<M<Item = u8>> = { ::std::thread_local! { static B: M<Item = u8> = a == b } B };",
            ),
            (
                "std::thread_local!(static A: u8 = 1);",
                &[20],
                false,
                "unsafe extern \"C\" { #[link_name = \"a\"] pub safe static A: ::std::thread::LocalKey<u8>; }",
            ),
            (
                "lazy_static! { #[a] static ref A: Vec<u8> = f(); }",
                &[],
                false,
                "#[a]  struct A { _private: () }  static A: A = A { _private: () }; impl ::lazy_static::LazyStatic for A { fn initialize(lazy: &Self) { let _ = &**lazy; } } impl ::std::ops::Deref for A { type Target = Vec<u8>; fn deref(&self) -> &Self::Target { unsafe extern \"C\" { #[link_name = \"a\"]  safe static __azk_lazy: ::std::sync::LazyLock<<A as ::std::ops::Deref>::Target>; } &__azk_lazy } }",
            ),
            (
                "lazy_static! { pub static ref A: u8 = 1; }",
                &[],
                true,
                " pub struct A { _private: () } pub static A: A = A { _private: () }; impl ::lazy_static::LazyStatic for A { fn initialize(lazy: &Self) { let _ = &**lazy; } } impl ::std::ops::Deref for A { type Target = u8; fn deref(&self) -> &Self::Target { #[unsafe(export_name = \"a\")] static __azk_lazy: ::std::sync::LazyLock<<A as ::std::ops::Deref>::Target> = ::std::sync::LazyLock::new(|| -> <A as ::std::ops::Deref>::Target { 1 }); &__azk_lazy } }",
            ),
            (
                "thread_local! { static A = 1; }",
                &[],
                true,
                "thread_local! { static A = 1; }",
            ),
        ] {
            assert_eq!(declared(text, private, is_home), expected, "{text}");
        }
        assert!(Statics::of("lazy_static! { static ref A: u8 = 1; }", false).is_empty());
    }
}
