//! What an operator chooses about interception.

use std::path::PathBuf;

use model::HostName;

use crate::lsm::LsmConfig;

/// Where to attach, where to pin, where to listen, and what to do about packets that pass through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cgroup whose processes are caught; `None` is the root of the cgroup2 hierarchy, which is every process of
    /// the host. With a folder, its siblings are not covered.
    pub cgroup: Option<PathBuf>,
    /// A folder on a BPF file system, one per agent: `/sys/fs/bpf/snowfence`. Made if it is not there.
    pub pins: PathBuf,
    /// The port to listen on, on `127.0.0.1` and `::1`; 0 lets the kernel choose.
    pub port: u16,
    /// Whether packets that this host only forwards are dropped where they go to a guarded address. They belong to no
    /// cgroup, so this is for all of them.
    pub drop_forwarded: bool,
    /// The guarded domains: who asks for a name in them at an address that is not guarded is stopped and reported. At
    /// most [`DOMAINS_MAX`](crate::DOMAINS_MAX), of at most [`DOMAIN_BYTES_MAX`](crate::DOMAIN_BYTES_MAX) bytes each.
    pub domains: Vec<HostName>,
    /// Connections that are older than the guard, and those to a guarded name at an address that is not guarded, are
    /// reported and let be. Everything else is as without.
    pub observing: bool,
    /// Which connections are caught.
    pub scope: Scope,
    /// Executables of CI workers, whoever starts them: each process that runs one is the first of a job.
    pub workers: Vec<PathBuf>,
    /// Executables of CI runners that have no worker of their own: each process that one starts is the first of a job.
    pub runners: Vec<PathBuf>,
    /// The optional layer on the kernel's security hooks.
    pub lsm: LsmConfig,
}

/// Which connections are caught. An agent that starts over what another has pinned brings its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Those to what is guarded.
    #[default]
    Addresses,
    /// Also those to port 443 of every other address but this host's own, for the agent to find out what is behind it.
    Strict,
}
