//! Computes the definitions on which the layout and meaning of a type depend, transitively.
//!
//! The compiler identifies a type by its path, so an edited definition would be confused with the
//! older one. Each variable therefore keeps the [`Identity`] of its type: the reachable definitions
//! by name, with a hash of each. The search ignores scopes, so it may include unrelated definitions
//! but misses none. Bodies of functions are ignored unless the compiler may evaluate them (`const
//! fn`).

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasGenericParams, HasName};
use ra_ap_syntax::{Edition, NodeOrToken, SourceFile, SyntaxKind, SyntaxNode, SyntaxToken};

/// The definitions that a type depends on: the label of each, and a hash of its contents.
pub(super) type Identity = BTreeMap<String, u64>;

/// Macros whose items do not affect the layout of a type.
const OF_STATICS: [&str; 4] = [
    "thread_local",
    "std::thread_local",
    "lazy_static",
    "lazy_static::lazy_static",
];

/// Macros whose expansions define only names in their calls, or nothing.
const TRANSPARENT: &[&str] = &[
    "assert",
    "assert_eq",
    "bitflags",
    "concat",
    "format",
    "matches",
    "panic",
    "println",
    "stringify",
    "thread_local",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// The roots of paths into the standard library.
const STANDARD: [&str; 3] = ["std", "core", "alloc"];

/// Names whose meaning is assumed not to change by a glob import.
const KNOWN: &[&str] = &[
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "bool",
    "char",
    "str",
    "Self",
    "self",
    "crate",
    "super",
    "Option",
    "Some",
    "None",
    "Ok",
    "Err",
    "Vec",
    "String",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "PartialEq",
    "Eq",
    "PartialOrd",
    "Ord",
    "Hash",
    "Send",
    "Sync",
    "Sized",
    "Drop",
    "Fn",
    "FnMut",
    "FnOnce",
    "Iterator",
    "IntoIterator",
    "From",
    "Into",
    "AsRef",
    "AsMut",
    "Unpin",
    "ToString",
    "derive",
    "repr",
    "allow",
    "doc",
    "C",
    "transparent",
    "packed",
    "align",
    "inline",
    "must_use",
    "non_exhaustive",
    "cfg",
    "default",
    "expect",
    "test",
    "macro_export",
    "automatically_derived",
];

/// A definition on which types may depend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    label: String,
    content: u64,
    /// The names by which other definitions refer to this one.
    provides: BTreeSet<String>,
    /// The names in the header of an `impl`. The `impl` is found by those that cells define.
    header: BTreeSet<String>,
    uses: BTreeSet<String>,
    /// Whether the definition may introduce names that are not in its text: a macro call or a glob
    /// import.
    opaque: bool,
    /// The macros that a macro definition or a macro call invokes. Their tokens may become names.
    macros: BTreeSet<String>,
    is_macro: bool,
}

/// Returns the definitions of the items in a text.
pub(super) fn nodes(text: &str) -> Arc<[Node]> {
    let file = SourceFile::parse(text, Edition::Edition2024).tree();
    nodes_in(file.syntax()).into()
}

/// Returns the definitions in code, at any depth.
pub(super) fn nodes_in(code: &SyntaxNode) -> Vec<Node> {
    let items = code.descendants().filter_map(ast::Item::cast);
    items
        .filter(|item| !is_expression(item))
        .filter_map(|item| node(&item))
        .collect()
}

/// Returns whether a macro call is in expression position, such as `format!` in a function. Its
/// expansion defines nothing outside the function.
fn is_expression(item: &ast::Item) -> bool {
    let place = item.syntax().parent().map(|parent| parent.kind());
    matches!(item, ast::Item::MacroCall(_))
        && !matches!(
            place,
            None | Some(SyntaxKind::SOURCE_FILE | SyntaxKind::ITEM_LIST)
        )
}

