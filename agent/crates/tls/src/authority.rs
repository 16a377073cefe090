//! The certificate authority. The root's key is made here, read here, used here, and leaves this file only for its
//! place on disk, where the agent alone may read it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{HostName, Secret, Timestamp};
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use crate::{
    intermediate::Intermediate,
    leaves::{LEAVES_MAX, Leaves},
    place::{Owner, Place, PlaceError},
    profile::{self, INTERMEDIATE_LIFE, ROOT_LIFE, Validity},
};

/// The root's certificate, in the authority's directory. Public.
const CERTIFICATE_FILE: &str = "root.pem";
/// The root's private key, in the authority's directory.
const KEY_FILE: &str = "root.key";
/// Far more than a P-256 key or a certificate with a thousand permitted names needs.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The agent's own authority: a root that clients on this host trust, and the means to answer for a guarded name.
pub struct Authority {
    root: Issuer<'static, KeyPair>,
    root_der: CertificateDer<'static>,
    root_pem: String,
    validity: Validity,
    permitted: Vec<HostName>,
    intermediate: Mutex<Option<Arc<Intermediate>>>,
    leaves: Leaves,
}

/// Why an authority could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nothing is ever overwritten.
    #[error("an authority exists already at {0}; it is never overwritten")]
    Exists(PathBuf),
    /// A key without a certificate: making it was interrupted.
    #[error("{0} is a key that no certificate was made for; remove it and run `snowfence init` again")]
    Interrupted(PathBuf),
    /// An authority for no name could sign for none.
    #[error("an authority needs at least one host name to be limited to; name the guarded accounts first")]
    NoNames,
    /// The clock is nowhere near the present.
    #[error("the clock shows a time that certificates cannot hold; set it and try again")]
    Clock,
    /// There is no such file.
    #[error("there is no {0}; make the authority with `snowfence init`")]
    Missing(PathBuf),
    /// Others may read the key.
    #[error(
        "{path} has mode {mode:03o}, so others can read the key; run `chmod 600 {path}`, or make a new authority"
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file system said no.
    #[error("cannot read or write {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{0} does not hold what an authority's file holds; restore it from a backup, or make a new authority"
    )]
    Malformed(PathBuf),
    /// Certificate and key are not a pair.
    #[error("the certificate and the key in {0} do not belong together; restore both from one backup")]
    NotAPair(PathBuf),
    /// The root could sign for any host on the Internet, which no root of ours may.
    #[error("the root in {0} is not limited to named hosts; move it away and run `snowfence init`")]
    Unlimited(PathBuf),
    /// The certificate library refused.
    #[error("cannot make the root certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Why there is no leaf for a name.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// No client would believe it: the root is limited to other names.
    #[error(
        "the authority is limited to other names than {0}; move it away, run `snowfence init` and `snowfence trust install`"
    )]
    NotPermitted(HostName),
    /// The root's time is over, or has not come because the clock is wrong.
    #[error(
        "the authority is valid from {from} until {until} only; check the clock, or make a new one with `snowfence init`"
    )]
    Validity {
        /// First moment.
        from: Timestamp,
        /// Last moment.
        until: Timestamp,
    },
    /// The clock is nowhere near the present.
    #[error("the clock shows a time that certificates cannot hold; set it")]
    Clock,
    /// The certificate library refused.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the key that was just made.
    #[error("cannot use a new key: {0}")]
    Key(#[from] rustls::Error),
}

