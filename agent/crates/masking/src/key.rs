//! Keys of masks that give the same value the same token.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The shortest key, in bytes: as long as what it makes.
pub const KEY_BYTES_MIN: usize = 32;

/// A key by its name. Two keys are the same if their names are: which bytes a name stands for is not told.
#[derive(Clone)]
pub struct Key {
    name: Arc<str>,
    /// HMAC-SHA-256 (RFC 2104) begun with the key's bytes; none where only the name is known.
    begun: Option<Arc<Hmac<Sha256>>>,
}

/// Bytes that are no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key {name:?} has {bytes} bytes; it needs {KEY_BYTES_MIN} (try `openssl rand -hex 32`)")]
pub struct KeyTooShort {
    /// Its name.
    pub name: String,
    /// How many bytes it has.
    pub bytes: usize,
}

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// When there are fewer than [`KEY_BYTES_MIN`].
    pub fn new(name: &str, bytes: &[u8]) -> Result<Self, KeyTooShort> {
        let begun = Hmac::new_from_slice(bytes).ok().filter(|_| bytes.len() >= KEY_BYTES_MIN);
        let begun = begun.ok_or_else(|| KeyTooShort { name: name.to_owned(), bytes: bytes.len() })?;
        Ok(Self { name: name.into(), begun: Some(Arc::new(begun)) })
    }

    /// A key of which only the name is known. A plan that names it can be looked at; rows cannot be masked with it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), begun: None }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_known(&self) -> bool {
        self.begun.is_some()
    }

    /// The keyed hash of some parts. Each use has a word of its own as the first, so that a hash made for one says nothing
    /// in another. `None` if only the name is known.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let mut mac = Hmac::clone(self.begun.as_ref()?);
        for part in parts {
            // Lengths go in as well, so that no two lists of parts are one text.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().into())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_needs_its_length_and_does_not_print() {
        let error = Key::new("k", &[7; KEY_BYTES_MIN - 1]).unwrap_err();
        assert_eq!(error.bytes, KEY_BYTES_MIN - 1);
        let key = Key::new("k", &[7; KEY_BYTES_MIN]).unwrap();
        assert_eq!(format!("{key:?}"), "Key(\"k\")");
        assert!(key.is_known() && !Key::named("k").is_known());
        assert_eq!(Key::named("k").hash(&[b"x"]), None);
    }

    #[test]
    fn a_hash_depends_on_the_key_and_on_where_parts_end() {
        let (one, other) = (Key::new("k", &[1; 32]).unwrap(), Key::new("k", &[2; 32]).unwrap());
        assert_eq!(one.hash(&[b"a", b"bc"]), one.clone().hash(&[b"a", b"bc"]));
        assert_ne!(one.hash(&[b"a", b"bc"]), one.hash(&[b"ab", b"c"]));
        assert_ne!(one.hash(&[b"a"]), other.hash(&[b"a"]));
    }
}
