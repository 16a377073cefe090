//! What a verb prints: a table for people, JSON where `--json` asks for it.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::{Context, Result};
use serde::Serialize;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints `value` as JSON, or what `people` makes of it.
    pub(crate) fn print<T: Serialize>(self, value: &T, people: impl FnOnce(&T) -> String) -> Result<()> {
        let mut text = if self.json {
            serde_json::to_string_pretty(value).context("the answer cannot be written as JSON")?
        } else {
            people(value)
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        match io::stdout().lock().write_all(text.as_bytes()) {
            // The reader has seen enough: `snowfence sessions list | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.context("the answer cannot be printed"),
        }
    }
}

/// Lays rows out in columns under a heading, each as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut heading.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Makes text from outside safe to print on a line of its own: what could move a terminal's cursor, begin a line, or
/// show letters in another order than they are in becomes visible.
pub(crate) fn printable(text: &str) -> String {
    let moves = |c: char| {
        let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
    };
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}

/// A number with the right word behind it.
pub(crate) fn counted(n: impl Display, one: &str, many: &str) -> String {
    let n = n.to_string();
    let word = if n == "1" { one } else { many };
    format!("{n} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_ends_without_blanks() {
        let text =
            table(&["ID", "NAME"], &[vec!["1".into(), "long name".into()], vec!["22".into(), "x".into()]]);
        assert_eq!(text, "ID  NAME\n1   long name\n22  x\n");
    }

    #[test]
    fn text_from_outside_stays_on_its_line_and_in_its_order() {
        for (text, shown) in [
            ("a\u{1b}[2Jb", "a\u{fffd}[2Jb"),
            ("mona\n1234abcd  permitted", "mona\u{fffd}1234abcd  permitted"),
            ("a\r\tb\u{85}c\u{2028}d", "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("\u{202e}nimda\u{2066}", "\u{fffd}nimda\u{fffd}"),
            ("Zoë 雪 — é", "Zoë 雪 — é"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn numbers_have_their_word() {
        let shown = [0_usize, 1, 2].map(|n| counted(n, "entry", "entries"));
        assert_eq!(shown, ["0 entries", "1 entry", "2 entries"]);
    }
}
