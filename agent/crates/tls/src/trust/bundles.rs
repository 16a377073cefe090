//! The bundle files that a runner's environment names: the system's roots with ours, and ours alone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Root, StoreKind, StoreState, StoreStatus, Trouble};
use crate::place::{Owner, Place, PlaceError};

/// All public roots together are a quarter of a megabyte.
pub(super) const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where the two files are.
#[derive(Debug)]
pub(super) struct Bundles {
    /// The system's roots and ours: for variables that replace a client's own list.
    pub(super) full: PathBuf,
    /// Our root alone: for variables that add to a client's own list.
    pub(super) root: PathBuf,
}

impl Bundles {
    pub(super) fn new(dir: &Path) -> Self {
        Self { full: dir.join("bundle.pem"), root: dir.join("root.pem") }
    }

    /// Writes both, or brings them up to date.
    pub(super) fn install(&self, root: &Root, system_bundle: &Path) -> StoreStatus {
        let write = || -> Result<StoreState, Trouble> {
            write(&self.root, root.pem().as_bytes())?;
            write(&self.full, &full(root, system_bundle)?)?;
            Ok(StoreState::Installed)
        };
        self.status_of(write())
    }

    /// Whether both are there and up to date.
    pub(super) fn status(&self, root: &Root, system_bundle: &Path) -> StoreStatus {
        let look = || -> Result<StoreState, Trouble> {
            let (full_is, root_is) = (read(&self.full)?, read(&self.root)?);
            let full = full(root, system_bundle)?;
            Ok(match (full_is, root_is) {
                (None, None) => StoreState::NotInstalled,
                (Some(f), Some(r)) if f == full && r == root.pem().as_bytes() => StoreState::Installed,
                _ => StoreState::Outdated,
            })
        };
        self.status_of(look())
    }

    /// Deletes both.
    pub(super) fn remove(&self) -> StoreStatus {
        let remove = || -> Result<StoreState, Trouble> {
            let was = read(&self.full)?.is_some() || read(&self.root)?.is_some();
            Place::open(&self.full)?.remove()?;
            Place::open(&self.root)?.remove()?;
            Ok(if was { StoreState::Restored } else { StoreState::NotInstalled })
        };
        self.status_of(remove())
    }

    /// Leaves both where they are, because `file` still names them.
    pub(super) fn keep(&self, file: PathBuf) -> StoreStatus {
        self.status_of(Err(Trouble::StillNamed(file)))
    }

    /// Whether the bundles are there and a runner with this owner can read them. Its further groups are not known here, so
    /// they do not count.
    pub(super) fn check_reach(&self, runner: Owner) -> Result<(), Trouble> {
        let real = self.full.canonicalize().map_err(Trouble::File)?;
        for dir in real.ancestors().skip(1) {
            let meta = fs::metadata(dir).map_err(Trouble::File)?;
            let open = match runner.uid {
                0 => true,
                uid if uid == meta.uid() => meta.mode() & 0o100 != 0,
                _ if runner.gid == meta.gid() => meta.mode() & 0o010 != 0,
                _ => meta.mode() & 0o001 != 0,
            };
            if !open {
                return Err(Trouble::OutOfReach { uid: runner.uid, path: real.clone(), dir: dir.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether the bundles' paths can stand in a line of an environment file.
    pub(super) fn check_plain(&self) -> Result<(), Trouble> {
        let is_plain = |path: &str| !path.contains(['\n', '\r']);
        if self.full.to_str().is_some_and(is_plain) {
            Ok(())
        } else {
            Err(Trouble::PathNotText(self.full.clone()))
        }
    }

    fn status_of(&self, result: Result<StoreState, Trouble>) -> StoreStatus {
        StoreStatus { store: StoreKind::Bundles, path: self.full.clone(), state: result.into() }
    }
}

/// The system's bundle as it is now, and our root once.
fn full(root: &Root, system_bundle: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = system(system_bundle)?;
    if !root.is_not_alone_in(&bytes) {
        return Err(Trouble::NoPublicRoots(system_bundle.to_owned()));
    }
    if !root.is_in(&bytes) {
        if bytes.last().is_some_and(|&last| last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(root.pem().as_bytes());
    }
    Ok(bytes)
}

/// The system's bundle; empty when there is none. On some systems it is a link, and it is root's own to set.
pub(super) fn system(bundle: &Path) -> Result<Vec<u8>, Trouble> {
    match bundle.canonicalize() {
        Ok(real) => Ok(read(&real)?.unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Trouble::File(error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    match Place::open(path).and_then(|place| place.read(BYTES_MAX)) {
        Ok(content) => Ok(content.map(|c| c.bytes)),
        Err(PlaceError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let place = Place::open(path)?;
    if place.read(BYTES_MAX)?.is_none_or(|content| content.bytes != bytes) {
        place.replace(bytes, Owner::own(0o644))?;
    }
    Ok(())
}
