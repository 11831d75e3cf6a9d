//! Parses a cell into commands, items and statements, and finds its definitions.

use std::collections::BTreeSet;
use std::ops::Range;

use ra_ap_parser::LexedStr;
use ra_ap_syntax::ast::{self, AstNode, HasAttrs, HasName};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxNode};

use super::brackets::{Unbalanced, unbalanced};
use super::heading::{Command, Known, commands};
use super::identity::{Node, nodes_in};
use super::macros::bound;
use super::normalization::composed;
use super::source::Edit;
use super::uses::Uses;
use crate::nesting;

/// Macros that are known to define items.
const DEFINING: [&str; 5] = [
    "thread_local",
    "lazy_static",
    "bitflags",
    "bitflags::bitflags",
    "lazy_static::lazy_static",
];

/// The text before the code, so that it parses as the statements of a function.
const PRELUDE: &str = "fn cell() {\n";

/// The parts of a cell, as byte ranges of its code.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    /// The lines before the Rust code: commands of the evaluator (`:dep …`) and of the shell
    /// (`!ls`).
    pub(super) commands: Vec<Command>,
    /// The range of the Rust code.
    pub(super) rust: Range<usize>,
    /// Attributes of the whole crate (`#![feature(…)]`).
    pub(super) attributes: Vec<Range<usize>>,
    pub(super) items: Vec<Item>,
    /// The statements in order, without the last expression.
    pub(super) statements: Vec<Range<usize>>,
    /// The last expression.
    pub(super) tail: Option<Range<usize>>,
    /// The variables that the statements define. Of several with the same name, only the last.
    pub(super) locals: Vec<Local>,
    /// Whether the statements await futures.
    pub(super) awaits: bool,
    /// Whether the statements contain a `?`.
    pub(super) fails: bool,
    /// The positions of each `?` that can return from the cell itself, not from a closure or an
    /// `async` block.
    questions: Vec<usize>,
    /// Whether the code cannot be parsed. The compiler reports the reason.
    pub(super) broken: bool,
    /// The first unbalanced delimiter or unterminated token.
    pub(super) unbalanced: Option<Unbalanced>,
    /// The free names of the statements.
    pub(super) uses: BTreeSet<String>,
    /// The macro calls among the statements, with the names of the macros. They may define items.
    macro_calls: Vec<(String, Item)>,
    /// The `impl`s inside statements, on which types may depend.
    pub(super) inner: Vec<Node>,
    /// The edits of the code before it is compiled.
    pub(super) edits: Vec<Edit>,
}

/// A variable that a cell defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) name: String,
    pub(super) mutable: bool,
    /// The range of the name in the pattern.
    pub(super) place: Range<usize>,
    /// Whether the name may be that of a constant, which the pattern compares with the value.
    pub(super) may_be_constant: bool,
    /// The range of the initializer, if the pattern is a single name.
    pub(super) value: Option<Range<usize>>,
}

/// An item of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) what: What,
    pub(super) range: Range<usize>,
    /// The byte offsets at which `pub ` must be inserted to make the item visible to other crates.
    pub(super) private: Vec<usize>,
    /// The expansion of the item, if it is a macro call of a crate.
    pub(super) expansion: Option<String>,
}

/// The kind and name of an item. A later item with the same kind and name replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// `use`, split into single imports.
    Use(Vec<Import>),
    /// `extern crate`.
    ExternCrate(String),
    /// `macro_rules!`.
    Macro(String),
    /// An item in the type namespace.
    Type(String),
    /// An item in the value namespace.
    Value(String),
    /// `impl`: the header without white space, and the names of the members.
    Impl {
        header: String,
        members: Vec<String>,
    },
    /// Any other item.
    Other,
}

/// A single import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// The imported name, or `None` for a glob import and for `_`.
    pub(super) name: Option<String>,
    /// The import as a separate declaration.
    pub(super) code: String,
}

impl Cell {
    /// Parses a cell without knowledge of the notebook's values.
    pub(super) fn parse(code: &str) -> Self {
        Self::parse_among(code, &|_| false)
    }

