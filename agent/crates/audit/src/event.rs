//! What is on disk, version 1. These are the record's own types: no domain type is written, so that a change elsewhere
//! never changes what an old record means.
//!
//! A member that is not known is absent. Paths are text; bytes that are no UTF-8 are shown as U+FFFD.

use model::{ConnectionId, Mode, ProcessFacts, QueryId, RequestId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::wire;

/// The version of [`Entry`] and all that is in it.
pub const SCHEMA_VERSION: u32 = 1;

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub v: u32,
    /// Position in the record, from 1, without gaps.
    pub seq: u64,
    /// When it was written, by the host's clock. Order is `seq`'s: clocks jump.
    #[serde(with = "wire::timestamp")]
    pub time: Timestamp,
    /// SHA-256 of the line before this one, without its newline, in hex; zeros for the first.
    pub prev: String,
    /// What happened.
    pub event: Event,
}

/// What an entry tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The agent began.
    Start(Start),
    /// The agent ended in order.
    Stop(Stop),
    /// A session was asked for. The intent of a login.
    Login(Box<Login>),
    /// A connection was refused before there was a session.
    RefusedConnection(Box<RefusedConnection>),
    /// A statement was judged. The intent of a statement, when it is permitted.
    Statement(Box<Statement>),
    /// An intent came to its end.
    Outcome(Closing),
    /// A session is over.
    SessionEnd(SessionEnd),
    /// Bytes that a crash left at the end of the record were moved to a file of their own.
    SetAside(SetAside),
}

/// The agent began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Version of the agent.
    pub agent: String,
    /// Name of the host.
    pub host: String,
    /// What it does with its verdicts.
    #[serde(with = "wire::mode")]
    pub mode: Mode,
    /// Host names it guards.
    pub guarded: Vec<String>,
    /// Digest of the policy it judges by.
    pub policy: Option<String>,
}

/// The agent ended in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Why, for a reader.
    pub reason: String,
}

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

/// The one a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// Name of the principal, as policy knows it.
    pub principal: String,
    /// How sure that is.
    pub assurance: Assurance,
    /// `github`, …
    pub provider: Option<String>,
    /// `acme/etl`
    pub repository: Option<String>,
    /// `refs/heads/main`
    pub r#ref: Option<String>,
    /// Name of the workflow.
    pub workflow: Option<String>,
    /// Name of the job in it.
    pub job: Option<String>,
    /// Id of the run.
    pub run_id: Option<String>,
    /// Which attempt of that run.
    pub run_attempt: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
    /// Why nobody is known, when nobody is.
    pub reason: Option<String>,
}

/// How sure it is who someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// A token whose signature was checked.
    Verified,
    /// What the runner stated, without a token.
    Observed,
    /// Not at all.
    None,
}

/// A process on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id on the host.
    pub pid: u32,
    /// Start time in clock ticks after boot; with `pid` it names the process for ever.
    pub start_ticks: u64,
    /// User id.
    pub uid: u32,
    /// Its executable.
    pub exe: Option<String>,
    /// Its command line, secrets removed.
    pub argv: Vec<String>,
    /// Parent first.
    pub ancestors: Vec<Parent>,
    /// Path in the cgroup2 hierarchy.
    pub cgroup: String,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container.
    pub container: Option<String>,
}

/// A process up the parent chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Process id on the host.
    pub pid: u32,
    /// Its executable.
    pub exe: Option<String>,
}

impl From<&ProcessFacts> for Process {
    fn from(facts: &ProcessFacts) -> Self {
        let text =
            |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        Self {
            pid: facts.pid,
            start_ticks: facts.start_ticks,
            uid: facts.uid,
            exe: text(&facts.exe),
            argv: facts.argv.clone(),
            ancestors: facts.ancestors.iter().map(|a| Parent { pid: a.pid, exe: text(&a.exe) }).collect(),
            cgroup: facts.cgroup.clone(),
            unit: facts.unit.clone(),
            container: facts.container_id.clone(),
        }
    }
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

/// What must be durable before an exchange goes upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A login.
    Login(Box<Login>),
    /// A statement.
    Statement(Box<Statement>),
}

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

/// A session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEnd {
    /// The session.
    #[serde(with = "wire::session_id")]
    pub session: SessionId,
    /// Why, for a reader.
    pub reason: String,
}

/// Bytes that a crash left at the end of the record were moved to a file of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAside {
    /// Name of that file, in the folder of the record.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

impl Intent {
    pub(crate) fn session(&self) -> SessionId {
        match self {
            Self::Login(login) => login.session,
            Self::Statement(statement) => statement.session,
        }
    }

    pub(crate) fn query(&self) -> QueryId {
        match self {
            Self::Login(login) => login.query,
            Self::Statement(statement) => statement.query,
        }
    }

    pub(crate) fn decision(&self) -> Decision {
        match self {
            Self::Login(login) => login.verdict.decision,
            Self::Statement(statement) => statement.verdict.decision,
        }
    }
}

impl From<Intent> for Event {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Login(login) => Self::Login(login),
            Intent::Statement(statement) => Self::Statement(statement),
        }
    }
}

macro_rules! from {
    ($($whole:ident :: $variant:ident ( $part:ty ) = $make:expr;)*) => {$(
        impl From<$part> for $whole {
            fn from(part: $part) -> Self {
                $whole::$variant($make(part))
            }
        }
    )*};
}

from! {
    Event::Stop(Stop) = |part| part;
    Event::Login(Login) = Box::new;
    Event::RefusedConnection(RefusedConnection) = Box::new;
    Event::Statement(Statement) = Box::new;
    Event::SessionEnd(SessionEnd) = |part| part;
    Intent::Login(Login) = Box::new;
    Intent::Statement(Statement) = Box::new;
    Outcome::LoggedIn(LoggedIn) = |part| part;
    Outcome::Answered(Answered) = |part| part;
    Outcome::Failed(Failed) = |part| part;
    Outcome::Withheld(Withheld) = |part| part;
    Outcome::Lost(Lost) = |part| part;
}
