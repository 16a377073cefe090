//! Sessions that the agent opens for itself, to ask Snowflake what tables and views are.

use model::SessionId;
use serde::{Deserialize, Serialize};

use crate::wire;

/// Something about the agent's own session beside a job's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnSession {
    /// The job's session, beside which it is.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// What happened.
    pub step: OwnStep,
}

/// What happened to a session of the agent's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OwnStep {
    /// The agent logs in with what the job presented. Written before that is sent.
    Asked,
    /// Snowflake opened it.
    Opened {
        /// Snowflake's id of it.
        server_session: Option<String>,
    },
    /// There is none, or none any more, so what the job's statements read is not looked up: what may be tagged is masked.
    Unavailable {
        /// Why.
        reason: String,
    },
}
