//! Which network namespaces there are, and who is in them. Everything here is read from `/proc` and from cgroups, and
//! may be out of date as soon as it is read: what counts is the cookie of a socket made inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::cgroup::{Cgroup, unescape};

/// File system type of what a namespace is bound to a path by, namespaces(7).
const NSFS: &str = "nsfs";

/// A namespace's file, by its inode number.
pub(crate) type Found = BTreeMap<u64, PathBuf>;

/// The file that stands for the namespace of a process.
pub(crate) fn of_process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// The inode number of the calling thread's own namespace.
pub(crate) fn own_inode() -> io::Result<u64> {
    inode(Path::new("/proc/thread-self/ns/net")).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The namespaces of the processes below a cgroup. On the root, of every process, and those that are kept at a path.
pub(crate) fn covered(cgroup: &Cgroup) -> Found {
    if cgroup.is_root() {
        return everywhere();
    }
    let mut found = Found::new();
    let mut folders = vec![cgroup.path().to_owned()];
    while let Some(folder) = folders.pop() {
        let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        add_processes(&mut found, processes.lines().filter_map(|pid| pid.parse().ok()));
        folders.extend(entries(&folder).filter(|path| path.is_dir()));
    }
    found
}

/// The namespaces of every process, and those that are kept at a path (`ip netns`, container engines).
pub(crate) fn everywhere() -> Found {
    let mut found = Found::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounted(&mounts));
    add_processes(&mut found, entries(Path::new("/proc")).filter_map(|path| number(&path)));
    found
}

/// The namespaces that any thread is in. A process may have threads elsewhere than its first one.
pub(crate) fn of_threads() -> BTreeSet<u64> {
    let processes = entries(Path::new("/proc")).filter(|path| number(path).is_some());
    let threads = processes.flat_map(|process| entries(&process.join("task")).collect::<Vec<_>>());
    threads.filter_map(|thread| inode(&thread.join("ns/net"))).collect()
}

/// What open(2) says of a process or a path that has ended.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn add_processes(found: &mut Found, pids: impl Iterator<Item = u32>) {
    for path in pids.map(of_process) {
        if let Some(inode) = inode(&path) {
            found.insert(inode, path);
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// From the link's text, so that nothing is opened: an open file would keep the namespace in being.
fn inode(path: &Path) -> Option<u64> {
    parse(fs::read_link(path).ok()?.to_str()?)
}

/// `net:[4026531840]`
fn parse(text: &str) -> Option<u64> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Network namespaces that are mounted, from the text of `/proc/self/mountinfo`, proc_pid_mountinfo(5).
fn mounted(mountinfo: &str) -> Found {
    let lines = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        (filesystem.split(' ').next() == Some(NSFS)).then_some(())?;
        let mut fields = mount.split(' ').skip(3);
        Some((parse(fields.next()?)?, unescape(fields.next()?)))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_network_namespaces_are_found_and_no_others() {
        let text = "\
21 1 0:20 / / rw - ext4 /dev/x rw
30 21 0:4 net:[4026532200] /run/netns/blue rw shared:5 - nsfs nsfs rw
31 21 0:4 mnt:[4026532201] /run/ns/mnt rw - nsfs nsfs rw
32 21 0:4 net:[4026532202] /run/with\\040space rw - nsfs nsfs rw
";
        let expected = [(4_026_532_200, "/run/netns/blue"), (4_026_532_202, "/run/with space")];
        assert_eq!(mounted(text), expected.map(|(inode, path)| (inode, PathBuf::from(path))).into());
        for none in ["", "garbage", "30 21 0:4 net:[x] /run/x rw - nsfs nsfs rw", "30 21 - nsfs"] {
            assert_eq!(mounted(none), Found::new(), "{none:?}");
        }
    }

    #[test]
    fn a_link_names_a_network_namespace_or_nothing() {
        assert_eq!(parse("net:[4026531840]"), Some(4_026_531_840));
        for none in ["", "net:[]", "mnt:[1]", "net:[1", "net:[-1]"] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_own_namespace_is_among_those_of_every_process_and_thread() {
        let own = own_inode().unwrap();
        assert!(everywhere().contains_key(&own) && of_threads().contains(&own));
    }
}
