//! The rules of the house that no compiler checks. One file for each; each says everything that it finds.

mod edges;
mod headers;
mod links;
mod map;
mod rooms;
mod shape;
mod source;
mod threats;
mod unsafe_code;
mod words;

use std::{fmt, path::Path};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use rooms::Room;
use source::Source;

/// Something that is not as the rules want it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the workspace.
    file: String,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong, and what to do.
    problem: String,
}

impl Finding {
    fn new(file: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.problem),
            line => write!(f, "{}:{line}: {}", self.file, self.problem),
        }
    }
}

/// Checks every rule and shows everything that is wrong.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = check(root)?;
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => bail!("the house is not tidy: {n} findings"),
    }
}

fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read the workspace")?;
    let rooms = rooms::all(&metadata);
    let sources = source::all(root)?;
    let mut findings = Vec::new();
    findings.extend(rooms.iter().flat_map(edges::check));
    findings.extend(headers::check(&rooms, &sources));
    findings.extend(map::check(&rooms, &sources));
    findings.extend(sources.iter().flat_map(shape::check));
    findings.extend(sources.iter().flat_map(words::check));
    findings.extend(unsafe_code::check(&rooms, &sources));
    findings.extend(threats::check(&sources));
    findings.extend(sources.iter().flat_map(|source| links::check(source, |path| root.join(path).exists())));
    findings.sort_unstable();
    Ok(findings)
}

/// The file of that path.
fn named<'a>(sources: &'a [Source], path: &str) -> Option<&'a Source> {
    sources.iter().find(|source| source.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let findings = check(&crate::place::workspace()).unwrap();
        let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(list.is_empty(), "\n{}\n", list.join("\n"));
    }

    #[test]
    fn a_finding_says_where_it_is() {
        assert_eq!(Finding::new("a/b.rs", 7, "bad").to_string(), "a/b.rs:7: bad");
        assert_eq!(Finding::new("a/b.rs", 0, "bad").to_string(), "a/b.rs: bad");
    }
}
