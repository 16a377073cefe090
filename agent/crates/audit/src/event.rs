//! What is on disk, version 1. These are the record's own types: no domain type is written, so that a change elsewhere
//! never changes what an old record means.
//!
//! A member that is not known is absent. Paths are text; bytes that are no UTF-8 are shown as U+FFFD.

mod asked;
mod chunk;
mod container;
mod outcome;
mod own_session;
mod who;

use model::{Mode, QueryId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

pub use asked::{Decision, Login, RefusedConnection, RefusedRequest, Statement, TableUse, Verdict};
pub use chunk::{Chunk, ChunkOutcome, GivenChunk, WithheldChunk};
pub use container::Container;
pub use outcome::{
    Answered, Closing, Failed, FoundValues, LoggedIn, Lost, MaskedColumn, Outcome, Reading, Withheld,
};
pub use own_session::{OwnSession, OwnStep};
pub use who::{AgentEvidence, AiAgent, Assurance, JobProcesses, Namespaces, Parent, Process, Who};

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
    /// A request was refused before it became an exchange: unknown, unreadable, or on nobody's session.
    RefusedRequest(Box<RefusedRequest>),
    /// A statement was judged. The intent of a statement, when it is permitted.
    Statement(Box<Statement>),
    /// An intent came to its end.
    Outcome(Closing),
    /// A result was read once more after its statement had come to its end.
    Reading(Box<Reading>),
    /// Rows were asked for that an answer led to.
    Chunk(Box<Chunk>),
    /// Something happened to the session that the agent has for itself beside this one.
    OwnSession(OwnSession),
    /// A session is over.
    SessionEnd(SessionEnd),
    /// Another policy came into force.
    Policy(PolicyChange),
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

/// What must be durable before an exchange goes upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A login.
    Login(Box<Login>),
    /// A statement.
    Statement(Box<Statement>),
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

/// Another policy came into force. What was asked before it may have been judged by the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// Its digest, as in [`Start::policy`].
    pub policy: String,
    /// How many rules it has.
    pub rules: u64,
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
    Event::RefusedRequest(RefusedRequest) = Box::new;
    Event::Statement(Statement) = Box::new;
    Event::Reading(Reading) = Box::new;
    Event::Chunk(Chunk) = Box::new;
    Event::OwnSession(OwnSession) = |part| part;
    Event::SessionEnd(SessionEnd) = |part| part;
    Event::Policy(PolicyChange) = |part| part;
    Intent::Login(Login) = Box::new;
    Intent::Statement(Statement) = Box::new;
    Outcome::LoggedIn(LoggedIn) = |part| part;
    Outcome::Answered(Answered) = |part| part;
    Outcome::Failed(Failed) = |part| part;
    Outcome::Withheld(Withheld) = |part| part;
    Outcome::Lost(Lost) = |part| part;
}
