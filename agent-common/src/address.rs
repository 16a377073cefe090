//! An IP address as the kernel holds it.

use core::net::{IpAddr, Ipv6Addr};

/// An IPv6 address, or an IPv4 address in its mapped form (`::ffff:a.b.c.d`), as four words in network byte order:
/// what a program finds in its context goes in as it is, and one key serves both families.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    words: [u32; 4],
}

const _: () = assert!(size_of::<Address>() == 16 && align_of::<Address>() == 4);

// SAFETY: `repr(C)`, one array of integers, no padding, and every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Address {}

impl Address {
    /// `::ffff:127.0.0.1`
    pub const LOOPBACK_MAPPED: Self = Self::from_v4_word(u32::from_ne_bytes([127, 0, 0, 1]));
    /// `::1`
    pub const LOOPBACK_V6: Self = Self { words: [0, 0, 0, 1u32.to_be()] };

    const MAPPED_PREFIX: [u32; 3] = [0, 0, 0xffffu32.to_be()];

    /// From the word that `user_ip4` and its kin hold, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_v4_word(word: u32) -> Self {
        let [a, b, c] = Self::MAPPED_PREFIX;
        Self { words: [a, b, c, word] }
    }

    /// From the words that `user_ip6` and its kin hold, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_v6_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// The four words, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v6_words(self) -> [u32; 4] {
        self.words
    }

    /// The last word, in network byte order: the whole address if [`is_mapped`](Self::is_mapped).
    #[inline(always)]
    #[must_use]
    pub const fn v4_word(self) -> u32 {
        let [.., last] = self.words;
        last
    }

    /// Whether this is an IPv4 address in its mapped form.
    #[inline(always)]
    #[must_use]
    pub const fn is_mapped(self) -> bool {
        let ([a, b, c, _], [x, y, z]) = (self.words, Self::MAPPED_PREFIX);
        a == x && b == y && c == z
    }

    /// Whether this is loopback, or unspecified, which is loopback to a connect. No such address is ever guarded.
    #[inline(always)]
    #[must_use]
    pub const fn is_this_hosts(self) -> bool {
        let [a, b, c, d] = self.words;
        if self.is_mapped() {
            let [first, ..] = d.to_ne_bytes();
            return first == 127 || d == 0;
        }
        a == 0 && b == 0 && c == 0 && (d == 0 || d == 1u32.to_be())
    }

    /// Whether a server on another host can have this address and be reached from any namespace: not
    /// [this host's](Self::is_this_hosts), and not `fe80::/10`, where a device is part of the address.
    #[inline(always)]
    #[must_use]
    pub const fn is_elsewhere(self) -> bool {
        let [first, second, ..] = self.words[0].to_ne_bytes();
        let is_link_local = first == 0xfe && second & 0xc0 == 0x80;
        !(is_link_local || self.is_this_hosts())
    }

    /// Whether this is one of the two addresses a listener may have.
    #[inline(always)]
    #[must_use]
    pub const fn is_listeners(self) -> bool {
        let ([a, b, c, d], [x, y, z, w]) = (self.words, Self::LOOPBACK_V6.words);
        let v6 = a == x && b == y && c == z && d == w;
        v6 || (self.is_mapped() && d == Self::LOOPBACK_MAPPED.v4_word())
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]];
        Self { words: words.map(u32::from_ne_bytes) }
    }
}

impl From<Address> for IpAddr {
    /// A mapped address comes out as IPv4.
    fn from(address: Address) -> Self {
        let words = address.words.map(u32::to_ne_bytes);
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = words;
        Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_border() {
        for text in ["203.0.113.10", "127.0.0.1", "2001:db8::10", "::1", "::", "255.255.255.255"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
            assert_eq!(Address::from(ip).is_mapped(), ip.is_ipv4(), "{text}");
        }
    }

    #[test]
    fn both_spellings_of_an_ipv4_address_are_one_key() {
        let plain: IpAddr = "203.0.113.10".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.10".parse().unwrap();
        assert_eq!(Address::from(plain), Address::from(mapped));
        assert_eq!(Address::from_v4_word(u32::from_ne_bytes([203, 0, 113, 10])), Address::from(plain));
    }

    #[test]
    fn what_is_on_this_host_or_bound_to_a_device_is_not_elsewhere() {
        for text in
            ["203.0.113.10", "10.0.0.1", "169.254.169.254", "2001:db8::10", "fd00::1", "::2", "fec0::1"]
        {
            assert!(Address::from(text.parse::<IpAddr>().unwrap()).is_elsewhere(), "{text}");
        }
        for text in ["127.0.0.1", "127.8.9.1", "0.0.0.0", "::1", "::", "fe80::1", "febf::1"] {
            let address = Address::from(text.parse::<IpAddr>().unwrap());
            assert!(!address.is_elsewhere(), "{text}");
            assert_eq!(address.is_this_hosts(), !text.starts_with("fe"), "{text}");
        }
    }

    #[test]
    fn only_the_two_loopbacks_are_a_listeners() {
        for text in ["127.0.0.1", "::1"] {
            assert!(Address::from(text.parse::<IpAddr>().unwrap()).is_listeners(), "{text}");
        }
        for text in ["127.0.0.2", "::2", "::", "::127.0.0.1", "1.0.0.127", "100::"] {
            assert!(!Address::from(text.parse::<IpAddr>().unwrap()).is_listeners(), "{text}");
        }
    }
}
