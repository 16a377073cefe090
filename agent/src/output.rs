//! What a verb prints: a table for people, JSON where `--json` asks for it.

use std::io::{self, Write};

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

/// Makes text from outside safe to print: what could move a terminal's cursor becomes visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
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
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }
}
