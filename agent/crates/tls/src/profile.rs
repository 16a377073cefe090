//! The shape of the three certificates: who signs whom, for how long, and for which names.
//!
//! A root that lasts years and that clients trust, an intermediate and a leaf so short-lived that clients which check
//! revocation ask nobody about them (their limit is seven days, and one of them counts a day more than it should).
//! None names an OCSP responder or a revocation list: there is none, and a client would wait for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a root is valid. Replacing it means a new `trust install` everywhere, so it outlives the machines.
pub(crate) const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());
/// How long an intermediate is valid, the backdating included.
pub(crate) const INTERMEDIATE_LIFE: Duration = Duration::from_secs(5 * DAY.as_secs());
/// How long a leaf is valid, the backdating included.
pub(crate) const LEAF_LIFE: Duration = Duration::from_secs(3 * DAY.as_secs());
/// How far certificates are backdated, for clients whose clock is slow.
pub(crate) const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// The last second X.509 can write, 9999-12-31T23:59:59Z (RFC 5280, 4.1.2.5), less the life of a root.
const NOW_UNIX_SECONDS_MAX: u64 = 253_402_300_799 - ROOT_LIFE.as_secs();

/// A span of time in which a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

impl Validity {
    /// A span of `life` around `now`, backdated. `None` when certificates cannot write that time.
    pub(crate) fn starting(now: SystemTime, life: Duration) -> Option<Self> {
        let since_epoch = now.duration_since(UNIX_EPOCH).ok()?;
        if since_epoch < BACKDATED || since_epoch.as_secs() > NOW_UNIX_SECONDS_MAX {
            return None;
        }
        let from = now.checked_sub(BACKDATED)?;
        Some(Self { from, until: from.checked_add(life)? })
    }

    /// The same span, ended where `outer` ends: no certificate outlives the one that signed it.
    pub(crate) fn within(self, outer: Self) -> Self {
        Self { from: self.from, until: self.until.min(outer.until) }
    }

    pub(crate) fn holds(&self, now: SystemTime) -> bool {
        self.from <= now && now <= self.until
    }

    /// Whether `now` lies in the first half, so that what bears this span need not be renewed yet. A clock that was
    /// set back to before the span makes it unfit as well.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.from);
        let life = self.until.duration_since(self.from).unwrap_or_default();
        age.is_ok_and(|age| age < life / 2)
    }
}

/// The self-signed root. `permitted` are the only names below it (and names under them) that a client will believe.
pub(crate) fn root(
    validity: Validity,
    permitted: &[HostName],
    tag: &str,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = authority(validity, permitted, &format!("Snowfence root {tag}"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    Ok(params)
}

/// The intermediate, which signs leaves and nothing else.
pub(crate) fn intermediate(
    validity: Validity,
    permitted: &[HostName],
    tag: &str,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = authority(validity, permitted, &format!("Snowfence intermediate {tag}"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The leaf for one host name. Its subject is empty: a common name holds 64 characters, a host name 253, and no client
/// reads it where there is a subject alternative name, which is then critical.
pub(crate) fn leaf(validity: Validity, name: &HostName) -> Result<CertificateParams, rcgen::Error> {
    let mut params = blank(validity);
    params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority(
    validity: Validity,
    permitted: &[HostName],
    common_name: &str,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = blank(validity);
    params.distinguished_name.push(DnType::OrganizationName, "Snowfence");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted
            .iter()
            .map(|n| GeneralSubtree::DnsName(n.as_str().to_owned()))
            .collect(),
        // A permitted DNS name says nothing about addresses (RFC 5280, 4.2.1.10), so all of them are excluded.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    Ok(params)
}

/// What all three share: no subject yet, a span of time, and TLS servers as the only use. The use is written into the
/// authorities too, so that a stolen key signs neither mail nor code.
fn blank(validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = validity.from.into();
    params.not_after = validity.until.into();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_fresh_in_its_first_half_only() {
        let now = SystemTime::now();
        let span = Validity::starting(now, LEAF_LIFE).unwrap();
        for (after, fresh) in [(Duration::ZERO, true), (DAY, true), (DAY * 3 / 2, false), (DAY * 4, false)] {
            assert_eq!(span.is_fresh(now + after), fresh, "{after:?}");
        }
        assert!(!span.is_fresh(now - 2 * BACKDATED), "a clock set back");
    }

    #[test]
    fn a_time_no_certificate_can_write_is_refused() {
        for seconds in [0, BACKDATED.as_secs() - 1, NOW_UNIX_SECONDS_MAX + 1] {
            assert_eq!(
                Validity::starting(UNIX_EPOCH + Duration::from_secs(seconds), ROOT_LIFE),
                None,
                "{seconds}"
            );
        }
        assert_eq!(Validity::starting(UNIX_EPOCH - Duration::from_secs(1), ROOT_LIFE), None);
    }

    #[test]
    fn nothing_outlives_its_issuer() {
        let now = SystemTime::now();
        let issuer = Validity::starting(now - 4 * DAY, INTERMEDIATE_LIFE).unwrap();
        assert_eq!(Validity::starting(now, LEAF_LIFE).unwrap().within(issuer).until, issuer.until);
    }
}