    /// Parses code that has no commands at its top.
    pub(super) fn parse_rust(code: &str) -> Self {
        Self::parse_among(code, &|_| true)
    }

    /// Parses a cell. A `!` before a name for which `known` is true is a negation, not a shell
    /// command.
    pub(super) fn parse_among(code: &str, known: Known<'_>) -> Self {
        if nesting::is_too_deep(code) {
            return Self {
                rust: 0..code.len(),
                broken: true,
                ..Self::default()
            };
        }
        nesting::with_room(|| Self::parsed(code, known))
    }

    fn parsed(code: &str, known: Known<'_>) -> Self {
        let (commands, start) = commands(code, known);
        let mut cell = Self {
            commands,
            rust: start..code.len(),
            ..Self::default()
        };
        let rust = &code[start..];
        if rust.trim().is_empty() {
            return cell;
        }
        let wrapped = format!("{PRELUDE}{rust}\n}}");
        let parsed = SourceFile::parse(&wrapped, Edition::Edition2024);
        let function = parsed.tree().syntax().children().find_map(ast::Fn::cast);
        // If the code closes the function around it, the rest is outside of that function.
        let is_whole = function
            .as_ref()
            .is_some_and(|it| usize::from(it.syntax().text_range().end()) == wrapped.len());
        cell.broken = !parsed.errors().is_empty() || !is_whole;
        if cell.broken {
            cell.unbalanced = unbalanced(rust).map(|found| found.moved(start));
        }
        let statements = function
            .and_then(|function| function.body())
            .and_then(|body| body.stmt_list());
        let Some(statements) = statements else {
            cell.broken = true;
            return cell;
        };
        let back = Offset {
            by: start as isize - PRELUDE.len() as isize,
            end: code.len(),
        };
        let tail = statements.tail_expr();
        let mut uses = Uses::default();
        for node in statements.syntax().children() {
            cell.add(&node, back, tail.as_ref(), &mut uses);
        }
        cell.uses = uses.finish();
        cell
    }

    fn add(&mut self, node: &SyntaxNode, back: Offset, tail: Option<&ast::Expr>, uses: &mut Uses) {
        let range = back.range(node);
        if let Some(item) = ast::Item::cast(node.clone()) {
            self.items.push(Item {
                what: what(&item),
                range,
                private: private(&item, back),
                expansion: None,
            });
            return;
        }
        if ast::Attr::can_cast(node.kind()) {
            self.attributes.push(range);
            return;
        }
        uses.add(node);
        self.macro_calls.extend(macro_call(node, back));
        let inner = nodes_in(node).into_iter();
        self.inner.extend(inner.filter(Node::is_implementation));
        self.awaits = self.awaits || awaits(node);
        self.fails = self.fails
            || node
                .descendants_with_tokens()
                .any(|part| part.kind() == SyntaxKind::QUESTION);
        self.questions
            .extend(own_questions(node).map(|at| back.place(at)));
        if let Some(binding) = ast::LetStmt::cast(node.clone())
            && let Some(pattern) = binding.pat()
        {
            for local in locals(&binding, &pattern, back) {
                self.locals.retain(|earlier| earlier.name != local.name);
                self.locals.push(local);
            }
        }
        if tail.is_some_and(|tail| tail.syntax() == node) {
            self.tail = Some(range);
        } else {
            self.statements.push(range);
        }
    }

    /// Removes the names in patterns that are known constants from the variables.
    pub(super) fn without_constants(mut self, is_known: impl Fn(&str) -> bool) -> Self {
        self.locals.retain(|local| {
            !local.may_be_constant || local.name != "None" && !is_known(&local.name)
        });
        self
    }

