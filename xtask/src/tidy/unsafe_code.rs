//! The word `unsafe` stands where the kernel is, and nowhere else, whatever the lints of a package say.

use proc_macro2::{TokenStream, TokenTree};

use super::{Finding, Room, Source, named};

/// Packages that may use it. They do not inherit the workspace's lints, because Cargo knows no exception to one.
const MAY: [&str; 3] = ["interception", "agent-common", "agent-ebpf"];

/// Checks every Rust file, and that every other package inherits the lint that forbids it.
pub(super) fn check(rooms: &[Room], sources: &[Source]) -> Vec<Finding> {
    let (may, must_not): (Vec<&Room>, Vec<&Room>) =
        rooms.iter().partition(|room| MAY.contains(&room.name.as_str()));
    let elsewhere = |source: &&Source| {
        source.is_rust() && !may.iter().any(|room| source.path.starts_with(&room.file("")))
    };
    let mut findings: Vec<Finding> = sources
        .iter()
        .filter(elsewhere)
        .flat_map(|source| {
            let tokens = source.text.parse::<TokenStream>().unwrap_or_default();
            let mut lines = Vec::new();
            find(tokens, &mut lines);
            lines.into_iter().map(|line| {
                Finding::new(&source.path, line, "no unsafe code here: it belongs to interception")
            })
        })
        .collect();
    findings.extend(must_not.iter().filter_map(|room| {
        let path = room.file("Cargo.toml");
        let inherits = named(sources, &path).is_some_and(|manifest| inherits(&manifest.text));
        (!inherits)
            .then(|| Finding::new(&path, 0, "the lints are the workspace's: `[lints]`, `workspace = true`"))
    }));
    findings
}

fn find(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => find(group.stream(), lines),
            _ => {}
        }
    }
}

fn inherits(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str, folder: &str) -> Room {
        Room { name: name.to_owned(), folder: folder.to_owned(), ..Room::default() }
    }

    #[test]
    fn unsafe_code_is_found_wherever_it_hides() {
        let rooms = [room("interception", "i")];
        for (text, found) in [
            ("fn f() { unsafe { g() } }", 1),
            ("unsafe impl Send for A {}", 1),
            ("#[unsafe(no_mangle)] fn f() {}", 1),
            ("m! { unsafe { g() } }", 1),
            ("// unsafe\nconst A: &str = \"unsafe\";\n#![forbid(unsafe_code)]", 0),
        ] {
            assert_eq!(check(&rooms, &[Source::new("a/src/b.rs", text)]).len(), found, "{text}");
            assert_eq!(check(&rooms, &[Source::new("i/src/b.rs", text)]).len(), 0, "{text}");
        }
    }

    #[test]
    fn a_package_cannot_leave_the_lints_behind() {
        let findings = |text: &str| check(&[room("sql", "s")], &[Source::new("s/Cargo.toml", text)]).len();
        assert_eq!(findings("[package]\n\n[lints]\n# why\nworkspace = true\n"), 0);
        for bad in [
            "[package]",
            "[lints]\n",
            "[lints.rust]\nx = 1\n",
            "[lints]\nworkspace = false",
            "[x]\nworkspace = true",
        ] {
            assert_eq!(findings(bad), 1, "{bad}");
        }
    }
}
