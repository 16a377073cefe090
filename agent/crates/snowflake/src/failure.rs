//! A statement that Snowflake refused or could not carry out.

use std::fmt;

use crate::refusal::{self, Origin};

/// Snowflake's answer that a statement failed. Its sentence may quote values from rows
/// (`Numeric value 'ann@example.org' is not recognized`), so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct QueryFailure {
    /// Snowflake's code, such as `002003`; empty where it gave none.
    pub code: String,
    /// The SQLSTATE, such as `42S02`.
    pub sql_state: Option<String>,
    /// Snowflake's id of the statement.
    pub query_id: Option<String>,
    pub(crate) message: String,
    pub(crate) body: String,
}

impl QueryFailure {
    /// Snowflake's sentence. It may quote values.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the failure is about the session or login and not about a statement: drivers act on the code
    /// (renewing a token, logging in again), no statement ran, and the sentence quotes nothing.
    #[must_use]
    pub fn is_about_session(&self) -> bool {
        let is_number = self.code.len() == 6 && self.code.bytes().all(|b| b.is_ascii_digit());
        is_number && (self.code.starts_with("390") || self.code.starts_with("394"))
    }

    /// The reply as it came.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_bytes()
    }

    /// The reply with another sentence. Code, SQLSTATE and query id stay, so that a client acts on it as on the
    /// first; anything else Snowflake added is left out, because it may quote values as well.
    #[must_use]
    pub fn with_message(&self, message: &str) -> Vec<u8> {
        let origin = Origin {
            code: if self.code.is_empty() { refusal::CODE_FAILED } else { &self.code },
            sql_state: self.sql_state.as_deref().unwrap_or(refusal::SQL_STATE_FAILED),
            query_id: self.query_id.as_deref().unwrap_or_default(),
        };
        refusal::failure(message, &origin)
    }
}

impl fmt::Debug for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryFailure")
            .field("code", &self.code)
            .field("sql_state", &self.sql_state)
            .field("query_id", &self.query_id)
            .finish_non_exhaustive()
    }
}
