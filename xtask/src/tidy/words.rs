//! Words that say something is not done.

use super::{Finding, Source};

/// What must not stand in a file, and what to do instead. Written in two halves, so that they do not stand in this one.
const ANYWHERE: [(&str, &str); 3] = [
    (concat!("TO", "DO"), "do it, or say in an issue what is to be done"),
    (concat!("FIX", "ME"), "mend it, or say in an issue what is wrong"),
    (concat!("XX", "X:"), "say what is meant"),
];

/// What must not stand in code. In a comment it may: an example that must not compile has to hold something.
const IN_CODE: [(&str, &str); 4] = [
    (concat!("to", "do!("), "write it"),
    (concat!("unimpl", "emented!("), "write it"),
    (concat!("#[ign", "ore"), "a test that does not run proves nothing: mend it or take it out"),
    (concat!("dbg", "!("), "take it out"),
];

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .flat_map(|(at, line)| {
            let code = if line.trim_start().starts_with("//") { &[][..] } else { &IN_CODE[..] };
            let there = ANYWHERE.iter().chain(code).filter(|(word, _)| holds(line, word));
            there.map(move |(word, instead)| {
                Finding::new(&source.path, at + 1, format!("`{word}`: {instead}"))
            })
        })
        .collect()
}

/// Whether the word stands in the line, and not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let ends_open = word.chars().next_back().is_some_and(|c| !is_letter(c));
        let begins_open = word.chars().next().is_some_and(|c| !is_letter(c));
        (begins_open || !before.is_some_and(is_letter)) && (ends_open || !after.is_some_and(is_letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_with_its_line() {
        for (word, _) in ANYWHERE.iter().chain(&IN_CODE) {
            let found = check(&Source::new("a.py", &format!("x\n  {word} y\n")));
            assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2], "{word}");
        }
        for (word, _) in ANYWHERE {
            assert_eq!(check(&Source::new("a.rs", &format!("  // {word} y"))).len(), 1, "{word}");
        }
        for (word, _) in IN_CODE {
            assert_eq!(check(&Source::new("a.rs", &format!("  //! {word} y"))).len(), 0, "{word}");
        }
        let attribute = format!("{} = \"slow\"]", concat!("#[ign", "ore"));
        assert_eq!(check(&Source::new("a.rs", &attribute)).len(), 1);
    }

    #[test]
    fn a_part_of_a_longer_word_is_none() {
        let text = concat!("MASTO", "DON my_to", "do!(x) the ignored #[allow(x)]");
        assert!(check(&Source::new("a.rs", text)).is_empty());
    }
}
