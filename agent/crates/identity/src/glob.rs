//! Patterns for names that are written as paths: repositories, refs, executables.

use std::fmt;

/// A pattern: `*` stands for anything within one part of a path, `**` for anything, and every other character for
/// itself, whatever its case. Matching takes time in the product of both lengths, whoever wrote either.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// One character, in lower case.
    One(char),
    /// Anything without a slash.
    Part,
    /// Anything.
    All,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: it must be 1 to {max} characters long, without control characters", max = Glob::CHARS_MAX)]
pub struct GlobError(String);

impl Glob {
    /// Longest pattern.
    pub const CHARS_MAX: usize = 256;

    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let length = text.chars().count();
        if length == 0 || length > Self::CHARS_MAX || text.chars().any(char::is_control) {
            return Err(GlobError(text.chars().take(64).collect()));
        }
        let mut pieces = Vec::with_capacity(length);
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            pieces.push(match char {
                '*' if chars.next_if_eq(&'*').is_some() => Piece::All,
                '*' => Piece::Part,
                char => Piece::One(char.to_ascii_lowercase()),
            });
        }
        Ok(Self(pieces))
    }

    /// Whether it speaks of a path, and not of one part of one.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.0.contains(&Piece::One('/'))
    }

    /// Whether the whole of `text` fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // Which beginnings of the pattern fit what was read so far. `reached[i]`: its first i pieces do.
        let mut reached = vec![false; self.0.len() + 1];
        let mut next = reached.clone();
        self.begin(&mut reached);
        for char in text.chars().map(|char| char.to_ascii_lowercase()) {
            next.fill(false);
            for (at, piece) in self.0.iter().enumerate().filter(|(at, _)| is_set(&reached, *at)) {
                let (stays, goes) = match piece {
                    Piece::One(one) => (false, *one == char),
                    Piece::Part => (char != '/', false),
                    Piece::All => (true, false),
                };
                set(&mut next, at, stays);
                set(&mut next, at + 1, goes);
            }
            self.skip(&mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        is_set(&reached, self.0.len())
    }

    fn begin(&self, reached: &mut [bool]) {
        set(reached, 0, true);
        self.skip(reached);
    }

    /// Stars stand for nothing as well.
    fn skip(&self, reached: &mut [bool]) {
        for (at, piece) in self.0.iter().enumerate() {
            let skipped = is_set(reached, at) && !matches!(piece, Piece::One(_));
            set(reached, at + 1, skipped);
        }
    }
}

fn is_set(reached: &[bool], at: usize) -> bool {
    reached.get(at).copied().unwrap_or_default()
}

fn set(reached: &mut [bool], at: usize, to: bool) {
    if let Some(place) = reached.get_mut(at) {
        *place |= to;
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::One(char) => write!(f, "{char}"),
            Piece::Part => f.write_str("*"),
            Piece::All => f.write_str("**"),
        })
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stays_within_a_part_and_two_do_not() {
        let cases = [
            ("acme/etl", "acme/etl", true),
            ("acme/etl", "Acme/ETL", true),
            ("acme/etl", "acme/etl2", false),
            ("acme/etl", "xacme/etl", false),
            ("acme/*", "acme/etl", true),
            ("acme/*", "acme/", true),
            ("acme/*", "acme/a/b", false),
            ("acme/*", "evil/acme/etl", false),
            ("acme/**", "acme/a/b", true),
            ("*", "acme/etl", false),
            ("**", "acme/etl", true),
            ("**", "", true),
            ("refs/heads/release-*", "refs/heads/release-1.2", true),
            ("refs/heads/release-*", "refs/heads/release-1/x", false),
            ("**/claude/versions/*", "/home/x/.local/share/claude/versions/2.0.1", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("a.c", "abc", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob::parse(pattern).unwrap().matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_hostile_name_does_not_take_long() {
        let pattern = Glob::parse(&"a*".repeat(128)).unwrap();
        assert!(!pattern.matches(&("a".repeat(1024) + "b/")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "a\nb", &"x".repeat(Glob::CHARS_MAX + 1)] {
            assert!(Glob::parse(bad).is_err(), "{bad:.20}");
        }
        assert_eq!(Glob::parse("Acme/**-*").unwrap().to_string(), "acme/**-*");
    }
}