impl Node {
    /// Creates the node of an import. `name` is `None` for a glob import. `is_foreign` returns
    /// whether a name can only be a crate.
    pub(super) fn import(
        code: &str,
        name: Option<&str>,
        is_foreign: impl Fn(&str) -> bool,
    ) -> Self {
        let file = SourceFile::parse(code, Edition::Edition2024).tree();
        let path = code.trim_start_matches("use ").trim_start_matches("::");
        let root = path
            .split(|sign: char| !sign.is_alphanumeric() && sign != '_')
            .next()
            .unwrap_or_default();
        let standard = STANDARD.contains(&root);
        let foreign = is_foreign(root);
        let mut words = if foreign {
            // Names below a crate are not names of cells.
            BTreeSet::from([root.to_owned()])
        } else {
            words(file.syntax(), true)
        };
        if let Some(name) = name.filter(|_| !foreign) {
            words.remove(name);
            // Name resolution of `use a::N` depends on the `N` in `a`.
            if code.trim_end_matches(';').ends_with(&format!("::{name}")) && !standard {
                words.insert(name.to_owned());
            }
        }
        Self {
            label: code.trim_end_matches(';').to_owned(),
            content: 0,
            provides: name.map(str::to_owned).into_iter().collect(),
            header: BTreeSet::new(),
            uses: words,
            opaque: name.is_none() && code.ends_with("*;"),
            macros: BTreeSet::new(),
            is_macro: false,
        }
    }

    /// Creates the node of something outside the cells: a local crate, or the compiler's
    /// environment.
    pub(super) fn outside(label: &str, names: &[&str], content: &impl Hash) -> Self {
        Self {
            label: label.to_owned(),
            content: hash(content),
            provides: names.iter().map(|name| (*name).to_owned()).collect(),
            header: BTreeSet::new(),
            uses: BTreeSet::new(),
            opaque: false,
            macros: BTreeSet::new(),
            is_macro: false,
        }
    }

    /// Returns whether the definition is a macro call.
    pub(super) fn is_call(&self) -> bool {
        self.label.ends_with('!')
    }

