//! A link from one file of the repository to another leads somewhere, and so does the name of a source file.

use super::{Finding, Source};

/// Where a name such as `proxy/src/query.rs` is looked for, beside the workspace itself.
const ROOMS: &str = "agent/crates/";

/// Checks the relative links and the names of source files in one Markdown file. `exists` is asked with paths from the workspace.
pub(super) fn check(source: &Source, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    if !source.path.ends_with(".md") {
        return Vec::new();
    }
    let folder: Vec<&str> =
        source.path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect();
    let broken = targets(&source.text).filter(|(_, target)| match resolve(&folder, target) {
        Some(path) => !exists(&path),
        None => true,
    });
    let broken = broken.map(|(line, target)| {
        Finding::new(&source.path, line, format!("the link to {target} leads nowhere"))
    });
    let gone = files(&source.text).filter(|(_, file)| !exists(file) && !exists(&format!("{ROOMS}{file}")));
    let gone = gone.map(|(line, file)| Finding::new(&source.path, line, format!("there is no file {file}")));
    broken.chain(gone).collect()
}

/// Source files that are named in backticks by their path, with their line.
fn files(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        let is_path =
            |word: &&str| word.ends_with(".rs") && word.contains('/') && !word.contains(char::is_whitespace);
        quoted.filter(is_path).map(move |file| (at + 1, file))
    })
}

/// Targets of the links that stay in the repository, without their anchor, with their line. Code is not looked at.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().flat_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let plain = if fenced || fence { "" } else { line };
        plain.split("](").skip(1).filter_map(move |rest| {
            let (target, _) = rest.split_once(')')?;
            let target = target.split_once('#').map_or(target, |(path, _)| path);
            let stays = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            stays.then_some((at + 1, target))
        })
    })
}

/// A path from the workspace; `None` when it leaves it.
fn resolve(folder: &[&str], target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.to_vec() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<usize> {
        let there =
            ["docs/map.md", "README.md", "agent/deploy", "xtask/src/main.rs", "agent/crates/sql/src/lib.rs"];
        let source = Source::new("docs/using.md", text);
        check(&source, |path| there.contains(&path)).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn a_link_leads_somewhere() {
        let good = "[a](map.md) [b](../README.md#x), [c](#here) [d](https://x.org/y) [e](../agent/deploy/)\n\
                    ```\n[f](nowhere.md)\n```\n";
        assert_eq!(broken(good), Vec::<usize>::new());
        assert_eq!(broken("x\n[a](maps.md)\n[b](README.md) [c](../../README.md)\n"), [2, 3, 3]);
    }
    #[test]
    fn a_source_file_that_is_named_is_there() {
        assert_eq!(
            broken("`xtask/src/main.rs`, `sql/src/lib.rs`, `main.rs`, `a/b c.rs`\n"),
            Vec::<usize>::new()
        );
        assert_eq!(broken("x\n(`sql/src/gone.rs`) and `src/main.rs`\n"), [2, 2]);
    }
}