    /// Adds the variables that calls of the notebook's macros bind.
    pub(super) fn with_variables_of_macros(
        mut self,
        code: &str,
        text_of: impl Fn(&str) -> Option<String>,
        is_value: &dyn Fn(&str) -> bool,
    ) -> Self {
        let mut locals = Vec::new();
        for (name, item) in &self.macro_calls {
            let Some(definition) = text_of(name).filter(|text| text.contains("let")) else {
                continue;
            };
            let call = &code[item.range.clone()];
            let open = call.find(['(', '[', '{']).map_or(call.len(), |at| at + 1);
            for bound in bound(&definition, &call[open..], is_value) {
                locals.push(Local {
                    name: bound.name,
                    mutable: bound.mutable,
                    place: item.range.clone(),
                    may_be_constant: false,
                    value: None,
                });
            }
        }
        for local in locals {
            if !self.locals.iter().any(|known| known.name == local.name) {
                self.locals.push(local);
            }
        }
        self
    }

    /// Converts macro calls that define items to items: calls of known macros, of macros of the
    /// notebook whose rules contain items, and of other macros whose expansions contain items.
    pub(super) fn with_items_of_macros(
        mut self,
        text_of: impl Fn(&str) -> Option<String>,
        mut expand: impl FnMut(&str, Range<usize>) -> Option<String>,
    ) -> Self {
        for (name, mut item) in std::mem::take(&mut self.macro_calls) {
            if !DEFINING.contains(&name.as_str()) {
                if let Some(text) = text_of(&name) {
                    if !defines_items(&text) {
                        continue;
                    }
                } else if let Some(expansion) = expand(&name, item.range.clone()) {
                    item.expansion = Some(expansion);
                } else {
                    continue;
                }
            }
            let is_other = |range: &Range<usize>| *range != item.range;
            self.statements.retain(is_other);
            self.tail = self.tail.filter(is_other);
            self.items.push(item);
        }
        self
    }

    /// Keeps macros that the cell defines twice among the statements, so that each definition
    /// applies from its position on, as in a program.
    pub(super) fn with_macros_in_order(mut self) -> Self {
        let is_macro = |item: &&Item| matches!(item.what, What::Macro(_));
        let macros: Vec<&Item> = self.items.iter().filter(is_macro).collect();
        let is_double = |item: &&&Item| macros.iter().filter(|it| it.what == item.what).count() > 1;
        let places = macros.iter().filter(is_double).map(|it| it.range.clone());
        let places: Vec<_> = places.collect();
        if !self.statements.is_empty() || self.tail.is_some() {
            self.statements.extend(places);
            self.statements.sort_by_key(|range| range.start);
        }
        self
    }

    /// Returns whether the `?` at a byte offset can return from the cell itself.
    pub(super) fn is_own_question(&self, place: usize) -> bool {
        self.questions.contains(&place)
    }

    /// Returns the variables that may exist when a cell ends early by `?` or by a panic: those
    /// defined before the last statement, or before the last one with a `?`.
    pub(super) fn locals_before_end(&self, by_question: bool) -> impl Iterator<Item = &Local> {
        let ends = |part: &&Range<usize>| {
            !by_question || self.questions.iter().any(|place| part.contains(place))
        };
        let parts = self.tail.iter().chain(self.statements.iter().rev());
        let end = parts.into_iter().find(ends).map_or(0, |part| part.start);
        self.locals
            .iter()
            .filter(move |local| local.place.start < end)
    }

    /// Returns whether the cell only defines items, including `main`, which nothing calls.
    pub(super) fn is_program(&self) -> bool {
        let is_main = |item: &Item| item.what == What::Value("main".to_owned());
        self.statements.is_empty() && self.tail.is_none() && self.items.iter().any(is_main)
    }

    /// Returns whether there is nothing to compile.
    pub(super) fn is_empty(&self) -> bool {
        !self.broken
            && self.attributes.is_empty()
            && self.items.is_empty()
            && self.statements.is_empty()
            && self.tail.is_none()
    }
}

/// Converts positions in the parsed text to positions in the cell.
#[derive(Clone, Copy)]
struct Offset {
    by: isize,
    /// The end of the cell. An unterminated string extends into the text after the cell.
    end: usize,
}

