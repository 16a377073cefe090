//! Which cgroup the programs go on.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

/// Inode number of the root of a cgroup2 hierarchy. In a container with a cgroup namespace of its own, what looks like
/// the root is a folder somewhere below, with another number: attaching there would miss every other container.
const ROOT_INODE: u64 = 1;

/// A folder of the cgroup2 hierarchy, held open.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: File,
    path: PathBuf,
    /// Inode number of the folder, by which the kernel names the cgroup.
    pub(crate) id: u64,
}

/// Why there is no cgroup to attach to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("no cgroup2 file system is mounted")]
    NotMounted,
    #[error("the cgroup2 mount at {} is not the root of the hierarchy", .0.display())]
    NotRoot(PathBuf),
    #[error("{} is not a folder on a cgroup2 file system", .0.display())]
    NotCgroup2(PathBuf),
    #[error("the agent itself is in the root cgroup, and would have to attach there to accept connections")]
    AgentInRoot,
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

impl Cgroup {
    /// The root of the hierarchy, found by file system type: on hybrid hosts it is not `/sys/fs/cgroup` itself.
    pub(crate) fn root() -> Result<Self, CgroupError> {
        let mounts = cgroup2_mounts(&read("/proc/self/mountinfo")?);
        let last = mounts.last().cloned().ok_or(CgroupError::NotMounted)?;
        mounts
            .into_iter()
            .filter_map(|path| Self::open(&path).ok())
            .find(|cgroup| cgroup.id == ROOT_INODE)
            .ok_or(CgroupError::NotRoot(last))
    }

    /// A folder that an operator named.
    pub(crate) fn open(path: &Path) -> Result<Self, CgroupError> {
        let unreadable = |source| CgroupError::Unreadable { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(unreadable)?;
        let folder = File::open(&path).map_err(unreadable)?;
        let metadata = folder.metadata().map_err(unreadable)?;
        let filesystem = fstatfs(&folder).map_err(|errno| unreadable(errno.into()))?.filesystem_type();
        if !metadata.is_dir() || filesystem != CGROUP2_SUPER_MAGIC {
            return Err(CgroupError::NotCgroup2(path));
        }
        Ok(Self { folder, path, id: metadata.ino() })
    }

    /// The agent's own cgroup, if it lies outside of this one. The kernel runs the accepting side's program for the
    /// cgroup of the listener, which is the agent's: there, that one program must be attached as well.
    pub(crate) fn agents_if_outside(&self) -> Result<Option<Self>, CgroupError> {
        if self.is_root() {
            return Ok(None);
        }
        let root = Self::root()?;
        let own = own_path(&read("/proc/self/cgroup")?).ok_or(CgroupError::NotMounted)?;
        let own = Self::open(&root.path.join(own))?;
        if own.path.starts_with(&self.path) {
            return Ok(None);
        }
        if own.is_root() { Err(CgroupError::AgentInRoot) } else { Ok(Some(own)) }
    }

    /// Whether this is the root of the hierarchy.
    pub(crate) fn is_root(&self) -> bool {
        self.id == ROOT_INODE
    }

    /// How deep it lies below the root, which is zero.
    pub(crate) fn level(&self) -> io::Result<u32> {
        u32::try_from(self.with_those_above()?.len().saturating_sub(1)).map_err(io::Error::other)
    }

    /// Its id and those of every cgroup above it, up to the root.
    pub(crate) fn with_those_above(&self) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        for folder in self.path.ancestors() {
            let id = fs::metadata(folder)?.ino();
            ids.push(id);
            if id == ROOT_INODE {
                return Ok(ids);
            }
        }
        Err(io::Error::other(format!("{} does not lead to the root of the hierarchy", self.path.display())))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { folder: self.folder.try_clone()?, path: self.path.clone(), id: self.id })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

fn read(path: &str) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Unreadable { path: path.into(), source })
}

/// Mount points of cgroup2 file systems, from the text of `/proc/self/mountinfo`, proc_pid_mountinfo(5).
fn cgroup2_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let lines = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        (filesystem.split(' ').next() == Some("cgroup2")).then_some(())?;
        Some(unescape(mount.split(' ').nth(4)?))
    });
    lines.collect()
}

/// Undoes the octal escapes of mountinfo: space, tab, newline and backslash.
pub(crate) fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped =
            (first == b'\\').then(|| tail.split_at_checked(3)).flatten().and_then(|(digits, after)| {
                let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
                Some((value, after))
            });
        let (byte, after) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = after;
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Path of a process in the cgroup2 hierarchy without its leading slash, from the text of `/proc/<pid>/cgroup`,
/// cgroups(7).
fn own_path(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
77 31 0:38 /a /mnt/with\\040space\\134 rw - cgroup2 none rw
";

    #[test]
    fn only_cgroup2_mounts_are_found_whatever_their_place() {
        let found = cgroup2_mounts(HYBRID);
        assert_eq!(found, [Path::new("/sys/fs/cgroup/unified"), Path::new("/mnt/with space\\")]);
        for none in ["", "garbage", "1 2 3 / /x rw - cgroup cgroup2 rw", " - cgroup2 x rw"] {
            assert_eq!(cgroup2_mounts(none), Vec::<PathBuf>::new(), "{none:?}");
        }
    }

    #[test]
    fn an_escape_that_is_none_is_kept_as_it_is() {
        for text in ["\\", "\\04", "\\0x0", "\\999", "plain"] {
            assert_eq!(unescape(text), Path::new(text));
        }
    }

    #[test]
    fn the_own_cgroup_is_the_line_of_the_unified_hierarchy() {
        let text = "9:name=systemd:/\n4:memory:/x\n0::/system.slice/snowfence.service\n";
        assert_eq!(own_path(text), Some(PathBuf::from("system.slice/snowfence.service")));
        assert_eq!(own_path("0::/\n"), Some(PathBuf::new()));
        assert_eq!(own_path("4:memory:/x\n"), None);
    }

    #[test]
    fn a_folder_elsewhere_is_not_a_cgroup() {
        assert!(matches!(Cgroup::open(Path::new("/proc")), Err(CgroupError::NotCgroup2(_))));
        assert!(matches!(Cgroup::open(Path::new("/does/not/exist")), Err(CgroupError::Unreadable { .. })));
    }
}
