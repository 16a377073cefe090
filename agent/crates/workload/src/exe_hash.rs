//! SHA-256 of executables, for the record.
//!
//! A file that was read once is known by what it is and when it was changed last. One that is not known is read in a few
//! places of their own, so that a job whose executable lies on a file system that does not answer holds up nobody, and a
//! connection waits for it only a moment: what is not there by then is missing in its record, and known to the next.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::{pool::Pool, process::FileState};

/// Executables that are read together.
const TOGETHER_MAX: usize = 4;
/// Longest that a connection waits for one.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// Larger ones are not read. Browsers and runtimes of languages have some hundred megabytes.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Files that are remembered, with some hundred bytes each.
const REMEMBERED_MAX: usize = 1024;
/// What is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A digest.
pub(crate) type Sha256Digest = [u8; 32];

/// What is known, and the places where more is found out.
#[derive(Debug)]
pub(crate) struct ExeHashes {
    known: Arc<Mutex<HashMap<FileState, Sha256Digest>>>,
    pool: Pool,
}

impl Default for ExeHashes {
    fn default() -> Self {
        Self { known: Arc::default(), pool: Pool::with_places(TOGETHER_MAX, WAIT_MAX) }
    }
}

impl ExeHashes {
    /// The digest of a file that was opened as a place. Needs a tokio runtime.
    pub(crate) async fn of(&self, file: OwnedFd) -> Option<Sha256Digest> {
        let state = FileState::of(&file)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&state).copied();
        if known.is_some() || state.bytes > BYTES_MAX {
            return known;
        }
        let known = self.known.clone();
        let read = self.pool.run(move || {
            let digest = read(&file, &state)?;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED_MAX {
                known.clear();
            }
            known.insert(state, digest);
            Some(digest)
        });
        read.await.ok().flatten()
    }
}

/// Reads a file to its end; `None` when it changed before or meanwhile.
fn read(place: &OwnedFd, state: &FileState) -> Option<Sha256Digest> {
    // A place is opened by its own descriptor, and cannot be another file by that.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let (mut hasher, mut chunk, mut left) = (Sha256::new(), vec![0; CHUNK_BYTES], state.bytes);
    while left > 0 {
        let count = file.read(&mut chunk).ok().filter(|count| *count > 0)?;
        hasher.update(chunk.get(..count)?);
        left = left.checked_sub(u64::try_from(count).ok()?)?;
    }
    (FileState::of(&file).as_ref() == Some(state)).then(|| hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    fn place(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn expected(bytes: &[u8]) -> Option<Sha256Digest> {
        Some(Sha256::digest(bytes).into())
    }

    #[tokio::test]
    async fn a_file_is_read_once_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exe");
        fs::write(&path, b"one").unwrap();
        let hashes = ExeHashes::default();
        assert_eq!(hashes.of(place(&path)).await, expected(b"one"));
        assert_eq!(hashes.of(place(&path)).await, expected(b"one"));
        assert_eq!(hashes.known.lock().unwrap().len(), 1);
        // Of another length, because the clock of the file system may not have gone on.
        fs::write(&path, b"two and more").unwrap();
        assert_eq!(hashes.of(place(&path)).await, expected(b"two and more"));
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(BYTES_MAX + 1).unwrap();
        let hashes = ExeHashes::default();
        for path in [pipe.as_path(), &large, folder.path()] {
            assert_eq!(hashes.of(place(path)).await, None, "{}", path.display());
        }
    }

    #[test]
    fn a_file_that_changed_before_it_was_read_has_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exe");
        for (before, after) in [("longer", "short"), ("short", "longer")] {
            fs::write(&path, before).unwrap();
            let (place, state) = (place(&path), FileState::of(place(&path)).unwrap());
            fs::write(&path, after).unwrap();
            assert_eq!(read(&place, &state), None, "{before}");
        }
    }
}