impl Offset {
    fn range(self, node: &SyntaxNode) -> Range<usize> {
        let range = node.text_range();
        self.place(range.start().into())..self.place(range.end().into())
    }

    fn place(self, place: usize) -> usize {
        place.saturating_add_signed(self.by).min(self.end)
    }
}

fn what(item: &ast::Item) -> What {
    let named = |name: Option<ast::Name>, kind: fn(String) -> What| {
        name.map_or(What::Other, |name| kind(composed(name.text())))
    };
    match item {
        ast::Item::Use(import) => {
            let mut imports = Vec::new();
            let attributes: String = import
                .attrs()
                .map(|attribute| attribute.syntax().text().to_string() + " ")
                .collect();
            if let Some(tree) = import.use_tree() {
                single_imports(&tree, "", &attributes, &mut imports);
            }
            What::Use(imports)
        }
        ast::Item::ExternCrate(extern_crate) => {
            extern_crate.name_ref().map_or(What::Other, |name| {
                What::ExternCrate(name.text().to_string())
            })
        }
        ast::Item::MacroRules(item) => named(item.name(), What::Macro),
        ast::Item::MacroDef(item) => named(item.name(), What::Macro),
        ast::Item::Fn(item) => named(item.name(), What::Value),
        ast::Item::Const(item) => named(item.name(), What::Value),
        ast::Item::Static(item) => named(item.name(), What::Value),
        ast::Item::Struct(item) => named(item.name(), What::Type),
        ast::Item::Enum(item) => named(item.name(), What::Type),
        ast::Item::Union(item) => named(item.name(), What::Type),
        ast::Item::Trait(item) => named(item.name(), What::Type),
        ast::Item::TypeAlias(item) => named(item.name(), What::Type),
        ast::Item::Module(item) => named(item.name(), What::Type),
        ast::Item::Impl(item) => implementation(item),
        _ => What::Other,
    }
}

fn implementation(item: &ast::Impl) -> What {
    let Some(list) = item.assoc_item_list() else {
        return What::Other;
    };
    let mut header = String::new();
    let parts = item
        .syntax()
        .children_with_tokens()
        .take_while(|part| part.as_node() != Some(list.syntax()))
        .filter(|part| {
            part.as_node()
                .is_none_or(|node| !ast::Attr::can_cast(node.kind()))
        });
    for part in parts {
        header.extend(
            part.to_string()
                .chars()
                .filter(|character| !character.is_whitespace()),
        );
    }
    let members = list.assoc_items().filter_map(|member| {
        let name = match &member {
            ast::AssocItem::Fn(item) => item.name(),
            ast::AssocItem::Const(item) => item.name(),
            ast::AssocItem::TypeAlias(item) => item.name(),
            ast::AssocItem::MacroCall(_) => None,
        }?;
        Some(name.text().to_string())
    });
    What::Impl {
        header,
        members: members.collect(),
    }
}

fn single_imports(tree: &ast::UseTree, prefix: &str, attributes: &str, found: &mut Vec<Import>) {
    let path: String = tree
        .path()
        .map(|path| path.syntax().text().to_string())
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    let global = tree.path().is_none() && prefix.is_empty() && tree.coloncolon_token().is_some();
    let mut full = match (prefix.is_empty(), path.is_empty()) {
        (true, _) if global => "::".to_owned(),
        (true, _) => path,
        (false, true) => prefix.to_owned(),
        (false, false) if prefix.ends_with("::") => format!("{prefix}{path}"),
        (false, false) => format!("{prefix}::{path}"),
    };
    if let Some(list) = tree.use_tree_list() {
        for tree in list.use_trees() {
            single_imports(&tree, &full, attributes, found);
        }
        return;
    }
    if tree.star_token().is_some() {
        found.push(Import {
            name: None,
            code: format!("{attributes}use {full}::*;"),
        });
        return;
    }
    if let Some(module) = full.strip_suffix("::self") {
        full = module.to_owned();
    }
    let renamed = tree.rename().map(|rename| {
        rename
            .name()
            .map_or_else(|| "_".to_owned(), |name| name.text().to_string())
    });
    let last = full.rsplit("::").next().unwrap_or_default().to_owned();
    let name = renamed.clone().unwrap_or(last);
    let code = match renamed {
        Some(name) => format!("{attributes}use {full} as {name};"),
        None => format!("{attributes}use {full};"),
    };
    found.push(Import {
        name: (name != "_").then_some(name),
        code,
    });
}

