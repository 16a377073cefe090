//! Snowflake's client protocol as values: bytes in, messages out, and back.
//!
//! Owns: the list of known exchanges, the decoding of each, and the shape of every answer the agent writes itself.
//! May touch: model.
//! Never: I/O; judging; changing a byte of a message that nobody asked to change.
//!
//! What is read here must be what Snowflake reads, because the original bytes are what is sent on. So a body that
//! could be read in two ways (a key twice, bytes that are no UTF-8, something after the end) is refused, and so is a
//! key of a request that is not known. Errors name keys and positions, never values.

mod abort;
mod account;
mod authorization;
mod chunks;
pub mod codec;
mod credential;
mod envelope;
mod error;
mod exchange;
mod failure;
mod json;
mod login;
mod login_reply;
mod monitoring;
mod names;
pub mod own;
mod parameters;
mod passing;
mod query;
mod query_reply;
mod query_string;
pub mod refusal;
mod renew;
mod row_scan;
mod rows;
mod splice;
pub mod sql_api;
mod status;
pub mod telemetry;

pub use abort::AbortRequest;
pub use account::{account_of, is_account};
pub use authorization::{AuthorizationError, session_token};
pub use chunks::{
    ArrowError, ArrowParts, ArrowRows, Chunk, ChunkFormat, ChunkId, ChunkUrl, Chunks, JsonBatch, JsonPlace,
    JsonRows, link,
};
pub use credential::CredentialKind;
pub use envelope::{EncodeError, Envelope};
pub use error::{DecodeError, RequestError, UnknownKeys};
pub use exchange::{Exchange, Unknown, classify};
pub use failure::QueryFailure;
pub use json::JsonError;
pub use login::LoginRequest;
pub use login_reply::{LoginReply, LoginSuccess};
pub use monitoring::{MonitoringReply, Progress};
pub use names::SessionNames;
pub use parameters::Parameters;
pub use passing::Passing;
pub use query::QueryRequest;
pub use query_reply::{QueryReply, QuerySuccess, Running};
pub use query_string::QueryStringError;
pub use renew::{RenewReply, RenewRequest, Renewed};
pub use status::StatusReply;
