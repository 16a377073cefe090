//! What this room's tests share.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use model::HostName;
use rustls::sign::CertifiedKey;
use tempfile::TempDir;

use crate::Authority;

/// The guarded host of the tests.
pub(crate) const HOST: &str = "acme.snowflakecomputing.com";

pub(crate) fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// An authority for [`HOST`] in a directory of its own.
pub(crate) fn authority() -> (TempDir, Arc<Authority>) {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority_in(&dir.path().join("ca"));
    (dir, authority)
}

pub(crate) fn authority_in(dir: &Path) -> Arc<Authority> {
    Arc::new(Authority::create(dir, &[name(HOST)], SystemTime::now()).unwrap())
}

/// Some certificate with some key, for tests that only count them.
pub(crate) fn any_key() -> Arc<CertifiedKey> {
    static KEY: OnceLock<Arc<CertifiedKey>> = OnceLock::new();
    Arc::clone(KEY.get_or_init(|| authority().1.leaf(&name(HOST), SystemTime::now()).unwrap()))
}
