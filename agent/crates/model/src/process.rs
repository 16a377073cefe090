//! What is known of a process on the host. Plain facts, for rules and for the record.

use std::path::PathBuf;

use crate::{
    container::Container,
    standing::{ProcessId, Standing},
};

/// One process up the parent chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Executable, as `/proc/<pid>/exe` names it; `None` when it could not be read.
    pub exe: Option<PathBuf>,
}

/// The namespaces that a process is in, by their inode numbers, namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// Mounts.
    pub mount: u64,
    /// Network.
    pub network: u64,
    /// Process ids.
    pub pid: u64,
    /// Users.
    pub user: u64,
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
    /// Whether it had ended before it could be looked at, or while it was. What could not be read then is missing.
    pub gone: bool,
    /// Where it stood among the jobs of the host when it connected, as the kernel followed it.
    pub standing: Standing,
    /// Executable, as `/proc/<pid>/exe` names it; `None` when it could not be read.
    pub exe: Option<PathBuf>,
    /// SHA-256 of that file; `None` when it is too large, or could not be read in time.
    pub exe_sha256: Option<[u8; 32]>,
    /// Command line with what looks like a secret removed, bounded.
    pub argv: Vec<String>,
    /// Parent first, up to pid 1, bounded.
    pub ancestors: Vec<Ancestor>,
    /// Path in the cgroup2 hierarchy, beginning with `/`; empty when it could not be read.
    pub cgroup: String,
    /// The systemd unit named in that path, if one is: `actions.runner.acme.service`.
    pub unit: Option<String>,
    /// Its namespaces; `None` when they could not be read.
    pub namespaces: Option<Namespaces>,
    /// The container that its cgroups say it is in, if they do.
    pub container: Option<Container>,
}

impl ProcessFacts {
    /// A process as the kernel told of it, of which nothing else was read.
    #[must_use]
    pub fn unread(process: ProcessId, uid: u32, standing: Standing) -> Self {
        Self {
            pid: process.pid,
            start_ticks: process.start_ticks,
            uid,
            gone: false,
            standing,
            exe: None,
            exe_sha256: None,
            argv: Vec::new(),
            ancestors: Vec::new(),
            cgroup: String::new(),
            unit: None,
            namespaces: None,
            container: None,
        }
    }
}
