//! Where things are in a lab: names, addresses and paths that several files here agree on.

use std::path::{Path, PathBuf};

use super::cgroup;

/// The folder of a lab: `/tmp/snowfence-lab-` and six more characters.
pub(super) const FOLDER_PREFIX: &str = "snowfence-lab-";
/// Where those folders are made. Not `TMPDIR`: socket paths have to stay short.
pub(super) const FOLDER_PARENT: &str = "/tmp";
/// A file in each such folder, so that nothing else is ever taken for one.
pub(super) const MARKER: &str = ".snowfence-lab";
/// Held for as long as a lab lives; the kernel lets go of it when its holder dies.
pub(super) const LOCK: &str = "/run/lock/snowfence-lab.lock";
/// The lab's subtree of the cgroup2 hierarchy.
pub(super) const CGROUP: &str = "snowfence-lab";

/// Who answers names, in the lab's internet.
pub(super) const DNS: &str = "203.0.113.53";
/// The addresses of the lab's internet that names lead to; who listens where is the business of `internet`.
pub(super) const INTERNET_ADDRESSES: [&str; 7] =
    [DNS, "203.0.113.10", "203.0.113.20", "203.0.113.21", "203.0.113.30", "203.0.113.40", "203.0.113.80"];

/// The paths of one lab.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// The lab's folder.
    pub(super) folder: PathBuf,
    /// The lab's cgroup.
    pub(super) cgroup: PathBuf,
    /// The holder's process id; its mount namespace is the lab's.
    pub(super) holder: u32,
}

impl Site {
    pub(super) fn new(folder: &Path, holder: u32) -> anyhow::Result<Self> {
        Ok(Self { folder: folder.to_owned(), cgroup: cgroup::mount_point()?.join(CGROUP), holder })
    }

    /// The lab's mount namespace, seen from anywhere.
    pub(super) fn mount_namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/mnt", self.holder))
    }

    /// A network namespace; the path means something only inside the lab's mount namespace.
    pub(super) fn network_namespace(&self, net: Net) -> PathBuf {
        namespace_file(&self.folder, net)
    }

    pub(super) fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }

    pub(super) fn internet(&self) -> PathBuf {
        self.folder.join("internet")
    }

    pub(super) fn runner(&self) -> PathBuf {
        self.folder.join("actions-runner")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// What stands in for files and folders of the machine inside the lab.
    pub(super) fn stand_ins(&self) -> PathBuf {
        stand_ins(&self.folder)
    }

    pub(super) fn cgroup_of(&self, place: Place) -> PathBuf {
        self.cgroup.join(place.cgroup())
    }
}

/// The two network namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    Internet,
    Host,
}

impl Net {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Host => "host",
        }
    }
}

/// The places where processes of the lab live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Everything on the far side.
    Internet,
    /// The agent's service.
    Agent,
    /// The runner's service, with its jobs.
    Runner,
    /// People and stray processes.
    User,
}

impl Place {
    pub(super) const ALL: [Self; 4] = [Self::Internet, Self::Agent, Self::Runner, Self::User];

    /// Relative to the lab's cgroup.
    pub(super) fn cgroup(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Agent => "host/system.slice/snowfence.service",
            Self::Runner => "host/system.slice/actions.runner.acme-etl.lab.service",
            Self::User => "host/user.slice",
        }
    }

    pub(super) fn net(self) -> Net {
        match self {
            Self::Internet => Net::Internet,
            Self::Agent | Self::Runner | Self::User => Net::Host,
        }
    }
}

pub(super) fn namespace_file(folder: &Path, net: Net) -> PathBuf {
    folder.join("ns").join(net.name())
}

pub(super) fn stand_ins(folder: &Path) -> PathBuf {
    folder.join("stand-ins")
}
