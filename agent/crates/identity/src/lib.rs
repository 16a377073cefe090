//! Turns a token into a principal: pure, with the keys and the time handed in.
//!
//! Owns: the principal and the checks that lead to one; each identity provider's claims and variables.
//! May touch: model.
//! Never: I/O, clocks, randomness, or a principal called verified that no signature stands behind.

mod agents;
mod claims;
mod departed;
mod github;
mod glob;
mod groups;
mod job;
mod keys;
mod nobody;
mod principal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token;
mod verify;

pub use agents::{Agent, AgentEvidence, AgentKind, AgentKindError, AgentTable};
pub use departed::{Departed, Departure, Gone, Handle, Part};
pub use glob::{Glob, GlobError};
pub use groups::{GroupField, GroupRule, GroupRuleError, GroupRules};
pub use job::{Job, ObservedJob, StatementError};
pub use keys::{KeySet, KeySetError};
pub use nobody::{IssuerFault, NobodyReason};
pub use principal::{Assurance, Principal};
pub use token::{RawToken, TokenShapeError};
pub use verify::{Expectation, VerifyError, verify};

/// Who vouches for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// GitHub Actions, on github.com or an Enterprise Server.
    GitHub,
}

impl Provider {
    /// The word used in rules, records and ids: `github`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
        }
    }
}
