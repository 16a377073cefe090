//! How a store stands, in words that a person can act on.

use std::{io, path::PathBuf};

use crate::place::PlaceError;

/// A kind of store that clients read their roots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// The host's own store: Go, Rust, curl, the system's Python.
    System,
    /// The bundle files that the runners' environment names.
    Bundles,
    /// A runner service's environment file.
    RunnerEnv,
    /// The bundle inside a Python installation: `requests`, and with it the Snowflake connector up to 4.
    Certifi,
}

/// One store and how it stands after `install`, `status` or `remove`.
#[derive(Debug)]
pub struct StoreStatus {
    /// What it is.
    pub store: StoreKind,
    /// Its file.
    pub path: PathBuf,
    /// How it stands.
    pub state: StoreState,
}

/// How a store stands.
#[derive(Debug)]
pub enum StoreState {
    /// It trusts our root, because we put it there.
    Installed,
    /// It trusts our root, and not by our doing: there is nothing to undo.
    AlreadyTrusted,
    /// It does not trust our root.
    NotInstalled,
    /// Our part was there, and the file has been replaced or regenerated since.
    Replaced,
    /// Our part is there, and is not what belongs there now.
    Outdated,
    /// Our part was there, and the whole file is gone.
    Gone,
    /// Our part was taken out, and every byte is as before the install.
    Restored,
    /// Our part was taken out. Others had changed the file meanwhile; their changes are as found.
    BlockRemoved,
    /// Somebody has to look.
    Attention(Trouble),
}

/// Why a store cannot be helped without a person.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// We do not know how this system keeps its store.
    #[error("the system store of {layout} is not supported yet")]
    Unsupported {
        /// What the system looks like.
        layout: &'static str,
        /// What to do by hand.
        by_hand: &'static str,
    },
    /// The tool that builds the store is missing.
    #[error("there is no {0}")]
    NoTool(PathBuf),
    /// A file of our name that we did not write.
    #[error("{0} was not written by this installation")]
    Taken(PathBuf),
    /// The tool that builds the store failed.
    #[error("{command} failed ({how})")]
    Refresh {
        /// The tool.
        command: String,
        /// Its exit, or that it never came.
        how: String,
    },
    /// The tool that builds the store did not do what it is for.
    #[error("{command} ran, but {bundle} {still}")]
    NoEffect {
        /// The tool.
        command: String,
        /// The bundle it makes.
        bundle: PathBuf,
        /// What is the matter with it.
        still: &'static str,
    },
    /// Rebuilding the store would drop what somebody wrote into it by hand.
    #[error("{lost} certificates in {bundle} were put there by hand, and rebuilding it would drop them")]
    WouldLose {
        /// The bundle.
        bundle: PathBuf,
        /// How many certificates.
        lost: usize,
        /// Where they would be kept.
        anchors: PathBuf,
    },
    /// Without the public roots, a bundle of ours would cut jobs off from everything else.
    #[error("there are no public roots in {0}")]
    NoPublicRoots(PathBuf),
    /// An operator's own settings, which win.
    #[error("{} set to a bundle without our root", names.join(", "))]
    VariablesSet {
        /// The variables.
        names: Vec<&'static str>,
        /// Our root, to be added to that bundle.
        root: PathBuf,
    },
    /// A runner that is pointed at a bundle it cannot read would fail at every connection.
    #[error("user {uid} cannot reach {path}: {dir} is closed to it")]
    OutOfReach {
        /// The runner's user.
        uid: u32,
        /// The bundle.
        path: PathBuf,
        /// The directory on the way.
        dir: PathBuf,
    },
    /// Half of our part is left, and what belongs to whom cannot be told.
    #[error("the line `{0}` has no matching end")]
    Torn(&'static str),
    /// The store is a link to another file.
    #[error("it is a link to {0}, which does not hold our root")]
    Link(PathBuf),
    /// There are more folders than a search goes through.
    #[error("it holds more than {0} folders")]
    TooManyFolders(usize),
    /// A folder on the way is a link, which whoever owns it could turn to another file.
    #[error("a folder on the way to it is a symbolic link")]
    LinkOnTheWay,
    /// A runner would be left without the bundle that its environment names.
    #[error("{0} still names them")]
    StillNamed(PathBuf),
    /// A path that neither the journal nor an environment file can hold.
    #[error("{0} is not plain text")]
    PathNotText(PathBuf),
    /// The file system said no.
    #[error("{0}")]
    File(io::Error),
}

