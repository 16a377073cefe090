//! Everything that can go wrong with the record.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why the record could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Two writers would break the chain.
    #[error("another agent writes the record in {path}; stop it, or use another state folder", path = .0.display())]
    InUse(PathBuf),
    /// The entries on disk are not what was written.
    #[error(
        "the record {path} is damaged at {damage}; keep it for the auditors, move it away, and start again",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and how.
        damage: Damage,
    },
    /// One entry is larger than any may be. Nothing was written.
    #[error("an entry of {bytes} bytes is more than the {max} the record takes", max = crate::chain::ENTRY_BYTES_MAX)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A receipt was asked for an exchange that its own verdict does not permit. Nothing was written.
    #[error("no receipt for an exchange that was not permitted")]
    NotPermitted,
    /// A write failed, now or earlier. Nothing is recorded any more until the agent is started again.
    #[error("the record cannot be written: {0}; mend the disk and restart the agent")]
    Failed(Arc<str>),
    /// The journal was stopped.
    #[error("the record is closed: the agent is stopping")]
    Stopped,
    /// An entry could not be put into JSON. A defect of this program.
    #[error("an entry does not fit its schema: {0}")]
    Encode(#[from] serde_json::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// The first place at which the entries on disk are not what was written. What comes before it is whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Damage {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}
