//! What was asked for, and what was decided: logins, refused connections, statements.

use model::{ConnectionId, Mode, QueryId, RequestId, SessionId};
use serde::{Deserialize, Serialize};

use super::who::{Process, Who};
use crate::wire;

/// A session was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The session, by the agent's own name for it.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// This exchange.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// The connection it came on.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// The address the client asked for.
    pub destination: String,
    /// Who is behind it.
    pub who: Who,
    /// The process that opened the connection.
    pub process: Process,
    /// The Snowflake account.
    pub account: String,
    /// The Snowflake user it names.
    pub user: Option<String>,
    /// The role it asks for.
    pub role: Option<String>,
    /// The warehouse it asks for.
    pub warehouse: Option<String>,
    /// What kind of credential it presents: `password`, `key_pair`, … Never the credential.
    pub credential: String,
    /// What the client says it is: `PythonConnector 4.8.1`.
    pub client: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
}

/// A connection was refused before there was a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedConnection {
    /// The connection.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// The address the client asked for.
    pub destination: String,
    /// The host name it asked for, when it came that far.
    pub server_name: Option<String>,
    /// Who is behind it, when that was found out.
    pub who: Option<Who>,
    /// The process that opened it, when it could be read.
    pub process: Option<Process>,
    /// What the agent did with its verdicts then.
    #[serde(with = "wire::mode")]
    pub mode: Mode,
    /// Why.
    pub reason: String,
}

/// A request was refused before it became an exchange. In observe mode it was sent on all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRequest {
    /// The agent's id for it; the client was shown it.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// The connection it came on.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// The address the client asked for.
    pub destination: String,
    /// The host name it asked for.
    pub server_name: String,
    /// Method and path, shortened, without the query string.
    pub exchange: String,
    /// Who is behind it.
    pub who: Who,
    /// The process that opened the connection.
    pub process: Process,
    /// What the agent did with its verdicts then.
    #[serde(with = "wire::mode")]
    pub mode: Mode,
    /// The sentence shown to the client.
    pub reason: String,
}

/// A statement was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The session it belongs to.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// This exchange.
    #[serde(with = "wire::query_id")]
    pub query: QueryId,
    /// The client's own id of the request.
    #[serde(default, with = "wire::request_id")]
    pub request: Option<RequestId>,
    /// The connection it came on.
    #[serde(with = "wire::connection_id")]
    pub connection: ConnectionId,
    /// The statement as it was judged, and as it goes upstream when it is permitted.
    pub text: String,
    /// Its class: `select`, `drop`, …
    pub class: String,
    /// What it touches.
    pub tables: Vec<TableUse>,
    /// What was decided.
    pub verdict: Verdict,
}

/// A table and what a statement does with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableUse {
    /// `DATABASE.SCHEMA.NAME`, with `?` for a part that is not known.
    pub table: String,
    /// `read`, `write`, `create`, …
    pub access: String,
}

/// What was decided, and on what grounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What was done.
    pub decision: Decision,
    /// Names of the rules that decided.
    pub rules: Vec<String>,
    /// The sentence shown to the client, when it was refused.
    pub reason: Option<String>,
    /// What the agent did with its verdicts then.
    #[serde(with = "wire::mode")]
    pub mode: Mode,
    /// In observe mode: why it would have been refused.
    pub would_refuse: Option<String>,
}

/// What was done with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may go upstream.
    Permitted,
    /// It waits for a person, or was refused for want of one.
    Held,
    /// It does not go upstream.
    Refused,
}
