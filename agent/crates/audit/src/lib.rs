//! The record: what was asked, by whom, what was decided and what came of it, durable before anyone acts on it.
//!
//! Owns: the record folder: its entries, their chain, and what a crash left behind.
//! May touch: model.
//! Never: deciding, masking, or answering a client; a domain type on disk.
//!
//! An [`Intent`] is durable before its exchange goes upstream: only then is there a [`Receipt`]. The receipt is closed
//! with the [`Outcome`] before the client gets its last byte; dropped unclosed, or found unclosed at the next start,
//! it is closed as [`Outcome::Lost`]. There is one writer: entries of many tasks that come at once share one flush.

mod canonical;
mod chain;
mod error;
mod event;
mod folder;
mod journal;
pub mod read;
mod recover;
mod scan;
mod wire;
mod writer;

pub use chain::Head;
pub use error::{Damage, Error};
pub use event::{
    AgentEvidence, AiAgent, Answered, Assurance, Chunk, ChunkOutcome, Closing, Container, Decision, Entry,
    Event, Failed, FoundValues, GivenChunk, Intent, JobProcesses, LoggedIn, Login, Lost, MaskedColumn,
    Namespaces, Outcome, OwnSession, OwnStep, Parent, PolicyChange, Process, Reading, RefusedConnection,
    RefusedRequest, SCHEMA_VERSION, SessionEnd, SetAside, Start, Statement, Stop, TableUse, Verdict, Who,
    Withheld, WithheldChunk,
};
pub use journal::{Journal, Receipt};
