//! The folder of a record: its files, its lock, and what is needed for a file to survive a power cut.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The entries, one on each line.
const ENTRIES: &str = "entries.jsonl";
/// Locked by the one who writes.
const LOCK: &str = "lock";

/// A folder that this process alone writes, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder when it is not there, for its owner alone, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            let changed = folders_to_flush(path);
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(Error::io("make", path))?;
            changed.into_iter().try_for_each(sync_folder)?;
        }
        let name = path.join(LOCK);
        let lock = private().create(true).truncate(false).open(&name).map_err(Error::io("open", &name))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &name)(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The entries, open to append, cut off behind the first `length` bytes.
    pub(crate) fn entries(&self, length: u64) -> Result<File, Error> {
        let path = entries_path(&self.path);
        let file = private().append(true).create(true).open(&path).map_err(Error::io("open", &path))?;
        let there = file.metadata().map_err(Error::io("look at", &path))?.len();
        if there > length {
            file.set_len(length).map_err(Error::io("shorten", &path))?;
        }
        file.sync_all().map_err(Error::io("flush", &path))?;
        sync_folder(&self.path)?;
        Ok(file)
    }

    /// Writes a file that is whole or not there, whenever the power goes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, beside) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let written = private().create(true).truncate(true).open(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&beside, &path)).map_err(Error::io("write", &path))?;
        sync_folder(&self.path)
    }

    /// Names of the files in the folder, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let read = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&self.path)?.map(|item| Ok(item?.file_name().into_string().ok()));
            let mut names: Vec<String> = names.filter_map(Result::transpose).collect::<io::Result<_>>()?;
            names.sort_unstable();
            Ok(names)
        };
        read().map_err(Error::io("list", &self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing the file is not enough: a child between fork and exec still has it, and with it the lock.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the record was not let go");
        }
    }
}

/// Where the entries of a record are.
pub(crate) fn entries_path(folder: &Path) -> PathBuf {
    folder.join(ENTRIES)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// The folders that making `path` changes, innermost first: each above one that is missing. Unless all of them are
/// flushed, a power cut can take a whole branch, and the record in it.
fn folders_to_flush(path: &Path) -> Vec<&Path> {
    let missing = path.ancestors().take_while(|folder| !folder.exists());
    let parents = missing.filter_map(Path::parent);
    parents.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).collect()
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("flush", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_has_one_writer_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/record");
        let first = Folder::lock(&path).unwrap();
        assert!(matches!(Folder::lock(&path), Err(Error::InUse(_))));
        drop(first);
        let folder = Folder::lock(&path).unwrap();
        let _file = folder.entries(0).unwrap();
        for (name, mode) in [("", 0o700), ("lock", 0o600), ("entries.jsonl", 0o600)] {
            assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn every_folder_that_gets_a_new_one_is_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let (state, record) = (at("state"), at("state/a/record"));
        assert_eq!(folders_to_flush(&record), [at("state/a").as_path(), state.as_path(), dir.path()]);
        fs::create_dir(&state).unwrap();
        assert_eq!(folders_to_flush(&record), [at("state/a").as_path(), state.as_path()]);
        assert!(folders_to_flush(&state).is_empty());
        let relative = Path::new("folder-that-is-not-there/record");
        assert_eq!(folders_to_flush(relative), [Path::new("folder-that-is-not-there"), Path::new(".")]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Folder::lock(Path::new("/proc/nowhere/record")).unwrap_err();
        assert!(error.to_string().starts_with("cannot make /proc/nowhere/record: "), "{error}");
    }
}
