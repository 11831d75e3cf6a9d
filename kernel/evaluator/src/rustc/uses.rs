//! Finds the free names of a cell. Those that are variables of earlier cells are passed to it.
//!
//! Scopes are resolved syntactically. In macro calls, every identifier that may be a variable is
//! included. The compiler reports missed names as unresolved, and the evaluator compiles the cell
//! again with them.

use std::collections::BTreeSet;

use ra_ap_syntax::ast::{self, AstNode, HasLoopBody, HasName};
use ra_ap_syntax::{SyntaxElement, SyntaxKind, SyntaxNode, SyntaxToken};

use super::normalization::composed;

/// The free names of the statements added so far.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// The bound names, innermost scope last. The first scope is that of the cell.
    scopes: Vec<BTreeSet<String>>,
    found: BTreeSet<String>,
}

impl Uses {
    /// Returns the free names.
    pub(super) fn finish(self) -> BTreeSet<String> {
        self.found
    }

    /// Adds a statement of the cell.
    pub(super) fn add(&mut self, node: &SyntaxNode) {
        if self.scopes.is_empty() {
            self.scopes.push(BTreeSet::new());
        }
        self.visit(node);
    }

    fn visit(&mut self, node: &SyntaxNode) {
        match node.kind() {
            // Items cannot use variables.
            kind if ast::Item::can_cast(kind) && kind != SyntaxKind::MACRO_CALL => {}
            SyntaxKind::BLOCK_EXPR => self.scoped(|uses| uses.children(node)),
            SyntaxKind::TOKEN_TREE => self.tokens(node),
            SyntaxKind::PATH_EXPR => self.path(node),
            SyntaxKind::IDENT_PAT
            | SyntaxKind::TUPLE_PAT
            | SyntaxKind::TUPLE_STRUCT_PAT
            | SyntaxKind::RECORD_PAT
            | SyntaxKind::SLICE_PAT
            | SyntaxKind::REF_PAT
            | SyntaxKind::OR_PAT
            | SyntaxKind::BOX_PAT
            | SyntaxKind::PAREN_PAT => {}
            _ => {
                if let Some(binding) = ast::LetStmt::cast(node.clone()) {
                    self.expression(binding.initializer());
                    self.node(binding.let_else());
                    self.bind(binding.pat());
                } else if let Some(binding) = ast::LetExpr::cast(node.clone()) {
                    self.expression(binding.expr());
                    self.bind(binding.pat());
                } else if let Some(closure) = ast::ClosureExpr::cast(node.clone()) {
                    self.scoped(|uses| uses.closure(&closure));
                } else if let Some(repeat) = ast::ForExpr::cast(node.clone()) {
                    self.expression(repeat.iterable());
                    self.scoped(|uses| {
                        uses.bind(repeat.pat());
                        uses.node(repeat.loop_body());
                    });
                } else if let Some(arm) = ast::MatchArm::cast(node.clone()) {
                    self.scoped(|uses| {
                        uses.bind(arm.pat());
                        uses.node(arm.guard());
                        uses.expression(arm.expr());
                    });
                } else if let Some(branch) = ast::IfExpr::cast(node.clone()) {
                    self.scoped(|uses| {
                        uses.expression(branch.condition());
                        uses.node(branch.then_branch());
                    });
                    match branch.else_branch() {
                        Some(ast::ElseBranch::Block(block)) => self.visit(block.syntax()),
                        Some(ast::ElseBranch::IfExpr(next)) => self.visit(next.syntax()),
                        None => {}
                    }
                } else if ast::WhileExpr::can_cast(node.kind()) {
                    self.scoped(|uses| uses.children(node));
                } else {
                    self.children(node);
                }
            }
        }
    }

    fn children(&mut self, node: &SyntaxNode) {
        for child in node.children() {
            self.visit(&child);
        }
    }

    fn node(&mut self, node: Option<impl AstNode>) {
        if let Some(node) = node {
            self.visit(node.syntax());
        }
    }

    fn expression(&mut self, expression: Option<ast::Expr>) {
        self.node(expression);
    }

    fn closure(&mut self, closure: &ast::ClosureExpr) {
        let list = closure.param_list();
        for parameter in list.into_iter().flat_map(|list| list.params()) {
            self.bind(parameter.pat());
        }
        self.expression(closure.body());
    }

    fn scoped(&mut self, visit: impl FnOnce(&mut Self)) {
        self.scopes.push(BTreeSet::new());
        visit(self);
        self.scopes.pop();
    }