impl StoreStatus {
    /// What has to happen for this state to take effect, if anything.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        match (self.store, &self.state) {
            (StoreKind::RunnerEnv, StoreState::Installed) => {
                Some("a runner service reads this when it starts: restart those that run")
            }
            (StoreKind::RunnerEnv, StoreState::Restored | StoreState::BlockRemoved) => {
                Some("restart the runner service: until then its jobs are pointed at bundles that are gone")
            }
            _ => None,
        }
    }
}

impl StoreKind {
    /// The word for output and for the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Bundles => "bundles",
            Self::RunnerEnv => "runner-env",
            Self::Certifi => "certifi",
        }
    }
}

impl StoreState {
    /// One or two words for output.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::AlreadyTrusted => "already trusted",
            Self::NotInstalled => "not installed",
            Self::Replaced => "replaced",
            Self::Outdated => "outdated",
            Self::Gone => "gone",
            Self::Restored => "restored",
            Self::BlockRemoved => "removed",
            Self::Attention(Trouble::Unsupported { .. }) => "not supported",
            Self::Attention(Trouble::VariablesSet { .. } | Trouble::Taken(_) | Trouble::WouldLose { .. }) => {
                "conflict"
            }
            Self::Attention(_) => "failed",
        }
    }

    /// Whether clients that read this store trust our root.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Installed | Self::AlreadyTrusted)
    }

    /// What there is to know beyond the word, if anything.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Replaced => Some("the file was replaced since the install".to_owned()),
            Self::Outdated => Some("what was installed is not what belongs there now".to_owned()),
            Self::Gone => Some("the file is not there any more".to_owned()),
            Self::BlockRemoved => Some(
                "the file was changed by others since the install: only our part was taken out".to_owned(),
            ),
            Self::Attention(trouble) => Some(trouble.to_string()),
            Self::Installed | Self::AlreadyTrusted | Self::NotInstalled | Self::Restored => None,
        }
    }

    /// What to do about it, if anything.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::NotInstalled | Self::Replaced | Self::Outdated => {
                Some("run `snowfence trust install`".to_owned())
            }
            Self::Attention(trouble) => Some(trouble.fix()),
            _ => None,
        }
    }
}

impl Trouble {
    fn fix(&self) -> String {
        match self {
            Self::Unsupported { by_hand, .. } => (*by_hand).to_owned(),
            Self::NoTool(_) => "run `apt-get install ca-certificates`".to_owned(),
            Self::Taken(path) => {
                format!("remove {} and run `update-ca-certificates --fresh`, then try again", path.display())
            }
            Self::Refresh { command, .. } | Self::NoEffect { command, .. } => {
                format!("run {command} by hand and mend what it says, then try again")
            }
            Self::WouldLose { anchors, .. } => {
                format!("put each into a file of its own, NAME.crt in {}, and try again", anchors.display())
            }
            Self::NoPublicRoots(_) => {
                "install the system's public roots (package ca-certificates)".to_owned()
            }
            Self::VariablesSet { root, .. } => format!(
                "add {} to the bundles they name, or remove them and run `snowfence trust install`",
                root.display()
            ),
            Self::OutOfReach { dir, .. } => format!("run `chmod o+x {}`", dir.display()),
            Self::Torn(begin) => format!("remove the lines that follow `{begin}` and belong to it by hand"),
            Self::Link(target) => format!("make {} trust our root", target.display()),
            Self::LinkOnTheWay => "name the file by its real path".to_owned(),
            Self::StillNamed(file) => {
                format!("mend {} first, and run `snowfence trust remove` again", file.display())
            }
            Self::TooManyFolders(_) => "name narrower folders".to_owned(),
            Self::PathNotText(_) => "rename the folder".to_owned(),
            Self::File(_) => "check that the path is right and can be written".to_owned(),
        }
    }
}

impl From<PlaceError> for Trouble {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Io(error) => Self::File(error),
            PlaceError::LinkOnTheWay => Self::LinkOnTheWay,
            other => Self::File(io::Error::other(other)),
        }
    }
}

impl From<Result<StoreState, Trouble>> for StoreState {
    fn from(result: Result<StoreState, Trouble>) -> Self {
        result.unwrap_or_else(Self::Attention)
    }
}
