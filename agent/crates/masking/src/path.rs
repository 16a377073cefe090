//! Paths into JSON documents, as Snowflake writes them behind a column's name: `path.to[0].x`.

use std::fmt;

/// A path. `*` stands for any key and `[*]` for any place in a list.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonPath {
    steps: Vec<Step>,
    written: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// A key; `None` is any.
    Key(Option<String>),
    /// A place in a list; `None` is any.
    Index(Option<usize>),
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A key is empty.
    #[error(
        "a key of the path is empty; write path.to[0].x, with \"…\" around a key that holds dots, and * for any"
    )]
    EmptyKey,
    /// A bracket holds no place.
    #[error("a place in a list is [0], [1], … or [*] for any")]
    Place,
    /// A quote is not closed.
    #[error("a quote in the path does not end")]
    Quote,
    /// There are more steps than documents are looked into.
    #[error("the path has more than {} steps", crate::document::DEPTH_MAX)]
    Deep,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            // A key, unless a list is the very document.
            if !(steps.is_empty() && rest.starts_with('[')) {
                let (key, after) = key(rest)?;
                steps.push(Step::Key(key));
                rest = after;
            }
            while let Some(inside) = rest.strip_prefix('[') {
                let (place, after) = inside.split_once(']').ok_or(PathError::Place)?;
                steps.push(Step::Index(match place {
                    "*" => None,
                    digits => Some(digits.parse().map_err(|_| PathError::Place)?),
                }));
                rest = after;
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => break,
                None => return Err(PathError::Place),
            }
        }
        if steps.len() > crate::document::DEPTH_MAX {
            return Err(PathError::Deep);
        }
        Ok(Self { steps, written: text.to_owned() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// How many steps it has.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether its step of this number leads to a key. Case counts for nothing, as it does in names of columns: that can only
    /// match too much.
    pub(crate) fn is_key(&self, step: usize, key: &str) -> bool {
        match self.steps.get(step) {
            Some(Step::Key(None)) => true,
            Some(Step::Key(Some(wanted))) => wanted.to_lowercase() == key.to_lowercase(),
            Some(Step::Index(_)) | None => false,
        }
    }

    /// Whether its step of this number leads to a place in a list.
    pub(crate) fn is_index(&self, step: usize, index: usize) -> bool {
        match self.steps.get(step) {
            Some(Step::Index(None)) => true,
            Some(Step::Index(Some(wanted))) => *wanted == index,
            Some(Step::Key(_)) | None => false,
        }
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The key at the start of a path, and what is behind it.
fn key(text: &str) -> Result<(Option<String>, &str), PathError> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, rest) = quoted.split_once('"').ok_or(PathError::Quote)?;
        return Ok((Some(key.to_owned()), rest));
    }
    let (key, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    match key {
        "" => Err(PathError::EmptyKey),
        "*" => Ok((None, rest)),
        key if key.contains('"') => Err(PathError::Quote),
        key => Ok((Some(key.to_owned()), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_keys_and_places() {
        let path = JsonPath::parse("Path.\"to.it\"[0][*].*").unwrap();
        assert_eq!(path.len(), 5);
        assert!(path.is_key(0, "pATH") && !path.is_key(0, "paths") && !path.is_index(0, 0));
        assert!(path.is_key(1, "to.it"));
        assert!(path.is_index(2, 0) && !path.is_index(2, 1) && !path.is_key(2, "0"));
        assert!(path.is_index(3, 77) && path.is_key(4, "anything") && !path.is_key(5, "x"));
        assert!(JsonPath::parse("[*].x").unwrap().is_index(0, 3));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, error) in [
            ("", PathError::EmptyKey),
            ("a.", PathError::EmptyKey),
            (".a", PathError::EmptyKey),
            ("a..b", PathError::EmptyKey),
            ("a.[0]", PathError::EmptyKey),
            ("a[", PathError::Place),
            ("a[x]", PathError::Place),
            ("a[-1]", PathError::Place),
            ("a[0]b", PathError::Place),
            ("\"a", PathError::Quote),
            ("a\"b\"", PathError::Quote),
        ] {
            assert_eq!(JsonPath::parse(text), Err(error), "{text}");
        }
        assert_eq!(JsonPath::parse(&vec!["a"; 200].join(".")), Err(PathError::Deep));
    }
}
