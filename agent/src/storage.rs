//! The way to the stores of results, past the agent's own guard. Which hosts may be stores is settled by their names; here it
//! is settled at which addresses: nobody who names a host makes the agent ask the inside of this network.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use interception::Dialer;
use model::HostName;
use proxy::Dial;
use tokio::net::TcpStream;

/// How long one address of a store may take to answer.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Dials a store at the addresses that DNS has for it.
pub(crate) struct StorageDial {
    pub(crate) dialer: Dialer,
    /// Whether stores may be at private addresses, as behind a private link.
    pub(crate) may_be_private: bool,
}

impl Dial for StorageDial {
    fn dial(&self, host: HostName, port: u16) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        let (dialer, may_be_private) = (self.dialer.clone(), self.may_be_private);
        Box::pin(async move {
            let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no address");
            for found in tokio::net::lookup_host((host.as_str(), port)).await? {
                let ip = found.ip().to_canonical();
                if let Err(reason) = may_dial(ip, may_be_private) {
                    last = io::Error::new(io::ErrorKind::PermissionDenied, format!("{ip} is {reason}"));
                    continue;
                }
                match dialer.connect(SocketAddr::new(ip, port), DIAL_WAIT_MAX).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

/// Whether a store may be at an address; else what kind of address it is.
fn may_dial(ip: IpAddr, may_be_private: bool) -> Result<(), &'static str> {
    match kind(ip) {
        Kind::Public => Ok(()),
        Kind::Private if may_be_private => Ok(()),
        Kind::Private => Err("a private address; upstream.private_results permits those"),
        Kind::Special => Err("no address of another host"),
    }
}

enum Kind {
    Public,
    /// Of networks that are not routed (RFC 1918, RFC 6598, RFC 4193).
    Private,
    /// This host, the link (where clouds have their metadata), groups, and what embeds an IPv4 address.
    Special,
}

fn kind(ip: IpAddr) -> Kind {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            if ip.is_private() || first == 100 && (64..128).contains(&second) {
                Kind::Private
            } else if first == 0 || first >= 224 || ip.is_loopback() || ip.is_link_local() {
                Kind::Special
            } else {
                Kind::Public
            }
        }
        IpAddr::V6(ip) if ip.is_unique_local() => Kind::Private,
        IpAddr::V6(ip) if is_global_unicast(ip) => Kind::Public,
        IpAddr::V6(_) => Kind::Special,
    }
}

/// The only block of which public addresses are given out (RFC 4291, IANA's registry), without what embeds an IPv4 address
/// (RFC 3056, RFC 4380).
fn is_global_unicast(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && second == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_at_a_public_address_or_a_private_one_that_was_permitted() {
        for ip in ["52.218.0.1", "203.0.113.40", "8.8.8.8", "2600:1fa0::1", "172.32.0.1", "100.128.0.1"] {
            assert_eq!(may_dial(ip.parse().unwrap(), false), Ok(()), "{ip}");
        }
        for ip in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert!(may_dial(ip.parse().unwrap(), false).is_err(), "{ip}");
            assert_eq!(may_dial(ip.parse().unwrap(), true), Ok(()), "{ip}");
        }
    }

    #[test]
    fn this_host_and_its_link_never_are() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:0:1::",
            "::127.0.0.1",
        ] {
            for may_be_private in [false, true] {
                assert!(may_dial(ip.parse().unwrap(), may_be_private).is_err(), "{ip}");
            }
        }
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert!(may_dial(mapped.to_canonical(), true).is_err());
    }
}