/// Returns the byte offsets at which `pub` is missing, so that other crates can use the item like
/// its own crate.
fn private(item: &ast::Item, back: Offset) -> Vec<usize> {
    let mut places = Vec::new();
    let mut open = |node: &SyntaxNode| {
        let visible = node.children().find_map(ast::Visibility::cast);
        let first = node
            .children_with_tokens()
            .find(|part| {
                !part.kind().is_trivia()
                    && part
                        .as_node()
                        .is_none_or(|node| !ast::Attr::can_cast(node.kind()))
            })
            .map(|part| part.text_range().start().into());
        if let (None, Some(first)) = (visible, first) {
            places.push(back.place(first));
        }
    };
    match item {
        ast::Item::Fn(_)
        | ast::Item::Const(_)
        | ast::Item::Static(_)
        | ast::Item::Enum(_)
        | ast::Item::Trait(_)
        | ast::Item::TypeAlias(_)
        | ast::Item::Module(_) => open(item.syntax()),
        ast::Item::Struct(_) | ast::Item::Union(_) => {
            open(item.syntax());
            for node in item.syntax().descendants() {
                if matches!(
                    node.kind(),
                    SyntaxKind::RECORD_FIELD | SyntaxKind::TUPLE_FIELD
                ) {
                    open(&node);
                }
            }
        }
        ast::Item::Impl(implementation) if implementation.trait_().is_none() => {
            let members = implementation
                .assoc_item_list()
                .into_iter()
                .flat_map(|list| list.assoc_items());
            for member in members {
                if !matches!(member, ast::AssocItem::MacroCall(_)) {
                    open(member.syntax());
                }
            }
        }
        _ => {}
    }
    places.sort_unstable();
    places
}

/// Returns the same for an item that is parsed as a separate text.
pub(super) fn unopened(item: &ast::Item) -> Vec<usize> {
    let end = usize::from(item.syntax().text_range().end());
    private(item, Offset { by: 0, end })
}

/// Converts a statement that is a macro call to an item, with the name of the macro.
fn macro_call(node: &SyntaxNode, back: Offset) -> Option<(String, Item)> {
    let statement = ast::ExprStmt::cast(node.clone()).and_then(|statement| statement.expr());
    let call = match statement.or_else(|| ast::Expr::cast(node.clone()))? {
        ast::Expr::MacroExpr(expression) => expression.macro_call()?,
        _ => return None,
    };
    let name = call.path()?.syntax().text().to_string();
    let mut private = Vec::new();
    if DEFINING.contains(&name.as_str()) {
        let tokens = call.token_tree()?.syntax().children_with_tokens();
        let mut before = SyntaxKind::WHITESPACE;
        for token in tokens.filter(|token| !token.kind().is_trivia()) {
            let is_visible = before == SyntaxKind::PUB_KW || token.as_node().is_some();
            if token.kind() == SyntaxKind::STATIC_KW && !is_visible {
                private.push(back.place(token.text_range().start().into()));
            }
            before = token.kind();
        }
    }
    let item = Item {
        what: What::Other,
        range: back.range(node),
        private,
        expansion: None,
    };
    Some((name, item))
}

/// Returns whether a rule of a macro expands to items.
fn defines_items(text: &str) -> bool {
    let lexed = LexedStr::new(Edition::Edition2024, text);
    let tokens: Vec<(SyntaxKind, &str)> = (0..lexed.len())
        .filter(|index| !lexed.kind(*index).is_trivia())
        .map(|index| (lexed.kind(index), lexed.text(index)))
        .collect();
    let is_rule =
        |at: &usize| tokens[*at].1 == "=" && tokens.get(at + 1).is_some_and(|it| it.1 == ">");
    let mut rules = (0..tokens.len()).filter(is_rule);
    rules.any(|at| begins_item(tokens.get(at + 3..).unwrap_or_default()))
}

