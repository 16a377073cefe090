//! Files of runners and workers, as the kernel calls them.
//!
//! What stat(2) says of a file is another number than the kernel's own on some file systems (btrfs, overlay). So the
//! kernel is asked: a program is run that looks at a file which the agent has opened. It is opened as a place only
//! (`O_PATH`), so that no file system, however slow, is asked for anything. As long as it is open, no other file gets its
//! number.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
};

use agent_common::{FileKey, Role};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};

use super::map;
use crate::{error::Error, object::STARTERS, sys};

/// The files, and the map that the programs look at.
pub(super) struct Starters {
    map: HashMap<MapData, FileKey, u32>,
    namer: OwnedFd,
    named: Array<MapData, FileKey>,
    /// As they are configured.
    files: Vec<(PathBuf, Role)>,
    /// As they were found.
    known: BTreeMap<FileKey, (Role, File)>,
}

impl Starters {
    pub(super) fn new(object: &mut Ebpf, namer: OwnedFd, files: Vec<(PathBuf, Role)>) -> Result<Self, Error> {
        let (map, named) = (map(object, STARTERS)?, map(object, "NAMED")?);
        Ok(Self { map, namer, named, files, known: BTreeMap::new() })
    }

    /// Finds out which files they are now, and tells the programs. Answers whether there is one that was not known. A
    /// file that was known stays so for as long as it has its name: who runs it is the same program as before.
    pub(super) fn refresh(&mut self) -> bool {
        let mut found = BTreeMap::new();
        for (path, role) in self.files.clone() {
            if let Ok((key, file)) = self.ask(&path) {
                found.insert(key, (role, file));
            }
        }
        let before: Vec<FileKey> = self.map.keys().filter_map(Result::ok).collect();
        for key in before.iter().filter(|key| !found.contains_key(key)) {
            let _gone = self.map.remove(key);
        }
        let mut has_new = false;
        for (key, (role, _)) in &found {
            if self.known.get(key).is_none_or(|(known, _)| known != role) {
                has_new = true;
                if let Err(error) = self.map.insert(*key, *role as u32, 0) {
                    tracing::error!(%error, "the file of a runner or worker cannot be written down");
                }
            }
        }
        self.known = found;
        has_new
    }

    /// What somebody is who runs the file at a path.
    pub(super) fn role_of(&mut self, path: &Path) -> Option<Role> {
        let (key, _) = self.ask(path).ok()?;
        self.known.get(&key).map(|(role, _)| *role)
    }

    /// What the kernel calls the file at a path, and the file.
    fn ask(&mut self, path: &Path) -> io::Result<(FileKey, File)> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
        let descriptor = u64::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
        self.named.set(0, FileKey::default(), 0).map_err(io::Error::other)?;
        sys::run_traced(self.namer.as_fd(), descriptor)?;
        let key = self.named.get(&0, 0).map_err(io::Error::other)?;
        if key == FileKey::default() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((key, file))
    }
}
