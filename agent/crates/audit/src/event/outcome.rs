//! How an exchange ended.

use model::{ConnectionId, QueryId, SessionId};
use serde::{Deserialize, Serialize};

use crate::wire;

/// An intent came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// The session of the intent.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// The intent.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// How it ended.
    pub outcome: Outcome,
}

/// A result was read once more, by its id, after its statement had come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The session of the statement, which is the reader's own.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// The statement.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// The connection that the reader came on.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// What the reader was given.
    pub outcome: Outcome,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A login that Snowflake accepted.
    LoggedIn(LoggedIn),
    /// A statement that Snowflake executed; the client is given the answer.
    Answered(Answered),
    /// Snowflake refused or failed it; the client is given its error.
    Failed(Failed),
    /// It was sent, and the client is not given the answer.
    Withheld(Withheld),
    /// It may have been sent; what came of it is not known.
    Lost(Lost),
}

/// A login that Snowflake accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedIn {
    /// Snowflake's id of the session.
    pub server_session: Option<String>,
    /// The role in force.
    pub role: Option<String>,
    /// The warehouse in force.
    pub warehouse: Option<String>,
    /// The database in force.
    pub database: Option<String>,
    /// The schema in force.
    pub schema: Option<String>,
}

/// A statement that Snowflake executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// Snowflake's id of the query.
    pub server_query: Option<String>,
    /// Rows the client is given.
    pub rows: u64,
    /// Names of the columns the client is given.
    pub columns: Vec<String>,
    /// Columns of these in which cells were changed, or would have been had there been any.
    pub masked: Vec<MaskedColumn>,
    /// What was found where no tag told of it.
    #[serde(default)]
    pub found: Vec<FoundValues>,
    /// How many chunks the answer leads to. What they were given is told by entries of their own.
    #[serde(default)]
    pub chunks: u64,
    /// In observe mode: why the client would not have been given the answer. What could not be read of it then has no
    /// rows and columns here.
    pub would_withhold: Option<String>,
}

/// A column that was masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedColumn {
    /// Name of the output column.
    pub name: String,
    /// Tags by which it was masked.
    pub tags: Vec<String>,
    /// The mask: `null`, `partial`, …
    pub mask: String,
    /// Cells that were changed.
    pub cells: u64,
    /// Cells that were NULL and are.
    #[serde(default)]
    pub nulls: u64,
    /// The first and the last row with a changed cell, by their positions in the answer, from 0.
    #[serde(default)]
    pub rows: Option<(u64, u64)>,
}

/// Values that detectors found in a column. They are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundValues {
    /// Name of the output column.
    pub name: String,
    /// What was found: `email`, `card`, …
    pub detector: String,
    /// In how many rows.
    pub rows: u64,
    /// How many cells of the column were looked at.
    pub looked: u64,
    /// How many were not.
    pub passed: u64,
    /// Whether those cells were masked.
    pub masked: bool,
}

/// Snowflake refused or failed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Snowflake's id of the query, when it gave one.
    pub server_query: Option<String>,
    /// Snowflake's error code.
    pub code: String,
    /// Snowflake's sentence.
    pub message: Option<String>,
}

/// It was sent, and the client is not given the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withheld {
    /// Snowflake's id of the query, when it gave one.
    pub server_query: Option<String>,
    /// Why.
    pub reason: String,
}

/// What came of it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Why.
    pub reason: String,
}
