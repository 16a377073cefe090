//! The guarded set in the kernel.

use std::{collections::BTreeSet, net::IpAddr};

use agent_common::{Address, GUARDED_ADDRESSES_MAX, Present};
use aya::maps::{HashMap, Map, MapData};

use crate::{
    error::{Error, MapFault},
    object::GUARDED,
};

/// Most addresses that can be guarded: half of what the map holds, because a new set is added before the old one is
/// taken away.
pub const GUARDED_MAX: usize = GUARDED_ADDRESSES_MAX as usize / 2;

const PRESENT: Present = 1;

/// The map of guarded addresses.
#[derive(Debug)]
pub(crate) struct Guarded(HashMap<MapData, Address, Present>);

impl Guarded {
    pub(crate) fn new(map: Map) -> Result<Self, MapFault> {
        Ok(Self(map.try_into().map_err(MapFault::of(GUARDED))?))
    }

    /// Makes `addrs` the guarded set. New addresses are added before old ones are removed: an address in both sets is
    /// guarded throughout.
    pub(crate) fn replace(&mut self, addrs: &BTreeSet<IpAddr>) -> Result<(), Error> {
        if addrs.len() > GUARDED_MAX {
            return Err(Error::TooMany { given: addrs.len(), max: GUARDED_MAX });
        }
        let wanted = addrs.iter().map(|ip| ip.to_canonical()).collect::<BTreeSet<_>>();
        if let Some(&ip) = wanted.iter().find(|ip| !is_guardable(**ip)) {
            return Err(Error::Unguardable(ip));
        }
        let present = self.list()?.into_iter().collect::<BTreeSet<_>>();
        let fault = MapFault::of(GUARDED);
        for &ip in wanted.difference(&present) {
            self.0.insert(Address::from(ip), PRESENT, 0).map_err(&fault)?;
        }
        for &ip in present.difference(&wanted) {
            self.0.remove(&Address::from(ip)).map_err(&fault)?;
        }
        Ok(())
    }

    /// The guarded addresses, in order.
    pub(crate) fn list(&self) -> Result<Vec<IpAddr>, MapFault> {
        let mut list = self
            .0
            .keys()
            .map(|key| key.map(IpAddr::from).map_err(MapFault::of(GUARDED)))
            .collect::<Result<Vec<_>, _>>()?;
        list.sort_unstable();
        Ok(list)
    }
}

/// Whether a server on another host can have this address, so that it can be guarded. Guarding loopback would cut the
/// agent off from its own listeners.
#[must_use]
pub fn is_guardable(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_another_host_can_be_guarded() {
        for text in ["203.0.113.10", "10.1.2.3", "169.254.1.1", "2001:db8::10", "fd00::1"] {
            assert!(is_guardable(text.parse().unwrap()), "{text}");
        }
        for text in
            ["127.0.0.1", "127.8.9.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1"]
        {
            assert!(!is_guardable(text.parse().unwrap()), "{text}");
        }
    }
}