    fn bind(&mut self, pattern: Option<ast::Pat>) {
        let Some(pattern) = pattern else { return };
        let bindings = pattern
            .syntax()
            .descendants()
            .filter_map(ast::IdentPat::cast);
        let names = bindings.filter_map(|binding| Some(composed(binding.name()?.text())));
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(names);
        }
    }

    /// Visits a path expression. Only a path of a single name can be a variable.
    fn path(&mut self, node: &SyntaxNode) {
        let path = ast::PathExpr::cast(node.clone()).and_then(|expression| expression.path());
        let Some(path) = path else { return };
        if path.qualifier().is_none()
            && let Some(name) = path.segment().and_then(|segment| segment.name_ref())
            && name
                .syntax()
                .parent()
                .is_some_and(|segment| segment.children().count() == 1)
        {
            self.name(name.text());
        }
    }

    fn name(&mut self, name: &str) {
        let name = &composed(name);
        if !self.scopes.iter().any(|scope| scope.contains(name)) {
            self.found.insert(name.clone());
        }
    }

    /// Visits the tokens of a macro call.
    fn tokens(&mut self, tree: &SyntaxNode) {
        let tokens: Vec<SyntaxToken> = tree
            .descendants_with_tokens()
            .filter_map(SyntaxElement::into_token)
            .filter(|token| !token.kind().is_trivia())
            .collect();
        let kind = |index: Option<usize>| {
            index
                .and_then(|index| tokens.get(index))
                .map(SyntaxToken::kind)
        };
        for (index, token) in tokens.iter().enumerate() {
            if token.kind() == SyntaxKind::STRING {
                self.placeholders(token.text());
                continue;
            }
            if token.kind() != SyntaxKind::IDENT {
                continue;
            }
            let back = |by| kind(index.checked_sub(by));
            let ahead = |by| kind(Some(index + by));
            let is_member = back(1) == Some(SyntaxKind::DOT) && back(2) != Some(SyntaxKind::DOT);
            let is_end_of_path =
                back(1) == Some(SyntaxKind::COLON) && back(2) == Some(SyntaxKind::COLON);
            // The start of a path, or the name of a field.
            let has_colon = ahead(1) == Some(SyntaxKind::COLON);
            let is_macro = ahead(1) == Some(SyntaxKind::BANG) && ahead(2) != Some(SyntaxKind::EQ);
            if !is_member && !is_end_of_path && !has_colon && !is_macro {
                self.name(token.text());
            }
        }
    }

    /// Visits the names in a format string: `{name}`, `{name:>width$}`.
    fn placeholders(&mut self, text: &str) {
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                rest = after;
                continue;
            }
            let Some(end) = rest.find('}') else { return };
            let (name, form) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
            let counts = form.split('$').rev().skip(1).map(last_name);
            for name in counts.chain([name.trim()]) {
                if is_name(name) {
                    self.name(name);
                    // A format string names a raw identifier without its `r#`.
                    self.name(&format!("r#{name}"));
                }
            }
            rest = &rest[end..];
        }
    }
}

/// Returns the identifier at the end of a text.
fn last_name(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, sign)| sign.is_alphanumeric() || *sign == '_')
        .last()
        .map_or(text.len(), |(start, _)| start);
    &text[start..]
}

fn is_name(text: &str) -> bool {
    text.starts_with(|sign: char| sign.is_alphabetic() || sign == '_')
        && text
            .chars()
            .all(|sign| sign.is_alphanumeric() || sign == '_')
}

#[cfg(test)]
mod tests {
    use crate::rustc::cell::Cell;

    fn uses(code: &str) -> String {
        let mut found: Vec<_> = Cell::parse(code).uses.into_iter().collect();
        found.retain(|name| name.len() == 1 || name == "r#type");
        found.concat()
    }

    #[test]
    fn what_a_cell_looks_up_is_found() {
        for (code, expected) in [
            ("a + b", "ab"),
            ("a.b(c)[d]", "acd"),
            ("let a = a;", "a"),
            ("let a = 1; a", ""),
            ("let (a, b): (u8, u8) = c; a + b + d", "cd"),
            ("{ let a = 1; } a", "a"),
            ("for a in b { a; c; }", "bc"),
            ("match a { b if c => b, _ => d }", "acd"),
            ("if let Some(a) = b && a > c { a } else { a }", "abc"),
            ("while let Some(a) = b.pop() { a; }", "b"),
            ("let Some(a) = b else { return c };", "bc"),
            ("|a: u8, (b, _)| a + b + c", "c"),
            ("fn f() { a }", ""),
            ("struct S { a: u8 }", ""),
            ("S { a: b, c }", "bc"),
            ("a::b(); m::c", ""),
            ("a::<u8>()", ""),
            ("// a\n\"a\"", ""),
            ("println!(\"a {b} {{c}} {d:>e$.f$} {0}\", g)", "bdefg"),
            ("println!(\"{}\", T { a: b }.c)", "Tb"),
            ("assert!(a != b); vec![a..b, m::c, d!()]", "ab"),
            ("println!(\"{type}\")", "r#type"),
            ("r#type", "r#type"),
            ("a += 1; *b = c;", "abc"),
            ("async { a.await }", "a"),
        ] {
            assert_eq!(uses(code), expected, "{code}");
        }
    }
}
