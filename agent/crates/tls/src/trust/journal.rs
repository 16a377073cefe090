//! The undo journal: what was put into which file, written down before the file is touched.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{StoreKind, Trouble, TrustError, state_error};
use crate::place::{Owner, Place, PlaceError};

const FILE: &str = "journal.json";
const VERSION: u32 = 1;
/// Ten thousand Python installations.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The entries, and where they are kept.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    written: Written,
}

/// The file as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    entries: Vec<Entry>,
}

/// What was done to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    store: String,
    path: String,
    /// SHA-256 of the file as it was, in hex; none when there was no file.
    pub(super) before: Option<String>,
    /// The line end that was put before the block because the file's last line had none.
    pub(super) glue: String,
    /// The text that was put in.
    pub(super) block: String,
}

impl Journal {
    /// The journal of a trust folder; empty when there is none.
    pub(super) fn load(dir: &Path) -> Result<Self, TrustError> {
        let path = dir.join(FILE);
        let none = Written { version: VERSION, entries: Vec::new() };
        let content = match Place::open(&path).and_then(|place| place.read(BYTES_MAX)) {
            Ok(content) => content,
            Err(PlaceError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(state_error(&path, error)),
        };
        let Some(content) = content else { return Ok(Self { path, written: none }) };
        let damaged = |reason: String| TrustError::Journal { path: path.clone(), reason };
        let written: Written = serde_json::from_slice(&content.bytes).map_err(|e| damaged(e.to_string()))?;
        if written.version != VERSION {
            return Err(damaged(format!("its version is {}, not {VERSION}", written.version)));
        }
        Ok(Self { path, written })
    }

    pub(super) fn entry(&self, store: StoreKind, path: &Path) -> Option<&Entry> {
        self.written.entries.iter().find(|entry| entry.is_for(store, path))
    }

    pub(super) fn paths(&self, store: StoreKind) -> impl Iterator<Item = PathBuf> + use<'_> {
        self.written.entries.iter().filter(move |e| e.store == store.as_str()).map(|e| PathBuf::from(&e.path))
    }

    /// Makes an entry durable, in place of an earlier one for the same file. To be called before the file is touched.
    pub(super) fn record(
        &mut self,
        store: StoreKind,
        path: &Path,
        before: Option<&[u8]>,
        glue: &str,
        block: &str,
    ) -> Result<(), Trouble> {
        let entry = Entry {
            store: store.as_str().to_owned(),
            path: path.to_str().ok_or_else(|| Trouble::PathNotText(path.to_owned()))?.to_owned(),
            before: before.map(digest),
            glue: glue.to_owned(),
            block: block.to_owned(),
        };
        if self.entry(store, path) == Some(&entry) {
            return Ok(());
        }
        self.written.entries.retain(|old| !old.is_for(store, path));
        self.written.entries.push(entry);
        Ok(self.save()?)
    }

    /// Drops the entry of a file that was put back.
    pub(super) fn forget(&mut self, store: StoreKind, path: &Path) -> Result<(), PlaceError> {
        let before = self.written.entries.len();
        self.written.entries.retain(|old| !old.is_for(store, path));
        if self.written.entries.len() == before { Ok(()) } else { self.save() }
    }

    fn save(&self) -> Result<(), PlaceError> {
        let place = Place::open(&self.path)?;
        if self.written.entries.is_empty() {
            return place.remove();
        }
        let mut bytes = serde_json::to_vec_pretty(&self.written).map_err(std::io::Error::from)?;
        bytes.push(b'\n');
        place.replace(&bytes, Owner::own(0o600))
    }
}

impl Entry {
    fn is_for(&self, store: StoreKind, path: &Path) -> bool {
        self.store == store.as_str() && Path::new(&self.path) == path
    }

    /// Whether these are the bytes the file had before us.
    pub(super) fn is_before(&self, bytes: &[u8]) -> bool {
        self.before.as_deref() == Some(digest(bytes).as_str())
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn entries_survive_and_the_last_one_takes_the_file_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::load(dir.path()).unwrap();
        for (path, before) in [("/a", Some(b"old".as_slice())), ("/b", None), ("/a", Some(b"older"))] {
            journal.record(StoreKind::Certifi, Path::new(path), before, "", "block").unwrap();
        }
        let mut again = Journal::load(dir.path()).unwrap();
        assert_eq!(again.paths(StoreKind::Certifi).count(), 2);
        assert_eq!(again.paths(StoreKind::RunnerEnv).count(), 0);
        let entry = again.entry(StoreKind::Certifi, Path::new("/a")).unwrap();
        assert!(entry.is_before(b"older") && !entry.is_before(b"old"));
        again.forget(StoreKind::Certifi, Path::new("/b")).unwrap();
        again.forget(StoreKind::Certifi, Path::new("/a")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_journal_that_does_not_read_stops_everything() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "{", r#"{"version":2,"entries":[]}"#, r#"{"version":1,"entries":[],"x":1}"#] {
            fs::write(dir.path().join(FILE), bad).unwrap();
            assert!(matches!(Journal::load(dir.path()), Err(TrustError::Journal { .. })), "{bad}");
        }
    }
}