/// Returns whether an item begins with these tokens.
fn begins_item(tokens: &[(SyntaxKind, &str)]) -> bool {
    let Some((kind, text)) = tokens.first() else {
        return false;
    };
    let next = tokens.get(1).map_or("", |next| next.1);
    match *text {
        "struct" | "enum" | "impl" | "fn" | "trait" | "mod" | "static" | "type" | "extern"
        | "use" | "pub" => true,
        "const" => next != "{",
        "unsafe" | "async" => matches!(next, "impl" | "fn" | "trait" | "extern"),
        "macro_rules" | "thread_local" | "lazy_static" => next == "!",
        // A repetition before the item is a list of attributes; a single fragment may be a
        // visibility.
        "$" if *kind == SyntaxKind::DOLLAR && next == "(" => {
            let end = tokens.iter().position(|token| token.1 == "*");
            tokens.get(2).is_some_and(|it| it.1 == "#")
                && end.is_some_and(|end| begins_item(&tokens[end + 1..]))
        }
        "$" => begins_item(tokens.get(2..).unwrap_or_default()),
        "#" => {
            let end = tokens.iter().position(|token| token.1 == "]");
            end.is_some_and(|end| begins_item(&tokens[end + 1..]))
        }
        _ => false,
    }
}

/// Returns the variables that a `let` binds.
fn locals(binding: &ast::LetStmt, pattern: &ast::Pat, back: Offset) -> Vec<Local> {
    // A constant as the whole pattern would be refutable.
    let is_whole = matches!(pattern, ast::Pat::IdentPat(_)) && binding.let_else().is_none();
    let value = binding.initializer().filter(|_| is_whole);
    let value = value.map(|value| back.range(value.syntax()));
    pattern
        .syntax()
        .descendants()
        .filter_map(ast::IdentPat::cast)
        .filter_map(|ident| {
            let name = ident.name()?;
            let text = composed(name.text());
            // `None` and `MAX` are parsed as bindings, too.
            let may_be_constant = text.starts_with(char::is_uppercase)
                && ident.mut_token().is_none()
                && ident.ref_token().is_none()
                && ident.pat().is_none()
                && !is_whole;
            Some(Local {
                name: text,
                mutable: ident.mut_token().is_some(),
                place: back.range(name.syntax()),
                may_be_constant,
                value: value.clone(),
            })
        })
        .collect()
}

/// Returns the positions of each `?` outside of closures and `async` blocks.
fn own_questions(node: &SyntaxNode) -> impl Iterator<Item = usize> {
    let tokens = node
        .descendants_with_tokens()
        .filter_map(ra_ap_syntax::SyntaxElement::into_token)
        .filter(|token| token.kind() == SyntaxKind::QUESTION);
    let is_own = |token: &ra_ap_syntax::SyntaxToken| {
        let inside = |parent: &SyntaxNode| node.text_range().contains_range(parent.text_range());
        let mut parents = token.parent_ancestors().take_while(inside);
        !parents.any(|parent| {
            let is_async = || {
                let mut parts = parent.children_with_tokens();
                parts.any(|part| part.kind() == SyntaxKind::ASYNC_KW)
            };
            match parent.kind() {
                SyntaxKind::CLOSURE_EXPR | SyntaxKind::FN => true,
                SyntaxKind::BLOCK_EXPR => is_async(),
                _ => false,
            }
        })
    };
    let own: Vec<usize> = tokens
        .filter(is_own)
        .map(|token| token.text_range().start().into())
        .collect();
    own.into_iter()
}