    /// Returns whether the definition is an `impl`.
    pub(super) fn is_implementation(&self) -> bool {
        self.label.starts_with("impl ")
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn node(item: &ast::Item) -> Option<Node> {
    let named = |name: Option<ast::Name>| name.map(|name| name.text().to_string());
    match item {
        ast::Item::Fn(it) => {
            it.const_token()?;
            Some(whole(item, named(it.name())?))
        }
        ast::Item::Const(it) => {
            let name = named(it.name()).unwrap_or_else(|| "_".to_owned());
            Some(whole(item, name))
        }
        ast::Item::Static(it) => Some(whole(item, named(it.name())?)),
        ast::Item::Struct(it) => Some(whole(item, named(it.name())?)),
        ast::Item::Union(it) => Some(whole(item, named(it.name())?)),
        ast::Item::Trait(it) => Some(whole(item, named(it.name())?)),
        ast::Item::TypeAlias(it) => Some(whole(item, named(it.name())?)),
        ast::Item::MacroRules(it) => Some(whole(item, named(it.name())?)),
        ast::Item::MacroDef(it) => Some(whole(item, named(it.name())?)),
        ast::Item::Enum(it) => {
            let mut node = whole(item, named(it.name())?);
            let variants = it.variant_list().into_iter().flat_map(|it| it.variants());
            node.provides
                .extend(variants.filter_map(|variant| named(variant.name())));
            Some(node)
        }
        ast::Item::Impl(it) => implementation(it),
        ast::Item::MacroCall(it) => {
            let path = it.path()?.syntax().text().to_string();
            if OF_STATICS.contains(&path.trim_start_matches("::")) {
                return None;
            }
            let last = path.rsplit("::").next().unwrap_or_default().trim();
            let macros = BTreeSet::from([last.to_owned()]);
            let mut node = whole(item, path.clone());
            node.label.push('!');
            node.provides.clone_from(&node.uses);
            node.opaque = true;
            node.macros = macros;
            Some(node)
        }
        // Imports inside of modules. Imports of cells have their own nodes, see [`Node::import`].
        ast::Item::Use(it) => {
            let words = words(it.syntax(), true);
            let renamed = it.syntax().descendants().filter_map(ast::Name::cast);
            Some(Node {
                label: one_line(it.syntax()),
                content: 0,
                provides: renamed
                    .map(|name| name.text().to_string())
                    .chain(words.iter().cloned())
                    .collect(),
                header: BTreeSet::new(),
                opaque: it.syntax().text().to_string().contains('*'),
                uses: words,
                macros: BTreeSet::new(),
                is_macro: false,
            })
        }
        _ => None,
    }
}

fn whole(item: &ast::Item, name: String) -> Node {
    let syntax = item.syntax();
    let skips_bodies = matches!(item, ast::Item::Trait(_));
    let mut content = Vec::new();
    tokens(syntax, skips_bodies, &mut |token| {
        content.push(token.text().to_owned());
    });
    let mut uses = words(syntax, skips_bodies);
    for parameter in own_names(item) {
        uses.remove(&parameter);
    }
    Node {
        content: hash(&content),
        opaque: item.attrs().any(|attribute| makes_items(&attribute)),
        provides: BTreeSet::from([name.clone()]),
        label: name,
        header: BTreeSet::new(),
        uses,
        macros: match item {
            ast::Item::MacroRules(_) | ast::Item::MacroDef(_) => called_macros(syntax),
            _ => BTreeSet::new(),
        },
        is_macro: matches!(item, ast::Item::MacroRules(_) | ast::Item::MacroDef(_)),
    }
}

/// Returns the macros that the rules of a macro invoke.
fn called_macros(rules: &SyntaxNode) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = None;
    tokens(rules, false, &mut |token| {
        let word = before.replace(token.text().to_owned()).unwrap_or_default();
        let is_name = word.starts_with(|sign: char| sign.is_alphabetic() || sign == '_');
        if token.kind() == SyntaxKind::BANG && is_name && word != "macro_rules" {
            found.insert(word);
        }
    });
    found
}

/// Returns the names of an item's generic parameters, which have no meaning outside the item.
fn own_names(item: &ast::Item) -> Vec<String> {
    let list = match item {
        ast::Item::Struct(it) => it.generic_param_list(),
        ast::Item::Enum(it) => it.generic_param_list(),
        ast::Item::Union(it) => it.generic_param_list(),
        ast::Item::TypeAlias(it) => it.generic_param_list(),
        ast::Item::Impl(it) => it.generic_param_list(),
        ast::Item::Trait(it) => it.generic_param_list(),
        ast::Item::Fn(it) => it.generic_param_list(),
        _ => None,
    };
    let names = list.into_iter().flat_map(|list| {
        let names = list.syntax().children().flat_map(|it| it.children());
        names.filter_map(ast::Name::cast).collect::<Vec<_>>()
    });
    names.map(|name| name.text().to_string()).collect()
}

/// Returns whether an attribute may generate further items. Built-in attributes and `derive` of
/// standard traits do not.
pub(super) fn makes_items(attribute: &ast::Attr) -> bool {
    let mut found = BTreeSet::new();
    collect_words(attribute.syntax(), false, &mut found);
    let path = attribute
        .path()
        .map(|path| path.syntax().text().to_string());
    match path.as_deref() {
        Some("derive") => found.iter().any(|word| !KNOWN.contains(&word.as_str())),
        Some(path) => !KNOWN.contains(&path) && path != "serde",
        None => false,
    }
}

/// Creates the node of an `impl`. Types depend only on its constants, types and `const` functions.
fn implementation(item: &ast::Impl) -> Option<Node> {
    let list = item.assoc_item_list()?;
    let mut content = Vec::new();
    let mut uses = BTreeSet::new();
    let mut provides = BTreeSet::new();
    let mut opaque = false;
    for member in list.assoc_items() {
        let name = match &member {
            ast::AssocItem::Fn(it) if it.const_token().is_none() => continue,
            ast::AssocItem::Fn(it) => it.name(),
            ast::AssocItem::Const(it) => it.name(),
            ast::AssocItem::TypeAlias(it) => it.name(),
            ast::AssocItem::MacroCall(_) => {
                opaque = true;
                None
            }
        };
        provides.extend(name.map(|name| name.text().to_string()));
        tokens(member.syntax(), false, &mut |token| {
            content.push(token.text().to_owned());
        });
        collect_words(member.syntax(), false, &mut uses);
    }
    if content.is_empty() {
        return None;
    }
    let mut label = String::new();
    let mut header = BTreeSet::new();
    for part in item.syntax().children_with_tokens() {
        match part {
            NodeOrToken::Node(node) if node == *list.syntax() => break,
            NodeOrToken::Node(node) if ast::Attr::can_cast(node.kind()) => {}
            NodeOrToken::Node(node) => {
                label += &one_line(&node);
                collect_words(&node, false, &mut header);
            }
            NodeOrToken::Token(token) if token.kind() == SyntaxKind::COMMENT => {}
            NodeOrToken::Token(token) if token.kind() == SyntaxKind::WHITESPACE => {
                label.push(' ');
            }
            NodeOrToken::Token(token) => label += token.text(),
        }
    }
    for parameter in own_names(&ast::Item::Impl(item.clone())) {
        header.remove(&parameter);
        uses.remove(&parameter);
    }
    uses.extend(header.iter().cloned());
    Some(Node {
        label: label.trim().to_owned(),
        content: hash(&content),
        provides,
        header,
        uses,
        opaque,
        macros: BTreeSet::new(),
        is_macro: false,
    })
}

fn one_line(node: &SyntaxNode) -> String {
    let text = node.text().to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Visits all tokens except white space and comments. `skips_bodies` also skips the bodies of
/// functions.
fn tokens(node: &SyntaxNode, skips_bodies: bool, visit: &mut impl FnMut(&SyntaxToken)) {
    for part in node.children_with_tokens() {
        match part {
            NodeOrToken::Token(token) if !token.kind().is_trivia() => visit(&token),
            NodeOrToken::Token(_) => {}
            NodeOrToken::Node(child) => {
                let is_body = skips_bodies
                    && node.kind() == SyntaxKind::FN
                    && child.kind() == SyntaxKind::BLOCK_EXPR;
                if !is_body {
                    tokens(&child, skips_bodies, visit);
                }
            }
        }
    }
}

fn words(node: &SyntaxNode, skips_bodies: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_words(node, skips_bodies, &mut found);
    found
}

/// Collects the names that code refers to by name resolution, without names of fields and the like.
/// In macro calls all words are collected. Paths into the standard library are ignored.
fn collect_words(node: &SyntaxNode, skips_bodies: bool, found: &mut BTreeSet<String>) {
    // Whether the current word belongs to a path into the standard library, for the tokens of a
    // macro.
    let mut in_standard = false;
    let mut before = SyntaxKind::WHITESPACE;
    tokens(node, skips_bodies, &mut |token| {
        let kind = token.kind();
        let parent = token.parent();
        let in_macro = parent
            .as_ref()
            .is_some_and(|parent| parent.kind() == SyntaxKind::TOKEN_TREE);
        let is_word = kind == SyntaxKind::IDENT;
        if in_macro {
            if is_word {
                let continues = before == SyntaxKind::COLON;
                in_standard = continues && in_standard || STANDARD.contains(&token.text());
                if !in_standard {
                    found.insert(token.text().to_owned());
                }
            }
        } else if let Some(name) = parent.and_then(ast::NameRef::cast)
            && is_word
            && !leads_into_standard(&name)
            && !is_below_crate(&name)
        {
            found.insert(name.text().to_string());
        }
        before = kind;
    });
}

/// Returns whether a name follows the crate in a global path, such as `Two` in `::one::Two`.
fn is_below_crate(name: &ast::NameRef) -> bool {
    let segment = name.syntax().parent().and_then(ast::PathSegment::cast);
    let Some(mut path) = segment.map(|it| it.parent_path()) else {
        return false;
    };
    let is_crate = path.qualifier().is_none();
    while let Some(qualifier) = path.qualifier() {
        path = qualifier;
    }
    let root = path.segment();
    !is_crate && root.is_some_and(|root| root.coloncolon_token().is_some())
}

fn leads_into_standard(name: &ast::NameRef) -> bool {
    let mut trees = name.syntax().ancestors().filter_map(ast::UseTree::cast);
    let mut path = name
        .syntax()
        .parent()
        .and_then(ast::PathSegment::cast)
        .map(|it| it.parent_path());
    if let Some(outermost) = trees.by_ref().last().and_then(|tree| tree.path()) {
        path = Some(outermost);
    }
    let Some(mut path) = path else { return false };
    while let Some(qualifier) = path.qualifier() {
        path = qualifier;
    }
    path.segment()
        .and_then(|segment| segment.name_ref())
        .is_some_and(|root| STANDARD.contains(&root.text()))
}

/// The dependency graph of all definitions of a session, indexed by name.
pub(super) struct Graph<'a> {
    nodes: Vec<&'a Node>,
    by_name: HashMap<&'a str, Vec<usize>>,
    opaque: Vec<usize>,
    crates: &'a BTreeSet<String>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(nodes: impl Iterator<Item = &'a Node>, crates: &'a BTreeSet<String>) -> Self {
        let nodes: Vec<&Node> = nodes.collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for name in &node.provides {
                by_name.entry(name).or_default().push(index);
            }
        }
        // Besides foreign traits and types, the header of an `impl` contains a name that a cell
        // defines (orphan rule).
        let local: HashSet<&str> = by_name.keys().copied().collect();
        for (index, node) in nodes.iter().enumerate() {
            for name in node
                .header
                .iter()
                .filter(|name| local.contains(name.as_str()))
            {
                by_name.entry(name).or_default().push(index);
            }
        }
        // The expansion of a cell's macro consists of the words of the macro, of the macros that it
        // invokes, and of the call.
        let mut opaque = Vec::new();
        for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.opaque) {
            match words_of_macros(node, &nodes, &by_name) {
                Some(words) => {
                    for word in words {
                        by_name.entry(word).or_default().push(index);
                    }
                }
                None => opaque.push(index),
            }
        }
        Self {
            nodes,
            by_name,
            opaque,
            crates,
        }
    }

    /// Returns the definitions that a type depends on.
    pub(super) fn identity(&self, type_name: &str) -> Identity {
        let text = format!("type T = {type_name};");
        let file = SourceFile::parse(&text, Edition::Edition2024).tree();
        self.below(&words(file.syntax(), false))
    }

    /// Returns the definitions that code depends on.
    pub(super) fn below_code(&self, code: &str) -> Identity {
        let file = SourceFile::parse(code, Edition::Edition2024).tree();
        self.below(&words(file.syntax(), false))
    }

    /// Returns the definitions that are reachable from these names.
    pub(super) fn below(&self, names: &BTreeSet<String>) -> Identity {
        let mut identity = Identity::new();
        let mut seen = HashSet::new();
        let mut open: Vec<&str> = Vec::new();
        let mut reached = HashSet::new();
        let visit = |index: usize,
                     open: &mut Vec<&'a str>,
                     seen: &mut HashSet<usize>,
                     identity: &mut Identity| {
            if seen.insert(index) {
                let node = self.nodes[index];
                let content = identity.entry(node.label.clone()).or_default();
                // Wrapping addition makes the hash of two definitions with one label independent of
                // their order.
                *content = content.wrapping_add(node.content).wrapping_add(1);
                open.extend(node.uses.iter().map(String::as_str));
            }
        };
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        while let Some(name) = names.pop().or_else(|| open.pop()) {
            if !reached.insert(name.to_owned()) {
                continue;
            }
            if let Some(found) = self.by_name.get(name) {
                for index in found {
                    visit(*index, &mut open, &mut seen, &mut identity);
                }
            } else if !KNOWN.contains(&name) && !self.crates.contains(name) {
                for index in &self.opaque {
                    visit(*index, &mut open, &mut seen, &mut identity);
                }
            }
        }
        identity
    }
}

