//! Shared nouns of the house: the words every room uses, and nothing they do.
//!
//! Owns: identifiers, addresses, names, texts and secrets as plain values.
//! May touch: nothing.
//! Never: I/O, clocks, randomness, or behaviour of any room.

mod address;
mod container;
mod ids;
mod name;
mod process;
mod result_set;
mod secret;
mod sql_text;
mod standing;
mod time;

pub use address::{HostName, HostNameError, OriginalDst, SocketOwner};
pub use container::{Container, ContainerEngine};
pub use ids::{ConnectionId, QueryId, RequestId, RuleId, SessionId};
pub use name::{AccountName, ColumnName, Ident, TableName};
pub use process::{Ancestor, Namespaces, ProcessFacts};
pub use result_set::{ColumnMeta, ResultSet, Rows};
pub use secret::Secret;
pub use sql_text::{SqlText, SqlTextTooLong};
pub use standing::{ProcessId, Standing};
pub use time::Timestamp;

/// What the agent does with its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Record, and say what would have been done; do nothing.
    Observe,
    /// Do it.
    Enforce,
}

impl Mode {
    /// The word used in configuration, records and output: `observe` or `enforce`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}
