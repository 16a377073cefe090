//! What is known of a process on the host. Plain facts, for rules and for the record.

use std::path::PathBuf;

use crate::container::Container;

/// One process up the parent chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Executable, as `/proc/<pid>/exe` names it; `None` when it could not be read.
    pub exe: Option<PathBuf>,
}

/// The process behind a connection. `pid` and `start_ticks` together name it for ever; a pid alone does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Start time in clock ticks after boot: field 22 of `/proc/<pid>/stat`, proc(5).
    pub start_ticks: u64,
    /// User id.
    pub uid: u32,
    /// Executable, as `/proc/<pid>/exe` names it; `None` when it could not be read.
    pub exe: Option<PathBuf>,
    /// Command line with what looks like a secret removed, bounded.
    pub argv: Vec<String>,
    /// Parent first, up to pid 1, bounded.
    pub ancestors: Vec<Ancestor>,
    /// Path in the cgroup2 hierarchy, beginning with `/`; empty when it could not be read.
    pub cgroup: String,
    /// The systemd unit named in that path, if one is: `actions.runner.acme.service`.
    pub unit: Option<String>,
    /// The container that its cgroups say it is in, if they do.
    pub container: Option<Container>,
}
