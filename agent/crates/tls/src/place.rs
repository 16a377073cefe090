//! One file in one directory, read and replaced safely by a privileged process.
//!
//! The directories are other people's: a job may own the runner's folder and swap it for a link while we work. So the
//! directory is opened once and everything happens relative to it, the name itself is never followed when it is a link,
//! only regular files are read, and reading has a limit.

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, linkat, unlinkat},
};

const DIR_FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// A name in a directory that is held open.
#[derive(Debug)]
pub(crate) struct Place {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// A regular file's bytes, and what a replacement must keep.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) owner: Owner,
}

/// Who owns a file, and its permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("it is a symbolic link")]
    Link,
    #[error("a folder on the way to it is a symbolic link")]
    LinkOnTheWay,
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it exists already")]
    Exists,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for PlaceError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ELOOP => Self::Link,
            Errno::EEXIST => Self::Exists,
            other => Self::Io(other.into()),
        }
    }
}

impl Place {
    /// Opens the directory of `path`. The file itself need not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, PlaceError> {
        Self::in_dir(path, |dir| Ok(openat(AT_FDCWD, dir, DIR_FLAGS, Mode::empty())?))
    }

    /// The same where no folder on the way may be a symbolic link. For files below folders of other people's: they could
    /// lead there to a folder of somebody else's.
    pub(crate) fn open_unlinked(path: &Path) -> Result<Self, PlaceError> {
        let how = OpenHow::new().flags(DIR_FLAGS).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        Self::in_dir(path, |dir| match openat2(AT_FDCWD, dir, how) {
            Err(Errno::ELOOP) => Err(PlaceError::LinkOnTheWay),
            other => Ok(other?),
        })
    }

    fn in_dir(
        path: &Path,
        open: impl FnOnce(&Path) -> Result<OwnedFd, PlaceError>,
    ) -> Result<Self, PlaceError> {
        let name = path.file_name().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { dir: open(parent)?, name: name.to_owned(), path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Who owns the directory.
    pub(crate) fn dir_owner(&self) -> Result<Owner, PlaceError> {
        Ok(Owner::of(&File::from(self.dir.try_clone()?))?)
    }

    /// The file, or `None` when there is none.
    pub(crate) fn read(&self, bytes_max: u64) -> Result<Option<Content>, PlaceError> {
        // Without O_NONBLOCK, opening a named pipe that somebody put here would never return.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, self.name.as_os_str(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(PlaceError::NotAFile);
        }
        let owner = Owner::of(&file)?;
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(PlaceError::TooLarge(bytes_max));
        }
        Ok(Some(Content { bytes, owner }))
    }

    /// Writes a file that must not exist yet. It appears whole or not at all.
    pub(crate) fn create(&self, bytes: &[u8], owner: Owner) -> Result<(), PlaceError> {
        let beside = self.write_beside(bytes, owner)?;
        let linked =
            linkat(&self.dir, beside.as_os_str(), &self.dir, self.name.as_os_str(), AtFlags::empty());
        self.drop_beside(&beside);
        linked?;
        self.sync_dir()
    }

    /// Puts `bytes` in the place of whatever file is there, atomically where the file system allows it. A file that is
    /// itself a mount point cannot be renamed over (EBUSY, or EXDEV on some overlays): it is written in place, its
    /// common beginning untouched, so that a crash while appending leaves the old content readable.
    pub(crate) fn replace(&self, bytes: &[u8], owner: Owner) -> Result<(), PlaceError> {
        let beside = self.write_beside(bytes, owner)?;
        match renameat(&self.dir, beside.as_os_str(), &self.dir, self.name.as_os_str()) {
            Ok(()) => self.sync_dir(),
            Err(Errno::EBUSY | Errno::EXDEV) => {
                self.drop_beside(&beside);
                self.overwrite(bytes)
            }
            Err(errno) => {
                self.drop_beside(&beside);
                Err(errno.into())
            }
        }
    }

    /// Removes the file; it is no error when there is none.
    pub(crate) fn remove(&self) -> Result<(), PlaceError> {
        match unlinkat(&self.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => self.sync_dir(),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_beside(&self, bytes: &[u8], owner: Owner) -> Result<OsString, PlaceError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let mut name = OsString::from(".snowfence-");
        name.push(format!("{}-{}-", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        name.push(&self.name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file =
            File::from(openat(&self.dir, name.as_os_str(), flags, Mode::from_bits_truncate(0o600))?);
        let written =
            file.write_all(bytes).and_then(|()| owner.give_to(&file)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            self.drop_beside(&name);
            return Err(error.into());
        }
        Ok(name)
    }

    /// Best effort: the error that led here is the one worth telling.
    fn drop_beside(&self, name: &OsString) {
        if let Err(errno) = unlinkat(&self.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            tracing::warn!(dir = %self.path.display(), file = %name.display(), %errno, "temporary file was left behind");
        }
    }

    fn overwrite(&self, bytes: &[u8]) -> Result<(), PlaceError> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.dir, self.name.as_os_str(), flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(PlaceError::NotAFile);
        }
        let mut old = Vec::new();
        (&file).take(bytes.len() as u64).read_to_end(&mut old)?;
        let same = old.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        io::Seek::seek(&mut file, io::SeekFrom::Start(same as u64))?;
        file.write_all(bytes.get(same..).unwrap_or_default())?;
        file.set_len(bytes.len() as u64)?;
        Ok(file.sync_all()?)
    }

    fn sync_dir(&self) -> Result<(), PlaceError> {
        Ok(File::from(self.dir.try_clone()?).sync_all()?)
    }
}

impl Owner {
    /// A file of this process's user with the given permission bits.
    pub(crate) fn own(mode: u32) -> Self {
        Self { uid: u32::MAX, gid: u32::MAX, mode }
    }

    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777 })
    }

    /// Owner before mode: changing the owner clears some permission bits. An owner of `u32::MAX` means "leave it".
    fn give_to(self, file: &File) -> io::Result<()> {
        let wanted = |id: u32, has: u32| (id != u32::MAX && id != has).then_some(id);
        let has = Self::of(file)?;
        let (uid, gid) = (wanted(self.uid, has.uid), wanted(self.gid, has.gid));
        if uid.is_some() || gid.is_some() {
            fchown(file, uid, gid)?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_file_is_created_once_and_replaced_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::open(&dir.path().join("f")).unwrap();
        assert!(place.read(9).unwrap().is_none());
        place.create(b"one", Owner::own(0o640)).unwrap();
        assert!(matches!(place.create(b"two", Owner::own(0o640)), Err(PlaceError::Exists)));
        let old = place.read(9).unwrap().unwrap();
        place.replace(b"three", old.owner).unwrap();
        let new = place.read(9).unwrap().unwrap();
        assert_eq!((new.bytes.as_slice(), new.owner), (b"three".as_slice(), old.owner));
        assert_eq!(new.owner.mode, 0o640);
        place.remove().unwrap();
        place.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left beside");
    }

    #[test]
    fn writing_in_place_grows_and_shrinks() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::open(&dir.path().join("f")).unwrap();
        place.create(b"abc", Owner::own(0o600)).unwrap();
        for bytes in [b"abcdef".as_slice(), b"abX", b"", b"zz"] {
            place.overwrite(bytes).unwrap();
            assert_eq!(place.read(9).unwrap().unwrap().bytes, bytes);
        }
    }

    #[test]
    fn links_pipes_directories_and_large_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Place::open(&dir.path().join(name)).unwrap();
        fs::write(dir.path().join("large"), "0123456789").unwrap();
        symlink("large", dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        assert!(matches!(at("large").read(9), Err(PlaceError::TooLarge(9))));
        assert!(matches!(at("link").read(99), Err(PlaceError::Link)));
        assert!(matches!(at("link").overwrite(b"x"), Err(PlaceError::Link)));
        assert!(matches!(at("dir").read(99), Err(PlaceError::NotAFile)));
        assert!(matches!(at("pipe").read(99), Err(PlaceError::NotAFile)));
        assert!(Place::open(&dir.path().join("no/such")).is_err());
        assert!(Place::open(Path::new("/")).is_err());
    }

    #[test]
    fn a_link_on_the_way_is_told_from_a_way_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/below")).unwrap();
        symlink("real", root.join("link")).unwrap();
        for (path, is_link) in [("real/below/f", false), ("link/f", true), ("link/below/f", true)] {
            let unlinked = Place::open_unlinked(&root.join(path));
            assert_eq!(matches!(unlinked, Err(PlaceError::LinkOnTheWay)), is_link, "{path}");
            assert_eq!(unlinked.is_ok(), !is_link, "{path}");
            assert!(Place::open(&root.join(path)).is_ok(), "{path}");
        }
        assert!(matches!(Place::open_unlinked(&root.join("no/f")), Err(PlaceError::Io(_))));
    }

    #[test]
    fn a_directory_swapped_for_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, victim) = (dir.path().join("real"), dir.path().join("victim"));
        fs::create_dir(&real).unwrap();
        fs::create_dir(&victim).unwrap();
        let place = Place::open(&real.join("f")).unwrap();
        fs::rename(&real, dir.path().join("moved")).unwrap();
        symlink(&victim, &real).unwrap();
        place.replace(b"x", Owner::own(0o600)).unwrap();
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(fs::read(dir.path().join("moved/f")).unwrap(), b"x");
    }
}
