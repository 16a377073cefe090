//! The bundles that ship inside Python installations, as `certifi` and inside pip.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Journal, Root, StoreKind, StoreState, StoreStatus, Trouble,
    block::{self, BEGIN, END, Sight},
    bundles,
};
use crate::place::{Place, PlaceError};

/// certifi's bundle is a quarter of a megabyte.
const BYTES_MAX: u64 = bundles::BYTES_MAX;
/// Folders one search goes through: a host with some hundred Python environments.
const FOLDERS_MAX: usize = 1_000_000;
/// Folders below folders; also what ends a loop of bind mounts.
const DEPTH_MAX: usize = 32;
/// Kernel file systems, in case somebody looks everywhere. They have no end and no Python.
const NEVER: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What a search found.
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    pub(super) troubles: Vec<StoreStatus>,
}

/// Looks for bundles below `roots`, which the operator named and which may be links. Below them no link is followed: what
/// it leads to is found where it is, or is not ours to change.
pub(super) fn find(roots: &[PathBuf]) -> Found {
    let mut found = Found { files: Vec::new(), troubles: Vec::new() };
    let mut folders = 0;
    for root in roots {
        let real = root.canonicalize().map_err(Trouble::File);
        let walked = real.and_then(|real| walk(&real, &mut found.files, &mut folders));
        if let Err(trouble) = walked {
            let state = StoreState::Attention(trouble);
            found.troubles.push(StoreStatus { store: StoreKind::Certifi, path: root.clone(), state });
        }
    }
    found.files.sort();
    found.files.dedup();
    found
}

/// Adds our root to a bundle.
pub(super) fn install(file: &Path, root: &Root, journal: &mut Journal) -> StoreStatus {
    let mut install = || -> Result<StoreState, Trouble> {
        if let Some(state) = as_link(file, root)? {
            return Ok(state);
        }
        let sight = Sight::of(file, BYTES_MAX, journal.entry(StoreKind::Certifi, file))?;
        if root.is_in(&sight.base) && !sight.has_block {
            return Ok(StoreState::AlreadyTrusted);
        }
        sight.put(StoreKind::Certifi, &block(root), journal)?;
        Ok(StoreState::Installed)
    };
    let state = install().into();
    StoreStatus { store: StoreKind::Certifi, path: file.to_owned(), state }
}

/// Whether a bundle holds our root.
pub(super) fn status(file: &Path, root: &Root, journal: &Journal) -> StoreStatus {
    let look = || -> Result<StoreState, Trouble> {
        if let Some(state) = as_link(file, root)? {
            return Ok(state);
        }
        let entry = journal.entry(StoreKind::Certifi, file);
        let sight = match Sight::of(file, BYTES_MAX, entry) {
            Ok(sight) => sight,
            Err(Trouble::File(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(StoreState::Gone);
            }
            Err(trouble) => return Err(trouble),
        };
        Ok(match entry {
            _ if !sight.exists() => StoreState::Gone,
            Some(entry) if sight.has_block && entry.block == block(root) => StoreState::Installed,
            _ if sight.has_block => StoreState::Outdated,
            _ if root.is_in(&sight.base) => StoreState::AlreadyTrusted,
            Some(entry) if !entry.is_before(&sight.base) => StoreState::Replaced,
            _ => StoreState::NotInstalled,
        })
    };
    StoreStatus { store: StoreKind::Certifi, path: file.to_owned(), state: look().into() }
}

/// Takes our root out again.
pub(super) fn remove(file: &Path, journal: &mut Journal) -> StoreStatus {
    // What is a link now was never written through, and if it was a file once, our part went with that.
    if file.is_symlink() {
        let forgotten = journal.forget(StoreKind::Certifi, file).map_err(Trouble::from);
        let state = forgotten.map(|()| StoreState::NotInstalled).into();
        return StoreStatus { store: StoreKind::Certifi, path: file.to_owned(), state };
    }
    block::remove(StoreKind::Certifi, file, BYTES_MAX, journal)
}

fn block(root: &Root) -> String {
    format!("{BEGIN}\n{}{END}\n", root.pem())
}

/// A distribution's own Python has a link to the system's bundle here, which is trusted or not as that is.
fn as_link(file: &Path, root: &Root) -> Result<Option<StoreState>, Trouble> {
    match Place::open_unlinked(file).and_then(|place| place.read(BYTES_MAX)) {
        Err(PlaceError::Link) => {}
        _ => return Ok(None),
    }
    let target = file.canonicalize().map_err(Trouble::File)?;
    if root.is_in(&bundles::system(&target)?) {
        return Ok(Some(StoreState::AlreadyTrusted));
    }
    Err(Trouble::Link(target))
}

fn walk(root: &Path, files: &mut Vec<PathBuf>, folders: &mut usize) -> Result<(), Trouble> {
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        *folders += 1;
        if *folders > FOLDERS_MAX {
            return Err(Trouble::TooManyFolders(FOLDERS_MAX));
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(Trouble::File(error)),
            // Gone meanwhile, or closed even to us: no Python that a job could use either.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                let skipped = NEVER.iter().any(|never| path == Path::new(never));
                if depth < DEPTH_MAX && !skipped {
                    open.push((path, depth + 1));
                }
            } else if is_bundle(&path) {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// `…/site-packages/certifi/cacert.pem`, Debian's `dist-packages` likewise, and `…/pip/_vendor/certifi/cacert.pem`.
fn is_bundle(path: &Path) -> bool {
    let mut names = path.iter().rev().map(OsStr::as_encoded_bytes);
    let mut next = || names.next().unwrap_or_default();
    if next() != b"cacert.pem" || next() != b"certifi" {
        return false;
    }
    match next() {
        b"site-packages" | b"dist-packages" => true,
        b"_vendor" => next() == b"pip",
        _ => false,
    }
}
