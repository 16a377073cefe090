//! The short-lived intermediate and the leaves it signs. Its key lives in memory only and goes with the process.

use std::{sync::Arc, time::SystemTime};

use model::HostName;
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{crypto::aws_lc_rs::sign::any_ecdsa_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    authority::LeafError,
    leaves::Minted,
    profile::{self, LEAF_LIFE, Validity},
};

/// An intermediate that can sign.
#[derive(Debug)]
pub(crate) struct Intermediate {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) validity: Validity,
}

impl Intermediate {
    /// A new key under a certificate of shape `params` that `root` signs.
    pub(crate) fn issue(
        params: CertificateParams,
        validity: Validity,
        root: &Issuer<'static, KeyPair>,
    ) -> Result<Self, LeafError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, root)?.into();
        Ok(Self { issuer: Issuer::new(params, key), certificate, validity })
    }

    /// A leaf for `name`.
    pub(crate) fn mint(&self, name: &HostName, now: SystemTime) -> Result<Minted, LeafError> {
        let validity = Validity::starting(now, LEAF_LIFE).ok_or(LeafError::Clock)?.within(self.validity);
        self.sign(&profile::leaf(validity, name)?, validity)
    }

    /// A certificate of shape `leaf` with a key of its own. What is sent is the leaf and this intermediate, never the root:
    /// a client has the root or does not believe it, and some refuse a chain that carries it.
    pub(crate) fn sign(&self, leaf: &CertificateParams, validity: Validity) -> Result<Minted, LeafError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let chain = vec![leaf.signed_by(&key, &self.issuer)?.into(), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        Ok(Minted { key: Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&key)?)), validity })
    }
}