/// Returns whether code awaits a future outside of nested `async` blocks.
fn awaits(node: &SyntaxNode) -> bool {
    node.descendants_with_tokens()
        .filter_map(ra_ap_syntax::SyntaxElement::into_token)
        .filter(|token| token.kind() == SyntaxKind::AWAIT_KW || token.text() == "await")
        .any(|token| {
            let parents = token.parent_ancestors().take_while(|parent| parent != node);
            !parents.chain([node.clone()]).any(|parent| {
                let is_async = |kind| {
                    parent
                        .children_with_tokens()
                        .take_while(|part| part.as_token() != Some(&token))
                        .any(|part| part.kind() == kind)
                };
                match parent.kind() {
                    SyntaxKind::BLOCK_EXPR | SyntaxKind::CLOSURE_EXPR | SyntaxKind::FN => {
                        is_async(SyntaxKind::ASYNC_KW)
                    }
                    // Macro arguments are not parsed, so only their tokens are available.
                    SyntaxKind::TOKEN_TREE => is_async(SyntaxKind::ASYNC_KW),
                    _ => false,
                }
            })
        })
}

/// Returns whether a text contains a name as a whole word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str, ranges: &[Range<usize>]) -> Vec<String> {
        ranges
            .iter()
            .map(|range| code[range.clone()].to_owned())
            .collect()
    }

    #[test]
    fn a_cell_is_taken_apart() {
        let code = ":dep x = \"1\"\n// words\n!ls -l\nuse std::fmt;\nlet (a, mut b) = (1, 2);\nfn f() {}\nfor i in 0..3 {}\na + b // sum";
        let cell = Cell::parse(code);
        let names: Vec<_> = cell
            .commands
            .iter()
            .map(|command| {
                (
                    command.name.as_str(),
                    command.arguments.as_str(),
                    command.line,
                )
            })
            .collect();
        assert_eq!(names, [(":dep", "x = \"1\"", 1), ("!", "ls -l", 3)]);
        assert_eq!(
            texts(code, &cell.statements),
            ["let (a, mut b) = (1, 2);", "for i in 0..3 {}"]
        );
        assert_eq!(&code[cell.tail.expect("it has one")], "a + b");
        assert_eq!(cell.items.len(), 2);
        let locals: Vec<_> = cell
            .locals
            .iter()
            .map(|local| {
                (
                    local.name.as_str(),
                    local.mutable,
                    &code[local.place.clone()],
                )
            })
            .collect();
        assert_eq!(locals, [("a", false, "a"), ("b", true, "b")]);
        assert!(!cell.broken && !cell.awaits);
    }

    #[test]
    fn imports_are_split() {
        let cell = Cell::parse(
            "use std::{collections::{self, hash_map::HashMap as Map, *}, fmt::Write as _, io};",
        );
        let What::Use(imports) = &cell.items[0].what else {
            panic!("not an import: {:?}", cell.items[0]);
        };
        let seen: Vec<_> = imports
            .iter()
            .map(|import| (import.name.as_deref(), import.code.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("collections"), "use std::collections;"),
                (
                    Some("Map"),
                    "use std::collections::hash_map::HashMap as Map;"
                ),
                (None, "use std::collections::*;"),
                (None, "use std::fmt::Write as _;"),
                (Some("io"), "use std::io;"),
            ]
        );
    }

    #[test]
    fn private_parts_are_found() {
        let code = "#[derive(Debug)] struct P { x: i32, pub y: i32 }\nimpl P { fn new() -> P { P { x: 1, y: 2 } } const N: u8 = 1; }\nimpl Drop for P { fn drop(&mut self) {} }\nstruct T(u8, pub(crate) u8);\nmod m { fn hidden() {} }";
        let cell = Cell::parse(code);
        let mut opened = code.to_owned();
        let places: Vec<_> = cell
            .items
            .iter()
            .flat_map(|item| item.private.clone())
            .collect();
        for place in places.iter().rev() {
            opened.insert_str(*place, "pub ");
        }
        assert_eq!(
            opened,
            "#[derive(Debug)] pub struct P { pub x: i32, pub y: i32 }\nimpl P { pub fn new() -> P { P { x: 1, y: 2 } } pub const N: u8 = 1; }\nimpl Drop for P { fn drop(&mut self) {} }\npub struct T(pub u8, pub(crate) u8);\npub mod m { fn hidden() {} }"
        );
    }

    #[test]
    fn waiting_is_seen_where_it_happens() {
        let awaits = |code| Cell::parse(code).awaits;
        assert!(awaits("let x = f().await;"));
        assert!(awaits("println!(\"{}\", f().await);"));
        assert!(awaits("if true { f().await }"));
        assert!(!awaits("let x = async { f().await };"));
        assert!(!awaits("async fn g() { f().await }"));
        assert!(!awaits("spawn(async move { f().await; });"));
        assert!(!awaits("tokio::join!(async { f().await });"));
        assert!(!awaits("let y = async || f().await;"));
    }

    #[test]
    fn words_are_whole() {
        assert!(mentions("a + bb", "bb"));
        assert!(mentions("\"{값}\"", "값"));
        assert!(!mentions("abba", "bb"));
        assert!(!mentions("값들", "값"));
    }

    #[test]
    fn macros_that_define_items_are_told_from_others() {
        for (text, expected) in [
            (
                "macro_rules! m { ($n:ident) => { #[derive(Debug)] struct $n; }; }",
                true,
            ),
            (
                "macro_rules! m { ($v:vis $n:ident) => { $v struct $n; impl $n {} } }",
                true,
            ),
            (
                "macro_rules! m { ($(#[$a:meta])* $n:ident) => ($(#[$a])* pub enum $n {}); }",
                true,
            ),
            ("macro_rules! m { () => { const N: u8 = 1; } }", true),
            ("macro_rules! m { ($x:expr) => { $x }; }", false),
            (
                "macro_rules! m { ($x:expr) => {{ let a = $x; a }}; }",
                false,
            ),
            ("macro_rules! m { () => { const { 1 } } }", false),
            ("macro_rules! m { ($n:ident) => { let $n = 1; } }", false),
            ("macro_rules! m { () => { unsafe { f() } } }", false),
        ] {
            assert_eq!(defines_items(text), expected, "{text}");
        }
        let code =
            "make!(A);\nlet a = 1;\nthread_local! { static B: u8 = 1; pub static C: u8 = 2 }";
        let text_of = |name: &str| {
            (name == "make")
                .then(|| "macro_rules! make { ($n:ident) => { struct $n; } }".to_owned())
        };
        let cell = Cell::parse(code).with_items_of_macros(text_of, |_, _| None);
        assert_eq!(texts(code, &cell.statements), ["let a = 1;"]);
        assert_eq!((cell.items.len(), &cell.tail), (2, &None));
        assert!(code[cell.items[1].private[0]..].starts_with("static B"));
        assert_eq!(cell.items[1].private.len(), 1);

        let code = "other!(A);\nshow!(A)";
        let expand = |name: &str, _| (name == "other").then(|| "struct A;".to_owned());
        let cell = Cell::parse(code).with_items_of_macros(|_| None, expand);
        assert_eq!(cell.items[0].expansion.as_deref(), Some("struct A;"));
        assert_eq!((cell.items.len(), cell.statements.len()), (1, 0));
        assert!(cell.tail.is_some());
    }

    #[test]
    fn macros_that_are_defined_twice_stand_among_the_statements() {
        let one = "macro_rules! m { () => { 1 } }";
        let code = format!("{one}\nm!();\n{one}\nmacro_rules! n {{ () => {{ 1 }} }}\nm!()");
        let cell = Cell::parse(&code).with_macros_in_order();
        assert_eq!(texts(&code, &cell.statements), [one, "m!();", one]);
        assert_eq!(cell.items.len(), 3);
    }

    #[test]
    fn broken_code_is_known_as_such() {
        assert!(Cell::parse("let x = ;").broken);
        assert!(Cell::parse("fn f( {").broken);
        assert!(Cell::parse("").is_empty());
        assert!(Cell::parse("// nothing").is_empty());
    }
}
