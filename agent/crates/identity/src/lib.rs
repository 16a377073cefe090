//! Turns a token into a principal: pure, with the keys and the time handed in.
//!
//! Owns: the principal and the checks that lead to one; each identity provider's claims and variables.
//! May touch: model.
//! Never: I/O, clocks, randomness, or a principal called verified that no signature stands behind.

mod advice;
mod agents;
mod claims;
mod departed;
mod glob;
mod groups;
mod job;
mod keys;
mod nobody;
mod principal;
mod provider;
mod providers;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token;
mod verify;

pub use advice::{advice, runner};
pub use agents::{Agent, AgentEvidence, AgentKind, AgentKindError, AgentTable};
pub use departed::{Departed, Departure, Gone, Handle, Part};
pub use glob::{Glob, GlobError};
pub use groups::{GroupField, GroupRule, GroupRuleError, GroupRules};
pub use job::{Job, ObservedJob, StatementError};
pub use keys::{KeySet, KeySetError};
pub use nobody::{IssuerFault, NobodyReason};
pub use principal::{Assurance, Principal};
pub use provider::{Description, Lookup, Place, Provider};
pub use token::{RawToken, TokenShapeError};
pub use verify::{Expectation, Routing, VerifyError, route, verify};
