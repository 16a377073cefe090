//! A word in upper case, kept in place: the readers compare every word of a statement with keywords, and a text on the heap
//! for each would cost more than all the comparing.

use std::{fmt, ops::Deref};

/// No keyword, kind, parameter or function that is told apart here is longer.
const BYTES_MAX: usize = 40;

/// What stands for a word that is none of those: it is too long, or holds what no keyword does.
const OTHER: &str = "?";

/// A word in upper case; empty for no word.
#[derive(Clone, Copy)]
pub(crate) struct Upper {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Upper {
    pub(crate) fn of(word: &str) -> Self {
        let word = if word.len() <= BYTES_MAX && word.is_ascii() { word } else { OTHER };
        let mut bytes = [0; BYTES_MAX];
        for (upper, byte) in bytes.iter_mut().zip(word.bytes()) {
            *upper = byte.to_ascii_uppercase();
        }
        Self { bytes, len: word.len() }
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Deref for Upper {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Upper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq<&str> for Upper {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::Upper;

    #[test]
    fn only_what_can_be_a_keyword_keeps_its_letters() {
        let long = "x".repeat(41);
        for (word, upper) in
            [("", ""), ("Select", "SELECT"), ("a_$1", "A_$1"), ("\u{17f}elect", "?"), (&long, "?")]
        {
            assert_eq!(Upper::of(word).as_str(), upper, "{word}");
        }
    }
}