/// Returns the words of the macros that a node invokes, or `None` if a macro is not defined by a
/// cell.
fn words_of_macros<'a>(
    node: &'a Node,
    nodes: &[&'a Node],
    by_name: &HashMap<&'a str, Vec<usize>>,
) -> Option<BTreeSet<&'a str>> {
    if node.macros.is_empty() {
        return None;
    }
    let mut words = BTreeSet::new();
    let mut open: Vec<&str> = node.macros.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let named = by_name.get(name).into_iter().flatten();
        let rules = named
            .map(|index| nodes[*index])
            .filter(|it| it.label == name && it.is_macro);
        let mut is_known = TRANSPARENT.contains(&name);
        for rules in rules {
            is_known = true;
            words.extend(rules.uses.iter().map(String::as_str));
            open.extend(rules.macros.iter().map(String::as_str));
        }
        if !is_known {
            return None;
        }
    }
    Some(words)
}

/// Returns the labels of the definitions that differ between two identities.
///
/// Additions that replace no name do not change the meaning of a type that compiled before: an
/// `impl` of a trait, or a glob import, which never takes precedence over a name that already
/// resolves.
pub(super) fn changes(before: &Identity, now: &Identity) -> Vec<String> {
    let mut changed: Vec<String> = before
        .iter()
        .filter(|(label, content)| now.get(*label) != Some(content))
        .map(|(label, _)| label.clone())
        .collect();
    let is_new = |label: &&String| !before.contains_key(*label);
    let adds_only = |label: &&String| {
        label.starts_with("impl") && label.contains(" for ") || label.ends_with("::*")
    };
    changed.extend(
        now.keys()
            .filter(is_new)
            .filter(|label| !adds_only(label))
            .cloned(),
    );
    changed.sort_unstable();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether the identity of the type changes when the first item of `after` replaces the
    /// first item of `before`.
    fn changes_with(type_name: &str, rest: &str, before: &str, now: &str) -> bool {
        let crates = BTreeSet::from(["outer".to_owned()]);
        let of = |item: &str| {
            let nodes = nodes(&format!("{item}\n{rest}"));
            let graph = Graph::new(nodes.iter(), &crates);
            graph.identity(type_name)
        };
        !changes(&of(before), &of(now)).is_empty()
    }

    #[test]
    fn macros_in_functions_define_nothing_for_types() {
        for (before, now) in [
            ("", "fn f() -> String { format!(\"a\") }"),
            ("", "fn f() { println!(); { assert!(true) } }"),
            ("", "struct A; impl A { fn f() { println!(); } }"),
        ] {
            assert!(!changes_with("other::T", "", before, now), "{now}");
        }
        assert!(changes_with("T", "", "", "define! { T }"));
    }

    #[test]
    fn a_macro_of_a_cell_defines_its_words() {
        let rules = "macro_rules! make { ($n:ident) => { struct $n(u8); struct Fixed; more!{} } } macro_rules! more { () => { type More = u8; } }";
        for (type_name, call, expected) in [
            ("other::T", "make!(S);", false),
            ("T", "thread_local! { static T: u8 = 1; }", false),
            ("T", "bitflags! { struct S: u8 {} }", false),
            ("T", "foreign!(S);", true),
            ("S", "make!(S);", true),
            ("Fixed", "make!(S);", true),
            ("More", "make!(S);", true),
        ] {
            assert_eq!(changes_with(type_name, rules, "", call), expected, "{call}");
        }
        assert!(!changes_with("::outer::T", "", "", "foreign!(T);"));
        assert!(!changes_with("::outer::T<S>", "struct S;", "", "struct T;"));
        assert!(changes_with(
            "::outer::T<S>",
            "",
            "struct S;",
            "struct S(u8);"
        ));
    }

    #[test]
    fn a_type_depends_on_all_below_it() {
        for (what, type_name, rest, before, now) in [
            (
                "its fields",
                "S",
                "",
                "struct S { a: u8 }",
                "struct S { a: u16 }",
            ),
            (
                "the order of fields",
                "S",
                "",
                "struct S { a: u8, b: i8 }",
                "struct S { b: i8, a: u8 }",
            ),
            (
                "an attribute",
                "S",
                "",
                "struct S(u8, u16);",
                "#[repr(C)] struct S(u8, u16);",
            ),
            (
                "a constant",
                "S",
                "struct S([u8; N]);",
                "const N: usize = 1;",
                "const N: usize = 2;",
            ),
            (
                "a constant behind `pub`",
                "S",
                "struct S([u8; N]);",
                "pub const N: usize = 1;",
                "pub const N: usize = 2;",
            ),
            (
                "a constant behind a constant",
                "S",
                "struct S([u8; N]); const N: usize = M;",
                "const M: usize = 1;",
                "const M: usize = 2;",
            ),
            (
                "a constant function",
                "S",
                "struct S([u8; n()]);",
                "const fn n() -> usize { 1 }",
                "const fn n() -> usize { 2 }",
            ),
            (
                "a type inside",
                "std::vec::Vec<S>",
                "struct S { t: T }",
                "struct T(u8);",
                "struct T(i8);",
            ),
            (
                "an alias",
                "S",
                "struct S(A);",
                "type A = u8;",
                "type A = i8;",
            ),
            (
                "a type in a module",
                "S",
                "struct S(m::A);",
                "mod m { pub type A = u8; }",
                "mod m { pub type A = i8; }",
            ),
            (
                "an import in a module",
                "m::S",
                "mod m { use super::A; pub struct S(A); }",
                "type A = u8;",
                "type A = i8;",
            ),
            (
                "an associated constant",
                "S",
                "struct S([u8; A::N]); struct A;",
                "impl A { const N: usize = 1; }",
                "impl A { const N: usize = 2; }",
            ),
            (
                "a constant of a trait",
                "S",
                "trait T { const N: usize; } struct A; struct S([u8; <A as T>::N]);",
                "impl T for A { const N: usize = 1; }",
                "impl T for A { const N: usize = 2; }",
            ),
            (
                "a type of a trait",
                "S<A>",
                "trait T { type O; } struct A; struct S<X: T>(X::O);",
                "impl T for A { type O = u8; }",
                "impl T for A { type O = i8; }",
            ),
            (
                "a type of a trait of the library",
                "std::iter::Peekable<A>",
                "struct A;",
                "impl Iterator for A { type Item = u8; }",
                "impl Iterator for A { type Item = u64; }",
            ),
            (
                "a trait for all types",
                "S",
                "trait T { const N: usize; } struct S([u8; u8::N]);",
                "impl<X> T for X { const N: usize = 1; }",
                "impl<X> T for X { const N: usize = 2; }",
            ),
            (
                "a default of a trait",
                "S",
                "struct A; impl T for A {} struct S([u8; <A as T>::N]);",
                "trait T { const N: usize = 1; }",
                "trait T { const N: usize = 2; }",
            ),
            (
                "a macro",
                "S",
                "struct S { a: m!() }",
                "macro_rules! m { () => { u8 } }",
                "macro_rules! m { () => { i8 } }",
            ),
            (
                "a macro that defines it",
                "S",
                "make!(S);",
                "macro_rules! make { ($n:ident) => { struct $n(u8); } }",
                "macro_rules! make { ($n:ident) => { struct $n(i8); } }",
            ),
            (
                "methods of a trait object",
                "std::boxed::Box<dyn T>",
                "",
                "trait T { fn a(&self); }",
                "trait T { fn b(&self); fn a(&self); }",
            ),
            (
                "what a trait object inherits",
                "std::boxed::Box<dyn T>",
                "trait T: U {}",
                "trait U {}",
                "trait U { fn a(&self); }",
            ),
            (
                "the value of a variant",
                "S",
                "struct S([u8; E::B as usize]);",
                "enum E { A, B = 1 }",
                "enum E { A, B = 2 }",
            ),
            (
                "a default of a parameter",
                "S",
                "struct S<T = A>(T);",
                "type A = u8;",
                "type A = i8;",
            ),
            (
                "an `impl` in a function",
                "S",
                "struct A; struct S([u8; A::N]);",
                "fn f() { impl A { const N: usize = 1; } }",
                "fn f() { impl A { const N: usize = 2; } }",
            ),
            (
                "a newly hidden name",
                "S",
                "struct S(Vec<u8>);",
                "fn f() {}",
                "struct Vec<T>(T);",
            ),
        ] {
            assert!(changes_with(type_name, rest, before, now), "{what}");
        }
    }

    #[test]
    fn a_type_depends_on_nothing_else() {
        for (what, type_name, rest, before, now) in [
            (
                "white space and comments",
                "S",
                "",
                "struct S { a: u8 }",
                "/// Words.\nstruct S {\n  a: u8 // more\n}",
            ),
            (
                "functions",
                "S",
                "struct S;",
                "fn f() -> u8 { 1 }",
                "fn f() -> u8 { 2 }",
            ),
            (
                "methods",
                "S",
                "struct S;",
                "impl S { fn f() -> u8 { 1 } }",
                "impl S { fn f() -> u8 { 2 } }",
            ),
            (
                "bodies of a trait",
                "std::boxed::Box<dyn T>",
                "",
                "trait T { fn f(&self) -> u8 { 1 } }",
                "trait T { fn f(&self) -> u8 { 2 } }",
            ),
            (
                "other types",
                "S",
                "struct S(u8);",
                "struct T(u8);",
                "struct T(i8);",
            ),
            (
                "a type of the library that a name hides",
                "std::vec::Vec<S>",
                "struct S(u8);",
                "struct Vec;",
                "struct Vec(u8);",
            ),
            (
                "fields of that name",
                "S",
                "struct S { n: u8 }",
                "const n: u8 = 1;",
                "const n: u8 = 2;",
            ),
            (
                "a trait for a type of the language",
                "u8",
                "trait T { const N: u8; }",
                "impl T for u8 { const N: u8 = 1; }",
                "impl T for u8 { const N: u8 = 2; }",
            ),
        ] {
            assert!(!changes_with(type_name, rest, before, now), "{what}");
        }
    }

    #[test]
    fn an_impl_of_a_trait_that_is_added_changes_nothing() {
        for (more, expected) in [
            (
                "impl std::ops::Neg for S { type Output = S; fn neg(self) -> S { self } }",
                false,
            ),
            ("impl S { const N: usize = 1; }", true),
        ] {
            assert_eq!(
                changes_with("S", "struct S(u8);", "", more),
                expected,
                "{more}"
            );
        }
        let (one, two) = (
            "impl Iterator for S { type Item = u8; }",
            "impl Iterator for S { type Item = u16; }",
        );
        assert!(changes_with("S", "struct S(u8);", one, two));
    }

    #[test]
    fn an_import_gives_its_name_a_meaning() {
        let crates = BTreeSet::from(["outer".to_owned()]);
        let items = nodes("struct S { m: Map<u8, u8> }");
        let of = |imports: &[(&str, Option<&str>)]| {
            let imports: Vec<Node> = imports
                .iter()
                .map(|(code, name)| Node::import(code, *name, |root| root == "outer"))
                .collect();
            Graph::new(items.iter().chain(&imports), &crates).identity("S")
        };
        let hash_map = of(&[("use std::collections::HashMap as Map;", Some("Map"))]);
        assert_ne!(
            hash_map,
            of(&[("use std::collections::BTreeMap as Map;", Some("Map"))])
        );
        assert_eq!(
            hash_map,
            of(&[
                ("use std::collections::HashMap as Map;", Some("Map")),
                ("use outer::all::*;", None)
            ])
        );
        assert_ne!(
            of(&[("use outer::one::*;", None)]),
            of(&[("use outer::two::*;", None)])
        );
        assert_eq!(
            changes(&hash_map, &of(&[])),
            ["use std::collections::HashMap as Map"]
        );
    }
}
