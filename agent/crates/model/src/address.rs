//! Where a connection was going and who opened it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::standing::Standing;

/// The address a client asked `connect(2)` for, before the kernel pointed its socket at the agent.
///
/// A type of its own because mixing it up with the peer of the accepted socket would be the worst
/// mistake an interceptor can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalDst(SocketAddr);

impl OriginalDst {
    /// Wraps an address the kernel recorded at connect time. An IPv4-mapped IPv6 address is kept as IPv4.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// The address and port.
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        self.0
    }

    /// The address alone.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The TCP port.
    #[must_use]
    pub fn port(self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who called `connect(2)`, as the kernel saw it at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOwner {
    /// Process (thread group) id, in the initial pid namespace.
    pub pid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// Group id, in the initial user namespace.
    pub gid: u32,
    /// Id of the task's cgroup in the cgroup2 hierarchy: the inode number of its directory.
    pub cgroup_id: u64,
    /// Cookie of the socket's network namespace (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
    /// Cookie of the client's socket (`SO_COOKIE`).
    pub socket_cookie: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at the connect.
    pub connected_at_ns: u64,
    /// When the process began, in clock ticks after boot; `None` where it was not followed.
    pub start_ticks: Option<u64>,
    /// Where it stood among the jobs of the host.
    pub standing: Standing,
    /// The task's `comm`, at most 15 bytes. The task chooses it: never evidence, only a hint for a reader.
    pub comm: String,
}

/// A DNS host name: lower case, no trailing dot, at most 253 bytes of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name")]
pub struct HostNameError(String);

impl HostName {
    /// Parses a host name, folding its case. Addresses are refused: a certificate is asked for by name.
    ///
    /// # Errors
    /// When the text is empty, too long, an IP address in any spelling, or holds a character no host name has.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) || is_address(&name) {
            return Err(HostNameError(text.chars().take(64).collect()));
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name is `domain` or below it.
    #[must_use]
    pub fn is_within(&self, domain: &HostName) -> bool {
        self.0.strip_suffix(&domain.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Whether a resolver would read an address out of this. Besides the usual spelling of IPv4 there are those of
/// inet_aton(3): `127.1`, `0x7f000001`, `2130706433`. All end in a number, and no top-level domain is one (RFC 3696,
/// part 2).
fn is_address(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = |text: &str, is_digit: fn(&u8) -> bool| text.as_bytes().iter().all(is_digit);
    digits(last, u8::is_ascii_digit)
        || last.strip_prefix("0x").is_some_and(|rest| digits(rest, u8::is_ascii_hexdigit))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_fold_case_and_refuse_what_is_none() {
        assert_eq!(
            HostName::parse("ACME.SnowflakeComputing.com.").unwrap().as_str(),
            "acme.snowflakecomputing.com"
        );
        for bad in ["", ".", "a..b", "10.0.0.1", "::1", "a b", "é.com", &"a".repeat(64)] {
            assert!(HostName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_in_disguise_is_no_host_name() {
        for address in
            ["127.1", "2130706433", "0x7f000001", "0X7F.1", "1.0x1", "0177.0.0.1", "a.1", "10.0.0.1."]
        {
            assert!(HostName::parse(address).is_err(), "{address}");
        }
        for name in ["1and1.com", "127.example", "0xcafe.com", "xn--p1ai", "a.x0", "0x7g"] {
            assert!(HostName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_domain_is_matched_at_a_label_border() {
        let domain = HostName::parse("snowflakecomputing.com").unwrap();
        assert!(HostName::parse("acme.snowflakecomputing.com").unwrap().is_within(&domain));
        assert!(domain.is_within(&domain));
        assert!(!HostName::parse("evilsnowflakecomputing.com").unwrap().is_within(&domain));
    }

    #[test]
    fn an_original_destination_is_never_a_mapped_address() {
        let dst = OriginalDst::new("[::ffff:203.0.113.10]:443".parse().unwrap());
        assert_eq!(dst.to_string(), "203.0.113.10:443");
    }
}
