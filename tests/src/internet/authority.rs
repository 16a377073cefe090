//! The certificate authority of the lab's internet, made anew at each start.
//!
//! What a public authority would have issued: a root, an intermediate, a leaf for the name that was asked, P-256
//! throughout. Nothing names a revocation service, because the internet has none. Two names have the
//! certificates that a client must refuse: one expired, one from a root that is not published.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::addresses::{EXPIRED_HOST, UNTRUSTED_HOST};

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Short enough for drivers that check revocation to be content without a revocation list.
const INTERMEDIATE_VALIDITY: Duration = Duration::from_secs(5 * 24 * 3600);
const LEAF_VALIDITY: Duration = Duration::from_secs(3 * 24 * 3600);

/// A root, its intermediate, and a second hierarchy that nobody trusts.
pub(super) struct Authority {
    trusted: Hierarchy,
    untrusted: Hierarchy,
    /// Leaf certificates by name, so that a name keeps its certificate while the internet runs.
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

struct Hierarchy {
    root_pem: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes both hierarchies with fresh keys.
    pub(super) fn create() -> Result<Self> {
        Ok(Self {
            trusted: Hierarchy::create("Lab Internet Root")?,
            untrusted: Hierarchy::create("Lab Root Nobody Trusts")?,
            issued: Mutex::default(),
        })
    }

    /// The root that clients of the lab are to trust.
    pub(super) fn root_pem(&self) -> &str {
        &self.trusted.root_pem
    }

    /// A server side that has certificates for the names `serves` says yes to, and ends other handshakes.
    pub(super) fn server_config(self: &Arc<Self>, serves: fn(&str) -> bool) -> Result<Arc<ServerConfig>> {
        let resolver = Arc::new(Resolver { authority: Arc::clone(self), serves });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn leaf(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = issued.get(name) {
            return Ok(Arc::clone(leaf));
        }
        let now = SystemTime::now();
        let leaf = Arc::new(match name {
            EXPIRED_HOST => self.trusted.issue(name, now - 3 * DAY, now - DAY)?,
            UNTRUSTED_HOST => self.untrusted.issue(name, now - DAY, now + LEAF_VALIDITY)?,
            _ => self.trusted.issue(name, now - DAY, now + LEAF_VALIDITY)?,
        });
        issued.insert(name.to_owned(), Arc::clone(&leaf));
        Ok(leaf)
    }
}

impl Hierarchy {
    fn create(common_name: &str) -> Result<Self> {
        let now = SystemTime::now();
        let mut root = ca_params(common_name, BasicConstraints::Unconstrained);
        root.not_before = (now - 4 * DAY).into();
        root.not_after = (now + ROOT_VALIDITY).into();
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?).context("root certificate")?;

        let mut intermediate =
            ca_params(&format!("{common_name}: Issuing"), BasicConstraints::Constrained(0));
        intermediate.not_before = (now - DAY).into();
        intermediate.not_after = (now - DAY + INTERMEDIATE_VALIDITY).into();
        intermediate.use_authority_key_identifier_extension = true;
        let intermediate = CertifiedIssuer::signed_by(intermediate, KeyPair::generate()?, &root)
            .context("intermediate certificate")?;
        Ok(Self { root_pem: root.pem(), intermediate })
    }

    fn issue(&self, name: &str, not_before: SystemTime, not_after: SystemTime) -> Result<CertifiedKey> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.intermediate)?;
        let chain = vec![leaf.der().clone(), self.intermediate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(CertifiedKey::new(chain, aws_lc_rs::sign::any_ecdsa_type(&key)?))
    }
}

fn ca_params(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Chooses the certificate by the name in the ClientHello. No name, or another server's name: no certificate.
struct Resolver {
    authority: Arc<Authority>,
    serves: fn(&str) -> bool,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().filter(|name| (self.serves)(name))?;
        self.authority.leaf(name).ok()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};

    use super::*;

    /// What a client that trusts the published root says about the certificate of `name`, used as `used_as`.
    fn verify(authority: &Authority, name: &str, used_as: &str) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = authority.leaf(name).unwrap();
        let (end, chain) = leaf.cert.split_first().unwrap();
        let used_as = ServerName::try_from(used_as.to_owned()).unwrap();
        verifier.verify_server_cert(end, chain, &used_as, &[], UnixTime::now()).map(|_| ())
    }

    #[test]
    fn a_client_that_trusts_the_root_accepts_the_name_it_asked_for() {
        let authority = Authority::create().unwrap();
        for name in ["acme.snowflakecomputing.com", "www.example.org"] {
            verify(&authority, name, name).unwrap();
        }
        assert!(verify(&authority, "acme.snowflakecomputing.com", "www.example.org").is_err());
    }

    #[test]
    fn bad_certificates_are_bad_in_the_way_they_are_meant_to_be() {
        let authority = Authority::create().unwrap();
        let expired = verify(&authority, EXPIRED_HOST, EXPIRED_HOST).unwrap_err();
        assert!(
            matches!(expired, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })),
            "{expired:?}"
        );
        let untrusted = verify(&authority, UNTRUSTED_HOST, UNTRUSTED_HOST).unwrap_err();
        assert_eq!(untrusted, Error::InvalidCertificate(CertificateError::UnknownIssuer));
    }
}
