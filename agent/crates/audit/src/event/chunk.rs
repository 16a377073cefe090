//! Rows that an answer led to, and that were asked for apart from it.

use model::{ConnectionId, QueryId, SessionId};
use serde::{Deserialize, Serialize};

use super::{FoundValues, MaskedColumn};
use crate::wire;

/// A chunk of a result was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// The session of the statement.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// The statement.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// The connection that the client came on.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// The chunk's place among those of the result, from 0.
    pub index: u64,
    /// What the client was given.
    pub outcome: ChunkOutcome,
}

/// What a client was given of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChunkOutcome {
    /// All of it.
    Given(GivenChunk),
    /// Nothing, or not all.
    Withheld(WithheldChunk),
}

/// All of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenChunk {
    /// Its rows.
    pub rows: u64,
    /// Its bytes, as the client gets them.
    pub bytes: u64,
    /// Columns in which cells were changed, or would have been.
    pub masked: Vec<MaskedColumn>,
    /// What was found where no tag told of it.
    #[serde(default)]
    pub found: Vec<FoundValues>,
}

/// A chunk that was not given, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithheldChunk {
    /// Why.
    pub reason: String,
    /// Bytes that the client had by then.
    pub bytes: u64,
}
