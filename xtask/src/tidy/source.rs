//! The files that the rules are about, read once.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Endings of the files that people write here.
const ENDINGS: [&str; 9] = ["rs", "md", "toml", "py", "sql", "cedar", "sh", "txt", "service"];
/// Folders that a build makes.
const MADE: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// Folders whose name begins with a dot and that people write nevertheless.
const DOTTED: [&str; 3] = [".ci", ".cargo", ".github"];

/// A file.
pub(super) struct Source {
    /// From the workspace, with `/`.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
    /// What is in it, when it is Rust that parses.
    pub(super) rust: Option<syn::File>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let rust = if path.ends_with(".rs") { syn::parse_file(text).ok() } else { None };
        Self { path: path.to_owned(), text: text.to_owned(), rust }
    }

    /// Whether this file holds Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of this file is for tests: `tests.rs`, `x_tests.rs`, or a file in a folder `tests` of a package. The
    /// package `tests` itself is the lab, which is written as the product is; its own tests are in `tests/tests`.
    pub(super) fn is_for_tests(&self) -> bool {
        let below = self.path.strip_prefix("tests/").unwrap_or(&self.path);
        below.ends_with("_tests.rs") || below.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Every file of the workspace that people write, in order.
pub(super) fn all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    walk(root, "", &mut sources)?;
    sources.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(folder: &Path, prefix: &str, into: &mut Vec<Source>) -> Result<()> {
    for item in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let item = item.with_context(|| format!("cannot list {}", folder.display()))?;
        let Ok(name) = item.file_name().into_string() else { continue };
        let kind = item.file_type().with_context(|| format!("cannot look at {}", item.path().display()))?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() && is_written(&name) {
            walk(&item.path(), &format!("{path}/"), into)?;
        } else if kind.is_file() && is_ours(&path) {
            let text = fs::read_to_string(item.path()).with_context(|| format!("cannot read {path}"))?;
            into.push(Source::new(&path, &text));
        }
    }
    Ok(())
}

fn is_written(folder: &str) -> bool {
    if folder.starts_with('.') { DOTTED.contains(&folder) } else { !MADE.contains(&folder) }
}

fn is_ours(path: &str) -> bool {
    path.starts_with(".ci/") || path.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_tests_is_told_by_the_path() {
        for (path, yes) in [
            ("agent/crates/audit/tests/crash.rs", true),
            ("agent/crates/audit/src/writer/tests.rs", true),
            ("agent/crates/audit/src/writer/tests/disk.rs", true),
            ("agent/crates/sql/src/analyze_tests.rs", true),
            ("tests/tests/corridor.rs", true),
            ("tests/src/lib.rs", false),
            ("agent/src/tests_of_time.rs", false),
        ] {
            assert_eq!(Source::new(path, "").is_for_tests(), yes, "{path}");
        }
    }

    #[test]
    fn what_a_build_makes_is_not_read() {
        assert!(is_written(".ci") && is_written("docs") && !is_written(".git") && !is_written("target"));
        assert!(is_ours(".ci/run") && is_ours("a/b.rs") && !is_ours("a/b.o") && !is_ours("a/LICENSE"));
    }
}
