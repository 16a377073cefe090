//! The keys of masks: each in a file of its own, read when the policy is loaded.

use std::{collections::BTreeMap, fs::File, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context, Result, ensure};
use policy::{Classification, MaskKey, PolicyFile};

/// More than this is no key.
const KEY_BYTES_MAX: u64 = 4 << 10;

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Reads the keys that a classification names. None of one that cannot be read: loading it says why.
pub(crate) fn read(classification: &PolicyFile) -> Result<BTreeMap<String, MaskKey>> {
    let Ok(classification) = Classification::parse(&classification.name, &classification.text) else {
        return Ok(BTreeMap::new());
    };
    let key = |(name, file): (&str, &str)| Ok((name.to_owned(), key(name, Path::new(file))?));
    classification.key_files().map(key).collect()
}

fn key(name: &str, path: &Path) -> Result<MaskKey> {
    let at = || format!("the key {name:?} of the classification cannot be read from {}", path.display());
    let file = File::open(path).with_context(at)?;
    let seen = file.metadata().with_context(at)?;
    ensure!(seen.is_file(), "{}: it is no file", at());
    ensure!(seen.mode() & OTHERS == 0, "{}: others may read it; chmod 600 {}", at(), path.display());
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(at)?;
    ensure!(bytes.len() as u64 <= KEY_BYTES_MAX, "{}: it is longer than any key (KEY_BYTES_MAX)", at());
    MaskKey::new(name, bytes.trim_ascii_end()).with_context(at)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn keys_are_read_where_the_classification_says_and_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop");
        let text = format!("[keys.shop]\nfile = {:?}\n", path.display().to_string());
        let classification = PolicyFile { name: "c.toml".into(), text };
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&classification)
        };
        let fault =
            |result: Result<_>| format!("{:#}", result.map(|_: BTreeMap<String, MaskKey>| ()).unwrap_err());
        assert!(fault(read(&classification)).contains("\"shop\""));
        assert!(fault(write("0123456789abcdef0123456789abcdef\n", 0o644)).contains("chmod 600"));
        assert!(fault(write("short\n", 0o600)).contains("it needs 32"));
        assert!(fault(write(&"x".repeat(5_000), 0o600)).contains("KEY_BYTES_MAX"));
        let keys = write("0123456789abcdef0123456789abcdef\n", 0o600).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["shop"]);
        let broken = PolicyFile { name: "c.toml".into(), text: "[keys".into() };
        assert!(read(&broken).unwrap().is_empty());
    }
}
