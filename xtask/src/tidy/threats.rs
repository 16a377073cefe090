//! `docs/threats.md`: every row names a test that there is, or says that the attack is not stopped.

use std::collections::BTreeMap;

use syn::{
    ItemFn,
    visit::{self, Visit},
};

use super::{Finding, Source, named, shape::is_for_tests};

const THREATS: &str = "docs/threats.md";
/// What the last cell of a row says when there is no wall.
const OPEN: &str = "not stopped";

/// Checks the last cell of every row of every table in the file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(threats) = named(sources, THREATS) else {
        return vec![Finding::new(THREATS, 0, "there is no such file: attack, wall, test that proves it")];
    };
    let tests = tests(sources);
    let rows = rows(&threats.text);
    rows.flat_map(|(line, cell)| problems(cell, &tests).into_iter().map(move |problem| (line, problem)))
        .map(|(line, problem)| Finding::new(THREATS, line, problem))
        .collect()
}

fn problems(cell: &str, tests: &BTreeMap<String, Vec<&str>>) -> Vec<String> {
    let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if named.is_empty() && !cell.contains(OPEN) {
        return vec![format!("the last cell names a test in backticks, or says \"{OPEN}\"")];
    }
    let missing = named.into_iter().filter(|name| !exists(name, tests));
    missing.map(|name| format!("there is no test `{name}`")).collect()
}

/// Whether there is a test `name`, or `file.rs::name`, or `module::name`.
fn exists(name: &str, tests: &BTreeMap<String, Vec<&str>>) -> bool {
    let (before, function) = name.rsplit_once("::").unwrap_or(("", name));
    let file = before.split("::").next().filter(|file| file.ends_with(".rs"));
    tests.get(function).is_some_and(|paths| {
        file.is_none_or(|file| paths.iter().any(|path| *path == file || path.ends_with(&format!("/{file}"))))
    })
}

/// The last cell of each row of each table, with its line.
fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with('|') && line.chars().all(|c| "|-: ".contains(c));
    let heads: Vec<bool> =
        (0..lines.len()).map(|at| lines.get(at + 1).is_some_and(|next| is_rule(next))).collect();
    lines
        .into_iter()
        .zip(heads)
        .enumerate()
        .filter(move |(_, (line, head))| line.starts_with('|') && !head && !is_rule(line))
        .map(|(at, (line, _))| {
            (at + 1, line.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or(""))
        })
}

/// Names of the test functions, and the files they are in.
fn tests(sources: &[Source]) -> BTreeMap<String, Vec<&str>> {
    struct Names<'a>(&'a str, BTreeMap<String, Vec<&'a str>>);
    impl<'ast> Visit<'ast> for Names<'_> {
        fn visit_item_fn(&mut self, function: &'ast ItemFn) {
            if is_for_tests(&function.attrs) {
                self.1.entry(function.sig.ident.to_string()).or_default().push(self.0);
            }
            visit::visit_item_fn(self, function);
        }
    }
    let mut names = Names("", BTreeMap::new());
    for source in sources {
        names.0 = &source.path;
        if let Some(file) = &source.rust {
            names.visit_file(file);
        }
    }
    names.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(rows: &str) -> Vec<Finding> {
        let table = format!("# Threats\n\n| attack | wall | test |\n|---|---|---|\n{rows}\n");
        let test = "//! X.\n#[tokio::test]\nasync fn a_raw_socket_is_dropped() {}\nfn helper() {}\n";
        check(&[Source::new(THREATS, &table), Source::new("tests/tests/bypass.rs", test)])
    }

    #[test]
    fn a_row_names_a_test_or_says_that_nothing_stops_it() {
        for good in [
            "| raw socket | egress guard | `a_raw_socket_is_dropped` |",
            "| raw socket | egress guard | `bypass.rs::a_raw_socket_is_dropped` |",
            "| raw socket | egress guard | `tests::a_raw_socket_is_dropped`, partly |",
            "| root | | not stopped: root is root |",
        ] {
            assert_eq!(findings(good), [], "{good}");
        }
        for bad in [
            "| raw socket | egress guard | |",
            "| raw `socket` | egress guard | soon |",
            "| raw socket | `a_raw_socket_is_dropped` | yes |",
            "| raw socket | egress guard | `a_raw_socket_is_passed` |",
            "| raw socket | egress guard | `helper` |",
            "| raw socket | egress guard | `other.rs::a_raw_socket_is_dropped` |",
            "| root | | not stopped, see `nothing` |",
        ] {
            assert_eq!(findings(bad).iter().map(|found| found.line).collect::<Vec<_>>(), [5], "{bad}");
        }
        assert_eq!(check(&[]).len(), 1);
    }
}
