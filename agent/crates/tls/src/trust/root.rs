//! Our root's certificate, and whether a bundle holds it.

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::TrustError;

/// A root to be trusted.
#[derive(Debug)]
pub(super) struct Root {
    der: CertificateDer<'static>,
    pem: String,
}

impl Root {
    pub(super) fn parse(pem: &str) -> Result<Self, TrustError> {
        let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (certificates.next(), certificates.next()) else {
            return Err(TrustError::Root);
        };
        Ok(Self { der, pem: format!("{}\n", pem.trim_end()) })
    }

    /// PEM with LF line ends, the last line ended.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn is_in(&self, bundle: &[u8]) -> bool {
        certificates(bundle).any(|certificate| certificate == self.der)
    }

    /// Whether a bundle holds any other certificate.
    pub(super) fn is_not_alone_in(&self, bundle: &[u8]) -> bool {
        certificates(bundle).any(|certificate| certificate != self.der)
    }
}

/// The certificates of a bundle. A damaged one is passed over, as most clients do.
pub(super) fn certificates(bundle: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::authority;

    #[test]
    fn a_root_is_found_in_a_bundle_whatever_stands_around_it() {
        let (ours, other) = (authority().1, authority().1);
        let root = Root::parse(ours.root_pem()).unwrap();
        let both =
            format!("# caf\u{e9}\n{}\njunk\n{}", other.root_pem(), ours.root_pem().replace('\n', "\r\n"));
        assert!(root.is_in(both.as_bytes()) && root.is_not_alone_in(both.as_bytes()));
        assert!(!root.is_in(other.root_pem().as_bytes()));
        assert!(!root.is_not_alone_in(ours.root_pem().as_bytes()));
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let pem = authority().1.root_pem().to_owned();
        for bad in ["", "x", &pem.replace("CERTIFICATE", "PRIVATE KEY"), &pem.repeat(2)] {
            assert!(matches!(Root::parse(bad), Err(TrustError::Root)), "{bad}");
        }
    }
}
