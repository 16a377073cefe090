//! The text of a statement.

use std::{fmt, sync::Arc};

/// Statement text of bounded length. Cheap to clone; its `Debug` shows the length only, because SQL text holds
/// data and belongs in the record alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SqlText(Arc<str>);

/// A statement longer than [`SqlText::BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the statement is {bytes} bytes long, more than the {max} (SqlText::BYTES_MAX) that Snowflake takes", max = SqlText::BYTES_MAX)]
pub struct SqlTextTooLong {
    /// Its length.
    pub bytes: usize,
}

impl SqlText {
    /// Snowflake limits the text of a statement to 1 MB (documentation, "Query size limits").
    pub const BYTES_MAX: usize = 1 << 20;

    /// Takes the text as it was sent.
    ///
    /// # Errors
    /// When it is longer than [`Self::BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, SqlTextTooLong> {
        if text.len() > Self::BYTES_MAX {
            return Err(SqlTextTooLong { bytes: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SqlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlText({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bounded_and_does_not_print() {
        assert_eq!(format!("{:?}", SqlText::new("select 1").unwrap()), "SqlText(8 bytes)");
        assert!(SqlText::new(&"x".repeat(SqlText::BYTES_MAX)).is_ok());
        assert!(SqlText::new(&"x".repeat(SqlText::BYTES_MAX + 1)).is_err());
    }
}
