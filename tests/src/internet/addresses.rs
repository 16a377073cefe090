//! The lab's internet as a map: which names exist, and where they are.
//!
//! Addresses come from the block that RFC 5737 keeps for examples, so a lab that leaks reaches nobody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A user who may log in once, and never again.
pub const ONCE_USER: &str = "once_svc";
/// A Snowflake account whose session tokens live a second, and its master tokens four.
pub const BRIEF_HOST: &str = "brief.snowflakecomputing.com";
/// A Snowflake account whose certificate ran out yesterday.
pub const EXPIRED_HOST: &str = "expired.snowflakecomputing.com";
/// A Snowflake account whose certificate was issued by a root that nobody trusts.
pub const UNTRUSTED_HOST: &str = "untrusted.snowflakecomputing.com";

/// Where Snowflake answers as well, and no name leads: for a job that knows an address from somewhere else.
pub const ELSEWHERE: [Ipv4Addr; 8] = {
    const fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, last)
    }
    [at(110), at(111), at(112), at(113), at(114), at(115), at(116), at(117)]
};

/// The issuer (`iss`) of GitHub Actions' job tokens.
pub(super) const OIDC_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// An instance of GitLab.
pub const GITLAB_HOST: &str = "gitlab.acme.example";
/// A Kubernetes cluster, as an issuer of tokens.
pub const CLUSTER_HOST: &str = "cluster.acme.example";
/// Buildkite, which makes the tokens of its jobs itself when they ask.
pub const BUILDKITE_HOST: &str = "agent.buildkite.com";
/// CircleCI, which has an issuer for each organization.
pub const CIRCLECI_HOST: &str = "oidc.circleci.com";
/// The organization that the lab has there.
pub const CIRCLECI_ORGANIZATION: &str = "11111111-aaaa";
/// A controller of Jenkins.
pub const JENKINS_HOST: &str = "jenkins.acme.example";
/// Whoever vouches for Cursor's agents.
pub const CURSOR_HOST: &str = "cursor.acme.example";
/// Where Snowflake keeps the chunks of large results.
pub const STORE_HOST: &str = "sfc-lab-results.s3.us-west-2.amazonaws.com";
/// A host without a server of the lab: for a provider that is not the lab's own.
pub const PROVIDER_HOST: &str = "login.acme.example";
/// Where a job asks for its token.
pub(super) const OIDC_PIPELINES_HOST: &str = "pipelines.actions.githubusercontent.com";

/// Snowflake accounts without peculiarities: the one that the lab's agent guards, and one that nobody configured.
const ACCOUNT_HOSTS: [&str; 2] = ["acme.snowflakecomputing.com", "other.snowflakecomputing.com"];
const OCSP_CACHE_HOST: &str = "ocsp.snowflakecomputing.com";
const OIDC_HOST: &str = "token.actions.githubusercontent.com";
const WWW_HOST: &str = "www.example.org";
const SNOWFLAKE_SUFFIX: &str = ".snowflakecomputing.com";

/// Snowflake's address has the canned answers on this port.
pub const CANNED_PORT: u16 = 8443;

const DNS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const SNOWFLAKE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const OCSP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
const OIDC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 21);
const STORE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 40);
const WWW: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);

/// Where each server of the internet listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The name server, UDP and TCP.
    pub dns: SocketAddr,
    /// Snowflake, TLS.
    pub snowflake: SocketAddr,
    /// The same names with canned answers, TLS; only where something is measured.
    pub canned: Option<SocketAddr>,
    /// Further places of the same server.
    pub elsewhere: Vec<SocketAddr>,
    /// The certificate cache that drivers ask before a handshake; plain HTTP, at an address of its own.
    pub ocsp: SocketAddr,
    /// GitHub's token service, TLS.
    pub oidc: SocketAddr,
    /// The storage of results, TLS.
    pub store: SocketAddr,
    /// An ordinary site, TLS.
    pub www: SocketAddr,
}

