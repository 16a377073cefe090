//! Files and sockets of a job, by their paths in the job's own file system. The job decides what is there: links stay
//! inside of its root and lead to no process's descriptors, and nothing but a plain file of bounded size is read.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use model::Secret;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// Why a path of a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MountError {
    /// There is nothing.
    #[error("there is nothing at that path")]
    Missing,
    /// It is not what it should be, cannot be read, or leads out of the job's file system.
    #[error("what is at that path is not what it should be")]
    Unfit,
}

impl From<rustix::io::Errno> for MountError {
    fn from(errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => Self::Missing,
            _ => Self::Unfit,
        }
    }
}

/// A socket of a job, held.
#[derive(Debug)]
pub(crate) struct JobSocket(OwnedFd);

impl JobSocket {
    /// Takes hold of a socket below a root, which is the root of a process's file system.
    pub(crate) fn open(root: BorrowedFd<'_>, path: &Path) -> Result<Self, MountError> {
        held(root, path, FileType::Socket).map(Self)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A file below a root, whole. Blocks for as long as the job's file system does.
pub(crate) fn read(root: BorrowedFd<'_>, path: &Path, bytes_max: u64) -> Result<Secret<Vec<u8>>, MountError> {
    let held = held(root, path, FileType::RegularFile)?;
    // Opened a second time, now for reading, through our own descriptor: it is the file that was looked at.
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(again, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    match io::copy(&mut file.take(bytes_max.saturating_add(1)), &mut bytes) {
        Ok(length) if length <= bytes_max => Ok(Secret::new(bytes)),
        _ => Err(MountError::Unfit),
    }
}

/// Looks at what is at a path without opening it, so that nothing that only looks like a file gets to do anything.
fn held(root: BorrowedFd<'_>, path: &Path, kind: FileType) -> Result<OwnedFd, MountError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let held = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode) != kind {
        return Err(MountError::Unfit);
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn root(of: &Path) -> OwnedFd {
        rustix::fs::open(of, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn text(root: &OwnedFd, path: &str) -> Result<String, MountError> {
        let bytes = read(root.as_fd(), Path::new(path), 8)?;
        Ok(String::from_utf8(bytes.expose().clone()).unwrap())
    }

    #[test]
    fn a_file_is_read_through_links_that_stay_inside() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("var/run/secrets");
        std::fs::create_dir_all(folder.join("..2024")).unwrap();
        std::fs::write(folder.join("..2024/token"), "t0k").unwrap();
        // As the kubelet lays it out.
        symlink("..2024", folder.join("..data")).unwrap();
        symlink("..data/token", folder.join("token")).unwrap();
        symlink("/var/run/secrets/token", place.path().join("absolute")).unwrap();
        symlink("../../../../../etc/hostname", place.path().join("out")).unwrap();
        let root = root(place.path());
        assert_eq!(text(&root, "/var/run/secrets/token").unwrap(), "t0k");
        assert_eq!(text(&root, "/absolute").unwrap(), "t0k");
        assert_eq!(text(&root, "/out"), Err(MountError::Missing), "links end at the job's own root");
        assert_eq!(text(&root, "/../../etc/hostname"), Err(MountError::Missing));
        assert_eq!(text(&root, "/nothing"), Err(MountError::Missing));
    }

    #[test]
    fn what_is_no_plain_file_of_bounded_size_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("large"), "123456789").unwrap();
        std::fs::write(place.path().join("full"), "12345678").unwrap();
        std::fs::create_dir(place.path().join("folder")).unwrap();
        let pipe = place.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("/proc/self/fd/0", place.path().join("magic")).unwrap();
        let _listener = UnixListener::bind(place.path().join("socket")).unwrap();
        let root = root(place.path());
        assert_eq!(text(&root, "/full").unwrap(), "12345678");
        for name in ["/large", "/folder", "/pipe", "/socket"] {
            assert_eq!(text(&root, name), Err(MountError::Unfit), "{name}");
        }
        assert!(text(&root, "/magic").is_err());
        assert!(JobSocket::open(root.as_fd(), Path::new("/socket")).is_ok());
        assert_eq!(JobSocket::open(root.as_fd(), Path::new("/full")).unwrap_err(), MountError::Unfit);

        let whole = self::root(Path::new("/"));
        for magic in ["/proc/self/exe", "/proc/self/root/etc/hostname"] {
            assert_eq!(text(&whole, magic), Err(MountError::Unfit), "{magic}");
        }
    }
}
