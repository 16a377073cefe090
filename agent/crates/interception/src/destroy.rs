//! Connections that go past the agent because they were opened before their address was guarded: found in every network
//! namespace, and destroyed.
//!
//! The egress guard stops their packets anyway; a program whose connection is destroyed knows at once, where it would
//! otherwise wait for an answer. Never destroyed are the agent's own sockets, which are known by their inode number among
//! the agent's descriptors, and redirected ones, whose peer is loopback.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::sched::{CloneFlags, setns};

use crate::{
    cgroup::Cgroup,
    namespaces,
    sock_diag::{Diagnosis, Found},
};

/// How many are described one by one.
const DESCRIBED_MAX: usize = 16;

/// What was found of connections that go past the agent.
#[derive(Debug, Default)]
pub struct Older {
    /// How many were destroyed.
    pub destroyed: usize,
    /// How many are still open: because the agent only observes, or because of a problem.
    pub open: usize,
    /// The first few of them all.
    pub connections: Vec<OlderConnection>,
    /// What went wrong, with a namespace or with the whole.
    pub problems: BTreeSet<String>,
}

/// One connection that goes past the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OlderConnection {
    /// The guarded address and the port there.
    pub remote: SocketAddr,
    /// Its own end.
    pub local: SocketAddr,
    /// Who opened it, in the initial user namespace.
    pub uid: u32,
    /// Inode number of its network namespace.
    pub namespace: u64,
}

/// Which connections are meant, and what is done about them.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) addrs: BTreeSet<IpAddr>,
    pub(crate) cgroup: Cgroup,
    /// Or only counted.
    pub(crate) destroys: bool,
}

impl Cut {
    /// Goes through the caller's network namespace and every other one in which a covered process is. The calling thread
    /// is of no use afterwards: it stays in the last of them.
    pub(crate) fn run(&self) -> Older {
        let mut older = Older::default();
        let covered = Subtree::of(&self.cgroup);
        let home = namespaces::own_inode().unwrap_or_default();
        self.here(home, &covered, &mut older);
        for (inode, path) in namespaces::covered(&self.cgroup) {
            if inode == home {
                continue;
            }
            match enter(&path) {
                Ok(Some(inode)) => self.here(inode, &covered, &mut older),
                Ok(None) => {}
                Err(error) => {
                    older.problems.insert(format!("network namespace {inode} cannot be entered: {error}"));
                }
            }
        }
        older
    }

    /// In the namespace that the thread is in.
    fn here(&self, namespace: u64, covered: &Subtree, older: &mut Older) {
        let looked = Diagnosis::open().and_then(|mut diagnosis| {
            let found = diagnosis.connections(|remote| self.addrs.contains(&remote))?;
            // Asked afterwards, so that a socket of the agent's that was found is among them, or gone.
            let own = own_sockets()?;
            for found in found.iter().filter(|found| !own.contains(&found.inode) && covered.has(found)) {
                self.one(&mut diagnosis, found, namespace, older);
            }
            Ok(())
        });
        if let Err(error) = looked {
            older
                .problems
                .insert(format!("the sockets of network namespace {namespace} cannot be listed: {error}"));
        }
    }

    fn one(&self, diagnosis: &mut Diagnosis, found: &Found, namespace: u64, older: &mut Older) {
        let destroyed = match self.destroys.then(|| diagnosis.destroy(found)) {
            None => false,
            Some(Ok(())) => true,
            Some(Err(error)) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let lacks = "the kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY)";
                older.problems.insert(lacks.to_owned());
                false
            }
            // It ended by itself.
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return,
            Some(Err(error)) => {
                older.problems.insert(format!("a socket cannot be destroyed: {error}"));
                false
            }
        };
        if destroyed {
            older.destroyed += 1
        } else {
            older.open += 1
        }
        if older.connections.len() < DESCRIBED_MAX {
            let Found { remote, local, uid, .. } = *found;
            older.connections.push(OlderConnection { remote, local, uid, namespace });
        }
    }
}

/// Goes into the namespace that a path stands for, and answers its inode number; none if it has ended.
fn enter(path: &Path) -> io::Result<Option<u64>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if namespaces::is_gone(&error) => return Ok(None),
        file => file?,
    };
    setns(&file, CloneFlags::CLONE_NEWNET)?;
    Ok(Some(file.metadata()?.ino()))
}

/// Inode numbers of this process's sockets.
fn own_sockets() -> io::Result<BTreeSet<u32>> {
    let mut own = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor that was closed meanwhile is no socket any more.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        own.extend(inode.and_then(|inode| inode.parse::<u32>().ok()));
    }
    Ok(own)
}

/// The cgroups that are covered.
enum Subtree {
    Everything,
    /// By their inode numbers.
    Some(BTreeSet<u64>),
}

impl Subtree {
    fn of(cgroup: &Cgroup) -> Self {
        if cgroup.is_root() {
            return Self::Everything;
        }
        let mut ids = BTreeSet::new();
        let mut folders = vec![cgroup.path().to_owned()];
        while let Some(folder) = folders.pop() {
            // A cgroup that is gone has no sockets.
            let Ok(metadata) = fs::symlink_metadata(&folder) else { continue };
            ids.insert(metadata.ino());
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        Self::Some(ids)
    }

    fn has(&self, found: &Found) -> bool {
        match self {
            Self::Everything => true,
            Self::Some(ids) => found.cgroup_id.is_some_and(|id| ids.contains(&id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_known_as_its_own_until_it_is_closed() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let text = link.to_str().unwrap();
        let inode: u32 = text.trim_start_matches("socket:[").trim_end_matches(']').parse().unwrap();
        assert!(own_sockets().unwrap().contains(&inode), "{text}");
        drop(socket);
        assert!(!own_sockets().unwrap().contains(&inode));
    }
}