impl Authority {
    /// Makes a root in `dir`, limited to `permitted` names and names below them, and loads it. The directory is made,
    /// open to its owner alone, when it is not there.
    ///
    /// # Errors
    /// When there is one already, `permitted` is empty, the clock is off, or a file cannot be written.
    pub fn create(dir: &Path, permitted: &[HostName], now: SystemTime) -> Result<Self, AuthorityError> {
        if permitted.is_empty() {
            return Err(AuthorityError::NoNames);
        }
        let (certificate_file, key_file) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        if fs::symlink_metadata(&certificate_file).is_ok() {
            return Err(AuthorityError::Exists(certificate_file));
        }
        let validity = Validity::starting(now, ROOT_LIFE).ok_or(AuthorityError::Clock)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = profile::root(validity, permitted, &tag(&key))?.self_signed(&key)?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| file_error(dir, e.into()))?;
        // The key first: a certificate without a key might be trusted and then be of no use.
        write_new(&key_file, Secret::new(key.serialize_pem()).expose(), 0o600).map_err(
            |error| match error {
                AuthorityError::Exists(path) => AuthorityError::Interrupted(path),
                other => other,
            },
        )?;
        write_new(&certificate_file, &certificate.pem(), 0o644)?;
        Self::load(dir)
    }

    /// Loads the authority that [`Authority::create`] made in `dir`.
    ///
    /// # Errors
    /// When a file is missing, unreadable, readable by others (the key), or not what it should be.
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        let (certificate_file, key_file) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        let (root_pem, _) = read(&certificate_file)?;
        let (key_pem, key_owner) = read(&key_file)?;
        let key_pem = Secret::new(key_pem);
        if key_owner.mode & 0o077 != 0 {
            return Err(AuthorityError::KeyExposed { path: key_file, mode: key_owner.mode });
        }
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| AuthorityError::Malformed(key_file))?;
        let malformed = || AuthorityError::Malformed(certificate_file.clone());
        let root_der = CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|_| malformed())?;
        let facts = RootFacts::read(&root_der).ok_or_else(malformed)?;
        if facts.spki != key.subject_public_key_info() {
            return Err(AuthorityError::NotAPair(dir.to_owned()));
        }
        if facts.permitted.is_empty() {
            return Err(AuthorityError::Unlimited(certificate_file));
        }
        Ok(Self {
            root: Issuer::from_ca_cert_der(&root_der, key).map_err(|_| malformed())?,
            root_der,
            root_pem,
            validity: facts.validity,
            permitted: facts.permitted,
            intermediate: Mutex::default(),
            leaves: Leaves::new(LEAVES_MAX),
        })
    }

    /// The root's certificate as PEM: what clients are made to trust.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's certificate as DER.
    #[must_use]
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root_der
    }

    /// The names the root is limited to; each stands for the names below it as well.
    #[must_use]
    pub fn permitted(&self) -> &[HostName] {
        &self.permitted
    }

    /// Whether clients would believe a leaf for this name.
    #[must_use]
    pub fn permits(&self, name: &HostName) -> bool {
        self.permitted.iter().any(|domain| name.is_within(domain))
    }

    /// The last moment the root is valid.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        self.validity.until
    }

    /// The leaf for `name` with its key and chain (leaf and intermediate), from the cache or made now. It takes a fraction
    /// of a millisecond of CPU at most and waits for nothing but another caller who is making the same leaf.
    ///
    /// # Errors
    /// When the root does not permit the name, or `now` is outside its validity.
    pub fn leaf(&self, name: &HostName, now: SystemTime) -> Result<Arc<CertifiedKey>, LeafError> {
        if !self.permits(name) {
            return Err(LeafError::NotPermitted(name.clone()));
        }
        self.leaves.get(name, now, || self.intermediate(now)?.mint(name, now))
    }

    /// The current intermediate. It is replaced at half of its life, so that no leaf is cut short by much.
    fn intermediate(&self, now: SystemTime) -> Result<Arc<Intermediate>, LeafError> {
        if !self.validity.holds(now) {
            let (from, until) = (self.validity.from.into(), self.validity.until.into());
            return Err(LeafError::Validity { from, until });
        }
        let mut current = self.intermediate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(intermediate) = current.as_ref().filter(|i| i.validity.is_fresh(now)) {
            return Ok(Arc::clone(intermediate));
        }
        let validity =
            Validity::starting(now, INTERMEDIATE_LIFE).ok_or(LeafError::Clock)?.within(self.validity);
        let tag = Timestamp::from(now).unix_seconds().to_string();
        let params = profile::intermediate(validity, &self.permitted, &tag)?;
        let issued = Arc::new(Intermediate::issue(params, validity, &self.root)?);
        tracing::info!(valid_until = %Timestamp::from(validity.until), "new intermediate certificate");
        Ok(Arc::clone(current.insert(issued)))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("permitted", &self.permitted).finish_non_exhaustive()
    }
}

/// What the root's certificate says about itself.
struct RootFacts {
    validity: Validity,
    permitted: Vec<HostName>,
    spki: Vec<u8>,
}

impl RootFacts {
    /// `None` when it is not a certificate of an authority. The names it permits are taken from the certificate and not
    /// from a file beside it: clients go by the certificate.
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() || !certificate.is_ca() {
            return None;
        }
        let constraints = certificate.name_constraints().ok()?;
        let subtrees = constraints.and_then(|c| c.value.permitted_subtrees.as_ref());
        let permitted = subtrees.into_iter().flatten().filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => HostName::parse(name).ok(),
            _ => None,
        });
        let validity = certificate.validity();
        Some(Self {
            validity: Validity { from: time(validity.not_before)?, until: time(validity.not_after)? },
            permitted: permitted.collect(),
            spki: certificate.public_key().raw.to_vec(),
        })
    }
}

fn time(time: ASN1Time) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(time.timestamp()).ok()?))
}

/// Eight hex digits of the public key, so that two roots in one store can be told apart by a person.
fn tag(key: &KeyPair) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(key.der_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<(String, Owner), AuthorityError> {
    let content = Place::open(path)
        .and_then(|place| place.read(FILE_BYTES_MAX))
        .map_err(|error| file_error(path, error))?
        .ok_or_else(|| AuthorityError::Missing(path.to_owned()))?;
    let text = String::from_utf8(content.bytes).map_err(|_| AuthorityError::Malformed(path.to_owned()))?;
    Ok((text, content.owner))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    Place::open(path)
        .and_then(|place| place.create(text.as_bytes(), Owner::own(mode)))
        .map_err(|error| file_error(path, error))
}

fn file_error(path: &Path, error: PlaceError) -> AuthorityError {
    let path = path.to_owned();
    match error {
        PlaceError::Exists => AuthorityError::Exists(path),
        PlaceError::Link | PlaceError::LinkOnTheWay | PlaceError::NotAFile | PlaceError::TooLarge(_) => {
            AuthorityError::Malformed(path)
        }
        PlaceError::Io(source) if source.kind() == io::ErrorKind::NotFound => AuthorityError::Missing(path),
        PlaceError::Io(source) => AuthorityError::File { path, source },
    }
}

#[cfg(test)]
mod tests;
