//! A file says first what it is for, and neither it nor a function in it is longer than a reader's patience.

use proc_macro2::Span;
use syn::{
    Attribute, Block, ImplItemFn, ItemFn, ItemMod, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{Finding, Source};

/// Lines of a file, without its test module.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Checks one Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let Some(file) = &source.rust else {
        return vec![Finding::new(&source.path, 0, "this Rust does not parse")];
    };
    let mut findings = Vec::new();
    if !source.text.trim_start().starts_with("//!") {
        findings.push(Finding::new(&source.path, 1, "the first line says what the file is for: `//! …`"));
    }
    if source.is_for_tests() {
        return findings;
    }
    let mut measure = Measure { path: &source.path, lines_of_tests: 0, findings: Vec::new() };
    measure.visit_file(file);
    let lines = source.text.lines().count() - measure.lines_of_tests;
    if lines > FILE_LINES_MAX {
        let problem = format!("{lines} lines without tests, more than {FILE_LINES_MAX}: split the file");
        findings.push(Finding::new(&source.path, 0, problem));
    }
    findings.append(&mut measure.findings);
    findings
}

struct Measure<'a> {
    path: &'a str,
    lines_of_tests: usize,
    findings: Vec<Finding>,
}

impl Measure<'_> {
    fn function(&mut self, signature: &Signature, body: &Block) {
        let begin = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line - begin + 1;
        if lines > FUNCTION_LINES_MAX {
            let problem =
                format!("`{}` has {lines} lines, more than {FUNCTION_LINES_MAX}: split it", signature.ident);
            self.findings.push(Finding::new(self.path, begin, problem));
        }
    }
}

impl<'ast> Visit<'ast> for Measure<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if is_for_tests(&module.attrs) {
            self.lines_of_tests += lines(module.span());
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if is_for_tests(&function.attrs) {
            self.lines_of_tests += lines(function.span());
            return;
        }
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn lines(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

/// Whether an item is there for tests alone: `#[cfg(test)]`, `#[test]`, `#[tokio::test]`.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.segments.last().is_some_and(|last| last.ident == "test")
            || (path.is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|of| of.is_ident("test")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(&Source::new("a/src/b.rs", text)).iter().map(Finding::to_string).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_has_its_bound() {
        assert!(findings(&format!("//! X.\n{}", function(70))).is_empty());
        let found = findings(&format!("//! X.\n\n{}", function(71)));
        assert_eq!(found, ["a/src/b.rs:3: `f` has 71 lines, more than 70: split it"]);
        for (before, after) in [("impl A {", "}"), ("mod a {", "}"), ("trait A {", "}"), ("fn g() {", "}")] {
            let text = format!("//! X.\n{before}\n{}{after}\n", function(71));
            assert!(!findings(&text).is_empty(), "{before}");
        }
        assert!(findings(&format!("//! X.\n#[cfg(test)]\nmod tests {{\n{}}}\n", function(99))).is_empty());
        assert!(findings(&format!("//! X.\n#[tokio::test]\n{}", function(99))).is_empty());
    }

    #[test]
    fn a_file_has_its_bound_and_its_tests_do_not_count() {
        let long = |n: usize| "const A: u8 = 1;\n".repeat(n);
        assert!(findings(&format!("//! X.\n{}", long(599))).is_empty());
        assert_eq!(findings(&format!("//! X.\n{}", long(600))).len(), 1);
        assert!(
            findings(&format!("//! X.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", long(599), long(99)))
                .is_empty()
        );
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(findings("mod a;\n").len(), 1);
        assert_eq!(findings("// X.\n").len(), 1);
        assert_eq!(findings("//! X.\nfn (\n").len(), 1, "what does not parse is said");
        assert!(check(&Source::new("a.md", "x")).is_empty());
    }
}
