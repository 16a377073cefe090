//! What an operator chooses about interception.

use std::path::PathBuf;

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
}
