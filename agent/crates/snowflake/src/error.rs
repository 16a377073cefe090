//! Why a message was not understood. The texts are shown to the job, so they name keys and never values.

use std::fmt;

use model::SqlTextTooLong;

use crate::{json::JsonError, query_string::QueryStringError};

/// Characters of a foreign name that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

/// Foreign names that an error shows.
const SHOWN_NAMES_MAX: usize = 5;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON with exactly one reading.
    #[error("the body is not the JSON that Snowflake reads: {0}")]
    Json(#[from] JsonError),
    /// A key that every such message has is not there.
    #[error("the key {key:?} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key holds a value of another type than it always does.
    #[error("the key {key:?} does not hold {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it holds in a message that is known.
        expected: &'static str,
    },
    /// A name is longer than any real one.
    #[error("the key {key:?} holds more than {max} bytes")]
    TooLong {
        /// The key.
        key: &'static str,
        /// How many it may hold.
        max: usize,
    },
    /// Rows where the kind of reply has none, or two sets of rows in one reply.
    #[error("the reply has rows where none are expected")]
    UnexpectedRows,
    /// An HTTP status that no such reply has.
    #[error("the reply has the HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
}

impl DecodeError {
    pub(crate) fn wrong_type(key: &str, expected: &'static str) -> Self {
        Self::WrongType { key: shown(key), expected }
    }
}

/// Why a request was not understood, and so cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body could not be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The address's query string could not be read.
    #[error(transparent)]
    QueryString(#[from] QueryStringError),
    /// The statement is too long.
    #[error(transparent)]
    Text(#[from] SqlTextTooLong),
    /// What is to be executed, or data that was not seen, is somewhere else than in the text.
    #[error("the request carries {key:?}, which is not judged yet; {fix}")]
    Elsewhere {
        /// The key that carries it.
        key: &'static str,
        /// How to do without.
        fix: &'static str,
    },
    /// There are keys that may mean anything.
    #[error("the request carries {0}; use a driver version that this agent knows, or a newer agent")]
    UnknownKeys(UnknownKeys),
    /// A parameter of the address that has no value, or another than it may have.
    #[error("the address's parameter {name:?} has a value that is not known")]
    OddParameter {
        /// Its name.
        name: &'static str,
    },
    /// A request that says it holds more than one statement.
    #[error(
        "the request sets MULTI_STATEMENT_COUNT to something else than 1; send its statements one by one"
    )]
    SeveralStatements,
    /// A login would set a new password.
    #[error("the login would change the user's password; change it outside this host")]
    PasswordChange,
    /// A token exchange other than a renewal.
    #[error("the token request is of a type other than RENEW")]
    NotARenewal,
}

impl From<JsonError> for RequestError {
    fn from(error: JsonError) -> Self {
        Self::Decode(error.into())
    }
}

/// Names of keys that no known message has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKeys(Vec<String>);

impl UnknownKeys {
    /// The names that are not in `known`; `None` when all are.
    pub(crate) fn among<'a>(names: impl Iterator<Item = &'a str>, known: &[&str]) -> Option<Self> {
        let unknown: Vec<String> = names.filter(|name| !known.contains(name)).map(shown).collect();
        (!unknown.is_empty()).then_some(Self(unknown))
    }

    /// The names, each shortened.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for UnknownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "the unknown key" } else { "the unknown keys" })?;
        for (index, name) in self.0.iter().take(SHOWN_NAMES_MAX).enumerate() {
            f.write_str(if index == 0 { " " } else { ", " })?;
            write!(f, "{name:?}")?;
        }
        match self.0.len().saturating_sub(SHOWN_NAMES_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A foreign name, short enough for a message.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_listed_bounded_and_escaped() {
        let list = |names: &[&str]| {
            UnknownKeys::among(names.iter().copied(), &["known"]).map(|unknown| unknown.to_string())
        };
        assert_eq!(list(&["known"]), None);
        assert_eq!(list(&["known", "x"]).unwrap(), "the unknown key \"x\"");
        assert_eq!(list(&["a\nb", "KNOWN"]).unwrap(), "the unknown keys \"a\\nb\", \"KNOWN\"");
        assert_eq!(
            list(&["1", "2", "3", "4", "5", "6", "7"]).unwrap(),
            "the unknown keys \"1\", \"2\", \"3\", \"4\", \"5\" and 2 more"
        );
        assert!(list(&[&"x".repeat(10_000)]).unwrap().len() < 100);
    }
}
