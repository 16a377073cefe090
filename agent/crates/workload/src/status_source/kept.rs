//! What a directory told the last time, on disk, so that an agent that starts while the directory is out of reach still
//! knows who has left.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use identity::Departed;
use serde::{Deserialize, Serialize};

use super::list::{self, Entry, List};

/// A list, and when it was told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// In seconds after the Unix epoch.
    told: u64,
    /// By whom. A list of another directory says nothing about this one.
    source: String,
    deactivated: Vec<Entry>,
}

/// Writes a list so that a reader finds the old one or the new one, whole.
pub(super) fn write(path: &Path, source: &str, entries: &[Entry]) -> io::Result<()> {
    let told = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let kept = Kept { told, source: source.to_owned(), deactivated: entries.to_vec() };
    let text = serde_json::to_vec(&kept).map_err(io::Error::other)?;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Reads what was written, and how long ago it was told. `None` if nothing is there that can be used.
pub(super) fn read(path: &Path, source: &str) -> Option<(Departed, Duration)> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the list that was kept cannot be read");
            return None;
        }
    };
    let kept: Kept = match serde_json::from_slice(&text) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the list that was kept is damaged");
            return None;
        }
    };
    if kept.source != source {
        return None;
    }
    let told = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(kept.told))?;
    // Told in the future, by a clock that was wrong then or is now: how old it is cannot be said.
    let age = SystemTime::now().duration_since(told).unwrap_or(Duration::MAX);
    Some((list::departed(List { deactivated: kept.deactivated }).ok()?, age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_for_the_same_source_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("kept.json");
        assert!(read(&path, "a").is_none());
        let entry = Entry { name: "Mona".into(), snowflake_users: vec!["MONA".into()], ..Entry::default() };
        write(&path, "a", &[entry]).unwrap();
        let (departed, age) = read(&path, "a").unwrap();
        assert_eq!(departed.len(), 1);
        assert!(age < Duration::from_secs(3600));
        assert!(read(&path, "b").is_none());
        fs::write(&path, "{").unwrap();
        assert!(read(&path, "a").is_none());
    }
}