impl Addresses {
    /// The addresses the name server tells, on the ports clients use; with the canned answers where something is measured.
    #[must_use]
    pub fn lab(with_canned: bool) -> Self {
        let at = |ip: Ipv4Addr, port| SocketAddr::new(IpAddr::V4(ip), port);
        Self {
            dns: at(DNS, 53),
            snowflake: at(SNOWFLAKE, 443),
            canned: with_canned.then_some(at(SNOWFLAKE, CANNED_PORT)),
            elsewhere: ELSEWHERE.map(|ip| at(ip, 443)).to_vec(),
            ocsp: at(OCSP, 80),
            oidc: at(OIDC, 443),
            store: at(STORE, 443),
            www: at(WWW, 443),
        }
    }
}

/// The IPv4 address of a name (in lower case, no final dot); `None` for a name that does not exist.
pub(super) fn resolve(name: &str) -> Option<Ipv4Addr> {
    match name {
        BRIEF_HOST | EXPIRED_HOST | UNTRUSTED_HOST => Some(SNOWFLAKE),
        OCSP_CACHE_HOST => Some(OCSP),
        name if is_oidc(name) => Some(OIDC),
        PROVIDER_HOST => Some(PROVIDER),
        STORE_HOST => Some(STORE),
        WWW_HOST => Some(WWW),
        name if ACCOUNT_HOSTS.contains(&name) => Some(SNOWFLAKE),
        _ => None,
    }
}

/// Whether Snowflake has a certificate for this name. More than the name server knows, as in the real world.
pub(super) fn is_snowflake(name: &str) -> bool {
    name.ends_with(SNOWFLAKE_SUFFIX)
}

pub(super) fn is_oidc(name: &str) -> bool {
    let others = [GITLAB_HOST, CLUSTER_HOST, BUILDKITE_HOST, CIRCLECI_HOST, JENKINS_HOST, CURSOR_HOST];
    [OIDC_HOST, OIDC_PIPELINES_HOST].contains(&name) || others.contains(&name)
}

pub(super) fn is_store(name: &str) -> bool {
    name == STORE_HOST
}

pub(super) fn is_www(name: &str) -> bool {
    name == WWW_HOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_to_where_their_server_listens() {
        let lab = Addresses::lab(false);
        for (name, server) in [
            ("acme.snowflakecomputing.com", lab.snowflake),
            ("other.snowflakecomputing.com", lab.snowflake),
            ("ocsp.snowflakecomputing.com", lab.ocsp),
            ("token.actions.githubusercontent.com", lab.oidc),
            ("pipelines.actions.githubusercontent.com", lab.oidc),
            (GITLAB_HOST, lab.oidc),
            (CLUSTER_HOST, lab.oidc),
            (BUILDKITE_HOST, lab.oidc),
            (CIRCLECI_HOST, lab.oidc),
            (STORE_HOST, lab.store),
            ("www.example.org", lab.www),
        ] {
            assert_eq!(resolve(name).map(IpAddr::V4), Some(server.ip()), "{name}");
        }
        for name in
            ["", "snowflakecomputing.com", "nobody.snowflakecomputing.com", "example.org", "github.com"]
        {
            assert_eq!(resolve(name), None, "{name}");
        }
    }

    #[test]
    fn a_server_has_certificates_for_its_own_names_only() {
        assert!(is_snowflake("acme.snowflakecomputing.com"));
        assert!(!is_snowflake("snowflakecomputing.com"));
        assert!(!is_snowflake("acme.snowflakecomputing.com.example.org"));
        assert!(is_oidc("token.actions.githubusercontent.com") && !is_oidc("www.example.org"));
        assert!(!is_oidc(PROVIDER_HOST), "its certificate is its own");
        assert!(is_store(STORE_HOST) && !is_store("s3.us-west-2.amazonaws.com"));
        assert!(is_www("www.example.org") && !is_www("acme.snowflakecomputing.com"));
    }
}
