//! What is guarded of an address.

/// The guarded ports of one address: every one, as of a Snowflake host, or a few, as of a machine that is a proxy on
/// these and something else on the others.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// In host byte order, in front; zeros behind. All zero: every port.
    listed: [u16; Self::LISTED_MAX],
}

const _: () = assert!(size_of::<Ports>() == 8 && align_of::<Ports>() == 2);

// SAFETY: `repr(C)`, one array of integers, no padding, and every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Ports {}

impl Ports {
    /// Most ports that can be guarded of an address that is not guarded as a whole.
    pub const LISTED_MAX: usize = 4;
    /// Every port.
    pub const EVERY: Self = Self { listed: [0; Self::LISTED_MAX] };

    /// These ports (host byte order); `None` if there is none, too many, or one is zero.
    #[must_use]
    pub fn of(ports: &[u16]) -> Option<Self> {
        let mut listed = [0; Self::LISTED_MAX];
        if ports.is_empty() || ports.contains(&0) {
            return None;
        }
        listed.get_mut(..ports.len())?.copy_from_slice(ports);
        Some(Self { listed })
    }

    /// Whether the address is guarded as a whole.
    #[inline(always)]
    #[must_use]
    pub const fn is_every(self) -> bool {
        let [a, ..] = self.listed;
        a == 0
    }

    /// Whether a port (host byte order) is guarded.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        let [a, b, c, d] = self.listed;
        self.is_every() || port != 0 && (a == port || b == port || c == port || d == port)
    }

    /// The ports (host byte order); none where every one is guarded.
    pub fn listed(self) -> impl Iterator<Item = u16> {
        self.listed.into_iter().filter(|port| *port != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_ports_are_guarded() {
        let ports = Ports::of(&[3128, 8080]).unwrap();
        assert!(ports.contains(3128) && ports.contains(8080) && !ports.is_every());
        for other in [0, 22, 443, 3129] {
            assert!(!ports.contains(other), "{other}");
        }
        assert!(ports.listed().eq([3128, 8080]));
    }

    #[test]
    fn every_port_is_every_port() {
        assert!([0, 1, 443, u16::MAX].into_iter().all(|port| Ports::EVERY.contains(port)));
        assert_eq!(Ports::EVERY.listed().count(), 0);
    }

    #[test]
    fn no_port_or_too_many_are_no_ports() {
        for bad in [[].as_slice(), &[0], &[443, 0], &[1, 2, 3, 4, 5]] {
            assert_eq!(Ports::of(bad), None, "{bad:?}");
        }
    }
}
